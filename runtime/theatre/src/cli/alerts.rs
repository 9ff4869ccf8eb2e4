//! `theatre alerts`: open conditions, and the transitions of all of them.

use clap::Subcommand;
use serde_json::json;

use super::output::{rows, time};
use super::service::store;
use super::{Common, Failure};
use theatre_queries::{self as queries, OpenCondition};
use theatre_schemas::records::Alert;

/// Looks at alerts.
#[derive(Debug, Subcommand)]
pub(super) enum Alerts {
    /// Conditions that are open.
    #[command(after_help = "Example: theatre alerts list --output json")]
    List,
    /// All transitions, oldest first.
    #[command(after_help = "Example: theatre alerts history --robot robot-0001 --limit 0")]
    History {
        /// Only this robot.
        #[arg(long)]
        robot: Option<String>,
        /// At most so many, the newest; 0 = all.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

impl Alerts {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let store = store(common)?;
        match self {
            Self::List => {
                let line = |open: OpenCondition| {
                    vec![
                        json!(open.robot_id),
                        json!(open.rule_id),
                        json!(open.priority),
                        time(open.raised_at),
                    ]
                };
                let open = queries::open_conditions(&*store)?;
                rows(
                    common.output,
                    &["robot_id", "rule_id", "priority", "raised_at"],
                    &open.into_iter().map(line).collect::<Vec<_>>(),
                )
            }
            Self::History { robot, limit } => {
                let line = |alert: Alert| {
                    vec![
                        time(alert.event_time),
                        json!(alert.robot_id),
                        json!(alert.rule_id),
                        json!(alert.transition),
                        json!(alert.priority),
                        json!(alert.value),
                        json!(alert.message),
                    ]
                };
                let history = queries::alert_history(&*store, robot, limit)?;
                rows(
                    common.output,
                    &[
                        "event_time",
                        "robot_id",
                        "rule_id",
                        "transition",
                        "priority",
                        "value",
                        "message",
                    ],
                    &history.into_iter().map(line).collect::<Vec<_>>(),
                )
            }
        }
    }
}
