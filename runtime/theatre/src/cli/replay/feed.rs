//! Feeding a recording to the pipeline: rows get their numbers and go to the log, between an event
//! that begins the recording of their robot and one that ends it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use apache_avro::types::Value;
use theatre_actors::ports::NewRecord;
use theatre_recordings::identity::{Bounds, Identity, Numbering, RowKey};
use theatre_recordings::sort::SortedRows;
use theatre_recordings::spool::SpooledRow;
use theatre_schemas::records::RecordWriter;
use theatre_schemas::registry::{INPUT_SCHEMAS, schema_id};

use super::super::Failure;
use super::super::event_printer::EventPrinter;
use super::super::fleet_writer::append;
use super::super::output::{progress, progress_done};
use super::super::service::Service;
use super::flags::Flags;
use super::reading::Piece;

/// Rows that are numbered and appended at once.
const BATCH: usize = 2000;
/// Changed rows that are shown.
const EXAMPLES: usize = 3;
/// Topics by their place in the list of inputs.
pub(super) const TELEMETRY: usize = 0;
const ROBOT_EVENTS: usize = 1;

/// With a pace, rows of so long go at once.
const PACE: Duration = Duration::from_millis(20);

/// Sorted rows as bytes: event time and [`SpooledRow`].
type Batch = Vec<(i64, Vec<u8>)>;

