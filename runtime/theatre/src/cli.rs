//! The command line: one file a command.
//!
//! A command prints; what it prints of stored data comes from [`theatre_queries`].
//!
//! Data goes to standard output, progress and errors to standard error. Exit codes: 0 done, 1
//! failed, 2 usage or configuration, 3 something that is needed does not answer, 4 a check found a
//! difference or something wrong, 130 interrupted.

mod alerts;
mod api;
#[cfg(feature = "tools")]
mod bench;
mod config;
mod demo;
#[cfg(feature = "tools")]
mod dev;
mod dlq;
mod doctor;
#[cfg(test)]
mod documented;
mod door;
mod event_printer;
mod fleet_writer;
mod healthcheck;
mod lake;
mod left_out;
mod log;
#[cfg(feature = "servers")]
mod migrate;
mod moment;
#[cfg(feature = "notify")]
mod notify;
mod output;
mod procedures;
mod process;
mod rebuild;
mod reconcile;
mod repartition;
mod replay;
mod report;
mod robots;
mod rule_file;
mod rules;
mod schema;
mod send;
mod service;
mod serving;
mod simulate;
mod state;
mod stop;
mod tail;
mod token;
mod top;
#[cfg(feature = "servers")]
mod topics;
mod trail;
mod warehouse;
mod windows;
mod world_writer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use theatre_actors::ports;

#[cfg(not(feature = "notify"))]
use left_out::notify;
#[cfg(not(feature = "tools"))]
use left_out::{bench, dev};
#[cfg(not(feature = "servers"))]
use left_out::{migrate, topics};
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
    #[arg(long, global = true, env = "THEATRE_CONFIG")]
    config: Option<PathBuf>,
    /// How to print.
    #[arg(long = "output", value_name = "OUTPUT", global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same, of the two that every command knows.
    #[arg(skip = Output::Table)]
    output: Output,
    /// Where the admin server listens (/metrics, /livez, /readyz); default from the configuration.
    /// Port 0 picks a free one.
    #[arg(long, global = true)]
    admin: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// For people.
    Table,
    /// For programs: JSON.
    Json,
}

/// What can be asked for on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs: JSON.
    Json,
    /// For spreadsheets: CSV. Of `report` only.
    Csv,
    /// A picture: SVG. Of `report` only.
    Svg,
}

/// Makes the commands of their list: the variants that clap parses, and the call of each one's
/// `run`.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident = $module:ident :: $arguments:ident;)*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$attribute])* $name($module::$arguments),)*
        }

        impl Command {
            fn run(self, common: &Common) -> Result<(), Failure> {
                match self {
                    $(Self::$name(arguments) => arguments.run(common),)*
                }
            }
        }
    };
}

