//! `theatre bench latency`: from the produce of a record that crosses a limit to the alert in the
//! hands of a `read_committed` consumer.
//!
//! Producer and consumer are clients of their own, as a robot and a ward would have them. A
//! record's event time is the wall clock at its produce, and the alert carries it: both ends are on
//! this machine, so one clock measures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rand::RngExt;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use theatre_actors::outputs::OutputKind;
use theatre_actors::rules::Micros;
use theatre_actors::time::Clock;
use theatre_schemas::records::{Alert, Transition};

use super::environment::{BenchEnvironment, Kinds};
use super::inputs::Inputs;
use super::measure::rounded;
use super::process::{commit, machine};
use super::recount::WindowShape;
use super::{Common, Failure};
use crate::cli::Output;
use crate::cli::output::write;
use crate::cli::service::Service;
use theatre_actors::partitioner::partition_of;
use theatre_simulator::fleet::{self, Fleet, Sample};
use theatre_system::clock::SystemClock;

const PARTITIONS: u32 = 16;
/// Until then nothing is counted: connections are made, lanes are opened.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long the last alerts may take.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Records are sent in steps of this.
const STEP: Duration = Duration::from_millis(1);
const NORMAL: f64 = 60.0;
const TOO_HOT: f64 = 90.0;

/// From a record to its alert, which is of high priority: it is saved and published at once.
#[derive(Debug, Args)]
pub(in crate::cli) struct LatencyBench {
    /// Kafka's brokers, HOST:PORT.
    #[arg(long)]
    brokers: String,
    /// A PostgreSQL server: the store is a database of its own there, dropped at the end. Absent:
    /// the embedded store.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    /// Records a second.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Records a second that cross the limit, of random robots.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    alerts_per_second: u64,
    /// Robots.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    robots: u64,
    /// Which input topics are read.
    #[arg(long, value_enum, default_value_t = Inputs::All)]
    inputs: Inputs,
    /// How long is measured.
    #[arg(long = "for", value_parser = Micros::parse, default_value = "60s")]
    measured_for: Micros,
}

