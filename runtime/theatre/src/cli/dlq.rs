//! `theatre dlq`: dead letters, records that could not be applied.

mod purge;
mod replay;
mod show;
mod which;

use clap::Subcommand;
use serde_json::json;

use super::output::rows;
use super::service::store;
use super::{Common, Failure};
use theatre_queries::{self as queries, DeadLetterSummary};

/// Looks at dead letters, sends them again, erases them.
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
    Show(show::Show),
    /// Appends the records of dead letters again to the topics that they came from, once what was
    /// wrong is mended. On an embedded log no process may be running; on Kafka it may.
    #[command(
        after_help = "Examples: theatre dlq replay --reason unknown_schema --dry-run   (what would become of each)\n          \
                            theatre dlq replay --reason unknown_schema --rate 100\n          \
                            theatre dlq replay 0 1"
    )]
    Replay(replay::Replay),
    /// Erases what dead letters hold, for good. Their numbers, places and reasons stay, and they
    /// count as ever. Theatre may be running.
    #[command(
        after_help = "Examples: theatre dlq purge --before 2026-01-01 --dry-run\n          theatre dlq purge --before 2026-01-01 --comment 'kept long enough'"
    )]
    Purge(purge::Purge),
}

impl Dlq {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::List { limit } => list(common, limit),
            Self::Show(show) => show.run(common),
            Self::Replay(replay) => replay.run(common),
            Self::Purge(purge) => purge.run(common),
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

/// Why a dead letter is not there.
fn missing(partition: u32, number: u64) -> Failure {
    Failure::Failed(format!(
        "there is no dead letter {number} in partition {partition}; `theatre dlq list` names them"
    ))
}
