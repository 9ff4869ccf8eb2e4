-- What work on each robot cost, in each currency: all but cancelled work.
--= maintenance_records, robot_versions
--: logs: Works.
--: total_cost: Sum of what they cost, in currency.
--: mean_cost: Mean of what they cost, in currency.
--: total_downtime_hours: How long the robot could not be used. Unit: h.
--: last_maintenance_date: Day on which the last of them began, or was reported, UTC.
SELECT m.robot_id, r.serial_number, r.robot_model, r.facility_id, m.currency, COUNT(*) AS logs, SUM(m.cost) AS total_cost, AVG(m.cost) AS mean_cost,
    SUM(m.downtime_hours) AS total_downtime_hours, MAX(@date(COALESCE(m.started_at, m.reported_at))) AS last_maintenance_date
FROM {schema}.maintenance_records m
LEFT JOIN {schema}.robots r ON r.robot_id = m.robot_id
WHERE m.status <> @symbol(MaintenanceStatus, cancelled)
GROUP BY m.robot_id, r.serial_number, r.robot_model, r.facility_id, m.currency
