//! The records that a relay publishes: made in the memory of those that it has published, since
//! their texts are short, many, and mostly the same.

use std::borrow::Cow;

use theatre_actors::outputs::OutputEvent;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{NewRecord, Outgoing, StoredDead};
use theatre_actors::position::Partition;
use theatre_schemas::records::DeadLetter;

use super::super::PipelineParams;
use super::cloud_event::{CloudEvent, put_event_id};

/// Most records whose memory is kept for the next ones.
const KEPT: usize = 256;
/// A value with more memory than this is not kept, bytes.
const KEPT_VALUE: usize = 1 << 10;

/// Makes records.
pub(super) struct Records {
    partition: Partition,
    /// Source of the CloudEvents.
    source: String,
    /// The id of the last output.
    id: String,
    /// Records that were published.
    kept: Vec<Outgoing>,
}

fn blank() -> Outgoing {
    Outgoing {
        topic: String::new(),
        partition: 0,
        record: NewRecord::default(),
    }
}

/// The source of the CloudEvents of a partition.
pub(super) fn source(partition: Partition) -> String {
    format!("/theatre/partition/{partition}")
}

impl Records {
    /// For what a partition publishes.
    pub(super) fn new(partition: Partition) -> Self {
        Self {
            partition,
            source: source(partition),
            id: String::new(),
            kept: Vec::new(),
        }
    }

    /// An output as it is published to a topic of so many partitions.
    pub(super) fn of_output(
        &mut self,
        output: &OutputEvent,
        value: Cow<'_, [u8]>,
        topic: &str,
        partitions: u32,
    ) -> Outgoing {
        let spec = output.kind.spec();
        let key = (spec.key)(output);
        put_event_id(output, &mut self.id);
        let mut made = self.kept.pop().unwrap_or_else(blank);
        made.topic.clear();
        made.topic.push_str(topic);
        made.partition = partition_of(key.as_bytes(), partitions);
        let record = &mut made.record;
        record.key.clear();
        record.key.extend_from_slice(key.as_bytes());
        match value {
            Cow::Owned(value) => record.value = value,
            Cow::Borrowed(value) => {
                record.value.clear();
                record.value.extend_from_slice(value);
            }
        }
        let event = CloudEvent {
            kind: spec.event_type,
            id: &self.id,
            source: &self.source,
            subject: key,
            time_us: output.event_time,
        };
        event.put(&mut record.headers);
        made
    }

    /// A dead letter as it is published.
    pub(super) fn of_dead(&self, stored: &StoredDead, topics: &[String]) -> Outgoing {
        let dead = &stored.dead;
        let topic = topics
            .get(dead.topic)
            .cloned()
            .unwrap_or_else(|| format!("input-{}", dead.topic));
        let letter = DeadLetter {
            topic: topic.clone(),
            partition: self.partition as i32,
            offset: dead.offset as i64,
            append_time: dead.append_time,
            reason: dead.reason.as_str().to_owned(),
            detail: dead.detail.clone(),
            robot_id: dead.robot_id.clone(),
            schema_id: dead.schema_id.map(i64::from),
            size: dead.size as i64,
            sha256: dead.sha256.clone(),
            sealed: dead.sealed,
            payload: dead.payload.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let id = format!("{topic}/{}/{}", self.partition, dead.offset);
        let mut headers = Vec::new();
        let event = CloudEvent {
            kind: "theatre.dead_letter",
            id: &id,
            source: &self.source,
            subject: &id,
            time_us: dead.append_time,
        };
        event.put(&mut headers);
        let record = NewRecord {
            key: dead.robot_id.clone().unwrap_or_default().into_bytes(),
            value: letter.encode(),
            headers,
        };
        Outgoing {
            topic: PipelineParams::dead_letter_topic(&topic),
            partition: self.partition,
            record,
        }
    }

    /// Takes outputs that were published, to make others of them.
    pub(super) fn keep(&mut self, published: Vec<Outgoing>) {
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept
            .extend(published.into_iter().take(room).map(|mut made| {
                if made.record.value.capacity() > KEPT_VALUE {
                    made.record.value = Vec::new();
                }
                made
            }));
    }
}
