//! `theatre dlq purge`: erases what dead letters hold.

use clap::Args;
use serde_json::json;
use theatre_operations::dead_letters::purge::{Purging, Report};
use theatre_operations::lease::{DEAD_LETTERS, Lease};
use theatre_system::clock::SystemClock;

use super::missing;
use super::which::{Which, alone, left};
use crate::cli::output::{if_json, progress, progress_done};
use crate::cli::service::Place;
use crate::cli::stop::Stop;
use crate::cli::trail::{Trail, Who};
use crate::cli::{Common, Failure};

// Without a doc comment: the command's description is that of its row in the list of commands.
#[derive(Debug, Args)]
pub(in crate::cli) struct Purge {
    #[command(flatten)]
    which: Which,
    /// Only say how many there are.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    who: Who,
}

impl Purge {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        // Looked for first: a store that is opened for writing is made where there is none.
        let store = place.look()?.store()?;
        let selection = self
            .which
            .selection(&store.layout()?.unwrap_or_default().0)?;
        let purging = Purging {
            store: &*store,
            log: None,
            clock: &SystemClock,
            selection: &selection,
            dry_run: true,
        };
        let mut report = Report::default();
        if self.dry_run {
            purging.run(&mut report, &mut || Ok(()), &mut |_| ())?;
            return self.end(common, &report);
        }
        let adapters = place.write()?;
        let (store, access) = (adapters.store()?, adapters.access()?);
        let trail = Trail::of(&*access, &self.who)?;
        let alone = alone(&place)?;
        let mut lease = Lease::take(DEAD_LETTERS, &*access, &SystemClock, alone.is_some())?;
        let stop = Stop::listen()?;
        let target = self.which.target();
        trail.note(
            "dead_letters.purge",
            &target,
            &json!({"selection": selection}),
        )?;
        // An embedded log belongs to one process, whose lock a replay holds as long as it lives.
        let log = match place.config.log.url {
            Some(_) => Some(adapters.log()?),
            None => None,
        };
        let purging = Purging {
            store: &*store,
            log: log.as_deref(),
            dry_run: false,
            ..purging
        };
        let done = purging.run(&mut report, &mut || stop.hold(&mut lease), &mut |report| {
            progress(format_args!("{} dead letters erased", report.purged));
        });
        progress_done();
        let failed = done.as_ref().err().map(ToString::to_string);
        let what = json!({"counts": report, "failed": failed});
        let noted = trail.note("dead_letters.purged", &target, &what);
        let ended = self.end(common, &report);
        noted?;
        if stop.is_asked_for() {
            return Err(Failure::Interrupted);
        }
        done?;
        ended
    }

    fn end(&self, common: &Common, report: &Report) -> Result<(), Failure> {
        let mut printed = json!(report);
        printed["dry_run"] = json!(self.dry_run);
        if_json(common.output, &printed)?;
        let (done, after) = if self.dry_run {
            ("would be erased", "; nothing was changed")
        } else {
            ("were erased", "")
        };
        eprintln!(
            "of {} dead letters {} {done}{}{after}",
            report.selected,
            report.purged,
            left(&report.refused)
        );
        match self.which.one() {
            Some((partition, number)) if report.selected == 0 => Err(missing(partition, number)),
            _ => Ok(()),
        }
    }
}
