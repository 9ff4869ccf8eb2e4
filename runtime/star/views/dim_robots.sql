-- Robots, version by version, with what their cases and services add up to, and when they were heard of.
WITH cases AS (
    SELECT robot_id, COUNT(*) AS total_procedures_count, SUM(duration_s) / 3600.0 AS total_operating_hours
    FROM {schema}.procedure_outcomes WHERE status = @symbol(OutcomeStatus, completed) GROUP BY robot_id
), services AS (
    SELECT robot_id, MAX(COALESCE(ended_at, reported_at)) AS last_maintenance_at FROM {schema}.maintenance_records
    WHERE status = @symbol(MaintenanceStatus, completed) GROUP BY robot_id
), seen AS (
    SELECT robot_id, MIN(seen_at) AS first_seen_at, MAX(seen_at) AS last_seen_at FROM (
        SELECT robot_id, started_at AS seen_at FROM {schema}.procedure_outcomes
        UNION ALL SELECT robot_id, event_time FROM {schema}.maintenance_alerts
        UNION ALL SELECT robot_id, window_start FROM {schema}.robot_windows
    ) heard WHERE robot_id IS NOT NULL GROUP BY robot_id
), robots AS (
    SELECT robot_key, robot_id, serial, model, manufacturer, facility_id, install_date, hardware_revision, software_version, firmware_version, status,
        decommission_date, effective_date, expiration_date, is_current, is_registered
    FROM {schema}.star_robots
    UNION ALL
    SELECT robot_id || '/unregistered', robot_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, @past(), @future(), TRUE, FALSE
    FROM seen WHERE robot_id NOT IN (SELECT robot_id FROM {schema}.star_robots)
)
SELECT r.robot_key, r.robot_id, r.serial, r.model, r.manufacturer, r.facility_id, f.facility_key, r.install_date, r.hardware_revision, r.software_version,
    r.firmware_version, r.status, r.decommission_date, services.last_maintenance_at, COALESCE(cases.total_procedures_count, 0) AS total_procedures_count,
    COALESCE(cases.total_operating_hours, 0) AS total_operating_hours, r.effective_date, r.expiration_date, r.is_current, r.is_registered,
    seen.first_seen_at, seen.last_seen_at
FROM robots r
LEFT JOIN {schema}.dim_facilities f ON f.facility_id = r.facility_id AND r.effective_date >= f.valid_from AND r.effective_date < f.expiration_date
LEFT JOIN cases ON cases.robot_id = r.robot_id
LEFT JOIN services ON services.robot_id = r.robot_id
LEFT JOIN seen ON seen.robot_id = r.robot_id
