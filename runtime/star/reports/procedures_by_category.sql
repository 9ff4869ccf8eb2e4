-- title: Cases by category
-- description: Completed cases of the 30 days up to the last case that ended, by category of operation.
-- column category: category of operation
-- column cases: completed cases
-- column mean_duration_minutes: mean duration of a case
-- column mean_complexity: mean complexity of a case
-- picture: bar category cases
SELECT p.category, COUNT(*) AS cases, @round(AVG(p.duration_minutes), 1) AS mean_duration_minutes, @round(AVG(p.complexity_score), 2) AS mean_complexity
FROM {schema}.fact_procedures p
WHERE p.status = @symbol(OutcomeStatus, completed) AND p.started_at >= @days_before((SELECT MAX(ended_at) FROM {schema}.procedure_outcomes), 30)
GROUP BY p.category ORDER BY cases DESC, p.category
