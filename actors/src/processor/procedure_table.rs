//! The procedures of a robot: which are remembered, for how long, and whose outcomes are due.
//!
//! Bounded by number and by age. Finished procedures go before unfinished ones and old ones before
//! young ones; the id of a finished one is remembered for longer, so that its later rows are
//! refused instead of starting a second case under the same id, whose outcome would count from
//! revision 0 again.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use theatre_schemas::dataset::DatasetIndex;
use theatre_schemas::records::ProcedureState;

use crate::name_map::NameMap;
use crate::procedure::{Conclusion, Course, IndicatorColumns, Leg, ProcedureActor, ProcedureV2};

/// Most ended cases of a robot of which the rows are kept apart for corrections; of the others only
/// the indicators are kept.
const OPEN_COURSES_MAX: usize = 8;
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
    /// The same with the closing of courses.
    #[serde(skip, default = "never")]
    next_event: i64,
}

/// As versions 1 and 2 of the processor stored it.
#[derive(Debug, Deserialize)]
pub(super) struct ProcedureTableV2 {
    procedures: NameMap<ProcedureV2>,
    evicted: VecDeque<u64>,
    incarnation: u64,
}

impl From<ProcedureTableV2> for ProcedureTable {
    fn from(stored: ProcedureTableV2) -> Self {
        Self {
            procedures: stored.procedures.map(ProcedureActor::from),
            evicted: stored.evicted,
            incarnation: stored.incarnation,
            ..Self::default()
        }
    }
}

/// What a procedure has concluded.
pub(super) struct Concluded {
    pub(super) procedure_id: String,
    /// The id of its leg on the robot.
    pub(super) leg_id: String,
    pub(super) conclusion: Conclusion,
}

/// When and by what the procedures conclude.
#[derive(Clone, Copy)]
pub(super) struct Concluding<'a> {
    pub(super) robot_id: &'a str,
    pub(super) clock: i64,
    pub(super) reorder_bound_us: i64,
    pub(super) allowed_lateness_us: i64,
    pub(super) indicators: &'a BTreeMap<DatasetIndex, IndicatorColumns>,
}

/// The id of a case's leg on a robot. A case that moves to another robot has a leg on each.
pub(super) fn leg_id(procedure_id: &str, robot_id: &str, incarnation: u64) -> String {
    let mut id = format!(
        "{}/{}",
        without_slash(procedure_id),
        without_slash(robot_id)
    );
    if incarnation > 0 {
        id.push_str(&format!("/{incarnation}"));
    }
    id
}

