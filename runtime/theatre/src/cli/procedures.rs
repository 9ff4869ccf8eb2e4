//! `theatre procedures`: what is known of procedures.

use clap::Subcommand;
use serde_json::json;

use super::output::{rows, time, value};
use super::service::store;
use super::{Common, Failure};
use theatre_queries as queries;

/// Looks at procedures.
#[derive(Debug, Subcommand)]
pub(super) enum Procedures {
    /// All procedures that are remembered.
    #[command(after_help = "Example: theatre procedures list --output json")]
    List,
    /// One procedure, in full.
    #[command(
        after_help = "Example: theatre procedures show case-0001-000000 (theatre procedures list names all)"
    )]
    Show {
        /// Its id.
        procedure: String,
    },
}

impl Procedures {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let store = store(common)?;
        match self {
            Self::List => {
                let mut lines = Vec::new();
                for procedure in queries::procedures(&*store)? {
                    let outcome = procedure.outcome.as_ref();
                    lines.push(vec![
                        json!(procedure.procedure_id),
                        json!(procedure.robot_id),
                        json!(procedure.status),
                        time(procedure.heard_at),
                        json!(outcome.and_then(|outcome| outcome.duration_s)),
                        json!(outcome.map(|outcome| outcome.revision)),
                    ]);
                }
                rows(
                    common.output,
                    &[
                        "procedure_id",
                        "robot_id",
                        "status",
                        "heard_at",
                        "duration_s",
                        "revision",
                    ],
                    &lines,
                )
            }
            Self::Show { procedure } => {
                let found = queries::procedure(&*store, &procedure)?;
                value(&json!(found.ok_or_else(|| Failure::Failed(format!(
                    "procedure '{procedure}' is not known; `theatre procedures list` names all"
                )))?))
            }
        }
    }
}
