//! The command line: one file per group of commands.
//!
//! Data goes to standard output, progress and errors to standard error. Exit codes: 0 done, 1
//! failed, 2 usage or configuration, 3 something that is needed does not answer, 4 a check found a
//! difference, 130 interrupted.

#[cfg(feature = "tools")]
mod bench;
mod checks;
#[cfg(feature = "tools")]
mod dev;
#[cfg(all(test, feature = "tools"))]
mod documented;
mod event_printer;
mod looks;
#[cfg(feature = "servers")]
mod migrate;
mod output;
mod repartition;
mod service;
mod source;
mod storage;
#[cfg(feature = "servers")]
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use theatre_actors::ports;

use theatre_config::ConfigError;

/// A live actor for every robot and every procedure: alerts, outcomes, windows, a lake and a
/// warehouse, each exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "theatre",
    version,
    after_help = "Try it:  theatre demo\nReal input:  theatre replay tests/data/ur3/ur3_cobotops.csv --mapping tests/data/ur3/mapping.toml\n\
                  More of what happens, on standard error:  THEATRE_LOG=info theatre run"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// Data directory: event log, store, warehouse, lake, keys. One process at a time runs on it.
    #[arg(long, global = true, default_value = "data")]
    data: PathBuf,
    /// Configuration file; absent: the defaults. Variables THEATRE__... come on top.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// How to print.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Where the admin server listens (/metrics, /livez, /readyz); default from the configuration.
    /// Port 0 picks a free one.
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
    /// A simulated fleet on the pipeline, told as it happens. Ctrl-C stops it; started again it
    /// goes on.
    #[command(
        after_help = "Examples: theatre demo --for 60s --robots 20 --seed 7\n          theatre demo --servers --for 60s"
    )]
    Demo(source::Demo),
    /// Rows of a CSV file through the pipeline.
    #[command(
        after_help = "Example: theatre replay tests/data/ur3/ur3_cobotops.csv --mapping tests/data/ur3/mapping.toml"
    )]
    Replay(source::ReplayArgs),
    /// The service itself, until stopped.
    #[command(
        after_help = "Examples: theatre run --config theatre.toml --data /var/lib/theatre\n          \
                            theatre run --until-drained --config theatre.toml"
    )]
    Run(service::Run),
    /// Writes a simulated fleet into the event log and does nothing else.
    #[command(after_help = "Example: theatre simulate --robots 5 --ticks 600 --data data")]
    Simulate(source::Simulate),
    /// What is known of robots.
    #[command(subcommand, after_help = "Example: theatre robots list")]
    Robots(looks::Robots),
    /// What is known of procedures.
    #[command(subcommand, after_help = "Example: theatre procedures list")]
    Procedures(looks::Procedures),
    /// Conditions that are open, and all that ever moved.
    #[command(
        subcommand,
        after_help = "Example: theatre alerts history --robot robot-0001"
    )]
    Alerts(looks::Alerts),
    /// Window aggregates of a robot, late corrections merged, as long as the store keeps them
    /// (window_retention).
    #[command(
        subcommand,
        after_help = "Example: theatre windows show robot-0001 --window 10s"
    )]
    Windows(looks::Windows),
    /// Files of the lake, and those that were set aside.
    #[command(subcommand, after_help = "Example: theatre lake list")]
    Lake(storage::Lake),
    /// The warehouse.
    #[command(
        subcommand,
        after_help = "Example: theatre warehouse query \"SELECT rule_id, count(*) FROM maintenance_alerts GROUP BY 1\""
    )]
    Warehouse(storage::Warehouse),
    /// Dead letters: records that could not be applied, and why.
    #[command(subcommand, after_help = "Example: theatre dlq list")]
    Dlq(storage::Dlq),
    /// Alerts and outcomes as they come, from their topics.
    #[command(after_help = "Example: theatre tail surgical.maintenance.alerts.v1 --from-start")]
    Tail(storage::Tail),
    #[cfg(feature = "servers")]
    /// Topics of a log on Kafka: makes them, compares them.
    #[command(subcommand)]
    Topics(topics::Topics),
    /// Where partitions stand; more of them.
    #[command(subcommand, after_help = "Example: theatre state show")]
    State(storage::State),
    #[cfg(feature = "tools")]
    /// How fast the core and the whole pipeline are on this machine, and how long an alert takes.
    #[command(subcommand, after_help = "Example: theatre bench core")]
    Bench(bench::Bench),
    /// Proves that no input record is lost or there twice; exits with 4 where one is.
    ///
    /// By topic and partition: read = applied + late + duplicate + dead, and lake and warehouse,
    /// where there are any, hold each record once. Of alerts and windows it compares how many rows
    /// were loaded and how many the warehouse has; outcomes are not counted. While Theatre runs,
    /// what is just on its way may count as a difference: run it when everything is drained.
    #[command(after_help = "Example: theatre reconcile --config theatre.toml --output json")]
    Reconcile,
    #[cfg(feature = "tools")]
    /// Local servers to try the production adapters on: PostgreSQL, Kafka, an object store, a
    /// warehouse.
    #[command(
        subcommand,
        after_help = "Example: theatre dev up && theatre --config data/dev/theatre.toml demo"
    )]
    Dev(dev::Dev),
    #[cfg(feature = "servers")]
    /// Makes or renews the tables of the checkpoint store, or of the warehouse; embedded ones need
    /// none of it.
    #[command(
        after_help = "Example: theatre migrate --config theatre.toml && theatre migrate --warehouse --config theatre.toml"
    )]
    Migrate(migrate::Migrate),
    /// The configuration.
    #[command(
        subcommand,
        after_help = "Example: theatre config check --config theatre.toml"
    )]
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
        #[cfg(feature = "servers")]
        Command::Topics(topics) => topics.run(common),
        Command::State(state) => state.run(common),
        #[cfg(feature = "tools")]
        Command::Bench(bench) => bench.run(common),
        Command::Reconcile => checks::reconcile(common),
        #[cfg(feature = "tools")]
        Command::Dev(dev) => dev.run(common),
        #[cfg(feature = "servers")]
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
