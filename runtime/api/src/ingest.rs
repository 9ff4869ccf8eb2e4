//! Records come in: checked against their dataset's schema, encoded as a robot would, and appended to
//! the topic that the pipeline reads.

pub(crate) mod before;
mod container;
mod json;
mod objects;
mod once;
mod records;
mod roles;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::NewRecord;
use theatre_schemas::dataset::DatasetKind;

use crate::Parts;
use crate::access::Caller;
use crate::body::{self, Encoding};
use crate::handlers::{Known, Shared};
use crate::model::{Accepted, Position, RejectedRecord};
use crate::permits::Refused;
use crate::problem::{Answer, Problem};
use crate::server::State;

pub(crate) use once::{fingerprint, given_up_on_error, other_request, take_over};
pub(crate) use records::Encoders;
use records::{Bounds, Form, Parsed};

/// Rejected records that an answer names.
const NAMED_MAX: usize = 100;
/// Records of a body that do not fit, after which no more of it is read where none is appended.
const REJECTED_MAX: u64 = 10_000;
/// Records that are appended at a time.
const APPENDED_MAX: usize = 10_000;
/// Longest key of a request, bytes.
const KEY_MAX: usize = 200;

impl Form {
    /// As the headers say.
    fn of(headers: &HeaderMap) -> Answer<Self> {
        let value = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let kind = value.split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Ok(Self::Lines)
            }
            "text/csv" => Ok(Self::Csv),
            "application/vnd.apache.avro" | "application/avro" => Ok(Self::Avro),
            other => Err(Problem::new(
                "unsupported",
                format!(
                    "Content-Type '{other}': application/json, application/x-ndjson, text/csv and application/vnd.apache.avro are known"
                ),
            )),
        }
    }
}

/// What becomes of a body of which a record does not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnError {
    /// Nothing of it is appended.
    #[default]
    Reject,
    /// The others are.
    Skip,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IngestQuery {
    #[serde(default)]
    on_error: OnError,
}

/// A request for appending records.
struct Request {
    /// `None`: the body says it.
    dataset: Option<String>,
    form: Form,
    encoding: Encoding,
    on_error: OnError,
    /// The caller's key, with the caller.
    key: Option<String>,
    caller: Caller,
    body: Vec<u8>,
}

pub(crate) async fn records(
    dataset: Path<String>,
    query: Query<IngestQuery>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
    payload: Payload,
) -> Answer<HttpResponse> {
    take(
        Some(dataset.into_inner()),
        query,
        http,
        caller,
        state,
        payload,
    )
    .await
}

/// Appends the records of a body; without a dataset the body says it, see [`before`].
async fn take(
    dataset: Option<String>,
    query: Query<IngestQuery>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
    payload: Payload,
) -> Answer<HttpResponse> {
    let (form, encoding) = (Form::of(http.headers())?, Encoding::of(http.headers())?);
    if dataset.is_none() && form != Form::Json {
        return Err(Problem::new(
            "unsupported",
            "Content-Type: the object with `type` and `records` is application/json",
        ));
    }
    let key = key(http.headers(), &caller)?;
    // The permit is held until the records are appended, also when the caller has gone: memory is bounded
    // by it.
    let permit = state.ingests.take(&caller.id).map_err(busy)?;
    let body = body::read(payload, state.settings.body_bytes).await?;
    let request = Request {
        dataset,
        form,
        encoding,
        on_error: query.on_error,
        key,
        caller: caller.into_inner(),
        body,
    };
    let state = state.into_inner();
    let work = move || {
        let _permit = permit;
        append(&state, request)
    };
    let answer = actix_web::web::block(work).await??;
    Ok(HttpResponse::Accepted()
        .content_type("application/json")
        .body(answer))
}

/// Why a body is not read now.
fn busy(refused: Refused) -> Problem {
    let why = match refused {
        Refused::ByAll => "too many bodies are being read; send it again",
        Refused::ByCaller => {
            "half of the bodies that are read at a time are this token's; send it again once one of them is answered"
        }
    };
    Problem::new("busy", why).after(1)
}

pub(crate) fn key(headers: &HeaderMap, caller: &Caller) -> Answer<Option<String>> {
    let Some(value) = headers.get(header::HeaderName::from_static("idempotency-key")) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Problem::bad(format!(
            "Idempotency-Key: 1 to {KEY_MAX} visible characters"
        )));
    }
    Ok(Some(format!("{}/{key}", caller.id)))
}

/// Records by their partition, in order.
type ByPartition = BTreeMap<u32, Vec<NewRecord>>;

