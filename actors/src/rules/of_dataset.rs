//! The rules on the signals of a dataset.

use theatre_schemas::dataset::Dataset;

use super::compile::Unit;
use super::scope::TextColumns;
use super::spec::RuleOrder;

/// Stands between the id of a rule and a signal in the key of a condition; no id has it.
const KEY_SIGN: char = '\u{1f}';

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
    /// The unit of what is judged.
    pub(crate) unit: Option<String>,
    /// Under which its conditions are kept: the id of the rule, and the signal where the rule is on
    /// several.
    pub(crate) key: Box<str>,
    /// The rule is on several signals, each of which has a condition of its own.
    pub(crate) is_one_of_many: bool,
    /// Its rows are judged by their values alone: without measure, scope and warm-up.
    pub(crate) is_plain: bool,
    pub(crate) columns: TextColumns,
}

/// What makes a [`SignalRule`] of a rule.
pub(super) struct RuleOnSignals<'a> {
    pub(super) slot: usize,
    pub(super) id: &'a str,
    pub(super) is_one_of_many: bool,
    pub(super) is_plain: bool,
    pub(super) unit: Unit,
    pub(super) columns: TextColumns,
}

/// What a rule of a dataset judges, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judges {
    Rows(RuleOrder),
    Windows,
}

/// The rules of a dataset, in order of their slots.
#[derive(Debug, Clone, Default)]
pub(crate) struct DatasetRules {
    /// Those that judge rows in event time.
    pub(crate) in_event_time: Vec<SignalRule>,
    /// Those that judge rows as they come.
    pub(crate) on_arrival: Vec<SignalRule>,
    /// Those that judge windows when they close.
    pub(crate) on_windows: Vec<SignalRule>,
    /// The signals of `in_event_time`, each once: index in the dataset's and name.
    pub(crate) signals: Vec<(usize, String)>,
    /// The text columns that rules need, each once: index in the dataset's and name.
    pub(crate) texts: Vec<(usize, String)>,
}

impl DatasetRules {
    pub(super) fn add(
        &mut self,
        judges: Judges,
        rule: &RuleOnSignals<'_>,
        dataset: &Dataset,
        signal: usize,
    ) {
        let Some(spec) = dataset.signals.get(signal) else {
            return;
        };
        let rules = match judges {
            Judges::Rows(RuleOrder::EventTime) => &mut self.in_event_time,
            Judges::Rows(RuleOrder::Arrival) => &mut self.on_arrival,
            Judges::Windows => &mut self.on_windows,
        };
        let mut value = 0;
        if judges == Judges::Rows(RuleOrder::EventTime) {
            let known = self.signals.iter().position(|(known, _)| *known == signal);
            value = known.unwrap_or(self.signals.len());
            if known.is_none() {
                self.signals.push((signal, spec.name.clone()));
            }
        }
        let key = if rule.is_one_of_many {
            format!("{}{KEY_SIGN}{}", rule.id, spec.name)
        } else {
            rule.id.to_owned()
        };
        rules.push(SignalRule {
            slot: rule.slot,
            signal,
            value,
            name: spec.name.clone(),
            unit: rule.unit.name(spec.unit.as_deref()),
            key: key.into(),
            is_one_of_many: rule.is_one_of_many,
            is_plain: rule.is_plain,
            columns: rule.columns,
        });
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &SignalRule> {
        (self.in_event_time.iter())
            .chain(&self.on_arrival)
            .chain(&self.on_windows)
    }

    /// Whether a rule looks at more of a row than its value.
    pub(crate) fn has_measures(&self) -> bool {
        let mut rows = self.in_event_time.iter().chain(&self.on_arrival);
        rows.any(|rule| !rule.is_plain)
    }
}

/// The rule of a condition's key, and its signal where the rule is on several.
pub(crate) fn rule_and_signal(key: &str) -> (&str, Option<&str>) {
    match key.split_once(KEY_SIGN) {
        Some((rule, signal)) => (rule, Some(signal)),
        None => (key, None),
    }
}
