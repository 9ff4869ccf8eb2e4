-- Robots, version by version, by the entries that were accepted: a version begins where an attribute changed, and ends where the next begins. What is
-- known first holds for the time before it, too (valid_from). A robot that was heard of and is not registered has one version without attributes.
WITH entries AS (
    SELECT robot_id, valid_from AS event_time, serial_number, robot_model, manufacturer, facility_id, installation_date, hardware_revision, software_version,
        firmware_version, status, decommission_date,
        @fingerprint(serial_number, robot_model, manufacturer, facility_id, installation_date, hardware_revision, software_version, firmware_version, status, decommission_date) AS attributes
    FROM {schema}.robot_versions WHERE NOT is_withdrawn
), marked AS (
    SELECT entries.*, LAG(attributes) OVER (PARTITION BY robot_id ORDER BY event_time) AS attributes_before FROM entries
), versions AS (
    SELECT marked.*, LAG(event_time) OVER (PARTITION BY robot_id ORDER BY event_time) AS begin_before,
        LEAD(event_time) OVER (PARTITION BY robot_id ORDER BY event_time) AS next_begin
    FROM marked WHERE attributes_before IS NULL OR attributes_before <> attributes
)
SELECT robot_id || '/' || @stamp(event_time) AS robot_key, robot_id, serial_number AS serial, robot_model AS model, manufacturer, facility_id,
    installation_date AS install_date, hardware_revision, software_version, firmware_version, status, decommission_date,
    event_time AS effective_date, COALESCE(next_begin, @future()) AS expiration_date, next_begin IS NULL AS is_current, TRUE AS is_registered,
    CASE WHEN begin_before IS NULL THEN @past() ELSE event_time END AS valid_from
FROM versions
UNION ALL
SELECT heard.robot_id || '/unregistered', heard.robot_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, @past(), @future(), TRUE, FALSE, @past()
FROM (
    SELECT robot_id FROM {schema}.procedure_outcomes
    UNION SELECT robot_id FROM {schema}.maintenance_alerts
    UNION SELECT robot_id FROM {schema}.procedures
    UNION SELECT robot_id FROM {schema}.maintenance_records
) heard
WHERE heard.robot_id IS NOT NULL AND heard.robot_id NOT IN (SELECT robot_id FROM {schema}.robot_versions WHERE NOT is_withdrawn)
