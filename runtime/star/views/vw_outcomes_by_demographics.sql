-- Outcomes by the patients' gender and age. Where neither is known, both are 'unknown'.
SELECT COALESCE(p.patient_gender, 'unknown') AS gender, p.age_band, COUNT(*) AS cases, @rates(p),
    AVG(CAST(p.hospital_stay_days AS DOUBLE PRECISION)) AS mean_hospital_stay_days, AVG(CAST(p.satisfaction AS DOUBLE PRECISION)) AS mean_satisfaction
FROM {schema}.fact_procedures p
WHERE p.status = @symbol(OutcomeStatus, completed)
GROUP BY COALESCE(p.patient_gender, 'unknown'), p.age_band
