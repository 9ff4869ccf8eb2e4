//! The procedures of a robot: which are remembered, for how long, and whose outcomes are due.
//!
//! Bounded by number and by age. Finished procedures go before unfinished ones and old ones before
//! young ones; the id of a finished one is remembered for longer, so that its later rows are
//! refused instead of starting a second case under the same id, whose outcome would count from
//! revision 0 again.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use theatre_schemas::records::Outcome;

use crate::name_map::NameMap;
use crate::procedure::ProcedureActor;

/// Ids of evicted finished procedures that are still known; the latest ones.
const EVICTED_MAX: usize = 128;

/// The procedures of one robot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ProcedureTable {
    procedures: NameMap<ProcedureActor>,
    /// Digests of the ids of finished procedures that made room.
    evicted: VecDeque<u64>,
    /// How many ids were dropped from `evicted`. A procedure that is inserted later is of this
    /// incarnation: should an id come again after it was dropped, such as a number that a hospital
    /// gives anew, its outcome has another id than the first one's.
    incarnation: u64,
    /// The earliest moment of the robot's clock at which an outcome is due; derived, not
    /// stored.
    #[serde(skip, default = "never")]
    next_due: i64,
}

fn never() -> i64 {
    i64::MAX
}

impl Default for ProcedureTable {
    fn default() -> Self {
        Self {
            procedures: NameMap::default(),
            evicted: VecDeque::new(),
            incarnation: 0,
            next_due: never(),
        }
    }
}

impl ProcedureTable {
    /// To be called when it was read from stored state.
    pub(super) fn restored(&mut self) {
        self.next_due = self
            .procedures
            .values()
            .filter_map(|procedure| procedure.due)
            .min()
            .unwrap_or_else(never);
    }

    /// The earliest moment of the robot's clock at which something is due; `i64::MAX` when nothing
    /// is.
    pub(super) fn next_due(&self) -> i64 {
        self.next_due
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &ProcedureActor)> {
        self.procedures.iter()
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut ProcedureActor> {
        self.procedures.get_mut(id)
    }

    /// True when inserting a new procedure evicts another, which must have had all its rows by then.
    pub(super) fn is_full(&self, max: usize) -> bool {
        self.procedures.len() >= max.max(1)
    }

    /// The procedure of that id, a new one if there is none; `None` when it was finished and
    /// evicted.
    pub(super) fn get_or_insert(&mut self, id: &str, max: usize) -> Option<&mut ProcedureActor> {
        if !self.procedures.contains(id) {
            if !self.evicted.is_empty() && self.evicted.contains(&digest(id)) {
                return None;
            }
            while self.is_full(max) {
                let oldest = self.procedures.iter().min_by_key(|(id, procedure)| {
                    (!procedure.is_published(), procedure.last_seen, *id)
                });
                let Some(id) = oldest.map(|(id, _)| id.to_owned()) else {
                    break;
                };
                self.evict(&id);
            }
            self.procedures
                .insert(id, ProcedureActor::new(self.incarnation));
        }
        self.procedures.get_mut(id)
    }

    /// A procedure's outcome is due once the robot's clock has reached `due`.
    pub(super) fn due(&mut self, id: &str, due: i64) {
        if let Some(procedure) = self.procedures.get_mut(id) {
            procedure.due = Some(due);
            self.restored();
        }
    }

    /// The outcomes that are due at `clock` and have changed, in order of procedure id, each with its
    /// procedure's incarnation.
    pub(super) fn take_due(&mut self, robot_id: &str, clock: i64) -> Vec<(u64, Outcome)> {
        if clock < self.next_due {
            return Vec::new();
        }
        let due = self
            .procedures
            .iter_mut()
            .filter(|(_, procedure)| procedure.due.is_some_and(|due| due <= clock));
        let outcomes = due
            .filter_map(|(id, procedure)| {
                Some((procedure.incarnation, procedure.finalize(id, robot_id)?))
            })
            .collect();
        self.restored();
        outcomes
    }

    /// Evicts procedures without a row since `oldest`, event time.
    pub(super) fn expire(&mut self, oldest: i64) {
        let old: Vec<String> = self
            .procedures
            .iter()
            .filter(|(_, procedure)| procedure.last_seen < oldest)
            .map(|(id, _)| id.to_owned())
            .collect();
        for id in old {
            self.evict(&id);
        }
    }

    fn evict(&mut self, id: &str) {
        let Some(procedure) = self.procedures.remove(id) else {
            return;
        };
        if procedure.is_published() {
            if self.evicted.len() == EVICTED_MAX {
                self.evicted.pop_front();
                self.incarnation += 1;
            }
            self.evicted.push_back(digest(id));
        }
        if procedure.due.is_some() {
            self.restored();
        }
    }
}

fn digest(id: &str) -> u64 {
    let digest = Sha256::digest(id.as_bytes());
    u64::from_be_bytes(
        digest[..8]
            .try_into()
            .expect("a SHA-256 digest has 32 bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::{EVICTED_MAX, ProcedureTable};
    use crate::procedure::{ProcedureEvent, ProcedureMetadata, ProcedureStep};

    #[test]
    fn an_id_that_comes_again_after_it_was_dropped_is_of_another_incarnation() {
        let mut procedures = ProcedureTable::default();
        let mut end = |id: &str| {
            let completed = ProcedureEvent {
                time: 0,
                step: ProcedureStep::Completed,
                phase: None,
                metadata: ProcedureMetadata::default(),
            };
            procedures
                .get_or_insert(id, 1)?
                .insert_event("end", completed);
            procedures.due(id, 0);
            let outcomes = procedures.take_due("r", 0);
            Some((outcomes[0].0, outcomes[0].1.revision))
        };
        assert_eq!(end("case-1"), Some((0, 0)));
        for other in 0..EVICTED_MAX {
            assert_eq!(end(&format!("other-{other}")), Some((0, 0)));
        }
        assert_eq!(end("case-1"), None, "its id is still known");
        assert_eq!(end("one-more"), Some((1, 0)));
        assert_eq!(end("case-1"), Some((2, 0)));
    }
}
