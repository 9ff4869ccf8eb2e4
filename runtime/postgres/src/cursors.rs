//! Positions of the outbox's consumers.

use sqlx::PgConnection;
use theatre_actors::ports::{Error, Export};
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

/// Moves a position from where an export begins to where it ends; refuses an export that does not
/// begin at the position.
pub(super) async fn compare_and_set(
    connection: &mut PgConnection,
    partition: Partition,
    export: &Export,
) -> Attempt<()> {
    // A consumer without a row is at 0: the first export makes the row. The partition's row is
    // locked, so no other transaction makes it in between.
    let sql = if export.after == 0 {
        "INSERT INTO cursor (partition, consumer, position) VALUES ($1, $2, $3)
         ON CONFLICT (partition, consumer) DO UPDATE SET position = excluded.position
         WHERE cursor.position = $4"
    } else {
        "UPDATE cursor SET position = $3 WHERE partition = $1 AND consumer = $2 AND position = $4"
    };
    let query = sqlx::query(sql)
        .bind(partition as i32)
        .bind(stored(&export.consumer))
        .bind(export.up_to as i64)
        .bind(export.after as i64);
    match query.execute(connection).await?.rows_affected() {
        0 => Err(Error::overtaken(partition, "an export of outputs").into()),
        _ => Ok(()),
    }
}
