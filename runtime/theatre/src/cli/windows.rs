//! `theatre windows`: window aggregates of a robot.

use clap::Subcommand;
use serde_json::json;

use super::output::{rows, time};
use super::service::{self, store};
use super::{Common, Failure, robots};
use theatre_queries::{self as queries, WindowAggregate, WindowQuery};

/// Looks at windows.
#[derive(Debug, Subcommand)]
pub(super) enum Windows {
    /// Windows and sessions of one robot, late corrections merged.
    #[command(
        after_help = "Example: theatre windows show robot-0001 --window 10s --signal 'joints[2].temperature'"
    )]
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

impl Windows {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let Self::Show {
            robot,
            window,
            signal,
        } = self;
        let registry = crate::adapters::registry(&service::config(common)?)?;
        let store = store(common)?;
        // A robot without windows gives an empty table, one that is not there an error.
        if queries::robot(&*store, &robot)?.is_none() {
            return Err(robots::unknown(&robot));
        }
        let query = WindowQuery {
            robot_id: robot,
            window,
            signal,
        };
        let line = |aggregate: WindowAggregate| {
            vec![
                json!(aggregate.window),
                time(aggregate.start),
                json!(aggregate.revision),
                json!(aggregate.signal),
                json!(aggregate.count),
                json!(aggregate.mean),
                json!(aggregate.min),
                json!(aggregate.max),
            ]
        };
        let aggregates = queries::windows(&*store, &registry, &query)?;
        rows(
            common.output,
            &[
                "window", "start", "revision", "signal", "count", "mean", "min", "max",
            ],
            &aggregates.into_iter().map(line).collect::<Vec<_>>(),
        )
    }
}
