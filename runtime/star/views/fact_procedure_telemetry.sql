-- A sample taken in a case, with the keys that were valid at its time. This is the one mapping from a robot's signals to columns of the warehouse.
-- A number that is given anew belongs to the case that began last, also where no end of the one before is known.
SELECT t._topic || '/' || CAST(t._partition AS VARCHAR) || '/' || CAST(t._offset AS VARCHAR) AS telemetry_key, c.procedure_key, t.procedure_id, t.robot_id,
    r.robot_key, r.facility_id, f.facility_key, m.model_key, c.surgeon_id, s.surgeon_key,
    t.event_time AS sample_timestamp, @date_key(t.event_time) AS date_key, @time_key(t.event_time) AS timestamp_key, t.arm_id,
    t.arm_position_x, t.arm_position_y, t.arm_position_z, t.arm_rotation_x, t.arm_rotation_y, t.arm_rotation_z,
    SQRT(t.force_feedback_x * t.force_feedback_x + t.force_feedback_y * t.force_feedback_y + t.force_feedback_z * t.force_feedback_z) AS force_feedback,
    t.force_feedback_x, t.force_feedback_y, t.force_feedback_z, t.tool_type, t.tool_serial, t.tool_active, t.tool_use_count, t.grip_pressure,
    t.tremor_compensation, t.camera_zoom, t.camera_angle, t.lighting_level, t.system_temperature, t.power_consumption,
    @greatest(t.joints_0_current, t.joints_1_current, t.joints_2_current, t.joints_3_current, t.joints_4_current, t.joints_5_current) AS motor_current,
    t.network_latency_ms, t.packet_loss, t.video_fps, t.operating_state, t.error_code, t.warning_code, t.sequence, t.boot_id
FROM {schema}.robot_telemetry t
LEFT JOIN (
    SELECT procedure_key, procedure_id, COALESCE(surgeon_id, case_surgeon_id) AS surgeon_id, case_began_at, COALESCE(ended_at, @future()) AS ended_at,
        COALESCE(LEAD(case_began_at) OVER (PARTITION BY procedure_id ORDER BY case_began_at, procedure_key), @future()) AS next_began_at
    FROM {schema}.star_legs WHERE is_latest
) c ON c.procedure_id = t.procedure_id AND t.event_time >= c.case_began_at AND t.event_time <= c.ended_at AND t.event_time < c.next_began_at
LEFT JOIN {schema}.star_robots r ON r.robot_id = t.robot_id AND t.event_time >= r.valid_from AND t.event_time < r.expiration_date
LEFT JOIN {schema}.star_surgeons s ON s.surgeon_id = c.surgeon_id AND t.event_time >= s.valid_from AND t.event_time < s.expiration_date
LEFT JOIN {schema}.dim_facilities f ON f.facility_id = r.facility_id AND t.event_time >= f.valid_from AND t.event_time < f.expiration_date
LEFT JOIN {schema}.dim_models m ON m.robot_model = r.model AND t.event_time >= m.valid_from AND t.event_time < m.expiration_date
WHERE t.procedure_id IS NOT NULL
