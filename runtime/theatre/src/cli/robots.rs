//! `theatre robots`: what is known of robots.

use clap::Subcommand;
use serde_json::json;

use super::output::{rows, time, value};
use super::service::store;
use super::{Common, Failure};
use theatre_queries::{self as queries, RobotSummary};

/// Looks at robots.
#[derive(Debug, Subcommand)]
pub(super) enum Robots {
    /// All robots.
    #[command(after_help = "Example: theatre robots list --output json")]
    List,
    /// One robot, in full.
    #[command(after_help = "Example: theatre robots show robot-0001")]
    Show {
        /// Its id.
        robot: String,
    },
}

impl Robots {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let store = store(common)?;
        match self {
            Self::List => {
                let robots = queries::robots(&*store)?;
                let line = |robot: RobotSummary| {
                    vec![
                        json!(robot.robot_id),
                        json!(robot.clock.map(time)),
                        json!(robot.heard_at.map(time)),
                        json!(robot.applied),
                        json!(robot.missing),
                        json!(robot.procedures),
                        json!(robot.open_conditions.join(", ")),
                    ]
                };
                let lines: Vec<_> = robots.iter().map(RobotSummary::from).map(line).collect();
                rows(
                    common.output,
                    &[
                        "robot_id",
                        "clock",
                        "heard_at",
                        "applied",
                        "missing",
                        "procedures",
                        "open_conditions",
                    ],
                    &lines,
                )
            }
            Self::Show { robot } => {
                let found = queries::robot(&*store, &robot)?;
                value(&json!(found.ok_or_else(|| unknown(&robot))?))
            }
        }
    }
}

/// The failure of a command that names a robot without stored state.
pub(super) fn unknown(robot: &str) -> Failure {
    Failure::Failed(format!(
        "robot '{robot}' is not known; `theatre robots list` names all"
    ))
}
