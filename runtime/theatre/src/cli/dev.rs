//! `theatre dev`: local servers for a person to try the production adapters on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::output::rows;
use super::{Common, Failure};
use theatre_dev::stack::{Stack, Status, serve};

/// Local servers, in the folder `dev` of the data directory.
#[derive(Debug, Subcommand)]
pub(super) enum Dev {
    /// Starts PostgreSQL, Kafka, an object store and a warehouse in the background and writes a
    /// configuration that names them.
    #[command(
        after_help = "Example: theatre dev up && theatre --config data/dev/theatre.toml demo"
    )]
    Up,
    /// Stops them; what they stored stays.
    #[command(after_help = "Example: theatre dev down")]
    Down,
    /// Says what runs where, and whether it answers; exits with 1 unless all of them do.
    #[command(after_help = "Example: theatre dev status --output json")]
    Status,
    /// The object store and the warehouse themselves, until a signal ends them; what `up` starts.
    #[command(hide = true)]
    Serve {
        /// Where the object store keeps everything.
        folder: PathBuf,
        /// URL of the PostgreSQL in which the warehouse keeps its tables.
        postgres: String,
    },
}

/// The servers of a command's data directory.
pub(super) fn stack(common: &Common) -> Stack {
    Stack::new(&common.data.join("dev"))
}

impl Dev {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let stack = stack(common);
        match self {
            Self::Up => {
                up(&stack)?;
                print(common, &stack.status()?)?;
                let config = stack.config_file();
                eprintln!(
                    "next: theatre --data {} --config {} run",
                    common.data.display(),
                    config.display()
                );
                Ok(())
            }
            Self::Serve { folder, postgres } => serve_until_stopped(&folder, &postgres),
            Self::Down => Ok(stack.down(|server| eprintln!("stopping {server}"))?),
            Self::Status => {
                let servers = stack.status()?;
                print(common, &servers)?;
                let silent: Vec<&str> = servers
                    .iter()
                    .filter(|status| !status.answers)
                    .map(|status| status.server)
                    .collect();
                if silent.is_empty() {
                    Ok(())
                } else {
                    Err(Failure::Failed(format!(
                        "not up: {} (theatre dev up starts them)",
                        silent.join(", ")
                    )))
                }
            }
        }
    }
}

/// Brings the servers up and reports each one on standard error.
pub(super) fn up(stack: &Stack) -> Result<(), Failure> {
    Ok(stack.up(|server| eprintln!("starting {server}"))?)
}

fn serve_until_stopped(folder: &Path, postgres: &str) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, stop.clone())?;
    let _stores = serve(folder, postgres)?;
    while !stop.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn print(common: &Common, servers: &[Status]) -> Result<(), Failure> {
    let line = |status: &Status| {
        vec![
            json!(status.server),
            json!(status.answers),
            json!(status.address),
            json!(status.log),
        ]
    };
    rows(
        common.output,
        &["server", "answers", "address", "log"],
        &servers.iter().map(line).collect::<Vec<_>>(),
    )
}
