-- A row for each surgeon of the registry, by their latest version. Ids and names are pseudonyms.
--= surgeon_versions
--: valid_from: From when on the latest version holds.
--: total_procedures: Cases that they completed.
--: last_procedure_at: Start of the latest of these.
WITH latest AS (
    SELECT v.*, ROW_NUMBER() OVER (PARTITION BY v.surgeon_id ORDER BY v.valid_from DESC) AS place FROM {schema}.surgeon_versions v WHERE NOT v.is_withdrawn
), cases AS (
    SELECT surgeon_id, COUNT(*) AS total, MAX(COALESCE(started_at, ended_at)) AS last_at FROM {schema}.procedure_outcomes
    WHERE status = @symbol(OutcomeStatus, completed) GROUP BY surgeon_id
)
SELECT l.surgeon_id, l.surgeon_name, l.specialization, l.practising_since, l.certification_level, l.facility_id, l.is_retired, l.valid_from,
    COALESCE(c.total, 0) AS total_procedures, c.last_at AS last_procedure_at
FROM latest l LEFT JOIN cases c ON c.surgeon_id = l.surgeon_id
WHERE l.place = 1
