-- title: Key figures of the last 30 days
-- description: The 30 days up to the last case that ended, in one row.
-- column cases: completed cases
-- column robots: robots that had one
-- column surgeons: surgeons that had one
-- column hours: hours of operation
-- column mean_duration_minutes: mean duration of a case
-- column success_rate: successful cases of those whose result is known
-- column complication_rate: cases with a moderate or severe complication of those whose result is known
-- column readmission_rate: readmissions within 30 days of those for which it is known
-- column mean_satisfaction: patients' mean satisfaction, 1 to 10
SELECT COUNT(*) AS cases, COUNT(DISTINCT p.robot_id) AS robots, COUNT(DISTINCT p.surgeon_id) AS surgeons, @round(SUM(p.duration_minutes) / 60.0, 1) AS hours,
    @round(AVG(p.duration_minutes), 1) AS mean_duration_minutes, @rates_rounded(p), @round(AVG(CAST(p.satisfaction AS DOUBLE PRECISION)), 2) AS mean_satisfaction
FROM {schema}.fact_procedures p
WHERE p.status = @symbol(OutcomeStatus, completed) AND p.started_at >= @days_before((SELECT MAX(ended_at) FROM {schema}.procedure_outcomes), 30)
