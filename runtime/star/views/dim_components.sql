-- Components with a serial number, from the robots' entries: a version begins where another serial number sits in a place, and ends where that is
-- replaced or left out of the list. The minutes of dim_time's first hour number the places of the list.
WITH entries AS (
    SELECT registry.*, ROW_NUMBER() OVER (PARTITION BY robot_id, event_time ORDER BY _append_time DESC, _partition DESC, _offset DESC) AS newest
    FROM {schema}.robot_registry registry
), listed AS (
    SELECT robot_id, event_time, @array(places.minute, 32, components_%_component) AS component, @array(places.minute, 32, components_%_part) AS part,
        @array(places.minute, 32, components_%_serial) AS serial
    FROM entries CROSS JOIN (SELECT minute FROM {schema}.dim_time WHERE hour = 0 AND minute < 32) places
    WHERE newest = 1
), known AS (
    SELECT DISTINCT robot_id, component FROM listed WHERE component IS NOT NULL
), states AS (
    SELECT entries.robot_id, known.component, entries.event_time, MAX(listed.part) AS part, MAX(listed.serial) AS serial
    FROM entries
    JOIN known ON known.robot_id = entries.robot_id
    LEFT JOIN listed ON listed.robot_id = entries.robot_id AND listed.event_time = entries.event_time AND listed.component = known.component
    WHERE entries.newest = 1
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
