-- Signals of a robot model, day by day: merged from windows and their revisions, each counted where the robot stood when it began. Windows that overlap
-- count where they fill the day without overlap; each window_name gives the whole.
SELECT r.model AS robot_model, @day(w.window_start) AS day_start, w.dataset, w.window_name, w.signal, COUNT(DISTINCT w.robot_id) AS robots,
    SUM(w.value_count) AS value_count, SUM(w.value_sum) AS value_sum, SUM(w.value_sum) / NULLIF(SUM(w.value_count), 0) AS mean, MIN(w."min") AS "min", MAX(w."max") AS "max",
    MAX(w.revision) AS revision, COUNT(*) AS windows
FROM {schema}.robot_windows w
LEFT JOIN {schema}.star_robots r ON r.robot_id = w.robot_id AND w.window_start >= r.valid_from AND w.window_start < r.expiration_date
WHERE @tiles(w.window_start, w.window_size_us)
GROUP BY r.model, @day(w.window_start), w.dataset, w.window_name, w.signal
