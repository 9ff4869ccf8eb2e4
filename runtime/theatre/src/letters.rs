//! Dead letters sent again for the HTTP interface, as `theatre dlq replay` does it.

use std::sync::Arc;
use std::time::Duration;

use theatre_actors::ports::{AccessStore, CheckpointStore, EventLog, Result};
use theatre_actors::position::Partition;
use theatre_api::{LetterFate, LetterReplays, LetterReport};
use theatre_embedded::data_dir::DataDir;
use theatre_operations::dead_letters::Selection;
use theatre_operations::dead_letters::replay::{BATCH, Letter, Replaying, Report};
use theatre_operations::lease::{DEAD_LETTERS, Lease};
use theatre_pipeline::PipelineParams;
use theatre_system::clock::SystemClock;

/// How long another producer's open transaction is waited for: a caller waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// A record that was sent again so often and died each time is not sent any more.
const REPLAYS_MAX: u32 = 3;

/// Sends records of dead letters again.
pub(crate) struct Letters {
    params: PipelineParams,
    log: Arc<dyn EventLog>,
    store: Arc<dyn CheckpointStore>,
    access: Arc<dyn AccessStore>,
    /// The directory whose lock proves that no command works on dead letters, where the store is an
    /// embedded one.
    alone: Option<DataDir>,
}

impl Letters {
    pub(crate) fn open(
        params: PipelineParams,
        log: Arc<dyn EventLog>,
        store: Arc<dyn CheckpointStore>,
        access: Arc<dyn AccessStore>,
        alone: Option<DataDir>,
    ) -> Arc<dyn LetterReplays> {
        Arc::new(Self {
            params,
            log,
            store,
            access,
            alone,
        })
    }

    fn asked<'a>(&'a self, selection: &'a Selection) -> Replaying<'a> {
        Replaying {
            params: &self.params,
            log: &*self.log,
            store: &*self.store,
            clock: &SystemClock,
            selection,
            max_replays: REPLAYS_MAX,
            at_once: BATCH,
            patience: PATIENCE,
        }
    }
}

fn selection(letters: &[(Partition, u64)]) -> Selection {
    Selection {
        some: letters.to_vec(),
        ..Selection::default()
    }
}

fn reported(report: Report) -> LetterReport {
    let fate = |letter: Letter| LetterFate {
        partition: letter.partition,
        number: letter.number,
        topic: letter.topic,
        offset: letter.offset,
        reason: letter.reason,
        replays: letter.replays,
        robot_id: letter.robot_id,
        source: letter.source,
        to_partition: letter.to_partition,
        fate: letter.fate,
        detail: letter.detail,
    };
    LetterReport {
        selected: report.selected,
        sent: report.sent,
        found: report.found,
        refused: report.refused,
        letters: report.letters.into_iter().map(fate).collect(),
    }
}

impl LetterReplays for Letters {
    fn look(&self, letters: &[(Partition, u64)]) -> Result<LetterReport> {
        self.asked(&selection(letters)).look().map(reported)
    }

    fn send(&self, letters: &[(Partition, u64)]) -> (LetterReport, Result<()>) {
        let mut report = Report::default();
        let mut send = || {
            let alone = self.alone.as_ref().map(DataDir::lock_dead_letters);
            let alone = alone.transpose()?;
            let mut lease =
                Lease::take(DEAD_LETTERS, &*self.access, &SystemClock, alone.is_some())?;
            let selection = selection(letters);
            let asked = self.asked(&selection);
            asked.run(&mut report, &mut || lease.hold(), &mut |_| ())
        };
        let done = send();
        (reported(report), done)
    }
}
