-- A row for each condition as it stands: open until its latest transition is cleared.
--= maintenance_alerts
--: is_open: False once the condition is cleared.
--: transition: Its latest transition.
--: revision: Number of that transition.
--: changed_at: When that transition was.
--: cleared_at: When it was cleared; null while it is open.
--: priority: Priority now, as in IEC 60601-1-8.
--: transitions: Transitions so far.
SELECT condition_id, robot_id, procedure_id, rule_id, rule_version, transition <> @symbol(Transition, cleared) AS is_open, transition, revision, priority,
    raised_at, event_time AS changed_at, CASE WHEN transition = @symbol(Transition, cleared) THEN event_time END AS cleared_at, value, "limit", signal, unit,
    message, subject, reason, acknowledged_by, acknowledged_at, assignee, silenced_until, escalation, is_latched, is_flapping,
    (SELECT COUNT(*) FROM {schema}.maintenance_alerts t WHERE t.condition_id = a.condition_id) AS transitions
FROM {schema}.maintenance_alerts a
WHERE NOT EXISTS (SELECT 1 FROM {schema}.maintenance_alerts l WHERE l.condition_id = a.condition_id AND l.revision > a.revision)
