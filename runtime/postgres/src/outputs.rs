//! Reading what commits wrote: processors, outputs, dead letters.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};
use theatre_actors::outputs::{self, OutputEvent, OutputKind};
use theatre_actors::ports::{
    Error, Expiry, OutputFilter, StoredDead, StoredOutput, StoredProcessor,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::failure::Attempt;
use super::text::{read_text, stored};
use super::{decode, limited};

pub(super) fn read_output(row: &PgRow) -> Attempt<StoredOutput> {
    let text = |column: &str| row.try_get(column).map(read_text);
    let kind: i16 = row.try_get("kind")?;
    let output = OutputEvent {
        kind: OutputKind::from_code(kind.into()).map_err(Error::from)?,
        robot_id: text("robot_id")?,
        id: text("id")?,
        subject: text("subject")?,
        revision: row.try_get::<i64, _>("revision")? as u32,
        event_time: row.try_get("event_time")?,
        payload: row.try_get("payload")?,
    };
    let (partition, sequence) = (
        row.try_get::<i32, _>("partition")? as u32,
        row.try_get::<i64, _>("sequence")? as u64,
    );
    Ok(StoredOutput {
        partition,
        sequence,
        committed_at: LogTime(row.try_get("committed_at")?),
        output,
    })
}

pub(super) type DeadRow = (i32, i64, Vec<u8>, Option<i64>);
type ProcessorRow = (String, i64, Vec<u8>, Vec<u8>, i64);

pub(super) fn read_dead((partition, sequence, letter, purged_at): DeadRow) -> Attempt<StoredDead> {
    Ok(StoredDead {
        partition: partition as u32,
        sequence: sequence as u64,
        dead: decode(&letter)?,
        purged_at: purged_at.map(LogTime),
    })
}

fn read_processor(row: ProcessorRow) -> Attempt<StoredProcessor> {
    let (name, save_number, positions, state, saved_at) = row;
    Ok(StoredProcessor {
        processor: read_text(name),
        save_number: save_number as u64,
        positions: decode(&positions)?,
        state,
        saved_at: LogTime(saved_at),
    })
}

pub(super) async fn processors(
    connection: &mut PgConnection,
    partition: Partition,
) -> Attempt<Vec<StoredProcessor>> {
    let sql = "SELECT name, save_number, positions, state, saved_at FROM family WHERE partition = $1 ORDER BY name";
    let found: Vec<ProcessorRow> = sqlx::query_as(sql)
        .bind(partition as i32)
        .fetch_all(connection)
        .await?;
    found.into_iter().map(read_processor).collect()
}

pub(super) async fn save_numbers(
    connection: &mut PgConnection,
    partition: Partition,
) -> Attempt<Vec<(String, u64)>> {
    let sql = "SELECT name, save_number FROM family WHERE partition = $1";
    let found: Vec<(String, i64)> = sqlx::query_as(sql)
        .bind(partition as i32)
        .fetch_all(connection)
        .await?;
    let number = |(name, number): (String, i64)| (read_text(name), number as u64);
    Ok(found.into_iter().map(number).collect())
}

pub(super) async fn processors_named(
    connection: &mut PgConnection,
    partition: Partition,
    names: &[&str],
) -> Attempt<Vec<StoredProcessor>> {
    let sql = "SELECT name, save_number, positions, state, saved_at FROM family WHERE partition = $1 AND name = ANY($2)";
    let names: Vec<String> = names.iter().map(|name| stored(name).into_owned()).collect();
    let found: Vec<ProcessorRow> = sqlx::query_as(sql)
        .bind(partition as i32)
        .bind(names)
        .fetch_all(connection)
        .await?;
    found.into_iter().map(read_processor).collect()
}

pub(super) async fn processor(
    connection: &mut PgConnection,
    partition: Partition,
    processor: &str,
) -> Attempt<Option<StoredProcessor>> {
    let named = processors_named(connection, partition, &[processor]).await?;
    Ok(named.into_iter().next())
}

type Question = Query<'static, Postgres, PgArguments>;

/// Outputs of a partition after another, in order. `sql` has the partition as $1, the other as $2
/// and the limit as $3; `more` binds what it asks beside.
async fn in_order(
    connection: &mut PgConnection,
    sql: &'static str,
    (partition, after, limit): (Partition, u64, usize),
    more: impl FnOnce(Question) -> Question,
) -> Attempt<Vec<StoredOutput>> {
    let question = sqlx::query(sql)
        .bind(partition as i32)
        .bind(after as i64)
        .bind(limited(limit));
    let rows = more(question).fetch_all(connection).await?;
    rows.iter().map(read_output).collect()
}

pub(super) async fn outputs_after(
    connection: &mut PgConnection,
    partition: Partition,
    after: u64,
    limit: usize,
) -> Attempt<Vec<StoredOutput>> {
    let sql =
        "SELECT * FROM fact WHERE partition = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
    let place = (partition, after, limit);
    in_order(connection, sql, place, |question| question).await
}

pub(super) async fn outputs_of_kind_after(
    connection: &mut PgConnection,
    partition: Partition,
    kind: OutputKind,
    after: u64,
    limit: usize,
) -> Attempt<Vec<StoredOutput>> {
    // The index of those that are no windows is used where the question says that it is of such.
    let sql = match kind {
        OutputKind::Window => {
            "SELECT * FROM fact WHERE partition = $1 AND sequence > $2 AND kind = $4 ORDER BY sequence LIMIT $3"
        }
        _ => {
            "SELECT * FROM fact WHERE partition = $1 AND sequence > $2 AND kind = $4 AND kind <> 1 ORDER BY sequence LIMIT $3"
        }
    };
    let place = (partition, after, limit);
    let kind = i16::from(kind.code());
    in_order(connection, sql, place, |question| question.bind(kind)).await
}

pub(super) async fn outputs_beside(
    connection: &mut PgConnection,
    partition: Partition,
    left_out: &[OutputKind],
    after: u64,
    limit: usize,
) -> Attempt<Vec<StoredOutput>> {
    let sql = "SELECT * FROM fact WHERE partition = $1 AND sequence > $2 AND kind <> ALL($4) ORDER BY sequence LIMIT $3";
    let left_out: Vec<i16> = left_out.iter().map(|kind| kind.code().into()).collect();
    let place = (partition, after, limit);
    in_order(connection, sql, place, |question| question.bind(left_out)).await
}

pub(super) async fn dead_after(
    connection: &mut PgConnection,
    partition: Partition,
    after: u64,
    limit: usize,
) -> Attempt<Vec<StoredDead>> {
    let sql = "SELECT partition, sequence, letter, purged_at FROM dead WHERE partition = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
    let query = sqlx::query_as(sql)
        .bind(partition as i32)
        .bind(after as i64)
        .bind(limited(limit));
    let found: Vec<DeadRow> = query.fetch_all(connection).await?;
    found.into_iter().map(read_dead).collect()
}

pub(super) async fn expire_outputs(
    connection: &mut PgConnection,
    partition: Partition,
    expiry: Expiry,
) -> Attempt<u64> {
    let sql = "SELECT max(sequence) FROM (
                   SELECT sequence, committed_at FROM fact WHERE partition = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence LIMIT $4
               ) AS looked_at WHERE committed_at < $5";
    let query = sqlx::query_scalar(sql)
        .bind(partition as i32)
        .bind(expiry.after as i64)
        .bind(expiry.up_to as i64)
        .bind(limited(expiry.limit));
    let reached: Option<i64> = query
        .bind(expiry.before.0)
        .fetch_one(&mut *connection)
        .await?;
    let Some(reached) = reached else {
        return Ok(expiry.after);
    };
    let expiring = outputs::ALL.iter().filter(|spec| spec.expires);
    let kinds: Vec<i16> = expiring.map(|spec| spec.kind.code().into()).collect();
    let sql = "DELETE FROM fact WHERE partition = $1 AND sequence > $2 AND sequence <= $3 AND committed_at < $4 AND kind = ANY($5)";
    let query = sqlx::query(sql)
        .bind(partition as i32)
        .bind(expiry.after as i64)
        .bind(reached)
        .bind(expiry.before.0);
    query.bind(kinds).execute(connection).await?;
    Ok(reached as u64)
}

