-- A row for each transition of a condition; condition_id holds those of a condition together, and revision orders them.
--= maintenance_alerts
SELECT alert_id, condition_id, revision, transition, robot_id, procedure_id, rule_id, rule_version, priority, event_time, raised_at, value, "limit", signal,
    unit, message, subject, reason, actor, comment, action_id, acknowledged_by, acknowledged_at, assignee, silenced_until, escalation, is_latched, is_flapping
FROM {schema}.maintenance_alerts
