//! Rules as data, and the conditions they raise.
//!
//! A rule names a signal and says when a condition on a robot begins and ends. Conditions move
//! raised, updated, cleared; nothing is told twice without news. Rules are compiled once against
//! the known datasets, so that a row costs a comparison.

mod condition;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use theatre_schemas::dataset::{DatasetIndex, DatasetKind, Datasets};
use theatre_schemas::records::Priority;

pub use condition::{Condition, ConditionChange, Place};
pub use spec::{Escalation, Micros, RuleKind, RuleSpec};

/// Id of the built-in condition of a robot that is not heard any more.
pub const ROBOT_SILENT: &str = "robot_silent";
/// Id of the built-in condition of a robot whose clock runs ahead.
pub const CLOCK_SKEW: &str = "clock_skew";

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule '{rule}': {why}")]
pub struct RuleError {
    rule: String,
    why: String,
}

/// A rule's comparison, ready for a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    /// Raise at `raise` or beyond, in the direction of `sign` (1 above, -1 below); clear at `clear`
    /// or short of it.
    Limit {
        sign: f64,
        raise: f64,
        clear: f64,
        hold_us: i64,
        clear_after_us: i64,
        escalate: Vec<(f64, Priority)>,
    },
    /// No value of the signal for this long, while records come.
    Missing { after_us: i64 },
    /// Nothing heard of the robot for this long by the wall clock; `None`: as long as the time
    /// policy says.
    Silence { after_us: Option<i64> },
    /// Records dated in the future.
    ClockSkew,
}

/// A rule in use.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// As written.
    pub spec: RuleSpec,
    pub(crate) test: Test,
}

/// All rules; a rule's slot is its place in this list.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// By dataset: (slot, signal).
    by_dataset: BTreeMap<DatasetIndex, Vec<(usize, usize)>>,
    /// Slots of the rules that wait for silence.
    silences: Vec<usize>,
    /// Slot of [`CLOCK_SKEW`].
    skew: Option<usize>,
}

impl RuleSet {
    /// Checks rules against the telemetry datasets; the built-in conditions are added.
    ///
    /// # Errors
    /// When an id is there twice, a limit clears beyond where it raises, or a signal is in no
    /// dataset; names the nearest ones.
    pub fn compile(specs: &[RuleSpec], datasets: &Datasets) -> Result<Self, RuleError> {
        let mut set = Self::default();
        for spec in specs {
            set.add(spec, datasets)?;
        }
        set.skew = Some(set.rules.len() + 1);
        for (id, priority, description, test) in [
            (
                ROBOT_SILENT,
                Priority::Medium,
                "nothing is heard of the robot",
                Test::Silence { after_us: None },
            ),
            (
                CLOCK_SKEW,
                Priority::Low,
                "the robot's clock runs ahead: its records are dated in the future",
                Test::ClockSkew,
            ),
        ] {
            let spec = RuleSpec {
                id: id.to_owned(),
                version: 1,
                priority,
                dataset: None,
                description: description.to_owned(),
                kind: RuleKind::BuiltIn {},
            };
            set.rules.push(Rule { spec, test });
        }
        let silences = set
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| matches!(rule.test, Test::Silence { .. }));
        set.silences = silences.map(|(slot, _)| slot).collect();
        Ok(set)
    }

    fn add(&mut self, spec: &RuleSpec, datasets: &Datasets) -> Result<(), RuleError> {
        let fault = |why: String| RuleError {
            rule: spec.id.clone(),
            why,
        };
        if [ROBOT_SILENT, CLOCK_SKEW].contains(&spec.id.as_str())
            || self.rules.iter().any(|rule| rule.spec.id == spec.id)
        {
            return Err(fault("the id is taken: give it another".to_owned()));
        }
        let (signal, test) = spec.test().map_err(fault)?;
        let Some(signal) = signal else {
            if spec.dataset.is_some() {
                return Err(fault("without a signal it is about the robot as a whole: leave out dataset, or name a signal".to_owned()));
            }
            self.rules.push(Rule {
                spec: spec.clone(),
                test,
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
            self.by_dataset.entry(index).or_default().push((slot, at));
        }
        if !found {
            return Err(fault(unknown_signal(spec, &signal, datasets)));
        }
        self.rules.push(Rule {
            spec: spec.clone(),
            test,
        });
        Ok(())
    }

    /// All rules by slot.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Slot of a rule.
    pub fn slot(&self, id: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.spec.id == id)
    }

    /// Slots of the rules that wait for silence, the built-in one among them.
    pub(crate) fn silences(&self) -> &[usize] {
        &self.silences
    }

    /// Slot of the built-in clock-skew condition; `None` only in an empty set.
    pub(crate) fn skew(&self) -> Option<usize> {
        self.skew
    }

    /// The rules of a dataset: (slot, signal).
    pub(crate) fn of(&self, dataset: DatasetIndex) -> &[(usize, usize)] {
        self.by_dataset
            .get(&dataset)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

/// The furthest escalation that `level` is beyond, of steps in ascending order.
fn escalated(steps: &[(f64, Priority)], level: f64) -> Option<(f64, Priority)> {
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

/// The nearest names, the nearest first; all of them when none is near.
fn did_you_mean(wanted: &str, known: &[&str]) -> String {
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (edits(wanted, name), *name))
        .collect();
    // More than a third of the name changed is another name.
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

/// Fewest insertions, deletions and replacements of characters that make one text the other
/// (Levenshtein 1966).
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (above, left) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, right) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
