//! Rules as data, and the conditions they raise.
//!
//! A rule names a signal and says when a condition on a robot begins and ends. A condition is
//! raised, updated and cleared; an alert is emitted for each of these transitions and for nothing
//! else. Rules are compiled once against the known datasets, so that a row costs a comparison.

mod change;
mod condition;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use theatre_schemas::dataset::{DatasetIndex, DatasetKind, Datasets, SignalSpec};
use theatre_schemas::records::Priority;

pub use crate::alerts::{FlappingSpec, Unacknowledged};
pub(crate) use change::alert_id;
pub use change::{AlertContext, ConditionChange};
pub use condition::Condition;
pub(crate) use condition::{ConditionV1, Manner};
pub(crate) use spec::in_shadow;
pub use spec::{Escalation, Micros, RuleKind, RuleOrder, RuleSpec};

/// Id of the built-in condition of a robot that sends no records any more.
pub const ROBOT_SILENT: &str = "robot_silent";
/// Id of the built-in condition of a robot whose clock runs ahead.
pub const CLOCK_SKEW: &str = "clock_skew";

/// Id of the built-in condition of an instrument that has no life left in a case.
pub const INSTRUMENT_LIVES: &str = "instrument_lives_ended";

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule '{rule}': {why}")]
pub struct RuleError {
    rule: String,
    why: String,
}

/// A limit: raise when `sign * value` is greater than `raise` (`sign` is 1 for limits above, -1 for
/// limits below; `raise`, `clear` and the escalations are multiplied by it already); clear when it
/// is less than `clear`. Times are in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    pub(crate) sign: f64,
    pub(crate) raise: f64,
    pub(crate) clear: f64,
    pub(crate) hold_us: i64,
    pub(crate) clear_after_us: i64,
    /// Longest time between two values over which holding and clearing go on.
    pub(crate) max_gap_us: i64,
    pub(crate) escalate: Vec<(f64, Priority)>,
}

/// The predicate of a rule, ready to be evaluated on a row. Times are in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Predicate {
    /// The signal is beyond a limit.
    Limit(Limit),
    /// No value of the signal for this long, while records come.
    Missing { after_us: i64 },
    /// No record of the robot for this long by the wall clock; `None`: as long as
    /// [`crate::time::TimePolicy::silence_after_us`].
    Silence { after_us: Option<i64> },
    /// The robot's records are dated in the future.
    ClockSkew,
    /// An instrument has used all of its lives in a case.
    InstrumentLives,
}

/// A compiled rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// As written.
    pub spec: RuleSpec,
    pub(crate) predicate: Predicate,
}

impl Rule {
    /// What its conditions are raised with: a priority, and its version.
    pub(crate) fn raises_with(&self, priority: Priority) -> (Priority, i32) {
        (priority, self.spec.version)
    }
}

/// A rule on a signal of a dataset.
#[derive(Debug, Clone)]
pub(crate) struct SignalRule {
    /// Slot of the rule.
    pub(crate) slot: usize,
    /// Index of its signal in the dataset's.
    pub(crate) signal: usize,
    /// Index of its signal in [`DatasetRules::signals`].
    pub(crate) value: usize,
    pub(crate) name: String,
    pub(crate) unit: Option<String>,
}

/// The rules of a dataset, in order of their slots.
#[derive(Debug, Clone, Default)]
pub(crate) struct DatasetRules {
    /// Those that judge rows in event time.
    pub(crate) in_event_time: Vec<SignalRule>,
    /// Those that judge rows as they come.
    pub(crate) on_arrival: Vec<SignalRule>,
    /// The signals of `in_event_time`, each once: index in the dataset's and name.
    pub(crate) signals: Vec<(usize, String)>,
}

impl DatasetRules {
    fn add(&mut self, order: RuleOrder, slot: usize, signal: usize, spec: &SignalSpec) {
        let rules = match order {
            RuleOrder::EventTime => &mut self.in_event_time,
            RuleOrder::Arrival => &mut self.on_arrival,
        };
        let mut value = 0;
        if order == RuleOrder::EventTime {
            let known = self.signals.iter().position(|(known, _)| *known == signal);
            value = known.unwrap_or(self.signals.len());
            if known.is_none() {
                self.signals.push((signal, spec.name.clone()));
            }
        }
        rules.push(SignalRule {
            slot,
            signal,
            value,
            name: spec.name.clone(),
            unit: spec.unit.clone(),
        });
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &SignalRule> {
        self.in_event_time.iter().chain(&self.on_arrival)
    }
}

/// All compiled rules. A rule's slot is its index in this list.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    by_dataset: BTreeMap<DatasetIndex, DatasetRules>,
    /// The datasets that have rules, by name.
    names: BTreeMap<String, DatasetIndex>,
    /// Slots of the rules with [`Predicate::Silence`].
    silence_rules: Vec<usize>,
    /// Slot of [`CLOCK_SKEW`].
    clock_skew_rule: Option<usize>,
    /// Slot of [`INSTRUMENT_LIVES`].
    instrument_rule: Option<usize>,
}

