//! `theatre replay`: rows of a CSV file through the pipeline.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use theatre_schemas::records::Transition;

use super::event_printer::EventPrinter;
use super::fleet_writer::append;
use super::service::{self, Service, look_further, summary};
use super::{Common, Failure};
use crate::replay::{Mapping, Replay, announced, recording_ended};

/// Rows appended at once by a replay that does not keep the pace.
const REPLAY_BATCH: usize = 2000;

/// Rows of a CSV file through the pipeline.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The file, or - for standard input.
    file: String,
    /// How its columns become telemetry.
    #[arg(long)]
    mapping: PathBuf,
    /// Keep the recorded pace, this many times as fast; absent: as fast as it goes.
    #[arg(long)]
    speed: Option<f64>,
    /// Do not print alerts and outcomes as they come.
    #[arg(long)]
    quiet: bool,
}

impl ReplayArgs {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let mapping = Mapping::load(&self.mapping)?;
        let mut config = service::config(common)?;
        config.schemas.push(mapping.schema.clone().into());
        config.rules = config.rules.or(mapping.rules.clone().map(Into::into));
        let events = mapping.events.clone();
        let mut replay = Replay::open(&self.file, mapping)?;
        crate::gate::check_recorded(replay.dataset())?;
        let service = Service::start_visibly(common, &config)?;
        let mut event_printer = EventPrinter::begin(&service, self.quiet)?;
        let source = self.feed(&service, &mut replay, &mut event_printer, events.len())?;
        service.drain(|| Ok(event_printer.print_new(&service)?))?;
        event_printer.print_new(&service)?;
        eprintln!("{} rows replayed, {} refused", source.rows, source.refused);
        summary(&service, &event_printer);
        source.print_events(&events, &event_printer);
        look_further(common);
        let interrupted = service.is_stopping();
        service.end()?;
        if interrupted {
            Err(Failure::Interrupted)
        } else {
            Ok(())
        }
    }

    fn feed(
        &self,
        service: &Service,
        replay: &mut Replay,
        event_printer: &mut EventPrinter,
        events: usize,
    ) -> Result<Recording, Failure> {
        let mut recording = Recording {
            edges: vec![Vec::new(); events],
            was: vec![false; events],
            ..Recording::default()
        };
        let begun = Instant::now();
        let mut waiting = Vec::new();
        while let Some(row) = replay.next_row() {
            if service.is_stopping() {
                break;
            }
            let row = match row {
                Ok(row) => row,
                Err(error) => {
                    eprintln!("{}: {error}; the row is left out", self.file);
                    recording.refused += 1;
                    continue;
                }
            };
            recording.take(&row);
            if let Some(speed) = self.speed.filter(|speed| *speed > 0.0) {
                let due = Duration::from_secs_f64(
                    (row.event_time - recording.first).max(0) as f64 / 1e6 / speed,
                );
                while begun.elapsed() < due && !service.is_stopping() {
                    append(
                        &*service.ports.log,
                        service.params.partitions,
                        std::mem::take(&mut waiting),
                    )?;
                    event_printer.print_new(service)?;
                    std::thread::sleep(
                        (due - begun.elapsed().min(due)).min(Duration::from_millis(20)),
                    );
                }
            }
            waiting.push((0, row.record));
            if waiting.len() >= REPLAY_BATCH {
                append(
                    &*service.ports.log,
                    service.params.partitions,
                    std::mem::take(&mut waiting),
                )?;
                event_printer.print_new(service)?;
            }
        }
        append(&*service.ports.log, service.params.partitions, waiting)?;
        for (robot, last) in &recording.last {
            append(
                &*service.ports.log,
                service.params.partitions,
                vec![(1, recording_ended(robot, *last)?)],
            )?;
        }
        Ok(recording)
    }
}

/// What a replay remembers of its file for the summary.
#[derive(Default)]
struct Recording {
    rows: u64,
    refused: u64,
    first: i64,
    last: BTreeMap<String, i64>,
    /// Rising edges by event.
    edges: Vec<Vec<i64>>,
    was: Vec<bool>,
}

impl Recording {
    fn take(&mut self, row: &crate::replay::Row) {
        if self.rows == 0 {
            self.first = row.event_time;
        }
        self.rows += 1;
        let last = self
            .last
            .entry(row.robot_id.clone())
            .or_insert(row.event_time);
        *last = (*last).max(row.event_time);
        for (event, is) in row.events.iter().enumerate() {
            if *is && !self.was[event] {
                self.edges[event].push(row.event_time);
            }
            self.was[event] = *is;
        }
    }

    /// For each flag: how many rising edges had a condition raised within the minute before.
    /// Conditions that only repeat a flag announce nothing and do not count.
    fn print_events(&self, names: &[String], event_printer: &EventPrinter) {
        for (name, edges) in names.iter().zip(&self.edges) {
            let others = event_printer.seen.iter().filter(|alert| {
                alert.transition == Transition::Raised
                    && !alert
                        .signal
                        .as_ref()
                        .is_some_and(|signal| names.contains(signal))
            });
            let raised: Vec<i64> = others.map(|alert| alert.event_time).collect();
            let counts = announced(edges, &raised, 60_000_000);
            eprintln!(
                "{name}: {} times; {} had a condition (other than the flags' own) raised within the 60 s before, {} had not",
                counts.events,
                counts.announced,
                counts.events - counts.announced
            );
        }
        let Some(end) = self.last.values().max() else {
            return;
        };
        let span = (end - self.first).max(1) as f64;
        eprintln!(
            "some condition was open during {:.1} % of the recording",
            100.0 * open_time(event_printer, *end) as f64 / span
        );
    }
}

/// Event time during which at least one condition was open, microseconds.
fn open_time(event_printer: &EventPrinter, end: i64) -> i64 {
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for alert in event_printer
        .seen
        .iter()
        .filter(|alert| alert.transition == Transition::Raised)
    {
        let cleared = event_printer.seen.iter().find(|other| {
            other.condition_id == alert.condition_id && other.transition == Transition::Cleared
        });
        spans.push((
            alert.event_time,
            cleared.map_or(end, |cleared| cleared.event_time),
        ));
    }
    spans.sort_unstable();
    let (mut total, mut covered) = (0, i64::MIN);
    for (from, to) in spans {
        total += (to - from.max(covered)).max(0);
        covered = covered.max(to);
    }
    total
}