fn append(state: &State, request: Request) -> Answer<Vec<u8>> {
    let parts = &state.parts;
    let Request {
        dataset,
        form,
        encoding,
        on_error,
        key,
        caller,
        body,
    } = request;
    let body = body::unpack(body, encoding, state.settings.body_bytes)?;
    let (dataset, place) = match dataset {
        Some(dataset) => (dataset, 0..body.len()),
        None => before::opened(&body)?,
    };
    let topic = parts
        .topics
        .get(&dataset)
        .ok_or_else(|| Problem::missing("dataset that records can be sent to", &dataset))?;
    let kept = parts.registry.datasets().find(&dataset);
    if let Some((_, kept)) = kept {
        check(kept.kind, &caller)?;
    }
    let encoder = state.encoders.of(&dataset)?;
    let fingerprint = key.as_ref().map(|_| once::fingerprint(&dataset, &body));
    let bounds = Bounds {
        record_bytes: parts.record_bytes,
        body_bytes: state.settings.body_bytes,
        rejected: (on_error == OnError::Reject).then_some(REJECTED_MAX),
    };
    let parsed = encoder.parse(form, &body[place], bounds)?;
    drop(body);
    check_robots(&parsed, &caller)?;
    if on_error == OnError::Reject && parsed.rejected_total > 0 {
        return Err(rejected(&parsed));
    }
    if let Some(quota) = &state.quota {
        // What does not fit costs as much to read.
        let sent = parsed.records.len() as u64 + parsed.rejected_total;
        quota.take(&caller.id, sent, parts.clock.now())?;
    }
    let (rejected, rejected_total) = (parsed.rejected, parsed.rejected_total);
    let mut by_partition = ByPartition::new();
    for record in parsed.records {
        let partition = partition_of(&record.key, parts.partitions);
        by_partition.entry(partition).or_default().push(record);
    }
    let answer = |positions: Vec<Position>| Accepted {
        accepted: positions.iter().map(|position| position.records).sum(),
        rejected,
        rejected_total,
        positions,
    };
    match (key, fingerprint) {
        (Some(key), Some(fingerprint)) => {
            once::append(parts, topic, &by_partition, key, fingerprint, answer)
        }
        _ => {
            let positions = append_all(parts, topic, &by_partition, &|| Ok(()))?;
            encoded(&answer(positions))
        }
    }
}

/// Refuses records that no caller sends as such, or that a limited one may not.
fn check(kind: DatasetKind, caller: &Caller) -> Answer<()> {
    // Who acts, and what they may, stands in records of actions and of changes of rules.
    match kind {
        DatasetKind::AlertActions => Err(Problem::new(
            "forbidden",
            "actions are not sent as records: POST /api/v1/alerts/{condition}/acknowledge, unacknowledge, assign or close, and /api/v1/silences",
        )),
        DatasetKind::RuleChanges => Err(Problem::new(
            "forbidden",
            "changes of rules are not sent as records: PUT or DELETE /api/v1/rules/{rule}, POST /api/v1/rules/{rule}/enable or disable, /api/v1/rules/changes/{change}/approve or reject",
        )),
        // Where a robot stands decides who may see it: a registry entry is no matter of its own.
        kind if caller.is_limited()
            && (kind.entity().is_some() || kind == DatasetKind::RobotRegistry) =>
        {
            Err(Problem::new(
                "forbidden",
                "the token is limited to robots or facilities: such records are about other things, or decide what it is limited to",
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses records of robots that a caller is not limited to.
fn check_robots(parsed: &Parsed, caller: &Caller) -> Answer<()> {
    let mut robots = parsed.records.iter().map(NewRecord::robot);
    let Some(robot) = robots.find(|robot| !caller.may(robot)) else {
        return Ok(());
    };
    let detail = format!(
        "the token is limited to other robots than '{robot}', or to facilities in which it does not stand"
    );
    Err(Problem::new("forbidden", detail))
}

/// The robot, or other thing, that a record is about.
trait OfRobot {
    fn robot(&self) -> std::borrow::Cow<'_, str>;
}

impl OfRobot for NewRecord {
    fn robot(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}

fn rejected(parsed: &Parsed) -> Problem {
    let (wrong, fit) = (parsed.rejected_total, parsed.records.len() as u64);
    let read = match parsed.is_cut_off {
        true => format!("the first {} records (no more were read)", wrong + fit),
        false => format!("{} records", wrong + fit),
    };
    let mut problem = Problem::new(
        "invalid_records",
        format!(
            "{wrong} of {read} do not fit the schema: nothing was appended; put them right, or send the others with ?on_error=skip"
        ),
    );
    problem.records = Some(Box::new(json!(parsed.rejected)));
    problem
}

/// Appends records partition by partition; `hold` is asked before each append, and may refuse it.
fn append_all(
    parts: &Parts,
    topic: &str,
    records: &ByPartition,
    hold: &dyn Fn() -> Answer<()>,
) -> Answer<Vec<Position>> {
    let append = |(partition, records): (&u32, &Vec<NewRecord>)| -> Answer<Position> {
        Ok(Position {
            topic: topic.to_owned(),
            partition: *partition,
            first_offset: append_in_parts(parts, (topic, *partition), records, hold)?,
            records: records.len() as u64,
        })
    };
    records.iter().map(append).collect()
}

/// Appends records of a partition, so many at a time that each append ends before it is given up;
/// returns the first one's offset.
fn append_in_parts(
    parts: &Parts,
    (topic, partition): (&str, u32),
    records: &[NewRecord],
    hold: &dyn Fn() -> Answer<()>,
) -> Answer<u64> {
    let mut first = None;
    for part in records.chunks(APPENDED_MAX) {
        hold()?;
        let offset = parts.log.append(topic, partition, part)?;
        theatre_telemetry::http::records_in(topic, part.len() as u64);
        first = first.or(Some(offset));
    }
    first.map_or_else(|| Ok(parts.log.range(topic, partition)?.end), Ok)
}

/// A value as JSON, for an answer or to be kept.
pub(crate) fn encoded(value: &impl serde::Serialize) -> Answer<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| unreadable(&error))
}

/// What is kept of a request, or was to be kept, is no JSON; that would be a bug.
pub(crate) fn unreadable(error: &serde_json::Error) -> Problem {
    tracing::error!(%error, "what is kept of a request cannot be read or written");
    Problem::new(
        "internal",
        "the request could not be carried out; the log says why",
    )
}

/// Notes a rejected record, as far as an answer names it.
fn reject(parsed: &mut Parsed, index: u64, faults: Vec<theatre_schemas::encode::Fault>) {
    parsed.rejected_total += 1;
    if parsed.rejected.len() < NAMED_MAX {
        parsed.rejected.push(RejectedRecord { index, faults });
    }
}
