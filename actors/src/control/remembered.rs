//! What the actor of a partition remembers of what was said to all robots.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::change::{self, RuleChange, RuleChangeV4};
use super::{ControlRecord, Said};
use crate::alerts::{Action, check_wide};
use crate::position::{Positions, TopicIndex};
use crate::rare::Beginning;

/// How long a silence is remembered after its end, microseconds: longer than any processor is behind.
const KEPT_US: i64 = 86_400_000_000;
/// Changes of rules that are remembered: of more, those that a later one replaced are forgotten.
/// Processors are at most a save interval behind, so none needs one.
pub(super) const RECORDS_MAX: usize = 512;
/// An action that comes again within so long, by append times, changes nothing; microseconds.
const KNOWN_US: i64 = 86_400_000_000;
/// It is known by its id among so many that came before it.
const KNOWN_MAX: usize = 512;

/// An action that has come, by its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Acted {
    /// Fingerprint of its id.
    id: u64,
    topic: TopicIndex,
    /// The offset after it; 0 where it was said before this partition was made.
    from: u64,
    /// Append time, microseconds UTC.
    at: i64,
    /// It was refused: no robot takes it, and the same one may come again.
    is_refused: bool,
}

/// What was said in a partition, as its actor remembers it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ControlState {
    records: Vec<ControlRecord>,
    /// Actions that have come, the latest ones last: twice as many and for twice as long as are looked
    /// at, for robots that are behind.
    acted: Vec<Acted>,
}

impl Beginning for ControlState {
    fn beginning() -> &'static Self {
        static BEGINNING: LazyLock<ControlState> = LazyLock::new(ControlState::default);
        &BEGINNING
    }
}

/// As version 4 of the processor stored it.
#[derive(Debug, Deserialize)]
pub(crate) struct ControlStateV4(Vec<ControlRecordV4>);

#[derive(Debug, Deserialize)]
struct ControlRecordV4 {
    topic: TopicIndex,
    from: u64,
    at: i64,
    needs_approval: bool,
    said: SaidV4,
}

#[derive(Debug, Deserialize)]
enum SaidV4 {
    Action(Action),
    Rule(RuleChangeV4),
}

impl From<ControlStateV4> for ControlState {
    fn from(stored: ControlStateV4) -> Self {
        let record = |stored: ControlRecordV4| ControlRecord {
            topic: stored.topic,
            from: stored.from,
            at: stored.at,
            needs_approval: stored.needs_approval,
            said: match stored.said {
                SaidV4::Action(action) => Said::Action(action),
                SaidV4::Rule(change) => Said::Rule(change.into()),
            },
        };
        Self {
            records: stored.0.into_iter().map(record).collect(),
            acted: Vec::new(),
        }
    }
}

impl ControlState {
    /// Remembers a record; an action that is known by its id changes nothing, nor does a change of
    /// rules with no other change of its rule since. Of actions only what holds for
    /// robots to come: silences, until they end.
    ///
    /// # Errors
    /// When there are too many silences for all robots already; only that it was refused is remembered.
    pub(crate) fn take(&mut self, record: ControlRecord) -> Result<(), String> {
        match &record.said {
            Said::Action(action) => {
                let (action, place) = (action.clone(), (record.topic, record.from));
                self.take_action(&action, place, record)
            }
            Said::Rule(change) => {
                if !self.knows(change) {
                    self.forget_ended(record.at);
                    self.push(record);
                }
                Ok(())
            }
        }
    }

    fn take_action(
        &mut self,
        action: &Action,
        place: (TopicIndex, u64),
        record: ControlRecord,
    ) -> Result<(), String> {
        if self.is_repeated(action, place, record.at) {
            return Ok(());
        }
        self.forget_ended(record.at);
        let fits = check_wide(self.actions(), (action, record.at));
        self.acted.push(Acted {
            id: action.id_print(),
            topic: place.0,
            from: place.1,
            at: record.at,
            is_refused: fits.is_err(),
        });
        if self.acted.len() > 2 * KNOWN_MAX {
            self.acted.remove(0);
        }
        fits?;
        if action.silences_until().is_some() || action.takes_silences_back() {
            self.push(record);
        }
        Ok(())
    }

