//! One task polls all running statements, so that a single client meets the rate limits of the API,
//! however many partitions load.
//!
//! Callers wait on a channel. The time between two polls of a statement is drawn at random, between
//! the shortest one and three times the last (decorrelated jitter).

use std::time::Duration;

use aws_sdk_redshiftdata::Client;
use aws_sdk_redshiftdata::types::{StatementStatusString, StatusString};
use theatre_actors::ports::{Error, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::session::{duration, fault, unavailable};
use theatre_config::warehouse::WarehouseConfig;
use theatre_system::blocking::IoRuntime;

/// Requests that may wait to be taken up by the task.
const QUEUE: usize = 256;
/// After this many failed polls in a row the caller gets the error.
const FAULTS_MAX: u32 = 3;

/// How a statement ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// All of it is done.
    Finished {
        /// Statements in its batch.
        parts: usize,
    },
    /// Nothing of it is done.
    Failed {
        /// Why.
        error: String,
        /// Which statement of the batch failed, from 0.
        part: Option<usize>,
    },
    /// The API does not know it any more.
    Gone,
}

impl Ended {
    /// Refuses any other end, for statements that are not loads.
    pub(super) fn finished(self) -> Result<()> {
        match self {
            Self::Finished { .. } => Ok(()),
            Self::Failed { error, .. } if passes(&error) => Err(unavailable(error)),
            Self::Failed { error, .. } => Err(Error::Refused(format!(
                "redshift refuses the statement: {error}"
            ))),
            Self::Gone => Err(unavailable("the statement is not known any more")),
        }
    }
}

/// Parts of the messages of errors that do not come from the statement itself.
const PASSING: [&str; 13] = [
    "1023 detail",
    "1018 detail",
    "serializable isolation",
    "deadlock",
    "cancelled on user",
    "canceling statement",
    "aborted",
    "connection",
    "timeout",
    "timed out",
    "disk full",
    "slowdown",
    "dispatch failure",
];

/// Parts of messages that speak of the set-up: rights, roles, keys, regions, tables. A person has
/// to mend it.
const SET_UP: [&str; 13] = [
    "accessdenied",
    "access denied",
    "not authorized",
    "permission denied",
    "does not exist",
    "default iam role",
    "invalidaccesskeyid",
    "signaturedoesnotmatch",
    "nosuchbucket",
    "specified endpoint",
    "customer master key",
    "forbidden",
    "not authorized to assume",
];

/// What the failure of a load's statement means where no file is at fault. A reason that
/// is not known may pass.
pub(super) fn failed(error: &str) -> Error {
    let lower = error.to_lowercase();
    if !passes(error) && SET_UP.iter().any(|part| lower.contains(part)) {
        return Error::Refused(format!("redshift refuses a load: {error}"));
    }
    unavailable(error)
}

/// Parts of messages of COPY that speak of a file's content. The server cuts its messages off, so
/// the parts are short.
const IN_A_FILE: [&str; 9] = [
    "has an incompatible parquet",
    "unmatched number of col",
    "corrupt parquet",
    "has an invalid version number",
    "content_length",
    "is longer than the length",
    "timestamp out of range",
    "date out of range",
    "invalid byte sequence for enc",
];

/// True for an error of a statement that passes by itself.
fn passes(error: &str) -> bool {
    let error = error.to_lowercase();
    PASSING.iter().any(|part| error.contains(part))
}

/// True for an error of COPY that is known to come from the content of a file. Any other error may
/// come from the set-up, such as a missing role or a bucket in another region, and then every file
/// would fail: it is retried until an operator has mended the set-up.
pub(super) fn lies_in_a_file(error: &str) -> bool {
    let error = error.to_lowercase();
    IN_A_FILE.iter().any(|part| error.contains(part))
}

/// Polls statements in the background, as long as this value lives.
#[derive(Debug)]
pub(super) struct Poller(mpsc::Sender<Waiting>);

#[derive(Debug)]
struct Waiting {
    id: String,
    reply: oneshot::Sender<Result<Ended>>,
    due: Instant,
    delay: Duration,
    faults: u32,
}

impl Poller {
    pub(super) fn start(client: Client, config: &WarehouseConfig, io: &IoRuntime) -> Self {
        let (sender, requests) = mpsc::channel(QUEUE);
        let pace = Pace {
            first: duration(config.poll_first),
            min: duration(config.poll_min),
            max: duration(config.poll_max),
        };
        io.handle().spawn(poll(client, requests, pace));
        Self(sender)
    }

    /// Waits for a statement's end, at most for `limit`.
    pub(super) async fn wait(&self, id: &str, limit: Duration) -> Result<Ended> {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            id: id.to_owned(),
            reply,
            due: Instant::now(),
            delay: Duration::ZERO,
            faults: 0,
        };
        let stopped = || unavailable("the poller has stopped");
        self.0.send(waiting).await.map_err(|_| stopped())?;
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|_| stopped())?,
            Err(_) => Err(unavailable(format!(
                "statement {id} is still running after {} s",
                limit.as_secs()
            ))),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    first: Duration,
    min: Duration,
    max: Duration,
}

