//! `theatre warehouse`: queries of the warehouse.

use clap::Subcommand;

use super::output::rows;
use super::service::Place;
use super::{Common, Failure};

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

impl Warehouse {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let Self::Query { sql } = self;
        let result = Place::of(common)?.look()?.warehouse()?.query(&sql)?;
        let headings: Vec<&str> = result.columns.iter().map(String::as_str).collect();
        rows(common.output, &headings, &result.rows)
    }
}
