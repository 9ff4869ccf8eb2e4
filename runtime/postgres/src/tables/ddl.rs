//! The tables' definition: columns, keys, checks and comments out of the specification of the kinds
//! of output, and the indexes that questions need.
//!
//! Every statement may be run again: it makes what is missing and leaves what is there.

use std::collections::BTreeSet;

use theatre_actors::outputs::description::{ColumnDescription, TableDescription};
use theatre_actors::outputs::{ALL, OutputKind};
use theatre_actors::ports::ColumnType;
use theatre_star::dialect::Dialect;
use theatre_star::{PEOPLE, View};

use super::grouped::Groups;
use super::{COMMITTED_AT, key, listed, quoted};

/// What [`COMMITTED_AT`] is.
pub(super) const COMMITTED_AT_MEANING: &str =
    "When Theatre committed this revision, UTC: what has changed since a moment is found by it.";

/// What must hold beside what the columns' types and enumerations say: table, name, condition.
const CHECKS: [(&str, &str, &str); 12] = [
    (
        "procedure_outcomes",
        "completeness",
        "completeness BETWEEN 0 AND 1",
    ),
    (
        "procedure_outcomes",
        "counts",
        "alerts_high >= 0 AND alerts_medium >= 0 AND alerts_low >= 0 AND telemetry_rows >= 0 AND telemetry_missing >= 0",
    ),
    ("procedures", "steps", "steps >= 0"),
    ("procedure_phases", "phase_index", "phase_index >= 0"),
    ("procedure_phases", "duration_s", "duration_s >= 0"),
    (
        "procedure_phases",
        "row_count",
        "row_count >= 0 AND late_rows >= 0",
    ),
    ("instruments", "cases", "cases >= 0"),
    ("components", "value_count", "value_count >= 0"),
    ("components", "installation", "installation >= 0"),
    ("robot_sessions", "row_count", "row_count >= 0"),
    ("robot_window_arrays", "window_rows", "window_rows >= 0"),
    (
        "robot_window_arrays",
        "window_size_us",
        "window_size_us > 0",
    ),
];

/// Indexes beside those of the keys: table, and columns as they stand in the statement. Of texts
/// that may be of any length their beginning: an entry that is too long would refuse the row.
const INDEXES: [(&str, &str); 19] = [
    ("maintenance_alerts", "condition_id, revision"),
    ("maintenance_alerts", "robot_id, event_time"),
    ("maintenance_alerts", "event_time"),
    ("shadow_alerts", "rule_id, event_time"),
    ("procedures", "procedure_id"),
    ("procedures", "robot_id, changed_at"),
    ("procedure_outcomes", "procedure_id"),
    ("procedure_outcomes", "robot_id, ended_at"),
    ("procedure_outcomes", "surgeon_id, ended_at"),
    ("procedure_outcomes", "ended_at"),
    ("procedure_phases", "procedure_id"),
    ("procedure_phases", "leg_id, phase_index"),
    ("maintenance_records", "robot_id, reported_at"),
    ("maintenance_records", "left(condition_id, 512)"),
    ("robot_versions", "left(facility_id, 512)"),
    ("instruments", "robot_id"),
    ("instruments", "left(tool_serial, 512)"),
    ("components", "robot_id"),
    ("robot_sessions", "robot_id, began_at"),
];

/// The type of a column.
pub(super) fn sql_type(column_type: ColumnType) -> String {
    let name = match column_type {
        ColumnType::Boolean => "boolean",
        ColumnType::Int32 => "integer",
        ColumnType::Int64 => "bigint",
        ColumnType::Float32 => "real",
        ColumnType::Float64 => "double precision",
        ColumnType::Utf8 => "text",
        ColumnType::Binary => "bytea",
        ColumnType::TimestampMicros => "timestamptz",
        ColumnType::Date => "date",
        ColumnType::Decimal { precision, scale } => {
            return format!("numeric({precision}, {scale})");
        }
    };
    name.to_owned()
}

/// All statements, in order.
pub(super) fn statements(schema: &str) -> Vec<String> {
    let of_kind = |kind| match Groups::of(schema, kind) {
        Some(groups) => groups.statements(),
        None => table(schema, kind),
    };
    let mut statements: Vec<String> = ALL.iter().flat_map(|spec| of_kind(spec.kind)).collect();
    statements.extend(indexes(schema));
    statements.extend(PEOPLE.iter().flat_map(|view| for_people(schema, view)));
    statements
}

/// The names of all tables and views.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    tables().chain(PEOPLE.iter().map(|view| view.name))
}