/// Of all cases and when they were on the robot, those that were there at the same time as one.
fn overlaps(spans: &[(&str, Option<(i64, i64)>)], at: usize) -> Vec<String> {
    let Some((from, to)) = spans[at].1 else {
        return Vec::new();
    };
    let others = spans.iter().enumerate().filter(|(other, _)| *other != at);
    others
        .filter(|(_, (_, span))| span.is_some_and(|(start, end)| start < to && from < end))
        .map(|(_, (id, _))| (*id).to_owned())
        .collect()
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
            next_event: never(),
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
        // One whose outcome is due is closed after that.
        let closing = (self.procedures.values())
            .filter(|procedure| procedure.due.is_none())
            .filter_map(|procedure| procedure.course().and_then(Course::closes_at));
        self.next_event = closing.min().unwrap_or_else(never).min(self.next_due);
    }

    /// The earliest moment of the robot's clock at which an outcome is due; `i64::MAX` when none
    /// is.
    pub(super) fn next_due(&self) -> i64 {
        self.next_due
    }

    /// The earliest moment of the robot's clock at which [`Self::take_due`] has something to do.
    pub(super) fn next_event(&self) -> i64 {
        self.next_event
    }

    /// Whether an outcome that was published may be revised.
    pub(super) fn are_published(&self) -> bool {
        self.procedures.values().any(ProcedureActor::is_published)
    }

    /// Folds the rows of all cases that the watermark has passed.
    pub(super) fn settle(
        &mut self,
        indicators: &BTreeMap<DatasetIndex, IndicatorColumns>,
        watermark: i64,
    ) {
        for procedure in self.procedures.values_mut() {
            if let Some(course) = procedure.course_mut() {
                course.settle_with(indicators.values(), watermark);
            }
        }
    }

    /// The states of procedures that differ from what was published last.
    pub(super) fn revise_states(&mut self, robot_id: &str) -> Vec<ProcedureState> {
        let spans: Vec<(&str, Option<(i64, i64)>)> = (self.procedures.iter())
            .map(|(id, procedure)| (id, procedure.under_way()))
            .collect();
        let overlaps: Vec<Vec<String>> = (0..spans.len()).map(|at| overlaps(&spans, at)).collect();
        let all = self.procedures.iter_mut().zip(overlaps);
        let changed = all.filter_map(|((id, procedure), overlaps)| {
            if procedure.is_described(&overlaps) {
                return None;
            }
            let leg_id = leg_id(id, robot_id, procedure.incarnation);
            let leg = Leg {
                procedure_id: id,
                robot_id,
                id: &leg_id,
            };
            procedure.revise_state(leg, overlaps)
        });
        changed.collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &ProcedureActor)> {
        self.procedures.iter()
    }

    pub(super) fn get(&self, id: &str) -> Option<&ProcedureActor> {
        self.procedures.get(id)
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

    /// What is due at a clock and has changed, in order of procedure id. Courses of which no row can
    /// come any more are closed.
    pub(super) fn take_due(&mut self, at: Concluding<'_>) -> Vec<Concluded> {
        if at.clock < self.next_event {
            return Vec::new();
        }
        let mut concluded = Vec::new();
        for (id, procedure) in self.procedures.iter_mut() {
            if procedure.due.is_none_or(|due| due > at.clock) {
                continue;
            }
            let watermark = at.clock.saturating_sub(at.reorder_bound_us);
            let mut columns = None;
            if let Some(course) = procedure.course_mut() {
                columns = course.columns(at.indicators.values());
                course.settle_with(columns, watermark);
            }
            let leg_id = leg_id(id, at.robot_id, procedure.incarnation);
            let leg = Leg {
                procedure_id: id,
                robot_id: at.robot_id,
                id: &leg_id,
            };
            let conclusion = procedure.conclude(leg, columns);
            let closes_at = procedure.ended_at().map(|ended_at| {
                ended_at
                    .saturating_add(at.allowed_lateness_us)
                    .saturating_add(at.reorder_bound_us)
            });
            if let (Some(course), Some(closes_at)) = (procedure.course_mut(), closes_at) {
                course.close_at(closes_at);
            }
            concluded.push(Concluded {
                procedure_id: id.to_owned(),
                leg_id,
                conclusion,
            });
        }
        self.close_courses(at.clock);
        self.restored();
        concluded
    }

    /// Closes courses that no row can change any more, and the oldest ones of too many.
    fn close_courses(&mut self, clock: i64) {
        let mut open: Vec<(i64, String)> = (self.procedures.iter())
            .filter(|(_, procedure)| procedure.due.is_none())
            .filter_map(|(id, procedure)| Some((procedure.course()?.closes_at()?, id.to_owned())))
            .collect();
        open.sort_unstable();
        let too_many = open.len().saturating_sub(OPEN_COURSES_MAX);
        for (at, (closes_at, id)) in open.iter().enumerate() {
            // At the end of a recording, or in a silence, rows may still come.
            if ((*closes_at <= clock && clock < i64::MAX) || at < too_many)
                && let Some(procedure) = self.procedures.get_mut(id)
            {
                procedure.close_course();
            }
        }
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
        self.restored();
    }
}

/// A part of an id, so that ids of other parts are others: slashes, which part them,
/// percent-encoded, as is the percent sign (RFC 3986).
pub(crate) fn without_slash(part: &str) -> Cow<'_, str> {
    if part.contains(['/', '%']) {
        Cow::Owned(part.replace('%', "%25").replace('/', "%2F"))
    } else {
        Cow::Borrowed(part)
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
    use std::collections::BTreeMap;

    use super::{Concluding, EVICTED_MAX, ProcedureTable};
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
            let concluded = procedures.take_due(Concluding {
                robot_id: "r",
                clock: 0,
                reorder_bound_us: 0,
                allowed_lateness_us: 0,
                indicators: &BTreeMap::new(),
            });
            let incarnation = concluded[0].leg_id.split('/').nth(2);
            let incarnation = incarnation.map_or(0, |of| of.parse().unwrap());
            let outcome = concluded[0].conclusion.outcome.as_ref()?;
            Some((incarnation, outcome.revision))
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
