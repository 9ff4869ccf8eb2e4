//! Sends the records of dead letters again to the topics that they came from.
//!
//! A copy is a new record, with the bytes and the key of the first, and comes in by the ordinary
//! door. Its dead letter is noted as begun before it is appended, with the end of the log at that
//! moment, and as done with its offset afterwards. One that is killed in between leaves it in
//! doubt: the next replay becomes the one that appends, so that nothing more can come of the one
//! before, looks in the log from that end on to the present end, and appends only what is not
//! there. What another producer's open transaction hides is waited for.

mod report;
mod work;

use std::time::Duration;

use theatre_actors::ports::{Appender, CheckpointStore, EventLog, Result, StoredDead};
use theatre_actors::time::Clock;
use theatre_pipeline::PipelineParams;

pub use self::report::{Letter, Report};
use super::{Selection, Worker, walk};
use work::{Planned, Work};

/// Records that are appended together, unless fewer are wished for.
pub const BATCH: usize = 100;
/// Bytes of keys and values that are appended together; a larger record goes alone.
const BATCH_BYTES: usize = 1 << 20;

/// The name under which one replay at a time appends. A purge takes it as well, so that a replay that
/// was frozen appends nothing that is erased.
pub(super) const APPENDER: &str = "dead-letters";

/// The header that says how often a record was sent again.
pub const COUNT_HEADER: &str = "theatre-replay";
/// The header that names the record of which this is a copy: topic, partition and offset.
pub const ORIGIN_HEADER: &str = "theatre-replay-of";

/// Dead letters that are to be sent again.
pub struct Replaying<'a> {
    /// The pipeline from whose inputs they came.
    pub params: &'a PipelineParams,
    /// The log.
    pub log: &'a dyn EventLog,
    /// The store.
    pub store: &'a dyn CheckpointStore,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Which are meant.
    pub selection: &'a Selection,
    /// A record that was sent again so often is not sent any more.
    pub max_replays: u32,
    /// At most so many records are appended together.
    pub at_once: usize,
    /// Where another producer's transaction hides what may be a copy, it is waited for so long.
    pub patience: Duration,
}

impl Replaying<'_> {
    /// Sends them; `hold` is called before each step and in each wait and ends the work when it
    /// fails, `progress` after each append, which may wait. `report` says also after a failure what
    /// was done.
    ///
    /// # Errors
    /// When log or store do not answer, when another producer's transaction stays open, and what
    /// `hold` fails with. The command can be repeated.
    pub fn run(
        &self,
        report: &mut Report,
        hold: &mut dyn FnMut() -> Result<()>,
        progress: &mut dyn FnMut(&Report),
    ) -> Result<()> {
        let mut work = Work::begin(self)?;
        // Before it is looked what is there: nothing is added by the one before from here on.
        let appender = self.log.open_appender(APPENDER)?;
        work.settle(report, true, hold)?;
        let mut sending = Sending {
            work,
            appender,
            batch: Vec::new(),
            bytes: 0,
            report,
            hold,
            progress,
        };
        walk(self.store, self.selection, &mut sending)
    }

    /// Says what would be sent and what would become of it, and changes nothing.
    ///
    /// # Errors
    /// When log or store do not answer, or another producer's transaction stays open.
    pub fn look(&self) -> Result<Report> {
        let mut report = Report::default();
        let mut work = Work::begin(self)?;
        work.settle(&mut report, false, &mut || Ok(()))?;
        let mut looking = Looking {
            work,
            report: &mut report,
        };
        walk(self.store, self.selection, &mut looking)?;
        Ok(report)
    }
}

/// Sends what is meant.
struct Sending<'a> {
    work: Work<'a>,
    appender: Box<dyn Appender + 'a>,
    batch: Vec<Planned>,
    /// Bytes of keys and values in the batch.
    bytes: usize,
    report: &'a mut Report,
    hold: &'a mut dyn FnMut() -> Result<()>,
    progress: &'a mut dyn FnMut(&Report),
}

impl Worker for Sending<'_> {
    fn turn_to(&mut self, page: &[StoredDead]) -> Result<()> {
        self.work.turn_to(page)
    }

    fn take(&mut self, stored: &StoredDead) -> Result<bool> {
        (self.hold)()?;
        self.report.selected += 1;
        match self.work.look(stored)? {
            Err(refusal) => {
                self.report.refuse(refusal);
                return Ok(false);
            }
            Ok(looked) => {
                let planned = looked.planned;
                if self.bytes + planned.bytes() > BATCH_BYTES {
                    self.end_page()?;
                }
                self.bytes += planned.bytes();
                self.batch.push(planned);
            }
        }
        if self.batch.len() >= self.work.at_once() {
            self.end_page()?;
        }
        Ok(true)
    }

    fn end_page(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let appender = &mut *self.appender;
        self.work.send(&batch, appender, self.report, self.hold)?;
        (self.progress)(self.report);
        Ok(())
    }
}

/// Says what would become of what is meant.
struct Looking<'a> {
    work: Work<'a>,
    report: &'a mut Report,
}

impl Worker for Looking<'_> {
    fn turn_to(&mut self, page: &[StoredDead]) -> Result<()> {
        self.work.turn_to(page)
    }

    fn take(&mut self, stored: &StoredDead) -> Result<bool> {
        self.report.selected += 1;
        let (is_sent, letter) = match self.work.look(stored)? {
            Ok(looked) => (true, self.work.foreseen(stored, looked)?),
            Err(refusal) => {
                self.report.refuse(refusal);
                (false, self.work.refused(stored, refusal))
            }
        };
        self.report.sent += u64::from(is_sent);
        self.report.letters.push(letter);
        Ok(is_sent)
    }

    fn end_page(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
