//! Tables whose rows come in groups: a row holds what the rows of a group share, and all else of
//! them in arrays. A view has the rows one by one, under the name of the kind's table.
//!
//! An array has no NULL in it, for only then its parts are found by counting: what is not there is
//! NaN or `-infinity`, which no value is, and NULL in the view.

use std::collections::HashMap;

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use theatre_actors::outputs::description::{ColumnDescription, TableDescription};
use theatre_actors::outputs::{Grouped, OutputKind};
use theatre_actors::ports::{ColumnType, ColumnValues, TableRows};

use super::super::failure::{Attempt, Failure};
use super::ddl::{self, comment, literal, sql_type};
use super::values::Moment;
use super::{COMMITTED_AT, bind, listed, quoted};

/// A row as long as this stays whole in its block: to compress it costs more than to write it.
const LENGTH_BYTES: usize = 8160;

/// Name in the statements of the first row of a group, and of the last, counted from 1.
const FIRST: &str = "first_of_group";
const LAST: &str = "last_of_group";

/// A kind whose rows come in groups.
pub(super) struct Groups {
    kind: OutputKind,
    pub(super) grouped: Grouped,
    described: TableDescription,
    /// The table, and the view of it, with their schema.
    table: String,
    view: String,
}

impl Groups {
    pub(super) fn of(schema: &str, kind: OutputKind) -> Option<Self> {
        let spec = &kind.spec().table;
        let grouped = spec.grouped?;
        let place = |name: &str| format!("{}.{}", quoted(schema), quoted(name));
        Some(Self {
            kind,
            grouped,
            described: kind.description(),
            table: place(grouped.table),
            view: place(spec.name),
        })
    }

    fn shared(&self) -> &[ColumnDescription] {
        &self.described.columns[..self.grouped.shared]
    }

    fn own(&self) -> &[ColumnDescription] {
        &self.described.columns[self.grouped.shared..]
    }

    /// The columns that tell groups apart: those of their rows that rows of a group share.
    fn key(&self) -> Vec<&str> {
        let identity = self.kind.spec().table.identity.iter();
        let is_shared = |name: &str| self.shared().iter().any(|column| column.name == name);
        identity.copied().filter(|name| is_shared(name)).collect()
    }

    /// What makes table and view, or brings them to this build.
    pub(super) fn statements(&self) -> Vec<String> {
        let mut statements = self.table_statements();
        statements.push(self.taken_from_rows());
        statements.extend(self.view_statements());
        statements
    }

    fn table_statements(&self) -> Vec<String> {
        let (table, name) = (&self.table, self.grouped.table);
        let key: Vec<String> = self.key().into_iter().map(str::to_owned).collect();
        let shared = self.shared().iter().map(|column| {
            let null = if column.is_required { " NOT NULL" } else { "" };
            format!(
                "{} {}{null}",
                quoted(&column.name),
                ddl::typed(column, &key)
            )
        });
        let mut columns: Vec<String> = shared.collect();
        columns.push(format!("{} timestamptz NOT NULL", quoted(COMMITTED_AT)));
        columns.extend(self.own().iter().map(array));
        columns.push(format!("PRIMARY KEY ({})", listed(&key)));
        let mut statements = vec![format!(
            "CREATE TABLE IF NOT EXISTS {table} ({}) WITH (toast_tuple_target = {LENGTH_BYTES})",
            columns.join(", ")
        )];
        statements.extend(self.own().iter().map(|column| {
            format!(
                "ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {}",
                array(column)
            )
        }));
        let lengths = self.own().iter().map(|column| {
            let column = quoted(&column.name);
            format!(
                "coalesce(cardinality({column}), {LENGTH}) = {LENGTH}",
                LENGTH = self.length()
            )
        });
        let lengths: Vec<String> = lengths.collect();
        statements.push(ddl::check(table, name, "arrays", &lengths.join(" AND ")));
        for (check, condition) in ddl::checks(name, &self.described) {
            statements.push(ddl::check(table, name, &check, &condition));
        }
        // Rows come in the order of their commits, about that of event time, too.
        for column in [Some(COMMITTED_AT), self.kind.spec().table.happened]
            .into_iter()
            .flatten()
        {
            let index = quoted(&format!("{name}_{column}_brin"));
            statements.push(format!(
                "CREATE INDEX IF NOT EXISTS {index} ON {table} USING brin ({})",
                quoted(column)
            ));
        }
        statements.push(comment(
            "TABLE",
            table,
            &format!(
                "What {} is made of, in arrays: one place for each of its rows, in the order of the first array. Read that view. In an array NaN and -infinity stand for NULL.",
                self.kind.spec().table.name
            ),
        ));
        let column = |name: &str, meaning: &str| {
            comment("COLUMN", &format!("{table}.{}", quoted(name)), meaning)
        };
        statements.extend(self.shared().iter().map(|of| column(&of.name, &of.meaning)));
        statements.push(column(COMMITTED_AT, ddl::COMMITTED_AT_MEANING));
        let of_array = |of: &ColumnDescription| {
            column(
                &of.name,
                &format!("Array, a place for each row: {}", of.meaning),
            )
        };
        statements.extend(self.own().iter().map(of_array));
        statements
    }