// The list of commands, in the order of `theatre --help`: name, and the type that holds its
// arguments and runs it. Where a build lacks a command's feature, the type is its stand-in of
// `left_out`.
commands! {
    /// A simulated fleet on the pipeline, shown as it happens. Ctrl-C stops it; started again it
    /// goes on.
    #[command(
        after_help = "Examples: theatre demo --for 60s --robots 20 --seed 7\n          theatre demo --servers --for 60s"
    )]
    Demo = demo::Demo;
    /// Recordings through the pipeline: files, folders, or a pipe.
    #[command(
        after_help = "Examples: theatre replay tests/data/ur3/ur3_cobotops.csv --mapping tests/data/ur3/mapping.toml\n          zcat day-1.csv.gz | theatre replay - --mapping mapping.toml --output json"
    )]
    Replay = replay::ReplayArgs;
    /// Looks at a recording and writes schema, mapping and rules for it.
    #[command(
        subcommand,
        after_help = "Example: theatre schema infer tests/data/ur3/ur3_cobotops.csv --write inferred"
    )]
    Schema = schema::Schema;
    /// The service itself, until stopped.
    #[command(
        after_help = "Examples: theatre run --config theatre.toml --data /var/lib/theatre\n          \
                            theatre run --until-drained --config theatre.toml"
    )]
    Run = service::Run;
    /// Asks a process that runs whether it is alive, or ready: exit code 0 if it is.
    #[command(
        after_help = "Examples: theatre healthcheck --config theatre.toml\n          theatre healthcheck --ready --admin 127.0.0.1:9464"
    )]
    Healthcheck = healthcheck::Healthcheck;
    /// Shows or changes the levels of the log of a process that runs; they last until it ends.
    #[command(
        after_help = "Examples: theatre log\n          theatre log warn,theatre_kafka=debug --admin 127.0.0.1:9464\n          theatre log --reset"
    )]
    Log = log::Log;
    /// Shows processes that run, each second: partitions, rates, lag, saves, lake, alerts, memory.
    /// q or Ctrl-C ends it.
    #[command(
        after_help = "Examples: theatre top\n          theatre top --admin 127.0.0.1:9464,127.0.0.1:9465\n          theatre top --once --output json"
    )]
    Top = top::Top;
    /// Asks everything that the configuration names (servers, topics, tables, rights, clocks, disk)
    /// and says what is wrong and how to put it right; exits with 4 where something is.
    #[command(
        after_help = "Examples: theatre doctor --config theatre.toml\n          theatre doctor --strict --write --output json --config theatre.toml"
    )]
    Doctor = doctor::Doctor;
    /// The HTTP interface and the page, without a pipeline: as many processes as one likes on the
    /// same servers. `theatre run` serves the same.
    #[command(
        after_help = "Examples: theatre api --config theatre.toml\n          theatre api --document"
    )]
    Api = api::Api;
    /// Who may use the HTTP interface.
    #[command(
        subcommand,
        after_help = "Example: theatre token create --role operator --name gateway-3"
    )]
    Token = token::Token;
    /// Writes a simulated fleet into the event log and does nothing else.
    #[command(
        after_help = "Examples:\n  \
            theatre simulate --robots 5 --ticks 600 --data data\n  \
            theatre simulate --live --config theatre.toml\n  \
            theatre simulate --profile fleet --records 1000000 --data data/fleet\n  \
            theatre simulate --profile reference --data data/reference --truth truth.jsonl\n  \
            theatre simulate --profile degrading --days 180 --interval 60s --data data/months\n  \
            theatre simulate --profile demo --speed 10 --data data/demo\n  \
            theatre simulate --profile stress --hz 1000 --for 10s --robots 10 --data data/stress\n\
            A run that was killed goes on where it stopped, with the same flags. docs/simulate.md has more."
    )]
    Simulate = simulate::Simulate;
    /// Appends records of the shipped schemas to their topics, of services and registries above all:
    /// one JSON object a line. Times are as 2026-01-31T08:00:00Z, decimals may be texts.
    #[command(
        after_help = "Example: theatre send maintenance_logs services.ndjson --data data"
    )]
    Send = send::Send;
    /// What is known of robots.
    #[command(subcommand, after_help = "Example: theatre robots list")]
    Robots = robots::Robots;
    /// What is known of procedures.
    #[command(subcommand, after_help = "Example: theatre procedures list")]
    Procedures = procedures::Procedures;
    /// Conditions that are open, all that ever moved, and what people do about them: acknowledge,
    /// assign, silence, close.
    #[command(
        subcommand,
        after_help = "Examples: theatre alerts list\n          theatre alerts ack --robot robot-0001 --comment \"on my way\""
    )]
    Alerts = alerts::Alerts;
    /// The rules that hold, changes of them while Theatre runs, and how a rule file would have done.
    #[command(
        subcommand,
        after_help = "Example: theatre rules test rules.toml --from 2026-01-01"
    )]
    Rules = rules::Rules;
    /// Window aggregates of a robot, late corrections merged, as long as the store keeps them
    /// (window_retention).
    #[command(
        subcommand,
        after_help = "Example: theatre windows show robot-0001 --window 10s"
    )]
    Windows = windows::Windows;
    /// Files of the lake, and those that were set aside.
    #[command(subcommand, after_help = "Example: theatre lake list")]
    Lake = lake::Lake;
    /// The warehouse.
    #[command(
        subcommand,
        after_help = "Example: theatre warehouse query \"SELECT rule_id, count(*) FROM maintenance_alerts GROUP BY 1\""
    )]
    Warehouse = warehouse::Warehouse;
    /// The warehouse's reports: as a table, as CSV, as JSON, or as a picture.
    #[command(
        after_help = "Examples: theatre report list\n          theatre report busiest_robots\n          theatre report quarterly_growth --output svg --out growth.svg"
    )]
    Report = report::ReportArgs;
    /// Dead letters: records that could not be applied, and why; sent again, or erased.
    #[command(
        subcommand,
        after_help = "Examples: theatre dlq list\n          theatre dlq replay --reason unknown_schema --dry-run"
    )]
    Dlq = dlq::Dlq;
    /// Recipients of what happens to conditions: what could not be delivered, sent again; a test.
    #[cfg_attr(
        feature = "notify",
        command(
            subcommand,
            after_help = "Examples: theatre notify test pager --config theatre.toml\n          theatre notify list --output json"
        )
    )]
    #[cfg_attr(not(feature = "notify"), command(hide = true))]
    Notify = notify::Notify;
    /// Alerts and outcomes as they come, from their topics.
    #[command(after_help = "Example: theatre tail surgical.maintenance.alerts.v1 --from-start")]
    Tail = tail::Tail;
    /// Topics of a log on Kafka: makes them, compares them.
    #[cfg_attr(feature = "servers", command(subcommand))]
    #[cfg_attr(not(feature = "servers"), command(hide = true))]
    Topics = topics::Topics;
    /// Where partitions stand; more of them; their states built anew.
    #[command(subcommand, after_help = "Example: theatre state show")]
    State = state::State;
    /// How fast the core and the whole pipeline are on this machine, and how long an alert takes.
    #[cfg_attr(feature = "tools", command(subcommand, after_help = "Example: theatre bench core"))]
    #[cfg_attr(not(feature = "tools"), command(hide = true))]
    Bench = bench::Bench;
    /// Proves that nothing is lost, there twice, or still on its way; exits with 4 where something
    /// is.
    ///
    /// By topic and partition: read = applied + late + duplicate + dead, and lake and warehouse,
    /// where there are any, hold each record once. Every output that the store has is exported
    /// once, and what was loaded is in the warehouse once. What waits is a column of its own: for
    /// its processor, the lake, the export, the warehouse. On a system that runs something always
    /// does: --allow-pending.
    #[command(after_help = "Example: theatre reconcile --config theatre.toml --output json")]
    Reconcile = reconcile::Reconcile;
    /// Local servers to try the production adapters on: PostgreSQL, Kafka, an object store, a
    /// warehouse.
    #[cfg_attr(feature = "tools", command(subcommand,
        after_help = "Example: theatre dev up && theatre --config data/dev/theatre.toml demo"))]
    #[cfg_attr(not(feature = "tools"), command(hide = true))]
    Dev = dev::Dev;
    /// Makes or renews the tables of the checkpoint store, or of the warehouse; embedded ones need
    /// none of it.
    #[cfg_attr(feature = "servers", command(after_help = "Example: theatre migrate --config theatre.toml && theatre migrate --warehouse --config theatre.toml"))]
    #[cfg_attr(not(feature = "servers"), command(hide = true))]
    Migrate = migrate::Migrate;
    /// The configuration.
    #[command(
        subcommand,
        after_help = "Example: theatre config check --config theatre.toml"
    )]
    Config = config::ConfigCommand;
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

