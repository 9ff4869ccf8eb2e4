//! Reading the files of a replay: on a thread of its own, so that a pipe on which nothing comes
//! holds nothing up, into a sorter.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use theatre_recordings::records::ReadError;
use theatre_recordings::rows::{Plan, Row, Rows, Tally};
use theatre_recordings::sort::{Sorted, Sorter};
use theatre_recordings::spool::SpooledRow;

use super::super::Failure;
use super::super::output::{progress, progress_done};

/// Rows that go from the reading thread to the sorter at once.
const BATCH: usize = 256;
/// Batches that wait for the sorter.
const QUEUE: usize = 64;
/// Rows in memory before they are sorted on disk, bytes.
const MEMORY: usize = 64 << 20;
/// A pipe on which nothing has come for so long is taken as far as it is.
const STALL: Duration = Duration::from_secs(1);
/// How often a signal is looked for while nothing comes.
const LOOK: Duration = Duration::from_millis(50);

/// What has been read: a whole recording, or as much of a pipe as has come.
pub(super) struct Piece {
    /// Its rows in order of time, as [`SpooledRow`]s.
    pub(super) rows: Sorted,
    /// How many there are.
    pub(super) count: u64,
    /// Whether nothing comes after it.
    pub(super) is_last: bool,
}

enum Message {
    Rows(Vec<(u32, Row)>),
    Tally(Box<Tally>),
    Broken(ReadError),
}

/// The files of a replay, being read.
pub(super) struct Reading {
    messages: Receiver<Message>,
    /// Whether one is a pipe, whose rows are taken before its end.
    has_pipe: bool,
    /// What became of all lines so far; of a file that is being read, once it has ended.
    pub(super) tally: Tally,
    /// Why a file could not be read to its end.
    pub(super) broken: Option<ReadError>,
    pub(super) rows: u64,
    is_ended: bool,
    /// Of files without times, in which each robot's rows stand.
    paced: Option<Paced>,
}

/// In which file the rows of each robot stand, when they have no times of their own.
struct Paced {
    files: Vec<String>,
    robots: HashMap<String, u32>,
}

impl Paced {
    /// Refuses a second file of a robot, whose rows would have the times of the first one's.
    fn see(&mut self, robot: &str, file: u32) -> Result<(), Failure> {
        let first = *self.robots.entry(robot.to_owned()).or_insert(file);
        if first == file {
            return Ok(());
        }
        let name = |file: u32| self.files.get(file as usize).map_or("-", String::as_str);
        Err(Failure::Usage(format!(
            "{} and {} are both of robot '{robot}' and have no times, so rows of both would begin at time_start: replay one after the other, each with its own --time-start",
            name(first),
            name(file)
        )))
    }
}

impl Reading {
    /// Begins to read.
    ///
    /// # Errors
    /// When the first file cannot be opened or does not fit the mapping.
    pub(super) fn begin(plan: &Arc<Plan>, files: Vec<String>) -> Result<Self, Failure> {
        let has_pipe = files.iter().any(|file| is_pipe(file));
        // A mistake in any of them is said before anything is done. A pipe is opened once, and may
        // take its time.
        for file in files.iter().filter(|file| !is_pipe(file)) {
            let opened = Rows::open(plan, file);
            opened.map_err(|error| Failure::Usage(error.to_string()))?;
        }
        let mapping = plan.mapping();
        let has_pace = mapping.rate.is_some() || mapping.period.is_some();
        let paced = has_pace.then(|| Paced {
            files: files.clone(),
            robots: HashMap::new(),
        });
        let (sender, messages) = sync_channel(QUEUE);
        let plan = plan.clone();
        std::thread::Builder::new()
            .name("replay-reader".to_owned())
            .spawn(move || read_all(&plan, &files, &sender))?;
        Ok(Self {
            messages,
            has_pipe,
            tally: Tally::default(),
            broken: None,
            rows: 0,
            is_ended: false,
            paced,
        })
    }