impl RuleSet {
    /// Compiles rules against the telemetry datasets and adds the built-in conditions.
    ///
    /// # Errors
    /// When two rules have the same id, a clearing limit lies beyond the raising one, or no dataset
    /// has the signal; the error then names similar signals.
    pub fn compile(specs: &[RuleSpec], datasets: &Datasets) -> Result<Self, RuleError> {
        let mut set = Self::default();
        for spec in specs {
            set.add(&spec.as_judging(), datasets)?;
        }
        set.clock_skew_rule = Some(set.rules.len() + 1);
        set.instrument_rule = Some(set.rules.len() + 2);
        for (id, priority, description, predicate) in [
            (
                ROBOT_SILENT,
                Priority::Medium,
                "nothing is heard of the robot",
                Predicate::Silence { after_us: None },
            ),
            (
                CLOCK_SKEW,
                Priority::Low,
                "the robot's clock runs ahead: its records are dated in the future",
                Predicate::ClockSkew,
            ),
            (
                INSTRUMENT_LIVES,
                Priority::Medium,
                "an instrument has no life left in the middle of a case",
                Predicate::InstrumentLives,
            ),
        ] {
            let spec = RuleSpec {
                description: description.to_owned(),
                ..RuleSpec::new(id, priority, RuleKind::BuiltIn {})
            };
            set.rules.push(Rule { spec, predicate });
        }
        let silence_rules = set
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| matches!(rule.predicate, Predicate::Silence { .. }));
        set.silence_rules = silence_rules.map(|(slot, _)| slot).collect();
        Ok(set)
    }

    fn add(&mut self, spec: &RuleSpec, datasets: &Datasets) -> Result<(), RuleError> {
        let fault = |why: String| RuleError {
            rule: spec.id.clone(),
            why,
        };
        if [ROBOT_SILENT, CLOCK_SKEW, INSTRUMENT_LIVES].contains(&spec.id.as_str())
            || self.rules.iter().any(|rule| rule.spec.id == spec.id)
        {
            return Err(fault("the id is taken: give it another".to_owned()));
        }
        if !spec.shadow && spec.id.contains('~') {
            return Err(fault("an id has no '~'".to_owned()));
        }
        crate::alerts::check(spec).map_err(fault)?;
        let (signal, predicate) = spec.predicate().map_err(fault)?;
        let Some(signal) = signal else {
            if spec.dataset.is_some() {
                return Err(fault("without a signal it is about the robot as a whole: leave out dataset, or name a signal".to_owned()));
            }
            self.rules.push(Rule {
                spec: spec.clone(),
                predicate,
            });
            return Ok(());
        };
        let slot = self.rules.len();
        let mut found = false;
        let telemetry = datasets
            .iter()
            .filter(|(_, dataset)| dataset.kind == DatasetKind::Telemetry);
        for (index, dataset) in telemetry.filter(|(_, dataset)| {
            spec.dataset
                .as_ref()
                .is_none_or(|name| *name == dataset.name)
        }) {
            let Some(at) = dataset.signal(&signal) else {
                continue;
            };
            found = true;
            self.names.insert(dataset.name.clone(), index);
            let rules = self.by_dataset.entry(index).or_default();
            rules.add(spec.order, slot, at, &dataset.signals[at]);
        }
        if !found {
            return Err(fault(unknown_signal(spec, &signal, datasets)));
        }
        self.rules.push(Rule {
            spec: spec.clone(),
            predicate,
        });
        Ok(())
    }

    /// The rules as they were written, without the built-in ones.
    pub fn written(&self) -> Vec<RuleSpec> {
        let specs = self.rules.iter().map(|rule| &rule.spec);
        let written = specs.filter(|spec| spec.kind != RuleKind::BuiltIn {});
        written.map(RuleSpec::as_written).collect()
    }

    /// All rules by slot.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Slot of a rule.
    pub fn slot(&self, id: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.spec.id == id)
    }

    /// What a rule watches: index of a dataset, and index of one of its signals. Nothing for a rule
    /// on the robot as a whole.
    pub fn watched(&self, slot: usize) -> Vec<(DatasetIndex, usize)> {
        let of_dataset = |(index, rules): (&DatasetIndex, &DatasetRules)| {
            let signals = rules.all().filter(|rule| rule.slot == slot);
            signals
                .map(|rule| (*index, rule.signal))
                .collect::<Vec<_>>()
        };
        self.by_dataset.iter().flat_map(of_dataset).collect()
    }

    /// Slots of the rules with [`Predicate::Silence`], the built-in one among them.
    pub(crate) fn silence_rules(&self) -> &[usize] {
        &self.silence_rules
    }

    /// Slot of the built-in clock-skew condition; `None` only in an empty set.
    pub(crate) fn clock_skew_rule(&self) -> Option<usize> {
        self.clock_skew_rule
    }

    /// Slot of the built-in condition of instruments; `None` only in an empty set.
    pub(crate) fn instrument_rule(&self) -> Option<usize> {
        self.instrument_rule
    }

    /// The rules of a dataset; `None` when it has none.
    pub(crate) fn for_dataset(&self, dataset: DatasetIndex) -> Option<&DatasetRules> {
        self.by_dataset.get(&dataset)
    }

    /// The same for the dataset of a name.
    pub(crate) fn for_name(&self, dataset: &str) -> Option<&DatasetRules> {
        self.for_dataset(*self.names.get(dataset)?)
    }

    /// Whether a rule has conditions on a dataset; those of the robot as a whole have an empty name.
    pub(crate) fn is_rule_of(&self, id: &str, dataset: &str) -> bool {
        let is = |slot: usize| self.rules[slot].spec.id == id;
        if dataset.is_empty() {
            return self.clock_skew_rule.is_some_and(is)
                || self.silence_rules.iter().any(|slot| is(*slot));
        }
        self.for_name(dataset)
            .is_some_and(|rules| rules.all().any(|rule| is(rule.slot)))
    }
}

