//! A change of the partition count, and the counts before.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use theatre_actors::ports::{Error, PastLayout, ProcessorMove, Repartition};

use super::failure::Attempt;
use super::text::stored;
use super::{decode, encode};

/// Processors moved by one statement: states may be large.
const AT_ONCE: usize = 500;

pub(super) async fn past_layouts(connection: &mut PgConnection) -> Attempt<Vec<PastLayout>> {
    let found: Vec<Vec<u8>> = sqlx::query_scalar("SELECT layout FROM past_layout ORDER BY number")
        .fetch_all(connection)
        .await?;
    found.iter().map(|layout| decode(layout)).collect()
}

pub(super) async fn repartition(
    connection: &mut PgConnection,
    change: &Repartition,
) -> Attempt<()> {
    // Held to the end: starts and other repartitions wait.
    let known: Option<i32> = sqlx::query_scalar("SELECT partitions FROM layout FOR UPDATE")
        .fetch_optional(&mut *connection)
        .await?;
    let known = known.unwrap_or(0) as u32;
    if known == change.partitions {
        return Ok(());
    }
    if known != change.ended.partitions || change.partitions < known {
        return Err(change.misfit(known).into());
    }
    check_epochs(connection, change).await?;
    for partition in 0..change.partitions {
        super::partitions::acquire(connection, partition).await?;
    }
    for moves in change.moves.chunks(AT_ONCE) {
        if !rehome(connection, moves).await? {
            return Err(change.outdated().into());
        }
    }
    for (partition, state) in &change.lake_states {
        super::partitions::keep_lake_state(connection, *partition, state).await?;
    }
    sqlx::query(
        "DELETE FROM home WHERE NOT EXISTS (SELECT FROM family WHERE family.name = home.robot)",
    )
    .execute(&mut *connection)
    .await?;
    let sql = "INSERT INTO past_layout SELECT coalesce(max(number), 0) + 1, $1 FROM past_layout";
    sqlx::query(sql)
        .bind(encode(&change.ended))
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE layout SET partitions = $1")
        .bind(change.partitions as i32)
        .execute(connection)
        .await?;
    Ok(())
}

/// Locks the rows of all partitions, in order as every transaction does, and refuses what was read
/// under older epochs.
async fn check_epochs(connection: &mut PgConnection, change: &Repartition) -> Attempt<()> {
    let sql = "SELECT number, epoch FROM partition ORDER BY number FOR UPDATE";
    let found: Vec<(i32, i64)> = sqlx::query_as(sql).fetch_all(connection).await?;
    let epochs: BTreeMap<u32, u64> = found
        .into_iter()
        .map(|(number, epoch)| (number as u32, epoch as u64))
        .collect();
    for (partition, ours) in (0..).zip(&change.epochs) {
        let current = epochs.get(&partition).copied().unwrap_or(0);
        if current != *ours {
            return Err(Error::StaleEpoch {
                partition,
                ours: *ours,
                current,
            }
            .into());
        }
    }
    Ok(())
}

/// False if a processor is not where it was, or another one where it is to be.
async fn rehome(connection: &mut PgConnection, moves: &[ProcessorMove]) -> Attempt<bool> {
    let names: Vec<_> = moves
        .iter()
        .map(|processor| stored(&processor.robot))
        .collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let to: Vec<i32> = moves.iter().map(|processor| processor.to as i32).collect();
    // A processor in the way would break the key; asked first, the answer is one that says what to
    // do.
    let sql = "SELECT count(*) FROM family JOIN UNNEST($1::text[], $2::integer[]) AS new (name, partition) USING (name, partition)";
    let in_the_way: i64 = sqlx::query_scalar(sql)
        .bind(&names)
        .bind(&to)
        .fetch_one(&mut *connection)
        .await?;
    if in_the_way > 0 {
        return Ok(false);
    }
    let sql = "UPDATE family SET partition = new.partition, positions = new.positions, state = new.state
               FROM UNNEST($1::integer[], $2::text[], $3::integer[], $4::bytea[], $5::bytea[]) AS new (was, name, partition, positions, state)
               WHERE family.partition = new.was AND family.name = new.name";
    let query = sqlx::query(sql)
        .bind(
            moves
                .iter()
                .map(|processor| processor.from as i32)
                .collect::<Vec<i32>>(),
        )
        .bind(&names)
        .bind(&to)
        .bind(
            moves
                .iter()
                .map(|processor| encode(&processor.positions))
                .collect::<Vec<Vec<u8>>>(),
        )
        .bind(
            moves
                .iter()
                .map(|processor| processor.state.as_slice())
                .collect::<Vec<&[u8]>>(),
        );
    let moved = query.execute(&mut *connection).await?.rows_affected();
    let sql = "INSERT INTO home (robot, partition) SELECT * FROM UNNEST($1::text[], $2::integer[])
               ON CONFLICT (robot) DO UPDATE SET partition = excluded.partition";
    sqlx::query(sql)
        .bind(&names)
        .bind(&to)
        .execute(connection)
        .await?;
    Ok(moved == moves.len() as u64)
}
