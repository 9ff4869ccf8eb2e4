-- Outcomes by the model that the robot was when the case began.
SELECT p.robot_model, COUNT(DISTINCT p.robot_id) AS robots, COUNT(*) AS cases, @rates(p), AVG(p.duration_minutes) AS mean_duration_minutes,
    AVG(CAST(p.satisfaction AS DOUBLE PRECISION)) AS mean_satisfaction
FROM {schema}.fact_procedures p WHERE p.status = @symbol(OutcomeStatus, completed)
GROUP BY p.robot_model