    fn push(&mut self, record: ControlRecord) {
        self.records.push(record);
        // Silences are as many as there can be: they are forgotten when they end.
        if self.changes().count() > RECORDS_MAX {
            change::forget_replaced(&mut self.records);
        }
    }

    pub(crate) fn records(&self) -> &[ControlRecord] {
        &self.records
    }

    /// The actions that are remembered, each with when it came.
    fn actions(&self) -> impl Iterator<Item = (&Action, i64)> {
        self.records.iter().filter_map(|record| match &record.said {
            Said::Action(action) => Some((action, record.at)),
            Said::Rule(_) => None,
        })
    }

    fn changes(&self) -> impl DoubleEndedIterator<Item = &RuleChange> {
        self.records.iter().filter_map(|record| match &record.said {
            Said::Rule(change) => Some(change),
            Said::Action(_) => None,
        })
    }

    /// Whether a change of rules has come before, and no other one of its rule since.
    pub(super) fn knows(&self, change: &RuleChange) -> bool {
        change::is_known(self.changes(), change)
    }

    /// Whether an action that stands at a place has come there.
    pub(super) fn has_acted_at(&self, place: (TopicIndex, u64)) -> bool {
        let mut acted = self.acted.iter();
        acted.any(|known| (known.topic, known.from) == place)
    }

    /// Whether robots take an action that stands at a place, and came at a moment (microseconds UTC):
    /// not one that has come before, nor one that was refused.
    pub(super) fn acts(&self, action: &Action, place: (TopicIndex, u64), at: i64) -> bool {
        let is_here = |known: &&Acted| (known.topic, known.from) == place;
        match self.acted.iter().find(is_here) {
            Some(here) => !here.is_refused,
            None => !self.is_repeated(action, place, at),
        }
    }

    fn is_repeated(&self, action: &Action, (topic, from): (TopicIndex, u64), at: i64) -> bool {
        let id = action.id_print();
        let is_before =
            |known: &&Acted| known.from == 0 || known.topic == topic && known.from < from;
        let before = self.acted.iter().rev().filter(is_before);
        let mut known = before.take(KNOWN_MAX);
        known.any(|known| {
            known.id == id && !known.is_refused && known.at.saturating_add(KNOWN_US) > at
        })
    }

    /// What holds from the beginning in a partition that was made when this one had read to `until`.
    pub(super) fn inherited(&self, until: &Positions) -> Self {
        let records = self.records.iter().filter(|record| record.holds_at(until));
        let acted = self.acted.iter();
        let acted = acted.filter(|known| known.from <= until.get(known.topic) && !known.is_refused);
        Self {
            records: records
                .map(|record| ControlRecord {
                    from: 0,
                    ..record.clone()
                })
                .collect(),
            acted: acted
                .map(|known| Acted {
                    from: 0,
                    ..known.clone()
                })
                .collect(),
        }
    }

    /// Forgets silences that have ended, with those that they took the place of, what takes back none
    /// that is remembered, and ids of long ago.
    fn forget_ended(&mut self, now: i64) {
        let is_recent = |until: i64| until.saturating_add(KEPT_US) > now;
        self.acted
            .retain(|known| known.at.saturating_add(2 * KNOWN_US) > now);
        let mut forgotten: Vec<Action> = Vec::new();
        let mut kept = Vec::with_capacity(self.records.len());
        for known in self.records.drain(..).rev() {
            if let Said::Action(action) = &known.said
                && let Some(until) = action.silences_until()
                // A longer one before it would come back.
                && (!is_recent(until) || forgotten.iter().any(|later| later.replaces(action)))
            {
                forgotten.push(action.clone());
                continue;
            }
            kept.push(known);
        }
        kept.reverse();
        self.records = kept;
        let silences: Vec<(u64, Action)> = self
            .records
            .iter()
            .filter_map(|known| match &known.said {
                Said::Action(action) if action.silences_until().is_some() => {
                    Some((known.from, action.clone()))
                }
                _ => None,
            })
            .collect();
        self.records.retain(|known| match &known.said {
            Said::Action(action) if action.takes_silences_back() => {
                let mut before = silences.iter().filter(|(from, _)| *from <= known.from);
                is_recent(known.at) || before.any(|(_, silence)| action.takes_back(silence))
            }
            _ => true,
        });
    }
}
