//! The life of a robot's open conditions: what rules say of them, and what people do.
//!
//! Rules raise, update and clear conditions. Here it is decided what of that is emitted, and what else
//! moves: a condition is acknowledged, silenced, assigned, passed on because it is not acknowledged,
//! kept open until a person closes it (latched), or held for one while it comes and goes (flapping).
//! Each move is a transition of its own, numbered within its condition. Like everything in a
//! processor, the result depends on rows in order only: what falls due by the log's clock (silences,
//! escalations) or by the watermark (the end of flapping) does so between two rows, with a time that
//! is due and not one at which it was noticed.

mod actions;
mod dues;
mod flapping;
mod open;
mod policy;
mod silences;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use theatre_schemas::records::{Alert, Priority, Transition};

use crate::rare::Beginning;
use crate::rules::{RuleSet, in_shadow};

pub(crate) use actions::Action;
use flapping::Turns;
pub(crate) use open::OpenAlert;
pub(crate) use policy::{AlertPolicy, check};
pub use policy::{FlappingSpec, Unacknowledged};
pub(crate) use silences::Silence;
pub use silences::{FACILITY_SILENCES_MAX, SILENCES_MAX, SilenceScope};
use silences::{SilenceV4, Silences};

/// Actions whose ids are remembered, so that one that comes again changes nothing.
const ACTIONS_MAX: usize = 64;

/// What decides about a robot's alerts beside their state.
#[derive(Clone, Copy)]
pub(crate) struct AlertContext<'a> {
    pub(crate) rules: &'a RuleSet,
    /// The robot's facility and model, as registered.
    pub(crate) facility: Option<&'a str>,
    pub(crate) model: Option<&'a str>,
    /// The log's clock, microseconds UTC.
    pub(crate) now: i64,
}

/// The open conditions of a robot, as they were emitted, and what people said about them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alerts {
    open: Vec<OpenAlert>,
    turns: Turns,
    silences: Silences,
    /// Fingerprints of the latest actions, the latest one last.
    actions: Vec<u64>,
}

impl Beginning for Alerts {
    fn beginning() -> &'static Self {
        static BEGINNING: LazyLock<Alerts> = LazyLock::new(Alerts::default);
        &BEGINNING
    }
}

/// As version 4 of the processor stored them.
#[derive(Debug, Deserialize)]
pub(crate) struct AlertsV4 {
    open: Vec<OpenAlert>,
    turns: Turns,
    silences: Vec<SilenceV4>,
    actions: Vec<u64>,
}

impl From<AlertsV4> for Alerts {
    fn from(stored: AlertsV4) -> Self {
        Self {
            open: stored.open,
            turns: stored.turns,
            silences: Silences::of_version_4(stored.silences),
            actions: stored.actions,
        }
    }
}

/// Whether one more silence for all robots can be taken at a moment (microseconds UTC) after what
/// was said to all robots before, each with the moment at which it came.
///
/// # Errors
/// When there are too many.
pub(crate) fn check_wide<'a>(
    before: impl Iterator<Item = (&'a Action, i64)>,
    (action, now): (&Action, i64),
) -> Result<(), String> {
    let mut silences = Silences::default();
    let mut latest = i64::MIN;
    for (said, at) in before {
        latest = latest.max(at);
        silences.end(latest);
        match said.silences_until() {
            // What was accepted had room.
            Some(until) if until > latest => {
                let _ = silences.add(said.as_silence(until, true));
            }
            Some(_) => {}
            None => {
                let meant = |silence: &Silence| said.takes_silences_back() && said.names(silence);
                silences.remove(meant);
            }
        }
    }
    let now = latest.max(now);
    silences.end(now);
    match action.silences_until() {
        Some(until) if until > now => silences.add(action.as_silence(until, true)),
        _ => Ok(()),
    }
}

impl Alerts {
    /// The open conditions, in the order in which they were raised; not those of rules in the shadow.
    pub(crate) fn open(&self) -> impl Iterator<Item = &OpenAlert> {
        let open = self.open.iter();
        open.filter(|open| in_shadow(&open.alert().rule_id).is_none())
    }

    /// The rules of conditions that are open although their cause is over: latched, or flapping.
    pub(crate) fn kept_open(&self) -> impl Iterator<Item = &str> {
        let kept = self.open.iter().filter(|open| !open.is_active());
        kept.map(|open| open.alert().rule_id.as_str())
    }

