//! The embedded adapters: three SQLite files with one writer each and a directory of Parquet files,
//! all below one data directory.
//!
//! Each file is WAL with synchronous FULL, and no transaction spans two of them, so they fail apart
//! as servers do. A power cut does not undo what another file relies on.

pub mod data_dir;
pub mod lake;
pub mod log;
pub mod store;
pub mod warehouse;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use theatre_actors::ports::Error;

/// How long one process waits for another's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a file for writing, creating it and its schema when it is not there.
fn open(path: &Path, what: &'static str, schema: &str) -> Result<Connection, Error> {
    let connection = Connection::open(path).map_err(|error| cannot_open(path, what, &error))?;
    let configure = || -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(schema)
    };
    configure().map_err(|error| cannot_open(path, what, &error))?;
    Ok(connection)
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
        // write-ahead log everything is in the file itself, and nobody is writing it.
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

/// The URI of a file that nobody changes.
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

/// A passing fault of a file, to be tried again.
fn unavailable(what: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| Error::Unavailable {
        what,
        why: error.to_string(),
    }
}

/// A connection is whole even if a thread panicked while it held it: its open transaction is rolled
/// back when dropped.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
