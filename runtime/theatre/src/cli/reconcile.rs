//! `theatre reconcile`: proves that no input record is lost or there twice.

mod metrics;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::{rows, value};
use super::process::pseudonym_key;
use super::service::Place;
use super::{Common, Failure, Output};
use theatre_operations::reconcile::{self, Line, OutputLine, Report};

// Without a doc comment: the command's description is that of its row in the list of commands.
#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// What is on its way is no failure: for a look at a system that runs.
    #[arg(long)]
    allow_pending: bool,
    /// Write what was found to this file as metrics, for the textfile collector of Prometheus's node
    /// exporter: theatre_reconcile_gap_records and when that was.
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    /// Push the same to a Prometheus Pushgateway, for a job that keeps no file: its address, as in
    /// http://pushgateway:9091, or with a group of its own,
    /// http://pushgateway:9091/metrics/job/theatre_reconcile/namespace/prod.
    #[arg(long, value_name = "URL", value_parser = metrics::group)]
    metrics_push: Option<String>,
}

impl Reconcile {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        let ports = place.look()?.ports()?;
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
        let report = reconcile::run(&params, &ports)?;
        match common.output {
            Output::Json => value(&json!(report))?,
            Output::Table => print_table(&report)?,
        }
        print_notes(&report);
        self.publish(&report)?;
        if !report.gaps.is_empty() {
            return Err(Failure::Difference);
        }
        if !report.pending.is_empty() {
            eprintln!(
                "in = applied + late + duplicate + dead of what was read; not everything is there yet: {}",
                report.pending.join("; ")
            );
            return if self.allow_pending {
                Ok(())
            } else {
                Err(Failure::Difference)
            };
        }
        let held = match (params.lake, params.warehouse) {
            (true, true) => ", and lake and warehouse hold every record once",
            (true, false) => ", and the lake holds every record once; there is no warehouse",
            _ => "; there is no lake",
        };
        eprintln!("in = applied + late + duplicate + dead{held}");
        Ok(())
    }

    /// Writes and pushes what was found as metrics, where that is asked for.
    fn publish(&self, report: &Report) -> Result<(), Failure> {
        if self.metrics_file.is_none() && self.metrics_push.is_none() {
            return Ok(());
        }
        let text = metrics::text(report)?;
        if let Some(file) = &self.metrics_file {
            metrics::write(file, &text)?;
        }
        match &self.metrics_push {
            Some(group) => metrics::push(group, &text),
            None => Ok(()),
        }
    }
}

/// Prints a line for each topic and partition in which there is anything.
fn print_table(report: &Report) -> Result<(), Failure> {
    let any = |line: &&Line| {
        let seen = line.applied + line.late + line.duplicate + line.dead;
        seen + line.read + line.pending + line.lake_rows + line.warehouse_rows > 0
    };
    let cells = |line: &Line| {
        vec![
            json!(line.topic),
            json!(line.partition),
            json!(line.read),
            json!(line.applied),
            json!(line.late),
            json!(line.duplicate),
            json!(line.dead),
            json!(line.pending),
            json!(line.lake_rows),
            json!(line.erased),
            json!(line.lake_pending),
            json!(line.warehouse_rows),
            json!(line.warehouse_pending),
            json!(line.trimmed_below),
        ]
    };
    let lines: Vec<_> = report.lines.iter().filter(any).map(cells).collect();
    rows(
        Output::Table,
        &[
            "topic",
            "partition",
            "in",
            "applied",
            "late",
            "duplicate",
            "dead",
            "pending",
            "lake",
            "erased",
            "lake_pending",
            "warehouse",
            "warehouse_pending",
            "trimmed_below",
        ],
        &lines,
    )?;
    print_outputs(report)
}

/// Prints a line for each table of outputs in which there is anything.
fn print_outputs(report: &Report) -> Result<(), Failure> {
    let cells = |line: &OutputLine| {
        vec![
            json!(line.table),
            json!(line.stored),
            json!(line.export_pending),
            json!(line.lake_rows),
            json!(line.erased),
            json!(line.lake_pending),
            json!(line.warehouse_rows),
            json!(line.warehouse_pending),
            json!(line.table_rows),
        ]
    };
    let any = |line: &&OutputLine| {
        let seen = line.erased + line.stored + line.lake_rows + line.lake_pending;
        seen + line.table_rows.unwrap_or(0) > 0
    };
    let lines: Vec<_> = report.outputs.iter().filter(any).map(cells).collect();
    if lines.is_empty() {
        return Ok(());
    }
    super::output::write("\n")?;
    rows(
        Output::Table,
        &[
            "outputs",
            "stored",
            "export_pending",
            "lake",
            "erased",
            "lake_pending",
            "warehouse",
            "warehouse_pending",
            "table",
        ],
        &lines,
    )
}

/// Says on standard error what limits the proof, and what does not add up.
fn print_notes(report: &Report) {
    if report.repartitioned {
        eprintln!(
            "robots have moved between partitions: applied, late, duplicate and dead are of those that live there now and add up by topic"
        );
    }
    for line in report.lines.iter().filter(|line| line.trimmed_below > 0) {
        eprintln!(
            "{} partition {}: offsets below {} were deleted, what was there is not provable any more",
            line.topic, line.partition, line.trimmed_below
        );
    }
    let purged: u64 = report.lines.iter().map(|line| line.purged).sum();
    if purged > 0 {
        eprintln!(
            "of the late and the dead, {purged} are erased (theatre dlq purge), and count as ever"
        );
    }
    let erased: Vec<String> = (report.erased.iter())
        .map(|(table, rows)| format!("{rows} of {table}"))
        .collect();
    if !erased.is_empty() {
        eprintln!(
            "rows were erased from lake and warehouse (theatre lake erase), and are no gap: {}",
            erased.join(", ")
        );
    }
    for gap in &report.gaps {
        eprintln!("gap: {gap}");
    }
}
