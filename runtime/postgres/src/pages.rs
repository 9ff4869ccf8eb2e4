//! Pages of outputs and of dead letters.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    OutputPage, OutputPlace, PageFilter, PageStore, Result, StoredDead, StoredOutput,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::failure::Attempt;
use super::outputs::{DeadRow, read_dead, read_output};
use super::text::{read_text, stored};
use super::{PostgresStore, limited};

type Statement = QueryBuilder<Postgres>;

/// The column of the order, its direction, and how a later place compares.
fn order(filter: &PageFilter) -> (&'static str, &'static str, &'static str) {
    match filter.changed_since {
        Some(_) => ("committed_at", "ASC", ">"),
        None => ("event_time", "DESC", "<"),
    }
}

/// Adds which rows are looked at, in their order.
fn looked_at(statement: &mut Statement, filter: &PageFilter) {
    let (time, direction, beyond) = order(filter);
    let kind = filter.kind.code();
    // The index has no windows: it is used only where the statement says so.
    statement.push(format!(" FROM fact WHERE kind = {kind} AND kind <> 1"));
    if let Some(since) = filter.changed_since {
        statement.push(" AND committed_at >= ").push_bind(since.0);
    } else {
        within(statement, filter);
        if let Some([robot]) = filter.robots.as_deref() {
            statement.push(" AND robot_id = ").push_bind(stored(robot));
        }
        if let Some(subject) = filter.subject.as_deref() {
            statement.push(" AND subject = ").push_bind(stored(subject));
        }
    }
    if let Some(after) = &filter.after {
        statement.push(format!(" AND ({time}, id, revision) {beyond} ("));
        statement.push_bind(after.time).push(", ");
        statement.push_bind(stored(&after.id)).push(", ");
        statement.push_bind(i64::from(after.revision)).push(")");
    }
    statement.push(format!(
        " ORDER BY {time} {direction}, id {direction}, revision {direction} LIMIT "
    ));
}

/// Adds the bounds of event time.
fn within(statement: &mut Statement, filter: &PageFilter) {
    if let Some(from) = filter.from {
        statement.push(" AND event_time >= ").push_bind(from);
    }
    if let Some(until) = filter.until {
        statement.push(" AND event_time < ").push_bind(until);
    }
}

/// The rows that are wanted of those that are looked at.
fn wanted(filter: &PageFilter) -> Statement {
    let seen: Vec<i64> = filter.seen.iter().map(|last| *last as i64).collect();
    let mut statement = Statement::new("WITH here AS MATERIALIZED (SELECT *");
    looked_at(&mut statement, filter);
    statement.push_bind(limited(filter.look_at));
    statement.push("), seen (last) AS (SELECT ");
    statement.push_bind(seen);
    statement.push(
        "::bigint[]) SELECT here.* FROM here, seen WHERE sequence <= coalesce(last[partition + 1], 0)",
    );
    if !filter.every_revision {
        statement.push(
            " AND NOT EXISTS (SELECT FROM fact AS later WHERE later.kind = here.kind AND later.id = here.id
              AND later.revision > here.revision AND later.sequence <= coalesce(seen.last[later.partition + 1], 0))",
        );
    }
    if let Some(robots) = &filter.robots {
        let robots: Vec<String> = robots.iter().map(|robot| stored(robot).into()).collect();
        statement.push(" AND robot_id = ANY(").push_bind(robots);
        statement.push(")");
    }
    if let Some(subject) = filter.subject.as_deref() {
        statement.push(" AND subject = ").push_bind(stored(subject));
    }
    within(&mut statement, filter);
    let (time, direction, _) = order(filter);
    statement.push(format!(
        " ORDER BY {time} {direction}, id {direction}, revision {direction} LIMIT "
    ));
    statement.push_bind(limited(filter.limit.saturating_add(1)));
    statement
}

async fn page(connection: &mut PgConnection, filter: &PageFilter) -> Attempt<OutputPage> {
    // Planned with the values at hand: a plan for any of them could not use the index.
    let mut statement = wanted(filter);
    let rows = statement.build().persistent(false);
    let rows = rows.fetch_all(&mut *connection).await?;
    let mut outputs = rows.iter().map(read_output).collect::<Attempt<Vec<_>>>()?;
    if outputs.len() > filter.limit {
        outputs.truncate(filter.limit);
        let next = outputs.last().map(|last| filter.place(last));
        return Ok(OutputPage { outputs, next });
    }
    // The last row that was looked at, where there were as many as may be.
    let (time, ..) = order(filter);
    let mut statement = Statement::new(format!("SELECT {time} AS time, id, revision"));
    looked_at(&mut statement, filter);
    statement.push("1 OFFSET ");
    statement.push_bind(limited(filter.look_at.saturating_sub(1)));
    let last = statement.build().persistent(false);
    let last = last.fetch_optional(connection).await?;
    let place = |row: PgRow| -> Attempt<OutputPlace> {
        Ok(OutputPlace {
            time: row.try_get("time")?,
            id: row.try_get("id").map(read_text)?,
            revision: row.try_get::<i64, _>("revision")? as u32,
        })
    };
    let next = last.map(place).transpose()?;
    Ok(OutputPage { outputs, next })
}

