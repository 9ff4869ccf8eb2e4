-- title: Utilisation of robots
-- description: The 500 robots with the most completed cases, the busiest first.
-- column robot_id: the robot
-- column serial: its serial number
-- column model: its model today
-- column facility_id: where it stands today
-- column cases: completed cases
-- column hours: hours of operation
-- column mean_duration_minutes: mean duration of a case
-- column mean_complexity: mean complexity of a case
-- column cases_per_day: cases by days from its first to its last
SELECT robot_id, serial, model, facility_id, cases, @round(hours, 1) AS hours, @round(mean_duration_minutes, 1) AS mean_duration_minutes,
    @round(mean_complexity, 2) AS mean_complexity, @round(cases_per_day, 3) AS cases_per_day
FROM {schema}.vw_robot_utilization ORDER BY cases DESC, robot_id LIMIT 500
