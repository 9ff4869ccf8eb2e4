-- Robot models, version by version, as robots are. One that a robot names and no entry describes is there without attributes.
WITH entries AS (
    SELECT robot_model, valid_from AS event_time, manufacturer, arms, joints_per_arm, service_interval_hours, instrument_lives, is_discontinued,
        @join(12, @element(categories, %), ', ') AS categories,
        @fingerprint(manufacturer, arms, joints_per_arm, service_interval_hours, instrument_lives, @join(12, @element(categories, %), ', '), CASE WHEN is_discontinued THEN '1' ELSE '0' END) AS attributes
    FROM {schema}.model_versions WHERE NOT is_withdrawn
), marked AS (
    SELECT entries.*, LAG(attributes) OVER (PARTITION BY robot_model ORDER BY event_time) AS attributes_before FROM entries
), versions AS (
    SELECT marked.*, LAG(event_time) OVER (PARTITION BY robot_model ORDER BY event_time) AS begin_before,
        LEAD(event_time) OVER (PARTITION BY robot_model ORDER BY event_time) AS next_begin
    FROM marked WHERE attributes_before IS NULL OR attributes_before <> attributes
)
SELECT robot_model || '/' || @stamp(event_time) AS model_key, robot_model, manufacturer, arms, joints_per_arm, categories, service_interval_hours,
    instrument_lives, is_discontinued, event_time AS effective_date, COALESCE(next_begin, @future()) AS expiration_date, next_begin IS NULL AS is_current,
    TRUE AS is_registered, CASE WHEN begin_before IS NULL THEN @past() ELSE event_time END AS valid_from
FROM versions
UNION ALL
SELECT heard.robot_model || '/unregistered', heard.robot_model, NULL, NULL, NULL, NULL, NULL, NULL, NULL, @past(), @future(), TRUE, FALSE, @past()
FROM (SELECT DISTINCT robot_model FROM {schema}.robot_versions WHERE robot_model IS NOT NULL AND NOT is_withdrawn) heard
WHERE heard.robot_model NOT IN (SELECT robot_model FROM {schema}.model_versions WHERE NOT is_withdrawn)