/// The names of the kinds' tables, and of those that a kind's table is a view of.
fn tables() -> impl Iterator<Item = &'static str> {
    let grouped = ALL.iter().filter_map(|spec| spec.table.grouped);
    let names = ALL.iter().map(|spec| spec.table.name);
    names.chain(grouped.map(|grouped| grouped.table))
}

fn table(schema: &str, kind: OutputKind) -> Vec<String> {
    let described = kind.description();
    let name = kind.spec().table.name;
    let place = format!("{}.{}", quoted(schema), quoted(name));
    let (key, _) = key(kind);
    let with_names = |column: &ColumnDescription| {
        let null = if column.is_required { " NOT NULL" } else { "" };
        format!("{} {}{null}", quoted(&column.name), typed(column, &key))
    };
    let mut columns: Vec<String> = described.columns.iter().map(with_names).collect();
    columns.push(format!("{} timestamptz NOT NULL", quoted(COMMITTED_AT)));
    columns.push(format!("PRIMARY KEY ({})", listed(&key)));
    let mut statements = vec![format!(
        "CREATE TABLE IF NOT EXISTS {place} ({})",
        columns.join(", ")
    )];
    // One of an earlier build may lack columns; its rows have no values there.
    statements.extend(described.columns.iter().map(|column| {
        format!(
            "ALTER TABLE {place} ADD COLUMN IF NOT EXISTS {} {}",
            quoted(&column.name),
            typed(column, &key)
        )
    }));
    for (named, condition) in checks(name, &described) {
        statements.push(check(&place, name, &named, &condition));
    }
    if kind.spec().expires {
        // Rows come in the order of their commits: their blocks tell how old they are.
        let index = quoted(&format!("{name}_{COMMITTED_AT}_brin"));
        statements.push(format!(
            "CREATE INDEX IF NOT EXISTS {index} ON {place} USING brin ({COMMITTED_AT})"
        ));
    }
    statements.push(comment("TABLE", &place, &rows(kind, &described)));
    let column = |name: &str, meaning: &str| {
        comment("COLUMN", &format!("{place}.{}", quoted(name)), meaning)
    };
    statements.extend(
        described
            .columns
            .iter()
            .map(|of| column(&of.name, &of.meaning)),
    );
    statements.push(column(COMMITTED_AT, COMMITTED_AT_MEANING));
    statements
}

/// Adds a check where there is none of this condition, which the constraint's comment says: the
/// server gives conditions back in words of its own. Rows that are there already are not looked at,
/// for that would hold writers up as long as a table is large.
pub(super) fn check(place: &str, table: &str, name: &str, condition: &str) -> String {
    let constraint = format!("{table}_{name}_check");
    let (named, quoted, condition_said) = (
        literal(&constraint),
        quoted(&constraint),
        literal(condition),
    );
    format!(
        "DO $checking$ DECLARE without_rows boolean; BEGIN
            IF NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = {}::regclass AND conname = {named}
                    AND obj_description(oid, 'pg_constraint') = {condition_said}) THEN
                SELECT NOT EXISTS (SELECT 1 FROM {place}) INTO without_rows;
                ALTER TABLE {place} DROP CONSTRAINT IF EXISTS {quoted};
                IF without_rows THEN
                    ALTER TABLE {place} ADD CONSTRAINT {quoted} CHECK ({condition});
                ELSE
                    ALTER TABLE {place} ADD CONSTRAINT {quoted} CHECK ({condition}) NOT VALID;
                END IF;
                COMMENT ON CONSTRAINT {quoted} ON {place} IS {condition_said};
            END IF;
        END $checking$",
        literal(place)
    )
}

/// What a row of the table is.
pub(super) fn rows(kind: OutputKind, described: &TableDescription) -> String {
    let (_, revision) = key(kind);
    let kept = match (kind.spec().table.keeps_every_row, revision) {
        (false, Some(_)) => " A row is the highest revision.",
        _ => "",
    };
    let expires = if kind.spec().expires {
        " Rows are deleted when they are older than window_retention."
    } else {
        ""
    };
    format!("{}{kept}{expires}", described.rows)
}

/// Ids are compared byte by byte, as the store compares them.
pub(super) fn typed(column: &ColumnDescription, key: &[String]) -> String {
    let sql_type = sql_type(column.column_type);
    if column.is_nested {
        return "jsonb".to_owned();
    }
    let is_id = column.name.ends_with("_id") || key.contains(&column.name);
    if column.column_type == ColumnType::Utf8 && is_id {
        return format!("{sql_type} COLLATE \"C\"");
    }
    sql_type
}

