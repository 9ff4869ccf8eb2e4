-- title: Health of the robots
-- description: What telemetry says of robots with at least five cases. A warning is a sample above 75 degrees, above 100 ms of latency, or below 25 frames a second.
-- column robot_id: the robot
-- column cases: cases with telemetry
-- column samples: samples
-- column mean_temperature: mean temperature, degrees Celsius
-- column max_temperature: highest temperature
-- column max_motor_current: highest motor current, ampere
-- column max_latency_ms: highest latency
-- column min_video_fps: fewest frames a second
-- column warnings: samples with a warning
-- picture: bar robot_id warnings
SELECT robot_id, COUNT(*) AS cases, SUM(samples) AS samples, @round(SUM(mean_temperature * samples) / SUM(samples), 2) AS mean_temperature,
    MAX(max_temperature) AS max_temperature, MAX(max_motor_current) AS max_motor_current, MAX(max_latency_ms) AS max_latency_ms,
    MIN(min_video_fps) AS min_video_fps, SUM(warnings) AS warnings
FROM {schema}.vw_telemetry_system_health GROUP BY robot_id HAVING COUNT(*) >= 5 ORDER BY warnings DESC, robot_id
