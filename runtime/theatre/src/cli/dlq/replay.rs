//! `theatre dlq replay`: records of dead letters, appended again to the topics they came from.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use theatre_actors::ports::{CheckpointStore, EventLog};
use theatre_actors::time::Clock;
use theatre_operations::dead_letters::Selection;
use theatre_operations::dead_letters::replay::{BATCH, Letter, Replaying, Report};
use theatre_operations::lease::{DEAD_LETTERS, Lease};
use theatre_pipeline::PipelineParams;
use theatre_system::clock::SystemClock;

use super::missing;
use super::which::{Which, alone, left};
use crate::cli::output::{if_json, progress, progress_done, rows, value};
use crate::cli::process::pseudonym_key;
use crate::cli::service::Place;
use crate::cli::stop::Stop;
use crate::cli::trail::{Trail, Who};
use crate::cli::{Common, Failure, Output};

/// How long another producer's open transaction is waited for: of one that has died the brokers end
/// it after a minute, by default, and look for such ones every ten seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// What has to be looked at by a person.
const FOR_PERSONS: [&str; 4] = [
    "replayed_too_often",
    "record_gone",
    "unproven",
    "of_registry",
];

// Without a doc comment: the command's description is that of its row in the list of commands.
#[derive(Debug, Args)]
pub(in crate::cli) struct Replay {
    #[command(flatten)]
    which: Which,
    /// Only say what would be sent, and what would become of each record as things stand.
    #[arg(long)]
    dry_run: bool,
    /// At most so many records a second.
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<u32>,
    /// A record that was sent again so often and died each time is not sent any more.
    #[arg(long, value_name = "N", default_value_t = 3)]
    max_replays: u32,
    #[command(flatten)]
    who: Who,
}

/// Records a second: a number, with or without the unit.
fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate = number.parse().ok().filter(|rate| *rate > 0);
    rate.ok_or_else(|| "a whole number of records a second, such as 100".to_owned())
}

/// Records that are appended together at a rate: a fifth of a second's.
fn at_once(rate: u32) -> usize {
    usize::try_from(rate / 5).unwrap_or(BATCH).clamp(1, BATCH)
}

/// How long to wait until so many records may have been sent.
fn rest(sent: u64, rate: u32, passed_us: i64) -> Duration {
    let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
    due.saturating_sub(Duration::from_micros(passed_us.unsigned_abs()))
}

