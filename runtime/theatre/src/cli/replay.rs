//! `theatre replay`: recordings through the pipeline.
//!
//! Files are read whole and sorted by event time before anything is kept; a pipe is taken as far as
//! it has come whenever it stalls.

mod fates;
mod feed;
mod flags;
mod pace;
mod reading;
mod report;
mod unmapped;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use theatre_actors::outputs::Counters;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::Error;
use theatre_actors::processor::next_sequence;
use theatre_recordings::identity::RecordingIndex;
use theatre_recordings::mapping::Mapping;
use theatre_recordings::rows::Plan;
use theatre_recordings::source;
use theatre_schemas::records::Alert;

use super::event_printer::EventPrinter;
use super::schema::Said;
use super::service::{self, Service, look_further, summary};
use super::{Common, Failure, Output};
use fates::Fates;
use feed::{Fed, Feed, TELEMETRY};
use flags::Flags;
use reading::{Piece, Reading};
use report::Report;
use theatre_queries::alert_history;

/// Recordings through the pipeline.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Files, folders, patterns such as 'day-*.csv.gz', or - for standard input.
    #[arg(required = true)]
    files: Vec<String>,
    /// How their columns become telemetry; its keys are in docs/inputs.md. Without one, theatre looks
    /// at the first file, says what it takes it for, and asks.
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// Go on with what the file seems to be, without asking.
    #[arg(long, conflicts_with = "mapping")]
    yes: bool,
    #[command(flatten)]
    said: Said,
    /// What the recording is called. Under the same name it is an earlier one, corrected, however
    /// much of it has changed: what was missing comes in, what is there stays. Without a name it is
    /// known by its content.
    #[arg(long)]
    recording: Option<String>,
    /// Keep the recorded pace, this many times as fast; absent: as fast as it goes.
    #[arg(long, value_parser = speed)]
    speed: Option<f64>,
    /// Succeed only when so many rows were applied; otherwise the exit code is 4. Absent: one, or
    /// that all rows of the recording are there already.
    #[arg(long)]
    min_applied: Option<u64>,
    /// Do not print alerts and outcomes as they come.
    #[arg(long)]
    quiet: bool,
}

/// A pace: a number above 0 that makes a difference.
fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text
        .parse()
        .map_err(|_| "it must be a number such as 1 or 0.5".to_owned())?;
    if (1e-6..=1e9).contains(&speed) {
        Ok(speed)
    } else {
        Err(
            "it must be between 0.000001 and 1000000000; without it a replay is as fast as it goes"
                .to_owned(),
        )
    }
}