/// A recording on its way to the log.
pub(super) struct Feed<'a> {
    service: &'a Service,
    numbering: Numbering<'a>,
    /// Keep the recorded pace, this many times as fast.
    speed: Option<f64>,
    begun: Instant,
    first_time: Option<i64>,
    events: EventWriter,
    /// Robots whose recording has begun: numbers of its events, and its last time.
    pub(super) robots: BTreeMap<String, (Bounds, i64)>,
    /// Rows that were appended.
    pub(super) sent: u64,
    /// Rows without numbers that are known, and were not appended again.
    pub(super) known: u64,
    /// Rows that differ from what an earlier version of the recording has at their place.
    pub(super) conflicts: u64,
    /// The first of them: file, from 0, and line.
    pub(super) conflict_examples: Vec<(u32, u64)>,
    /// The first rows that are later than this machine's clock allows: file, from 0, and line.
    pub(super) future_examples: Vec<(u32, u64)>,
    /// Rising edges of the mapping's events.
    pub(super) flags: Flags,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        service: &'a Service,
        numbering: Numbering<'a>,
        speed: Option<f64>,
        flags: Flags,
    ) -> Result<Self, Failure> {
        Ok(Self {
            service,
            numbering,
            speed,
            begun: Instant::now(),
            first_time: None,
            events: EventWriter::new()?,
            robots: BTreeMap::new(),
            sent: 0,
            known: 0,
            conflicts: 0,
            conflict_examples: Vec::new(),
            future_examples: Vec::new(),
            flags,
        })
    }

    /// Looks at all rows of a piece, and says which robots are new in it.
    pub(super) fn survey(&mut self, piece: &Piece) -> Result<Vec<String>, Failure> {
        let mut batches = Batches::of(piece, i64::MAX)?;
        let mut robots = BTreeMap::new();
        self.numbering.begin_piece();
        while let Some(batch) = batches.next()? {
            let rows = parsed(&batch)?;
            self.numbering.survey(&keys(&rows))?;
            for (time, row) in &rows {
                if !self.robots.contains_key(row.robot) {
                    robots.entry(row.robot.to_owned()).or_insert(*time);
                }
            }
        }
        self.numbering.end_survey()?;
        for (robot, first) in &robots {
            let bounds = self.numbering.bounds(robot)?;
            self.robots.insert(robot.clone(), (bounds, *first));
        }
        Ok(robots.into_keys().collect())
    }

    /// Appends the events that begin the recordings of robots.
    pub(super) fn begin(&self, robots: &[String]) -> Result<(), Failure> {
        let begun = robots
            .iter()
            .filter_map(|robot| Some((robot, self.robots.get(robot)?)))
            .map(|(robot, (bounds, first))| {
                self.events
                    .write(robot, *first, bounds.started, "recording_started")
            });
        self.append_events(begun.collect::<Result<_, _>>()?)
    }

    /// Numbers and appends the rows of a piece, until a signal asks to stop.
    pub(super) fn send(
        &mut self,
        piece: &Piece,
        printer: &mut EventPrinter,
    ) -> Result<(), Failure> {
        let span = self
            .speed
            .map_or(i64::MAX, |speed| (PACE.as_micros() as f64 * speed) as i64);
        let mut batches = Batches::of(piece, span)?;
        let (mut done, mut shown) = (0, Instant::now());
        while let Some(batch) = batches.next()? {
            if self.service.is_stopping() {
                break;
            }
            done += batch.len() as u64;
            self.wait_for_pace(&batch, printer)?;
            self.send_batch(&parsed(&batch)?)?;
            printer.print_new(self.service)?;
            if shown.elapsed() > Duration::from_secs(1) {
                progress(format_args!("{done} of {} rows sent", piece.count));
                shown = Instant::now();
            }
        }
        if piece.is_last && piece.count > BATCH as u64 {
            progress(format_args!("{done} of {} rows sent", piece.count));
            progress_done();
        }
        Ok(())
    }

    /// Appends the events that end the recordings, which close the robots' windows.
    pub(super) fn end(self) -> Result<Fed, Failure> {
        let ends = self.robots.iter().map(|(robot, (bounds, last))| {
            self.events
                .write(robot, *last, bounds.ended, "recording_ended")
        });
        let ends = ends.collect::<Result<Vec<_>, _>>()?;
        self.append_events(ends)?;
        let (fed, numbering) = self.leave();
        numbering.end()?;
        Ok(fed)
    }

    /// What was fed so far, and the numbering, which is not ended.
    pub(super) fn leave(self) -> (Fed, Numbering<'a>) {
        let fed = Fed {
            robots: self.robots.into_keys().collect(),
            sent: self.sent,
            known: self.known,
            conflicts: self.conflicts,
            conflict_examples: self.conflict_examples,
            future_examples: self.future_examples,
            flags: self.flags,
        };
        (fed, self.numbering)
    }

    fn append_events(&self, events: Vec<NewRecord>) -> Result<(), Failure> {
        for events in events.chunks(BATCH) {
            let events = events.iter().map(|event| (ROBOT_EVENTS, event.clone()));
            append(
                &*self.service.ports.log,
                self.service.params.partitions,
                events.collect(),
            )?;
        }
        Ok(())
    }

    fn send_batch(&mut self, rows: &[(i64, SpooledRow<'_>)]) -> Result<(), Failure> {
        let now = self.service.ports.clock.now().0;
        let horizon = now.saturating_add(self.service.params.processor.time.future_tolerance_us);
        for (time, row) in rows {
            self.flags.see(row.robot, *time, row.events);
            // A row from the future becomes a dead letter: it says nothing of when the recording
            // ended.
            if *time > horizon {
                if self.future_examples.len() < EXAMPLES {
                    self.future_examples.push(row.place);
                }
            } else if let Some((_, last)) = self.robots.get_mut(row.robot) {
                *last = (*last).max(*time);
            }
        }
        let keys = keys(rows);
        let has_numbers = rows.iter().all(|(_, row)| row.number_at.is_some());
        let (log, partitions) = (&*self.service.ports.log, self.service.params.partitions);
        let identities = if has_numbers {
            let identities = self.numbering.number(&keys)?;
            append(log, partitions, records(rows, &identities, has_numbers))?;
            identities
        } else {
            self.numbering.number_after(&keys, |identities| {
                append(log, partitions, records(rows, &identities, has_numbers))?;
                Ok::<_, Failure>(identities)
            })?
        };
        for (identity, (_, row)) in identities.iter().zip(rows) {
            match identity {
                Identity::Conflict => {
                    self.conflicts += 1;
                    if self.conflict_examples.len() < EXAMPLES {
                        self.conflict_examples.push(row.place);
                    }
                }
                Identity::Known(_) if !has_numbers => self.known += 1,
                Identity::Known(_) | Identity::New(_) => self.sent += 1,
            }
        }
        Ok(())
    }

    /// Waits until the first row of a batch is due, at the recorded pace.
    fn wait_for_pace(&mut self, batch: &Batch, printer: &mut EventPrinter) -> Result<(), Failure> {
        let Some((time, _)) = batch.first() else {
            return Ok(());
        };
        let first = *self.first_time.get_or_insert(*time);
        let Some(speed) = self.speed else {
            return Ok(());
        };
        let seconds = time.saturating_sub(first).max(0) as f64 / 1e6 / speed;
        let Ok(due) = Duration::try_from_secs_f64(seconds) else {
            return Err(Failure::Usage(format!(
                "--speed {speed} makes the next row wait for {seconds:e} s: longer than can be waited for"
            )));
        };
        while self.begun.elapsed() < due && !self.service.is_stopping() {
            printer.print_new(self.service)?;
            std::thread::sleep(
                (due - self.begun.elapsed().min(due)).min(Duration::from_millis(20)),
            );
        }
        Ok(())
    }
}

/// What became of a recording at the door.
pub(super) struct Fed {
    pub(super) robots: Vec<String>,
    pub(super) sent: u64,
    pub(super) known: u64,
    pub(super) conflicts: u64,
    pub(super) conflict_examples: Vec<(u32, u64)>,
    pub(super) future_examples: Vec<(u32, u64)>,
    pub(super) flags: Flags,
}

/// Sorted rows in batches: rows of one time are in one batch.
struct Batches<'a> {
    rows: SortedRows<'a>,
    ahead: Option<(i64, Vec<u8>)>,
    /// Longest time between the first and the last row of a batch, microseconds.
    span: i64,
}

