//! A change of the partition count, and the counts before.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use theatre_actors::ports::{Error, PastLayout, ProcessorMove, Repartition, Result};

use super::partitions::{current_epoch, layout, raise_epoch};
use super::{WHAT, decode, encode, fault};

pub(super) fn past_layouts(connection: &Connection) -> Result<Vec<PastLayout>> {
    // A store that is only looked at may have been made before there was such a table.
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'past_layout'";
    let there: Option<i64> = connection
        .query_row(sql, [], |row| row.get(0))
        .optional()
        .map_err(fault(WHAT))?;
    if there.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = connection
        .prepare_cached("SELECT layout FROM past_layout ORDER BY number")
        .map_err(fault(WHAT))?;
    let found = statement
        .query_map([], |row| decode(row.get_ref(0)?.as_blob()?))
        .and_then(Iterator::collect);
    found.map_err(fault(WHAT))
}

pub(super) fn repartition(transaction: &Transaction<'_>, change: &Repartition) -> Result<()> {
    let known = layout(transaction)?.map_or(0, |(_, count)| count);
    if known == change.partitions {
        return Ok(());
    }
    if known != change.ended.partitions || change.partitions < known {
        return Err(change.misfit(known));
    }
    for (partition, ours) in (0..).zip(&change.epochs) {
        let current = current_epoch(transaction, partition)?;
        if current != *ours {
            return Err(Error::StaleEpoch {
                partition,
                ours: *ours,
                current,
            });
        }
    }
    for partition in 0..change.partitions {
        raise_epoch(transaction, partition)?;
    }
    for processor in &change.moves {
        if !rehome(transaction, processor).map_err(fault(WHAT))? {
            return Err(change.outdated());
        }
    }
    let rest = || -> rusqlite::Result<()> {
        for (partition, state) in &change.lake_states {
            transaction.execute(
                "UPDATE partition SET lake_state = ?2 WHERE partition = ?1",
                params![partition, state],
            )?;
        }
        transaction.execute(
            "DELETE FROM home WHERE robot NOT IN (SELECT family FROM family)",
            [],
        )?;
        transaction.execute(
            "INSERT INTO past_layout SELECT coalesce(max(number), 0) + 1, ?1 FROM past_layout",
            [encode(&change.ended)],
        )?;
        transaction.execute("UPDATE layout SET partitions = ?1", [change.partitions])?;
        Ok(())
    };
    rest().map_err(fault(WHAT))
}

/// False if the processor is not where it was, or another one where it is to be.
fn rehome(transaction: &Transaction<'_>, processor: &ProcessorMove) -> rusqlite::Result<bool> {
    let ProcessorMove {
        robot,
        from,
        to,
        positions,
        state,
    } = processor;
    let sql = "UPDATE OR IGNORE family SET partition = ?3, positions = ?4, state = ?5 WHERE partition = ?1 AND family = ?2";
    let moved = transaction.prepare_cached(sql)?.execute(params![
        from,
        robot,
        to,
        encode(positions),
        state
    ])?;
    let sql =
        "INSERT INTO home VALUES (?1, ?2) ON CONFLICT DO UPDATE SET partition = excluded.partition";
    transaction
        .prepare_cached(sql)?
        .execute(params![robot, to])?;
    Ok(moved == 1)
}
