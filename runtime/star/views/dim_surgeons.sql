-- Surgeons, version by version, with their cases. Experience is up to the last case.
WITH cases AS (
    SELECT surgeon_id, MIN(started_at) AS first_case_at, MAX(started_at) AS last_case_at, COUNT(DISTINCT procedure_id) AS cases, COUNT(*) AS outcomes
    FROM {schema}.procedure_outcomes WHERE surgeon_id IS NOT NULL GROUP BY surgeon_id
)
SELECT s.surgeon_key, s.surgeon_id, s.surgeon_name, s.specialization, s.practising_since,
    CASE WHEN s.practising_since IS NOT NULL THEN @years(s.practising_since, cases.last_case_at)
        ELSE @seconds(cases.first_case_at, cases.last_case_at) / 31557600.0 END AS years_experience,
    s.certification_level, s.facility_id, s.is_retired, s.effective_date, s.expiration_date, s.is_current, s.is_registered,
    cases.first_case_at, cases.last_case_at, COALESCE(cases.cases, 0) AS cases, COALESCE(cases.outcomes, 0) AS outcomes
FROM {schema}.star_surgeons s
LEFT JOIN cases ON cases.surgeon_id = s.surgeon_id
