-- What a case did on one robot: a case that moved has a leg on each. A leg that was left behind has moved, and ends with its latest step.
SELECT l.leg_id, l.procedure_key, l.procedure_id, l.leg_number, l.is_latest, l.robot_id, r.robot_key, r.facility_id, r.model AS robot_model,
    COALESCE(l.surgeon_id, l.case_surgeon_id) AS surgeon_id, l.leg_status AS status, l.revision, l.started_at, l.left_at AS ended_at,
    @date_key(l.started_at) AS start_date_key, @time_key(l.started_at) AS start_time_key,
    CASE WHEN l.left_at > l.started_at THEN @seconds(l.started_at, l.left_at) / 60.0 WHEN l.left_at IS NOT NULL AND l.started_at IS NOT NULL THEN 0 END AS duration_minutes,
    l.paused_s / 60.0 AS paused_minutes, l.telemetry_rows
FROM {schema}.star_legs l
LEFT JOIN {schema}.star_robots r ON r.robot_id = l.robot_id AND l.began_at >= r.valid_from AND l.began_at < r.expiration_date
