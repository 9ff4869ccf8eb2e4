//! Which conditions are open, as far as transitions tell: what a recipient that may forget is sent
//! again. The saved states of all robots are read once; after that only what was committed since, so
//! what it costs goes by what happens and not by how many robots there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use theatre_actors::control::is_robot;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, Error, Result};
use theatre_actors::position::Partition;
use theatre_actors::processor::ProcessorView;
use theatre_schemas::records::{Alert, Transition};

/// Outputs that are read at a time.
const AT_ONCE: usize = 1000;

/// The open conditions of each partition that was asked for.
#[derive(Debug, Default)]
pub(super) struct OpenConditions(Mutex<HashMap<Partition, Followed>>);

/// Those of one partition.
#[derive(Debug)]
struct Followed {
    /// The sequence number up to which its transitions are in it.
    read_to: u64,
    /// The robot of each, by the condition's id.
    open: BTreeMap<String, String>,
}

impl OpenConditions {
    /// The conditions that are open in a partition by what is committed, each with its robot. Some may
    /// be over already, as those of a state that was saved after the last transition that was read.
    ///
    /// # Errors
    /// When the store does not answer, or a state or transition in it cannot be read; the next time
    /// goes on from where the last one came to.
    pub(super) fn of(
        &self,
        partition: Partition,
        store: &dyn CheckpointStore,
    ) -> Result<Vec<(String, String)>> {
        // Another partition does not wait for what the store answers about this one.
        let known = self.lock().remove(&partition);
        let mut followed = match known {
            Some(known) => known,
            None => Followed::begin(partition, store)?,
        };
        let went_on = followed.go_on(partition, store);
        let open = followed.open.iter();
        let open = open.map(|(condition, robot)| (condition.clone(), robot.clone()));
        let open = open.collect();
        self.lock().insert(partition, followed);
        went_on.map(|()| open)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, Followed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// By the saved states, which are at least as new as the number that was asked for before.
    fn begin(partition: Partition, store: &dyn CheckpointStore) -> Result<Self> {
        let mut followed = Self {
            read_to: store.status(partition)?.last_output,
            open: BTreeMap::new(),
        };
        for stored in store.processors(partition)? {
            if stored.processor.is_empty() || !is_robot(&stored.processor) {
                continue;
            }
            let view = ProcessorView::from_state(&stored.processor, &stored.state);
            let view = view.map_err(|error| {
                Error::Refused(format!(
                    "the state of robot '{}' cannot be read: {error}",
                    stored.processor
                ))
            })?;
            let ids = view.conditions.into_iter();
            let ids = ids.filter_map(|condition| condition.condition_id);
            let of_robot = ids.map(|id| (id, stored.processor.clone()));
            followed.open.extend(of_robot);
        }
        Ok(followed)
    }

    /// By the transitions since.
    fn go_on(&mut self, partition: Partition, store: &dyn CheckpointStore) -> Result<()> {
        loop {
            let kind = OutputKind::Alert;
            let outputs = store.outputs_of_kind_after(partition, kind, self.read_to, AT_ONCE)?;
            for output in &outputs {
                // One that cannot be read is refused where it is delivered.
                if let Ok(alert) = Alert::decode(&output.output.payload) {
                    match alert.transition {
                        Transition::Cleared => drop(self.open.remove(&alert.condition_id)),
                        _ => drop(self.open.insert(alert.condition_id, alert.robot_id)),
                    }
                }
                self.read_to = output.sequence;
            }
            if outputs.len() < AT_ONCE {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use theatre_actors::outputs::alert;
    use theatre_actors::ports::{PartitionCommit, ProcessorSave};
    use theatre_actors::position::Positions;
    use theatre_actors::time::LogTime;
    use theatre_testkit::memory::store::MemoryStore;

    use super::*;

    /// Commits transitions of a robot's conditions, with a state that cannot be read.
    fn commit(store: &MemoryStore, moves: &[(&str, Transition)]) {
        let epoch = store.acquire(0).unwrap();
        let output = |(at, (condition, transition)): (usize, &(&str, Transition))| {
            let revision = epoch as i32 * 10 + at as i32;
            let alert = Alert {
                alert_id: format!("{condition}-{revision}"),
                revision,
                condition_id: (*condition).to_owned(),
                robot_id: "r".to_owned(),
                transition: *transition,
                ..Alert::default()
            };
            alert::output("r", &alert)
        };
        let save = ProcessorSave {
            processor: "r".to_owned(),
            save_number: epoch,
            positions: Positions::zero(),
            state: vec![0xff; 3],
            outputs: moves.iter().enumerate().map(output).collect(),
            dead: Vec::new(),
        };
        let commit = PartitionCommit {
            partition: 0,
            epoch,
            processors: vec![save],
            floor: Positions::zero(),
        };
        store.commit(&[commit], LogTime(1)).unwrap();
    }

    #[test]
    fn states_are_read_once_and_then_transitions_say_what_is_open() {
        let store = MemoryStore::default();
        let open = OpenConditions::default();
        let shown = || -> Vec<String> {
            let all = open.of(0, &store).unwrap().into_iter();
            all.map(|(condition, robot)| format!("{condition} on {robot}"))
                .collect()
        };
        assert_eq!(shown(), Vec::<String>::new());
        for (moves, expected) in [
            (
                vec![("a", Transition::Raised), ("b", Transition::Raised)],
                vec!["a on r", "b on r"],
            ),
            (vec![], vec!["a on r", "b on r"]),
            (
                vec![("b", Transition::Acknowledged), ("a", Transition::Cleared)],
                vec!["b on r"],
            ),
            (
                vec![("c", Transition::Raised), ("c", Transition::Cleared)],
                vec!["b on r"],
            ),
        ] {
            commit(&store, &moves);
            assert_eq!(shown(), expected);
        }
        // Who begins now reads the states, of which one cannot be read.
        let error = OpenConditions::default().of(0, &store).unwrap_err();
        assert!(error.to_string().contains("robot 'r'"), "{error}");
    }
}
