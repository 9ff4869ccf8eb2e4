-- A condition is one need of maintenance, from its first transition to its last.
SELECT condition_id, robot_id, rule_id, MIN(raised_at) AS raised_at, MAX(event_time) AS last_event_at,
    MAX(CASE WHEN transition = @symbol(Transition, cleared) THEN event_time END) AS cleared_at, COUNT(*) AS transitions
FROM {schema}.maintenance_alerts GROUP BY condition_id, robot_id, rule_id
