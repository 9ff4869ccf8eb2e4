-- Outcomes by kind of operation. Rates are of the cases whose result is known.
SELECT p.category, p.procedure_type, COUNT(*) AS cases, @rates(p),
    AVG(CAST(p.blood_loss_ml AS DOUBLE PRECISION)) AS mean_blood_loss_ml, AVG(CAST(p.hospital_stay_days AS DOUBLE PRECISION)) AS mean_hospital_stay_days,
    AVG(CAST(p.satisfaction AS DOUBLE PRECISION)) AS mean_satisfaction, AVG(p.duration_minutes) AS mean_duration_minutes
FROM {schema}.fact_procedures p WHERE p.status = @symbol(OutcomeStatus, completed)
GROUP BY p.category, p.procedure_type
