-- Days from 2020-01-01 to 2039-12-31. Holidays are fixed and floating ones of the United States, as far as surgery schedules follow them.
CREATE TABLE {schema}.dim_date (
    date_key INTEGER NOT NULL,
    date DATE NOT NULL,
    year INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    month INTEGER NOT NULL,
    month_name VARCHAR(9) NOT NULL,
    week INTEGER NOT NULL,
    day_of_month INTEGER NOT NULL,
    day_of_week INTEGER NOT NULL,
    day_name VARCHAR(9) NOT NULL,
    is_weekend BOOLEAN NOT NULL,
    is_holiday BOOLEAN NOT NULL,
    fiscal_year INTEGER NOT NULL,
    fiscal_quarter INTEGER NOT NULL,
    PRIMARY KEY (date_key)
) DISTSTYLE ALL SORTKEY (date_key);

CREATE TEMP TABLE theatre_digits (n INTEGER);

INSERT INTO theatre_digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);

INSERT INTO {schema}.dim_date
SELECT CAST(TO_CHAR(day, 'YYYYMMDD') AS INTEGER), day, CAST(EXTRACT(year FROM day) AS INTEGER), CAST(EXTRACT(quarter FROM day) AS INTEGER),
    CAST(EXTRACT(month FROM day) AS INTEGER), TRIM(TO_CHAR(day, 'Month')), CAST(EXTRACT(week FROM day) AS INTEGER), CAST(EXTRACT(day FROM day) AS INTEGER),
    CAST(EXTRACT(dow FROM day) AS INTEGER), TRIM(TO_CHAR(day, 'Day')), EXTRACT(dow FROM day) IN (0, 6),
    TO_CHAR(day, 'MMDD') IN ('0101', '0704', '1225')
        OR (EXTRACT(month FROM day) = 11 AND EXTRACT(dow FROM day) = 4 AND EXTRACT(day FROM day) BETWEEN 22 AND 28),
    CAST(EXTRACT(year FROM day) AS INTEGER) + CASE WHEN EXTRACT(month FROM day) >= 10 THEN 1 ELSE 0 END,
    CASE WHEN EXTRACT(month FROM day) >= 10 THEN 1 ELSE CAST(EXTRACT(quarter FROM day) AS INTEGER) + 1 END
FROM (
    SELECT CAST('2020-01-01' AS DATE) + (a.n + 10 * b.n + 100 * c.n + 1000 * d.n) AS day
    FROM theatre_digits a CROSS JOIN theatre_digits b CROSS JOIN theatre_digits c CROSS JOIN theatre_digits d
) days
WHERE day < CAST('2040-01-01' AS DATE);

CREATE TABLE {schema}.dim_time (
    time_key INTEGER NOT NULL,
    time_value VARCHAR(8) NOT NULL,
    hour INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    second INTEGER NOT NULL,
    hour_12 INTEGER NOT NULL,
    am_pm VARCHAR(2) NOT NULL,
    time_of_day VARCHAR(9) NOT NULL,
    business_hours BOOLEAN NOT NULL,
    PRIMARY KEY (time_key)
) DISTSTYLE ALL SORTKEY (time_key);

INSERT INTO {schema}.dim_time
SELECT h * 10000 + m * 100, LPAD(CAST(h AS VARCHAR(2)), 2, '0') || ':' || LPAD(CAST(m AS VARCHAR(2)), 2, '0') || ':00', h, m, 0,
    CASE WHEN MOD(h, 12) = 0 THEN 12 ELSE MOD(h, 12) END, CASE WHEN h < 12 THEN 'AM' ELSE 'PM' END,
    CASE WHEN h >= 5 AND h < 12 THEN 'Morning' WHEN h >= 12 AND h < 17 THEN 'Afternoon' WHEN h >= 17 AND h < 21 THEN 'Evening' ELSE 'Night' END,
    h >= 8 AND h < 18
FROM (SELECT a.n + 10 * b.n AS h FROM theatre_digits a CROSS JOIN theatre_digits b) hours
    CROSS JOIN (SELECT a.n + 10 * b.n AS m FROM theatre_digits a CROSS JOIN theatre_digits b) minutes
WHERE h < 24 AND m < 60;

DROP TABLE theatre_digits;
