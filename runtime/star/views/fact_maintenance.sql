-- Work on a robot by its last accepted report, with the condition that it answered, whether the report names it or it was open when the work began, and
-- how long before the work that was raised.
WITH works AS (
    SELECT maintenance_records.*, COALESCE(started_at, reported_at) AS began_at FROM {schema}.maintenance_records
)
SELECT w.maintenance_id AS maintenance_key, w.maintenance_id, w.robot_id, r.robot_key, r.facility_id, @date_key(w.began_at) AS date_key,
    @time_key(w.began_at) AS time_key, w.maintenance_type, w.status, w.is_planned, w.started_at, w.ended_at, w.technician_id, w.technician_name,
    w.issue_code, w.issues_found, @join(4, @element(w.actions, %), '; ') AS actions, w.actions_taken,
    @join(4, @element(w.parts, %, part), '; ') AS parts_replaced, w.downtime_hours, w.cost, w.currency, w.next_maintenance_date, w.condition_id,
    w.is_condition_reported, k.rule_id, COALESCE(w.first_alert_at, k.raised_at) AS raised_at, k.last_event_at, k.cleared_at, k.transitions,
    COALESCE(w.lead_time_s, @seconds(k.raised_at, w.began_at)) / 3600.0 AS lead_time_hours
FROM works w
LEFT JOIN {schema}.fact_conditions k ON k.condition_id = w.condition_id
LEFT JOIN {schema}.star_robots r ON r.robot_id = w.robot_id AND w.began_at >= r.valid_from AND w.began_at < r.expiration_date
