-- title: Surgeons by success
-- description: The twenty surgeons with the highest success rate, of those with at least twenty completed cases. Ids are pseudonyms.
-- column surgeon_id: the surgeon
-- column cases: completed cases
-- column years_experience: years of experience at the last case
-- column success_rate: successful cases of those whose result is known
-- column complication_rate: cases with a moderate or severe complication of those whose result is known
-- column mean_complexity: mean complexity, 1 to 5
-- picture: bar surgeon_id success_rate
SELECT surgeon_id, cases, @round(years_experience, 1) AS years_experience, @round(success_rate, 4) AS success_rate, @round(complication_rate, 4) AS complication_rate,
    @round(mean_complexity, 2) AS mean_complexity
FROM {schema}.vw_surgeon_performance WHERE cases >= 20 AND success_rate IS NOT NULL ORDER BY success_rate DESC, surgeon_id LIMIT 20
