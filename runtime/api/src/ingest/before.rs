//! Paths by which the platform before this one took records. They stand for datasets: records have
//! the fields of these, and are answered for alike.

use std::ops::Range;

use actix_web::web::{self, Payload, Query};
use actix_web::{HttpRequest, Route};
use schemars::JsonSchema;
use serde_json::Value;

use super::objects::{after_space, value_length};
use super::{IngestQuery, take};
use crate::handlers::{Known, Shared};
use crate::problem::{Answer, Problem};

/// What records were called there, and the dataset that has them here.
const TYPES: [(&str, &str); 5] = [
    ("telemetry", "robot_telemetry"),
    ("procedure", "procedure_events"),
    ("outcome", "procedure_results"),
    ("maintenance", "maintenance_logs"),
    ("robot", "robot_registry"),
];

/// What a batch holds.
#[derive(Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the records are read one at a time, as this says")]
pub(crate) struct Batch {
    /// What they are; telemetry unless it is given.
    #[schemars(extend("enum" = ["telemetry", "procedure", "outcome", "maintenance", "robot"]))]
    r#type: Option<String>,
    /// The records.
    records: Vec<Value>,
}

/// A route that takes records of a dataset; without one those of a batch, which says what they are.
pub(crate) fn route(dataset: Option<&'static str>) -> Route {
    let handler = move |query: Query<IngestQuery>,
                        http: HttpRequest,
                        caller: Known,
                        state: Shared,
                        payload: Payload| {
        take(
            dataset.map(str::to_owned),
            query,
            http,
            caller,
            state,
            payload,
        )
    };
    web::post().to(handler)
}

/// The dataset of a batch, and where in its text its records stand.
pub(super) fn opened(body: &[u8]) -> Answer<(String, Range<usize>)> {
    let wrong = || {
        Problem::bad(
            "the body is no {\"type\": ..., \"records\": [...]}, with nothing beside these two",
        )
    };
    let (mut named, mut records) = (None, None);
    for (name, place) in entries(body).ok_or_else(wrong)? {
        let is_twice = match name.as_str() {
            "type" => named.replace(place).is_some(),
            "records" => records.replace(place).is_some(),
            _ => true,
        };
        if is_twice {
            return Err(wrong());
        }
    }
    let records = records.filter(|place| body[place.start] == b'[');
    let records = records.ok_or_else(wrong)?;
    let name: String = match named {
        Some(place) => serde_json::from_slice(&body[place]).map_err(|_| wrong())?,
        None => TYPES[0].0.to_owned(),
    };
    let found = TYPES.iter().find(|(known, _)| *known == name);
    let (_, dataset) = found.ok_or_else(|| {
        let known = TYPES.map(|(known, _)| known).join(", ");
        Problem::bad(format!("type '{name}' is none of {known}"))
    })?;
    Ok(((*dataset).to_owned(), records))
}

/// The names of an object with the places of their values; `None` where it is none, or has many.
fn entries(body: &[u8]) -> Option<Vec<(String, Range<usize>)>> {
    const MANY: usize = 8;
    let mut entries = Vec::new();
    let mut rest = after_space(after_space(body).strip_prefix(b"{")?);
    while entries.len() < MANY {
        let name = value_length(rest)?;
        let value = after_space(&rest[name..]).strip_prefix(b":")?;
        let name = serde_json::from_slice(&rest[..name]).ok()?;
        let value = after_space(value);
        let length = value_length(value)?;
        let begin = body.len() - value.len();
        entries.push((name, begin..begin + length));
        let (next, behind) = after_space(&value[length..]).split_first()?;
        rest = after_space(behind);
        if *next != b',' {
            return (*next == b'}' && rest.is_empty()).then_some(entries);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_says_what_its_records_are() {
        for (body, dataset, records) in [
            (r#"{"records":[]}"#, "robot_telemetry", "[]"),
            (
                r#" { "type" : "maintenance" , "records" : [ {"a":"]}"} ] } "#,
                "maintenance_logs",
                r#"[ {"a":"]}"} ]"#,
            ),
            (
                r#"{"records":[{},7],"type":"rob\u006ft"}"#,
                "robot_registry",
                "[{},7]",
            ),
        ] {
            let (found, place) = opened(body.as_bytes()).unwrap();
            assert_eq!((found.as_str(), &body[place]), (dataset, records), "{body}");
        }
    }

    #[test]
    fn anything_else_is_no_batch() {
        for (body, says) in [
            ("", "no {"),
            ("{}", "no {"),
            ("[]", "no {"),
            (r#"{"type":"telemetry"}"#, "no {"),
            (r#"{"records":{}}"#, "no {"),
            (r#"{"records":[}"#, "no {"),
            (r#"{"records":[]"#, "no {"),
            (r#"{"records":[]}}"#, "no {"),
            (r#"{"records":[],}"#, "no {"),
            (r#"{"records":[],"records":[]}"#, "no {"),
            (r#"{"records":[],"more":1}"#, "no {"),
            (r#"{"records":[],"type":null}"#, "no {"),
            (
                r#"{"records":[],"type":"x"}"#,
                "none of telemetry, procedure",
            ),
        ] {
            let problem = opened(body.as_bytes()).unwrap_err();
            assert!(
                problem.status == 400 && problem.detail.contains(says),
                "{body}: {problem:?}"
            );
        }
    }
}
