-- A case on one robot, by its last revision: a case that moved has a row on each robot. Keys are those that were valid when it began.
WITH cases AS (
    SELECT procedure_outcomes.*, COALESCE(started_at, ended_at) AS began_at FROM {schema}.procedure_outcomes
), described AS (
    SELECT procedure_id, MAX(patient_id) AS patient_id, MAX(complexity) AS complexity_score, MAX(patient_age) AS patient_age,
        MAX(CASE WHEN patient_gender <> @symbol(Gender, unknown) THEN patient_gender END) AS patient_gender
    FROM {schema}.procedure_events GROUP BY procedure_id
), first_cases AS (
    SELECT surgeon_id, MIN(COALESCE(started_at, ended_at)) AS first_case_at FROM {schema}.procedure_outcomes GROUP BY surgeon_id
)
SELECT c.outcome_id, c.outcome_id AS procedure_key, c.procedure_id, c.robot_id, r.robot_key, c.surgeon_id, s.surgeon_key, r.facility_id, f.facility_key,
    r.model AS robot_model, m.model_key, c.procedure_type, c.category, c.status, c.revision, c.started_at, c.ended_at,
    @date_key(c.started_at) AS start_date_key, @time_key(c.started_at) AS start_time_key,
    @date_key(c.ended_at) AS end_date_key, @time_key(c.ended_at) AS end_time_key,
    c.duration_s / 60.0 AS duration_minutes, c.paused_s / 60.0 AS paused_minutes, c.alerts_high, c.alerts_medium, c.alerts_low, c.telemetry_rows,
    c.completeness, c.result, d.patient_id, d.patient_age, d.patient_gender, CASE WHEN d.patient_age < 30 THEN '<30' WHEN d.patient_age < 50 THEN '30-49' WHEN d.patient_age < 65 THEN '50-64'
        WHEN d.patient_age IS NOT NULL THEN '65+' ELSE 'unknown' END AS age_band, d.complexity_score,
    NULLIF(@json(c.result, success_status), @symbol(SuccessStatus, unknown)) AS success_status,
    @json_integer(c.result, blood_loss_ml) AS blood_loss_ml,
    CASE WHEN c.result LIKE '%"severity":"severe"%' THEN @symbol(Severity, severe) WHEN c.result LIKE '%"severity":"moderate"%' THEN @symbol(Severity, moderate)
        WHEN c.result LIKE '%"severity":"minor"%' THEN @symbol(Severity, minor) WHEN c.result IS NOT NULL THEN 'none' END AS complication_level,
    @json_integer(c.result, hospital_stay_days) AS hospital_stay_days,
    @json_integer(c.result, patient_satisfaction_score) AS satisfaction,
    @json_boolean(c.result, readmission_30day) AS readmission_30day,
    @json_integer(c.result, recovery_score) AS recovery_score,
    @json_boolean(c.result, follow_up_required) AS follow_up_required,
    CASE WHEN s.practising_since IS NOT NULL THEN @years(s.practising_since, c.began_at)
        ELSE @seconds(x.first_case_at, c.began_at) / 31557600.0 END AS surgeon_years_experience
FROM cases c
LEFT JOIN {schema}.star_robots r ON r.robot_id = c.robot_id AND c.began_at >= r.valid_from AND c.began_at < r.expiration_date
LEFT JOIN {schema}.star_surgeons s ON s.surgeon_id = c.surgeon_id AND c.began_at >= s.valid_from AND c.began_at < s.expiration_date
LEFT JOIN {schema}.dim_facilities f ON f.facility_id = r.facility_id AND c.began_at >= f.valid_from AND c.began_at < f.expiration_date
LEFT JOIN {schema}.dim_models m ON m.robot_model = r.model AND c.began_at >= m.valid_from AND c.began_at < m.expiration_date
LEFT JOIN described d ON d.procedure_id = c.procedure_id
LEFT JOIN first_cases x ON x.surgeon_id = c.surgeon_id