impl PageStore for PostgresStore {
    fn time(&self) -> Result<Option<LogTime>> {
        self.session.read(async |connection| {
            let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
            let time: i64 = sqlx::query_scalar(sql).fetch_one(connection).await?;
            Ok(Some(LogTime(time)))
        })
    }

    fn last_outputs(&self) -> Result<Vec<u64>> {
        self.session.read(async |connection| {
            let sql = "SELECT coalesce(partition.last_fact, 0)
                       FROM layout CROSS JOIN generate_series(0, layout.partitions - 1) AS of (number)
                       LEFT JOIN partition ON partition.number = of.number ORDER BY of.number";
            let last: Vec<i64> = sqlx::query_scalar(sql).fetch_all(connection).await?;
            Ok(last.into_iter().map(|last| last as u64).collect())
        })
    }

    fn output_page(&self, filter: &PageFilter) -> Result<OutputPage> {
        self.session
            .read(async |connection| page(connection, filter).await)
    }

    fn last_revisions(
        &self,
        kind: OutputKind,
        ids: &[String],
        seen: &[u64],
    ) -> Result<Vec<StoredOutput>> {
        self.session.read(async |connection| {
            let sql = "SELECT DISTINCT ON (id) * FROM fact WHERE kind = $1 AND id = ANY($2)
                       AND sequence <= coalesce(($3::bigint[])[partition + 1], 0) ORDER BY id, revision DESC";
            let ids: Vec<_> = ids.iter().map(|id| stored(id)).collect();
            let seen: Vec<i64> = seen.iter().map(|last| *last as i64).collect();
            let rows = sqlx::query(sql)
                .bind(i16::from(kind.code()))
                .bind(ids)
                .bind(seen)
                .fetch_all(connection)
                .await?;
            rows.iter().map(read_output).collect()
        })
    }

    fn of_subjects(
        &self,
        kind: OutputKind,
        after: Option<&str>,
        subjects: usize,
    ) -> Result<Vec<StoredOutput>> {
        self.session.read(async |connection| {
            // The index has no windows: it is used only where the statement names the kind.
            let code = kind.code();
            let mut statement = Statement::new(format!(
                "SELECT * FROM fact WHERE kind = {code} AND kind <> 1 AND subject IN (
                     SELECT DISTINCT subject FROM fact WHERE kind = {code} AND kind <> 1"
            ));
            if let Some(after) = after {
                statement.push(" AND subject > ").push_bind(stored(after));
            }
            statement.push(" ORDER BY subject LIMIT ");
            statement.push_bind(limited(subjects));
            statement.push(") ORDER BY subject, event_time, id, revision");
            let rows = statement.build().persistent(false);
            let rows = rows.fetch_all(connection).await?;
            rows.iter().map(read_output).collect()
        })
    }

    fn dead_page(&self, after: Option<(u64, Partition)>, limit: usize) -> Result<Vec<StoredDead>> {
        self.session.read(async |connection| {
            let sql = "SELECT letter.* FROM partition AS of, LATERAL (
                           SELECT partition, sequence, letter, purged_at FROM dead
                           WHERE dead.partition = of.number AND dead.sequence <= $1 - CASE WHEN of.number <= $2 THEN 1 ELSE 0 END
                           ORDER BY dead.sequence DESC LIMIT $3
                       ) AS letter ORDER BY letter.sequence DESC, letter.partition LIMIT $3";
            let (sequence, partition) = match after {
                Some((sequence, partition)) => {
                    let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
                    (sequence, partition as i32)
                }
                None => (i64::MAX, -1),
            };
            let found: Vec<DeadRow> = sqlx::query_as(sql)
                .bind(sequence)
                .bind(partition)
                .bind(limited(limit))
                .fetch_all(connection)
                .await?;
            found.into_iter().map(read_dead).collect()
        })
    }
}
