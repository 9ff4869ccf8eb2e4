//! `theatre state`: where partitions stand, more of them, and their states built anew.

use clap::Subcommand;
use serde_json::json;

use super::output::rows;
use super::service::store;
use super::{Common, Failure};
use theatre_queries::{self as queries, PartitionState};

/// Looks at partitions, makes more of them, builds their states anew.
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
    /// Builds states anew out of the lake's files or the log, by the present rules and schemas, and
    /// says in what they differ from those that are stored; exits with 4 where they do. Nothing is
    /// changed without --switch. Nothing may run, and everything must be drained.
    #[command(
        after_help = "Examples:\n  theatre state rebuild --from log --config theatre.toml\n  \
                            theatre state rebuild --from lake --robot robot-0001 --switch --config theatre.toml"
    )]
    Rebuild(super::rebuild::Rebuild),
}

impl State {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Show => show(common),
            Self::Repartition(repartition) => repartition.run(common),
            Self::Rebuild(rebuild) => rebuild.run(common),
        }
    }
}

fn show(common: &Common) -> Result<(), Failure> {
    let line = |state: PartitionState| {
        vec![
            json!(state.partition),
            json!(state.epoch),
            json!(state.saved_to),
            json!(state.lake_to),
            json!(state.outputs),
            json!(state.relayed),
            json!(state.exported),
            json!(state.dead),
            json!(state.dead_relayed),
            json!(state.consumers),
        ]
    };
    let partitions = queries::partitions(&*store(common)?)?;
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
            "consumers",
        ],
        &partitions.into_iter().map(line).collect::<Vec<_>>(),
    )
}
