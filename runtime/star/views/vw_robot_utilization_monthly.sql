-- What each robot did, month by month.
SELECT p.robot_id, d.year, d.month, COUNT(*) AS cases, SUM(p.duration_minutes) / 60.0 AS hours, AVG(p.duration_minutes) AS mean_duration_minutes,
    AVG(p.complexity_score) AS mean_complexity
FROM {schema}.fact_procedures p JOIN {schema}.dim_date d ON d.date_key = p.start_date_key
WHERE p.status = @symbol(OutcomeStatus, completed)
GROUP BY p.robot_id, d.year, d.month
