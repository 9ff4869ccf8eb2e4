-- title: Age by category
-- description: Completed cases by the patient's age and the category of the operation.
-- column category: category of operation
-- column age_band: the patient's age
-- column cases: completed cases
-- column success_rate: successful cases of those whose result is known
-- column complication_rate: cases with a moderate or severe complication of those whose result is known
-- column readmission_rate: readmissions within 30 days of those for which it is known
SELECT p.category, p.age_band, COUNT(*) AS cases, @rates_rounded(p)
FROM {schema}.fact_procedures p WHERE p.status = @symbol(OutcomeStatus, completed)
GROUP BY p.category, p.age_band ORDER BY p.category, p.age_band
