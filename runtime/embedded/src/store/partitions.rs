//! Partitions: the layout that the store is bound to, the epochs of owners, the homes of robots,
//! and where each partition stands.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use theatre_actors::ports::{Cursors, Epoch, Error, LakeCut, PartitionStatus, Result};
use theatre_actors::position::{Partition, Positions};

use super::{WHAT, cursors, decode, encode, fault};

/// The input topics in order, and the number of partitions; `None` where nothing has run yet.
pub(super) fn layout(connection: &Connection) -> Result<Option<(Vec<String>, u32)>> {
    connection
        .query_row("SELECT topics, partitions FROM layout", [], |row| {
            Ok((decode(row.get_ref(0)?.as_blob()?)?, row.get(1)?))
        })
        .optional()
        .map_err(fault(WHAT))
}

/// Records a layout; refuses one by which robots would move between owners.
pub(super) fn ensure_layout(
    transaction: &Transaction<'_>,
    topics: &[String],
    partitions: u32,
) -> Result<()> {
    if let Some((known, count)) = layout(transaction)? {
        let fits = topics.starts_with(&known) && count == partitions;
        if !fits {
            return Err(Error::Refused(format!(
                "this store has {count} partitions of {}; the configuration says {partitions} of {}: \
                 robots would move between owners. Set partitions and inputs back (new inputs may be added at the end), \
                 or drain everything and run `theatre state repartition`",
                known.join(", "),
                topics.join(", ")
            )));
        }
    }
    transaction
        .execute(
            "INSERT INTO layout VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE SET topics = excluded.topics",
            params![encode(&topics.to_vec()), partitions],
        )
        .map_err(fault(WHAT))?;
    Ok(())
}

/// The epoch of the owner; 0 while there has been none.
pub(super) fn current_epoch(connection: &Connection, partition: Partition) -> Result<Epoch> {
    let epoch: Option<i64> = connection
        .prepare_cached("SELECT epoch FROM partition WHERE partition = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([partition], |row| row.get(0))
                .optional()
        })
        .map_err(fault(WHAT))?;
    Ok(epoch.unwrap_or(0) as u64)
}

/// Makes the caller the owner, under the next epoch.
pub(super) fn raise_epoch(transaction: &Transaction<'_>, partition: Partition) -> Result<Epoch> {
    let sql =
        "INSERT INTO partition (partition, epoch, floor, lake_positions) VALUES (?1, 1, ?2, ?2)
               ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch";
    let raised =
        transaction.query_row(sql, params![partition, encode(&Positions::zero())], |row| {
            row.get::<_, i64>(0)
        });
    raised.map(|epoch| epoch as u64).map_err(fault(WHAT))
}

/// The home of each robot: this partition, for those that have none yet.
pub(super) fn claim_homes(
    transaction: &Transaction<'_>,
    partition: Partition,
    robots: &[&str],
) -> Result<Vec<Partition>> {
    let claim = |robot: &&str| {
        // The update changes nothing; it makes the row that is there be returned.
        let sql = "INSERT INTO home VALUES (?1, ?2) ON CONFLICT DO UPDATE SET partition = partition RETURNING partition";
        transaction.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row(params![robot, partition], |row| row.get(0))
        })
    };
    robots
        .iter()
        .map(claim)
        .collect::<rusqlite::Result<_>>()
        .map_err(fault(WHAT))
}

/// Where a partition stands, in one statement, so that the positions of consumers are of the same
/// moment as the rest: a row for each consumer, or one without any.
pub(super) const STATUS: &str =
    "SELECT epoch, floor, last_fact, last_dead, lake_positions, lake_cuts, consumer, position
     FROM partition LEFT JOIN cursor USING (partition) WHERE partition = ?1";

/// A row of [`STATUS`]: the partition, and a consumer with its position.
pub(super) fn read_status(
    row: &Row<'_>,
) -> rusqlite::Result<(PartitionStatus, Option<(String, u64)>)> {
    let number = |index: usize| row.get::<_, i64>(index).map(|number| number as u64);
    let status = PartitionStatus {
        epoch: number(0)?,
        floor: decode(row.get_ref(1)?.as_blob()?)?,
        last_output: number(2)?,
        last_dead: number(3)?,
        lake_positions: decode(row.get_ref(4)?.as_blob()?)?,
        lake_cuts: number(5)?,
        cursors: Cursors::default(),
    };
    Ok((status, cursors::read(row, 6)?))
}

/// Moves the lake's position by a cut, which must follow the last one.
pub(super) fn cut(
    transaction: &Transaction<'_>,
    partition: Partition,
    cut: &LakeCut,
) -> Result<()> {
    let changed = transaction
        .execute(
            "UPDATE partition SET lake_cuts = ?2, lake_positions = ?3, lake_state = ?4 WHERE partition = ?1 AND lake_cuts = ?2 - 1",
            params![partition, cut.cut_number as i64, encode(&cut.positions), cut.state],
        )
        .map_err(fault(WHAT))?;
    match changed {
        0 => Err(Error::overtaken(partition, "a cut of the lake")),
        _ => Ok(()),
    }
}
