-- title: Readmission by category
-- description: Readmissions within 30 days by category of operation.
-- column category: category of operation
-- column cases: completed cases
-- column known: cases for which it is known
-- column readmissions: readmissions
-- column readmission_rate: readmissions of those for which it is known
-- column mean_hospital_stay_days: mean stay
-- picture: bar category readmission_rate
SELECT p.category, COUNT(*) AS cases, SUM(CASE WHEN p.readmission_30day IS NOT NULL THEN 1 ELSE 0 END) AS known, SUM(CASE WHEN p.readmission_30day THEN 1 ELSE 0 END) AS readmissions,
    @round(AVG(CASE WHEN p.readmission_30day THEN 1.0 WHEN p.readmission_30day IS NOT NULL THEN 0.0 END), 4) AS readmission_rate,
    @round(AVG(CAST(p.hospital_stay_days AS DOUBLE PRECISION)), 2) AS mean_hospital_stay_days
FROM {schema}.fact_procedures p WHERE p.status = @symbol(OutcomeStatus, completed) GROUP BY p.category ORDER BY p.category
