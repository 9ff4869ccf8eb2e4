//! Commands that look at what is stored and published: lake, warehouse, dead letters, topics,
//! partitions.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use theatre_actors::ports::PollLimit;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::records::{Alert, DeadLetter, Outcome};

use super::event_printer::{alert_line, outcome_line};
use super::looks::store;
use super::output::{rows, time, value, write};
use super::service::{Place, pseudonym_key};
use super::{Common, Failure, Output};
use theatre_pipeline::lake_gap::{self, LogGap, holes};
use theatre_pipeline::outbox;

/// Looks at the lake, and puts back what was set aside.
#[derive(Debug, Subcommand)]
pub(super) enum Lake {
    /// Registered files: how far each is, and why one was set aside.
    #[command(after_help = "Example: theatre lake list --output json")]
    List,
    /// Puts all files back that were set aside, once what was wrong is put right: quarantined ones
    /// to be loaded, lost ones to be completed. Theatre may be running.
    #[command(
        after_help = "Example: theatre lake list (stage and note say what was refused, and why), then\n         theatre lake requeue --config theatre.toml"
    )]
    Requeue,
    /// Lets the lake go on where records are gone from the log that it never had: it was away, or
    /// switched off, for longer than the log keeps them. Theatre may be running.
    #[command(
        after_help = "Example: theatre lake skip --dry-run --config theatre.toml (which records are gone), then\n         \
                            theatre lake skip --config theatre.toml"
    )]
    Skip {
        /// Only say which records are gone.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Looks at the warehouse.
#[derive(Debug, Subcommand)]
pub(super) enum Warehouse {
    /// One read-only statement, passed as it is.
    #[command(
        after_help = "Example: theatre warehouse query \"SELECT robot_id, count(*) FROM robot_telemetry GROUP BY 1\""
    )]
    Query {
        /// The statement.
        sql: String,
    },
}

/// Looks at dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum Dlq {
    /// The newest ones.
    #[command(after_help = "Example: theatre dlq list --limit 0 --output json")]
    List {
        /// At most so many; 0 = all.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// One dead letter, in full.
    #[command(
        after_help = "Example: theatre dlq show 0 1 (partition and number, as theatre dlq list has them)"
    )]
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

/// Looks at partitions, and makes more of them.
#[derive(Debug, Subcommand)]
pub(super) enum State {
    /// Epochs, positions, numbers.
    #[command(after_help = "Example: theatre state show --output json")]
    Show,
    /// More partitions: grows the topics and moves robots to where their producers will write.
    /// Everything must be drained.
    #[command(
        after_help = "Example: stop the producers, then all processes of Theatre, then\n  theatre run --until-drained --config theatre.toml\n  \
                            theatre state repartition --partitions 12 --dry-run --config theatre.toml\n  \
                            theatre state repartition --partitions 12 --config theatre.toml\nset partitions = 12 in theatre.toml, start Theatre, then the producers."
    )]
    Repartition(super::repartition::Repartition),
}

impl Lake {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::List => list(common),
            Self::Requeue => requeue(common),
            Self::Skip { dry_run } => skip(common, dry_run),
        }
    }
}

fn list(common: &Common) -> Result<(), Failure> {
    let lines: Vec<_> = store(common)?
        .all_files()?
        .into_iter()
        .map(|file| {
            vec![
                json!(file.file.path),
                json!(file.file.rows),
                json!(file.file.bytes),
                json!(format!("{:?}", file.stage).to_lowercase()),
                json!(file.note),
            ]
        })
        .collect();
    rows(
        common.output,
        &["path", "rows", "bytes", "stage", "note"],
        &lines,
    )
}

fn requeue(common: &Common) -> Result<(), Failure> {
    let place = Place::of(common)?;
    // Looked for first: a store that is opened for writing is made where there is none.
    place.look()?.store()?;
    // Without the lock of the data directory: what a running process plans meanwhile is not
    // touched.
    let files = place.write()?.store()?.requeue_quarantined()?;
    match common.output {
        Output::Json => value(&json!({ "files": files })),
        Output::Table => write(&format!("{files} files are to be tried again\n")),
    }
}

fn skip(common: &Common, dry_run: bool) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let (log, reading) = (place.look()?.log()?, place.look()?.store()?);
    let (topics, partitions) = reading.layout()?.unwrap_or_default();
    let mut lines = Vec::new();
    // As above: nothing is opened for writing where nothing is to be written.
    let writing = if dry_run {
        None
    } else {
        Some(place.write()?.store()?)
    };
    for partition in 0..partitions {
        let holes = match &writing {
            None => holes(&*log, &topics, partition, &reading.status(partition)?)?,
            Some(store) => lake_gap::skip(&*log, &**store, &topics, partition)?,
        };
        lines.extend(holes.into_iter().map(
            |LogGap {
                 topic,
                 partition,
                 from,
                 to,
             }| {
                vec![
                    json!(topic),
                    json!(partition),
                    json!(from),
                    json!(to),
                    json!(to - from),
                ]
            },
        ));
    }
    rows(
        common.output,
        &["topic", "partition", "from", "to", "records"],
        &lines,
    )
}

