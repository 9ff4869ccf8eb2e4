//! Rules as data, and the conditions they raise.
//!
//! A rule names a signal and says when a condition on a robot begins and ends. Conditions move raised, updated, cleared; nothing is
//! told twice without news. Rules are compiled once against the known datasets, so that a row costs a comparison.

mod condition;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use theatre_schemas::dataset::{DatasetIndex, DatasetKind, Datasets};
use theatre_schemas::records::Priority;

pub use condition::{Condition, Moved};
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
    /// Raise at `raise` or beyond, in the direction of `sign` (1 above, -1 below); clear at `clear` or short of it.
    Limit { sign: f64, raise: f64, clear: f64, hold_us: i64, escalate: Vec<(f64, Priority)> },
    /// Missing for this long.
    Missing { after_us: i64 },
    /// Driven by the robot actor itself.
    BuiltIn,
}

/// A rule in use.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// As written.
    pub spec: RuleSpec,
    /// Unit of the signal.
    pub unit: Option<String>,
    pub(crate) test: Test,
}

/// All rules; a rule's slot is its place in this list.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// By dataset: (slot, signal).
    by_dataset: BTreeMap<DatasetIndex, Vec<(usize, usize)>>,
}

impl RuleSet {
    /// Checks rules against the telemetry datasets; the built-in conditions are added.
    ///
    /// # Errors
    /// When an id is there twice, a limit clears beyond where it raises, or a signal is in no dataset; names the nearest ones.
    pub fn compile(specs: &[RuleSpec], datasets: &Datasets) -> Result<Self, RuleError> {
        let mut set = Self::default();
        for spec in specs {
            set.add(spec, datasets)?;
        }
        for (id, priority, description) in [
            (ROBOT_SILENT, Priority::Medium, "nothing is heard of the robot"),
            (CLOCK_SKEW, Priority::Low, "the robot's clock runs ahead: its records are dated in the future"),
        ] {
            let spec = RuleSpec { id: id.to_owned(), version: 1, priority, dataset: None, description: description.to_owned(), kind: RuleKind::BuiltIn {} };
            set.rules.push(Rule { spec, unit: None, test: Test::BuiltIn });
        }
        Ok(set)
    }

    fn add(&mut self, spec: &RuleSpec, datasets: &Datasets) -> Result<(), RuleError> {
        let fault = |why: String| RuleError { rule: spec.id.clone(), why };
        if [ROBOT_SILENT, CLOCK_SKEW].contains(&spec.id.as_str()) || self.rules.iter().any(|rule| rule.spec.id == spec.id) {
            return Err(fault("the id is taken: give it another".to_owned()));
        }
        let (signal, test) = spec.test().map_err(fault)?;
        let slot = self.rules.len();
        let mut unit = None;
        let mut found = false;
        let telemetry = datasets.iter().filter(|(_, dataset)| dataset.kind == DatasetKind::Telemetry);
        for (index, dataset) in telemetry.filter(|(_, dataset)| spec.dataset.as_ref().is_none_or(|name| *name == dataset.name)) {
            let Some(at) = dataset.signal(&signal) else { continue };
            found = true;
            unit = dataset.signals[at].unit.clone();
            self.by_dataset.entry(index).or_default().push((slot, at));
        }
        if !found {
            return Err(fault(unknown_signal(spec, &signal, datasets)));
        }
        self.rules.push(Rule { spec: spec.clone(), unit, test });
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

    /// The rules of a dataset: (slot, signal).
    pub(crate) fn of(&self, dataset: DatasetIndex) -> &[(usize, usize)] {
        self.by_dataset.get(&dataset).map(Vec::as_slice).unwrap_or_default()
    }
}

fn unknown_signal(spec: &RuleSpec, signal: &str, datasets: &Datasets) -> String {
    let telemetry = datasets.iter().filter(|(_, dataset)| dataset.kind == DatasetKind::Telemetry);
    let names: Vec<String> = telemetry.map(|(_, dataset)| dataset.name.clone()).collect();
    match &spec.dataset {
        Some(dataset) if !names.contains(dataset) => format!("there is no telemetry dataset '{dataset}'; there are {}", names.join(", ")),
        Some(dataset) => {
            let known = datasets.find(dataset).map(|(_, dataset)| dataset.signals.iter().map(|signal| signal.name.clone()).collect::<Vec<_>>());
            format!("dataset '{dataset}' has no signal '{signal}'; it has {}", known.unwrap_or_default().join(", "))
        }
        None => format!("no telemetry dataset ({}) has a signal '{signal}'", names.join(", ")),
    }
}
