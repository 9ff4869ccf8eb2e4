-- A row for each work on a robot, as its latest report says, with the condition that it answered.
--= maintenance_records
--: maintenance_date: Day on which it began, or was reported, UTC.
--: lead_time_hours: From the condition's first alert to the beginning of the work. Unit: h.
SELECT maintenance_id, robot_id, @date(COALESCE(started_at, reported_at)) AS maintenance_date, maintenance_type, status, is_planned, started_at, ended_at,
    technician_id, technician_name, issue_code, issues_found, actions, actions_taken, parts, downtime_hours, cost, currency, next_maintenance_date,
    condition_id, is_condition_reported, first_alert_at, lead_time_s / 3600.0 AS lead_time_hours, reported_at
FROM {schema}.maintenance_records
