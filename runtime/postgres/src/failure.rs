//! What went wrong inside a transaction, and which [`Error`] the caller of the port sees: passing,
//! or refused with what to do.

use sqlx::error::DatabaseError;
use theatre_actors::ports::Error;

pub(super) const WHAT: &str = "checkpoint store";

/// The outcome of one attempt.
pub(super) type Attempt<T> = Result<T, Failure>;

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Decided by us: the fence, a refusal. The connection is as good as before.
    Decided(Error),
    /// By the server, or on the way to it.
    Sql(sqlx::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Decided(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl Failure {
    /// What is stored cannot be read back: no passing fault.
    pub(super) fn damaged(error: &dyn std::fmt::Display) -> Self {
        Self::Decided(Error::Refused(format!(
            "the checkpoint store holds what cannot be read back: {error}; restore it from a backup"
        )))
    }

    /// Two transactions were in each other's way: this one was undone and may be tried again at
    /// once.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("40001" | "40P01")))
    }

    /// True if another session held for too long what the statement needed.
    pub(super) fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03"))
    }

    /// True if nothing is wrong with the connection.
    pub(super) fn spares_connection(&self) -> bool {
        matches!(self, Self::Decided(_)) || self.is_conflict()
    }

    /// True if the server did not let us in, or not to the database. Where it did so before,
    /// an operator is changing that: a password, a certificate's user, a server that fails over.
    pub(super) fn is_at_the_door(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("28P01" | "28000" | "3D000")))
    }

    /// True if the server broke this constraint's promise rather than a row.
    pub(super) fn violates(&self, constraint: &str) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if error.constraint() == Some(constraint))
    }

    /// For the caller of the port; `place` is the server, without a password.
    pub(super) fn into_error(self, place: &str) -> Error {
        let unavailable = |why: String| Error::Unavailable {
            what: WHAT,
            why: format!("{place}: {why}"),
        };
        match self {
            Self::Decided(error) => error,
            Self::Sql(sqlx::Error::Database(error)) => match advice(&*error) {
                Some(advice) => Error::Refused(format!(
                    "checkpoint store at {place}: {} ({advice})",
                    error.message()
                )),
                None => unavailable(format!(
                    "{} ({})",
                    error.message(),
                    error.code().unwrap_or_default()
                )),
            },
            Self::Sql(sqlx::Error::Configuration(error)) => {
                Error::Refused(format!("[store] {place}: {error}"))
            }
            Self::Sql(
                error @ (sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnIndexOutOfBounds { .. }),
            ) => Self::damaged(&error).into_error(place),
            Self::Sql(sqlx::Error::Tls(error)) => {
                unavailable(format!("no TLS: {error} (see sslmode and ca_file)"))
            }
            Self::Sql(sqlx::Error::Io(error))
                if error.kind() == std::io::ErrorKind::InvalidData =>
            {
                unavailable(format!("{error} (see sslmode and ca_file)"))
            }
            Self::Sql(error) => unavailable(error.to_string()),
        }
    }
}

/// What to do about an answer that repeating cannot change; `None` where it can.
fn advice(error: &dyn DatabaseError) -> Option<&'static str> {
    let code = error.code().unwrap_or_default();
    let advice = match &*code {
        "28P01" | "28000" => {
            "check the user in [store] url, its password and what pg_hba.conf lets in"
        }
        "3D000" => "create the database, or correct [store] url",
        "42501" => {
            "grant USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on its tables to this user; only `theatre migrate` needs more"
        }
        "42P01" | "42703" | "3F000" => {
            "the tables are not those of this build: run `theatre migrate`"
        }
        // A standby that was a primary a moment ago, and plans made before a migration: another
        // connection will do.
        "25006" | "0A000" => return None,
        _ => match code.get(..2) {
            // Lost connections, rollbacks, resources, locks, shutdowns and time-outs, the system
            // below: they pass.
            Some("08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX") => return None,
            _ => "report this, with the server's log",
        },
    };
    Some(advice)
}
