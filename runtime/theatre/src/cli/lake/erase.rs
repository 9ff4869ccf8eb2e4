//! `theatre lake erase`: takes rows out of the lake and the warehouse.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use serde_json::json;
use theatre_actors::ports::Error;
use theatre_operations::erasure::{Erasing, Line, Report, Selection};
use theatre_operations::lease::{ERASURE, Lease};
use theatre_pipeline::{PipelineParams, Ports};
use theatre_system::clock::SystemClock;

use crate::cli::moment::moment;
use crate::cli::output::{progress, progress_done, rows, value};
use crate::cli::process::pseudonym_key;
use crate::cli::service::Place;
use crate::cli::stop::Stop;
use crate::cli::trail::{Trail, Who};
use crate::cli::{Common, Failure, Output};

/// What an erasure does not reach, in words.
const NOT_REACHED: &str = "not reached: the event log and its topics (their own retention), the store's states and outputs, dead letters (theatre dlq purge), \
backups, and earlier versions of objects in a bucket that keeps them";

// Without a doc comment: the command's description is that of its row in the list of commands.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["robots", "before"]))]
pub(in crate::cli) struct Erase {
    /// Rows of this robot; may be said several times.
    #[arg(long = "robot", value_name = "ID", value_parser = robot)]
    robots: Vec<String>,
    /// Rows that happened before: a date, or a time such as 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    before: Option<i64>,
    /// Only in this table; may be said several times. Without it: in those of measurements and of
    /// what was noticed in them (telemetry, robot events, windows, sessions, alerts and what people
    /// did about them, parts). The history of cases, services, versions and registries stays, unless
    /// its tables are named.
    #[arg(long = "dataset", value_name = "NAME")]
    datasets: Vec<String>,
    /// Only say what would be erased.
    #[arg(long)]
    dry_run: bool,
    /// Erase without asking.
    #[arg(long)]
    yes: bool,
    /// Who does it, for the audit trail; default: the user's name.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why, for the audit trail, without personal data.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn robot(id: &str) -> Result<String, String> {
    if id.is_empty() {
        return Err("a robot has a name".to_owned());
    }
    Ok(id.to_owned())
}