/// Names and conditions of the checks of a table.
pub(super) fn checks(table: &str, described: &TableDescription) -> Vec<(String, String)> {
    let mut checks = Vec::new();
    for column in &described.columns {
        let name = quoted(&column.name);
        if column.name == "revision" {
            checks.push((column.name.clone(), format!("{name} >= 0")));
        }
        if column.column_type == ColumnType::Int32 && column.name.starts_with("is_") {
            checks.push((column.name.clone(), format!("{name} IN (0, 1)")));
        }
        if !column.symbols.is_empty() {
            let symbols: Vec<String> = column.symbols.iter().map(|of| literal(of)).collect();
            let condition = format!("{name} IN ({})", symbols.join(", "));
            checks.push((column.name.clone(), condition));
        }
    }
    let further = CHECKS.iter().filter(|(of, ..)| *of == table);
    checks.extend(further.map(|(_, name, check)| ((*name).to_owned(), (*check).to_owned())));
    checks
}

fn indexes(schema: &str) -> impl Iterator<Item = String> {
    INDEXES.iter().map(move |(table, columns)| {
        let name = format!("{table}_{}_idx", columns.replace(", ", "_"));
        format!(
            "CREATE INDEX IF NOT EXISTS {} ON {}.{} ({columns})",
            quoted(&name),
            quoted(schema),
            quoted(table)
        )
    })
}

fn for_people(schema: &str, view: &View) -> Vec<String> {
    let place = format!("{}.{}", quoted(schema), quoted(view.name));
    let query = view.query(&Dialect::Postgres(&quoted(schema)));
    let mut statements = vec![
        format!("CREATE OR REPLACE VIEW {place} AS {query}"),
        comment("VIEW", &place, &view.purpose()),
    ];
    // What a file does not say of a column is what the tables say of the one of that name.
    statements.push(format!(
        "DO $said$ DECLARE named RECORD; BEGIN
            FOR named IN SELECT attname, said FROM pg_attribute
                JOIN (VALUES {}) AS known (name, said) ON known.name = attname
                WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped
            LOOP EXECUTE format('COMMENT ON COLUMN {place}.%I IS %L', named.attname, named.said); END LOOP;
        END $said$",
        known(view),
        literal(&place)
    ));
    statements.extend(
        view.columns().map(|(name, meaning)| {
            comment("COLUMN", &format!("{place}.{}", quoted(name)), meaning)
        }),
    );
    statements
}

/// What the columns of the tables are that a view names, as rows of two texts.
fn known(view: &View) -> String {
    let mut seen = BTreeSet::new();
    let described = view.tables().flat_map(|table| {
        let spec = ALL.iter().find(|spec| spec.table.name == table);
        spec.map(|spec| spec.kind.description().columns)
    });
    let mut rows = Vec::new();
    for column in described.flatten() {
        if seen.insert(column.name.clone()) {
            let (name, meaning) = (literal(&column.name), literal(&column.meaning));
            rows.push(format!("({name}, {meaning})"));
        }
    }
    rows.join(", ")
}

pub(super) fn comment(what: &str, place: &str, said: &str) -> String {
    format!("COMMENT ON {what} {place} IS {}", literal(said))
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_and_indexes_are_on_columns_that_are_there() {
        let has = |table: &str, column: &str| {
            let spec = ALL.iter().find(|spec| spec.table.name == table);
            spec.is_some_and(|spec| {
                let described = spec.kind.description();
                described.columns.iter().any(|of| of.name == column)
            })
        };
        for (table, columns) in INDEXES {
            for column in columns.split(", ").filter(|part| *part != "512)") {
                let column = column.trim_start_matches("left(");
                assert!(has(table, column), "{table} {column}");
            }
        }
        for (table, name, _) in CHECKS {
            assert!(tables().any(|known| known == table), "{table} {name}");
        }
        let distinct: BTreeSet<_> = names().collect();
        assert_eq!(distinct.len(), names().count(), "all names differ");
    }

    #[test]
    fn names_of_constraints_and_indexes_are_not_cut() {
        let name_bytes_max = 63;
        for spec in ALL {
            let described = spec.kind.description();
            for (check, _) in checks(spec.table.name, &described) {
                let name = format!("{}_{check}_check", spec.table.name);
                assert!(name.len() <= name_bytes_max, "{name}");
            }
        }
        for (table, columns) in INDEXES {
            let name = format!("{table}_{}_idx", columns.replace(", ", "_"));
            assert!(name.len() <= name_bytes_max, "{name}");
        }
    }
}
