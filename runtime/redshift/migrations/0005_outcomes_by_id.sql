-- Outcomes are told apart by outcome_id: a case that moved to another robot has one for each, and a number may be given anew. Dropped and made,
-- because Redshift replaces a view only by one of the same columns.
DROP VIEW {schema}.fact_procedures;
CREATE VIEW {schema}.fact_procedures AS
SELECT outcome_id, procedure_id, robot_id, surgeon_id, procedure_type, category, status, revision, started_at, ended_at,
    CAST(TO_CHAR(started_at, 'YYYYMMDD') AS INTEGER) AS start_date_key, CAST(TO_CHAR(started_at, 'HH24MI') AS INTEGER) * 100 AS start_time_key,
    CAST(TO_CHAR(ended_at, 'YYYYMMDD') AS INTEGER) AS end_date_key, CAST(TO_CHAR(ended_at, 'HH24MI') AS INTEGER) * 100 AS end_time_key,
    duration_s / 60.0 AS duration_minutes, paused_s / 60.0 AS paused_minutes, alerts_high, alerts_medium, alerts_low, completeness, result
FROM {schema}.procedure_outcomes;

DROP VIEW {schema}.dim_surgeons;
CREATE VIEW {schema}.dim_surgeons AS
SELECT surgeon_id, MIN(started_at) AS first_case_at, MAX(started_at) AS last_case_at, COUNT(DISTINCT procedure_id) AS cases, COUNT(*) AS outcomes
FROM {schema}.procedure_outcomes WHERE surgeon_id IS NOT NULL GROUP BY surgeon_id;
