-- What each surgeon operates.
SELECT p.surgeon_id, p.category, COUNT(*) AS cases, @rates(p), AVG(p.duration_minutes) AS mean_duration_minutes
FROM {schema}.fact_procedures p WHERE p.status = @symbol(OutcomeStatus, completed) AND p.surgeon_id IS NOT NULL
GROUP BY p.surgeon_id, p.category
