-- What each robot did: its completed cases. Robots without one are there, too.
--= robot_versions
--: robot_id: The robot.
--: facility_name: Name of the site now.
--: cases: Cases completed on it.
--: hours: Their time from start to end. Unit: h.
--: mean_duration_minutes: Their mean time from start to end. Unit: min.
--: mean_complexity: Their mean complexity, 1 to 5.
--: first_started_at: Start of the first of them.
--: last_started_at: Start of the last of them.
SELECT r.robot_id, r.serial_number, r.robot_model, r.facility_id, r.facility_name, r.status, COUNT(o.outcome_id) AS cases,
    COALESCE(SUM(o.duration_s), 0) / 3600.0 AS hours, AVG(o.duration_s) / 60.0 AS mean_duration_minutes, AVG(p.complexity) AS mean_complexity,
    MIN(COALESCE(o.started_at, o.ended_at)) AS first_started_at, MAX(COALESCE(o.started_at, o.ended_at)) AS last_started_at
FROM {schema}.robots r
LEFT JOIN {schema}.procedure_outcomes o ON o.robot_id = r.robot_id AND o.status = @symbol(OutcomeStatus, completed)
LEFT JOIN {schema}.procedures p ON p.leg_id = o.outcome_id
GROUP BY r.robot_id, r.serial_number, r.robot_model, r.facility_id, r.facility_name, r.status