/// The last of the escalation steps (in ascending order) that `level` is beyond.
fn escalation_for(steps: &[(f64, Priority)], level: f64) -> Option<(f64, Priority)> {
    steps.iter().rev().find(|(at, _)| level > *at).copied()
}

fn unknown_signal(spec: &RuleSpec, signal: &str, datasets: &Datasets) -> String {
    let telemetry = || {
        datasets
            .iter()
            .map(|(_, dataset)| dataset)
            .filter(|dataset| dataset.kind == DatasetKind::Telemetry)
    };
    let names: Vec<&str> = telemetry().map(|dataset| dataset.name.as_str()).collect();
    let wanted = |name: &str| {
        spec.dataset
            .as_deref()
            .is_none_or(|dataset| dataset == name)
    };
    let known: Vec<&str> = telemetry()
        .filter(|dataset| wanted(&dataset.name))
        .flat_map(|dataset| dataset.signals.iter().map(|signal| signal.name.as_str()))
        .collect();
    let hint = did_you_mean(signal, &known);
    match &spec.dataset {
        Some(dataset) if !names.contains(&dataset.as_str()) => {
            format!(
                "there is no telemetry dataset '{dataset}'; there are {}",
                names.join(", ")
            )
        }
        Some(dataset) => format!("dataset '{dataset}' has no signal '{signal}'; {hint}"),
        None => format!(
            "no telemetry dataset ({}) has a signal '{signal}'; {hint}",
            names.join(", ")
        ),
    }
}

/// Suggests the names with the smallest edit distance, the nearest first; lists all names when none
/// is near.
pub fn did_you_mean(wanted: &str, known: &[&str]) -> String {
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (strsim::levenshtein(wanted, name), *name))
        .collect();
    // A name with more than a third of its characters changed is no typing error.
    near.retain(|(edits, name)| *edits <= name.chars().count().div_ceil(3));
    near.sort_unstable();
    near.dedup();
    if near.is_empty() {
        return format!("there are {}", known.join(", "));
    }
    format!(
        "did you mean {}?",
        near.iter()
            .take(3)
            .map(|(_, name)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    )
}
