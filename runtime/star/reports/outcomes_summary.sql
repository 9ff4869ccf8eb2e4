-- title: Outcomes by result
-- description: Cases of which the hospital has reported the result, by that result.
-- column success_status: the result
-- column cases: cases
-- column mean_blood_loss_ml: mean loss of blood
-- column mean_hospital_stay_days: mean stay
-- column mean_satisfaction: patients' mean satisfaction, 1 to 10
-- picture: bar success_status cases
SELECT p.success_status, COUNT(*) AS cases, @round(AVG(CAST(p.blood_loss_ml AS DOUBLE PRECISION)), 1) AS mean_blood_loss_ml,
    @round(AVG(CAST(p.hospital_stay_days AS DOUBLE PRECISION)), 2) AS mean_hospital_stay_days,
    @round(AVG(CAST(p.satisfaction AS DOUBLE PRECISION)), 2) AS mean_satisfaction
FROM {schema}.fact_procedures p WHERE p.success_status IS NOT NULL GROUP BY p.success_status ORDER BY p.success_status
