//! The lake writer: every decoded record that is no duplicate, into Parquet files by dataset and
//! event date; rows dated far from the day they were appended on are filed by that day, so that a
//! chunk never opens more files than there are days between.
//!
//! It has its own position and its own copy of the duplicate check. A *cut* closes all open files
//! of the partition at one position and registers them, position and check together, in one fenced
//! commit. What is not registered is as if never written: after any error the writer goes back to
//! its last cut and reads the log again. Chunks come from the partition; what it missed it reads
//! itself, in bounded steps, so that processors never wait for the lake to catch up.

use std::collections::BTreeMap;
use std::sync::Arc;

use theatre_actors::ports::{Epoch, Error, LakeCut, Result};
use theatre_actors::position::{Partition, Positions, TopicIndex};
use theatre_actors::time::LogTime;
use theatre_schemas::batch::Batch;
use theatre_telemetry::names;

use super::intake::{Chunk, Entry, Intake};
use super::lake_gap;
use super::queue::LakeQueue;
use super::trackers::Trackers;
use super::{PipelineParams, Ports, Step};
use theatre_parquet::writer::FileWriter;
use theatre_parquet::{file_rows, file_schema, folder_day, late_days, record_path, table_spec};

/// Rows of one batch by the file they go to; there is hardly ever more than one.
type Share = Vec<((usize, i64), Vec<u32>)>;

/// Writes the records of one partition to the lake.
pub struct LakeWriter {
    partition: Partition,
    epoch: Epoch,
    params: Arc<PipelineParams>,
    ports: Ports,
    queue: Arc<LakeQueue>,
    positions: Positions,
    cut_from: Positions,
    cuts: u64,
    trackers: Trackers,
    open: BTreeMap<(usize, i64), FileWriter>,
    oldest: Option<LogTime>,
    /// Append time of the oldest row that is in no registered file, for people.
    uncommitted: Option<LogTime>,
    /// Reads what lies between the position and the chunks that come.
    catch_up: Option<Intake>,
    waiting: Option<Arc<Chunk>>,
    /// The end of what has been written, cut or not: there it goes again after a failure, whether
    /// or not another chunk comes.
    written: Positions,
    /// False until it stands at the last cut, and again after an error.
    positioned: bool,
    attempt: u64,
    /// Something failed, and no cut has shown since that it works again.
    degraded: bool,
}

impl LakeWriter {
    /// A lake writer for a partition owned under `epoch`.
    pub fn new(
        partition: Partition,
        epoch: Epoch,
        params: Arc<PipelineParams>,
        ports: Ports,
        queue: Arc<LakeQueue>,
    ) -> Self {
        Self {
            partition,
            epoch,
            params,
            ports,
            queue,
            positions: Positions::zero(),
            cut_from: Positions::zero(),
            cuts: 0,
            trackers: Trackers::default(),
            open: BTreeMap::new(),
            oldest: None,
            uncommitted: None,
            catch_up: None,
            waiting: None,
            written: Positions::zero(),
            positioned: false,
            attempt: 0,
            degraded: false,
        }
    }

    /// Where it stands, cut or not.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Everything below is in registered files, so far as is known; absent until it knows where it
    /// stands.
    pub fn registered(&self) -> Option<&Positions> {
        self.positioned.then_some(&self.cut_from)
    }

    /// How many files are being written, and the append time of the oldest row that is in no
    /// registered file.
    pub fn unregistered(&self) -> (usize, Option<LogTime>) {
        (self.open.len(), self.uncommitted)
    }

    /// True when everything written is registered.
    pub fn is_cut(&self) -> bool {
        self.open.is_empty() && self.positions == self.cut_from
    }

    /// True from a failure until a cut has shown that everything works again.
    pub fn is_shaken(&self) -> bool {
        self.degraded
    }

