-- title: Volume of the last 12 months
-- description: Cases by month, the twelve up to the last case that began.
-- column month: the month
-- column cases: cases that ended in any way
-- column completed: of them completed
-- column mean_duration_minutes: mean duration
-- picture: bar month cases
WITH months AS (
    SELECT d.year * 12 + d.month - 1 AS number, COUNT(*) AS cases, SUM(CASE WHEN p.status = @symbol(OutcomeStatus, completed) THEN 1 ELSE 0 END) AS completed,
        AVG(p.duration_minutes) AS mean_duration_minutes, MIN(p.start_date_key) / 100 AS month_key
    FROM {schema}.fact_procedures p JOIN {schema}.dim_date d ON d.date_key = p.start_date_key
    WHERE p.ended_at IS NOT NULL GROUP BY d.year * 12 + d.month - 1
)
SELECT CAST(month_key / 100 AS VARCHAR) || '-' || SUBSTR(CAST(month_key AS VARCHAR), 5, 2) AS month, cases, completed, @round(mean_duration_minutes, 1) AS mean_duration_minutes
FROM months WHERE number > (SELECT MAX(number) FROM months) - 12 ORDER BY number
