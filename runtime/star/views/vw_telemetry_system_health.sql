-- What a case's telemetry says of the robot's own state. A warning is a sample that is too hot, too slow, or too few frames a second.
SELECT procedure_id, robot_id, MIN(event_time) AS first_sample_at, MAX(event_time) AS last_sample_at, COUNT(*) AS samples,
    AVG(system_temperature) AS mean_temperature, MAX(system_temperature) AS max_temperature,
    AVG(@greatest(joints_0_current, joints_1_current, joints_2_current, joints_3_current, joints_4_current, joints_5_current)) AS mean_motor_current,
    MAX(@greatest(joints_0_current, joints_1_current, joints_2_current, joints_3_current, joints_4_current, joints_5_current)) AS max_motor_current,
    AVG(network_latency_ms) AS mean_latency_ms, MAX(network_latency_ms) AS max_latency_ms, AVG(video_fps) AS mean_video_fps, MIN(video_fps) AS min_video_fps,
    SUM(CASE WHEN system_temperature > 75 OR network_latency_ms > 100 OR video_fps < 25 THEN 1 ELSE 0 END) AS warnings
FROM {schema}.robot_telemetry WHERE procedure_id IS NOT NULL
GROUP BY procedure_id, robot_id
