//! Commands that only look: they read the files of a data directory, also while another process runs on it.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use theatre_actors::effect::FactKind;
use theatre_actors::family::FamilyView;
use theatre_actors::ports::{CheckpointStore, EventLog, FactFilter, PollLimit, Warehouse as _};
use theatre_actors::window::{WindowRow, merge_revisions};
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::records::{Alert, DeadLetter, Outcome};

use super::output::{rows, time, value, write};
use super::story::{alert_line, outcome_line};
use super::{Common, Failure, Output};
use crate::clock::SystemClock;
use crate::embedded::data_dir::DataDir;
use crate::embedded::lake::DirectoryLake;
use crate::embedded::log::EmbeddedLog;
use crate::embedded::store::EmbeddedStore;
use crate::embedded::warehouse::EmbeddedWarehouse;
use crate::pipeline::Ports;

/// Looks at robots.
#[derive(Debug, Subcommand)]
pub(super) enum Robots {
    /// All robots.
    List,
    /// One robot, in full.
    Show {
        /// Its id.
        robot: String,
    },
}

/// Looks at procedures.
#[derive(Debug, Subcommand)]
pub(super) enum Procedures {
    /// All procedures that are remembered.
    List,
    /// One procedure, in full.
    Show {
        /// Its id.
        procedure: String,
    },
}

/// Looks at alerts.
#[derive(Debug, Subcommand)]
pub(super) enum Alerts {
    /// Conditions that are open.
    List,
    /// All transitions, oldest first.
    History {
        /// Only this robot.
        #[arg(long)]
        robot: Option<String>,
        /// At most so many, the newest; 0 = all.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

/// Looks at windows.
#[derive(Debug, Subcommand)]
pub(super) enum Windows {
    /// Windows of one robot, late corrections merged.
    Show {
        /// The robot.
        robot: String,
        /// Only this window, such as 10s.
        #[arg(long)]
        window: Option<String>,
        /// Only this signal.
        #[arg(long)]
        signal: Option<String>,
    },
}

/// Looks at the lake.
#[derive(Debug, Subcommand)]
pub(super) enum Lake {
    /// Registered files.
    List,
}

/// Looks at the warehouse.
#[derive(Debug, Subcommand)]
pub(super) enum Warehouse {
    /// One read-only statement, passed as it is.
    #[command(after_help = "Example: theatre warehouse query \"SELECT robot_id, count(*) FROM robot_telemetry GROUP BY 1\"")]
    Query {
        /// The statement.
        sql: String,
    },
}

/// Looks at dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum Dlq {
    /// The newest ones.
    List {
        /// At most so many; 0 = all.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// One dead letter, in full.
    Show {
        /// Partition.
        partition: u32,
        /// Number within the partition.
        number: u64,
        /// Open the seal of a record that could not be decoded. It may name persons.
        #[arg(long)]
        unseal: bool,
    },
}

/// Follows an output topic.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Topic of alerts, outcomes or dead letters.
    topic: String,
    /// From the beginning instead of from now.
    #[arg(long)]
    from_start: bool,
    /// Go on when the end is reached.
    #[arg(long)]
    follow: bool,
}

/// Looks at partitions.
#[derive(Debug, Subcommand)]
pub(super) enum State {
    /// Epochs, positions, numbers.
    Show,
}

/// Looks at the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Says whether configuration, schemas, rules and windows fit together.
    Check,
    /// Prints the effective configuration.
    Show,
}

fn store(common: &Common) -> Result<EmbeddedStore, Failure> {
    Ok(EmbeddedStore::open_read_only(&DataDir::new(&common.data).store())?)
}

fn views(common: &Common) -> Result<Vec<FamilyView>, Failure> {
    let store = store(common)?;
    let partitions = store.layout()?.map_or(0, |(_, partitions)| partitions);
    let mut views = Vec::new();
    for partition in 0..partitions {
        for stored in store.families(partition)?.into_iter().filter(|stored| !stored.family.is_empty()) {
            let unreadable = |error| Failure::Failed(format!("the state of robot '{}' cannot be read: {error}", stored.family));
            views.push(FamilyView::from_state(&stored.family, &stored.state).map_err(unreadable)?);
        }
    }
    views.sort_by(|left, right| left.robot_id.cmp(&right.robot_id));
    Ok(views)
}

fn optional_time(us: Option<i64>) -> Value {
    us.map_or(Value::Null, time)
}

