-- Outcomes by the facility that the robot stood in when the case began.
SELECT p.facility_id, MAX(f.facility_name) AS facility_name, MAX(f.facility_type) AS facility_type, COUNT(DISTINCT p.robot_id) AS robots,
    COUNT(*) AS cases, COUNT(DISTINCT p.surgeon_id) AS surgeons, SUM(p.duration_minutes) / 60.0 AS hours, @rates(p),
    AVG(p.duration_minutes) AS mean_duration_minutes, AVG(CAST(p.satisfaction AS DOUBLE PRECISION)) AS mean_satisfaction
FROM {schema}.fact_procedures p
LEFT JOIN {schema}.dim_facilities f ON f.facility_id = p.facility_id AND f.is_current
WHERE p.status = @symbol(OutcomeStatus, completed)
GROUP BY p.facility_id
