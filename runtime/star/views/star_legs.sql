-- Legs of cases: what a case did on one robot, by its latest step and by its outcome. Legs under one number are one case until a leg has ended, or until
-- the number comes again on the robot that had it last: later ones are of another case to which the number was given anew. A leg that never started on its robot
-- begins where it went on there. What is said of the case is on each leg.
WITH steps AS (
    SELECT procedure_id, robot_id, MIN(event_time) AS went_on_at FROM {schema}.procedure_events
    WHERE step IN (@symbol(ProcedureStep, resumed), @symbol(ProcedureStep, phase_started)) GROUP BY procedure_id, robot_id
), known AS (
    SELECT o.outcome_id AS leg_id, o.outcome_id, o.procedure_id, o.robot_id, o.status, p.status AS step_status, o.revision,
        COALESCE(o.category, p.category) AS category, COALESCE(o.procedure_type, p.procedure_type) AS procedure_type,
        COALESCE(o.surgeon_id, p.surgeon_id) AS surgeon_id, p.patient_id, p.complexity, COALESCE(o.started_at, p.started_at) AS started_at, o.ended_at,
        p.scheduled_at, COALESCE(p.changed_at, o.ended_at) AS changed_at, o.paused_s, o.alerts_high,
        o.alerts_medium, o.alerts_low, o.telemetry_rows, o.telemetry_missing, o.result
    FROM {schema}.procedure_outcomes o LEFT JOIN {schema}.procedures p ON p.leg_id = o.outcome_id
    UNION ALL
    SELECT p.leg_id, NULL, p.procedure_id, p.robot_id,
        CASE WHEN p.status <> 'converted' THEN p.status WHEN p.ended_at IS NULL THEN 'under_way' ELSE @symbol(OutcomeStatus, completed) END, p.status, p.revision,
        p.category, p.procedure_type, p.surgeon_id, p.patient_id, p.complexity, p.started_at, p.ended_at,
        p.scheduled_at, p.changed_at, p.paused_s, NULL, NULL, NULL, NULL, NULL, NULL
    FROM {schema}.procedures p WHERE p.leg_id NOT IN (SELECT outcome_id FROM {schema}.procedure_outcomes)
), legs AS (
    SELECT begun.*, COALESCE(started_at, ended_at, scheduled_at, changed_at) AS began_at FROM (
        SELECT leg_id, outcome_id, known.procedure_id, known.robot_id, status, step_status, revision, category, procedure_type, surgeon_id, patient_id, complexity,
            COALESCE(started_at, CASE WHEN went_on_at <= changed_at THEN went_on_at END) AS started_at, ended_at, scheduled_at, changed_at, paused_s,
            alerts_high, alerts_medium, alerts_low, telemetry_rows, telemetry_missing, result
        FROM known
        LEFT JOIN steps ON steps.procedure_id = known.procedure_id AND steps.robot_id = known.robot_id AND leg_id = known.procedure_id || '/' || known.robot_id
    ) begun
), followed AS (
    SELECT legs.*, LAG(robot_id) OVER (PARTITION BY procedure_id ORDER BY began_at, leg_id) AS robot_before,
        LAG(began_at) OVER (PARTITION BY procedure_id ORDER BY began_at, leg_id) AS began_before,
        LAG(ended_at) OVER (PARTITION BY procedure_id ORDER BY began_at, leg_id) AS ended_before,
        MAX(ended_at) OVER (PARTITION BY procedure_id ORDER BY began_at, leg_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS last_end
    FROM legs
), marked AS (
    SELECT followed.*, CASE WHEN robot_before = robot_id OR ended_before <= began_at OR (last_end <= began_at AND began_before < last_end) THEN 1
        ELSE 0 END AS is_anew
    FROM followed
), numbered AS (
    SELECT marked.*, SUM(is_anew) OVER (PARTITION BY procedure_id ORDER BY began_at, leg_id ROWS UNBOUNDED PRECEDING) AS namesakes FROM marked
), keyed AS (
    SELECT numbered.*, CASE WHEN namesakes = 0 THEN procedure_id ELSE procedure_id || '/' || CAST(namesakes AS VARCHAR) END AS procedure_key FROM numbered
), placed AS (
    SELECT keyed.*, ROW_NUMBER() OVER (PARTITION BY procedure_key ORDER BY began_at, leg_id) AS leg_number,
        ROW_NUMBER() OVER (PARTITION BY procedure_key ORDER BY changed_at DESC, began_at DESC, leg_id DESC) AS latest,
        LEAD(began_at) OVER (PARTITION BY procedure_key ORDER BY began_at, leg_id) AS next_began_at,
        LAG(changed_at) OVER (PARTITION BY procedure_id, robot_id ORDER BY began_at, leg_id) AS namesake_until
    FROM keyed
), left_behind AS (
    SELECT placed.*, CASE WHEN latest > 1 AND ended_at IS NULL THEN 'moved' ELSE status END AS leg_status,
        CASE WHEN latest > 1 THEN COALESCE(ended_at, changed_at) ELSE ended_at END AS left_at,
        paused_s + CASE WHEN latest > 1 AND ended_at IS NULL AND status = 'paused' AND next_began_at > changed_at THEN @seconds(changed_at, next_began_at)
            ELSE 0 END AS away_s
    FROM placed
)
SELECT leg_id, outcome_id, procedure_key, procedure_id, robot_id, leg_number, latest = 1 AS is_latest, leg_status, status, revision, category, procedure_type,
    surgeon_id, patient_id, complexity, began_at, started_at, ended_at, left_at, changed_at, namesake_until, paused_s, telemetry_rows, telemetry_missing, result,
    COUNT(*) OVER (PARTITION BY procedure_key) AS case_legs, MIN(began_at) OVER (PARTITION BY procedure_key) AS case_began_at,
    MIN(started_at) OVER (PARTITION BY procedure_key) AS case_started_at, MAX(changed_at) OVER (PARTITION BY procedure_key) AS case_changed_at,
    MAX(category) OVER (PARTITION BY procedure_key) AS case_category, MAX(procedure_type) OVER (PARTITION BY procedure_key) AS case_type,
    MAX(surgeon_id) OVER (PARTITION BY procedure_key) AS case_surgeon_id, MAX(patient_id) OVER (PARTITION BY procedure_key) AS case_patient_id,
    MAX(complexity) OVER (PARTITION BY procedure_key) AS case_complexity, MAX(result) OVER (PARTITION BY procedure_key) AS case_result,
    MAX(CASE WHEN step_status = 'converted' THEN 1 ELSE 0 END) OVER (PARTITION BY procedure_key) AS case_converted,
    SUM(away_s) OVER (PARTITION BY procedure_key) AS case_paused_s, SUM(alerts_high) OVER (PARTITION BY procedure_key) AS case_alerts_high,
    SUM(alerts_medium) OVER (PARTITION BY procedure_key) AS case_alerts_medium, SUM(alerts_low) OVER (PARTITION BY procedure_key) AS case_alerts_low,
    SUM(telemetry_rows) OVER (PARTITION BY procedure_key) AS case_rows, SUM(telemetry_missing) OVER (PARTITION BY procedure_key) AS case_missing
FROM left_behind
