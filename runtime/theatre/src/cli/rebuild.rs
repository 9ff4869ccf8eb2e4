//! `theatre state rebuild`: states built anew out of lake and log, beside those that are stored.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use theatre_actors::ports::{AccessStore, AuditEntry};
use theatre_actors::time::Clock;

use super::output::{self, rows, value};
use super::process::pseudonym_key;
use super::service::{self, Place};
use super::token::WHO;
use super::{Common, Failure, Output, rule_file};
use theatre_embedded::data_dir::DataDir;
use theatre_operations::rebuild::{Family, OutputList, Rebuilding, Report, Selection, Source};
use theatre_system::clock::SystemClock;

/// Differences of an actor that the table names.
const NAMED: usize = 3;
/// Switched actors that the audit trail names.
const AUDITED: usize = 100;

/// Where records are read.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// The lake's files, then what the log has beyond them.
    Lake,
    /// The log.
    Log,
}

/// States built anew.
#[derive(Debug, Args)]
pub(super) struct Rebuild {
    /// Where the records are read.
    #[arg(long)]
    from: From,
    /// Only actors of this partition.
    #[arg(long)]
    partition: Option<u32>,
    /// Only this robot; may be given several times.
    #[arg(long = "robot", value_name = "ROBOT")]
    robots: Vec<String>,
    /// Put the new states in the place of those that differ, and send what was never sent.
    #[arg(long)]
    switch: bool,
    /// Go on where records are missing that the stored states were made of.
    #[arg(long)]
    allow_gap: bool,
}

impl Rebuild {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        // By the present rules, also where recorded changes stand on earlier ones.
        let place = Place {
            config: service::config(common)?,
            dir: DataDir::new(&common.data),
        };
        // Looked for first: a store that is opened for writing is made where there is none.
        let looking = place.look()?;
        let Some((topics, partitions)) = looking.store()?.layout()? else {
            return Err(Failure::Failed(
                "nothing has run on this store yet: there are no states".to_owned(),
            ));
        };
        let _lock = match place.config.log.url {
            None => Some(place.dir.lock()?),
            Some(_) => None,
        };
        let mut config = place.config.clone();
        config.partitions = partitions;
        let mut params = crate::adapters::params(
            &config,
            &place.dir,
            pseudonym_key(&place.config, &place.dir)?,
        )?;
        params.follow_only(&topics);
        let adapters = if self.switch { place.write()? } else { looking };
        let ports = adapters.ports()?;
        let rebuilding = Rebuilding {
            params: &params,
            ports: &ports,
            source: match self.from {
                From::Lake => Source::Lake,
                From::Log => Source::Log,
            },
            selection: Selection {
                partition: self.partition,
                actors: self.robots.iter().cloned().collect(),
            },
            allow_gap: self.allow_gap,
        };
        let progress = |step: &str| output::progress(format_args!("{step}"));
        let (mut report, mut done) = (Report::of(rebuilding.source), Ok(()));
        if self.switch {
            let access = adapters.access()?;
            self.audit(&*access, None)?;
            done = rebuilding.switch(&mut report, &progress);
            self.audit(&*access, Some(&report))?;
            if done.is_ok() {
                rule_file::stand_on(&place.config, &place.dir)?;
            }
        } else {
            report = rebuilding.look(&progress)?;
        }
        output::progress_done();
        // What was switched before something failed stays so: it is said, too.
        if done.is_ok() || !report.families.is_empty() {
            match common.output {
                Output::Json => value(&json!(report))?,
                Output::Table => print(&report)?,
            }
            say(&report);
        }
        done?;
        if !self.switch && report.differing().next().is_some() {
            return Err(Failure::Difference);
        }
        Ok(())
    }

    /// Notes in the audit trail what is about to be done, and what was.
    fn audit(&self, access: &dyn AccessStore, done: Option<&Report>) -> Result<(), Failure> {
        let which = self
            .partition
            .map(|partition| format!("partition {partition}"));
        let robots = Some(self.robots.join(", ")).filter(|robots| !robots.is_empty());
        let which: Vec<String> = which.into_iter().chain(robots).collect();
        let target = if which.is_empty() {
            "all".to_owned()
        } else {
            which.join(", ")
        };
        let after = done.map(|report| {
            let switched: BTreeSet<&str> = report.differing().map(|it| it.name.as_str()).collect();
            let sent: u64 = report.differing().map(|it| it.never_sent.count()).sum();
            let first: Vec<&&str> = switched.iter().take(AUDITED).collect();
            json!({"differed": switched.len(), "first": first, "outputs": sent}).to_string()
        });
        let from = format!("{:?}", self.from).to_lowercase();
        let entry = AuditEntry {
            at: SystemClock.now(),
            who: WHO.to_owned(),
            from: None,
            action: match done {
                None => "state.rebuild".to_owned(),
                Some(_) => "state.rebuilt".to_owned(),
            },
            target,
            before: Some(json!({"from": from, "allow_gap": self.allow_gap}).to_string()),
            after,
        };
        Ok(access.note(&entry)?)
    }
}