    /// The silences that hold.
    pub(crate) fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.iter()
    }

    /// Whether a condition of a rule is among them; the subject is that of its alerts, empty for the
    /// robot as a whole. One that was raised by a build that did not keep what it emitted is not.
    pub(crate) fn knows(&self, rule: &str, subject: &str) -> bool {
        let is = |open: &OpenAlert| {
            let alert = open.alert();
            alert.rule_id == rule && alert.subject.as_deref().unwrap_or_default() == subject
        };
        self.open.iter().any(is)
    }

    /// Takes over since when conditions wait that are the same in all else.
    pub(crate) fn wait_as(&mut self, stored: &Self) {
        for open in &mut self.open {
            let same = |known: &&OpenAlert| {
                let mut known = (*known).clone();
                known.waiting_since = open.waiting_since;
                known == *open
            };
            let waiting_since = stored.open.iter().find(same).map(|it| it.waiting_since);
            open.waiting_since = waiting_since.unwrap_or(open.waiting_since);
        }
    }

    /// A rule has moved a condition; returns what is to be emitted of it.
    pub(crate) fn pass(&mut self, moved: Alert, context: AlertContext<'_>) -> Vec<Alert> {
        let policy = AlertPolicy::of(context.rules, &moved.rule_id);
        let mut emitted = Vec::new();
        emitted.extend(self.settle_before(&moved, context.rules));
        match moved.transition {
            Transition::Raised => self.raised(moved, &policy, context, &mut emitted),
            Transition::Cleared => self.cleared(moved, &policy, &mut emitted),
            _ => self.updated(moved, context, &mut emitted),
        }
        emitted
    }

    fn raised(
        &mut self,
        moved: Alert,
        policy: &AlertPolicy<'_>,
        context: AlertContext<'_>,
        emitted: &mut Vec<Alert>,
    ) {
        let (flaps, time) = (self.turns.note(&moved, policy), moved.event_time);
        let goes_on = self.open.iter().position(|open| open.takes_up(&moved));
        let at = match goes_on {
            Some(at) => {
                let open = &mut self.open[at];
                emitted.extend(open.raised_again(&moved, context.now));
                at
            }
            None => {
                self.open.push(OpenAlert::new(moved, context.now));
                let at = self.open.len() - 1;
                self.silences.apply(&mut self.open[at], context);
                emitted.push(self.open[at].alert().clone());
                at
            }
        };
        let open = &mut self.open[at];
        if flaps && !open.alert().is_flapping {
            emitted.push(open.flaps(time, policy));
        }
        if goes_on.is_some() {
            self.silences
                .refresh_last(&mut self.open[at], context, emitted);
        }
    }

    fn updated(&mut self, moved: Alert, context: AlertContext<'_>, emitted: &mut Vec<Alert>) {
        let caused = self.open.iter_mut().find(|open| open.is_caused_by(&moved));
        let Some(open) = caused else {
            emitted.push(moved); // Raised by a build that did not keep what it emitted.
            return;
        };
        emitted.extend(open.updated(&moved, context.now));
        self.silences.refresh_last(open, context, emitted);
    }

    fn cleared(&mut self, moved: Alert, policy: &AlertPolicy<'_>, emitted: &mut Vec<Alert>) {
        let flaps = self.turns.note(&moved, policy);
        let caused = self.open.iter().position(|open| open.is_caused_by(&moved));
        let Some(at) = caused else {
            emitted.push(moved);
            return;
        };
        let open = &mut self.open[at];
        open.cause_is_over();
        if open.alert().is_flapping && policy.flapping.is_some() {
            return;
        }
        if flaps {
            emitted.push(open.flaps(moved.event_time, policy));
        } else if policy.latch && !open.is_released() {
            emitted.push(open.latches(&moved, policy));
        } else {
            emitted.push(open.ends(&moved));
            self.open.remove(at);
        }
    }

    /// Goes on under other rules, at the robot's clock: ends what only a rule kept open that is not
    /// there any more, or keeps it open for another reason, and gives what stays open the priority of
    /// its rule where that is higher now.
    pub(crate) fn adopt(&mut self, context: AlertContext<'_>, clock: i64) -> Vec<Alert> {
        const CHANGED: &str = "the rule was changed";
        let mut emitted = Vec::new();
        self.open.retain_mut(|open| {
            let policy = AlertPolicy::of(context.rules, &open.alert().rule_id);
            let is_latched = policy.latch && !open.is_released();
            let flaps_no_more = open.alert().is_flapping && policy.flapping.is_none();
            match (open.is_active(), flaps_no_more) {
                (true, true) => emitted.push(open.settles(CHANGED, &policy)),
                (false, true) if is_latched => {
                    emitted.push(open.latches_because(CHANGED, &policy));
                }
                _ => {}
            }
            if open.is_active() || is_latched || open.alert().is_flapping && !flaps_no_more {
                let risen = open.rises((clock, context.now), CHANGED, &policy);
                if let Some(risen) = risen {
                    emitted.push(risen);
                    let last = emitted.len() - 1;
                    (self.silences).refresh_last(open, context, &mut emitted[last..]);
                }
                return true;
            }
            emitted.push(open.ends_because(CHANGED, &policy));
            false
        });
        let flaps = |rule: &str| AlertPolicy::of(context.rules, rule).flapping.is_some();
        self.turns.retain(flaps);
        emitted
    }

    /// The robot's clock begins anew: what turned before it has nothing to do with what turns now.
    pub(crate) fn begin_anew(&mut self) {
        self.turns = Turns::default();
    }

    /// How many conditions are open, of high, medium and low priority.
    pub(crate) fn count(&self) -> [u32; 3] {
        let mut count = [0; 3];
        for open in self.open() {
            count[match open.alert().priority {
                Priority::High => 0,
                Priority::Medium => 1,
                Priority::Low => 2,
            }] += 1;
        }
        count
    }
}
