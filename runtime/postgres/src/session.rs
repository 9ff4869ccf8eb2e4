//! Connections: one for commits and one for all other writes, each made anew when it broke, and a
//! pool for reading.
//!
//! So a slow read, or a large cut of the lake, never holds a commit up. Every call is bounded in
//! time and reconnects by itself.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgPoolOptions, Postgres};
use theatre_actors::ports::{Error, Result};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connect::{Server, duration};
use super::failure::{Attempt, Failure, WHAT};
use theatre_config::store::StoreConfig;
use theatre_system::blocking::IoRuntime;

/// How often a transaction is tried that others were in the way of.
const ATTEMPTS: u32 = 5;

/// A connection for one kind of writes; empty while there is none.
#[derive(Debug, Default)]
pub(super) struct Writer(Mutex<Option<PgConnection>>);

/// Connections to the server.
#[derive(Debug)]
pub(super) struct Session {
    io: IoRuntime,
    server: std::sync::Arc<Server>,
    readers: PgPool,
    /// A call that takes longer is given up: the way to the server may swallow everything in
    /// silence.
    patience: Duration,
    acquire_timeout: Duration,
}

impl Session {
    /// Nothing is connected yet.
    pub(super) fn new(url: &str, config: &StoreConfig, io: &IoRuntime) -> Result<Self> {
        let server = std::sync::Arc::new(io.block_on(Server::of(url, config))?);
        let (options, _) = io.block_on(server.options())?;
        let acquire_timeout = duration(config.acquire_timeout);
        let to_set_up = server.clone();
        // The pool keeps house by tasks of its own.
        let _inside = io.handle().enter();
        let readers = PgPoolOptions::new()
            .max_connections(config.pool)
            .acquire_timeout(acquire_timeout)
            .after_connect(move |connection, _| {
                let server = to_set_up.clone();
                Box::pin(async move { server.set_up(connection).await })
            })
            .connect_lazy_with(options);
        let patience = duration(config.connect_timeout) + duration(config.statement_timeout) * 2;
        Ok(Self {
            io: io.clone(),
            server,
            readers,
            patience,
            acquire_timeout,
        })
    }

    /// One transaction: all of `work` or nothing. It may be run more than once. If the answer to
    /// the end is lost, it may have been done although an error is returned.
    pub(super) fn write<T>(
        &self,
        writer: &Writer,
        work: impl AsyncFn(&mut PgConnection) -> Attempt<T>,
    ) -> Result<T> {
        self.bounded(async {
            let mut slot = writer.0.lock().await;
            let mut attempt = 1;
            loop {
                match self.attempt(&mut slot, &work).await {
                    Err(failure) if failure.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                    done => return done,
                }
            }
        })
    }

    /// One look, by a connection of the pool.
    pub(super) fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Attempt<T>,
    ) -> Result<T> {
        self.bounded(async {
            let mut connection = self.reader().await?;
            work(&mut connection).await
        })
    }

    fn bounded<T>(&self, work: impl Future<Output = Attempt<T>>) -> Result<T> {
        let done = self
            .io
            .block_on(async { timeout(self.patience, work).await });
        let silent = |_| Error::Unavailable {
            what: WHAT,
            why: format!(
                "{}: no answer within {:?}",
                self.server.place, self.patience
            ),
        };
        done.map_err(silent)?
            .map_err(|failure| self.server.error(failure))
    }

    /// A connection whose transaction failed in doubt, or that was given up waiting for, is not put
    /// back.
    async fn attempt<T>(
        &self,
        slot: &mut Option<PgConnection>,
        work: &impl AsyncFn(&mut PgConnection) -> Attempt<T>,
    ) -> Attempt<T> {
        let mut connection = self.begin(slot.take()).await?;
        match work(&mut connection).await {
            Ok(done) => {
                sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
                *slot = Some(connection);
                Ok(done)
            }
            Err(failure) => {
                if failure.spares_connection()
                    && sqlx::raw_sql("ROLLBACK")
                        .execute(&mut connection)
                        .await
                        .is_ok()
                {
                    *slot = Some(connection);
                }
                Err(failure)
            }
        }
    }

    /// Begins on the kept connection; on a new one if the server has left that one meanwhile.
    async fn begin(&self, kept: Option<PgConnection>) -> Attempt<PgConnection> {
        if let Some(mut connection) = kept
            && sqlx::raw_sql("BEGIN")
                .execute(&mut connection)
                .await
                .is_ok()
        {
            return Ok(connection);
        }
        let mut connection = self.server.connect().await?;
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        Ok(connection)
    }

    async fn reader(&self) -> Attempt<PoolConnection<Postgres>> {
        let (options, is_new) = self.server.options().await?;
        if is_new {
            self.readers.set_connect_options(options);
        }
        match self.readers.acquire().await {
            // The pool does not say why no connection came: ask for one beside it.
            Err(sqlx::Error::PoolTimedOut) => {
                self.server.connect().await?;
                let why = format!(
                    "{}: all {} connections for reading were in use for {:?}",
                    self.server.place,
                    self.readers.size(),
                    self.acquire_timeout
                );
                Err(Failure::Decided(Error::Unavailable { what: WHAT, why }))
            }
            acquired => Ok(acquired?),
        }
    }
}
