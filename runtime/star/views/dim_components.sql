-- Components with a serial number, from the robots' accepted entries: a version begins where another serial number sits in a place, and ends where that
-- is replaced or left out of the list. The minutes of dim_time's first hour number the places of the list.
WITH entries AS (
    SELECT robot_id, valid_from AS event_time, components FROM {schema}.robot_versions WHERE NOT is_withdrawn
), listed AS (
    SELECT robot_id, event_time, @element(components, places.minute, component) AS component, @element(components, places.minute, part) AS part,
        @element(components, places.minute, serial) AS serial
    FROM entries CROSS JOIN (SELECT minute FROM {schema}.dim_time WHERE hour = 0 AND minute < 32) places
), known AS (
    SELECT DISTINCT robot_id, component FROM listed WHERE component IS NOT NULL
), states AS (
    SELECT entries.robot_id, known.component, entries.event_time, MAX(listed.part) AS part, MAX(listed.serial) AS serial
    FROM entries
    JOIN known ON known.robot_id = entries.robot_id
    LEFT JOIN listed ON listed.robot_id = entries.robot_id AND listed.event_time = entries.event_time AND listed.component = known.component
    GROUP BY entries.robot_id, known.component, entries.event_time
), marked AS (
    SELECT states.*, COALESCE(serial, '') AS now_there,
        LAG(COALESCE(serial, '')) OVER (PARTITION BY robot_id, component ORDER BY event_time) AS there_before
    FROM states
), versions AS (
    SELECT marked.*, LEAD(event_time) OVER (PARTITION BY robot_id, component ORDER BY event_time) AS next_begin
    FROM marked WHERE there_before IS NULL OR there_before <> now_there
)
SELECT robot_id || '/' || component || '/' || @stamp(event_time) AS component_key, robot_id, component, part, serial,
    event_time AS effective_date, COALESCE(next_begin, @future()) AS expiration_date, next_begin IS NULL AS is_current
FROM versions WHERE serial IS NOT NULL
