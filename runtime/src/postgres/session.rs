//! Connections: one for writing, kept open; a pool for reading. A connection whose transaction failed is not used again.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{Connection, PgConnection, Postgres};
use theatre_actors::ports::{Error, Result};

use crate::drive::Drive;

pub(super) const WHAT: &str = "checkpoint store";
/// Versions of the schema, from 1. A file, once released, is never edited.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_store.sql")];
/// Two processes that migrate at once wait for each other by this number.
const MIGRATION_LOCK: i64 = 0x7468_6561_7472_6501;
/// Longest wait for a connection, and for a statement or a lock.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const READERS: u32 = 8;

/// Errors of the server or of the way to it: all pass, but for what is no answer to the question asked.
pub(super) fn broken(error: sqlx::Error) -> Error {
    Error::Unavailable { what: WHAT, why: error.to_string() }
}

/// What is stored cannot be read: no passing fault.
pub(super) fn damaged(error: &dyn std::fmt::Display) -> Error {
    Error::Refused(format!("the checkpoint store holds what cannot be read back: {error}"))
}

pub(super) struct Session {
    drive: Drive,
    options: PgConnectOptions,
    writer: Mutex<Option<PgConnection>>,
    readers: PgPool,
}

impl Session {
    pub(super) fn open(url: &str, drive: &Drive) -> Result<Self> {
        let refused = |error: sqlx::Error| Error::Refused(format!("[store] url is not postgres://user@host:port/database: {error}"));
        let options = PgConnectOptions::from_str(url).map_err(refused)?;
        // Durable whatever the server's default is: the log's and the lake's publishers rely on what is committed.
        let options = options.application_name("theatre").options([("synchronous_commit", "on"), ("statement_timeout", "20s"), ("lock_timeout", "10s")]);
        let _inside = drive.handle().enter();
        let readers = PgPoolOptions::new().max_connections(READERS).acquire_timeout(CONNECT_WITHIN).connect_lazy_with(options.clone());
        Ok(Self { drive: drive.clone(), options, writer: Mutex::new(None), readers })
    }

    /// Applies the migrations that are missing.
    pub(super) fn migrate(&self) -> Result<()> {
        self.write(async |connection| {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK).execute(&mut *connection).await.map_err(broken)?;
            let table = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL)";
            sqlx::query(table).execute(&mut *connection).await.map_err(broken)?;
            let version = version(connection).await?;
            for (index, sql) in MIGRATIONS.iter().enumerate().skip(version) {
                sqlx::raw_sql(*sql).execute(&mut *connection).await.map_err(broken)?;
                let applied = "INSERT INTO schema_version VALUES ($1, now())";
                sqlx::query(applied).bind(index as i32 + 1).execute(&mut *connection).await.map_err(broken)?;
            }
            Ok(())
        })
    }

    /// Refuses a database without the schema of this version.
    pub(super) fn check_schema(&self) -> Result<()> {
        let applied = self.write(async |connection| version(connection).await)?;
        let newest = MIGRATIONS.len();
        match applied.cmp(&newest) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => {
                Err(Error::Refused(format!("the checkpoint store has schema version {applied}, {newest} is needed: run `theatre migrate`")))
            }
            std::cmp::Ordering::Greater => {
                Err(Error::Refused(format!("the checkpoint store has schema version {applied}, this build knows {newest}: run a newer build")))
            }
        }
    }

    /// One transaction: all of it, or nothing.
    pub(super) fn write<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        let mut slot = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.drive.wait(async {
            let mut connection = match slot.take() {
                Some(connection) => connection,
                None => tokio::time::timeout(CONNECT_WITHIN, PgConnection::connect_with(&self.options)).await.map_err(|_| silent())?.map_err(broken)?,
            };
            let mut transaction = connection.begin().await.map_err(broken)?;
            let done = work(&mut transaction).await;
            match done {
                Ok(done) => {
                    transaction.commit().await.map_err(broken)?;
                    *slot = Some(connection);
                    Ok(done)
                }
                Err(error) => {
                    // Refusals are frequent where owners change: such a connection is as good as before.
                    if transaction.rollback().await.is_ok() {
                        *slot = Some(connection);
                    }
                    Err(error)
                }
            }
        })
    }

    pub(super) fn read<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        self.drive.wait(async {
            let mut connection = self.readers.acquire().await.map_err(broken)?;
            work(&mut connection).await
        })
    }

    pub(super) fn rows<T>(&self, query: Query<'_, Postgres, PgArguments>, read: impl Fn(&PgRow) -> Result<T>) -> Result<Vec<T>> {
        let rows = self.drive.wait(query.fetch_all(&self.readers)).map_err(broken)?;
        rows.iter().map(read).collect()
    }
}

/// The schema's version, 0 where there is none.
async fn version(connection: &mut PgConnection) -> Result<usize> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('schema_version') IS NOT NULL").fetch_one(&mut *connection).await.map_err(broken)?;
    if !there {
        return Ok(0);
    }
    let version: Option<i32> = sqlx::query_scalar("SELECT max(version) FROM schema_version").fetch_one(connection).await.map_err(broken)?;
    Ok(usize::try_from(version.unwrap_or(0)).unwrap_or(0))
}

fn silent() -> Error {
    Error::Unavailable { what: WHAT, why: format!("no connection within {CONNECT_WITHIN:?}") }
}