    /// The number of rows in a group, as an expression.
    pub(super) fn length(&self) -> String {
        let first = self.own().first().map(|column| quoted(&column.name));
        format!("cardinality({})", first.unwrap_or_default())
    }

    /// Builds of before had a table of single rows under the view's name: it becomes groups. One of
    /// them may be writing it, and goes on once this is done: what it has written is seen by then.
    fn taken_from_rows(&self) -> String {
        let shared = listed(self.shared().iter().map(|column| &column.name));
        let own = listed(self.own().iter().map(|column| &column.name));
        let first = self.own().first().map(|column| quoted(&column.name));
        let order = first.unwrap_or_default();
        let arrays = self.own().iter().map(|column| {
            let name = quoted(&column.name);
            let value = match none(column.column_type) {
                Some(none) => format!("coalesce({name}, {none})"),
                None => name,
            };
            format!("array_agg({value} ORDER BY {order})")
        });
        let arrays: Vec<String> = arrays.collect();
        let (table, view) = (&self.table, &self.view);
        format!(
            "DO $grouping$ BEGIN
                IF EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass({}) AND relkind = 'r') THEN
                    LOCK TABLE {view} IN ACCESS EXCLUSIVE MODE;
                    INSERT INTO {table} ({shared}, {COMMITTED_AT}, {own})
                        SELECT {shared}, min({COMMITTED_AT}), {} FROM {view} GROUP BY {shared} ON CONFLICT DO NOTHING;
                    DROP TABLE {view};
                END IF;
            END $grouping$",
            literal(view),
            arrays.join(", ")
        )
    }

    fn view_statements(&self) -> Vec<String> {
        let view = &self.view;
        let of =
            |prefix: &str, column: &ColumnDescription| format!("{prefix}.{}", quoted(&column.name));
        let shared = self.shared().iter().map(|column| of("held", column));
        let mut cells: Vec<String> = shared.collect();
        // Before the columns of which a later build may have more: a view takes new ones at its
        // end.
        cells.push(format!("held.{COMMITTED_AT}"));
        cells.extend(self.own().iter().map(|column| {
            let cell = of("part", column);
            match none(column.column_type) {
                Some(none) => format!("NULLIF({cell}, {none}) AS {}", quoted(&column.name)),
                None => cell,
            }
        }));
        let arrays: Vec<String> = self.own().iter().map(|column| of("held", column)).collect();
        let names = listed(self.own().iter().map(|column| &column.name));
        let mut statements = vec![
            format!(
                "CREATE OR REPLACE VIEW {view} AS SELECT {} FROM {} AS held CROSS JOIN LATERAL unnest({}) AS part ({names})",
                cells.join(", "),
                self.table,
                arrays.join(", ")
            ),
            comment("VIEW", view, &ddl::rows(self.kind, &self.described)),
        ];
        let columns = self.described.columns.iter();
        let said = columns.map(|of| (of.name.as_str(), of.meaning.as_str()));
        let said = said.chain([(COMMITTED_AT, ddl::COMMITTED_AT_MEANING)]);
        statements.extend(said.map(|(name, meaning)| {
            comment("COLUMN", &format!("{view}.{}", quoted(name)), meaning)
        }));
        statements
    }

    /// How many rows the view has.
    pub(super) fn count(&self) -> String {
        format!(
            "SELECT coalesce(sum({}), 0)::bigint FROM {}",
            self.length(),
            self.table
        )
    }

    /// The statement that writes groups: the shared columns as arrays of a value for each group,
    /// the moments of their commits, the first and the last row of each, then the other columns as
    /// arrays over all groups, of which each takes its part. A column of texts comes as the lists
    /// that there are, written out, and the number of the list of each group.
    pub(super) fn insert(&self) -> String {
        let (mut arrays, mut given, mut cells) = (Vec::new(), Vec::new(), Vec::new());
        let mut take = |array: &str| {
            arrays.push(format!("${}::{array}[]", arrays.len() + 1));
            arrays.len()
        };
        for column in self.shared() {
            take(&sql_type(column.column_type));
            given.push(quoted(&column.name));
            cells.push(format!("came.{}", quoted(&column.name)));
        }
        take("timestamptz");
        given.push(quoted(COMMITTED_AT));
        cells.push(format!("came.{COMMITTED_AT}"));
        for place in [FIRST, LAST] {
            take("integer");
            given.push(quoted(place));
        }
        let lists = self.own().iter().filter(|of| is_text(of));
        for column in lists {
            take("integer");
            given.push(quoted(&column.name));
        }
        let mut place = arrays.len();
        for column in self.own() {
            place += 1;
            cells.push(if is_text(column) {
                format!("(${place}::text[])[came.{}]::text[]", quoted(&column.name))
            } else {
                let array = sql_type(column.column_type);
                format!("(${place}::{array}[])[came.{FIRST}:came.{LAST}]")
            });
        }
        let shared = listed(self.shared().iter().map(|column| &column.name));
        let own = listed(self.own().iter().map(|column| &column.name));
        format!(
            "INSERT INTO {} ({shared}, {COMMITTED_AT}, {own}) SELECT {} FROM UNNEST({}) AS came ({}) WHERE came.{FIRST} <= came.{LAST} ON CONFLICT DO NOTHING",
            self.table,
            cells.join(", "),
            arrays.join(", "),
            given.join(", ")
        )
    }
}

