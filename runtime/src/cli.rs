//! The command line: one file per family of commands.
//!
//! Data goes to standard output, progress and errors to standard error. Exit codes: 0 done, 1 failed, 2 usage or configuration,
//! 3 something that is needed does not answer, 4 a check found a difference, 130 interrupted.

mod bench;
mod checks;
mod dev;
mod looks;
mod migrate;
mod output;
mod repartition;
mod service;
mod source;
mod storage;
mod story;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use theatre_actors::ports;

use crate::config::ConfigError;

/// A live actor for every robot and every procedure: alerts, outcomes, windows, a lake and a warehouse, each exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "theatre",
    version,
    after_help = "Try it:  theatre demo\nReal input:  theatre replay tests/data/ur3/ur3_cobotops.csv --mapping tests/data/ur3/mapping.toml"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// Data directory: event log, store, warehouse, lake, keys.
    #[arg(long, global = true, default_value = "data")]
    data: PathBuf,
    /// Configuration file; absent: the defaults.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// How to print.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Where the admin server listens (/metrics, /livez, /readyz); default from the configuration. Port 0 picks a free one.
    #[arg(long, global = true)]
    admin: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs: JSON.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A simulated fleet on the pipeline, told as it happens. Ctrl-C stops it; started again it goes on.
    #[command(after_help = "Examples: theatre demo --for 60s --robots 20 --seed 7\n          theatre demo --servers --for 60s")]
    Demo(source::Demo),
    /// Rows of a CSV file through the pipeline.
    #[command(after_help = "Example: theatre replay tests/data/ur3/ur3_cobotops.csv --mapping tests/data/ur3/mapping.toml")]
    Replay(source::ReplayArgs),
    /// The service itself, until stopped.
    #[command(after_help = "Example: theatre run --config theatre.toml --data /var/lib/theatre")]
    Run(service::Run),
    /// Writes a simulated fleet into the event log and does nothing else.
    #[command(after_help = "Example: theatre simulate --robots 5 --ticks 600 --data data")]
    Simulate(source::Simulate),
    /// What is known of robots.
    #[command(subcommand)]
    Robots(looks::Robots),
    /// What is known of procedures.
    #[command(subcommand)]
    Procedures(looks::Procedures),
    /// Conditions that are open, and all that ever moved.
    #[command(subcommand)]
    Alerts(looks::Alerts),
    /// Window aggregates of a robot, late corrections merged.
    #[command(subcommand)]
    Windows(looks::Windows),
    /// Files of the lake.
    #[command(subcommand)]
    Lake(storage::Lake),
    /// The warehouse.
    #[command(subcommand)]
    Warehouse(storage::Warehouse),
    /// Dead letters.
    #[command(subcommand)]
    Dlq(storage::Dlq),
    /// Alerts and outcomes as they come, from their topics.
    #[command(after_help = "Example: theatre tail surgical.maintenance.alerts.v1 --from-start")]
    Tail(storage::Tail),
    /// Topics of a log on Kafka: makes them, compares them.
    #[command(subcommand)]
    Topics(topics::Topics),
    /// Where partitions stand.
    #[command(subcommand)]
    State(storage::State),
    /// How fast the core is on this machine.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Proves that nothing is lost and nothing is there twice; exits with 4 where something is.
    Reconcile,
    /// Local servers to try the production adapters on: PostgreSQL, Kafka, an object store.
    #[command(subcommand)]
    Dev(dev::Dev),
    /// Makes or renews the tables of the checkpoint store, or of the warehouse; embedded ones need none of it.
    #[command(after_help = "Example: theatre migrate --config theatre.toml && theatre migrate --warehouse --config theatre.toml")]
    Migrate(migrate::Migrate),
    /// The configuration.
    #[command(subcommand)]
    Config(checks::ConfigCommand),
}

/// Why a command failed, and its exit code.
#[derive(Debug)]
enum Failure {
    Usage(String),
    Failed(String),
    Unreachable(String),
    Difference,
    Interrupted,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<ports::Error> for Failure {
    fn from(error: ports::Error) -> Self {
        match error {
            ports::Error::Unavailable { .. } => Self::Unreachable(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let common = &cli.common;
    let done = match cli.command {
        Command::Demo(demo) => demo.run(common),
        Command::Replay(replay) => replay.run(common),
        Command::Run(run) => run.run(common),
        Command::Simulate(simulate) => simulate.run(common),
        Command::Robots(robots) => robots.run(common),
        Command::Procedures(procedures) => procedures.run(common),
        Command::Alerts(alerts) => alerts.run(common),
        Command::Windows(windows) => windows.run(common),
        Command::Lake(lake) => lake.run(common),
        Command::Warehouse(warehouse) => warehouse.run(common),
        Command::Dlq(dlq) => dlq.run(common),
        Command::Tail(tail) => tail.run(common),
        Command::Topics(topics) => topics.run(common),
        Command::State(state) => state.run(common),
        Command::Bench(bench) => bench.run(common),
        Command::Reconcile => checks::reconcile(common),
        Command::Dev(dev) => dev.run(common),
        Command::Migrate(migrate) => migrate.run(common),
        Command::Config(config) => config.run(common),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(why)) => {
            eprintln!("theatre: {why}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(why)) => {
            eprintln!("theatre: {why}");
            ExitCode::from(1)
        }
        Err(Failure::Unreachable(why)) => {
            eprintln!("theatre: {why}");
            ExitCode::from(3)
        }
        Err(Failure::Difference) => ExitCode::from(4),
        Err(Failure::Interrupted) => ExitCode::from(130),
    }
}