impl Pace {
    /// Decorrelated back-off.
    fn after(&self, delay: Duration) -> Duration {
        let most = (delay * 3).max(self.min).as_secs_f64();
        Duration::from_secs_f64(rand::random_range(self.min.as_secs_f64()..=most)).min(self.max)
    }
}

async fn poll(client: Client, mut requests: mpsc::Receiver<Waiting>, pace: Pace) {
    let mut waiting: Vec<Waiting> = Vec::new();
    loop {
        let due = waiting.iter().map(|statement| statement.due).min();
        let sleep = tokio::time::sleep_until(due.unwrap_or_else(Instant::now));
        tokio::select! {
            request = requests.recv() => match request {
                Some(mut request) => {
                    request.due = Instant::now() + pace.first;
                    waiting.push(request);
                }
                None => return,
            },
            () = sleep, if due.is_some() => {}
        }
        let now = Instant::now();
        let (due, rest): (Vec<Waiting>, Vec<Waiting>) = waiting
            .into_iter()
            .partition(|statement| statement.due <= now);
        waiting = rest;
        for mut statement in due {
            if statement.reply.is_closed() {
                continue;
            }
            let answer = match describe(&client, &statement.id).await {
                Err(Error::Unavailable { .. }) if statement.faults + 1 < FAULTS_MAX => {
                    statement.faults += 1;
                    None
                }
                Ok(None) => {
                    statement.faults = 0;
                    None
                }
                Ok(Some(ended)) => Some(Ok(ended)),
                Err(error) => Some(Err(error)),
            };
            match answer {
                // The caller may have given up meanwhile; it waits anew when it needs to.
                Some(answer) => drop(statement.reply.send(answer)),
                None => {
                    statement.delay = pace.after(statement.delay);
                    statement.due = Instant::now() + statement.delay;
                    waiting.push(statement);
                }
            }
        }
    }
}

/// How a statement ended; `None` while it runs.
async fn describe(client: &Client, id: &str) -> Result<Option<Ended>> {
    let answer = match client.describe_statement().id(id).send().await {
        Ok(answer) => answer,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|error| error.is_resource_not_found_exception()) =>
        {
            return Ok(Some(Ended::Gone));
        }
        Err(error) => return Err(fault(&error)),
    };
    let parts = answer.sub_statements.unwrap_or_default();
    Ok(match answer.status {
        Some(StatusString::Finished) => Some(Ended::Finished { parts: parts.len() }),
        Some(StatusString::Failed | StatusString::Aborted) => {
            let part = parts
                .iter()
                .position(|part| part.status == Some(StatementStatusString::Failed));
            let own = part.and_then(|at| parts[at].error.clone());
            Some(Ended::Failed {
                error: own.or(answer.error).unwrap_or_else(|| "aborted".to_owned()),
                part,
            })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::Error;

    use super::{failed, lies_in_a_file};

    #[test]
    fn what_a_person_has_to_mend_is_no_error_that_passes() {
        for error in [
            "ERROR: Cannot find default IAM role",
            "S3ServiceException:Access Denied,Status 403,Error AccessDenied",
            "relation \"theatre.robot_telemetry\" does not exist",
            "permission denied for relation load_ledger",
            "Forbidden: HTTP response error code: 403",
        ] {
            assert!(matches!(failed(error), Error::Refused(_)), "{error}");
        }
        for error in [
            "1023 DETAIL: Serializable isolation violation on table",
            "Assert. Detail: error: Assert code: 1000 context: Unreachable",
            "error: Out Of Memory code: 1004",
            "Query cancelled on user's request: access denied meanwhile",
        ] {
            assert!(
                matches!(failed(error), Error::Unavailable { .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn only_what_is_known_to_be_wrong_with_a_file_is_the_files_fault() {
        for error in [
            "Spectrum Scan Error. Detail: error: Spectrum Scan Error code: 15007 context: File 'https://s3.eu-west-1.amazonaws.com/b/f' has an incompatible Parquet s",
            "Unmatched number of columns between table and file. Table columns: 3, Data columns: 2",
            "File 's3://b/f' has an invalid or corrupt Parquet structure",
            "The length of the data column note is longer than the length defined in the table. Table: 10, Data: 20",
            "timestamp out of range",
            "Spectrum Scan Error code: 15007 context: File 's3://b/f' has in column day a date out of range",
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ] {
            assert!(lies_in_a_file(error), "{error}");
        }
        for error in [
            "ERROR: Cannot find default IAM role",
            "S3ServiceException:The bucket you are attempting to access must be addressed using the specified endpoint.,Status 301,Error PermanentRedirect",
            "S3ServiceException:Access Denied,Status 403,Error AccessDenied",
            "The ciphertext refers to a customer master key that does not exist (KMS)",
            "Spectrum Scan Error code: 15007 context: Forbidden: HTTP response error code: 403",
            "Assert. Detail: error: Assert code: 1000 context: Unreachable",
            "error: Out Of Memory code: 1004",
            "relation \"theatre.robot_telemetry\" does not exist",
            "aborted",
        ] {
            assert!(!lies_in_a_file(error), "{error}");
        }
    }
}
