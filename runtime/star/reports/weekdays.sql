-- title: Cases by weekday
-- description: The 90 days up to the last case.
-- column day_name: the day
-- column cases: cases that ended in any way
-- column completed: of them completed
-- column mean_duration_minutes: mean duration
-- picture: bar day_name cases
SELECT d.day_name, COUNT(*) AS cases, SUM(CASE WHEN p.status = @symbol(OutcomeStatus, completed) THEN 1 ELSE 0 END) AS completed,
    @round(AVG(p.duration_minutes), 1) AS mean_duration_minutes
FROM {schema}.fact_procedures p JOIN {schema}.dim_date d ON d.date_key = p.start_date_key
WHERE p.ended_at IS NOT NULL AND p.started_at >= @days_before((SELECT MAX(ended_at) FROM {schema}.procedure_outcomes), 90)
GROUP BY d.day_name, d.day_of_week ORDER BY d.day_of_week