impl Robots {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let views = views(common)?;
        match self {
            Self::List => {
                let line = |view: &FamilyView| {
                    let applied: u64 = view.counters.iter().map(|counters| counters.applied).sum();
                    let rules: Vec<&str> = view.conditions.iter().map(|condition| condition.rule_id.as_str()).collect();
                    vec![
                        json!(view.robot_id),
                        optional_time(view.clock),
                        json!(applied),
                        json!(view.missing),
                        json!(view.procedures.len()),
                        json!(rules.join(", ")),
                    ]
                };
                let lines: Vec<_> = views.iter().map(line).collect();
                rows(common.output, &["robot_id", "clock", "applied", "missing", "procedures", "open_conditions"], &lines)
            }
            Self::Show { robot } => {
                let view = views.into_iter().find(|view| view.robot_id == robot);
                value(&json!(view.ok_or_else(|| Failure::Failed(format!("robot '{robot}' is not known; `theatre robots list` names all")))?))
            }
        }
    }
}

impl Procedures {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let procedures: Vec<_> = views(common)?.into_iter().flat_map(|view| view.procedures).collect();
        match self {
            Self::List => {
                let lines: Vec<_> = procedures
                    .iter()
                    .map(|procedure| {
                        let outcome = procedure.outcome.as_ref();
                        vec![
                            json!(procedure.procedure_id),
                            json!(procedure.robot_id),
                            json!(procedure.status),
                            time(procedure.heard_at),
                            json!(outcome.and_then(|outcome| outcome.duration_s)),
                            json!(outcome.map(|outcome| outcome.revision)),
                        ]
                    })
                    .collect();
                rows(common.output, &["procedure_id", "robot_id", "status", "heard_at", "duration_s", "revision"], &lines)
            }
            Self::Show { procedure } => {
                let found = procedures.into_iter().find(|known| known.procedure_id == procedure);
                value(&json!(found.ok_or_else(|| Failure::Failed(format!("procedure '{procedure}' is not known; `theatre procedures list` names all")))?))
            }
        }
    }
}

impl Alerts {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::List => {
                let lines: Vec<_> = views(common)?
                    .iter()
                    .flat_map(|view| {
                        view.conditions
                            .iter()
                            .map(|condition| vec![json!(view.robot_id), json!(condition.rule_id), json!(condition.priority), time(condition.raised_at)])
                    })
                    .collect();
                rows(common.output, &["robot_id", "rule_id", "priority", "raised_at"], &lines)
            }
            Self::History { robot, limit } => {
                let filter = FactFilter { kind: Some(FactKind::Alert), robot_id: robot, limit, ..FactFilter::default() };
                let mut lines = Vec::new();
                for stored in store(common)?.find_facts(&filter)? {
                    let alert = Alert::decode(&stored.fact.payload).map_err(|error| Failure::Failed(error.to_string()))?;
                    lines.push(vec![
                        time(alert.event_time),
                        json!(alert.robot_id),
                        json!(alert.rule_id),
                        json!(alert.transition),
                        json!(alert.priority),
                        json!(alert.value),
                        json!(alert.message),
                    ]);
                }
                rows(common.output, &["event_time", "robot_id", "rule_id", "transition", "priority", "value", "message"], &lines)
            }
        }
    }
}

impl Windows {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let Self::Show { robot, window, signal } = self;
        let registry = super::service::config(common)?.registry()?;
        let filter = FactFilter { kind: Some(FactKind::Window), robot_id: Some(robot), ..FactFilter::default() };
        let mut by_window: std::collections::BTreeMap<(String, i64), Vec<WindowRow>> = std::collections::BTreeMap::new();
        for stored in store(common)?.find_facts(&filter)? {
            let row = WindowRow::decode(&stored.fact.payload).map_err(|error| Failure::Failed(error.to_string()))?;
            if window.as_ref().is_none_or(|wanted| *wanted == row.window) {
                by_window.entry((stored.fact.subject.clone(), row.start_us)).or_default().push(row);
            }
        }
        let mut lines = Vec::new();
        for ((subject, start), revisions) in by_window {
            let Some(merged) = merge_revisions(&revisions) else { continue };
            let dataset = subject.split('/').next().unwrap_or_default();
            let known = registry.datasets().find(dataset).map(|(_, dataset)| dataset.signals.clone()).unwrap_or_default();
            for (index, aggregate) in merged.signals.iter().enumerate() {
                // A schema given to another command may be unknown to this one: the place of the signal still says which it is.
                let name = known.get(index).map_or_else(|| format!("signal {index}"), |signal| signal.name.clone());
                if aggregate.count == 0 || signal.as_ref().is_some_and(|wanted| *wanted != name) {
                    continue;
                }
                lines.push(vec![
                    json!(merged.window),
                    time(start),
                    json!(merged.revision),
                    json!(name),
                    json!(aggregate.count),
                    json!(aggregate.mean),
                    json!(aggregate.min),
                    json!(aggregate.max),
                ]);
            }
        }
        rows(common.output, &["window", "start", "revision", "signal", "count", "mean", "min", "max"], &lines)
    }
}

