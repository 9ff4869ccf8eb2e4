//! `theatre bench`: what the work costs on this machine. `core`: decode, route, duplicate check,
//! windows and rules, from memory, on one thread. `fleet`: the whole pipeline, as fast as it
//! goes. `latency`: the whole pipeline at a pace, by the clock. `api`: the HTTP interface beside it.

mod api_bench;
mod environment;
mod fleet_bench;
mod inputs;
mod latency_bench;
mod measure;
mod process;
mod recount;
mod topic;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use clap::Subcommand;
use serde_json::json;
use theatre_actors::host::{ProcessorHost, Reply, Segment};
use theatre_actors::outputs::OutputKind;
use theatre_actors::processor::{Processor, ProcessorConfig};
use theatre_actors::rules::{Micros, RuleKind, RuleSet, RuleSpec};
use theatre_actors::time::TimePolicy;
use theatre_actors::window::{AggregateSet, WindowPlan, WindowSpec};
use theatre_schemas::batch::Batch;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::framing;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::records::Priority;
use theatre_schemas::registry::Registry;

use super::output::rows;
use super::{Common, Failure};
use theatre_simulator::fleet::{self, Fleet};

/// Measures.
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// The work on a record, without log, store or lake: 13 signals, 10 s windows, one hysteresis
    /// rule; once with each set of aggregates.
    #[command(
        after_help = "Examples: theatre bench core --records 1000000 --output json\n          \
                            theatre bench core --robots 100000 --aggregates basic\n          \
                            theatre bench core --rules --aggregates full"
    )]
    Core {
        /// Records.
        #[arg(long, default_value_t = 1_000_000)]
        records: u64,
        /// Robots, interleaved tick by tick.
        #[arg(long, default_value_t = 1000)]
        robots: u64,
        /// Records decoded into one batch.
        #[arg(long, default_value_t = 8192)]
        batch: usize,
        /// Only with this set: basic, full or sketch.
        #[arg(long, value_parser = aggregate_set)]
        aggregates: Option<AggregateSet>,
        /// With so many rules: a number, or several with commas; without one a table of 0, 1, 10,
        /// 100 and 1000. All but the first are thresholds that nothing reaches, on all signals in
        /// turn.
        #[arg(long, value_delimiter = ',', num_args = 0..=1, default_value = "1")]
        #[arg(default_missing_values = ["0", "1", "10", "100", "1000"])]
        rules: Vec<usize>,
    },
    /// The whole pipeline on a topic filled beforehand, on Kafka or on the embedded log. The lake
    /// is on and the warehouse off unless it is set otherwise.
    #[command(
        after_help = "Examples: theatre bench fleet --records 1000000 --warehouse on --output json\n          \
                            theatre bench fleet --brokers localhost:9092 --fill 5000000 --lake off"
    )]
    Fleet(fleet_bench::FleetBench),
    /// How long an alert takes: from the produce of the record that crosses a limit to a consumer
    /// of committed alerts.
    #[command(
        after_help = "Example: theatre bench latency --brokers localhost:9092 --rate 20000 --for 60s"
    )]
    Latency(latency_bench::LatencyBench),
    /// The HTTP interface on an embedded service: pages of robots at a pace and listeners of events,
    /// both beside a pipeline that reads, and ingest of NDJSON. Nothing has to be there beforehand.
    #[command(after_help = "Examples: theatre bench api\n          \
                            theatre bench api --robots 1000 --listeners 100 --for 10s --output json")]
    Api(api_bench::ApiBench),
}

impl Bench {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let (records, robots, batch, only, rules) = match self {
            Self::Core {
                records,
                robots,
                batch,
                aggregates,
                rules,
            } => (records, robots, batch, aggregates, rules),
            Self::Fleet(fleet) => return fleet.run(common),
            Self::Latency(latency) => return latency.run(common),
            Self::Api(api) => return api.run(common),
        };
        let messages = Messages::make(records, robots);
        // Once for nothing: the first pass pays for memory and caches that no later one needs.
        let first = only.unwrap_or(AggregateSet::Basic);
        measure("", &messages, batch, (first, 1))?;
        let mut lines = Vec::new();
        for (name, aggregates) in [
            ("count, sum, min, max", AggregateSet::Basic),
            ("all aggregates", AggregateSet::Full),
            ("all and sketches", AggregateSet::Sketch),
        ] {
            if only.is_some_and(|only| only != aggregates) {
                continue;
            }
            for rules in &rules {
                lines.push(measure(name, &messages, batch, (aggregates, *rules))?);
            }
        }
        rows(
            common.output,
            &[
                "aggregates",
                "rules",
                "records",
                "records_per_s",
                "cpu_s_per_million",
                "windows",
                "alerts",
            ],
            &lines,
        )
    }
}

