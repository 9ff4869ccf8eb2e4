//! The embedded adapters: three SQLite files with one writer each and a directory of Parquet files,
//! all below one data directory.
//!
//! Each file is WAL with synchronous FULL, and no transaction spans two of them, so they fail apart
//! as servers do. A power cut does not undo what another file relies on.

pub mod access;
pub mod data_dir;
pub mod inspect;
pub mod lake;
pub mod log;
pub mod store;
pub mod warehouse;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use theatre_actors::ports::Error;

/// How long one process waits for another's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// So many others may open a new file at the same moment.
const OPENED_BESIDE: usize = 50;

/// SQLite's own page size, bytes.
const PAGE_BYTES: u32 = 4096;

/// So many bytes wait in a write-ahead log before they go into the file itself.
const CHECKPOINT_BYTES: u32 = 16 << 20;

/// Opens a file for writing, creating it and its schema when it is not there.
fn open(path: &Path, what: &'static str, schema: &str) -> Result<Connection, Error> {
    open_paged(path, what, schema, PAGE_BYTES)
}

/// As [`open`]; a file that is created has pages of so many bytes.
fn open_paged(
    path: &Path,
    what: &'static str,
    schema: &str,
    page_bytes: u32,
) -> Result<Connection, Error> {
    let connection = Connection::open(path).map_err(|error| cannot_open(path, what, &error))?;
    let configure = || -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "page_size", page_bytes)?;
        keep_a_write_ahead_log(&connection)?;
        connection.pragma_update(None, "synchronous", "full")?;
        let pages = CHECKPOINT_BYTES / page_bytes;
        connection.pragma_update(None, "wal_autocheckpoint", pages)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(schema)
    };
    configure().map_err(|error| cannot_open(path, what, &error))?;
    Ok(connection)
}

/// Has the file keep a write-ahead log. SQLite refuses that at once, without waiting, where another
/// connection is doing the same to a file that is new.
fn keep_a_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    for _ in 0..OPENED_BESIDE {
        match connection.pragma_update(None, "journal_mode", "wal") {
            // This waits until the other one is done.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
            }
            done => return done,
        }
    }
    connection.pragma_update(None, "journal_mode", "wal")
}

/// Opens a file that another process may be writing, for reading only.
fn open_read_only(path: &Path, what: &'static str) -> Result<Connection, Error> {
    if !path.exists() {
        return Err(Error::Refused(format!(
            "there is no {what} at {}: nothing has run on this data directory yet (--data DIR names another)",
            path.display()
        )));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let opened = Connection::open_with_flags(path, flags).and_then(looked_at);
    let connection = match opened {
        // SQLite would make its two files beside this one, which this process may not. Without a
        // write-ahead log everything is in the file itself, and no process is writing it.
        Err(_) if !beside(path, "-wal").exists() => {
            Connection::open_with_flags(immutable(path), flags).and_then(looked_at)
        }
        opened => opened,
    };
    let connection = connection.map_err(|error| cannot_open(path, what, &error))?;
    connection
        .busy_timeout(BUSY_TIMEOUT)
        .map_err(|error| cannot_open(path, what, &error))?;
    Ok(connection)
}

/// A connection whose file can be read: SQLite opens it at the first statement.
fn looked_at(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// The file that SQLite keeps beside a database under this ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The URI of a file that no process changes.
fn immutable(path: &Path) -> String {
    let path = path.to_string_lossy();
    let plain = path
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{plain}?immutable=1")
}

fn cannot_open(path: &Path, what: &str, error: &rusqlite::Error) -> Error {
    Error::Refused(format!(
        "the {what} at {} cannot be opened: {error}",
        path.display()
    ))
}

/// What an error of SQLite means for the caller: a lock, a full disk, or a system that fails may
/// pass; whatever is wrong with the file, the statement or the rights does not, however long one
/// waits.
fn fault(what: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| {
        if passes(&error) {
            return Error::Unavailable {
                what,
                why: error.to_string(),
            };
        }
        let advice = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "restore it from a backup"
            }
            Some(
                ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::AuthorizationForStatementDenied,
            ) => "let this user write the data directory and its files",
            _ => "its file is not as this build makes it: see which build wrote it",
        };
        Error::Refused(format!("the {what} refuses: {error} ({advice})"))
    }
}

/// Whether an error may pass while the caller waits.
fn passes(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OperationInterrupted
                | ErrorCode::OperationAborted
                | ErrorCode::SchemaChanged
        )
    )
}

/// A connection is whole even if a thread panicked while it held it: its open transaction is rolled
/// back when dropped.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_opened_by_many_at_the_same_moment() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("new");
            let schema = "CREATE TABLE IF NOT EXISTS t (a INTEGER)";
            std::thread::scope(|threads| {
                let opened = [(); 8].map(|()| threads.spawn(|| open(&path, "file", schema)));
                for connection in opened {
                    connection.join().unwrap().unwrap();
                }
            });
        }
    }

    #[test]
    fn only_what_may_pass_is_said_to_be_unavailable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        let connection = open(&path, "test", "CREATE TABLE t (a INTEGER PRIMARY KEY)").unwrap();
        let failed = |connection: &Connection, sql: &str| {
            fault("test")(connection.execute_batch(sql).unwrap_err())
        };
        let columns: Vec<String> = (0..3000).map(|at| format!("c{at} INTEGER")).collect();
        let too_many = format!("CREATE TABLE wide ({})", columns.join(", "));
        for sql in [
            too_many.as_str(),
            "INSERT INTO nowhere VALUES (1)",
            "INSERT INTO t VALUES (1), (1)",
            "SELEC",
        ] {
            let error = failed(&connection, sql);
            assert!(matches!(error, Error::Refused(_)), "{sql}: {error}");
        }
        let reader = open_read_only(&path, "test").unwrap();
        let error = failed(&reader, "INSERT INTO t VALUES (2)");
        assert!(error.to_string().contains("let this user write"), "{error}");
        // Another process's transaction ends.
        let other = open(&path, "test", "").unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection.busy_timeout(Duration::ZERO).unwrap();
        let error = failed(&connection, "INSERT INTO t VALUES (3)");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        let damaged = folder.path().join("b.sqlite");
        std::fs::write(&damaged, vec![7_u8; 8192]).unwrap();
        let error = Connection::open(&damaged)
            .and_then(looked_at)
            .map(drop)
            .map_err(fault("test"));
        assert!(
            matches!(&error, Err(Error::Refused(why)) if why.contains("backup")),
            "{error:?}"
        );
    }
}
