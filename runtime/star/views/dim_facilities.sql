-- Facilities, version by version, as robots are. One that a robot names and no entry describes is there without attributes.
WITH entries AS (
    SELECT facility_id, valid_from AS event_time, facility_name, city, state, country, facility_type, bed_count, time_zone, is_closed,
        @fingerprint(facility_name, city, state, country, facility_type, bed_count, time_zone, CASE WHEN is_closed THEN '1' ELSE '0' END) AS attributes
    FROM {schema}.facility_versions WHERE NOT is_withdrawn
), marked AS (
    SELECT entries.*, LAG(attributes) OVER (PARTITION BY facility_id ORDER BY event_time) AS attributes_before FROM entries
), versions AS (
    SELECT marked.*, LAG(event_time) OVER (PARTITION BY facility_id ORDER BY event_time) AS begin_before,
        LEAD(event_time) OVER (PARTITION BY facility_id ORDER BY event_time) AS next_begin
    FROM marked WHERE attributes_before IS NULL OR attributes_before <> attributes
)
SELECT facility_id || '/' || @stamp(event_time) AS facility_key, facility_id, facility_name, city, state, country, facility_type, bed_count, time_zone,
    is_closed, event_time AS effective_date, COALESCE(next_begin, @future()) AS expiration_date, next_begin IS NULL AS is_current,
    TRUE AS is_registered, CASE WHEN begin_before IS NULL THEN @past() ELSE event_time END AS valid_from
FROM versions
UNION ALL
SELECT heard.facility_id || '/unregistered', heard.facility_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, @past(), @future(), TRUE, FALSE, @past()
FROM (SELECT DISTINCT facility_id FROM {schema}.robot_versions WHERE facility_id IS NOT NULL AND NOT is_withdrawn) heard
WHERE heard.facility_id NOT IN (SELECT facility_id FROM {schema}.facility_versions WHERE NOT is_withdrawn)
