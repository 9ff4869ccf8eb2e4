-- title: Outcomes by experience
-- description: Cases by the surgeon's years of experience when they began.
-- column experience: years of experience
-- column surgeons: surgeons
-- column cases: completed cases
-- column success_rate: successful cases of those whose result is known
-- column complication_rate: cases with a moderate or severe complication of those whose result is known
-- column readmission_rate: readmissions within 30 days of those for which it is known
-- column mean_duration_minutes: mean duration of a case
-- picture: bar experience success_rate
SELECT p.experience, COUNT(DISTINCT p.surgeon_id) AS surgeons, COUNT(*) AS cases, @rates_rounded(p), @round(AVG(p.duration_minutes), 1) AS mean_duration_minutes
FROM (
    SELECT fact.*, CASE WHEN surgeon_years_experience < 5 THEN '0-4' WHEN surgeon_years_experience < 10 THEN '5-9' WHEN surgeon_years_experience < 15 THEN '10-14'
        WHEN surgeon_years_experience IS NOT NULL THEN '15+' ELSE 'unknown' END AS experience
    FROM {schema}.fact_procedures fact WHERE status = @symbol(OutcomeStatus, completed)
) p
GROUP BY p.experience ORDER BY CASE p.experience WHEN '0-4' THEN 1 WHEN '5-9' THEN 2 WHEN '10-14' THEN 3 WHEN '15+' THEN 4 ELSE 5 END
