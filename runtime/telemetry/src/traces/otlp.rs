//! Traces as OpenTelemetry's protocol writes them in JSON: ids in hexadecimal, 64-bit numbers as
//! texts, enumerations by their codes.

use serde_json::{Map, Value as Json, json};
use theatre_actors::time::LogTime;

use super::Published;
use super::spans::{LogNames, Span, Value, spans};

/// The name of what makes the spans.
const SCOPE: &str = "theatre";

/// The ids of a trace and its spans.
pub(super) trait Ids {
    /// 16 bytes that are not all 0.
    fn trace(&mut self) -> u128;
    /// 8 bytes that are not all 0.
    fn span(&mut self) -> u64;
}

/// Random ids: other processes make some, too.
pub(super) struct RandomIds;

impl Ids for RandomIds {
    fn trace(&mut self) -> u128 {
        rand::random::<u128>().max(1)
    }

    fn span(&mut self) -> u64 {
        rand::random::<u64>().max(1)
    }
}

/// A request that hands these ways over as traces of the process that the resource names.
pub(super) fn request(
    ways: &[Published],
    resource: &[(String, String)],
    log: LogNames,
    ids: &mut impl Ids,
) -> Json {
    let traces = ways.iter().flat_map(|way| trace(way, log, ids));
    let spans: Vec<Json> = traces.collect();
    let resource = resource
        .iter()
        .map(|(key, value)| attribute(key, &Value::Text(value.clone())));
    json!({"resourceSpans": [{
        "resource": {"attributes": resource.collect::<Vec<_>>()},
        "scopeSpans": [{
            "scope": {"name": SCOPE, "version": env!("CARGO_PKG_VERSION")},
            "spans": spans,
        }],
    }]})
}

fn trace(way: &Published, log: LogNames, ids: &mut impl Ids) -> Vec<Json> {
    let trace = format!("{:032x}", ids.trace());
    let mut parent: Option<String> = None;
    let mut written = Vec::new();
    for span in spans(way, log) {
        let id = format!("{:016x}", ids.span());
        written.push(span_as_json(&span, &trace, &id, parent.as_deref()));
        parent.get_or_insert(id);
    }
    written
}

fn span_as_json(span: &Span, trace: &str, id: &str, parent: Option<&str>) -> Json {
    let attributes = span
        .attributes
        .iter()
        .map(|(key, value)| attribute(key, value));
    let mut written = Map::new();
    written.insert("traceId".to_owned(), json!(trace));
    written.insert("spanId".to_owned(), json!(id));
    if let Some(parent) = parent {
        written.insert("parentSpanId".to_owned(), json!(parent));
    }
    written.insert("name".to_owned(), json!(span.name));
    written.insert("kind".to_owned(), json!(span.kind as u8));
    written.insert("startTimeUnixNano".to_owned(), nanos(span.start));
    written.insert("endTimeUnixNano".to_owned(), nanos(span.end));
    written.insert("attributes".to_owned(), attributes.collect());
    Json::Object(written)
}

fn attribute(key: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
    };
    json!({"key": key, "value": value})
}

fn nanos(time: LogTime) -> Json {
    let nanos = u64::try_from(time.0).unwrap_or(0).saturating_mul(1000);
    json!(nanos.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::spans::tests::way;
    use super::*;

    /// Ids that count.
    #[derive(Default)]
    struct Counted(u64);

    impl Ids for Counted {
        fn trace(&mut self) -> u128 {
            u128::from(self.span())
        }

        fn span(&mut self) -> u64 {
            self.0 += 1;
            self.0
        }
    }

    #[test]
    fn a_way_is_written_as_the_protocol_has_it() {
        let resource = [("service.name".to_owned(), "theatre".to_owned())];
        let ways = [way([1, 2, 3, 4, 5, 6]), way([7; 6])];
        let request = request(&ways, &resource, LogNames::KAFKA, &mut Counted::default());
        let of = &request["resourceSpans"][0];
        assert_eq!(
            of["resource"]["attributes"][0],
            json!({"key": "service.name", "value": {"stringValue": "theatre"}})
        );
        let spans = of["scopeSpans"][0]["spans"].as_array().unwrap();
        assert_eq!(spans.len(), 12, "six of each way");
        let (root, commit) = (&spans[0], &spans[4]);
        assert_eq!(root["traceId"], "00000000000000000000000000000001");
        assert_eq!(root["spanId"], "0000000000000002");
        assert_eq!(root.get("parentSpanId"), None);
        assert_eq!(
            *commit,
            json!({
                "traceId": "00000000000000000000000000000001",
                "spanId": "0000000000000006",
                "parentSpanId": "0000000000000002",
                "name": "commit",
                "kind": 1,
                "startTimeUnixNano": "4000",
                "endTimeUnixNano": "5000",
                "attributes": [{"key": "theatre.failures", "value": {"intValue": "0"}}],
            })
        );
        assert_eq!(
            spans[6]["traceId"], "00000000000000000000000000000008",
            "each way is a trace of its own"
        );
    }
}
