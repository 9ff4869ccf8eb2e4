-- Cases by the day on which they began, all that ended in any way.
SELECT d.date_key, d.date, d.day_name, d.is_weekend, d.is_holiday, COUNT(*) AS cases,
    SUM(CASE WHEN p.status = @symbol(OutcomeStatus, completed) THEN 1 ELSE 0 END) AS completed,
    SUM(CASE WHEN p.status = @symbol(OutcomeStatus, aborted) THEN 1 ELSE 0 END) AS aborted,
    SUM(CASE WHEN p.status = @symbol(OutcomeStatus, cancelled) THEN 1 ELSE 0 END) AS cancelled,
    COUNT(DISTINCT p.robot_id) AS robots, COUNT(DISTINCT p.surgeon_id) AS surgeons, AVG(p.duration_minutes) AS mean_duration_minutes
FROM {schema}.fact_procedures p JOIN {schema}.dim_date d ON d.date_key = p.start_date_key
WHERE p.ended_at IS NOT NULL
GROUP BY d.date_key, d.date, d.day_name, d.is_weekend, d.is_holiday