impl LatencyBench {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let mut environment = BenchEnvironment::new(
            Some(&self.brokers),
            self.database.as_deref(),
            Kinds {
                topics: &["input", "alerts", "outcomes", "input.dlq"],
                priority: "high",
                windows: WindowShape::default(),
            },
        )?;
        environment.config.partitions = PARTITIONS;
        environment.config.lake.enabled = false;
        let input = format!("{}.input", environment.name);
        environment.made = self.inputs.empty(&environment.name);
        let service =
            Service::start_as(&environment.common(common), &environment.config, |params| {
                self.inputs.set(params, &input, &environment.name)
            })?;
        let alerts = service.params.output_topics.get(OutputKind::Alert);
        let consumer = self.consumer(alerts.unwrap_or_default())?;
        let over = AtomicBool::new(false);
        let (sent, received) = std::thread::scope(|scope| {
            let producer = scope.spawn(|| self.produce(&input));
            let listener = scope.spawn(|| listen(&consumer, &over));
            let sent = producer.join();
            std::thread::sleep(LAST_WORDS);
            over.store(true, Ordering::Release);
            (sent, listener.join())
        });
        let panicked =
            |_| Failure::Failed("a client of the benchmark panicked; this is a bug".to_owned());
        let (sent, mut received) = (sent.map_err(panicked)??, received.map_err(panicked)??);
        received.retain(|(time, _)| *time >= sent.counted_from);
        let committed = service.pipeline.committed();
        let (commits, publishes) = (committed.commits.mean_ms(), committed.publishes.mean_ms());
        service.end()?;
        let report = self.report(
            &environment,
            &sent,
            received.into_iter().map(|(_, latency)| latency).collect(),
            commits,
            publishes,
        );
        match common.output {
            Output::Json => write(&format!("{report}\n"))?,
            Output::Table => write(&format!("{report:#}\n"))?,
        }
        if report["missing"] == json!(0) {
            Ok(())
        } else {
            Err(Failure::Difference)
        }
    }

    fn report(
        &self,
        environment: &BenchEnvironment,
        sent: &Sent,
        mut latencies: Vec<i64>,
        commits: (u64, f64),
        publishes: (u64, f64),
    ) -> Value {
        latencies.sort_unstable();
        let at = |share: f64| {
            latencies
                .get(((latencies.len() as f64 * share).ceil() as usize).saturating_sub(1))
                .map(|us| rounded(*us as f64 / 1000.0))
        };
        let mean = latencies.iter().sum::<i64>() as f64 / 1000.0 / latencies.len().max(1) as f64;
        json!({
            "machine": machine(), "commit": commit(), "log": environment.describe_log(), "store": environment.describe_store(),
            "inputs": self.inputs.as_str(), "records_per_s": (sent.records as f64 / sent.took.as_secs_f64()) as u64, "robots": self.robots, "partitions": PARTITIONS,
            "alerts": latencies.len(), "missing": sent.crossings.saturating_sub(latencies.len()),
            "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0), "mean_ms": rounded(mean),
            "store_ms": rounded(commits.1), "relay_ms": rounded(publishes.1), "fetch_and_rest_ms": rounded(mean - commits.1 - publishes.1),
            "commits_with_alerts": commits.0, "publishes": publishes.0,
        })
    }

    fn consumer(&self, topic: &str) -> Result<BaseConsumer, Failure> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "none")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().map_err(|error| unreachable_log(&error))?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            assignment
                .add_partition_offset(topic, partition as i32, Offset::Beginning)
                .map_err(|error| unreachable_log(&error))?;
        }
        consumer
            .assign(&assignment)
            .map_err(|error| unreachable_log(&error))?;
        Ok(consumer)
    }

    /// Sends the records at their pace; every one that crosses the limit is followed by one of the
    /// same robot that does not.
    fn produce(&self, topic: &str) -> Result<Sent, Failure> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("linger.ms", "0")
            .set("acks", "all")
            .set("enable.idempotence", "true");
        let producer: BaseProducer = config.create().map_err(|error| unreachable_log(&error))?;
        let mut random = rand::rng();
        let length = Duration::from_micros(self.measured_for.0.unsigned_abs());
        let (begun, mut sent) = (Instant::now(), Sent::default());
        let mut sequences = vec![0; self.robots as usize];
        let (mut hot, mut crossings) = (None, 0);
        while begun.elapsed() < WARM_UP + length {
            let elapsed = begun.elapsed().as_secs_f64();
            if elapsed >= WARM_UP.as_secs_f64() && sent.counted_from == i64::MAX {
                sent.counted_from = SystemClock.now().0;
            }
            if crossings < (elapsed * self.alerts_per_second as f64) as u64 && hot.is_none() {
                crossings += 1;
                hot = Some(random.random_range(0..self.robots));
            }
            while sent.records < (elapsed * self.rate as f64) as u64 {
                let robot = sent.records % self.robots;
                let is_hot = hot == Some(robot);
                let sample = self.sample(robot, &mut sequences, is_hot);
                send(&producer, topic, &sample)?;
                sent.records += 1;
                if is_hot {
                    hot = None;
                    sent.crossings += usize::from(sample.time >= sent.counted_from);
                }
            }
            producer.poll(Duration::ZERO);
            std::thread::sleep(STEP);
        }
        producer
            .flush(LAST_WORDS)
            .map_err(|error| unreachable_log(&error))?;
        sent.took = begun.elapsed();
        Ok(sent)
    }

    fn sample(&self, robot: u64, sequences: &mut [i64], is_hot: bool) -> Sample {
        let sequence = &mut sequences[robot as usize];
        *sequence += 1;
        let mut values = [20.0; fleet::SIGNALS];
        values[fleet::MOTOR_TEMPERATURE] = if is_hot { TOO_HOT } else { NORMAL };
        Sample {
            robot,
            sequence: *sequence,
            time: SystemClock.now().0,
            values,
        }
    }
}

/// What the producer did.
struct Sent {
    records: u64,
    /// Crossings from `counted_from` on.
    crossings: usize,
    /// End of the warm-up, microseconds UTC.
    counted_from: i64,
    took: Duration,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            records: 0,
            crossings: 0,
            counted_from: i64::MAX,
            took: Duration::ZERO,
        }
    }
}

fn send(producer: &BaseProducer, topic: &str, sample: &Sample) -> Result<(), Failure> {
    let key = Fleet::robot_id(sample.robot);
    let mut value = Vec::with_capacity(180);
    fleet::encode(sample, &mut value);
    let mut record = BaseRecord::to(topic)
        .partition(partition_of(key.as_bytes(), PARTITIONS) as i32)
        .key(&key)
        .payload(&value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, back))
                if error.rdkafka_error_code()
                    == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) =>
            {
                producer.poll(STEP);
                record = back;
            }
            Err((error, _)) => return Err(unreachable_log(&error)),
        }
    }
}

/// Event time and latency of every condition that was raised, microseconds.
fn listen(consumer: &BaseConsumer, over: &AtomicBool) -> Result<Vec<(i64, i64)>, Failure> {
    let mut received = Vec::new();
    while !over.load(Ordering::Acquire) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message.map_err(|error| unreachable_log(&error))?;
        let now = SystemClock.now().0;
        let alert = Alert::decode(message.payload().unwrap_or_default())
            .map_err(|error| Failure::Failed(error.to_string()))?;
        if alert.transition == Transition::Raised {
            received.push((alert.event_time, now - alert.event_time));
        }
    }
    Ok(received)
}

fn unreachable_log(error: &dyn std::fmt::Display) -> Failure {
    Failure::Unreachable(format!("Kafka: {error}"))
}
