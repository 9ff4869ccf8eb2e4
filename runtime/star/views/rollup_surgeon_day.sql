-- Signals in a surgeon's cases, day by day: merged from windows and their revisions, each counted where the robot stood when it began. Windows that overlap
-- count where they fill the day without overlap; each window_name gives the whole.
SELECT c.surgeon_id, @day(w.window_start) AS day_start, w.dataset, w.window_name, w.signal, COUNT(DISTINCT w.robot_id) AS robots,
    SUM(w.value_count) AS value_count, SUM(w.value_sum) AS value_sum, SUM(w.value_sum) / NULLIF(SUM(w.value_count), 0) AS mean, MIN(w."min") AS "min", MAX(w."max") AS "max",
    MAX(w.revision) AS revision, COUNT(*) AS windows
FROM {schema}.robot_windows w
JOIN {schema}.procedure_outcomes c ON c.robot_id = w.robot_id AND w.window_start >= c.started_at AND w.window_start < c.ended_at
WHERE @tiles(w.window_start, w.window_size_us)
GROUP BY c.surgeon_id, @day(w.window_start), w.dataset, w.window_name, w.signal
