//! `theatre state repartition`: more partitions, and robots where they belong among them.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::output::{rows, value};
use super::process::pseudonym_key;
use super::service::Place;
use super::{Common, Failure, Output};
use theatre_operations::repartition::{Repartitioning, Report, State};

/// More partitions.
#[derive(Debug, Args)]
pub(super) struct Repartition {
    /// Partitions afterwards: more than there are.
    #[arg(long)]
    partitions: u32,
    /// Only say which robots would move where.
    #[arg(long)]
    dry_run: bool,
}

impl Repartition {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        // Looked for first: a store that is opened for writing is made where there is none.
        let looking = place.look()?;
        let known = looking.store()?.layout()?;
        let key = pseudonym_key(&place.config, &place.dir)?;
        let mut params = crate::adapters::params(&place.config, &place.dir, key)?;
        params.follow_only(&known.unwrap_or_default().0);
        let report = if self.dry_run {
            let (log, store) = (looking.log()?, looking.store()?);
            Repartitioning {
                params: &params,
                log: &*log,
                store: &*store,
                partitions: self.partitions,
            }
            .look()?
        } else {
            let adapters = place.write()?;
            let _lock = place.dir.lock()?;
            let (log, store) = (adapters.log()?, adapters.store()?);
            Repartitioning {
                params: &params,
                log: &*log,
                store: &*store,
                partitions: self.partitions,
            }
            .run(&|step| eprintln!("{step}"))?
        };
        print(common.output, &report)?;
        eprintln!("{}", summary(&report));
        Ok(())
    }
}

/// Robots one by one where nothing is done yet, by partition where it is.
fn print(output: Output, report: &Report) -> Result<(), Failure> {
    if output == Output::Json {
        return value(&json!(report));
    }
    if report.state == State::Planned {
        let lines: Vec<_> = report
            .moved
            .iter()
            .map(|robot| vec![json!(robot.robot_id), json!(robot.from), json!(robot.to)])
            .collect();
        return rows(output, &["robot_id", "from", "to"], &lines);
    }
    let mut flows: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for robot in &report.moved {
        *flows.entry((robot.from, robot.to)).or_default() += 1;
    }
    let lines: Vec<_> = flows
        .into_iter()
        .map(|((from, to), robots)| vec![json!(from), json!(to), json!(robots)])
        .collect();
    rows(output, &["from", "to", "robots"], &lines)
}

fn summary(report: &Report) -> String {
    let Report {
        partitions_before: before,
        partitions: after,
        robots,
        ..
    } = report;
    let moved = report.moved.len();
    match report.state {
        State::Already => format!("the store has {after} partitions already: nothing to do"),
        State::Planned => format!(
            "{moved} of {robots} robots would move, from {before} partitions to {after}; nothing was changed"
        ),
        State::Done => format!(
            "{moved} of {robots} robots moved, from {before} partitions to {after}. Set partitions = {after} in the configuration and start Theatre again, \
             then the producers"
        ),
    }
}
