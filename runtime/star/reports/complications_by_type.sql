-- title: Complications by kind of operation
-- description: How many completed cases of a kind had complications, by the worst of them.
-- column procedure_type: kind of operation
-- column cases: completed cases with a known result
-- column no_complication: without a complication
-- column minor: with a minor one at worst
-- column moderate: with a moderate one
-- column severe: with a severe one
-- column complication_rate: moderate and severe ones of all
-- picture: bar procedure_type complication_rate
SELECT p.procedure_type, COUNT(*) AS cases, SUM(CASE WHEN p.complication_level = 'none' THEN 1 ELSE 0 END) AS no_complication,
    SUM(CASE WHEN p.complication_level = @symbol(Severity, minor) THEN 1 ELSE 0 END) AS minor,
    SUM(CASE WHEN p.complication_level = @symbol(Severity, moderate) THEN 1 ELSE 0 END) AS moderate,
    SUM(CASE WHEN p.complication_level = @symbol(Severity, severe) THEN 1 ELSE 0 END) AS severe,
    @round(AVG(CASE WHEN p.complication_level IN (@symbol(Severity, moderate), @symbol(Severity, severe)) THEN 1.0 ELSE 0.0 END), 4) AS complication_rate
FROM {schema}.fact_procedures p WHERE p.status = @symbol(OutcomeStatus, completed) AND p.complication_level IS NOT NULL
GROUP BY p.procedure_type ORDER BY p.procedure_type
