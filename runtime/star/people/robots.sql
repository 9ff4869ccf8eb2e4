-- A row for each robot that is registered or was heard of: what it is now, by its latest version, and what its cases and services add up to.
--= robot_versions
--: robot_id: The robot.
--: facility_name: Name of the site now.
--: time_zone: IANA name of the site's time zone.
--: total_procedures: Cases completed on it.
--: total_operating_hours: Hours of the cases that were completed on it. Unit: h.
--: last_maintenance_date: Date of the last completed service, UTC.
--: next_maintenance_date: When the next service is due, as the last completed one says.
--: open_alerts: Conditions on it that are open now.
--: is_registered: False where the robot was heard of and no registry entry describes it.
--: valid_from: From when on the latest version holds.
WITH latest AS (
    SELECT v.*, ROW_NUMBER() OVER (PARTITION BY v.robot_id ORDER BY v.valid_from DESC) AS place FROM {schema}.robot_versions v WHERE NOT v.is_withdrawn
), heard AS (
    SELECT robot_id FROM {schema}.robot_versions WHERE NOT is_withdrawn
    UNION SELECT robot_id FROM {schema}.procedures
    UNION SELECT robot_id FROM {schema}.procedure_outcomes
    UNION SELECT robot_id FROM {schema}.maintenance_alerts
    UNION SELECT robot_id FROM {schema}.maintenance_records
), cases AS (
    SELECT robot_id, COUNT(*) AS total, SUM(duration_s) / 3600.0 AS hours FROM {schema}.procedure_outcomes
    WHERE status = @symbol(OutcomeStatus, completed) GROUP BY robot_id
), services AS (
    SELECT s.*, ROW_NUMBER() OVER (PARTITION BY s.robot_id ORDER BY COALESCE(s.ended_at, s.reported_at) DESC, s.maintenance_id) AS place
    FROM {schema}.maintenance_records s WHERE s.status = @symbol(MaintenanceStatus, completed)
), open_conditions AS (
    SELECT robot_id, COUNT(*) AS conditions FROM {schema}.alerts WHERE is_open GROUP BY robot_id
)
SELECT h.robot_id, r.serial_number, r.robot_model, r.manufacturer, r.facility_id, f.facility_name, f.time_zone, r.status, r.installation_date,
    r.hardware_revision, r.software_version, r.firmware_version, r.decommission_date, r.components, r.valid_from,
    @date(COALESCE(s.ended_at, s.reported_at)) AS last_maintenance_date, s.next_maintenance_date,
    COALESCE(c.total, 0) AS total_procedures, COALESCE(c.hours, 0) AS total_operating_hours, COALESCE(o.conditions, 0) AS open_alerts,
    r.robot_id IS NOT NULL AS is_registered
FROM heard h
LEFT JOIN latest r ON r.robot_id = h.robot_id AND r.place = 1
LEFT JOIN {schema}.facilities f ON f.facility_id = r.facility_id
LEFT JOIN cases c ON c.robot_id = h.robot_id
LEFT JOIN services s ON s.robot_id = h.robot_id AND s.place = 1
LEFT JOIN open_conditions o ON o.robot_id = h.robot_id
WHERE h.robot_id IS NOT NULL
