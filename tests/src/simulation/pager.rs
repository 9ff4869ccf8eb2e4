//! A receiver of alerts: it fails now and then, also after it has taken one, and says now and then
//! that it cannot take one for now. Which ones it wants is up to a recipient of the product.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use theatre_actors::outputs::OutputEvent;
use theatre_actors::ports::{CheckpointStore, Error, PartitionCommit, ProcessorSave, StoredOutput};
use theatre_actors::position::Positions;
use theatre_actors::time::{Clock, LogTime};
use theatre_notify::Recipient;
use theatre_pipeline::outbox::{Consumer, OutputSink, Receipt};
use theatre_schemas::records::Alert;
use theatre_testkit::memory::store::MemoryStore;

/// The name of its position.
pub(super) const NAME: &str = "notify/pager";

/// An alert: its condition, and the number of the transition in the condition's life.
type Sent = (String, u32);

struct State {
    random: ChaCha8Rng,
    /// The alerts that it has taken, in the order in which they came.
    came: Vec<Sent>,
}

/// The receiver.
pub(super) struct Pager {
    /// Filters what it is sent.
    recipient: Recipient,
    state: Mutex<State>,
}

impl Pager {
    /// With other filters for other seeds. None by facility: in which one a robot stands may become
    /// known before an alert is sent, or after it.
    pub(super) fn new(seed: u64, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut section = serde_json::json!({
            "name": "pager", "kind": "webhook", "url": "http://localhost", "secret_variable": "NONE",
        });
        let (key, filter) = match seed / 2 % 4 {
            1 => ("priorities", serde_json::json!(["high"])),
            2 => ("escalation_at_least", serde_json::json!(1)),
            3 => (
                "transitions",
                serde_json::json!(["raised", "unsilenced", "cleared"]),
            ),
            _ => ("rules", serde_json::json!([])),
        };
        section[key] = filter;
        Ok(Self {
            recipient: Recipient::new(&serde_json::from_value(section)?, clock),
            state: Mutex::new(State {
                random: ChaCha8Rng::seed_from_u64(seed),
                came: Vec::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is to be sent of these alerts, in a store that has all of them from the beginning.
    fn wanted(&self, alerts: Vec<OutputEvent>) -> Result<BTreeSet<Sent>> {
        let store = MemoryStore::default();
        let epoch = store.acquire(0)?;
        let save = ProcessorSave {
            processor: String::new(),
            save_number: 1,
            positions: Positions::zero(),
            state: Vec::new(),
            outputs: alerts,
            dead: Vec::new(),
        };
        let commit = PartitionCommit {
            partition: 0,
            epoch,
            processors: vec![save],
            floor: Positions::zero(),
        };
        store.commit(&[commit], LogTime(0))?;
        let mut wanted = BTreeSet::new();
        for stored in store.outputs_after(0, 0, usize::MAX >> 1)? {
            if self.recipient.wants(&stored, &store)? {
                wanted.insert(sent(&stored));
            }
        }
        Ok(wanted)
    }

    /// Of the alerts that there must be, all came that its filters let through, at least once, and
    /// no others; those of each condition came for the first time in order. Returns how many they
    /// are.
    ///
    /// # Errors
    /// Says what is missing, should not have come, or came too early.
    pub(super) fn check(&self, alerts: Vec<OutputEvent>) -> Result<usize> {
        let mut words = BTreeMap::new();
        for output in &alerts {
            let transition = Alert::decode(&output.payload)?.transition;
            let of = format!(
                "'{}' of '{}' is {transition:?}",
                output.subject, output.robot_id
            );
            words.insert((output.id.clone(), output.revision), of);
        }
        let wanted = self.wanted(alerts)?;
        let came = self.lock().came.clone();
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<&str, u32> = BTreeMap::new();
        for alert in came.iter().filter(|alert| seen.insert(*alert)) {
            let known = words.get(alert).map_or("which never was", String::as_str);
            ensure!(
                wanted.contains(alert),
                "the receiver was sent what it is not to be sent: {alert:?}, {known}"
            );
            let before = last.insert(&alert.0, alert.1);
            ensure!(
                before.is_none_or(|before| before < alert.1),
                "the receiver got {alert:?} after {before:?} of its condition"
            );
        }
        let missing = wanted.iter().find(|alert| !seen.contains(alert));
        ensure!(
            missing.is_none(),
            "the receiver was never sent {missing:?}: {:?}",
            missing.and_then(|alert| words.get(alert))
        );
        Ok(wanted.len())
    }
}

fn sent(output: &StoredOutput) -> Sent {
    (output.output.id.clone(), output.output.revision)
}

impl OutputSink for Pager {
    fn consumer(&self) -> Consumer {
        self.recipient.consumer()
    }

    fn patience(&self) -> Duration {
        Duration::MAX
    }

    fn wants(
        &self,
        output: &StoredOutput,
        store: &dyn CheckpointStore,
    ) -> theatre_actors::ports::Result<bool> {
        self.recipient.wants(output, store)
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
            state.came.push(sent(output));
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