pub(super) async fn find(
    connection: &mut PgConnection,
    filter: &OutputFilter,
) -> Attempt<Vec<StoredOutput>> {
    let sql = "SELECT * FROM (
                   SELECT * FROM fact
                   WHERE ($1::smallint IS NULL OR kind = $1) AND ($2::text IS NULL OR robot_id = $2) AND ($3::text IS NULL OR subject = $3)
                   AND ($4::bigint IS NULL OR event_time >= $4) AND ($5::bigint IS NULL OR event_time < $5)
                   AND ($7::text IS NULL OR id = $7)
                   ORDER BY committed_at DESC, partition, sequence DESC LIMIT $6
               ) AS newest ORDER BY event_time, robot_id, kind, id, revision";
    let query = sqlx::query(sql)
        .bind(filter.kind.map(|kind| i16::from(kind.code())))
        .bind(filter.robot_id.as_deref().map(stored))
        .bind(filter.subject.as_deref().map(stored))
        .bind(filter.from)
        .bind(filter.until)
        .bind((filter.limit > 0).then(|| limited(filter.limit)))
        .bind(filter.id.as_deref().map(stored))
        // Planned with the values at hand: a plan for any of them could not use the index.
        .persistent(false);
    query
        .fetch_all(connection)
        .await?
        .iter()
        .map(read_output)
        .collect()
}

pub(super) async fn find_dead(
    connection: &mut PgConnection,
    limit: usize,
) -> Attempt<Vec<StoredDead>> {
    let sql = "SELECT partition, sequence, letter, purged_at FROM dead ORDER BY sequence DESC, partition LIMIT $1";
    let found: Vec<DeadRow> = sqlx::query_as(sql)
        .bind((limit > 0).then(|| limited(limit)))
        .fetch_all(connection)
        .await?;
    found.into_iter().map(read_dead).collect()
}