impl Erase {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        // Looked for first: a store that is opened for writing is made where there is none.
        let looking = place.look()?.ports()?;
        let params = params(&place, &looking)?;
        let selection = Selection {
            robots: self.robots.iter().cloned().collect(),
            before: self.before,
            datasets: self.datasets.iter().cloned().collect(),
        };
        let asked = Erasing {
            params: &params,
            ports: &looking,
            selection: &selection,
            dry_run: true,
            pause: std::thread::sleep,
        };
        asked.targets().map_err(unusable)?;
        if self.dry_run || !self.yes {
            let mut report = Report::default();
            asked.run(&mut report, &mut || Ok(()), &mut |_| ())?;
            if self.dry_run {
                self.print(common, &report)?;
                eprintln!(
                    "{} rows would be erased; nothing was changed",
                    report.rows()
                );
                return Ok(());
            }
            if common.output == Output::Table {
                print_table(&report)?;
            }
            if !agreed(report.rows())? {
                return Err(Failure::Usage(
                    "nothing was erased: say --yes to erase without being asked".to_owned(),
                ));
            }
        }
        self.erase(common, &place, (&params, looking), &selection)
    }

    fn erase(
        &self,
        common: &Common,
        place: &Place,
        (params, looking): (&PipelineParams, Ports),
        selection: &Selection,
    ) -> Result<(), Failure> {
        let adapters = place.write()?;
        let ports = Ports {
            store: adapters.store()?,
            lake: adapters.lake()?,
            warehouse: match params.warehouse {
                true => adapters.warehouse()?,
                false => looking.warehouse.clone(),
            },
            ..looking
        };
        let access = adapters.access()?;
        let who = Who::new(self.by.clone(), self.reason.clone());
        let trail = Trail::of(&*access, &who)?;
        let alone = match place.config.store.url {
            None => Some(place.dir.lock_erasure()?),
            Some(_) => None,
        };
        let mut lease = Lease::take(ERASURE, &*access, &SystemClock, alone.is_some())?;
        let stop = Stop::listen()?;
        let target = target(selection);
        trail.note("lake.erase", &target, &json!({"selection": selection}))?;
        let erasing = Erasing {
            params,
            ports: &ports,
            selection,
            dry_run: false,
            pause: std::thread::sleep,
        };
        let mut report = Report::default();
        let done = erasing.run(&mut report, &mut || stop.hold(&mut lease), &mut |line| {
            progress(format_args!("{}: {} rows erased", line.table, line.rows));
        });
        progress_done();
        let failed = done.as_ref().err().map(ToString::to_string);
        let what = json!({"selection": selection, "counts": report, "failed": failed});
        let noted = trail.note("lake.erased", &target, &what);
        let printed = self.print(common, &report);
        noted?;
        if stop.is_asked_for() {
            return Err(Failure::Interrupted);
        }
        done?;
        printed?;
        eprintln!("{} rows were erased; {NOT_REACHED}", report.rows());
        if report.left.is_empty() {
            Ok(())
        } else {
            Err(Failure::Difference)
        }
    }

    fn print(&self, common: &Common, report: &Report) -> Result<(), Failure> {
        match common.output {
            Output::Json => {
                let mut printed = json!(report);
                printed["dry_run"] = json!(self.dry_run);
                value(&printed)?;
            }
            Output::Table => print_table(report)?,
        }
        for line in &report.finished {
            eprintln!(
                "of an earlier command that was interrupted, {} rows of {} were erased first",
                line.rows, line.table
            );
        }
        for left in &report.left {
            eprintln!("left: {left}");
        }
        if !report.left.is_empty() {
            eprintln!(
                "what is left can be erased once it is in the lake and loaded: repeat the command then (theatre run --until-drained waits for it)"
            );
        }
        Ok(())
    }
}

/// The pipeline's parameters, by which tables are known.
fn params(place: &Place, ports: &Ports) -> Result<PipelineParams, Failure> {
    let mut config = place.config.clone();
    // The store knows best how many partitions there are: the configuration may be behind.
    let known = ports.store.layout()?;
    let (topics, partitions) = known.unwrap_or((Vec::new(), config.partitions));
    config.partitions = partitions;
    let mut params = crate::adapters::params(
        &config,
        &place.dir,
        pseudonym_key(&place.config, &place.dir)?,
    )?;
    params.follow_only(&topics);
    Ok(params)
}

/// A table that is none is a fault of the command line.
fn unusable(error: Error) -> Failure {
    match error {
        Error::Refused(why) => Failure::Usage(why),
        other => other.into(),
    }
}

/// What is erased, for the audit trail.
fn target(selection: &Selection) -> String {
    let robots: BTreeSet<&str> = selection.robots.iter().map(String::as_str).collect();
    match robots.first() {
        Some(only) if robots.len() == 1 => format!("rows of {only}"),
        Some(_) => format!("rows of {} robots", robots.len()),
        None => "rows before a time".to_owned(),
    }
}

fn print_table(report: &Report) -> Result<(), Failure> {
    let cells = |line: &Line| {
        vec![
            json!(line.table),
            json!(line.rows),
            json!(line.files),
            json!(line.emptied),
            json!(line.warehouse_rows),
            json!(line.table_rows),
        ]
    };
    let lines: Vec<_> = report.lines.iter().map(cells).collect();
    rows(
        Output::Table,
        &[
            "dataset",
            "rows",
            "files",
            "emptied",
            "warehouse_rows",
            "table_rows",
        ],
        &lines,
    )
}

/// Asks at a terminal; elsewhere the answer is no.
fn agreed(count: u64) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("erase these {count} rows for good? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
