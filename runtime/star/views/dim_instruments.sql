-- Instruments by serial number, as telemetry knows them.
SELECT tool_serial AS instrument_key, tool_serial, MAX(tool_type) AS tool_type, MIN(event_time) AS first_used_at, MAX(event_time) AS last_used_at,
    MAX(tool_use_count) AS uses, COUNT(DISTINCT robot_id) AS robots, COUNT(DISTINCT procedure_id) AS procedures, COUNT(*) AS samples
FROM {schema}.robot_telemetry WHERE tool_serial IS NOT NULL GROUP BY tool_serial
