//! Writing a simulated surgical fleet with causes into the event log, step by step, with the
//! position noted in the log itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use serde_json::{Value, json};
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{EventLog, NewRecord};
use theatre_actors::position::Partition;

use super::Failure;
use super::fleet_writer::{PROGRESS_TOPIC, last_note};
use theatre_simulator::Faults;
use theatre_simulator::world::{Network, Settings, Stream, Topic};

/// Records that are appended together: a step's, or those of several small steps.
const BATCH_RECORDS: usize = 8_192;

/// A fleet and the log it writes to.
pub(super) struct WorldWriter<'a> {
    log: &'a dyn EventLog,
    partitions: u32,
    /// The fleet, and what it does next.
    pub(super) stream: Stream,
    /// Identifies the fleet in the note.
    fleet: Value,
    /// Records that wait to be appended.
    waiting: Vec<(Topic, NewRecord)>,
    /// Records of each topic that were appended.
    pub(super) written: BTreeMap<Topic, u64>,
    /// Where the ground truth goes, a JSON object a line.
    pub(super) truth: Option<File>,
}

impl<'a> WorldWriter<'a> {
    /// Goes on after the step that the note in the log names.
    pub(super) fn open(
        log: &'a dyn EventLog,
        partitions: u32,
        settings: &Settings,
        (faults, network): (Faults, Network),
    ) -> Result<Self, Failure> {
        let topics = Topic::ALL.map(|topic| topic.name().to_owned());
        log.ensure_topics(&topics, partitions)?;
        let note = last_note(log)?;
        let known = (!note.is_empty())
            .then(|| serde_json::from_str::<Value>(&note).ok())
            .flatten();
        let mut settings = settings.clone();
        let mut step = 0;
        if let Some(known) = &known {
            let noted = (known["start_us"].as_i64(), known["step"].as_u64());
            if let (Some(start), Some(next)) = noted {
                (settings.start_us, step) = (start, next);
            }
        }
        let fleet = describe(&settings, &faults, &network)?;
        if !note.is_empty() && known.is_none_or(|known| known["fleet"] != fleet) {
            return Err(Failure::Usage(format!(
                "this data directory holds another fleet, {note}: go on with its flags, or give another directory with --data"
            )));
        }
        let mut stream = Stream::new(&settings, faults, network)?;
        stream.go_to(step);
        let writer = Self {
            log,
            partitions,
            stream,
            fleet,
            waiting: Vec::new(),
            written: BTreeMap::new(),
            truth: None,
        };
        if step == 0 {
            writer.note(settings.start_us)?;
        }
        Ok(writer)
    }

    /// Appends how far the fleet is written.
    fn note(&self, start_us: i64) -> Result<(), Failure> {
        let note = json!({
            "fleet": self.fleet,
            "start_us": start_us,
            "step": self.stream.step(),
        });
        let value = note.to_string().into_bytes();
        let record = NewRecord {
            value,
            ..NewRecord::default()
        };
        self.log.append(PROGRESS_TOPIC, 0, &[record])?;
        Ok(())
    }

    /// Takes the next step. It is appended at once, or with others once they are many. A crash
    /// between the records and the note writes steps again: their sequence numbers say so.
    pub(super) fn advance(&mut self) -> Result<(), Failure> {
        let chunk = self.stream.advance();
        if let Some(truth) = &mut self.truth {
            for happened in &chunk.truth {
                writeln!(truth, "{happened}")?;
            }
        }
        // Events of a batch are appended before its samples. When robots rest, what waits goes
        // first: the end of a recording must not come before the last samples of it.
        let is_sample = |(topic, _): &(Topic, NewRecord)| *topic == Topic::Telemetry;
        if !chunk.records.iter().any(is_sample) && self.waiting.iter().any(is_sample) {
            self.flush()?;
        }
        self.waiting.extend(chunk.records);
        if self.waiting.len() >= BATCH_RECORDS {
            self.flush()?;
        }
        Ok(())
    }

    /// Appends what waits: what a sample refers to before it, each topic and partition in order.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let mut batches: BTreeMap<(Topic, Partition), Vec<NewRecord>> = BTreeMap::new();
        for (topic, record) in self.waiting.drain(..) {
            let partition = partition_of(&record.key, self.partitions);
            batches.entry((topic, partition)).or_default().push(record);
        }
        for ((topic, partition), records) in batches {
            self.log.append(topic.name(), partition, &records)?;
            *self.written.entry(topic).or_default() += records.len() as u64;
        }
        let start_us = self.stream.start_us();
        self.note(start_us)
    }

    /// Records that were appended.
    pub(super) fn total(&self) -> u64 {
        self.written.values().sum()
    }
}

/// What makes a fleet this one and no other. A fleet that works case after case may go on for
/// longer.
fn describe(settings: &Settings, faults: &Faults, network: &Network) -> Result<Value, Failure> {
    let mut fleet = serde_json::to_value(settings)
        .map_err(|error| Failure::Usage(format!("the settings cannot be noted: {error}")))?;
    if let Some(fields) = fleet.as_object_mut() {
        fields.remove("start_us");
        if !settings.has_days() {
            fields.remove("span_us");
        }
        let faults = format!("{faults:?} {network:?}");
        fields.insert("faults".to_owned(), Value::String(faults));
    }
    Ok(fleet)
}
