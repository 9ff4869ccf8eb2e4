-- A row for each completed case with model and facility as they were when it began, and the hospital's report, once there is one.
--= procedure_outcomes
--: robot_model: Model of the robot at that time.
--: facility_id: Site of the robot at that time.
--: facility_name: Name of that site now.
--: duration_minutes: End minus start. Unit: min.
--: complexity_score: Complexity, 1 to 5.
--: success_status: How it went; null until the hospital has reported it.
--: blood_loss_ml: Blood lost. Unit: ml.
--: complications: Kinds and severities of complications.
--: hospital_stay_days: Stay after the operation. Unit: d.
--: readmission_30day: Readmitted within 30 days.
--: patient_satisfaction_score: 1 to 10.
--: recovery_score: 1 to 100.
--: follow_up_required: Needs a follow-up.
WITH spans AS (
    SELECT v.robot_id, v.robot_model, v.facility_id, v.valid_from,
        LAG(v.valid_from) OVER (PARTITION BY v.robot_id ORDER BY v.valid_from) AS before_it,
        LEAD(v.valid_from) OVER (PARTITION BY v.robot_id ORDER BY v.valid_from) AS valid_to
    FROM {schema}.robot_versions v WHERE NOT v.is_withdrawn
), cases AS (
    SELECT o.*, COALESCE(o.started_at, o.ended_at) AS began_at FROM {schema}.procedure_outcomes o
    WHERE o.status = @symbol(OutcomeStatus, completed)
)
SELECT c.outcome_id, c.procedure_id, c.revision, c.robot_id, s.robot_model, s.facility_id, f.facility_name, c.category, c.procedure_type, c.surgeon_id,
    c.started_at, c.ended_at, c.duration_s / 60.0 AS duration_minutes, p.complexity AS complexity_score, c.alerts_high, c.alerts_medium, c.alerts_low,
    c.telemetry_rows, c.completeness, NULLIF(@json(c.result, success_status), @symbol(SuccessStatus, unknown)) AS success_status,
    @json_integer(c.result, blood_loss_ml) AS blood_loss_ml, @json_nested(c.result, complications) AS complications,
    @json_integer(c.result, hospital_stay_days) AS hospital_stay_days, @json_boolean(c.result, readmission_30day) AS readmission_30day,
    @json_integer(c.result, patient_satisfaction_score) AS patient_satisfaction_score, @json_integer(c.result, recovery_score) AS recovery_score,
    @json_boolean(c.result, follow_up_required) AS follow_up_required
FROM cases c
LEFT JOIN spans s ON s.robot_id = c.robot_id AND (s.before_it IS NULL OR s.valid_from <= c.began_at) AND (s.valid_to IS NULL OR c.began_at < s.valid_to)
LEFT JOIN {schema}.facilities f ON f.facility_id = s.facility_id
LEFT JOIN {schema}.procedures p ON p.leg_id = c.outcome_id
