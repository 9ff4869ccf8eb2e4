//! Outputs that consumers could not deliver.

use sqlx::{PgConnection, Row};
use theatre_actors::ports::{StoredUndelivered, Undelivered};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::failure::Attempt;
use super::limited;
use super::outputs::read_output;
use super::text::{read_text, stored};

/// Notes one, unless it is noted already.
pub(super) async fn note(
    connection: &mut PgConnection,
    partition: Partition,
    consumer: &str,
    undelivered: &Undelivered,
) -> Attempt<()> {
    let sql = "INSERT INTO undelivered (consumer, partition, sequence, reason, at)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    sqlx::query(sql)
        .bind(stored(consumer))
        .bind(partition as i32)
        .bind(undelivered.sequence as i64)
        .bind(stored(&undelivered.reason))
        .bind(undelivered.at.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// All, or those of a consumer, with their outputs.
pub(super) async fn list(
    connection: &mut PgConnection,
    consumer: Option<&str>,
    limit: usize,
) -> Attempt<Vec<StoredUndelivered>> {
    let sql = "SELECT fact.*, undelivered.consumer, undelivered.reason, undelivered.at
               FROM undelivered JOIN fact USING (partition, sequence)
               WHERE $1::text IS NULL OR undelivered.consumer = $1
               ORDER BY undelivered.consumer, partition, sequence LIMIT $2";
    let found = sqlx::query(sql)
        .bind(consumer.map(stored))
        .bind((limit > 0).then(|| limited(limit)))
        .fetch_all(connection)
        .await?;
    let read = |row: &sqlx::postgres::PgRow| -> Attempt<StoredUndelivered> {
        Ok(StoredUndelivered {
            output: read_output(row)?,
            consumer: read_text(row.try_get("consumer")?),
            reason: read_text(row.try_get("reason")?),
            at: LogTime(row.try_get("at")?),
        })
    };
    found.iter().map(read).collect()
}

/// Takes one off the list; false if it was not there.
pub(super) async fn settle(
    connection: &mut PgConnection,
    partition: Partition,
    consumer: &str,
    sequence: u64,
) -> Attempt<bool> {
    let sql = "DELETE FROM undelivered WHERE consumer = $1 AND partition = $2 AND sequence = $3";
    let done = sqlx::query(sql)
        .bind(stored(consumer))
        .bind(partition as i32)
        .bind(sequence as i64)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}