impl Warehouse {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let Self::Query { sql } = self;
        let result = Place::of(common)?.look()?.warehouse()?.query(&sql)?;
        let headings: Vec<&str> = result.columns.iter().map(String::as_str).collect();
        rows(common.output, &headings, &result.rows)
    }
}

impl Dlq {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let store = store(common)?;
        match self {
            Self::List { limit } => {
                let topics = store
                    .layout()?
                    .map(|(topics, _)| topics)
                    .unwrap_or_default();
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
                rows(
                    common.output,
                    &[
                        "partition",
                        "number",
                        "topic",
                        "offset",
                        "reason",
                        "robot_id",
                        "detail",
                    ],
                    &lines,
                )
            }
            Self::Show {
                partition,
                number,
                unseal,
            } => {
                let found = store
                    .dead_after(partition, number.saturating_sub(1), 1)?
                    .into_iter()
                    .find(|stored| stored.sequence == number);
                let dead = found
                    .ok_or_else(|| Failure::Failed(format!("there is no dead letter {number} in partition {partition}; `theatre dlq list` names them")))?
                    .dead;
                let payload = match (dead.sealed, unseal) {
                    (false, _) => serde_json::from_slice(&dead.payload).unwrap_or(Value::Null),
                    (true, false) => json!(format!(
                        "{} bytes, sealed (--unseal opens them)",
                        dead.payload.len()
                    )),
                    (true, true) => {
                        let place = Place::of(common)?;
                        let pseudonyms = Pseudonyms::new(pseudonym_key(&place.config, &place.dir)?);
                        let bytes = pseudonyms.unseal(&dead.payload).ok_or_else(|| {
                            Failure::Failed("the seal was made with another key".to_owned())
                        })?;
                        json!(
                            bytes
                                .iter()
                                .map(|byte| format!("{byte:02x}"))
                                .collect::<String>()
                        )
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
        let log = Place::of(common)?.look()?.log()?;
        let partitions = log
            .partitions(&self.topic)?
            .ok_or_else(|| Failure::Usage(format!("there is no topic '{}'", self.topic)))?;
        let mut readers = Vec::new();
        for partition in 0..partitions {
            let range = log.range(&self.topic, partition)?;
            readers.push(log.reader(
                &self.topic,
                partition,
                if self.from_start {
                    range.start
                } else {
                    range.end
                },
            )?);
        }
        loop {
            let mut lines = Vec::new();
            let mut more = false;
            for reader in &mut readers {
                let end = reader.poll(
                    PollLimit {
                        records: 1000,
                        bytes: 1 << 20,
                    },
                    &mut |record| lines.push(line(record.value, common.output)),
                )?;
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
        (
            format!(
                "{} partition {} offset {}: {} {}",
                dead.topic, dead.partition, dead.offset, dead.reason, dead.detail
            ),
            json!(dead),
        )
    } else {
        (
            format!("{} bytes of another kind", message.len()),
            json!({"bytes": message.len()}),
        )
    };
    if output == Output::Json {
        format!("{value}\n")
    } else {
        format!("{text}\n")
    }
}

impl State {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Show => show(common),
            Self::Repartition(repartition) => repartition.run(common),
        }
    }
}

fn show(common: &Common) -> Result<(), Failure> {
    let store = store(common)?;
    let (topics, partitions) = store.layout()?.unwrap_or_default();
    let mut lines = Vec::new();
    for partition in 0..partitions {
        let status = store.status(partition)?;
        let floor: Vec<u64> = (0..topics.len())
            .map(|topic| status.floor.get(topic))
            .collect();
        let lake: Vec<u64> = (0..topics.len())
            .map(|topic| status.lake_positions.get(topic))
            .collect();
        lines.push(vec![
            json!(partition),
            json!(status.epoch),
            json!(floor),
            json!(lake),
            json!(status.last_output),
            json!(status.cursors.get(outbox::RELAY.name)),
            json!(status.cursors.get(outbox::EXPORTER.name)),
            json!(status.last_dead),
            json!(status.cursors.get(outbox::DEAD_LETTER_RELAY.name)),
        ]);
    }
    rows(
        common.output,
        &[
            "partition",
            "epoch",
            "saved_to",
            "lake_to",
            "outputs",
            "relayed",
            "exported",
            "dead",
            "dead_relayed",
        ],
        &lines,
    )
}
