//! Conditions that follow others, events and counters: sequences, combinations and usage.
//!
//! They follow the alerts in the order in which these are put out, not the conditions themselves,
//! which are ahead of them by up to a stretch of rows. So they depend on rows in order alone, and
//! are as quiet as what people see: a condition that flaps or is latched is open.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use theatre_schemas::records::Alert;

use super::{ROBOT_WIDE, RobotActor, RuleContext};
use crate::outputs::fingerprint;
use crate::rules::{
    AlertContext, CombinationSpec, Condition, ConditionChange, Happened, Manner, Rule, RuleKind,
    Step, Steps, Usage, next_judgement, rule_and_signal,
};

/// A condition that follows others, and what it remembers of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Following {
    condition: Condition,
    memory: Memory,
    /// The latest event time of what a combination has followed: what is put out later may be of an
    /// earlier time, but what follows from it is not.
    latest: Option<i64>,
    /// What a combination said when it was judged last.
    judged: Option<Judged>,
}

/// As version 4 of the processor stored it: a combination that says something else was not noticed.
#[derive(Debug, Deserialize)]
pub(super) struct FollowingV4 {
    condition: Condition,
    memory: Memory,
    latest: Option<i64>,
}

impl From<FollowingV4> for Following {
    fn from(stored: FollowingV4) -> Self {
        Self {
            condition: stored.condition,
            memory: stored.memory,
            latest: stored.latest,
            judged: None,
        }
    }
}

/// What a combination says, as fingerprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Judged {
    /// What must be open: a hold begins anew where that is another one.
    of: u64,
    /// The same, for how long and where.
    all: u64,
}

