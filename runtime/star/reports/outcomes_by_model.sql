-- title: Outcomes by robot model
-- description: Models with at least ten completed cases, by the model that the robot was when the case began.
-- column robot_model: the model
-- column robots: robots of the model
-- column cases: completed cases
-- column success_rate: successful cases of those whose result is known
-- column complication_rate: cases with a moderate or severe complication of those whose result is known
-- column readmission_rate: readmissions within 30 days of those for which it is known
-- column mean_duration_minutes: mean duration of a case
-- picture: bar robot_model success_rate
SELECT robot_model, robots, cases, @round(success_rate, 4) AS success_rate, @round(complication_rate, 4) AS complication_rate,
    @round(readmission_rate, 4) AS readmission_rate, @round(mean_duration_minutes, 1) AS mean_duration_minutes
FROM {schema}.vw_outcomes_by_robot_model WHERE cases >= 10 ORDER BY cases DESC, robot_model