impl Replay {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        // Looked for first: a store that is opened for writing is made where there is none.
        let looking = place.look()?;
        let store = looking.store()?;
        let (topics, partitions) = store.layout()?.unwrap_or_default();
        let mut config = place.config.clone();
        if partitions > 0 {
            config.partitions = partitions;
        }
        let key = pseudonym_key(&place.config, &place.dir)?;
        let mut params = crate::adapters::params(&config, &place.dir, key)?;
        params.follow_only(&topics);
        let selection = self.which.selection(&params.topics)?;
        if self.dry_run {
            let log = looking.log()?;
            return self.look(common, &self.asked(&params, &*log, &*store, &selection));
        }
        drop((store, looking));
        self.send(common, &place, &params, &selection)
    }

    fn asked<'a>(
        &self,
        params: &'a PipelineParams,
        log: &'a dyn EventLog,
        store: &'a dyn CheckpointStore,
        selection: &'a Selection,
    ) -> Replaying<'a> {
        Replaying {
            params,
            log,
            store,
            clock: &SystemClock,
            selection,
            max_replays: self.max_replays,
            at_once: self.rate.map_or(BATCH, at_once),
            patience: PATIENCE,
        }
    }

    fn look(&self, common: &Common, asked: &Replaying<'_>) -> Result<(), Failure> {
        let report = asked.look()?;
        self.check_found(&report)?;
        match common.output {
            Output::Json => value(&printed(&report, true))?,
            Output::Table => print_letters(&report.letters)?,
        }
        eprintln!(
            "{} of {} dead letters would be sent again{}; nothing was changed",
            report.sent,
            report.selected,
            left(&report.refused)
        );
        Ok(())
    }

    fn send(
        &self,
        common: &Common,
        place: &Place,
        params: &PipelineParams,
        selection: &Selection,
    ) -> Result<(), Failure> {
        // An embedded log belongs to the process that runs on its directory.
        let lock = match place.config.log.url {
            None => Some(place.dir.lock()?),
            Some(_) => None,
        };
        let adapters = place.write()?;
        let (log, store, access) = (adapters.log()?, adapters.store()?, adapters.access()?);
        let trail = Trail::of(&*access, &self.who)?;
        let alone = alone(place)?;
        let mut lease = Lease::take(DEAD_LETTERS, &*access, &SystemClock, alone.is_some())?;
        let stop = Stop::listen()?;
        let asked = self.asked(params, &*log, &*store, selection);
        let target = self.which.target();
        let wish =
            json!({"selection": selection, "max_replays": self.max_replays, "rate": self.rate});
        trail.note("dead_letters.replay", &target, &wish)?;
        let (mut report, began) = (Report::default(), SystemClock.now());
        let done = asked.run(&mut report, &mut || stop.hold(&mut lease), &mut |report| {
            progress(format_args!("{} records sent again", report.sent));
            if let Some(rate) = self.rate {
                let passed = SystemClock.now().0.saturating_sub(began.0);
                std::thread::sleep(rest(report.sent, rate, passed));
            }
        });
        progress_done();
        let failed = done.as_ref().err().map(ToString::to_string);
        let what = json!({"counts": printed(&report, false), "failed": failed});
        let noted = trail.note("dead_letters.replayed", &target, &what);
        if_json(common.output, &printed(&report, false))?;
        eprintln!("{}", summary(&report));
        noted?;
        if stop.is_asked_for() {
            return Err(Failure::Interrupted);
        }
        done?;
        self.check_found(&report)?;
        if report.sent + report.found > 0 {
            eprintln!(
                "{}",
                match lock {
                    Some(_) => "in the log; it counts when theatre next runs here",
                    None => "in the log; it counts as soon as each partition's process has read it",
                }
            );
        }
        if FOR_PERSONS
            .iter()
            .any(|why| report.refused.contains_key(why))
        {
            return Err(Failure::Difference);
        }
        Ok(())
    }

    fn check_found(&self, report: &Report) -> Result<(), Failure> {
        match self.which.one() {
            Some((partition, number)) if report.selected == 0 => Err(missing(partition, number)),
            _ => Ok(()),
        }
    }
}

fn printed(report: &Report, dry_run: bool) -> Value {
    let mut printed = json!(report);
    printed["dry_run"] = json!(dry_run);
    printed
}

fn summary(report: &Report) -> String {
    let found = match report.found {
        0 => String::new(),
        found => format!(", {found} found in the log from a replay that was interrupted"),
    };
    format!(
        "of {} dead letters {} were sent again{found}{}",
        report.selected,
        report.sent,
        left(&report.refused)
    )
}

fn print_letters(letters: &[Letter]) -> Result<(), Failure> {
    let cells = |letter: &Letter| {
        vec![
            json!(letter.partition),
            json!(letter.number),
            json!(letter.topic),
            json!(letter.offset),
            json!(letter.reason),
            json!(letter.replays),
            json!(letter.robot_id),
            json!(letter.source),
            json!(letter.to_partition),
            json!(letter.fate),
            json!(letter.detail),
        ]
    };
    rows(
        Output::Table,
        &[
            "partition",
            "number",
            "topic",
            "offset",
            "reason",
            "replays",
            "robot_id",
            "source",
            "to_partition",
            "fate",
            "detail",
        ],
        &letters.iter().map(cells).collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_above_nothing() {
        assert_eq!((rate("100"), rate("5/s")), (Ok(100), Ok(5)));
        for wrong in ["0", "-1", "fast", "1/m", ""] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_kept_by_waiting_for_what_was_sent_too_soon() {
        assert_eq!((at_once(2), at_once(50), at_once(10_000)), (1, 10, BATCH));
        assert_eq!(rest(50, 100, 200_000), Duration::from_millis(300));
        assert_eq!(rest(50, 100, 900_000), Duration::ZERO);
        assert_eq!(rest(0, 1, 0), Duration::ZERO);
    }
}
