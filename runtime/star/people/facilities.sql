-- A row for each facility: what it is now, by its latest version.
--= facility_versions
--: valid_from: From when on the latest version holds.
--: robots: Robots that are there now, by their latest versions.
WITH latest AS (
    SELECT v.*, ROW_NUMBER() OVER (PARTITION BY v.facility_id ORDER BY v.valid_from DESC) AS place
    FROM {schema}.facility_versions v WHERE NOT v.is_withdrawn
), placed AS (
    SELECT v.robot_id, v.facility_id, ROW_NUMBER() OVER (PARTITION BY v.robot_id ORDER BY v.valid_from DESC) AS place
    FROM {schema}.robot_versions v WHERE NOT v.is_withdrawn
), there AS (
    SELECT facility_id, COUNT(*) AS robots FROM placed WHERE place = 1 GROUP BY facility_id
)
SELECT l.facility_id, l.facility_name, l.city, l.state, l.country, l.facility_type, l.bed_count, l.time_zone, l.is_closed, l.valid_from,
    COALESCE(t.robots, 0) AS robots
FROM latest l LEFT JOIN there t ON t.facility_id = l.facility_id
WHERE l.place = 1