impl Lake {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let lines: Vec<_> = store(common)?
            .all_files()?
            .into_iter()
            .map(|file| {
                vec![json!(file.file.path), json!(file.file.rows), json!(file.file.bytes), json!(format!("{:?}", file.stage).to_lowercase()), json!(file.note)]
            })
            .collect();
        rows(common.output, &["path", "rows", "bytes", "stage", "note"], &lines)
    }
}

impl Warehouse {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let Self::Query { sql } = self;
        let result = EmbeddedWarehouse::open_read_only(&DataDir::new(&common.data).warehouse())?.query(&sql)?;
        let headings: Vec<&str> = result.columns.iter().map(String::as_str).collect();
        rows(common.output, &headings, &result.rows)
    }
}

impl Dlq {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let store = store(common)?;
        match self {
            Self::List { limit } => {
                let topics = store.layout()?.map(|(topics, _)| topics).unwrap_or_default();
                let lines: Vec<_> = store
                    .find_dead(limit)?
                    .into_iter()
                    .map(|stored| {
                        let dead = stored.dead;
                        vec![
                            json!(stored.partition),
                            json!(stored.sequence),
                            json!(topics.get(dead.topic)),
                            json!(dead.offset),
                            json!(dead.reason.as_str()),
                            json!(dead.robot_id),
                            json!(dead.detail),
                        ]
                    })
                    .collect();
                rows(common.output, &["partition", "number", "topic", "offset", "reason", "robot_id", "detail"], &lines)
            }
            Self::Show { partition, number, unseal } => {
                let found = store.dead_after(partition, number.saturating_sub(1), 1)?.into_iter().find(|stored| stored.sequence == number);
                let dead = found
                    .ok_or_else(|| Failure::Failed(format!("there is no dead letter {number} in partition {partition}; `theatre dlq list` names them")))?
                    .dead;
                let payload = match (dead.sealed, unseal) {
                    (false, _) => serde_json::from_slice(&dead.payload).unwrap_or(Value::Null),
                    (true, false) => json!(format!("{} bytes, sealed (--unseal opens them)", dead.payload.len())),
                    (true, true) => {
                        let pseudonyms = Pseudonyms::new(DataDir::new(&common.data).pseudonym_key()?);
                        let bytes = pseudonyms.unseal(&dead.payload).ok_or_else(|| Failure::Failed("the seal was made with another key".to_owned()))?;
                        json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
                    }
                };
                value(
                    &json!({"topic": dead.topic, "offset": dead.offset, "append_time": time(dead.append_time), "reason": dead.reason.as_str(), "detail": dead.detail,
                    "robot_id": dead.robot_id, "schema_id": dead.schema_id, "size": dead.size, "sha256": dead.sha256, "payload": payload}),
                )
            }
        }
    }
}

