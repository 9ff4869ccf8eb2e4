-- Surgeons, version by version, as robots are. Ids and names are pseudonyms.
WITH entries AS (
    SELECT surgeon_id, valid_from AS event_time, surgeon_name, specialization, practising_since, certification_level, facility_id, is_retired,
        @fingerprint(surgeon_name, specialization, practising_since, certification_level, facility_id, CASE WHEN is_retired THEN '1' ELSE '0' END) AS attributes
    FROM {schema}.surgeon_versions WHERE NOT is_withdrawn
), marked AS (
    SELECT entries.*, LAG(attributes) OVER (PARTITION BY surgeon_id ORDER BY event_time) AS attributes_before FROM entries
), versions AS (
    SELECT marked.*, LAG(event_time) OVER (PARTITION BY surgeon_id ORDER BY event_time) AS begin_before,
        LEAD(event_time) OVER (PARTITION BY surgeon_id ORDER BY event_time) AS next_begin
    FROM marked WHERE attributes_before IS NULL OR attributes_before <> attributes
)
SELECT surgeon_id || '/' || @stamp(event_time) AS surgeon_key, surgeon_id, surgeon_name, specialization, practising_since, certification_level, facility_id,
    is_retired, event_time AS effective_date, COALESCE(next_begin, @future()) AS expiration_date, next_begin IS NULL AS is_current,
    TRUE AS is_registered, CASE WHEN begin_before IS NULL THEN @past() ELSE event_time END AS valid_from
FROM versions
UNION ALL
SELECT heard.surgeon_id || '/unregistered', heard.surgeon_id, NULL, NULL, NULL, NULL, NULL, NULL, @past(), @future(), TRUE, FALSE, @past()
FROM (SELECT surgeon_id FROM {schema}.procedure_outcomes UNION SELECT surgeon_id FROM {schema}.procedures) heard
WHERE heard.surgeon_id IS NOT NULL AND heard.surgeon_id NOT IN (SELECT surgeon_id FROM {schema}.surgeon_versions WHERE NOT is_withdrawn)