impl<'a> Batches<'a> {
    fn of(piece: &'a Piece, span: i64) -> Result<Self, Failure> {
        let mut rows = piece.rows.read()?;
        let ahead = owned(rows.next_row()?);
        Ok(Self { rows, ahead, span })
    }

    fn next(&mut self) -> Result<Option<Batch>, Failure> {
        let Some((first, row)) = self.ahead.take() else {
            return Ok(None);
        };
        let mut batch = vec![(first, row)];
        let mut last = first;
        while let Some((time, row)) = owned(self.rows.next_row()?) {
            let is_full = batch.len() >= BATCH || time.saturating_sub(first) > self.span;
            if time != last && is_full {
                self.ahead = Some((time, row));
                break;
            }
            last = time;
            batch.push((time, row));
        }
        Ok(Some(batch))
    }
}

fn owned(row: Option<(i64, &[u8])>) -> Option<(i64, Vec<u8>)> {
    row.map(|(time, row)| (time, row.to_vec()))
}

fn parsed<'a>(batch: &'a Batch) -> Result<Vec<(i64, SpooledRow<'a>)>, Failure> {
    let row = |(time, bytes): &'a (i64, Vec<u8>)| {
        SpooledRow::read(bytes)
            .map(|row| (*time, row))
            .ok_or_else(|| Failure::Failed("a temporary file of the replay is damaged".to_owned()))
    };
    batch.iter().map(row).collect()
}

fn keys<'a>(rows: &'a [(i64, SpooledRow<'a>)]) -> Vec<RowKey<'a>> {
    let key = |(time, row): &(i64, SpooledRow<'a>)| RowKey {
        robot: row.robot,
        time: *time,
        content: row.content,
        file: row.place.0,
        counter: row.counter,
    };
    rows.iter().map(key).collect()
}

/// The records to append: all that are no conflicts; of those without numbers, which the pipeline
/// could not tell from what is there, only new ones.
fn records(
    rows: &[(i64, SpooledRow<'_>)],
    identities: &[Identity],
    has_numbers: bool,
) -> Vec<(usize, NewRecord)> {
    let record = |((_, row), identity): (&(i64, SpooledRow<'_>), &Identity)| {
        let number = match identity {
            Identity::New(number) => *number,
            Identity::Known(number) if has_numbers => *number,
            Identity::Known(_) | Identity::Conflict => return None,
        };
        let record = NewRecord {
            key: row.robot.as_bytes().to_vec(),
            value: row.draft().encode(number),
            headers: Vec::new(),
        };
        Some((TELEMETRY, record))
    };
    rows.iter().zip(identities).filter_map(record).collect()
}

/// Writes the events around recordings.
struct EventWriter(RecordWriter);

impl EventWriter {
    fn new() -> Result<Self, Failure> {
        let refused = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        // Later versions come after earlier ones.
        let mut newest = INPUT_SCHEMAS.iter().rev();
        let (_, json) = newest
            .find(|(subject, _)| *subject == "robot_events")
            .ok_or_else(|| refused(&"no schema of robot events is shipped"))?;
        let id = schema_id(json).map_err(|error| refused(&error))?;
        let writer = RecordWriter::new(id, json).map_err(|error| refused(&error))?;
        Ok(Self(writer))
    }

    fn write(
        &self,
        robot: &str,
        event_time: i64,
        number: i64,
        event_type: &str,
    ) -> Result<NewRecord, Failure> {
        let fields = [
            ("robot_id", Value::String(robot.to_owned())),
            ("event_time", Value::TimestampMicros(event_time)),
            // Earlier builds numbered ends by their times, without a boot.
            ("boot_id", Value::Long(1)),
            ("sequence", Value::Long(number)),
            (
                "event_id",
                Value::String(format!("{event_type}/{robot}/{number}")),
            ),
            ("event_type", Value::String(event_type.to_owned())),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        let value = self.0.encode(Value::Record(fields.to_vec()));
        Ok(NewRecord {
            key: robot.as_bytes().to_vec(),
            value: value.map_err(|error| Failure::Failed(error.to_string()))?,
            headers: Vec::new(),
        })
    }
}
