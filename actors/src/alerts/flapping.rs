//! When conditions were raised and cleared, of rules that want to know whether they flap.

use serde::{Deserialize, Serialize};
use theatre_schemas::records::Alert;

use super::policy::AlertPolicy;
use crate::name_map::NameMap;

/// The latest turns of conditions: event times in microseconds UTC, in ascending order, by what tells
/// conditions of a robot apart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Turns(NameMap<Vec<i64>>);

impl Turns {
    /// Notes a turn; true when with it there were as many within the time as make a condition flap.
    pub(super) fn note(&mut self, moved: &Alert, policy: &AlertPolicy<'_>) -> bool {
        let Some(flapping) = policy.flapping else {
            return false;
        };
        let turns = self.0.get_or_default(&series(moved));
        let at = turns.partition_point(|time| *time <= moved.event_time);
        turns.insert(at, moved.event_time);
        let latest = turns.last().copied().unwrap_or(moved.event_time);
        turns.retain(|time| *time > latest.saturating_sub(flapping.within.0));
        let most = flapping.turns as usize;
        if turns.len() > most {
            turns.drain(..turns.len() - most);
        }
        turns.len() == most
    }

    /// When the condition last turned.
    pub(super) fn last(&self, of: &Alert) -> Option<i64> {
        self.0
            .get(&series(of))
            .and_then(|turns| turns.last().copied())
    }

    /// Keeps those of some rules.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0
            .retain(|series, _| is_kept(series.split_once('\n').map_or(series, |(rule, _)| rule)));
    }

    pub(super) fn forget(&mut self, of: &Alert) {
        self.0.remove(&series(of));
    }
}

/// What tells conditions of a robot apart, however often they are raised.
fn series(alert: &Alert) -> String {
    format!(
        "{}\n{}\n{}",
        alert.rule_id,
        alert.subject.as_deref().unwrap_or_default(),
        alert.signal.as_deref().unwrap_or_default()
    )
}

/// True when two alerts are of one condition, of this time or another one.
pub(super) fn same_series(left: &Alert, right: &Alert) -> bool {
    (&left.rule_id, &left.subject, &left.signal) == (&right.rule_id, &right.subject, &right.signal)
}
