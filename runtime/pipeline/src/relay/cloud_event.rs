//! How what the relay publishes says what it is: CloudEvents.

use theatre_actors::outputs::OutputEvent;
use theatre_actors::position::Partition;

/// The id of the CloudEvent that an output is published as.
pub(super) fn event_id(output: &OutputEvent) -> String {
    format!("{}#{}", output.id, output.revision)
}

/// Headers of the CloudEvents 1.0 Kafka binding, binary mode. `time_us` is event time.
pub(super) fn cloud_event(
    kind: &str,
    id: &str,
    subject: &str,
    partition: Partition,
    time_us: i64,
) -> Vec<(String, String)> {
    let time = jiff::Timestamp::from_microsecond(time_us)
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
