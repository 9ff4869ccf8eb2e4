//! A receiver of alerts: it fails now and then, also after it has taken one, and says now and then
//! that it cannot take one for now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, Error, StoredOutput};
use theatre_pipeline::outbox::{Consumer, OutputSink, Receipt, Stream};

/// The name of its position.
pub(super) const NAME: &str = "notify/pager";

struct State {
    random: ChaCha8Rng,
    /// The numbers of the alerts that it has taken, in the order in which they came.
    came: Vec<u64>,
}

/// The receiver.
pub(super) struct Pager(Mutex<State>);

impl Pager {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(State {
            random: ChaCha8Rng::seed_from_u64(seed),
            came: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every alert of the store came, at least once, and those of each condition came for the first
    /// time in order.
    ///
    /// # Errors
    /// Says what is missing or came too early.
    pub(super) fn check(&self, store: &dyn CheckpointStore) -> Result<()> {
        let stored = store.outputs_of_kind_after(0, OutputKind::Alert, 0, usize::MAX >> 1)?;
        let mut seen = BTreeSet::new();
        let mut first_times = self.lock().came.clone();
        first_times.retain(|sequence| seen.insert(*sequence));
        let wanted: BTreeSet<u64> = stored.iter().map(|output| output.sequence).collect();
        ensure!(
            seen == wanted,
            "the receiver got alerts {first_times:?} of {wanted:?}"
        );
        let conditions: BTreeMap<u64, &str> = stored
            .iter()
            .map(|output| (output.sequence, output.output.id.as_str()))
            .collect();
        let mut last = BTreeMap::new();
        for sequence in &first_times {
            let before = last.insert(conditions.get(sequence), sequence);
            ensure!(
                before.is_none_or(|before| before < sequence),
                "the receiver got alert {sequence} after {before:?} of its condition"
            );
        }
        Ok(())
    }
}

impl OutputSink for Pager {
    fn consumer(&self) -> Consumer {
        Consumer {
            name: NAME.into(),
            stream: Stream::OutputsOf(OutputKind::Alert),
            backlog: "outputs are not looked at for the pager".into(),
        }
    }

    fn patience(&self) -> Duration {
        Duration::MAX
    }

    fn wants(
        &self,
        _: &StoredOutput,
        _: &dyn CheckpointStore,
    ) -> theatre_actors::ports::Result<bool> {
        Ok(true)
    }

    fn take(
        &self,
        output: &StoredOutput,
        _: &dyn CheckpointStore,
    ) -> theatre_actors::ports::Result<Receipt> {
        let mut state = self.lock();
        let fate = state.random.random_range(0..9);
        if fate == 0 {
            return Ok(Receipt::NotNow("it cannot take it now".to_owned()));
        }
        if fate > 1 {
            state.came.push(output.sequence);
        }
        if fate < 3 {
            return Err(Error::Unavailable {
                what: "pager",
                why: "it does not answer".to_owned(),
            });
        }
        Ok(Receipt::Taken)
    }
}