/// A set of aggregates by the name that the configuration has for it.
fn aggregate_set(text: &str) -> Result<AggregateSet, String> {
    serde_json::from_value(json!(text))
        .map_err(|_| format!("'{text}' is none of basic, full, sketch"))
}

/// Framed records one after another: about the first record of each robot, those that follow, and
/// the closing one of each.
struct Messages {
    bytes: Vec<u8>,
    /// Where each begins, and the end of the last one.
    bounds: Vec<usize>,
    robots: usize,
}

impl Messages {
    fn make(records: u64, robots: u64) -> Self {
        let mut messages = Self {
            bytes: Vec::with_capacity(records as usize * 140),
            bounds: Vec::with_capacity(records as usize + 1),
            robots: robots as usize,
        };
        messages.bounds.push(0);
        for sample in Fleet::new(1, robots, records) {
            fleet::encode(&sample, &mut messages.bytes);
            messages.bounds.push(messages.bytes.len());
        }
        messages
    }

    fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    fn part(&self, part: Range<usize>) -> impl ExactSizeIterator<Item = &[u8]> {
        let bounds = self.bounds[part.start..=part.end].windows(2);
        bounds.map(|bounds| &self.bytes[bounds[0]..bounds[1]])
    }
}

/// So many rules: one with hysteresis that the fleet's faults reach, and others that nothing does, on
/// all signals in turn.
fn rules(count: usize, registry: &Registry) -> Vec<RuleSpec> {
    let signals: Vec<&str> = (registry.datasets().find("fleet_telemetry"))
        .map(|(_, dataset)| dataset.signals.iter().map(|of| of.name.as_str()).collect())
        .unwrap_or_default();
    let threshold = |signal: &str, raise: f64, clear: f64| RuleKind::Threshold {
        signal: signal.to_owned(),
        raise_above: Some(raise),
        clear_below: Some(clear),
        raise_below: None,
        clear_above: None,
        hold: Micros(0),
        clear_after: Micros(0),
        escalate: Vec::new(),
        count: None,
    };
    let hot = threshold("motor_temperature", 85.0, 80.0);
    let first = RuleSpec::new("hot", Priority::Medium, hot);
    let others = signals.iter().cycle().enumerate().map(|(at, signal)| {
        let kind = threshold(signal, 1e6 + at as f64, 1e6);
        RuleSpec::new(&format!("never{at}"), Priority::Low, kind)
    });
    std::iter::once(first).chain(others).take(count).collect()
}

fn config(
    registry: &Registry,
    (aggregates, count): (AggregateSet, usize),
) -> Result<Arc<ProcessorConfig>, Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let rules = RuleSet::compile(&rules(count, registry), registry.datasets())
        .map_err(|error| refused(&error))?;
    let window = WindowSpec {
        name: "10s".to_owned(),
        size_us: 10_000_000,
        hop_us: 10_000_000,
    };
    let windows = WindowPlan::new(vec![window], aggregates).map_err(|error| refused(&error))?;
    let time = TimePolicy {
        reorder_bound_us: 5_000_000,
        ..TimePolicy::default()
    };
    Ok(Arc::new(
        ProcessorConfig::new(time, windows, rules, &[], registry.datasets())
            .map_err(|error| refused(&error))?,
    ))
}

/// One pass over all messages.
fn measure(
    name: &str,
    messages: &Messages,
    batch: usize,
    (aggregates, rules): (AggregateSet, usize),
) -> Result<Vec<serde_json::Value>, Failure> {
    let registry = Registry::builtin();
    let mut core = Core::new(&registry, (aggregates, rules))?;
    let end = messages.len().saturating_sub(messages.robots);
    let ticks = messages.robots.min(end)..end;
    let (begun, cpu) = (Instant::now(), process::cpu_seconds()?);
    core.take(messages, 0..ticks.start, batch)?;
    go_on(&mut core, messages, ticks, batch)?;
    core.take(messages, end..messages.len(), batch)?;
    let (elapsed, cpu) = (begun.elapsed().as_secs_f64(), process::cpu_seconds()? - cpu);
    Ok(vec![
        json!(name),
        json!(rules),
        json!(core.records),
        json!((core.records as f64 / elapsed) as u64),
        json!(cpu * 1e6 / core.records as f64),
        json!(core.windows),
        json!(core.alerts),
    ])
}

