//! `theatre dlq`: dead letters, records that could not be applied.

use clap::Subcommand;
use serde_json::{Value, json};
use theatre_actors::outputs::DeadRow;
use theatre_schemas::pseudonym::Pseudonyms;

use super::output::{rows, time, value};
use super::process::pseudonym_key;
use super::service::{Place, store};
use super::{Common, Failure};
use theatre_queries::{self as queries, DeadLetterSummary};

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

impl Dlq {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::List { limit } => list(common, limit),
            Self::Show {
                partition,
                number,
                unseal,
            } => show(common, partition, number, unseal),
        }
    }
}

fn list(common: &Common, limit: usize) -> Result<(), Failure> {
    let line = |dead: DeadLetterSummary| {
        vec![
            json!(dead.partition),
            json!(dead.number),
            json!(dead.topic),
            json!(dead.offset),
            json!(dead.reason),
            json!(dead.robot_id),
            json!(dead.detail),
        ]
    };
    let dead = queries::dead_letters(&*store(common)?, limit)?;
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
        &dead.into_iter().map(line).collect::<Vec<_>>(),
    )
}

fn show(common: &Common, partition: u32, number: u64, unseal: bool) -> Result<(), Failure> {
    let found = queries::dead_letter(&*store(common)?, partition, number)?;
    let missing = || {
        Failure::Failed(format!(
            "there is no dead letter {number} in partition {partition}; `theatre dlq list` names them"
        ))
    };
    let dead = found.ok_or_else(missing)?.dead;
    let payload = payload(common, &dead, unseal)?;
    value(&json!({
        "topic": dead.topic,
        "offset": dead.offset,
        "append_time": time(dead.append_time),
        "reason": dead.reason.as_str(),
        "detail": dead.detail,
        "robot_id": dead.robot_id,
        "schema_id": dead.schema_id,
        "size": dead.size,
        "sha256": dead.sha256,
        "payload": payload,
    }))
}

/// The payload as it is printed: columns as JSON, or the sealed bytes, opened on demand only.
fn payload(common: &Common, dead: &DeadRow, unseal: bool) -> Result<Value, Failure> {
    if !dead.sealed {
        return Ok(serde_json::from_slice(&dead.payload).unwrap_or(Value::Null));
    }
    if !unseal {
        return Ok(json!(format!(
            "{} bytes, sealed (--unseal opens them)",
            dead.payload.len()
        )));
    }
    let place = Place::of(common)?;
    let pseudonyms = Pseudonyms::new(pseudonym_key(&place.config, &place.dir)?);
    let opened = queries::unsealed(&dead.payload, &pseudonyms);
    let opened =
        opened.ok_or_else(|| Failure::Failed("the seal was made with another key".to_owned()))?;
    Ok(json!(opened))
}
