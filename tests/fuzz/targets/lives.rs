//! Lines as what a partition reads: `DATASET SECONDS JSON` is a record that is appended so many
//! seconds after the one before; `tick SECONDS` is the wall clock; `save` has all actors saved and
//! restored, and what was said to all robots with them. Nothing may panic, every record is counted
//! once by the actor that it names, and saving shows in nothing that is put out.

#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use theatre_actors::control::{self, ControlBook};
use theatre_actors::outputs::{Counters, Outputs};
use theatre_actors::position::Positions;
use theatre_actors::processor::Processor;
use theatre_actors::time::LogTime;
use theatre_pipeline::PipelineParams;
use theatre_schemas::batch::Batch;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::encode::JsonEncoder;

mod shared;

const LINES_MAX: usize = 60;
const BEGIN: i64 = 1_767_225_600_000_000;
const SECONDS_MAX: i64 = 100_000_000;

static PARAMS: LazyLock<PipelineParams> = LazyLock::new(shared::params);
static ENCODERS: LazyLock<BTreeMap<String, JsonEncoder>> = LazyLock::new(|| {
    let datasets = PARAMS.registry.datasets().iter();
    let encoder = |(index, dataset): (usize, &Arc<theatre_schemas::dataset::Dataset>)| {
        let writer = PARAMS.registry.newest_writer(index).expect("it is shipped");
        let encoder = JsonEncoder::new(&writer.json).expect("it is shipped");
        (dataset.name.clone(), encoder)
    };
    datasets.map(encoder).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (mut through, mut saved) = (Partition::new(), Partition::new());
    let mut now = BEGIN;
    for (offset, line) in (0..).zip(text.lines().take(LINES_MAX)) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (seconds, json) = rest.split_once(' ').unwrap_or((rest, ""));
        let seconds: i64 = seconds.parse().unwrap_or(1);
        now += seconds.clamp(0, SECONDS_MAX) * 1_000_000;
        match word {
            "save" => saved.save(),
            "tick" => {
                through.tick(now);
                saved.tick(now);
            }
            _ => {
                if let Some((topic, batch)) = record(word, json, offset, now) {
                    through.apply(topic, &batch);
                    saved.apply(topic, &batch);
                }
            }
        }
    }
    through.check();
    assert!(through.outputs == saved.outputs, "saving shows in outputs");
    saved.save();
    saved.save();
    let states =
        |of: &Partition| -> Vec<Vec<u8>> { of.actors.values().map(Processor::snapshot).collect() };
    assert!(
        states(&through) == states(&saved),
        "saving shows in the state"
    );
});

/// A record as the pipeline decodes it, and its topic: the dataset's place.
fn record(dataset: &str, json: &str, offset: u64, at: i64) -> Option<(usize, Batch)> {
    let mut datum = Vec::new();
    let json = serde_json::from_str(json).ok()?;
    ENCODERS.get(dataset)?.encode(&json, &mut datum).ok()?;
    let (index, dataset) = PARAMS.registry.datasets().find(dataset)?;
    let writer = PARAMS.registry.newest_writer(index)?;
    let mut builder = BatchBuilder::new(dataset.clone(), index, PARAMS.pseudonyms.clone());
    builder.push(&writer.plan, &datum, offset, at).ok()?;
    Some((index, builder.finish()?))
}

/// A partition's actors, one record at a time.
struct Partition {
    book: Arc<ControlBook>,
    actors: BTreeMap<String, Processor>,
    read: Positions,
    named: BTreeMap<String, u64>,
    outputs: BTreeMap<String, Outputs>,
}

impl Partition {
    fn new() -> Self {
        Self {
            book: book(),
            actors: BTreeMap::new(),
            read: Positions::zero(),
            named: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }

    fn apply(&mut self, topic: usize, batch: &Batch) {
        let name = batch.robot_id(0);
        let mut others: Vec<String> = Vec::new();
        if let Some(partition) = control::partition_of(name) {
            if partition != 0 || name != control::name(0) {
                return;
            }
            self.book.note(topic, batch, 0);
            let robots = self.actors.keys().filter(|name| control::is_robot(name));
            others = robots.cloned().collect();
        }
        let begun = || {
            let config = PARAMS.processor.clone();
            Processor::begun(name, config, &self.book, &self.read)
        };
        self.actors.entry(name.to_owned()).or_insert_with(begun);
        for name in others.into_iter().chain([name.to_owned()]) {
            let outputs = self.outputs.entry(name.clone()).or_default();
            if let Some(actor) = self.actors.get_mut(&name) {
                actor.apply(topic, batch, &[0], outputs);
            }
        }
        *self.named.entry(name.to_owned()).or_default() += 1;
        self.read.advance(topic, batch.offsets[0] + 1);
        self.book.settle();
    }

    fn tick(&mut self, now: i64) {
        for (name, actor) in &mut self.actors {
            if control::is_robot(name) {
                actor.tick(LogTime(now), self.outputs.entry(name.clone()).or_default());
            }
        }
    }

    /// All actors as they were saved, in another process.
    fn save(&mut self) {
        self.book = book();
        if let Some(own) = self.actors.get(&control::name(0)) {
            self.book
                .restore(&own.snapshot())
                .expect("it was just saved");
        }
        for (name, actor) in &mut self.actors {
            let state = actor.snapshot();
            let restored = Processor::restore(name, &state, PARAMS.processor.clone());
            *actor = restored.expect("it was just saved").under(&self.book);
        }
        self.book.settle();
    }

    fn check(&self) {
        for (name, actor) in &self.actors {
            let counted: u64 = actor.counters().iter().map(Counters::total).sum();
            assert_eq!(Some(&counted), self.named.get(name), "records of {name}");
            let view = serde_json::to_vec(&actor.live_view());
            assert!(view.is_ok());
        }
    }
}

fn book() -> Arc<ControlBook> {
    let topics = PARAMS.registry.datasets().iter();
    let topics = topics.filter(|(_, dataset)| dataset.kind.reaches_partitions());
    let topics = topics.map(|(index, _)| index).collect();
    let datasets = PARAMS.registry.datasets();
    Arc::new(ControlBook::new(
        PARAMS.processor.clone(),
        datasets,
        topics,
        false,
    ))
}
