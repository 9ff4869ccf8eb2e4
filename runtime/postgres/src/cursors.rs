//! Positions of the outbox's consumers.

use sqlx::PgConnection;
use theatre_actors::ports::Error;
use theatre_actors::position::Partition;

use super::failure::Attempt;
use super::text::stored;

/// Moves a position, never back.
pub(super) async fn advance(
    connection: &mut PgConnection,
    partition: Partition,
    consumer: &str,
    position: u64,
) -> Attempt<()> {
    let sql = "INSERT INTO cursor (partition, consumer, position) VALUES ($1, $2, $3)
               ON CONFLICT (partition, consumer) DO UPDATE SET position = excluded.position
               WHERE cursor.position < excluded.position";
    sqlx::query(sql)
        .bind(partition as i32)
        .bind(stored(consumer))
        .bind(position as i64)
        .execute(connection)
        .await?;
    Ok(())
}

/// Moves a position from where a batch begins to where it ends; refuses a batch, named by `what`,
/// that does not begin at the position.
pub(super) async fn compare_and_set(
    connection: &mut PgConnection,
    partition: Partition,
    consumer: &str,
    (from, to): (u64, u64),
    what: &'static str,
) -> Attempt<()> {
    // A consumer without a row is at 0: the first batch makes the row. The partition's row is
    // locked, so no other transaction makes it in between.
    let sql = if from == 0 {
        "INSERT INTO cursor (partition, consumer, position) VALUES ($1, $2, $3)
         ON CONFLICT (partition, consumer) DO UPDATE SET position = excluded.position
         WHERE cursor.position = $4"
    } else {
        "UPDATE cursor SET position = $3 WHERE partition = $1 AND consumer = $2 AND position = $4"
    };
    let query = sqlx::query(sql)
        .bind(partition as i32)
        .bind(stored(consumer))
        .bind(to as i64)
        .bind(from as i64);
    match query.execute(connection).await?.rows_affected() {
        0 => Err(Error::overtaken(partition, what).into()),
        _ => Ok(()),
    }
}
