//! Versions of the file, by SQLite's `user_version`: one of an earlier build is migrated in place
//! when it is opened for writing.
//!
//! | version | what it brought |
//! |---|---|
//! | 0 | the first tables, with the consumers' positions in columns of `partition` |
//! | 1 | the table `cursor`, a row for each consumer |
//! | 2 | the table `undelivered` |
//! | 3 | the table `dead_replay`, and in `dead` when a letter was erased |
//! | 4 | the indexes of `dead_replay` |
//! | 5 | the indexes by which lists of outputs are read in pages, and when a processor was saved |
//! | 6 | event times of a lake file, and the index by them |

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use theatre_actors::ports::{Error, Result};

use super::WHAT;
use crate::cannot_open;

const SCHEMA: &str = include_str!("schema.sql");

/// The version of [`SCHEMA`].
const VERSION: i64 = 6;

/// From version 0 to 1. The names of the consumers are those under which they go on.
const CURSORS: &str = "
    INSERT INTO cursor
        SELECT partition, 'relay', relayed_fact FROM partition WHERE relayed_fact > 0
        UNION ALL SELECT partition, 'dead_letter_relay', relayed_dead FROM partition WHERE relayed_dead > 0
        UNION ALL SELECT partition, 'exporter', exported_fact FROM partition WHERE exported_fact > 0;
    ALTER TABLE partition DROP COLUMN relayed_fact;
    ALTER TABLE partition DROP COLUMN relayed_dead;
    ALTER TABLE partition DROP COLUMN exported_fact;";

/// From version 2 to 3.
const PURGED_AT: &str = "ALTER TABLE dead ADD COLUMN purged_at INTEGER;";

/// From version 4 to 5.
const SAVED_AT: &str = "ALTER TABLE family ADD COLUMN saved_at INTEGER NOT NULL DEFAULT 0;";

/// From version 5 to 6. Files that are there already are looked into by who asks for some.
const FILE_TIMES: &str = "
    ALTER TABLE lake_file ADD COLUMN event_time_min INTEGER;
    ALTER TABLE lake_file ADD COLUMN event_time_max INTEGER;";

/// Made after the columns: files of earlier builds have none before [`FILE_TIMES`].
const FILE_TIMES_INDEX: &str = "
    CREATE INDEX IF NOT EXISTS lake_file_times ON lake_file (dataset, partition, event_time_max, event_time_min);";

/// Makes the tables, or brings those of an earlier build to this one's version, in one transaction;
/// says which migrations that took.
///
/// # Errors
/// When the file comes from a later build, or cannot be written.
pub(super) fn apply(connection: &mut Connection, path: &Path) -> Result<Vec<String>> {
    if refuse_later(version(connection, path)?, path)? == VERSION {
        return Ok(Vec::new());
    }
    // Of two processes that open the file at once one waits here, and finds the work done.
    let migrate = |transaction: &Transaction<'_>| -> rusqlite::Result<Vec<String>> {
        let found = stored_version(transaction)?;
        if found == VERSION {
            return Ok(Vec::new());
        }
        // A file that was just made has no tables: nothing is missing there.
        let is_old = has_column(transaction, "epoch")?;
        let has_no_cursors = has_column(transaction, "relayed_fact")?;
        // Makes the tables and indexes that are missing.
        transaction.execute_batch(SCHEMA)?;
        if has_no_cursors {
            transaction.execute_batch(CURSORS)?;
        }
        if is_old && found < 3 {
            transaction.execute_batch(PURGED_AT)?;
        }
        if is_old && found < 5 {
            transaction.execute_batch(SAVED_AT)?;
        }
        if is_old {
            transaction.execute_batch(FILE_TIMES)?;
        }
        transaction.execute_batch(FILE_TIMES_INDEX)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        let applied = [
            has_no_cursors.then_some("0001_cursors"),
            (is_old && found < 2).then_some("0002_undelivered"),
            (is_old && found < 3).then_some("0003_dead_letters"),
            (is_old && found < 4).then_some("0004_dead_replay_indexes"),
            (is_old && found < 5).then_some("0005_pages"),
            is_old.then_some("0006_file_times"),
        ];
        Ok(applied.into_iter().flatten().map(str::to_owned).collect())
    };
    let migrated = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .and_then(|transaction| {
            let applied = migrate(&transaction)?;
            transaction.commit()?;
            Ok(applied)
        });
    migrated.map_err(|error| cannot_open(path, WHAT, &error))
}

/// Refuses to read a file of another version.
///
/// # Errors
/// Says what to do.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<()> {
    if refuse_later(version(connection, path)?, path)? == VERSION {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the {WHAT} at {} was written by an earlier build: stop that build's process, then run `theatre migrate`, or start this build; \
         until then look at it with the earlier build",
        path.display()
    )))
}

fn refuse_later(found: i64, path: &Path) -> Result<i64> {
    if found <= VERSION {
        return Ok(found);
    }
    Err(Error::Refused(format!(
        "the {WHAT} at {} has version {found}, this build knows {VERSION}: run a build at least as new as the one that wrote it",
        path.display()
    )))
}

fn version(connection: &Connection, path: &Path) -> Result<i64> {
    stored_version(connection).map_err(|error| cannot_open(path, WHAT, &error))
}

fn stored_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn has_column(connection: &Connection, column: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM pragma_table_info('partition') WHERE name = ?1";
    connection.query_row(sql, [column], |row| Ok(row.get::<_, i64>(0)? > 0))
}
