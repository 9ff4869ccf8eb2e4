-- A signal of a revision of a window, with the keys that were valid where the window begins.
SELECT w.*, r.robot_key, r.facility_id, r.model AS robot_model, @date_key(w.window_start) AS date_key, @time_key(w.window_start) AS time_key
FROM {schema}.robot_windows w
LEFT JOIN {schema}.star_robots r ON r.robot_id = w.robot_id AND w.window_start >= r.valid_from AND w.window_start < r.expiration_date
