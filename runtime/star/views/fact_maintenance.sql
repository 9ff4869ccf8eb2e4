-- Work on a robot by its last report, with the condition that led to it and how long before the work that was raised.
WITH reports AS (
    SELECT maintenance_logs.*, ROW_NUMBER() OVER (PARTITION BY maintenance_id ORDER BY event_time DESC, _append_time DESC, _partition DESC, _offset DESC) AS newest
    FROM {schema}.maintenance_logs
), works AS (
    SELECT reports.*, COALESCE(reports.condition_id, alert.condition_id) AS cause, COALESCE(reports.started_at, reports.event_time) AS began_at
    FROM reports LEFT JOIN {schema}.maintenance_alerts alert ON alert.alert_id = reports.alert_id
    WHERE newest = 1
)
SELECT w.maintenance_id AS maintenance_key, w.maintenance_id, w.robot_id, r.robot_key, r.facility_id, @date_key(w.began_at) AS date_key,
    @time_key(w.began_at) AS time_key, w.maintenance_type, w.status, w.maintenance_type <> @symbol(MaintenanceType, emergency) AS is_planned,
    w.started_at, w.ended_at, w.technician_id, w.technician_name, w.issue_code, w.issues_found,
    @join(4, w.actions_%, '; ') AS actions, w.actions_taken, @join(4, w.parts_%_part, '; ') AS parts_replaced,
    w.downtime_hours, w.cost, w.currency, w.next_maintenance_date, w.alert_id, w.cause AS condition_id, k.rule_id, k.raised_at, k.last_event_at, k.cleared_at,
    k.transitions, @seconds(k.raised_at, w.began_at) / 3600.0 AS lead_time_hours
FROM works w
LEFT JOIN {schema}.fact_conditions k ON k.condition_id = w.cause
LEFT JOIN {schema}.star_robots r ON r.robot_id = w.robot_id AND w.began_at >= r.valid_from AND w.began_at < r.expiration_date