impl ReplayArgs {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let files = source::find(&self.files).map_err(|error| Failure::Usage(error.to_string()))?;
        let files = without_empty(files);
        if files.iter().all(is_empty) {
            return self.end_of_nothing(common, &files);
        }
        let mapping = match &self.mapping {
            Some(path) => {
                let mut mapping = Mapping::load(path)?;
                self.said.apply(&mut mapping);
                mapping
            }
            None => match unmapped::mapping(common, &files, &self.said, self.yes)? {
                Some(mapping) => mapping,
                None => return self.end_of_nothing(common, &files),
            },
        };
        let mut config = service::config(common)?;
        config.schemas.push(mapping.schema.clone().into());
        config.rules = config.rules.or(mapping.rules.clone().map(Into::into));
        let plan = Arc::new(Plan::new(mapping)?);
        crate::gate::check_recorded(plan.dataset())?;
        let mut reading = Reading::begin(&plan, files.clone())?;
        let folder = std::env::temp_dir();
        // Nothing is kept before the first rows are here. Until then a signal ends the process.
        let first = reading.next_piece(&folder, || false)?;
        let Some(first) = first.filter(|piece| piece.count > 0) else {
            return self.end(common, &files, &reading, None, &Counters::default());
        };
        if let Some(pace) = pace::of(&first)?
            && let Some(said) = pace::follow(&mut config, pace)
        {
            eprintln!("{said}");
        }
        let service = Service::start_visibly(common, &config)?;
        let mut printer = EventPrinter::begin(&service, self.quiet)?;
        // What an earlier replay left when it was killed is no line of this one.
        service.drain(|| Ok(printer.print_new(&service)?))?;
        let mut fates = Fates::begin(&service)?;
        let fed = self.feed(
            common,
            &service,
            &plan,
            &mut reading,
            first,
            &mut fates,
            &mut printer,
        )?;
        service.drain(|| Ok(printer.print_new(&service)?))?;
        printer.print_new(&service)?;
        let counted = fates.since(&service)?;
        let mut report = Report::new(&files, &reading, Some(&fed), &counted);
        if !fed.flags.is_empty() {
            let alerts = alerts(&service, &fed)?;
            report.set_events(fed.flags.announced(&alerts), fed.flags.open_share(&alerts));
        }
        summary(&service, &printer);
        if common.output == Output::Table {
            look_further(common);
        }
        let interrupted = service.is_stopping();
        service.end()?;
        report.print(common.output)?;
        if interrupted {
            return Err(Failure::Interrupted);
        }
        self.check(&reading, &report)
    }

    /// Sends a piece after another to the log, and ends the recording.
    #[allow(clippy::too_many_arguments)]
    fn feed(
        &self,
        common: &Common,
        service: &Service,
        plan: &Plan,
        reading: &mut Reading,
        first: Piece,
        fates: &mut Fates,
        printer: &mut EventPrinter,
    ) -> Result<Fed, Failure> {
        let mut index = RecordingIndex::open(&common.data.join("recordings.sqlite"))?;
        let first_number = |robot: &str| {
            let partition = partition_of(robot.as_bytes(), service.params.partitions);
            match service.ports.store.processor(partition, robot)? {
                Some(stored) => next_sequence(&stored.state, TELEMETRY).map_err(|error| {
                    Error::Refused(format!(
                        "the state of robot '{robot}' cannot be read: {error}"
                    ))
                }),
                None => Ok(0),
            }
        };
        let numbering = index.begin(
            &plan.dataset().name,
            self.recording.as_deref(),
            &first_number,
        )?;
        let flags = Flags::new(plan.mapping().events.clone());
        let mut feed = Feed::new(service, numbering, self.speed, flags)?;
        let folder = std::env::temp_dir();
        let mut next = Some(first);
        while let Some(piece) = next {
            let robots = feed.survey(&piece)?;
            fates.note(service, &robots)?;
            feed.begin(&robots)?;
            feed.send(&piece, printer)?;
            next = reading.next_piece(&folder, || service.is_stopping())?;
        }
        // Interrupted, it is not ended: the same command goes on with it.
        if service.is_stopping() {
            return Ok(feed.leave().0);
        }
        feed.end()
    }

    /// The end of a replay that had no row.
    fn end(
        &self,
        common: &Common,
        files: &[String],
        reading: &Reading,
        fed: Option<&Fed>,
        counted: &Counters,
    ) -> Result<(), Failure> {
        let report = Report::new(files, reading, fed, counted);
        report.print(common.output)?;
        self.check(reading, &report)
    }

    /// The end of a replay of files without rows.
    fn end_of_nothing(&self, common: &Common, files: &[String]) -> Result<(), Failure> {
        let report = Report::of_nothing(files);
        report.print(common.output)?;
        report.check(self.min_applied)
    }

    fn check(&self, reading: &Reading, report: &Report) -> Result<(), Failure> {
        match &reading.broken {
            Some(error) => Err(Failure::Failed(error.to_string())),
            None => report.check(self.min_applied),
        }
    }
}

/// A packed file of nothing is hardly longer: its head may have a name in it.
const PACKED_BYTES_MAX: u64 = 1024;

fn is_empty(file: &String) -> bool {
    let is_empty_packed = || {
        source::Input::open(file)
            .is_ok_and(|input| input.packing().is_some() && input.head().is_empty())
    };
    std::fs::metadata(file).is_ok_and(|found| {
        let length = found.len();
        found.is_file() && (length == 0 || length <= PACKED_BYTES_MAX && is_empty_packed())
    })
}

/// The files but for empty ones among several, which are said.
fn without_empty(files: Vec<String>) -> Vec<String> {
    if files.iter().all(is_empty) {
        return files;
    }
    let (empty, files) = files.into_iter().partition::<Vec<_>, _>(is_empty);
    for file in empty {
        eprintln!("{file}: is empty, and left out");
    }
    files
}

/// All alerts of the robots of a recording. They are read at once: the store looks through all of
/// them for each question.
fn alerts(service: &Service, fed: &Fed) -> Result<Vec<Alert>, Failure> {
    let robots: HashSet<&str> = fed.robots.iter().map(String::as_str).collect();
    let mut alerts = alert_history(&*service.ports.store, None, 0)?;
    alerts.retain(|alert| robots.contains(alert.robot_id.as_str()));
    Ok(alerts)
}
