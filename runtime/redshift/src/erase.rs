//! Rows taken out of a table: one transaction, which locks the ledger, so that no load comes
//! between, and ends without a change when the ledger has another number of the table's loads.

use theatre_actors::ports::{Result, RowSelection, TableErasure};
use theatre_parquet::{date, day_of, fitting};

use super::poller::Ended;
use super::session::{BATCH_MAX, Session, unavailable};
use super::sql::{self, MISCOUNTED};

/// Bytes of names in one statement: the Data API takes 100,000 in all.
const NAMES_BYTES_MAX: usize = 60_000;
/// Where among the statements the loads are counted, from 0.
const LOAD_CHECK: usize = 1;
/// Conditions of one transaction: each makes two statements, beside the lock and the check.
const CONDITIONS_MAX: usize = (BATCH_MAX - 2) / 2;

/// Erases the rows.
pub(super) fn erase(
    session: &Session,
    schema: &str,
    erasure: &TableErasure,
) -> Result<Option<u64>> {
    let conditions = conditions(&erasure.rows);
    let mut erased = 0;
    // Of more robots than one transaction takes, those of a later one are still there after a kill,
    // and go when it is repeated.
    for some in conditions.chunks(CONDITIONS_MAX) {
        match transaction(session, schema, erasure, some)? {
            Some(rows) => erased += rows,
            None => return Ok(None),
        }
    }
    Ok(Some(erased))
}

fn transaction(
    session: &Session,
    schema: &str,
    erasure: &TableErasure,
    conditions: &[String],
) -> Result<Option<u64>> {
    let statements = statements(schema, erasure, conditions);
    let token = format!("{:032x}", rand::random::<u128>());
    let id = session.submit_batch(statements, "theatre-erase", &token)?;
    match session.wait(&id)? {
        Ended::Failed { error, part }
            if part == Some(LOAD_CHECK) && error.to_lowercase().contains(MISCOUNTED) =>
        {
            return Ok(None);
        }
        ended => ended.finished()?,
    }
    let mut erased = 0;
    if erasure.loads > 0 {
        for condition in 0..conditions.len() {
            // Parts of a batch are numbered from 1.
            let counted = session.fetch(&format!("{id}:{}", LOAD_CHECK + 2 + 2 * condition))?;
            let rows = counted.rows.first().and_then(|row| row.first()?.as_u64());
            erased +=
                rows.ok_or_else(|| unavailable("rows were erased, and how many is not known"))?;
        }
    }
    Ok(Some(erased))
}

fn statements(schema: &str, erasure: &TableErasure, conditions: &[String]) -> Vec<String> {
    let table = &erasure.table.name;
    let ledger = format!("{}.load_ledger", sql::name(schema));
    let target = format!("{}.{}", sql::name(schema), sql::name(table));
    let mut statements = vec![
        format!("LOCK {ledger}"),
        format!(
            "SELECT 1 / CASE WHEN count(*) = {} THEN 1 ELSE 0 END FROM {ledger} WHERE table_name = {}",
            erasure.loads,
            sql::text(table)
        ),
    ];
    // Without a load there may be no table yet.
    let conditions = conditions.iter().filter(|_| erasure.loads > 0);
    statements.extend(conditions.flat_map(|condition| {
        [
            format!("SELECT count(*) FROM {target} WHERE {condition}"),
            format!("DELETE FROM {target} WHERE {condition}"),
        ]
    }));
    statements
}

/// Conditions that together mean the rows, none of them longer than a statement may be.
fn conditions(rows: &RowSelection) -> Vec<String> {
    let mut conditions = Vec::new();
    if let Some(column) = &rows.robot_column {
        let mut names: Vec<String> = Vec::new();
        let mut bytes = 0;
        let of = |names: &[String]| format!("{} IN ({})", sql::name(column), names.join(", "));
        for robot in &rows.robots {
            let name = sql::text(&fitting(robot));
            if bytes + name.len() > NAMES_BYTES_MAX && !names.is_empty() {
                conditions.push(of(&names));
                names.clear();
                bytes = 0;
            }
            bytes += name.len();
            names.push(name);
        }
        if !names.is_empty() {
            conditions.push(of(&names));
        }
    }
    if let (Some(column), Some(before)) = (&rows.time_column, rows.before) {
        conditions.push(format!("{} < {}", sql::name(column), timestamp(before)));
    }
    conditions
}

/// A moment as a literal.
fn timestamp(micros: i64) -> String {
    let day = day_of(micros);
    let of_day = micros - day * 86_400_000_000;
    let (seconds, rest) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!(
        "TIMESTAMP '{} {hours:02}:{minutes:02}:{:02}.{rest:06}'",
        date(day),
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use theatre_actors::ports::{LoadMode, TableSpec};

    use super::*;

    fn rows(robots: impl IntoIterator<Item = String>, before: Option<i64>) -> RowSelection {
        RowSelection {
            robot_column: Some("robot_id".to_owned()),
            time_column: Some("event_time".to_owned()),
            robots: robots.into_iter().collect::<BTreeSet<_>>(),
            before,
        }
    }

    #[test]
    fn no_statement_is_longer_than_the_api_takes_and_no_robot_is_left_out() {
        let robots = (0..9000).map(|number| format!("robot-{number:05}'s"));
        let conditions = conditions(&rows(robots, None));
        assert!(conditions.len() > 1 && conditions.iter().all(|it| it.len() < 90_000));
        let names: usize = conditions.iter().map(|it| it.matches("''s'").count()).sum();
        assert_eq!(names, 9000);
    }

    #[test]
    fn the_ledger_is_locked_and_counted_before_anything_is_deleted() {
        let erasure = TableErasure {
            table: TableSpec {
                name: "t".to_owned(),
                columns: Vec::new(),
                mode: LoadMode::Append,
            },
            rows: rows(["a".to_owned()], Some(-1)),
            loads: 3,
        };
        let all = statements("s", &erasure, &conditions(&erasure.rows));
        assert_eq!(all.len(), 6);
        assert!(all[0].starts_with("LOCK") && all[LOAD_CHECK].contains("count(*) = 3"));
        assert_eq!(
            all[3],
            "DELETE FROM \"s\".\"t\" WHERE \"robot_id\" IN ('a')"
        );
        assert!(all[5].ends_with("< TIMESTAMP '1969-12-31 23:59:59.999999'"));
        let none = TableErasure {
            loads: 0,
            ..erasure
        };
        assert_eq!(statements("s", &none, &conditions(&none.rows)).len(), 2);
    }
}