/// An array in the table. That of the first column tells how long all are.
fn array(column: &ColumnDescription) -> String {
    format!(
        "{} {}[]",
        quoted(&column.name),
        sql_type(column.column_type)
    )
}

fn is_text(column: &ColumnDescription) -> bool {
    column.column_type == ColumnType::Utf8
}

/// What stands in an array where there is no value, as an expression; `None` for types whose values
/// are always there.
fn none(column_type: ColumnType) -> Option<&'static str> {
    match column_type {
        ColumnType::Float32 | ColumnType::Float64 => Some("'NaN'::double precision"),
        ColumnType::TimestampMicros => Some("'-infinity'::timestamptz"),
        _ => None,
    }
}

/// Gives a statement of [`Groups::insert`] its values.
pub(super) fn bind_groups<'a>(
    mut query: Query<'a, Postgres, PgArguments>,
    shared: usize,
    rows: &'a TableRows,
) -> Attempt<Query<'a, Postgres, PgArguments>> {
    let (of_groups, of_rows) = rows.columns.split_at(shared.min(rows.columns.len()));
    for (_, values) in of_groups {
        query = bind(query, values);
    }
    let moments: Vec<Moment> = rows.committed_at.iter().copied().map(Moment).collect();
    let ends: Vec<usize> = rows
        .groups
        .iter()
        .scan(0, |end, rows| {
            *end += *rows as usize;
            Some(*end)
        })
        .collect();
    let starts = ends.iter().zip(&rows.groups);
    let starts: Vec<usize> = starts.map(|(end, rows)| end - *rows as usize).collect();
    let counted = |places: &[usize], more: usize| -> Vec<i32> {
        let places = places.iter();
        places
            .map(|place| i32::try_from(place + more).unwrap_or(i32::MAX))
            .collect()
    };
    query = query
        .bind(moments)
        .bind(counted(&starts, 1))
        .bind(counted(&ends, 0));
    let mut written = Vec::new();
    for (_, values) in of_rows {
        if let ColumnValues::Text(texts) = values {
            let parts = starts.iter().zip(&ends);
            let parts = parts.map(|(start, end)| texts.get(*start..*end).unwrap_or_default());
            let (lists, numbers) = distinct(parts);
            query = query.bind(numbers);
            written.push(lists);
        }
    }
    let mut written = written.into_iter();
    for (name, values) in of_rows {
        query = match values {
            ColumnValues::Text(_) => query.bind(written.next().unwrap_or_default()),
            ColumnValues::Int64(values) => query.bind(
                values
                    .iter()
                    .map(|value| value.unwrap_or(0))
                    .collect::<Vec<i64>>(),
            ),
            ColumnValues::Float(values) => query.bind(numbers(values)),
            ColumnValues::Time(values) => query.bind(times(values)),
            _ => {
                return Err(Failure::damaged(&format!(
                    "column {name} cannot be an array"
                )));
            }
        };
    }
    Ok(query)
}

