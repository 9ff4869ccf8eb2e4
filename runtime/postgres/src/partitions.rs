//! Partitions in the store: layout, epochs, homes of robots, and how far the lake writer is.

use std::collections::HashMap;

use sqlx::PgConnection;
use theatre_actors::ports::{Epoch, Error, LakeCut, PartitionStatus};
use theatre_actors::position::{Partition, Positions};

use super::failure::{Attempt, Failure};
use super::text::{read_text, stored};
use super::{decode, encode};

/// The partition's epoch; no other transaction changes it, or writes under it, before this one
/// ends.
pub(super) async fn lock(connection: &mut PgConnection, partition: Partition) -> Attempt<Epoch> {
    let sql = "SELECT epoch FROM partition WHERE number = $1 FOR UPDATE";
    let epoch: Option<i64> = sqlx::query_scalar(sql)
        .bind(partition as i32)
        .fetch_optional(connection)
        .await?;
    Ok(epoch.unwrap_or(0) as u64)
}

pub(super) async fn acquire(connection: &mut PgConnection, partition: Partition) -> Attempt<Epoch> {
    let sql = "INSERT INTO partition (number, epoch, floor, lake_positions) VALUES ($1, 1, $2, $2)
               ON CONFLICT (number) DO UPDATE SET epoch = partition.epoch + 1 RETURNING epoch";
    let epoch: i64 = sqlx::query_scalar(sql)
        .bind(partition as i32)
        .bind(encode(&Positions::zero()))
        .fetch_one(connection)
        .await?;
    Ok(epoch as u64)
}

pub(super) async fn layout(connection: &mut PgConnection) -> Attempt<Option<(Vec<String>, u32)>> {
    let found: Option<(Vec<u8>, i32)> = sqlx::query_as("SELECT topics, partitions FROM layout")
        .fetch_optional(connection)
        .await?;
    found
        .map(|(topics, partitions)| Ok((decode(&topics)?, partitions as u32)))
        .transpose()
}

pub(super) async fn ensure_layout(
    connection: &mut PgConnection,
    topics: &[String],
    partitions: u32,
) -> Attempt<()> {
    // Of two first starts at once one waits here, and then sees what the other wrote.
    let sql = "INSERT INTO layout (one, topics, partitions) VALUES (1, $1, $2) ON CONFLICT (one) DO UPDATE SET one = layout.one RETURNING topics, partitions";
    let (known, count): (Vec<u8>, i32) = sqlx::query_as(sql)
        .bind(encode(&topics.to_vec()))
        .bind(partitions as i32)
        .fetch_one(&mut *connection)
        .await?;
    let (known, count): (Vec<String>, u32) = (decode(&known)?, count as u32);
    if !topics.starts_with(&known) || count != partitions {
        return Err(Failure::Decided(Error::Refused(format!(
            "this store has {count} partitions of {}; the configuration says {partitions} of {}: \
             robots would move between owners. Set partitions and inputs back (new inputs may be added at the end), \
             or drain everything and run `theatre state repartition`",
            known.join(", "),
            topics.join(", ")
        ))));
    }
    sqlx::query("UPDATE layout SET topics = $1")
        .bind(encode(&topics.to_vec()))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn claim_homes(
    connection: &mut PgConnection,
    partition: Partition,
    robots: &[&str],
) -> Attempt<Vec<Partition>> {
    // In order, so that two claims of the same robots do not wait for each other in a circle.
    let mut names: Vec<_> = robots.iter().map(|robot| stored(robot)).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let sql = "INSERT INTO home (robot, partition) SELECT robot, $2 FROM UNNEST($1::text[]) AS robot ON CONFLICT (robot) DO NOTHING";
    sqlx::query(sql)
        .bind(&names)
        .bind(partition as i32)
        .execute(&mut *connection)
        .await?;
    let sql = "SELECT robot, partition FROM home WHERE robot = ANY($1)";
    let found: Vec<(String, i32)> = sqlx::query_as(sql)
        .bind(&names)
        .fetch_all(connection)
        .await?;
    let homes: HashMap<String, u32> = found
        .into_iter()
        .map(|(robot, home)| (read_text(robot), home as u32))
        .collect();
    robots
        .iter()
        .map(|robot| {
            homes
                .get(*robot)
                .copied()
                .ok_or_else(|| Failure::damaged(&"a claimed home is not there"))
        })
        .collect()
}

pub(super) async fn status(
    connection: &mut PgConnection,
    partition: Partition,
) -> Attempt<PartitionStatus> {
    // One statement, so that the positions are of the same moment as the rest.
    type Row = (i64, Vec<u8>, i64, i64, Vec<u8>, i64, Vec<String>, Vec<i64>);
    let sql = "SELECT epoch, floor, last_fact, last_dead, lake_positions, lake_cuts,
               ARRAY(SELECT consumer FROM cursor WHERE cursor.partition = number ORDER BY consumer),
               ARRAY(SELECT position FROM cursor WHERE cursor.partition = number ORDER BY consumer)
               FROM partition WHERE number = $1";
    let found: Option<Row> = sqlx::query_as(sql)
        .bind(partition as i32)
        .fetch_optional(connection)
        .await?;
    let Some((epoch, floor, last_output, last_dead, lake_positions, lake_cuts, consumers, at)) =
        found
    else {
        return Ok(PartitionStatus::default());
    };
    let positions = at.into_iter().map(|position| position as u64);
    Ok(PartitionStatus {
        epoch: epoch as u64,
        floor: decode(&floor)?,
        last_output: last_output as u64,
        last_dead: last_dead as u64,
        cursors: consumers
            .into_iter()
            .map(read_text)
            .zip(positions)
            .collect(),
        lake_positions: decode(&lake_positions)?,
        lake_cuts: lake_cuts as u64,
    })
}

pub(super) async fn lake_state(
    connection: &mut PgConnection,
    partition: Partition,
) -> Attempt<Vec<u8>> {
    let found: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT state FROM lake_state WHERE partition = $1")
            .bind(partition as i32)
            .fetch_optional(connection)
            .await?;
    Ok(found.unwrap_or_default())
}

/// Refuses a cut that is not the next one.
pub(super) async fn note_cut(
    connection: &mut PgConnection,
    partition: Partition,
    cut: &LakeCut,
) -> Attempt<()> {
    let sql = "UPDATE partition SET lake_cuts = $2, lake_positions = $3 WHERE number = $1 AND lake_cuts = $2 - 1";
    let query = sqlx::query(sql)
        .bind(partition as i32)
        .bind(cut.cut_number as i64)
        .bind(encode(&cut.positions));
    if query.execute(&mut *connection).await?.rows_affected() == 0 {
        return Err(Error::overtaken(partition, "a cut of the lake").into());
    }
    keep_lake_state(connection, partition, &cut.state).await
}

pub(super) async fn keep_lake_state(
    connection: &mut PgConnection,
    partition: Partition,
    state: &[u8],
) -> Attempt<()> {
    let sql = "INSERT INTO lake_state (partition, state) VALUES ($1, $2) ON CONFLICT (partition) DO UPDATE SET state = excluded.state";
    sqlx::query(sql)
        .bind(partition as i32)
        .bind(state)
        .execute(connection)
        .await?;
    Ok(())
}
