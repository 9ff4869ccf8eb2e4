//! Running statements on PostgreSQL: a connection for each request, its statements in one
//! transaction unless asked otherwise.

mod catalog;
mod results;

use std::str::FromStr;
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use crate::copy::{self, Objects};
use crate::sql;
use crate::statements::{ResultSet, Statement, Statements, Status};

/// What running needs.
pub struct Runner {
    /// PostgreSQL's server and account.
    pub postgres: String,
    /// Where COPY reads.
    pub objects: Objects,
    /// All statements.
    pub statements: Arc<Statements>,
    /// Databases whose catalog views are there.
    pub prepared: tokio::sync::Mutex<Vec<String>>,
}

/// What one statement gave.
struct Done {
    rows: i64,
    result: Option<ResultSet>,
}

impl Runner {
    /// Runs a request to its end and notes what became of it.
    pub async fn run(&self, statement: Statement) {
        let id = statement.id.clone();
        self.statements
            .change(&id, |statement| statement.set(Status::Picked));
        let outcome = match self.connect(&statement).await {
            Ok(connection) => self.run_on(connection, &statement).await,
            Err(why) => Err(why),
        };
        self.statements.change(&id, |statement| {
            let cancelled = statement.cancelled && outcome.is_err();
            for part in statement
                .parts
                .iter_mut()
                .filter(|part| !part.status.is_final())
            {
                part.set(if outcome.is_ok() {
                    Status::Finished
                } else {
                    Status::Aborted
                });
            }
            statement.error = outcome
                .as_ref()
                .err()
                .filter(|_| !cancelled)
                .map(|why| format!("ERROR: {why}"));
            statement.set(match (&outcome, cancelled) {
                (Ok(()), _) => Status::Finished,
                (Err(_), true) => Status::Aborted,
                (Err(_), false) => Status::Failed,
            });
        });
    }

    /// Asks PostgreSQL to stop a statement.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn cancel(&self, statement: &Statement) -> Result<(), String> {
        let mut connection = self.connect(statement).await?;
        let asked = sqlx::query("SELECT pg_cancel_backend($1)")
            .bind(statement.pid)
            .execute(&mut connection)
            .await;
        asked.map(|_| ()).map_err(|error| message(&error))
    }

    async fn connect(&self, statement: &Statement) -> Result<PgConnection, String> {
        let database = statement.origin.database.as_deref().unwrap_or_default();
        let options = PgConnectOptions::from_str(&self.postgres)
            .map_err(|error| error.to_string())?
            .database(database)
            .application_name("redshift-local");
        let mut connection = PgConnection::connect_with(&options)
            .await
            .map_err(|error| message(&error))?;
        let mut prepared = self.prepared.lock().await;
        if !prepared.iter().any(|known| known == database) {
            raw_sql(catalog::VIEWS)
                .execute(&mut connection)
                .await
                .map_err(|error| message(&error))?;
            prepared.push(database.to_owned());
        }
        drop(prepared);
        raw_sql(catalog::SESSION)
            .execute(&mut connection)
            .await
            .map_err(|error| message(&error))?;
        Ok(connection)
    }

    async fn run_on(
        &self,
        mut connection: PgConnection,
        statement: &Statement,
    ) -> Result<(), String> {
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| message(&error))?;
        self.statements.change(&statement.id, |statement| {
            statement.pid = pid;
            statement.set(Status::Started);
        });
        let each = statement.origin.execution_mode.as_deref() == Some("AUTO_COMMIT");
        let (mut copied, mut failed) = (0, None);
        for at in 0..statement.parts.len() {
            if each || at == 0 {
                raw_sql("BEGIN")
                    .execute(&mut connection)
                    .await
                    .map_err(|error| message(&error))?;
            }
            let outcome = self
                .run_part(&mut connection, statement, at, &mut copied)
                .await;
            match outcome {
                Ok(()) if each => self.commit(&mut connection, statement).await?,
                Ok(()) => {}
                Err(why) if each => {
                    raw_sql("ROLLBACK")
                        .execute(&mut connection)
                        .await
                        .map_err(|error| message(&error))?;
                    failed = Some(why);
                }
                Err(why) => return Err(why),
            }
        }
        if !each {
            self.commit(&mut connection, statement).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    async fn commit(
        &self,
        connection: &mut PgConnection,
        statement: &Statement,
    ) -> Result<(), String> {
        if self
            .statements
            .change(&statement.id, |statement| statement.cancelled)
            == Some(true)
        {
            return Err("Query (0) cancelled on user's request".to_owned());
        }
        raw_sql("COMMIT")
            .execute(connection)
            .await
            .map(|_| ())
            .map_err(|error| message(&error))
    }

    async fn run_part(
        &self,
        connection: &mut PgConnection,
        statement: &Statement,
        at: usize,
        copied: &mut i64,
    ) -> Result<(), String> {
        self.statements.change(&statement.id, |statement| {
            statement.parts[at].set(Status::Started)
        });
        let text = sql::bind(&statement.parts[at].sql, &statement.parameters);
        let outcome = match text.and_then(|text| sql::read(&text, *copied)) {
            Ok(read) => self.execute(connection, read, copied).await,
            Err(why) => Err(why),
        };
        let error = outcome.as_ref().err().cloned();
        self.statements.change(&statement.id, |statement| {
            let part = &mut statement.parts[at];
            match outcome {
                Ok(done) => {
                    part.rows = done.rows;
                    part.result = done.result.map(Arc::new);
                    part.set(Status::Finished);
                }
                Err(why) => {
                    part.error = Some(format!("ERROR: {why}"));
                    part.set(if statement.cancelled {
                        Status::Aborted
                    } else {
                        Status::Failed
                    });
                }
            }
        });
        error.map_or(Ok(()), Err)
    }

    async fn execute(
        &self,
        connection: &mut PgConnection,
        statement: sql::Statement,
        copied: &mut i64,
    ) -> Result<Done, String> {
        match statement {
            sql::Statement::Nothing => Ok(Done {
                rows: -1,
                result: None,
            }),
            sql::Statement::Copy(command) => {
                let rows = copy::run(&command, connection, &self.objects).await?;
                *copied = i64::try_from(rows).unwrap_or(i64::MAX);
                Ok(Done {
                    rows: *copied,
                    result: None,
                })
            }
            sql::Statement::Query(text) => {
                let result = results::fetch(connection, text).await?;
                Ok(Done {
                    rows: i64::try_from(result.rows.len()).unwrap_or(i64::MAX),
                    result: Some(result),
                })
            }
            sql::Statement::Command(text) => {
                let done = raw_sql(AssertSqlSafe(text))
                    .execute(connection)
                    .await
                    .map_err(|error| message(&error))?;
                Ok(Done {
                    rows: i64::try_from(done.rows_affected()).unwrap_or(i64::MAX),
                    result: None,
                })
            }
        }
    }
}

/// PostgreSQL's error in Redshift's words.
pub fn message(error: &sqlx::Error) -> String {
    let Some(database) = error.as_database_error() else {
        return error.to_string();
    };
    let postgres = database.try_downcast_ref::<PgDatabaseError>();
    match database.code().as_deref() {
        Some("40001") => "1023 Detail: Serializable isolation violation on table".to_owned(),
        _ => match postgres.and_then(PgDatabaseError::detail) {
            Some(detail) => format!("{} Detail: {detail}", database.message()),
            None => database.message().to_owned(),
        },
    }
}