impl From<theatre_api::rule_changes::Fault> for Failure {
    fn from(fault: theatre_api::rule_changes::Fault) -> Self {
        match fault {
            theatre_api::rule_changes::Fault::Port(error) => error.into(),
            conflict => Self::Failed(conflict.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Says why a command failed: a line for people, or an event where the log is for programs. With
/// JSON as the output that is an object, unless one was printed already.
fn say_failure(output: Output, why: &str, code: u8) -> ExitCode {
    if output == Output::Json && !output::has_written() {
        let failure = serde_json::json!({"error": why, "exit_code": code});
        // Standard output may be closed: standard error says it in any case.
        drop(output::value(&failure));
    }
    if theatre_telemetry::logs::is_json() {
        tracing::error!(code, why, "failed");
    } else {
        eprintln!("theatre: {why}");
    }
    ExitCode::from(code)
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let mut cli = Cli::parse();
    if cli.common.format == Format::Json {
        cli.common.output = Output::Json;
    }
    let output = cli.common.output;
    let for_reports = matches!(cli.common.format, Format::Csv | Format::Svg);
    if for_reports && !matches!(cli.command, Command::Report(_)) {
        let why = "only `theatre report` prints CSV and pictures: take --output json";
        return say_failure(output, why, 2);
    }
    match cli.command.run(&cli.common) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(why)) => say_failure(output, &why, 2),
        Err(Failure::Failed(why)) => say_failure(output, &why, 1),
        Err(Failure::Unreachable(why)) => say_failure(output, &why, 3),
        Err(Failure::Difference) => ExitCode::from(4),
        Err(Failure::Interrupted) => ExitCode::from(130),
    }
}
