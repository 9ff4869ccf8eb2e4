//! The tables that people read: rows of outputs, written together with the position of the consumer
//! that brings them.
//!
//! They stand in the store's schema, are made by `theatre migrate` ([`migrate`]) out of the kinds'
//! own specification ([`ddl`]), and no part of Theatre reads them.

mod ddl;
mod grouped;
pub(super) mod migrate;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};
use theatre_actors::outputs::{ALL, OutputKind};
use theatre_actors::ports::{
    ColumnType, ColumnValues, Epoch, Error, LoadMode, RowSelection, TableBatch, TableRows,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::failure::{Attempt, Failure};
use super::{cursors, limited, partitions};
use grouped::Groups;
use values::Moment;

/// When a row was committed, beside the columns of its kind.
const COMMITTED_AT: &str = "committed_at";

/// Rows that one transaction of an erasure deletes.
const ERASED_AT_ONCE: usize = 20_000;

/// The statements that write the tables of a schema.
#[derive(Debug)]
pub(super) struct Tables {
    schema: String,
    upserts: BTreeMap<OutputKind, Arc<str>>,
    deletes: Vec<Arc<str>>,
}

impl Tables {
    /// Those of a schema, whose name was checked.
    pub(super) fn of(schema: &str) -> Self {
        let kinds = ALL.iter().map(|spec| spec.kind);
        let upsert = |kind| {
            let sql = match Groups::of(schema, kind) {
                Some(groups) => groups.insert(),
                None => upsert(schema, kind),
            };
            (kind, sql.into())
        };
        let expiring = ALL.iter().filter(|spec| spec.expires);
        let delete = |name: &str| {
            let table = format!("\"{schema}\".\"{name}\"");
            format!(
                "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {COMMITTED_AT} < $1 LIMIT $2))"
            )
            .into()
        };
        Self {
            schema: schema.to_owned(),
            upserts: kinds.map(upsert).collect(),
            deletes: expiring.map(|spec| delete(written(spec.kind))).collect(),
        }
    }

    /// Writes rows and moves the consumer's position, under the epoch.
    ///
    /// The partition is locked last: while rows are written, commits of its processors go on. Rows
    /// of an owner that turns out to be none are undone with its transaction.
    pub(super) async fn commit(
        &self,
        connection: &mut PgConnection,
        (partition, epoch): (Partition, Epoch),
        batch: &TableBatch,
    ) -> Attempt<()> {
        // Rows and position are lost together if the server's machine is, and are made anew from
        // the outputs: there is nothing to wait for.
        sqlx::raw_sql("SET LOCAL synchronous_commit = off")
            .execute(&mut *connection)
            .await?;
        for rows in &batch.rows {
            self.write(connection, rows).await?;
        }
        let current = partitions::lock(connection, partition).await?;
        if current != epoch {
            return Err(Error::StaleEpoch {
                partition,
                ours: epoch,
                current,
            }
            .into());
        }
        let (from, to) = (batch.after, batch.up_to);
        cursors::compare_and_set(connection, partition, &batch.consumer, (from, to), "rows").await
    }

    async fn write(&self, connection: &mut PgConnection, rows: &TableRows) -> Attempt<()> {
        let Some(sql) = self.upserts.get(&rows.kind) else {
            return Err(Failure::damaged(&"there is no table for a kind of output"));
        };
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        if let Some(grouped) = rows.kind.spec().table.grouped {
            query = grouped::bind_groups(query, grouped.shared, rows)?;
            query.execute(connection).await?;
            return Ok(());
        }
        for (_, values) in &rows.columns {
            query = bind(query, values);
        }
        let moments: Vec<Moment> = rows.committed_at.iter().copied().map(Moment).collect();
        query.bind(moments).execute(connection).await?;
        Ok(())
    }

    /// Rows of the table of a kind.
    pub(super) async fn count(
        &self,
        connection: &mut PgConnection,
        kind: OutputKind,
    ) -> Attempt<u64> {
        let sql = match Groups::of(&self.schema, kind) {
            Some(groups) => groups.count(),
            None => {
                let (schema, table) = (quoted(&self.schema), quoted(written(kind)));
                format!("SELECT count(*) FROM {schema}.{table}")
            }
        };
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(connection)
            .await?;
        Ok(rows as u64)
    }

    /// Rows of the table of a kind that are meant.
    pub(super) async fn meant(
        &self,
        connection: &mut PgConnection,
        kind: OutputKind,
        rows: &RowSelection,
    ) -> Attempt<u64> {
        let Some(meant) = self.meaning(connection, kind, rows).await? else {
            return Ok(0);
        };
        let (length, table) = (&meant.length, &meant.table);
        let sql = format!(
            "SELECT coalesce(sum({length}), 0)::bigint FROM {table} WHERE {}",
            meant.rows
        );
        meant.count(connection, &sql).await
    }

    /// Deletes some of them; returns how many.
    pub(super) async fn erase(
        &self,
        connection: &mut PgConnection,
        kind: OutputKind,
        rows: &RowSelection,
    ) -> Attempt<u64> {
        let Some(meant) = self.meaning(connection, kind, rows).await? else {
            return Ok(0);
        };
        let (length, table) = (&meant.length, &meant.table);
        let sql = format!(
            "WITH erased AS (DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {} LIMIT {ERASED_AT_ONCE})) RETURNING {length} AS rows)
             SELECT coalesce(sum(rows), 0)::bigint FROM erased",
            meant.rows
        );
        meant.count(connection, &sql).await
    }

    /// The table that holds the rows of a kind, and how many rows one of its rows stands for. Where
    /// they are not kept any more (`tables = "off"`) it may be as a build of before has left it: single
    /// rows under the name of the view.
    async fn held(
        &self,
        connection: &mut PgConnection,
        kind: OutputKind,
    ) -> Attempt<Option<(String, String)>> {
        let length = Groups::of(&self.schema, kind).map(|groups| groups.length());
        let length = length.unwrap_or_else(|| "1".to_owned());
        let single = (kind.spec().table.name, "1".to_owned());
        for (name, length) in [(written(kind), length), single] {
            let table = format!("{}.{}", quoted(&self.schema), quoted(name));
            let sql = "SELECT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass($1) AND relkind = 'r')";
            let query = sqlx::query_scalar(sql).bind(&table);
            let is_there: bool = query.fetch_one(&mut *connection).await?;
            if is_there {
                return Ok(Some((table, length)));
            }
        }
        Ok(None)
    }

    /// `None` where there is no such table, or none of its rows can be meant.
    async fn meaning(
        &self,
        connection: &mut PgConnection,
        kind: OutputKind,
        rows: &RowSelection,
    ) -> Attempt<Option<Meant>> {
        let Some((table, length)) = self.held(connection, kind).await? else {
            return Ok(None);
        };
        let by_robot = rows.robot_column.as_deref();
        let by_time = rows
            .time_column
            .as_deref()
            .filter(|_| rows.before.is_some());
        // Both are given to the statement, whatever it asks for.
        let mut conditions = vec!["$1::text[] IS NULL AND $2::timestamptz IS NULL".to_owned()];
        conditions.extend(by_robot.map(|name| format!("{} = ANY ($1)", quoted(name))));
        conditions.extend(by_time.map(|name| format!("{} < $2", quoted(name))));
        Ok((!rows.is_empty()).then(|| Meant {
            table,
            length,
            rows: conditions.join(" OR "),
            robots: rows.robots.iter().cloned().collect(),
            before: rows.before.map(Moment),
        }))
    }

    /// Deletes old rows of kinds that expire, at most `limit` of each.
    pub(super) async fn expire(
        &self,
        connection: &mut PgConnection,
        before: LogTime,
        limit: usize,
    ) -> Attempt<u64> {
        let mut deleted = 0;
        for sql in &self.deletes {
            let query = sqlx::query(AssertSqlSafe(sql.clone()))
                .bind(Moment(before.0))
                .bind(limited(limit))
                // Planned each time: a plan for any moment would read all rows.
                .persistent(false);
            deleted += query.execute(&mut *connection).await?.rows_affected();
        }
        Ok(deleted)
    }
}

/// Rows of a table that are meant, in the words of a statement.
struct Meant {
    table: String,
    /// How many rows a row stands for.
    length: String,
    rows: String,
    robots: Vec<String>,
    before: Option<Moment>,
}

impl Meant {
    async fn count(&self, connection: &mut PgConnection, sql: &str) -> Attempt<u64> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .bind(&self.robots)
            .bind(self.before)
            // Planned each time, for the robots and the moment that are meant.
            .persistent(false);
        let rows: i64 = query.fetch_one(connection).await?;
        Ok(rows as u64)
    }
}

