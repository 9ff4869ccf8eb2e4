-- title: Utilisation of facilities
-- description: Hours of operation in the 90 days up to the last case, of a capacity of eight hours for each robot and day.
-- column facility_id: the facility
-- column robots: robots that stand there today and are not retired
-- column hours: hours of operation
-- column capacity_hours: hours that were there
-- column utilisation: share of them
-- picture: bar facility_id utilisation
WITH used AS (
    SELECT p.facility_id, SUM(p.duration_minutes) / 60.0 AS hours FROM {schema}.fact_procedures p
    WHERE p.status = @symbol(OutcomeStatus, completed) AND p.started_at >= @days_before((SELECT MAX(ended_at) FROM {schema}.procedure_outcomes), 90)
    GROUP BY p.facility_id
), standing AS (
    SELECT facility_id, COUNT(*) AS robots FROM {schema}.star_robots
    WHERE is_current AND facility_id IS NOT NULL AND (status IS NULL OR status <> @symbol(RobotStatus, retired)) GROUP BY facility_id
)
SELECT standing.facility_id, standing.robots, @round(COALESCE(used.hours, 0), 1) AS hours, standing.robots * 90 * 8 AS capacity_hours,
    @round(COALESCE(used.hours, 0) / (standing.robots * 90 * 8), 4) AS utilisation
FROM standing LEFT JOIN used ON used.facility_id = standing.facility_id ORDER BY utilisation DESC, standing.facility_id