    /// Reads on: to the end, or as far as a pipe has come when it stalls. `None` when `is_stopping`
    /// says so, or after the last piece.
    pub(super) fn next_piece(
        &mut self,
        folder: &Path,
        mut is_stopping: impl FnMut() -> bool,
    ) -> Result<Option<Piece>, Failure> {
        if self.is_ended {
            return Ok(None);
        }
        let mut sorter = Sorter::new(folder, MEMORY);
        let (mut count, mut heard, mut shown) = (0, Instant::now(), Instant::now());
        let mut bytes = Vec::new();
        loop {
            if is_stopping() {
                return Ok(None);
            }
            match self.messages.recv_timeout(LOOK) {
                Ok(Message::Rows(rows)) => {
                    heard = Instant::now();
                    for (file, row) in &rows {
                        if let Some(paced) = &mut self.paced {
                            paced.see(&row.robot_id, *file)?;
                        }
                        bytes.clear();
                        spooled(*file, row).write(&mut bytes);
                        sorter
                            .push(row.event_time, &bytes)
                            .map_err(|error| no_room(folder, &error))?;
                    }
                    count += rows.len() as u64;
                    self.rows += rows.len() as u64;
                    if shown.elapsed() > STALL && !self.has_pipe {
                        progress(format_args!("{} rows read", self.rows));
                        shown = Instant::now();
                    }
                }
                Ok(Message::Tally(tally)) => self.tally.add(&tally),
                Ok(Message::Broken(error)) => {
                    self.broken.get_or_insert(error);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.has_pipe && count > 0 && heard.elapsed() > STALL {
                        break;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.is_ended = true;
                    break;
                }
            }
        }
        if self.rows > 0 && !self.has_pipe {
            progress(format_args!("{} rows read", self.rows));
            progress_done();
        }
        Ok(Some(Piece {
            rows: sorter.finish(),
            count,
            is_last: self.is_ended,
        }))
    }
}

fn no_room(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!(
        "rows cannot be sorted in {} (TMPDIR names another folder): {error}",
        folder.display()
    ))
}

/// True for what can be read once only: standard input, named pipes, devices.
fn is_pipe(file: &str) -> bool {
    file == "-" || std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file())
}

fn spooled(file: u32, row: &Row) -> SpooledRow<'_> {
    let (content, _) = row.content.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let events = row.events.iter().take(u64::BITS as usize).enumerate();
    SpooledRow {
        robot: &row.robot_id,
        content: u64::from_le_bytes(*content),
        counter: row.counter,
        events: events.fold(0, |bits, (at, is)| bits | u64::from(*is) << at),
        place: (file, row.place.line),
        record: &row.draft.bytes,
        number_at: row.draft.number_at.map(|at| at as u32),
    }
}

/// Reads file after file. A receiver that has gone away ends it.
fn read_all(plan: &Arc<Plan>, files: &[String], out: &SyncSender<Message>) {
    for (at, file) in files.iter().enumerate() {
        // Rows of a pipe do not wait for others.
        let batch = if is_pipe(file) { 1 } else { BATCH };
        let read = Rows::open(plan, file).and_then(|mut rows| {
            let read = read_one(at as u32, &mut rows, batch, out);
            // Also of a file that broke off.
            drop(out.send(Message::Tally(Box::new(rows.tally().clone()))));
            read
        });
        if let Err(error) = read
            && out.send(Message::Broken(error)).is_err()
        {
            return;
        }
    }
}

fn read_one(
    file: u32,
    rows: &mut Rows,
    size: usize,
    out: &SyncSender<Message>,
) -> Result<(), ReadError> {
    let mut batch = Vec::new();
    loop {
        let end = match rows.next_row() {
            Ok(Some(row)) => {
                batch.extend(row.ok().map(|row| (file, row)));
                None
            }
            Ok(None) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        if (batch.len() >= size || end.is_some())
            && out.send(Message::Rows(std::mem::take(&mut batch))).is_err()
        {
            return Ok(());
        }
        if let Some(end) = end {
            return end;
        }
    }
}
