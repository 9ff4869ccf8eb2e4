//! The procedures of a robot: who is remembered, for how long, and who has something to tell.
//!
//! Bounded by number and by age. Finished procedures go before unfinished ones and old ones before
//! young ones; that one was finished is remembered for longer, so that what comes of it afterwards
//! is refused instead of starting a second case under the same id, whose outcome would count from
//! revision 0 again.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use theatre_schemas::records::Outcome;

use crate::procedure::ProcedureActor;

/// Finished procedures that are known to be forgotten; the latest ones.
const FORGOTTEN_MAX: usize = 128;

/// The procedures of one robot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ProcedureTable {
    procedures: BTreeMap<String, ProcedureActor>,
    /// Digests of the ids of finished procedures that made room.
    forgotten: VecDeque<u64>,
    /// How many there were before these. Whoever is admitted later is of this incarnation: should
    /// an id come again that nobody remembers any more, such as a number that a hospital gives
    /// anew, its outcome is told apart from the first one's.
    passed: u64,
    /// The earliest moment of the robot's clock at which one has something to tell; derived, not
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
            procedures: BTreeMap::new(),
            forgotten: VecDeque::new(),
            passed: 0,
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

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &ProcedureActor)> {
        self.procedures.iter()
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut ProcedureActor> {
        self.procedures.get_mut(id)
    }

    /// True when admitting somebody new makes another go, which must then have heard everything
    /// before.
    pub(super) fn is_full(&self, max: usize) -> bool {
        self.procedures.len() >= max.max(1)
    }

    /// The procedure of that id, new if it was not heard of; `None` when it was finished and
    /// forgotten.
    pub(super) fn admit(&mut self, id: &str, max: usize) -> Option<&mut ProcedureActor> {
        if !self.procedures.contains_key(id) {
            if !self.forgotten.is_empty() && self.forgotten.contains(&digest(id)) {
                return None;
            }
            while self.is_full(max) {
                let oldest = self.procedures.iter().min_by_key(|(id, procedure)| {
                    (!procedure.is_published(), procedure.last_seen, *id)
                });
                let Some(id) = oldest.map(|(id, _)| id.clone()) else {
                    break;
                };
                self.forget(&id);
            }
            self.procedures
                .insert(id.to_owned(), ProcedureActor::new(self.passed));
        }
        self.procedures.get_mut(id)
    }

    /// A procedure has something to tell once the robot's clock has reached `due`.
    pub(super) fn due(&mut self, id: &str, due: i64) {
        if let Some(procedure) = self.procedures.get_mut(id) {
            procedure.due = Some(due);
            self.restored();
        }
    }

    /// The outcomes that are due at `clock` and are news, in order of procedure id, each with its
    /// procedure's incarnation.
    pub(super) fn settle(&mut self, robot_id: &str, clock: i64) -> Vec<(u64, Outcome)> {
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

    /// Forgets what was not heard of since `oldest`, event time.
    pub(super) fn expire(&mut self, oldest: i64) {
        let old: Vec<String> = self
            .procedures
            .iter()
            .filter(|(_, procedure)| procedure.last_seen < oldest)
            .map(|(id, _)| id.clone())
            .collect();
        for id in old {
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &str) {
        let Some(procedure) = self.procedures.remove(id) else {
            return;
        };
        if procedure.is_published() {
            if self.forgotten.len() == FORGOTTEN_MAX {
                self.forgotten.pop_front();
                self.passed += 1;
            }
            self.forgotten.push_back(digest(id));
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
    use super::{FORGOTTEN_MAX, ProcedureTable};
    use crate::procedure::{ProcedureEvent, ProcedureMetadata, ProcedureStep};

    #[test]
    fn an_id_that_comes_again_when_nobody_remembers_it_is_of_another_incarnation() {
        let mut procedures = ProcedureTable::default();
        let mut end = |id: &str| {
            let completed = ProcedureEvent {
                time: 0,
                step: ProcedureStep::Completed,
                phase: None,
                metadata: ProcedureMetadata::default(),
            };
            procedures.admit(id, 1)?.insert_event("end", completed);
            procedures.due(id, 0);
            let told = procedures.settle("r", 0);
            Some((told[0].0, told[0].1.revision))
        };
        assert_eq!(end("case-1"), Some((0, 0)));
        for other in 0..FORGOTTEN_MAX {
            assert_eq!(end(&format!("other-{other}")), Some((0, 0)));
        }
        assert_eq!(end("case-1"), None, "it is still known to be forgotten");
        assert_eq!(end("one-more"), Some((1, 0)));
        assert_eq!(end("case-1"), Some((2, 0)));
    }
}
