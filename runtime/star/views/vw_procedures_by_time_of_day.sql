-- Cases by the hour in which they began, UTC.
SELECT t.time_of_day, t.hour, COUNT(*) AS cases, AVG(p.duration_minutes) AS mean_duration_minutes, AVG(p.complexity_score) AS mean_complexity, @rates(p)
FROM {schema}.fact_procedures p JOIN {schema}.dim_time t ON t.time_key = p.start_time_key
WHERE p.status = @symbol(OutcomeStatus, completed)
GROUP BY t.time_of_day, t.hour
