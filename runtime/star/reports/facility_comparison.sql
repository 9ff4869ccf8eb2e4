-- title: Facilities beside each other
-- description: Cases and outcomes by the facility in which the robot stood when the case began.
-- column facility_id: the facility
-- column facility_name: its name today
-- column robots: robots that had a case there
-- column cases: completed cases
-- column surgeons: surgeons
-- column success_rate: successful cases of those whose result is known
-- column complication_rate: cases with a moderate or severe complication of those whose result is known
-- column mean_duration_minutes: mean duration of a case
-- column mean_satisfaction: patients' mean satisfaction, 1 to 10
-- picture: bar facility_id success_rate
SELECT facility_id, facility_name, robots, cases, surgeons, @round(success_rate, 4) AS success_rate, @round(complication_rate, 4) AS complication_rate,
    @round(mean_duration_minutes, 1) AS mean_duration_minutes, @round(mean_satisfaction, 2) AS mean_satisfaction
FROM {schema}.vw_facility_performance ORDER BY cases DESC, facility_id
