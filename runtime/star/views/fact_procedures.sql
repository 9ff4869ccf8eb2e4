-- A case, also one under way, over its legs: from the first start to the end of the leg that changed last, on whose robot it is. Keys are those that were
-- valid when it began there; those of the surgeon when the case began.
WITH legs AS @once(SELECT * FROM {schema}.star_legs), described AS (
    SELECT l.procedure_key, MAX(e.patient_id) AS patient_id, MAX(e.complexity) AS complexity_score, MAX(e.patient_age) AS patient_age,
        MAX(CASE WHEN e.patient_gender <> @symbol(Gender, unknown) THEN e.patient_gender END) AS patient_gender
    FROM {schema}.procedure_events e
    JOIN legs l ON l.procedure_id = e.procedure_id AND l.robot_id = e.robot_id AND e.event_time <= l.changed_at
        AND (l.namesake_until IS NULL OR e.event_time > l.namesake_until)
    GROUP BY l.procedure_key
), first_cases AS (
    SELECT surgeon_id, MIN(COALESCE(started_at, ended_at)) AS first_case_at FROM {schema}.procedure_outcomes GROUP BY surgeon_id
), cases AS (
    SELECT l.*, COALESCE(l.surgeon_id, l.case_surgeon_id) AS operator_id, COALESCE(l.result, l.case_result) AS clinical,
        CASE WHEN l.ended_at > l.case_started_at THEN @seconds(l.case_started_at, l.ended_at) / 60.0
            WHEN l.ended_at IS NOT NULL AND l.case_started_at IS NOT NULL THEN 0 END AS duration_minutes
    FROM legs l WHERE l.is_latest
)
SELECT c.procedure_key, c.procedure_id, c.outcome_id, c.robot_id, r.robot_key, c.operator_id AS surgeon_id, s.surgeon_key, r.facility_id, f.facility_key,
    r.model AS robot_model, m.model_key, COALESCE(c.procedure_type, c.case_type) AS procedure_type, COALESCE(c.category, c.case_category) AS category,
    c.status, c.case_converted = 1 AS is_converted, c.case_legs AS legs, c.revision, c.case_started_at AS started_at, c.ended_at,
    @date_key(c.case_started_at) AS start_date_key, @time_key(c.case_started_at) AS start_time_key,
    @date_key(c.ended_at) AS end_date_key, @time_key(c.ended_at) AS end_time_key,
    c.duration_minutes, c.case_paused_s / 60.0 AS paused_minutes, c.case_alerts_high AS alerts_high, c.case_alerts_medium AS alerts_medium,
    c.case_alerts_low AS alerts_low, c.case_rows AS telemetry_rows,
    CASE WHEN c.case_rows + c.case_missing > 0 THEN CAST(c.case_rows AS DOUBLE PRECISION) / (c.case_rows + c.case_missing) END AS completeness,
    c.clinical AS result, COALESCE(c.patient_id, c.case_patient_id, d.patient_id) AS patient_id, d.patient_age, d.patient_gender,
    CASE WHEN d.patient_age < 30 THEN '<30' WHEN d.patient_age < 50 THEN '30-49' WHEN d.patient_age < 65 THEN '50-64'
        WHEN d.patient_age IS NOT NULL THEN '65+' ELSE 'unknown' END AS age_band, COALESCE(c.complexity, c.case_complexity, d.complexity_score) AS complexity_score,
    NULLIF(@json(c.clinical, success_status), @symbol(SuccessStatus, unknown)) AS success_status,
    @json_integer(c.clinical, blood_loss_ml) AS blood_loss_ml,
    CASE WHEN c.clinical LIKE '%"severity":"severe"%' THEN @symbol(Severity, severe) WHEN c.clinical LIKE '%"severity":"moderate"%' THEN @symbol(Severity, moderate)
        WHEN c.clinical LIKE '%"severity":"minor"%' THEN @symbol(Severity, minor) WHEN c.clinical IS NOT NULL THEN 'none' END AS complication_level,
    @json_integer(c.clinical, hospital_stay_days) AS hospital_stay_days,
    @json_integer(c.clinical, patient_satisfaction_score) AS satisfaction,
    @json_boolean(c.clinical, readmission_30day) AS readmission_30day,
    @json_integer(c.clinical, recovery_score) AS recovery_score,
    @json_boolean(c.clinical, follow_up_required) AS follow_up_required,
    CASE WHEN s.practising_since IS NOT NULL THEN @years(s.practising_since, c.case_began_at)
        ELSE @seconds(x.first_case_at, c.case_began_at) / 31557600.0 END AS surgeon_years_experience,
    c.case_began_at AS created_at, c.case_changed_at AS updated_at
FROM cases c
LEFT JOIN {schema}.star_robots r ON r.robot_id = c.robot_id AND c.began_at >= r.valid_from AND c.began_at < r.expiration_date
LEFT JOIN {schema}.star_surgeons s ON s.surgeon_id = c.operator_id AND c.case_began_at >= s.valid_from AND c.case_began_at < s.expiration_date
LEFT JOIN {schema}.dim_facilities f ON f.facility_id = r.facility_id AND c.began_at >= f.valid_from AND c.began_at < f.expiration_date
LEFT JOIN {schema}.dim_models m ON m.robot_model = r.model AND c.began_at >= m.valid_from AND c.began_at < m.expiration_date
LEFT JOIN described d ON d.procedure_key = c.procedure_key
LEFT JOIN first_cases x ON x.surgeon_id = c.operator_id
