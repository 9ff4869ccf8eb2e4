//! The star schema in SQLite: the calendar as tables, all else as views; and the views that the
//! checkpoint store on PostgreSQL has for people, as far as no table or view has their names.

use std::sync::OnceLock;

use rusqlite::{Connection, OptionalExtension};
use theatre_actors::ports::{Result, TableSpec};
use theatre_star::dialect::Dialect;
use theatre_star::{PEOPLE, VIEWS, View};

use super::super::fault;
use super::{WHAT, quoted};

/// Of which build the views are.
const VERSION: &str = "CREATE TABLE IF NOT EXISTS star_version (fingerprint TEXT NOT NULL) STRICT";

/// Days from 2020-01-01 to 2039-12-31, and minutes of a day, as the migrations of Redshift make
/// them. What is asked of a day is worked out once (`MATERIALIZED`): SQLite would do it for each
/// place that names it, and be busy for most of the first start. The index served views of earlier
/// builds.
const CALENDAR: &str = "
CREATE TABLE IF NOT EXISTS dim_date (date_key INTEGER PRIMARY KEY, date INTEGER NOT NULL, year INTEGER NOT NULL, quarter INTEGER NOT NULL,
    month INTEGER NOT NULL, month_name TEXT NOT NULL, week INTEGER NOT NULL, day_of_month INTEGER NOT NULL, day_of_week INTEGER NOT NULL,
    day_name TEXT NOT NULL, is_weekend INTEGER NOT NULL, is_holiday INTEGER NOT NULL, fiscal_year INTEGER NOT NULL, fiscal_quarter INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS dim_time (time_key INTEGER PRIMARY KEY, time_value TEXT NOT NULL, hour INTEGER NOT NULL, minute INTEGER NOT NULL,
    second INTEGER NOT NULL, hour_12 INTEGER NOT NULL, am_pm TEXT NOT NULL, time_of_day TEXT NOT NULL, business_hours INTEGER NOT NULL) STRICT;
WITH RECURSIVE days (date, moment) AS (
    SELECT 18262, 18262 * 86400 UNION ALL SELECT date + 1, (date + 1) * 86400 FROM days WHERE date < 25566
), texts AS MATERIALIZED (
    SELECT date, strftime('%Y%m%d%w%V', moment, 'unixepoch') AS text FROM days WHERE NOT EXISTS (SELECT 1 FROM dim_date)
), parts AS MATERIALIZED (
    SELECT date, CAST(substr(text, 1, 4) AS INTEGER) AS year, CAST(substr(text, 5, 2) AS INTEGER) AS month, CAST(substr(text, 7, 2) AS INTEGER) AS day,
        CAST(substr(text, 9, 1) AS INTEGER) AS weekday, CAST(substr(text, 10, 2) AS INTEGER) AS week FROM texts
)
INSERT INTO dim_date
SELECT year * 10000 + month * 100 + day, date, year, (month + 2) / 3, month,
    CASE month WHEN 1 THEN 'January' WHEN 2 THEN 'February' WHEN 3 THEN 'March' WHEN 4 THEN 'April' WHEN 5 THEN 'May' WHEN 6 THEN 'June' WHEN 7 THEN 'July'
        WHEN 8 THEN 'August' WHEN 9 THEN 'September' WHEN 10 THEN 'October' WHEN 11 THEN 'November' ELSE 'December' END,
    week, day, weekday,
    CASE weekday WHEN 0 THEN 'Sunday' WHEN 1 THEN 'Monday' WHEN 2 THEN 'Tuesday' WHEN 3 THEN 'Wednesday' WHEN 4 THEN 'Thursday' WHEN 5 THEN 'Friday'
        ELSE 'Saturday' END,
    weekday IN (0, 6), month * 100 + day IN (101, 704, 1225) OR (month = 11 AND weekday = 4 AND day BETWEEN 22 AND 28),
    year + (month >= 10), CASE WHEN month >= 10 THEN 1 ELSE (month + 2) / 3 + 1 END
FROM parts;
WITH RECURSIVE minutes (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM minutes WHERE n < 1439),
parts AS (SELECT n / 60 AS h, n % 60 AS m FROM minutes)
INSERT INTO dim_time
SELECT h * 10000 + m * 100, printf('%02d:%02d:00', h, m), h, m, 0, CASE WHEN h % 12 = 0 THEN 12 ELSE h % 12 END, CASE WHEN h < 12 THEN 'AM' ELSE 'PM' END,
    CASE WHEN h >= 5 AND h < 12 THEN 'Morning' WHEN h >= 12 AND h < 17 THEN 'Afternoon' WHEN h >= 17 AND h < 21 THEN 'Evening' ELSE 'Night' END,
    h >= 8 AND h < 18
FROM parts WHERE NOT EXISTS (SELECT 1 FROM dim_time);
DROP INDEX IF EXISTS procedure_outcomes_by_case;";

/// The names of the tables on which the views stand: to find them, all schemas are read.
fn below() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let tables = theatre_star::tables().into_iter();
        tables.map(|table| table.name).collect()
    })
}

/// The views for people whose names no table and no view of the star schema has: of logs of
/// maintenance there is a table with the records as they came, and of what robots did a view of the
/// star schema.
fn for_people(tables: &[TableSpec]) -> Vec<&'static View> {
    let taken = |name: &str| {
        tables.iter().any(|table| table.name == name) || VIEWS.iter().any(|view| view.name == name)
    };
    PEOPLE.iter().filter(|view| !taken(view.name)).collect()
}

/// Makes what is missing or of another build, once all tables are there on which the views stand.
pub(super) fn ensure(connection: &Connection, tables: &[TableSpec]) -> Result<()> {
    let is_there = |name: &String| tables.iter().any(|table| table.name == *name);
    if !below().iter().all(is_there) {
        return Ok(());
    }
    let people = for_people(tables);
    let names: Vec<&str> = people.iter().map(|view| view.name).collect();
    let wanted = format!(
        "{}, {} {}",
        theatre_star::fingerprint(),
        theatre_star::fingerprint_of(PEOPLE),
        names.join(" ")
    );
    let there: Option<String> = connection
        .execute_batch(VERSION)
        .and_then(|()| {
            connection
                .query_row("SELECT fingerprint FROM star_version", [], |row| row.get(0))
                .optional()
        })
        .map_err(fault(WHAT))?;
    if there.as_deref() == Some(wanted.as_str()) {
        return Ok(());
    }
    connection.execute_batch(CALENDAR).map_err(fault(WHAT))?;
    let views = || VIEWS.iter().chain(people.iter().copied());
    let mut statements: Vec<String> = views()
        .map(|view| format!("DROP VIEW IF EXISTS {}", quoted(view.name)))
        .collect();
    statements.extend(views().map(|view| {
        let query = view.query(&Dialect::Sqlite);
        format!("CREATE VIEW {} AS {query}", quoted(view.name))
    }));
    statements.push("DELETE FROM star_version".to_owned());
    statements.push(format!("INSERT INTO star_version VALUES ('{wanted}')"));
    statements
        .iter()
        .try_for_each(|sql| connection.execute_batch(sql).map_err(fault(WHAT)))
}
