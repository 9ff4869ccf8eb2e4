//! The statements of this server's life: their states, results, names and client tokens. Nothing of
//! it survives a restart, as nothing of Redshift's survives a day; what a statement did is in the
//! database.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use crate::wire::{ApiError, Parameter, Request};

/// Where a statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names are the API's own")]
pub enum Status {
    Submitted,
    Picked,
    Started,
    Finished,
    Failed,
    Aborted,
}

impl Status {
    /// True when nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Aborted)
    }

    /// Reads the API's name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Submitted,
            Self::Picked,
            Self::Started,
            Self::Finished,
            Self::Failed,
            Self::Aborted,
        ];
        all.into_iter()
            .find(|status| serde_json::to_value(status).is_ok_and(|value| value == name))
    }
}

/// Rows that a statement gave.
#[derive(Debug, Clone, Default)]
pub struct ResultSet {
    /// The API's column metadata.
    pub columns: Vec<Value>,
    /// The API's fields, row by row.
    pub rows: Vec<Vec<Value>>,
    /// Bytes of all values.
    pub bytes: i64,
}

/// One SQL statement of a request.
#[derive(Debug, Clone)]
pub struct SubStatement {
    /// Its text, as sent.
    pub sql: String,
    /// Where it stands.
    pub status: Status,
    /// Why it failed.
    pub error: Option<String>,
    /// Rows given or changed; -1 if none can be.
    pub rows: i64,
    /// What it gave. Shared: a request for the statement, a page or its status copies all else.
    pub result: Option<Arc<ResultSet>>,
    /// Seconds since 1970.
    pub created_at: f64,
    /// Seconds since 1970.
    pub updated_at: f64,
    started: Option<Instant>,
    duration_ns: i64,
}

impl SubStatement {
    /// Moves it on.
    pub fn set(&mut self, status: Status) {
        self.status = status;
        self.updated_at = now();
        match self.started {
            None if status == Status::Started => self.started = Some(Instant::now()),
            Some(started) if status.is_final() => {
                self.duration_ns = i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX)
            }
            _ => {}
        }
    }

    /// How long it ran, nanoseconds.
    pub fn duration_ns(&self) -> i64 {
        self.duration_ns
    }

    /// Bytes of its result; -1 if there is none.
    pub fn bytes(&self) -> i64 {
        self.result.as_ref().map_or(-1, |result| result.bytes)
    }
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its id.
    pub id: String,
    /// `StatementName`.
    pub name: Option<String>,
    /// Who asked, and for which database.
    pub origin: Request,
    /// True for BatchExecuteStatement.
    pub is_batch: bool,
    /// Where it stands.
    pub status: Status,
    /// Why it failed.
    pub error: Option<String>,
    /// Named values.
    pub parameters: Vec<Parameter>,
    /// Its SQL statements.
    pub parts: Vec<SubStatement>,
    /// PostgreSQL's process, 0 before there is one.
    pub pid: i32,
    /// A client has asked to cancel it.
    pub cancelled: bool,
    /// Seconds since 1970.
    pub created_at: f64,
    /// Seconds since 1970.
    pub updated_at: f64,
}

impl Statement {
    /// Moves it on.
    pub fn set(&mut self, status: Status) {
        self.status = status;
        self.updated_at = now();
    }

    /// How long it ran, nanoseconds.
    pub fn duration_ns(&self) -> i64 {
        self.parts.iter().map(SubStatement::duration_ns).sum()
    }
}

/// All statements.
#[derive(Default)]
pub struct Statements(Mutex<Known>);

#[derive(Default)]
struct Known {
    order: Vec<String>,
    by_id: HashMap<String, Statement>,
    by_token: HashMap<String, String>,
}

impl Statements {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request in. The second value is true when it is new: a known client token gives the
    /// statement it stands for.
    ///
    /// # Errors
    /// Says what the API refuses.
    pub fn submit(
        &self,
        request: Request,
        is_batch: bool,
        active_max: usize,
    ) -> Result<(Statement, bool), ApiError> {
        let sqls = request.statements(is_batch)?;
        let mut known = self.known();
        let twin = request
            .client_token
            .as_ref()
            .and_then(|token| known.by_token.get(token))
            .and_then(|id| known.by_id.get(id));
        if let Some(twin) = twin {
            let same =
                twin.is_batch == is_batch && twin.parts.iter().map(|part| &part.sql).eq(&sqls);
            return if same {
                Ok((twin.clone(), false))
            } else {
                Err(ApiError::validation(
                    "ClientToken was used for another request.",
                ))
            };
        }
        if known
            .by_id
            .values()
            .filter(|statement| !statement.status.is_final())
            .count()
            >= active_max
        {
            let message = "Active statements exceeded the allowed quota.".to_owned();
            return Err(ApiError {
                status: 400,
                code: "ActiveStatementsExceededException",
                message,
            });
        }
        let (id, created_at) = (new_id(), now());
        let part = |sql: String| SubStatement {
            sql,
            status: Status::Submitted,
            error: None,
            rows: -1,
            result: None,
            created_at,
            updated_at: created_at,
            started: None,
            duration_ns: 0,
        };
        let statement = Statement {
            id: id.clone(),
            name: request.statement_name.clone(),
            is_batch,
            status: Status::Submitted,
            error: None,
            parameters: request.parameters.clone(),
            parts: sqls.into_iter().map(part).collect(),
            pid: 0,
            cancelled: false,
            created_at,
            updated_at: created_at,
            origin: request,
        };
        if let Some(token) = &statement.origin.client_token {
            known.by_token.insert(token.clone(), id.clone());
        }
        known.order.push(id.clone());
        known.by_id.insert(id, statement.clone());
        Ok((statement, true))
    }

    /// A statement, and the number of the part that the id names (`id:2` is the second).
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, id: &str) -> Result<(Statement, Option<usize>), ApiError> {
        let (whole, part) = match id.split_once(':') {
            Some((whole, part)) => (
                whole,
                part.parse::<usize>()
                    .ok()
                    .and_then(|number| number.checked_sub(1)),
            ),
            None => (id, None),
        };
        let found = self.known().by_id.get(whole).cloned();
        let found = found.filter(|statement| {
            id == whole || part.is_some_and(|part| part < statement.parts.len())
        });
        found
            .map(|statement| (statement, part))
            .ok_or_else(|| ApiError::not_found("Query does not exist."))
    }

    /// Changes a statement.
    pub fn change<T>(&self, id: &str, change: impl FnOnce(&mut Statement) -> T) -> Option<T> {
        self.known().by_id.get_mut(id).map(change)
    }

    /// The newest first, those with this beginning of a name and this status; only finished ones
    /// unless asked otherwise.
    pub fn list(&self, name: Option<&str>, status: Option<&str>) -> Vec<Statement> {
        let known = self.known();
        let wanted = |statement: &&Statement| {
            let named = name.is_none_or(|name| {
                statement
                    .name
                    .as_ref()
                    .is_some_and(|own| own.starts_with(name))
            });
            named
                && (status == Some("ALL")
                    || statement.status
                        == status.and_then(Status::named).unwrap_or(Status::Finished))
        };
        known
            .order
            .iter()
            .rev()
            .filter_map(|id| known.by_id.get(id))
            .filter(wanted)
            .cloned()
            .collect()
    }
}

/// Seconds since 1970.
#[allow(clippy::disallowed_methods)] // A server of its own, no part of a simulation: its clock is the machine's.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// A new id in the form of a UUID.
fn new_id() -> String {
    let random = || RandomState::new().hash_one(Instant::now());
    let (high, low) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0xfff,
        low & 0xffff_ffff_ffff
    )
}
