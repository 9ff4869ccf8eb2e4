//! The index as tables of a file: robots, the rows that are known of them, and holes in their
//! counters.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use theatre_actors::ports::{Error, Result};

const WHAT: &str = "index of recordings";
/// How long one process waits for another's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Version of the file's tables.
const VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS robot (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, next INTEGER NOT NULL, parts INTEGER NOT NULL, open INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS dataset (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE IF NOT EXISTS recording (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE IF NOT EXISTS row (robot INTEGER, dataset INTEGER, time INTEGER, content INTEGER, copy INTEGER, number INTEGER NOT NULL,
        recording INTEGER NOT NULL, PRIMARY KEY (robot, dataset, time, content, copy)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS hole (robot INTEGER, counter INTEGER, number INTEGER NOT NULL, PRIMARY KEY (robot, counter)) STRICT, WITHOUT ROWID;
";

/// The index, a file of the data directory.
pub struct RecordingIndex {
    connection: Connection,
}

/// A row of the index at one robot and time.
pub(super) struct KnownRow {
    pub(super) content: u64,
    /// How many equal rows came before it.
    pub(super) copy: i64,
    pub(super) number: i64,
    pub(super) recording: i64,
}

/// A robot as the file has it.
pub(super) struct StoredRobot {
    pub(super) id: i64,
    /// The next number.
    pub(super) next: i64,
    /// How many recordings have brought something new.
    pub(super) parts: i64,
    /// Whether rows are numbered that no end follows yet.
    pub(super) open: bool,
}

/// Robot and dataset by their ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    pub(super) robot: i64,
    pub(super) dataset: i64,
}

impl RecordingIndex {
    /// Opens the index at `path`, or makes it.
    ///
    /// # Errors
    /// When the file cannot be opened, or is from a newer version.
    pub fn open(path: &Path) -> Result<Self> {
        let refused = |error: rusqlite::Error| {
            Error::Refused(format!(
                "the {WHAT} at {} cannot be opened: {error}",
                path.display()
            ))
        };
        let connection = Connection::open(path).map_err(refused)?;
        let configure = || -> rusqlite::Result<i64> {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if version <= VERSION {
                connection.execute_batch(SCHEMA)?;
                connection.pragma_update(None, "user_version", VERSION)?;
            }
            Ok(version)
        };
        let version = configure().map_err(refused)?;
        if version > VERSION {
            return Err(Error::Refused(format!(
                "the {WHAT} at {} has version {version}, this build reads up to {VERSION}: run the newer build that wrote it",
                path.display()
            )));
        }
        Ok(Self { connection })
    }

    /// Begins to write: everything up to [`Self::commit`] is kept together.
    pub(super) fn begin_write(&self) -> Result<()> {
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE");
        begun.map_err(failed)
    }

    /// Keeps what was written since [`Self::begin_write`].
    pub(super) fn commit(&self) -> Result<()> {
        self.connection.execute_batch("COMMIT").map_err(failed)
    }

    /// Drops what was written since [`Self::begin_write`].
    pub(super) fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // The error that led here says more than one of the rollback would.
            drop(self.connection.execute_batch("ROLLBACK"));
        }
    }

    /// The id of a dataset or a recording, which is added when it is new.
    pub(super) fn id(&self, table: &str, name: &str) -> Result<i64> {
        let added = self.connection.execute(
            &format!("INSERT OR IGNORE INTO {table} (name) VALUES (?1)"),
            [name],
        );
        added.map_err(failed)?;
        let sql = format!("SELECT id FROM {table} WHERE name = ?1");
        let id = self.connection.query_row(&sql, [name], |row| row.get(0));
        id.map_err(failed)
    }

    /// A robot; one that is new is numbered from `first`.
    pub(super) fn robot(
        &self,
        name: &str,
        first: impl FnOnce() -> Result<i64>,
    ) -> Result<StoredRobot> {
        let found = self
            .connection
            .prepare_cached("SELECT id, next, parts, open FROM robot WHERE name = ?1")
            .and_then(|mut statement| {
                let robot = |row: &rusqlite::Row<'_>| {
                    Ok(StoredRobot {
                        id: row.get(0)?,
                        next: row.get(1)?,
                        parts: row.get(2)?,
                        open: row.get(3)?,
                    })
                };
                statement.query_row([name], robot).optional()
            })
            .map_err(failed)?;
        if let Some(found) = found {
            return Ok(found);
        }
        let next = first()?;
        let sql = "INSERT INTO robot (name, next, parts, open) VALUES (?1, ?2, 0, 0)";
        self.execute(sql, params![name, next])?;
        Ok(StoredRobot {
            id: self.connection.last_insert_rowid(),
            next,
            parts: 0,
            open: false,
        })
    }

    pub(super) fn keep_robot(&self, robot: &StoredRobot) -> Result<()> {
        let sql = "UPDATE robot SET next = ?2, parts = ?3, open = ?4 WHERE id = ?1";
        self.execute(sql, params![robot.id, robot.next, robot.parts, robot.open])
    }

    /// The greatest known event time.
    pub(super) fn known_to(&self, series: Series) -> Result<Option<i64>> {
        let sql = "SELECT max(time) FROM row WHERE robot = ?1 AND dataset = ?2";
        self.number(sql, params![series.robot, series.dataset])
    }

    /// How many rows are known from one event time to another, both included.
    pub(super) fn count_between(&self, series: Series, from: i64, to: i64) -> Result<i64> {
        let sql =
            "SELECT count(*) FROM row WHERE robot = ?1 AND dataset = ?2 AND time BETWEEN ?3 AND ?4";
        self.number(sql, params![series.robot, series.dataset, from, to])
    }

    /// The rows that are known at a time, by their numbers.
    pub(super) fn known_at(&self, series: Series, time: i64) -> Result<Vec<KnownRow>> {
        let sql = "SELECT content, copy, number, recording FROM row WHERE robot = ?1 AND dataset = ?2 AND time = ?3 ORDER BY number";
        let known = |row: &rusqlite::Row<'_>| {
            Ok(KnownRow {
                content: row.get::<_, i64>(0)?.cast_unsigned(),
                copy: row.get(1)?,
                number: row.get(2)?,
                recording: row.get(3)?,
            })
        };
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(params![series.robot, series.dataset, time], known);
        let rows: rusqlite::Result<_> = rows.and_then(Iterator::collect);
        rows.map_err(failed)
    }

    pub(super) fn add(&self, series: Series, time: i64, row: &KnownRow) -> Result<()> {
        let Series { robot, dataset } = series;
        let content = row.content.cast_signed();
        self.execute(
            "INSERT INTO row VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                robot,
                dataset,
                time,
                content,
                row.copy,
                row.number,
                row.recording
            ],
        )
    }

    /// Leaves out the number of a row whose counter was skipped.
    pub(super) fn leave_hole(&self, robot: i64, counter: i64, number: i64) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO hole VALUES (?1, ?2, ?3)";
        self.execute(sql, params![robot, counter, number])
    }

    /// The number that was left out for a counter; it is not left out any more.
    pub(super) fn take_hole(&self, robot: i64, counter: i64) -> Result<Option<i64>> {
        let sql = "DELETE FROM hole WHERE robot = ?1 AND counter = ?2 RETURNING number";
        let taken = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let number = |row: &rusqlite::Row<'_>| row.get(0);
                statement
                    .query_row(params![robot, counter], number)
                    .optional()
            });
        taken.map_err(failed)
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<()> {
        let done = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values));
        done.map(|_| ()).map_err(failed)
    }

    fn number<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<T> {
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(values, |row| row.get(0)));
        found.map_err(failed)
    }
}

fn failed(error: rusqlite::Error) -> Error {
    Error::Unavailable {
        what: WHAT,
        why: error.to_string(),
    }
}