fn bind<'a>(
    query: Query<'a, Postgres, PgArguments>,
    values: &'a ColumnValues,
) -> Query<'a, Postgres, PgArguments> {
    match values {
        ColumnValues::Text(values) => query.bind(values),
        ColumnValues::Int32(values) => query.bind(values),
        ColumnValues::Int64(values) | ColumnValues::Decimal(values) => query.bind(values),
        ColumnValues::Boolean(values) => query.bind(values),
        ColumnValues::Date(values) => query.bind(values::days(values)),
        ColumnValues::Float(values) => query.bind(values),
        ColumnValues::Time(values) => query.bind(values::moments(values)),
    }
}

/// The table that is written for a kind.
fn written(kind: OutputKind) -> &'static str {
    let table = &kind.spec().table;
    table.grouped.map_or(table.name, |grouped| grouped.table)
}

/// The columns that tell the rows of a kind's table apart, and the one by which a later row takes
/// the place of an earlier one.
fn key(kind: OutputKind) -> (Vec<String>, Option<String>) {
    match (kind.spec().table.mode)() {
        LoadMode::MergeByRevision { key, revision } => (key, Some(revision)),
        LoadMode::Append => {
            let identity = kind.spec().table.identity.iter();
            (identity.map(|name| (*name).to_owned()).collect(), None)
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn listed(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<String> = names
        .into_iter()
        .map(|name| quoted(name.as_ref()))
        .collect();
    names.join(", ")
}

/// The statement that writes rows of a kind: its columns in order as arrays, then the moments of
/// their commits.
fn upsert(schema: &str, kind: OutputKind) -> String {
    let described = kind.description();
    let table = kind.spec().table.name;
    let (mut arrays, mut cells) = (Vec::new(), Vec::new());
    for (place, column) in (1..).zip(&described.columns) {
        let name = quoted(&column.name);
        let (array, cell) = match column.column_type {
            ColumnType::Decimal { scale, .. } => {
                ("bigint".to_owned(), format!("{name}::numeric * 1e-{scale}"))
            }
            _ if column.is_nested => ("text".to_owned(), format!("{name}::jsonb")),
            other => (ddl::sql_type(other), name),
        };
        arrays.push(format!("${place}::{array}[]"));
        cells.push(cell);
    }
    arrays.push(format!("${}::timestamptz[]", described.columns.len() + 1));
    cells.push(quoted(COMMITTED_AT));
    let names = described.columns.iter().map(|column| column.name.as_str());
    let columns = listed(names.chain([COMMITTED_AT]));
    let (arrays, cells) = (arrays.join(", "), cells.join(", "));
    let (key, revision) = key(kind);
    let rows = format!("FROM UNNEST({arrays}) AS came ({columns})");
    let Some(revision) = revision else {
        return format!(
            "INSERT INTO \"{schema}\".\"{table}\" ({columns}) SELECT {cells} {rows} ON CONFLICT DO NOTHING"
        );
    };
    let (key, revision) = (listed(&key), quoted(&revision));
    // One statement cannot write a row twice: of several revisions the highest comes.
    let newest =
        format!("SELECT DISTINCT ON ({key}) {cells} {rows} ORDER BY {key}, {revision} DESC");
    let sets: Vec<String> = described
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .chain([COMMITTED_AT])
        .map(|name| format!("{0} = excluded.{0}", quoted(name)))
        .collect();
    format!(
        "INSERT INTO \"{schema}\".\"{table}\" AS held ({columns}) {newest} ON CONFLICT ({key}) DO UPDATE SET {} WHERE held.{revision} < excluded.{revision}",
        sets.join(", ")
    )
}
