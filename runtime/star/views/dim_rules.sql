-- Rules that have raised alerts.
SELECT rule_id, MAX(rule_version) AS rule_version, MIN(raised_at) AS first_raised_at, MAX(raised_at) AS last_raised_at
FROM {schema}.maintenance_alerts GROUP BY rule_id