/// Prints a line for each actor that differs.
fn print(report: &Report) -> Result<(), Failure> {
    let line = |family: &Family| {
        vec![
            json!(family.partition),
            json!(family.name),
            json!(family.state),
            json!(family.records),
            json!(family.bytes_before),
            json!(family.bytes_after),
            json!(family.never_sent.count()),
            json!(family.sent_otherwise.count()),
            json!(family.not_concluded.count()),
            json!(what(family)),
        ]
    };
    let lines: Vec<Vec<Value>> = report.differing().map(line).collect();
    rows(
        Output::Table,
        &[
            "partition",
            "actor",
            "state",
            "records",
            "bytes",
            "bytes_new",
            "never_sent",
            "sent_otherwise",
            "not_concluded",
            "differs_in",
        ],
        &lines,
    )
}

/// In what an actor's states differ, shortly.
fn what(family: &Family) -> String {
    let all = &family.differences;
    let word = |difference: &theatre_actors::processor::Difference| {
        let change = match (&difference.before, &difference.after) {
            (None, _) => " (new)",
            (_, None) => " (gone)",
            _ => "",
        };
        let what = format!("{} {}", difference.part, difference.name);
        format!("{}{change}", what.trim_end())
    };
    let mut words: Vec<String> = all.iter().take(NAMED).map(word).collect();
    if all.len() > NAMED {
        words.push(format!("{} more", all.len() - NAMED));
    }
    words.join("; ")
}

/// Says on standard error what it came to.
fn say(report: &Report) {
    for gap in &report.gaps {
        eprintln!("missing: {gap}");
    }
    let sum = |count: fn(&Family) -> u64| report.families.iter().map(count).sum::<u64>();
    let of = |list: fn(&Family) -> &OutputList| {
        report
            .families
            .iter()
            .map(|family| list(family).count())
            .sum::<u64>()
    };
    let repeats = sum(|family| family.repeats);
    if repeats > 0 {
        eprintln!(
            "{repeats} repetitions are not in the lake: counted as the stored states count them"
        );
    }
    let perhaps = sum(|family| family.perhaps_sent);
    if perhaps > 0 {
        eprintln!(
            "{perhaps} outputs were concluded of which the store does not know any more whether they were sent (window_retention): they are not sent"
        );
    }
    let (differing, all) = (report.differing().count(), report.families.len());
    let never = of(|family| &family.never_sent);
    let (otherwise, not) = (
        of(|family| &family.sent_otherwise),
        of(|family| &family.not_concluded),
    );
    let sent = format!(
        "{never} outputs were never sent, {otherwise} were sent with another content, {not} were sent and would not be concluded any more"
    );
    if report.switched {
        eprintln!(
            "{differing} of {all} states differed and were switched; {sent}. What was never sent is sent when Theatre starts"
        );
    } else if differing == 0 {
        eprintln!("all {all} states are those that the records give");
    } else {
        eprintln!(
            "{differing} of {all} states differ; {sent}. Nothing was changed (--switch does it)"
        );
    }
}
