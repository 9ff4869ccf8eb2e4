//! Reads committed outputs for all listeners, and keeps the newest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, Result, StoredOutput};
use theatre_schemas::records::{Alert, Outcome, Priority};

use super::position::Position;
use crate::model::{self, AlertTransition};

/// Events that are kept for listeners that come back.
const KEPT: usize = 10_000;
/// The kinds of outputs that are events.
const KINDS: [OutputKind; 2] = [OutputKind::Alert, OutputKind::Outcome];
/// Outputs that are read at a time.
const READ: usize = 1000;

/// An output that listeners may hear of.
#[derive(Debug)]
pub(crate) struct Event {
    pub(super) partition: u32,
    pub(super) sequence: u64,
    pub(super) kind: &'static str,
    pub(super) robot: String,
    pub(super) priority: Option<Priority>,
    /// JSON on one line.
    pub(super) data: String,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    /// Up to where outputs were read, by partition.
    read: BTreeMap<u32, u64>,
    /// By partition: outputs above this are in `events`, if listeners may hear of them.
    from: BTreeMap<u32, u64>,
}

/// The newest events.
#[derive(Default)]
pub(crate) struct Feed(Mutex<Kept>);

impl Feed {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is now.
    pub(crate) fn now(&self) -> Position {
        let kept = self.kept();
        let mut now = Position::default();
        for (partition, sequence) in &kept.read {
            now.set(*partition, *sequence);
        }
        now
    }

    /// Reads what was committed since; the first time only how far that is.
    pub(crate) fn read(&self, store: &dyn CheckpointStore) -> Result<()> {
        let partitions = store.layout()?.map_or(0, |(_, partitions)| partitions);
        for partition in 0..partitions {
            let known = self.kept().read.get(&partition).copied();
            let Some(mut after) = known else {
                let last = store.status(partition)?.last_output;
                let mut kept = self.kept();
                kept.read.insert(partition, last);
                kept.from.insert(partition, last);
                continue;
            };
            loop {
                let outputs = store.outputs_after(partition, after, READ)?;
                let Some(last) = outputs.last() else { break };
                after = last.sequence;
                let is_whole = outputs.len() < READ;
                self.keep(partition, after, &outputs);
                if is_whole {
                    break;
                }
            }
        }
        Ok(())
    }

    fn keep(&self, partition: u32, read: u64, outputs: &[StoredOutput]) {
        let events: Vec<Arc<Event>> = outputs.iter().filter_map(event).map(Arc::new).collect();
        let mut kept = self.kept();
        kept.read.insert(partition, read);
        for event in events {
            kept.events.push_back(event);
            if kept.events.len() > KEPT
                && let Some(gone) = kept.events.pop_front()
            {
                kept.from.insert(gone.partition, gone.sequence);
            }
        }
    }

    /// At most `limit` events after a position, and the position after them; `None` where it lies
    /// too far back.
    pub(super) fn after(&self, at: &Position, limit: usize) -> Option<(Vec<Arc<Event>>, Position)> {
        let kept = self.kept();
        let reaches = |(partition, from): (&u32, &u64)| at.get(*partition) >= *from;
        if !kept.from.iter().all(reaches) {
            return None;
        }
        let news = kept
            .events
            .iter()
            .filter(|event| event.sequence > at.get(event.partition));
        let events: Vec<Arc<Event>> = news.take(limit).cloned().collect();
        let mut moved = at.clone();
        if events.len() < limit {
            for (partition, read) in &kept.read {
                // A listener may know of more than this process has read.
                moved.set(*partition, at.get(*partition).max(*read));
            }
        } else {
            for event in &events {
                moved.set(event.partition, event.sequence);
            }
        }
        Some((events, moved))
    }
}

