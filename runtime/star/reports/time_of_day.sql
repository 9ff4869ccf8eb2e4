-- title: Cases by time of day
-- description: Completed cases by the part of the day in which they began, UTC.
-- column time_of_day: morning from 5, afternoon from 12, evening from 17, night from 21
-- column cases: completed cases
-- column mean_duration_minutes: mean duration
-- column success_rate: successful cases of those whose result is known
-- column complication_rate: cases with a moderate or severe complication of those whose result is known
-- column readmission_rate: readmissions within 30 days of those for which it is known
-- picture: bar time_of_day cases
SELECT t.time_of_day, COUNT(*) AS cases, @round(AVG(p.duration_minutes), 1) AS mean_duration_minutes, @rates_rounded(p)
FROM {schema}.fact_procedures p JOIN {schema}.dim_time t ON t.time_key = p.start_time_key
WHERE p.status = @symbol(OutcomeStatus, completed)
GROUP BY t.time_of_day ORDER BY MIN((t.hour + 19) % 24)
