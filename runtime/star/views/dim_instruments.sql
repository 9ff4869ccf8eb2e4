-- Instruments by serial number, as telemetry knows them, with the lives that the models of their robots give them: of several the fewest.
WITH used AS (
    SELECT tool_serial, MAX(tool_type) AS tool_type, MIN(event_time) AS first_used_at, MAX(event_time) AS last_used_at,
        MAX(tool_use_count) AS uses, COUNT(DISTINCT robot_id) AS robots, COUNT(DISTINCT procedure_id) AS procedures, COUNT(*) AS samples
    FROM {schema}.robot_telemetry WHERE tool_serial IS NOT NULL GROUP BY tool_serial
), allowed AS (
    SELECT i.tool_serial, MIN(m.instrument_lives) AS lives FROM {schema}.instruments i
    JOIN {schema}.star_robots r ON r.robot_id = i.robot_id AND i.last_seen >= r.valid_from AND i.last_seen < r.expiration_date
    JOIN {schema}.dim_models m ON m.robot_model = r.model AND i.last_seen >= m.valid_from AND i.last_seen < m.expiration_date
    GROUP BY i.tool_serial
)
SELECT used.tool_serial AS instrument_key, used.tool_serial, used.tool_type, used.first_used_at, used.last_used_at, used.uses, used.robots, used.procedures,
    used.samples, allowed.lives,
    CASE WHEN used.uses < allowed.lives THEN allowed.lives - used.uses WHEN used.uses IS NOT NULL AND allowed.lives IS NOT NULL THEN 0 END AS lives_left
FROM used LEFT JOIN allowed ON allowed.tool_serial = used.tool_serial
