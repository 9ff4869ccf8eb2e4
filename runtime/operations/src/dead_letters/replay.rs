//! Sends the records of dead letters again to the topics that they came from.
//!
//! A copy is a new record, with the bytes and the key of the first, and comes in by the ordinary
//! door. Its dead letter is noted as begun before it is appended, with the end of the log at that
//! moment, and as done with its offset afterwards. One that is killed in between leaves it in
//! doubt: the next replay looks in the log from that end on, and appends only what is not there.

mod report;
mod work;

use theatre_actors::ports::{CheckpointStore, EventLog, Result};
use theatre_actors::time::Clock;
use theatre_pipeline::PipelineParams;

pub use self::report::{Letter, Report};
use super::{Pages, Selection};
use work::Work;

/// Records that are appended together, unless fewer are wished for.
pub const BATCH: usize = 100;

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
}

impl Replaying<'_> {
    /// Sends them; `hold` is called before each append and ends the work when it fails, `progress`
    /// after each, which may wait. `report` says also after a failure what was done.
    ///
    /// # Errors
    /// When log or store do not answer, and what `hold` fails with. The command can be repeated.
    pub fn run(
        &self,
        report: &mut Report,
        hold: &mut dyn FnMut() -> Result<()>,
        progress: &mut dyn FnMut(&Report),
    ) -> Result<()> {
        let mut work = Work::begin(self)?;
        work.settle(report, true)?;
        let mut pages = Pages::begin(self.store, self.selection)?;
        let mut batch = Vec::new();
        let mut is_enough = false;
        while let Some(page) = pages.next()? {
            for stored in &page {
                is_enough = self.selection.is_enough(report.sent + batch.len() as u64);
                if is_enough {
                    break;
                }
                report.selected += 1;
                match work.look(stored)? {
                    Ok(looked) => batch.push(looked.planned),
                    Err(refusal) => report.refuse(refusal),
                }
                if batch.len() >= self.at_once {
                    work.send(&std::mem::take(&mut batch), report, hold)?;
                    progress(report);
                }
            }
            if is_enough {
                break;
            }
        }
        if !batch.is_empty() {
            work.send(&batch, report, hold)?;
            progress(report);
        }
        Ok(())
    }

    /// Says what would be sent and what would become of it, and changes nothing.
    ///
    /// # Errors
    /// When log or store do not answer.
    pub fn look(&self) -> Result<Report> {
        let mut report = Report::default();
        let mut work = Work::begin(self)?;
        work.settle(&mut report, false)?;
        let mut pages = Pages::begin(self.store, self.selection)?;
        while let Some(page) = pages.next()? {
            for stored in &page {
                if self.selection.is_enough(report.sent) {
                    return Ok(report);
                }
                report.selected += 1;
                let letter = match work.look(stored)? {
                    Ok(looked) => {
                        report.sent += 1;
                        work.foreseen(stored, looked)?
                    }
                    Err(refusal) => {
                        report.refuse(refusal);
                        work.refused(stored, refusal)
                    }
                };
                report.letters.push(letter);
            }
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
