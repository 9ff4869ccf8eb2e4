-- Signals in a surgeon's cases, by the hour in which the case began on the robot: of the rows that name the case, from its begin there to its end, as the
-- aggregates over the whole case have them. Cases are there once they have ended.
WITH measured AS (
    SELECT w.leg_id, w.began_at, w.revision, w.is_exact, @each(w.signals, name) AS signal, @each_integer(w.signals, count) AS value_count,
        @each_number(w.signals, sum) AS value_sum, @each_number(w.signals, min) AS least, @each_number(w.signals, max) AS most
    FROM {schema}.procedure_phases w
    JOIN @elements_of(w.signals, {schema}.dim_time)
    WHERE w.phase_index = 0
)
SELECT l.surgeon_id, @hour(COALESCE(c.began_at, l.began_at)) AS hour_start, c.signal, COUNT(DISTINCT l.robot_id) AS robots, SUM(c.value_count) AS value_count,
    SUM(c.value_sum) AS value_sum, SUM(c.value_sum) / SUM(c.value_count) AS mean, MIN(c.least) AS "min", MAX(c.most) AS "max", MAX(c.revision) AS revision,
    COUNT(DISTINCT l.procedure_key) AS cases, MIN(c.is_exact) AS is_exact
FROM measured c
JOIN {schema}.star_legs l ON l.leg_id = c.leg_id
WHERE c.value_count > 0
GROUP BY l.surgeon_id, @hour(COALESCE(c.began_at, l.began_at)), c.signal