    /// True while it reads what it has missed before it can take the next chunk.
    pub fn is_behind(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|chunk| !self.positions.covers(&chunk.from))
    }

    /// Registers what it has written so far, wherever it stands.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn close(&mut self) -> Result<()> {
        if self.is_cut() {
            return Ok(());
        }
        self.commit_cut()
            .inspect_err(|_| (self.positioned, self.degraded) = (false, true))
    }

    /// Writes a chunk, or makes a cut that is due; with `everything` a cut is due as soon as no
    /// chunk waits.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. Others: step again; it goes back to its last cut.
    pub fn step(&mut self, everything: bool) -> Result<Step> {
        let done = self.work(everything);
        if done.is_err() {
            (self.positioned, self.degraded) = (false, true);
        }
        done
    }

    fn work(&mut self, everything: bool) -> Result<Step> {
        if !self.positioned {
            self.seek_last_cut()?;
        }
        if self.is_due() {
            self.commit_cut()?;
            return Ok(Step::Worked);
        }
        if self.waiting.is_none() {
            self.waiting = self.queue.take();
        }
        match self.waiting.clone() {
            Some(chunk) => self.take(&chunk),
            None if everything && !self.is_cut() => self.commit_cut().map(|()| Step::Worked),
            None => {
                self.degraded &= !self.is_cut();
                Ok(Step::Idle)
            }
        }
    }

    /// Goes back to the last cut.
    fn seek_last_cut(&mut self) -> Result<()> {
        self.open.clear();
        self.oldest = None;
        self.catch_up = None;
        let status = self.ports.store.status(self.partition)?;
        let saved = self.ports.store.lake_state(self.partition)?;
        self.trackers = Trackers::decode(self.partition, &saved)?;
        self.positions = lake_gap::position(
            &*self.ports.log,
            &self.params.topics,
            self.partition,
            &status,
        )?;
        self.cut_from = self.positions.clone();
        self.cuts = status.lake_cuts;
        if self.waiting.is_none() && !self.positions.covers(&self.written) {
            // What was written since the last cut is lost, and its chunks are gone from the queue:
            // an empty chunk at its end makes the writer read it again.
            self.waiting = Some(Arc::new(Chunk {
                from: self.written.clone(),
                to: self.written.clone(),
                ..Chunk::default()
            }));
        }
        self.positioned = true;
        Ok(())
    }

    fn take(&mut self, chunk: &Arc<Chunk>) -> Result<Step> {
        if self.positions.covers(&chunk.from) {
            self.write(chunk)?;
            self.written = self.positions.clone();
            self.waiting = None;
            self.catch_up = None;
            return Ok(Step::Worked);
        }
        let mut catch_up = match self.catch_up.take() {
            Some(catch_up) => catch_up,
            None => Intake::open(
                &*self.ports.log,
                self.partition,
                self.params.intake(),
                &self.positions,
            )?,
        };
        let missed = catch_up.poll()?;
        self.write(&missed)?;
        self.catch_up = Some(catch_up);
        // Without any it is not fetched yet: the writer is behind still, and is stepped again soon.
        Ok(if missed.is_empty() {
            Step::Idle
        } else {
            Step::Worked
        })
    }

    /// Writes the rows of a chunk that are not below the position and no duplicates.
    fn write(&mut self, chunk: &Chunk) -> Result<()> {
        let late_days = late_days(self.params.processor.time.allowed_lateness_us);
        // Noted before anything is written, and kept when that fails: it is what waits.
        let first = || {
            chunk
                .batches
                .iter()
                .filter_map(|(_, batch)| batch.append_times.first())
        };
        self.uncommitted = self
            .uncommitted
            .or_else(|| first().min().copied().map(LogTime));
        let mut shares: Vec<Share> = vec![Share::new(); chunk.batches.len()];
        for entry in &chunk.entries {
            let Entry::Row { batch: index, row } = *entry else {
                continue;
            };
            let (topic, batch) = &chunk.batches[index as usize];
            let at = row as usize;
            if batch.offsets[at] < self.positions.get(*topic)
                || self.is_duplicate(*topic, batch, at)
            {
                continue;
            }
            let day = folder_day(batch.event_times()[at], batch.append_times[at], late_days);
            let (file, share) = ((batch.dataset_index, day), &mut shares[index as usize]);
            match share.iter_mut().rev().find(|(key, _)| *key == file) {
                Some((_, rows)) => rows.push(row),
                None => share.push((file, vec![row])),
            }
        }
        for (share, (topic, batch)) in shares.into_iter().zip(&chunk.batches) {
            for (key, rows) in share {
                self.write_rows(key, *topic, batch, &rows)?;
            }
        }
        self.positions = self.positions.highest(&chunk.to);
        if self.oldest.is_none() && self.positions != self.cut_from {
            // Duplicates and dead letters only: no file, but a cut in time all the same, or the log
            // would be kept for them, or lose them as if they were rows.
            self.oldest = Some(self.ports.clock.now());
        }
        Ok(())
    }

    /// The same check as the processors', on the same order.
    fn is_duplicate(&mut self, topic: TopicIndex, batch: &Batch, row: usize) -> bool {
        let Some(sequence) = batch.sequence(row) else {
            return false;
        };
        self.trackers.is_duplicate(
            batch.robot_id(row),
            topic,
            batch.boot_id(row).unwrap_or(0),
            sequence,
        )
    }

    fn write_rows(
        &mut self,
        key: (usize, i64),
        topic: TopicIndex,
        batch: &Batch,
        rows: &[u32],
    ) -> Result<()> {
        let schema = file_schema(&table_spec(&batch.dataset)?);
        if !self.open.contains_key(&key) {
            self.attempt += 1;
            // Unique within the partition: the cut it will belong to, and the epoch.
            let from: Vec<u64> = (0..self.params.topics.len())
                .map(|topic| self.cut_from.get(topic))
                .collect();
            let path = record_path(
                &batch.dataset,
                key.1,
                self.partition,
                &from,
                self.epoch,
                self.cuts + 1,
            );
            let attempt = format!("p{}-e{}-{}", self.partition, self.epoch, self.attempt);
            let begun = self.ports.lake.begin(&path, &attempt);
            let upload = begun.inspect_err(write_failed)?;
            self.open.insert(
                key,
                FileWriter::new(upload, &schema, path, &batch.dataset.name)?,
            );
            self.oldest.get_or_insert(self.ports.clock.now());
        }
        if let Some(file) = self.open.get_mut(&key) {
            let times = batch.event_times();
            let rows_of_file = file_rows(
                &schema,
                &self.params.topics[topic],
                self.partition,
                batch,
                rows,
            )?;
            file.write(rows_of_file, rows.iter().map(|row| times[*row as usize]))
                .inspect_err(write_failed)?;
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        // A lake that has failed is tried with little: it costs little should it fail again.
        if self.degraded && !self.is_cut() {
            return true;
        }
        let limits = &self.params.limits;
        let age = self
            .oldest
            .map_or(0, |oldest| self.ports.clock.now().0 - oldest.0);
        self.open.values().map(FileWriter::bytes).sum::<usize>() >= limits.lake_roll_bytes
            || self.open.values().map(FileWriter::memory).sum::<usize>() >= limits.lake_memory_bytes
            || self.open.len() > limits.lake_open_files
            || age >= i64::try_from(limits.lake_roll_age.as_micros()).unwrap_or(i64::MAX)
    }

    fn commit_cut(&mut self) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        let files: Result<Vec<_>> = open.into_values().map(FileWriter::finish).collect();
        let cut = LakeCut {
            cut_number: self.cuts + 1,
            positions: self.positions.clone(),
            state: self.trackers.encode(),
            files: files.inspect_err(write_failed)?,
        };
        self.ports
            .store
            .commit_cut(self.partition, self.epoch, &cut)?;
        self.cuts += 1;
        self.cut_from = self.positions.clone();
        self.oldest = None;
        if let Some(oldest) = self.uncommitted.take() {
            let seconds = self.ports.clock.now().seconds_since(oldest);
            names::end_to_end("lake", seconds);
        }
        self.degraded = false;
        Ok(())
    }
}

/// Counts a call to the lake that failed.
fn write_failed(_: &Error) {
    names::lake_upload_failed("write");
}
