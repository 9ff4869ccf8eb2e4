//! Rows taken out of a table: deleted where it has rows, and where it has files these are replaced
//! by files without them, as in the lake.

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, TransactionBehavior, params_from_iter};
use theatre_actors::ports::{Error, LoadMode, Result, RowSelection, TableErasure};
use theatre_parquet::columns::Footer;
use theatre_parquet::{erase, fitting};

use super::super::fault;
use super::{WHAT, loaded_files, quoted};

/// Robots that one statement names: SQLite has a bound on parameters.
const ROBOTS_AT_ONCE: usize = 500;

/// Erases the rows, in one transaction that no load comes between.
pub(super) fn erase(connection: &mut Connection, erasure: &TableErasure) -> Result<Option<u64>> {
    // What is erased is overwritten in the file, too.
    connection
        .pragma_update(None, "secure_delete", true)
        .map_err(fault(WHAT))?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fault(WHAT))?;
    let table = &erasure.table;
    let sql = "SELECT count(*) FROM load_ledger WHERE table_name = ?1";
    let loads: i64 = transaction
        .query_row(sql, [&table.name], |row| row.get(0))
        .map_err(fault(WHAT))?;
    if loads as u64 != erasure.loads {
        return Ok(None);
    }
    // Without a load there may be no table yet.
    let erased = if loads == 0 {
        0
    } else if table.mode == LoadMode::Append {
        replace_files(&transaction, &table.name, &erasure.rows)?
    } else {
        delete_rows(&transaction, &table.name, &erasure.rows)?
    };
    transaction.commit().map_err(fault(WHAT))?;
    // The log of writes has the pages of before. With a reader that holds it up it stays, and is
    // written over by and by.
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(fault(WHAT))?;
    Ok(Some(erased))
}

fn delete_rows(transaction: &Transaction<'_>, table: &str, rows: &RowSelection) -> Result<u64> {
    let mut erased = 0;
    let mut delete = |condition: String, values: Vec<Value>| -> Result<()> {
        let sql = format!("DELETE FROM {} WHERE {condition}", quoted(table));
        let done = transaction.execute(&sql, params_from_iter(values));
        erased += done.map_err(fault(WHAT))? as u64;
        Ok(())
    };
    if let Some(column) = &rows.robot_column {
        let robots: Vec<&String> = rows.robots.iter().collect();
        for some in robots.chunks(ROBOTS_AT_ONCE) {
            let marks = vec!["?"; some.len()].join(", ");
            let values = some.iter().map(|robot| fitting(robot).into_owned().into());
            delete(format!("{} IN ({marks})", quoted(column)), values.collect())?;
        }
    }
    if let (Some(column), Some(before)) = (&rows.time_column, rows.before) {
        delete(format!("{} < ?", quoted(column)), vec![before.into()])?;
    }
    Ok(erased)
}

/// Refuses a table whose rows an earlier build loaded one by one: files are made of them at the
/// next start.
fn check_files(transaction: &Transaction<'_>, table: &str) -> Result<()> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = ?1 AND sql NOT LIKE 'CREATE VIRTUAL TABLE%'";
    let plain: i64 = transaction
        .query_row(sql, [table], |row| row.get(0))
        .map_err(fault(WHAT))?;
    if plain == 0 {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "warehouse table '{table}' was written by an earlier build: start `theatre run` of this build once, and repeat"
    )))
}

/// A replaced file gets a number of its own: what is remembered of the old one means nothing then.
fn replace_files(transaction: &Transaction<'_>, table: &str, rows: &RowSelection) -> Result<u64> {
    check_files(transaction, table)?;
    let sql = "SELECT id FROM loaded_files WHERE table_name = ?1 ORDER BY id";
    let ids: Vec<i64> = {
        let mut statement = transaction.prepare(sql).map_err(fault(WHAT))?;
        let ids = statement.query_map([table], |row| row.get(0));
        ids.and_then(Iterator::collect).map_err(fault(WHAT))?
    };
    let mut erased = 0;
    for id in ids {
        let sql = "SELECT path, content FROM loaded_files WHERE id = ?1";
        let (path, content): (String, Vec<u8>) = transaction
            .query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(fault(WHAT))?;
        let content = Bytes::from(content);
        if erase::count(&path, &content, rows)?.rows() == 0 {
            continue;
        }
        let rest = erase::without(&path, content, rows)?;
        erased += rest.erased.rows();
        if rest.rows > 0 {
            keep(transaction, table, &path, &rest.bytes)?;
        }
        transaction
            .execute("DELETE FROM loaded_files WHERE id = ?1", [id])
            .map_err(fault(WHAT))?;
    }
    Ok(erased)
}

fn keep(transaction: &Transaction<'_>, table: &str, path: &str, bytes: &Bytes) -> Result<()> {
    let from = Footer::begin(path, bytes)?;
    let end = usize::try_from(from).map_err(|error| Error::Refused(error.to_string()))?;
    let footer = Footer::read(path, bytes.len() as u64, bytes.slice(end..))?;
    loaded_files::insert(transaction, table, &footer, from, bytes).map_err(fault(WHAT))
}
