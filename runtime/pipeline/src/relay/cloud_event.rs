//! How what the relay publishes says what it is: CloudEvents.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use theatre_actors::outputs::OutputEvent;

/// Headers of the CloudEvents 1.0 Kafka binding, binary mode.
const NAMES: [&str; 8] = [
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_subject",
    "ce_partitionkey",
    "content-type",
];

static TIMES: DateTimePrinter = DateTimePrinter::new();

/// What an event says of itself.
pub(super) struct CloudEvent<'a> {
    pub(super) kind: &'a str,
    pub(super) id: &'a str,
    pub(super) source: &'a str,
    pub(super) subject: &'a str,
    /// Event time, microseconds.
    pub(super) time_us: i64,
}

/// The id of the CloudEvent that an output is published as.
pub(super) fn event_id(output: &OutputEvent) -> String {
    let mut id = String::new();
    put_event_id(output, &mut id);
    id
}

/// Puts that id in the place of a text.
pub(super) fn put_event_id(output: &OutputEvent, id: &mut String) {
    id.clear();
    // Writing to a text does not fail.
    let _ = write!(id, "{}#{}", output.id, output.revision);
}

impl CloudEvent<'_> {
    /// Puts its headers in the place of none, or of those of another event, whose memory they take:
    /// a relay writes millions of them.
    pub(super) fn put(&self, headers: &mut Vec<(String, String)>) {
        if headers.len() != NAMES.len() {
            *headers = NAMES.map(|name| (name.to_owned(), String::new())).into();
        }
        let [version, id, source, kind, time, subject, key, content] = headers.as_mut_slice()
        else {
            return;
        };
        for ((_, held), value) in [
            (version, "1.0"),
            (id, self.id),
            (source, self.source),
            (kind, self.kind),
            (subject, self.subject),
            (key, self.subject),
            (content, "application/avro"),
        ] {
            held.clear();
            held.push_str(value);
        }
        let (_, held) = time;
        held.clear();
        self.put_time(held);
    }

    /// Nothing for a time that no calendar has.
    fn put_time(&self, text: &mut String) {
        if let Ok(time) = Timestamp::from_microsecond(self.time_us) {
            // Writing to a text does not fail.
            let _ = TIMES.print_timestamp(&time, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use theatre_actors::outputs::OutputKind;
    use theatre_actors::position::Partition;

    use super::super::records::source;
    use super::*;

    /// The headers as they were made before, one by one: what is published does not change.
    fn one_by_one(
        kind: &str,
        id: &str,
        subject: &str,
        partition: Partition,
        time_us: i64,
    ) -> Vec<(String, String)> {
        let time = Timestamp::from_microsecond(time_us)
            .map(|time| time.to_string())
            .unwrap_or_default();
        [
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", id.to_owned()),
            ("ce_source", format!("/theatre/partition/{partition}")),
            ("ce_type", kind.to_owned()),
            ("ce_time", time),
            ("ce_subject", subject.to_owned()),
            ("ce_partitionkey", subject.to_owned()),
            ("content-type", "application/avro".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn times() -> impl Strategy<Value = i64> {
        prop_oneof![
            any::<i64>(),
            -10_000_000_000_000..4_000_000_000_000_000_i64,
            (0..4_000_000_000_i64).prop_map(|seconds| seconds * 1_000_000),
            (0..4_000_000_000_000_i64).prop_map(|millis| millis * 1_000),
            Just(i64::MIN),
            Just(0),
        ]
    }

    proptest! {
        #[test]
        fn headers_are_what_they_were_whatever_was_in_their_place(
            events in prop::collection::vec(
                (".{0,12}", ".{0,40}", ".{0,20}", any::<u32>(), times()),
                1..6,
            ),
        ) {
            let mut headers = Vec::new();
            for (kind, id, subject, partition, time_us) in &events {
                let source = source(*partition);
                let time_us = *time_us;
                let event = CloudEvent { kind, id, source: &source, subject, time_us };
                event.put(&mut headers);
                prop_assert_eq!(&headers, &one_by_one(kind, id, subject, *partition, time_us));
            }
        }

        #[test]
        fn an_id_is_that_of_the_output_and_its_revision(
            id in ".{0,20}",
            revision in any::<u32>(),
            before in ".{0,40}",
        ) {
            let output = OutputEvent {
                kind: OutputKind::Alert,
                robot_id: String::new(),
                id: id.clone(),
                subject: String::new(),
                revision,
                event_time: 0,
                payload: Vec::new(),
            };
            let mut put = before;
            put_event_id(&output, &mut put);
            prop_assert_eq!(&put, &format!("{id}#{revision}"));
            prop_assert_eq!(event_id(&output), put);
        }
    }
}
