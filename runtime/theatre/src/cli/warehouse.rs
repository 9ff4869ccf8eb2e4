//! `theatre warehouse`: queries of the warehouse, a copy of it for other programs, and the users of
//! its database.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::output::rows;
use super::service::Place;
use super::{Common, Failure};

/// Looks at the warehouse, copies it, and lets users in.
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
    /// Copies the embedded warehouse into a new SQLite file of plain tables and views, for sqlite3
    /// and other programs that read such files. Theatre may be running: all is of one moment.
    #[command(
        after_help = "Example: theatre warehouse copy fleet.sqlite, then\n         \
                            sqlite3 fleet.sqlite \"SELECT * FROM alerts WHERE is_open\""
    )]
    Copy {
        /// The file, which is not there yet.
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Makes users of the database on Redshift that are missing, and gives each its rights, also on
    /// tables that will be made; no one else may make any after that. It wants a user who may do
    /// so: the one in [warehouse] secret_arn.
    #[command(
        after_help = "Example: theatre warehouse users --load IAMR:theatre-prod-pipeline --read IAMR:theatre-prod-api"
    )]
    Users {
        /// A user that makes tables and loads them, such as IAMR: and the name of a role of IAM;
        /// can be repeated.
        #[arg(long, required = true, value_name = "USER")]
        load: Vec<String>,
        /// A user that reads tables and views, and nothing else; can be repeated.
        #[arg(long, value_name = "USER")]
        read: Vec<String>,
    },
}

impl Warehouse {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Query { sql } => {
                let result = Place::of(common)?.look()?.warehouse()?.query(&sql)?;
                let headings: Vec<&str> = result.columns.iter().map(String::as_str).collect();
                rows(common.output, &headings, &result.rows)
            }
            Self::Copy { to } => copy(common, &to),
            Self::Users { load, read } => let_in(common, load, read),
        }
    }
}

fn copy(common: &Common, to: &Path) -> Result<(), Failure> {
    let tables = Place::of(common)?.look()?.copy_warehouse(to)?;
    let lines: Vec<_> = tables
        .into_iter()
        .map(|table| vec![json!(table.name), json!(table.rows)])
        .collect();
    rows(common.output, &["table", "rows"], &lines)
}

#[cfg(feature = "redshift")]
fn let_in(common: &Common, load: Vec<String>, read: Vec<String>) -> Result<(), Failure> {
    let config = super::service::config(common)?;
    let Some(url) = &config.warehouse.url else {
        return Err(Failure::Usage(
            "[warehouse] url is not set: the embedded warehouse is a file, which has no users"
                .to_owned(),
        ));
    };
    let io = theatre_system::blocking::IoRuntime::start()?;
    let users = theatre_redshift::Users { load, read };
    let made = theatre_redshift::let_in(url, &config.warehouse, &users, &io)?;
    let line = |user: &String, may: &str| {
        let state = if made.contains(user) { "made" } else { "there" };
        vec![json!(user), json!(may), json!(state)]
    };
    let load = users.load.iter().map(|user| line(user, "load"));
    let read = users.read.iter().map(|user| line(user, "read"));
    let lines: Vec<_> = load.chain(read).collect();
    rows(common.output, &["user", "may", "state"], &lines)
}

#[cfg(not(feature = "redshift"))]
fn let_in(_: &Common, _: Vec<String>, _: Vec<String>) -> Result<(), Failure> {
    Err(super::left_out::refusal(
        "theatre warehouse users",
        "redshift",
    ))
}
