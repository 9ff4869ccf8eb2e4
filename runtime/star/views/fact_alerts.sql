-- Every transition of an alert is a row, with the keys that were valid at its time.
SELECT a.alert_id, a.condition_id, a.robot_id, r.robot_key, r.facility_id, a.procedure_id, a.rule_id, a.rule_version, a.transition, a.revision, a.priority,
    a.event_time, a.raised_at, @date_key(a.event_time) AS date_key, @time_key(a.event_time) AS time_key, a.value, a."limit", a.signal, a.unit, a.message
FROM {schema}.maintenance_alerts a
LEFT JOIN {schema}.star_robots r ON r.robot_id = a.robot_id AND a.event_time >= r.valid_from AND a.event_time < r.expiration_date