/// The lists that there are, as arrays are written, and for each part the number of its list.
fn distinct<'a>(parts: impl Iterator<Item = &'a [Option<String>]>) -> (Vec<String>, Vec<i32>) {
    let mut known: HashMap<&[Option<String>], i32> = HashMap::new();
    let (mut lists, mut numbers) = (Vec::new(), Vec::new());
    for part in parts {
        let number = *known.entry(part).or_insert_with(|| {
            let texts = part.iter().map(|text| {
                let text = text.as_deref().unwrap_or_default();
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            });
            lists.push(format!("{{{}}}", texts.collect::<Vec<_>>().join(",")));
            i32::try_from(lists.len()).unwrap_or(i32::MAX)
        });
        numbers.push(number);
    }
    (lists, numbers)
}

/// Numbers without NULL; nothing where there is none at all.
fn numbers(values: &[Option<f64>]) -> Option<Vec<f64>> {
    let is_any = values.iter().any(Option::is_some);
    is_any.then(|| {
        values
            .iter()
            .map(|value| value.unwrap_or(f64::NAN))
            .collect()
    })
}

/// Times without NULL; nothing where there is none at all.
fn times(values: &[Option<i64>]) -> Option<Vec<Moment>> {
    let is_any = values.iter().any(Option::is_some);
    // The server takes the least of all numbers for `-infinity`.
    is_any.then(|| {
        values
            .iter()
            .map(|value| Moment(value.unwrap_or(i64::MIN)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups {
        Groups::of("theatre", OutputKind::Window).expect("windows are grouped")
    }

    #[test]
    fn shared_columns_come_first_and_every_other_one_can_be_an_array() {
        let groups = groups();
        let key = groups.key();
        assert_eq!(key.len() + 1, groups.kind.spec().table.identity.len());
        assert!(key.contains(&"window_start") && !key.contains(&"signal"));
        for column in groups.own() {
            let can = is_text(column)
                || none(column.column_type).is_some()
                || (column.column_type == ColumnType::Int64 && column.is_required)
                || column.name == "value_count";
            assert!(can, "{}", column.name);
        }
    }

    #[test]
    fn a_statement_takes_its_values_in_the_order_of_their_places() {
        let sql = groups().insert();
        assert!(sql.contains("$8::timestamptz[], $9::integer[], $10::integer[], $11::integer[]"));
        assert!(
            sql.contains("($12::text[])[came.\"signal\"]::text[]"),
            "{sql}"
        );
        assert!(sql.contains("($13::bigint[])[came.first_of_group:came.last_of_group]"));
    }

    #[test]
    fn a_list_that_comes_again_is_written_once_and_quoted() {
        let list = |texts: &[&str]| -> Vec<Option<String>> {
            texts.iter().map(|text| Some((*text).to_owned())).collect()
        };
        let (one, other) = (list(&["a\"b", "c\\d"]), list(&["NULL"]));
        let parts = [&one[..], &other[..], &one[..], &[]];
        let (lists, numbers) = distinct(parts.into_iter());
        assert_eq!(lists, ["{\"a\\\"b\",\"c\\\\d\"}", "{\"NULL\"}", "{}"]);
        assert_eq!(numbers, [1, 2, 1, 3]);
    }
}
