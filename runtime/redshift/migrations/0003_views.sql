-- The star: facts under their names with the keys of the calendar, and the dimensions that the facts themselves know.
CREATE VIEW {schema}.fact_procedures AS
SELECT procedure_id, robot_id, surgeon_id, procedure_type, category, status, revision, started_at, ended_at,
    CAST(TO_CHAR(started_at, 'YYYYMMDD') AS INTEGER) AS start_date_key, CAST(TO_CHAR(started_at, 'HH24MI') AS INTEGER) * 100 AS start_time_key,
    CAST(TO_CHAR(ended_at, 'YYYYMMDD') AS INTEGER) AS end_date_key, CAST(TO_CHAR(ended_at, 'HH24MI') AS INTEGER) * 100 AS end_time_key,
    duration_s / 60.0 AS duration_minutes, paused_s / 60.0 AS paused_minutes, alerts_high, alerts_medium, alerts_low, completeness, result
FROM {schema}.procedure_outcomes;

-- Every transition of an alert is a row.
CREATE VIEW {schema}.fact_alerts AS
SELECT alert_id, condition_id, robot_id, procedure_id, rule_id, rule_version, transition, revision, priority, event_time, raised_at,
    CAST(TO_CHAR(event_time, 'YYYYMMDD') AS INTEGER) AS date_key, CAST(TO_CHAR(event_time, 'HH24MI') AS INTEGER) * 100 AS time_key,
    value, "limit", signal, unit, message
FROM {schema}.maintenance_alerts;

-- A condition is one need of maintenance, from its first transition to its last.
CREATE VIEW {schema}.fact_maintenance AS
SELECT condition_id, robot_id, rule_id, MIN(raised_at) AS raised_at, MAX(event_time) AS last_event_at,
    MAX(CASE WHEN transition = 'cleared' THEN event_time END) AS cleared_at, COUNT(*) AS transitions
FROM {schema}.maintenance_alerts GROUP BY condition_id, robot_id, rule_id;

CREATE VIEW {schema}.fact_robot_window AS SELECT * FROM {schema}.robot_windows;

CREATE VIEW {schema}.dim_rules AS
SELECT rule_id, MAX(rule_version) AS rule_version, MIN(raised_at) AS first_raised_at, MAX(raised_at) AS last_raised_at
FROM {schema}.maintenance_alerts GROUP BY rule_id;

CREATE VIEW {schema}.dim_robots AS
SELECT robot_id, MIN(seen_at) AS first_seen_at, MAX(seen_at) AS last_seen_at FROM (
    SELECT robot_id, started_at AS seen_at FROM {schema}.procedure_outcomes
    UNION ALL SELECT robot_id, event_time FROM {schema}.maintenance_alerts
    UNION ALL SELECT robot_id, first_time FROM {schema}.robot_windows
) seen WHERE robot_id IS NOT NULL GROUP BY robot_id;

CREATE VIEW {schema}.dim_surgeons AS
SELECT surgeon_id, MIN(started_at) AS first_case_at, MAX(started_at) AS last_case_at, COUNT(*) AS cases
FROM {schema}.procedure_outcomes WHERE surgeon_id IS NOT NULL GROUP BY surgeon_id;