impl Judged {
    fn by(rule: &Rule, spec: &CombinationSpec) -> Self {
        let print =
            |said: serde_json::Result<String>| fingerprint(said.unwrap_or_default().as_bytes());
        Self {
            of: print(serde_json::to_string(&spec.of)),
            all: print(serde_json::to_string(&(
                &spec.of,
                spec.hold,
                &rule.spec.only,
            ))),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
enum Memory {
    #[default]
    Nothing,
    /// How many conditions of each rule are open, in the order in which a combination names them.
    Open(Vec<u32>),
    Steps(Steps),
}

impl Memory {
    fn open(&mut self, rules: usize) -> &mut Vec<u32> {
        if !matches!(self, Self::Open(open) if open.len() == rules) {
            *self = Self::Open(vec![0; rules]);
        }
        match self {
            Self::Open(open) => open,
            _ => unreachable!("it was made just now"),
        }
    }

    fn steps(&mut self) -> &mut Steps {
        if !matches!(self, Self::Steps(_)) {
            *self = Self::Steps(Steps::default());
        }
        match self {
            Self::Steps(steps) => steps,
            _ => unreachable!("it was made just now"),
        }
    }
}

impl Following {
    /// Something happened that the rule follows. What was due before comes first.
    fn follow(
        &mut self,
        context: RuleContext<'_>,
        rule: &Rule,
        happened: Happened<'_>,
        time: i64,
    ) -> Vec<ConditionChange> {
        let deadline = self.deadline(rule).filter(|deadline| *deadline < time);
        let due = deadline.and_then(|deadline| self.pass(rule, deadline));
        let change = match &rule.spec.kind {
            RuleKind::Combination(spec) => {
                self.judged.get_or_insert_with(|| Judged::by(rule, spec));
                let time = self.latest.map_or(time, |latest| latest.max(time));
                self.latest = Some(time);
                self.count(&spec.of.rules(), happened);
                if is_in_scope(context, rule, time) {
                    self.combine(rule, time)
                } else {
                    self.condition.leave_scope(time)
                }
            }
            RuleKind::Sequence(spec) => match spec.note(self.memory.steps(), happened, time) {
                Step::Complete(at)
                    if !self.condition.is_raised() && is_in_scope(context, rule, at) =>
                {
                    let raised = rule.raises_with(rule.spec.priority);
                    Some(self.condition.raise(raised, at, None, None))
                }
                Step::Ended(at) => self.end(at, "what must not come in between has come"),
                _ => None,
            },
            _ => None,
        };
        due.into_iter().chain(change).collect()
    }

    /// Counts the open conditions of the rules that a combination names.
    fn count(&mut self, rules: &[&str], happened: Happened<'_>) {
        let open = self.memory.open(rules.len());
        let (id, is_raised) = match happened {
            Happened::Raised(id) => (id, true),
            Happened::Cleared(id) => (id, false),
            // It was open, and is.
            Happened::RaisedAgain(_) | Happened::Event(..) => return,
        };
        let at = rules.iter().position(|rule| *rule == id);
        if let Some(count) = at.and_then(|at| open.get_mut(at)) {
            *count = if is_raised {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            };
        }
    }

    /// Judges a combination by what is open.
    fn combine(&mut self, rule: &Rule, time: i64) -> Option<ConditionChange> {
        let RuleKind::Combination(spec) = &rule.spec.kind else {
            return None;
        };
        let rules = spec.of.rules();
        let open = self.memory.open(rules.len());
        let is_open = |id: &str| {
            let at = rules.iter().position(|rule| *rule == id);
            at.and_then(|at| open.get(at))
                .is_some_and(|count| *count > 0)
        };
        let value = if spec.of.holds(&is_open) { 1.0 } else { 0.0 };
        self.condition
            .evaluate(rule, Some(value), time, Manner::Next)
    }

    /// Clears the condition if it is open, at this event time but not before it was raised.
    fn end(&mut self, time: i64, why: &'static str) -> Option<ConditionChange> {
        let (raised_at, _) = self.condition.raised()?;
        let time = time.max(raised_at);
        Some(self.condition.clear(time, None, None, Some(why)))
    }

    /// The time after which something happens to it by itself, event time in microseconds UTC.
    fn deadline(&self, rule: &Rule) -> Option<i64> {
        match (&rule.spec.kind, &self.memory) {
            (RuleKind::Combination(spec), _) => {
                let since = self.condition.pending_since()?;
                Some(since.saturating_add(spec.hold.0))
            }
            (RuleKind::Sequence(spec), Memory::Steps(steps)) if self.condition.is_raised() => {
                steps.over_at(spec.clear_after())
            }
            _ => None,
        }
    }

    fn pass(&mut self, rule: &Rule, deadline: i64) -> Option<ConditionChange> {
        match &rule.spec.kind {
            RuleKind::Combination(_) => {
                let change = self.combine(rule, deadline);
                if change.is_none() {
                    // A deadline never stays, or it would be due for ever.
                    self.condition.rest();
                }
                change
            }
            _ => self.end(deadline, "it has not happened again"),
        }
    }

    /// How many conditions of each of so many rules a combination knows to be open, and what it said
    /// when it was judged last; `now` where a build that did not keep that has judged it.
    fn known(&self, rules: usize, now: Judged) -> (Vec<u32>, Judged) {
        const ANOTHER_KIND: Judged = Judged { of: 0, all: 0 };
        match &self.memory {
            Memory::Open(open) => (open.clone(), self.judged.unwrap_or(now)),
            _ => (vec![0; rules], ANOTHER_KIND),
        }
    }

    fn is_default(&self) -> bool {
        let is_nothing = match &self.memory {
            Memory::Nothing => true,
            Memory::Open(open) => open.iter().all(|count| *count == 0),
            Memory::Steps(steps) => *steps == Steps::default(),
        };
        is_nothing && self.condition.is_default()
    }
}

/// Whether a rule holds for the robot at an event time, microseconds UTC.
fn is_in_scope(context: RuleContext<'_>, rule: &Rule, time: i64) -> bool {
    let only = rule.spec.only.as_ref();
    only.is_none_or(|only| only.holds_for_robot(time, context.around))
}

fn alert(context: RuleContext<'_>, rule: &Rule, change: ConditionChange) -> Alert {
    let of_robot = AlertContext {
        robot_id: context.robot_id,
        dataset: ROBOT_WIDE,
        signal: None,
        procedure_id: None,
        one_of_many: None,
    };
    let mut alert = change.alert(rule, of_robot);
    if let RuleKind::Usage(spec) = &rule.spec.kind {
        alert.unit = Some(spec.counter.unit().to_owned());
    }
    alert
}

impl RobotActor {
    /// Something has happened at an event time: has the rules that follow it judge.
    pub(crate) fn follow(
        &mut self,
        context: RuleContext<'_>,
        happened: Happened<'_>,
        time: i64,
    ) -> Vec<Alert> {
        let slots = match happened {
            Happened::Event(..) => context.rules.event_rules(),
            Happened::Raised(id) | Happened::RaisedAgain(id) | Happened::Cleared(id) => {
                context.rules.followers(id)
            }
        };
        let mut alerts = Vec::new();
        for slot in slots {
            let rule = &context.rules.rules()[*slot];
            let changes = self.with_following(rule, |it| it.follow(context, rule, happened, time));
            let changes = changes.into_iter();
            alerts.extend(changes.map(|change| alert(context, rule, change)));
        }
        alerts
    }

    fn with_following<T>(&mut self, rule: &Rule, act: impl FnOnce(&mut Following) -> T) -> T {
        let following = self.following.get_or_default(&rule.spec.id);
        let result = act(following);
        if following.is_default() {
            self.following.remove(&rule.spec.id);
        }
        result
    }

    /// The earliest time after which something happens by itself, event time in microseconds UTC.
    pub(crate) fn next_deadline(&self, context: RuleContext<'_>) -> Option<i64> {
        self.deadlines(context).min().map(|(deadline, _)| deadline)
    }

    fn deadlines<'a>(
        &'a self,
        context: RuleContext<'a>,
    ) -> impl Iterator<Item = (i64, &'a str)> + 'a {
        self.following.iter().filter_map(move |(id, following)| {
            let rule = context.rules.follower(id)?;
            Some((following.deadline(rule)?, id))
        })
    }

    /// Event time is complete up to `progress`: lets the first of what was due before happen.
    pub(crate) fn pass_deadline(&mut self, context: RuleContext<'_>, progress: i64) -> Vec<Alert> {
        let first = self.deadlines(context).min();
        let first = first.filter(|(deadline, _)| *deadline < progress);
        let Some((deadline, rule)) =
            first.and_then(|(at, id)| Some((at, context.rules.follower(id)?)))
        else {
            return Vec::new();
        };
        let change = self.with_following(rule, |it| it.pass(rule, deadline));
        Vec::from_iter(change.map(|change| alert(context, rule, change)))
    }

    /// The robot's clock at which its usage is to be judged next.
    pub(crate) fn usage_due(&self) -> i64 {
        self.usage_due.unwrap_or(i64::MIN)
    }

    /// Judges how much the robot was used, at its clock.
    pub(crate) fn judge_usage(
        &mut self,
        context: RuleContext<'_>,
        usage: &Usage,
        clock: i64,
    ) -> Vec<Alert> {
        self.usage_due = Some(next_judgement(clock));
        let mut alerts = Vec::new();
        for slot in context.rules.usage_rules() {
            let rule = &context.rules.rules()[*slot];
            let RuleKind::Usage(spec) = &rule.spec.kind else {
                continue;
            };
            let in_scope = is_in_scope(context, rule, clock);
            let value = spec.counter.value(usage, clock);
            let change = self.with_following(rule, |it| {
                if !in_scope {
                    return it.condition.leave_scope(clock);
                }
                it.condition.evaluate(rule, value, clock, Manner::Next)
            });
            alerts.extend(change.map(|change| alert(context, rule, change)));
        }
        alerts
    }

    /// The conditions that follow others, by the ids of their rules.
    pub(super) fn following_conditions(&self) -> impl Iterator<Item = (&str, &Condition)> {
        self.following.iter().map(|(id, it)| (id, &it.condition))
    }

    /// Goes on under another set of rules.
    pub(super) fn adopt_followers(&mut self, context: RuleContext<'_>, now: i64) -> Vec<Alert> {
        let mut alerts = Vec::new();
        self.following.retain(|id, following| {
            if context.rules.follower(id).is_some() {
                return true;
            }
            let of_robot = AlertContext {
                robot_id: context.robot_id,
                dataset: ROBOT_WIDE,
                signal: None,
                procedure_id: None,
                one_of_many: None,
            };
            let changes = following.condition.remove_rule(now).into_iter();
            alerts.extend(changes.map(|change| change.alert_of_removed(id, of_robot)));
            following.memory = Memory::Nothing;
            following.judged = None;
            !following.is_default()
        });
        alerts
    }

    /// A combination may say something else than before: what is open is counted again. `elsewhere`
    /// has what the processor keeps, by rule: conditions of instruments, and those that their rules
    /// have cleared and that are open all the same, as latched or flapping. True where it is to be
    /// judged: it says something else, or other conditions are open than it knew of.
    pub(crate) fn recount(
        &mut self,
        context: RuleContext<'_>,
        slot: usize,
        elsewhere: &BTreeMap<String, u32>,
    ) -> bool {
        let rule = &context.rules.rules()[slot];
        let RuleKind::Combination(spec) = &rule.spec.kind else {
            return false;
        };
        let rules = spec.of.rules();
        let counted = rules.iter().map(|id| {
            let elsewhere = elsewhere.get(*id).copied().unwrap_or_default();
            self.open_of(id).saturating_add(elsewhere)
        });
        let counted: Vec<u32> = counted.collect();
        let now = Judged::by(rule, spec);
        let (known, before) = match self.following.get(&rule.spec.id) {
            Some(following) => following.known(rules.len(), now),
            // Nothing was open.
            None => (vec![0; rules.len()], now),
        };
        let is_same = counted == known && before == now;
        if is_same && self.following.get(&rule.spec.id).is_none() {
            return false;
        }
        self.with_following(rule, |it| {
            it.memory = Memory::Open(counted);
            it.judged = Some(now);
            if before.of != now.of {
                // That the other one was true does not count towards the hold of this one.
                it.condition.rest();
            }
        });
        !is_same
    }

    /// Judges a combination by what is open, at the robot's clock.
    pub(crate) fn judge_combination(
        &mut self,
        context: RuleContext<'_>,
        slot: usize,
    ) -> Vec<Alert> {
        let rule = &context.rules.rules()[slot];
        let last_seen = self.last_seen().map_or(i64::MIN, |seen| seen.0);
        let now = self.shown_clock().map_or(last_seen, |clock| clock.0);
        let has_clock = self.clock.is_some();
        let change = self.with_following(rule, |it| {
            let time = it.latest.map_or(now, |latest| latest.max(now));
            if has_clock {
                it.latest = Some(time);
            }
            if is_in_scope(context, rule, time) {
                it.combine(rule, time)
            } else {
                it.condition.leave_scope(time)
            }
        });
        Vec::from_iter(change.map(|change| alert(context, rule, change)))
    }

    /// How many conditions of a rule are open.
    fn open_of(&self, id: &str) -> u32 {
        let of_datasets = self.conditions.values().flat_map(|of| of.iter());
        of_datasets
            .chain(self.following_conditions())
            .filter(|(key, _)| rule_and_signal(key).0 == id)
            .map(|(_, condition)| condition.open_count())
            .fold(0, u32::saturating_add)
    }

    /// The robot's clock begins anew: neither a hold nor a sequence goes on over that.
    pub(super) fn begin_following_anew(&mut self, context: RuleContext<'_>) -> Vec<Alert> {
        self.usage_due = None;
        let now = self.shown_clock().map_or(i64::MIN, |clock| clock.0);
        let mut alerts = Vec::new();
        self.following.retain(|id, following| {
            let Some(rule) = context.rules.follower(id) else {
                return true;
            };
            following.condition.rest();
            following.latest = None;
            if let Memory::Steps(steps) = &mut following.memory {
                *steps = Steps::default();
                let change = following.end(now, "the recording ended");
                alerts.extend(change.map(|change| alert(context, rule, change)));
            }
            !following.is_default()
        });
        alerts
    }
}