/// The same from the store, partition by partition. Outputs that are no events are passed over
/// at once, however many there are.
pub(super) fn from_store(
    store: &dyn CheckpointStore,
    at: &Position,
    limit: usize,
) -> Result<(Vec<Arc<Event>>, Position)> {
    let partitions = store.layout()?.map_or(0, |(_, partitions)| partitions);
    let (mut events, mut moved) = (Vec::new(), at.clone());
    for partition in 0..partitions {
        let from = at.get(partition);
        // Asked before the outputs: what is committed meanwhile comes the next time.
        let mut upto = store.status(partition)?.last_output.max(from);
        let mut outputs = Vec::new();
        for kind in KINDS {
            let of_kind = store.outputs_of_kind_after(partition, kind, from, limit)?;
            if of_kind.len() >= limit
                && let Some(last) = of_kind.last()
            {
                upto = upto.min(last.sequence);
            }
            outputs.extend(of_kind);
        }
        outputs.retain(|stored| stored.sequence <= upto);
        outputs.sort_by_key(|stored| stored.sequence);
        moved.set(partition, upto);
        events.extend(outputs.iter().filter_map(event).map(Arc::new));
    }
    Ok((events, moved))
}

/// What listeners hear of an output; `None` for windows, of which there are too many.
fn event(stored: &StoredOutput) -> Option<Event> {
    let output = &stored.output;
    let (kind, priority, data) = match output.kind {
        OutputKind::Alert => {
            let alert = Alert::decode(&output.payload).ok()?;
            let shown = json!(AlertTransition::from(&alert));
            ("alert", Some(alert.priority), shown)
        }
        OutputKind::Outcome => {
            let ended = Outcome::decode(&output.payload).ok()?;
            ("outcome", None, json!(model::Outcome::from(&ended)))
        }
        _ => return None,
    };
    Some(Event {
        partition: stored.partition,
        sequence: stored.sequence,
        kind,
        robot: output.robot_id.clone(),
        priority,
        data: data.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use theatre_actors::outputs::{OutputEvent, alert, window};
    use theatre_actors::ports::{PartitionCommit, ProcessorSave};
    use theatre_actors::position::Positions;
    use theatre_actors::time::LogTime;
    use theatre_actors::window::WindowRow;
    use theatre_embedded::store::EmbeddedStore;

    use super::*;

    fn windows(numbers: Range<i64>) -> Vec<OutputEvent> {
        let of = |number: i64| {
            let row = WindowRow {
                window: "1s".to_owned(),
                size_us: 1_000_000,
                start_us: number * 1_000_000,
                revision: 0,
                rows: 1,
                signals: Vec::new(),
            };
            window::output("r", "robot_events", &row)
        };
        numbers.map(of).collect()
    }

    #[test]
    fn who_was_away_for_long_hears_of_what_matters_without_reading_all_windows() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store")).unwrap();
        store.ensure_layout(&["records".to_owned()], 1).unwrap();
        let alerts = |revisions: Range<i32>| {
            revisions.map(|revision| {
                let alert = Alert {
                    condition_id: "c".to_owned(),
                    revision,
                    ..Alert::default()
                };
                alert::output("r", &alert)
            })
        };
        let outputs = windows(0..500).into_iter().chain(alerts(0..3));
        let outputs = outputs.chain(windows(500..1000)).chain(alerts(3..6));
        let epoch = store.acquire(0).unwrap();
        let save = ProcessorSave {
            processor: "r".to_owned(),
            save_number: 1,
            positions: Positions::zero(),
            state: Vec::new(),
            outputs: outputs.chain(windows(1000..1500)).collect(),
            dead: Vec::new(),
        };
        let commit = PartitionCommit {
            partition: 0,
            epoch,
            processors: vec![save],
            floor: Positions::zero(),
        };
        store.commit(&[commit], LogTime(1)).unwrap();
        let mut at = Position::default();
        let mut steps = Vec::new();
        while at.get(0) < 1506 {
            let (events, moved) = from_store(&store, &at, 4).unwrap();
            let found: Vec<u64> = events.iter().map(|event| event.sequence).collect();
            steps.push((found, moved.get(0)));
            at = moved;
            assert!(steps.len() < 10, "{steps:?}");
        }
        assert_eq!(
            steps,
            [(vec![501, 502, 503, 1004], 1004), (vec![1005, 1006], 1506)]
        );
        let (events, moved) = from_store(&store, &at, 4).unwrap();
        assert!(events.is_empty() && moved == at);
    }
}
