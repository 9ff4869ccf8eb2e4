-- What each robot did: completed cases.
SELECT p.robot_id, MAX(r.serial) AS serial, MAX(r.model) AS model, MAX(r.facility_id) AS facility_id, COUNT(*) AS cases, SUM(p.duration_minutes) / 60.0 AS hours,
    AVG(p.duration_minutes) AS mean_duration_minutes, AVG(p.complexity_score) AS mean_complexity, MIN(p.start_date_key) AS first_date_key,
    MAX(p.start_date_key) AS last_date_key, CAST(COUNT(*) AS DOUBLE PRECISION) / @days_spanned(MIN(p.started_at), MAX(p.started_at)) AS cases_per_day
FROM {schema}.fact_procedures p
LEFT JOIN {schema}.star_robots r ON r.robot_id = p.robot_id AND r.is_current
WHERE p.status = @symbol(OutcomeStatus, completed)
GROUP BY p.robot_id
