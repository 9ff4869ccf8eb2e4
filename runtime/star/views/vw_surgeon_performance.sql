-- Outcomes by surgeon.
SELECT p.surgeon_id, MAX(s.surgeon_name) AS surgeon_name, MAX(s.specialization) AS specialization, MAX(p.surgeon_years_experience) AS years_experience,
    COUNT(*) AS cases, @rates(p), AVG(p.duration_minutes) AS mean_duration_minutes, AVG(p.complexity_score) AS mean_complexity,
    AVG(CAST(p.satisfaction AS DOUBLE PRECISION)) AS mean_satisfaction
FROM {schema}.fact_procedures p
LEFT JOIN {schema}.star_surgeons s ON s.surgeon_id = p.surgeon_id AND s.is_current
WHERE p.status = @symbol(OutcomeStatus, completed) AND p.surgeon_id IS NOT NULL
GROUP BY p.surgeon_id