/// The messages after the first tick and before the closing ones: what goes on once robots are there.
/// Never inlined: `tests/speed` counts its instructions by its name.
#[inline(never)]
fn go_on(
    core: &mut Core<'_>,
    messages: &Messages,
    part: Range<usize>,
    batch: usize,
) -> Result<(), Failure> {
    core.take(messages, part, batch)
}

/// What works on the messages, and what came of it.
struct Core<'a> {
    registry: &'a Registry,
    config: Arc<ProcessorConfig>,
    builder: BatchBuilder,
    host: ProcessorHost,
    slots: HashMap<String, usize, foldhash::fast::RandomState>,
    records: u64,
    windows: u64,
    alerts: u64,
}

impl<'a> Core<'a> {
    fn new(registry: &'a Registry, rules: (AggregateSet, usize)) -> Result<Self, Failure> {
        let writer = registry
            .lookup(1)
            .ok_or_else(|| Failure::Failed("schema 1 is not shipped".to_owned()))?;
        let dataset = registry.datasets().get(writer.dataset_index).clone();
        let pseudonyms = Arc::new(Pseudonyms::new([0; 32]));
        Ok(Self {
            registry,
            config: config(registry, rules)?,
            builder: BatchBuilder::new(dataset, writer.dataset_index, pseudonyms),
            host: ProcessorHost::default(),
            slots: HashMap::default(),
            records: 0,
            windows: 0,
            alerts: 0,
        })
    }

    /// Decodes, routes and applies a part of the messages, so many at a time.
    fn take(
        &mut self,
        messages: &Messages,
        part: Range<usize>,
        batch: usize,
    ) -> Result<(), Failure> {
        let mut left = messages.part(part);
        while left.len() > 0 {
            for message in left.by_ref().take(batch.max(1)) {
                self.decode(message)?;
            }
            let Some(columns) = self.builder.finish() else {
                break;
            };
            let work = self.route(&Arc::new(columns));
            for (_, reply) in self.host.deliver(work) {
                let Reply::Applied { outputs } = reply else {
                    return Err(Failure::Failed("a processor panicked".to_owned()));
                };
                let of_kind = |kind| {
                    let outputs = outputs.events.iter();
                    outputs.filter(|output| output.kind == kind).count() as u64
                };
                self.windows += of_kind(OutputKind::Window);
                self.alerts += of_kind(OutputKind::Alert);
            }
        }
        Ok(())
    }

    fn decode(&mut self, message: &[u8]) -> Result<(), Failure> {
        let (id, datum) =
            framing::parse(message).map_err(|error| Failure::Failed(error.to_string()))?;
        let writer = self
            .registry
            .lookup(id)
            .ok_or_else(|| Failure::Failed(format!("schema {id}")))?;
        let append_time = fleet::START_US + (1 << 50);
        self.builder
            .push(&writer.plan, datum, self.records, append_time)
            .map_err(|error| Failure::Failed(error.to_string()))?;
        self.records += 1;
        Ok(())
    }

    /// The rows of each robot; one that is new gets a processor.
    fn route(&mut self, columns: &Arc<Batch>) -> Vec<(usize, Vec<Segment>)> {
        let mut work: Vec<Vec<u32>> = vec![Vec::new(); self.slots.len()];
        for row in 0..columns.len() {
            let robot = columns.robot_id(row);
            let slot = match self.slots.get(robot) {
                Some(slot) => *slot,
                None => {
                    let slot = self.slots.len();
                    self.slots.insert(robot.to_owned(), slot);
                    let processor = Processor::new(robot, self.config.clone());
                    self.host.insert(slot, processor);
                    work.push(Vec::new());
                    slot
                }
            };
            work[slot].push(row as u32);
        }
        let work = work.into_iter().enumerate();
        work.filter(|(_, rows)| !rows.is_empty())
            .map(|(slot, rows)| {
                let segment = Segment {
                    topic: 0,
                    batch: columns.clone(),
                    rows: rows.into(),
                };
                (slot, vec![segment])
            })
            .collect()
    }
}
