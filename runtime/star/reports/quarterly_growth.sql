-- title: Growth by quarter
-- description: Completed cases by quarter, and how many more than in the one before.
-- column quarter: the quarter
-- column cases: completed cases
-- column cases_before: those of the quarter before
-- column growth: change, as a share
-- picture: line quarter cases
WITH quarters AS (
    SELECT d.year * 4 + d.quarter AS number, d.year, d.quarter, COUNT(*) AS cases
    FROM {schema}.fact_procedures p JOIN {schema}.dim_date d ON d.date_key = p.start_date_key
    WHERE p.status = @symbol(OutcomeStatus, completed) GROUP BY d.year * 4 + d.quarter, d.year, d.quarter
)
SELECT CAST(q.year AS VARCHAR) || ' Q' || CAST(q.quarter AS VARCHAR) AS quarter, q.cases, b.cases AS cases_before,
    @round((q.cases - b.cases) / CAST(b.cases AS DOUBLE PRECISION), 4) AS growth
FROM quarters q LEFT JOIN quarters b ON b.number = q.number - 1 ORDER BY q.number