impl Tail {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let path = DataDir::new(&common.data).log();
        if !path.exists() {
            return Err(Failure::Failed(format!("there is no event log at {}: nothing has run on this data directory yet", path.display())));
        }
        let log = EmbeddedLog::open(&path, Arc::new(SystemClock))?;
        let partitions = log.partitions(&self.topic)?.ok_or_else(|| Failure::Usage(format!("there is no topic '{}'", self.topic)))?;
        let mut readers = Vec::new();
        for partition in 0..partitions {
            let range = log.range(&self.topic, partition)?;
            readers.push(log.reader(&self.topic, partition, if self.from_start { range.start } else { range.end })?);
        }
        loop {
            let mut lines = Vec::new();
            let mut more = false;
            for reader in &mut readers {
                let end = reader.poll(PollLimit { records: 1000, bytes: 1 << 20 }, &mut |record| lines.push(line(record.value, common.output)))?;
                more |= !end.at_end;
            }
            write(&lines.concat())?;
            if !more && !self.follow {
                return Ok(());
            }
            if !more {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn line(message: &[u8], output: Output) -> String {
    let (text, value) = if let Ok(alert) = Alert::decode(message) {
        (alert_line(&alert), json!(alert))
    } else if let Ok(outcome) = Outcome::decode(message) {
        (outcome_line(&outcome), json!(outcome))
    } else if let Ok(dead) = DeadLetter::decode(message) {
        (format!("{} partition {} offset {}: {} {}", dead.topic, dead.partition, dead.offset, dead.reason, dead.detail), json!(dead))
    } else {
        (format!("{} bytes of another kind", message.len()), json!({"bytes": message.len()}))
    };
    if output == Output::Json { format!("{value}\n") } else { format!("{text}\n") }
}

impl State {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let store = store(common)?;
        let (topics, partitions) = store.layout()?.unwrap_or_default();
        let mut lines = Vec::new();
        for partition in 0..partitions {
            let status = store.status(partition)?;
            let floor: Vec<u64> = (0..topics.len()).map(|topic| status.floor.get(topic)).collect();
            let lake: Vec<u64> = (0..topics.len()).map(|topic| status.lake_positions.get(topic)).collect();
            lines.push(vec![
                json!(partition),
                json!(status.epoch),
                json!(floor),
                json!(lake),
                json!(status.last_fact),
                json!(status.relayed_fact),
                json!(status.exported_fact),
                json!(status.last_dead),
                json!(status.relayed_dead),
            ]);
        }
        rows(common.output, &["partition", "epoch", "saved_to", "lake_to", "facts", "relayed", "exported", "dead", "dead_relayed"], &lines)
    }
}

/// Proves that nothing is lost and nothing is there twice.
pub(super) fn reconcile(common: &Common) -> Result<(), Failure> {
    let dir = DataDir::new(&common.data);
    let ports = Ports {
        store: Arc::new(EmbeddedStore::open_read_only(&dir.store())?),
        log: Arc::new(EmbeddedLog::open(&dir.log(), Arc::new(SystemClock))?),
        lake: Arc::new(DirectoryLake::open(&dir.lake())?),
        warehouse: Arc::new(EmbeddedWarehouse::open_read_only(&dir.warehouse())?),
        clock: Arc::new(SystemClock),
    };
    let mut config = super::service::config(common)?;
    let known = ports.store.layout()?;
    config.partitions = known.map_or(config.partitions, |(_, partitions)| partitions);
    let report = crate::reconcile::run(&config.pipeline(dir.pseudonym_key()?)?, &ports)?;
    if common.output == Output::Json {
        value(&json!(report))?;
    } else {
        let lines: Vec<_> = report
            .lines
            .iter()
            .filter(|line| line.read + line.pending + line.lake_rows > 0)
            .map(|line| {
                vec![
                    json!(line.topic),
                    json!(line.partition),
                    json!(line.read),
                    json!(line.applied),
                    json!(line.late),
                    json!(line.duplicate),
                    json!(line.dead),
                    json!(line.pending),
                    json!(line.lake_rows),
                    json!(line.warehouse_rows),
                    json!(line.trimmed_below),
                ]
            })
            .collect();
        rows(common.output, &["topic", "partition", "in", "applied", "late", "duplicate", "dead", "pending", "lake", "warehouse", "trimmed_below"], &lines)?;
    }
    for line in report.lines.iter().filter(|line| line.trimmed_below > 0) {
        eprintln!("{} partition {}: offsets below {} were deleted, what was there is not provable any more", line.topic, line.partition, line.trimmed_below);
    }
    for gap in &report.gaps {
        eprintln!("gap: {gap}");
    }
    if report.gaps.is_empty() {
        eprintln!("in = applied + late + duplicate + dead, and lake and warehouse hold every record once");
        return Ok(());
    }
    Err(Failure::Difference)
}

impl ConfigCommand {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let config = super::service::config(common)?;
        match self {
            Self::Check => {
                let params = config.pipeline([0; 32])?;
                let datasets: Vec<String> = params.registry.datasets().iter().map(|(_, dataset)| dataset.name.clone()).collect();
                write(&format!(
                    "good: {} rules, {} windows, datasets {}\n",
                    params.family.rules.rules().len(),
                    params.family.windows.specs().len(),
                    datasets.join(", ")
                ))
            }
            Self::Show => write(&toml::to_string_pretty(&config).map_err(|error| Failure::Failed(error.to_string()))?),
        }
    }
}
