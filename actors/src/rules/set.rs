//! The compiled rules of a deployment.

use std::borrow::Cow;
use std::collections::BTreeMap;

use theatre_schemas::dataset::{Dataset, DatasetIndex, DatasetKind, Datasets};
use theatre_schemas::records::Priority;

use super::compile::Compiled;
use super::names::{matches, unknown_signal};
use super::of_dataset::{Judges, RuleOnSignals};
use super::scope::TextColumns;
use super::{
    CLOCK_SKEW, DatasetRules, INSTRUMENT_LIVES, Predicate, ROBOT_SILENT, Rule, RuleError, RuleKind,
    RuleSpec, Subject, references,
};
use crate::window::WindowPlan;

#[cfg(test)]
thread_local! {
    /// Rules that this thread has compiled.
    pub(crate) static COMPILED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
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
    /// Slots of the rules on how much a robot was used.
    usage_rules: Vec<usize>,
    /// Slots of the rules that follow events.
    event_rules: Vec<usize>,
    /// Slots of the rules that follow conditions of a rule, by its id.
    followers: BTreeMap<String, Vec<usize>>,
    /// A rule has something to do after a time that no row and no event marks.
    has_deadlines: bool,
    /// A rule raises nothing for a time after a start.
    has_warm_up: bool,
}

impl RuleSet {
    /// Compiles rules against the telemetry datasets and adds the built-in conditions. Rules on
    /// windows are complete when the windows are known, see [`Self::bind`].
    ///
    /// # Errors
    /// When two rules have the same id, a clearing limit lies beyond the raising one, no dataset
    /// has the signal or a column, or rules follow each other in a circle; the error then names
    /// what may have been meant.
    pub fn compile(specs: &[RuleSpec], datasets: &Datasets) -> Result<Self, RuleError> {
        let mut set = Self::default();
        for spec in specs {
            set.add(&spec.as_judging(), datasets)?;
        }
        set.clock_skew_rule = Some(set.rules.len() + 1);
        set.instrument_rule = Some(set.rules.len() + 2);
        set.add_built_in();
        let specs: Vec<&RuleSpec> = set.rules.iter().map(|rule| &rule.spec).collect();
        references::check(&specs)?;
        let slots = |is: &dyn Fn(&Rule) -> bool| -> Vec<usize> {
            let all = set.rules.iter().enumerate();
            all.filter(|(_, rule)| is(rule))
                .map(|(slot, _)| slot)
                .collect()
        };
        let silence = slots(&|rule| matches!(rule.predicate, Predicate::Silence { .. }));
        let usage = slots(&|rule| rule.subject == Subject::Usage);
        let events = slots(&|rule| match &rule.spec.kind {
            RuleKind::Sequence(sequence) => sequence.has_events(),
            _ => false,
        });
        let deadlines = slots(&|rule| match &rule.spec.kind {
            RuleKind::Sequence(_) => true,
            RuleKind::Combination(combination) => combination.hold.0 > 0,
            _ => false,
        });
        (set.silence_rules, set.usage_rules, set.event_rules) = (silence, usage, events);
        set.has_deadlines = !deadlines.is_empty();
        set.has_warm_up = set.rules.iter().any(|rule| rule.spec.warm_up.is_some());
        for (slot, rule) in set.rules.iter().enumerate() {
            for id in references::of(&rule.spec) {
                let followers = set.followers.entry(id.to_owned()).or_default();
                if followers.last() != Some(&slot) {
                    followers.push(slot);
                }
            }
        }
        Ok(set)
    }

    /// Compiles a rule by itself, without what it says of other rules: for naming all faults of a
    /// rule file at once.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn check(spec: &RuleSpec, datasets: &Datasets) -> Result<(), RuleError> {
        Self::alone(spec, datasets).map(drop)
    }

    /// A rule compiled by itself, without what it says of other rules.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(crate) fn alone(spec: &RuleSpec, datasets: &Datasets) -> Result<Self, RuleError> {
        let mut set = Self::default();
        set.add(&spec.as_judging(), datasets)?;
        Ok(set)
    }

    /// Checks what rules say of each other, of rules of which each is good by itself.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(crate) fn check_references<'a>(
        specs: impl Iterator<Item = &'a RuleSpec>,
    ) -> Result<(), RuleError> {
        let written: Vec<Cow<'_, RuleSpec>> = specs.map(RuleSpec::as_judging).collect();
        if written.iter().all(|spec| references::of(spec).is_empty()) {
            return Ok(());
        }
        let mut built_in = Self::default();
        built_in.add_built_in();
        let built_in = built_in.rules.iter().map(|rule| &rule.spec);
        let all: Vec<&RuleSpec> = written.iter().map(|spec| &**spec).chain(built_in).collect();
        references::check(&all)
    }

    /// What is wrong with what rules say of each other, each with the place of the rule: of rules
    /// that are good by themselves, for naming all faults of a rule file at once.
    pub fn reference_faults(specs: &[RuleSpec]) -> Vec<(usize, RuleError)> {
        let mut built_in = Self::default();
        built_in.add_built_in();
        let built_in = built_in.rules.iter().map(|rule| &rule.spec);
        let written: Vec<Cow<'_, RuleSpec>> = specs.iter().map(RuleSpec::as_judging).collect();
        let all: Vec<&RuleSpec> = written.iter().map(|spec| &**spec).chain(built_in).collect();
        references::faults(&all)
    }

    /// Whether a rule on windows finds its window, with the aggregate; all others do.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn check_window(spec: &RuleSpec, windows: &WindowPlan) -> Result<(), RuleError> {
        let RuleKind::Aggregate(aggregate) = &spec.kind else {
            return Ok(());
        };
        let found = aggregate.find(windows).map_err(|why| RuleError {
            rule: spec.id.clone(),
            why,
        });
        found.map(drop)
    }

    /// Completes the rules on windows.
    ///
    /// # Errors
    /// Names a window that is not there, or has not the aggregate.
    pub fn bind(&mut self, windows: &WindowPlan) -> Result<(), RuleError> {
        for rule in &mut self.rules {
            let RuleKind::Aggregate(spec) = &rule.spec.kind else {
                continue;
            };
            let size_us = spec.find(windows).map_err(|why| RuleError {
                rule: rule.spec.id.clone(),
                why,
            })?;
            if let (Predicate::Limit(limit), None) = (&mut rule.predicate, rule.spec.max_gap) {
                limit.max_gap_us = limit.max_gap_us.max(size_us.saturating_mul(2));
            }
        }
        Ok(())
    }

    fn add_built_in(&mut self) {
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
            self.rules.push(Rule {
                spec,
                predicate,
                subject: Subject::Robot,
                measure: None,
            });
        }
    }

    fn add(&mut self, spec: &RuleSpec, datasets: &Datasets) -> Result<(), RuleError> {
        #[cfg(test)]
        COMPILED.with(|compiled| compiled.set(compiled.get() + 1));
        let fault = |why: String| RuleError {
            rule: spec.id.clone(),
            why,
        };
        if spec.id.trim().is_empty() {
            return Err(fault("its id is empty: give it one".to_owned()));
        }
        if spec.id.chars().any(char::is_control) {
            return Err(fault("its id has signs that cannot be seen".to_owned()));
        }
        if [ROBOT_SILENT, CLOCK_SKEW, INSTRUMENT_LIVES].contains(&spec.id.as_str()) {
            return Err(fault(
                "the id is taken by a condition that is built in: give it another".to_owned(),
            ));
        }
        if self.rules.iter().any(|rule| rule.spec.id == spec.id) {
            return Err(fault("the id is taken: give it another".to_owned()));
        }
        if !spec.shadow && spec.id.contains('~') {
            return Err(fault("an id has no '~'".to_owned()));
        }
        crate::alerts::check(spec).map_err(fault)?;
        let compiled = spec.compile().map_err(fault)?;
        match &compiled.signal {
            Some(signal) => {
                let found = self.add_to_datasets(spec, signal, &compiled, datasets);
                if !found.map_err(fault)? {
                    return Err(fault(unknown_signal(spec, signal, datasets)));
                }
            }
            None if spec.dataset.is_some() => {
                return Err(fault("without a signal it is about the robot as a whole: leave out dataset, or name a signal".to_owned()));
            }
            None => {}
        }
        self.rules.push(Rule {
            spec: spec.clone(),
            predicate: compiled.predicate,
            subject: compiled.subject,
            measure: compiled.measure.map(|measure| {
                let mark = measure.mark();
                (measure, mark)
            }),
        });
        Ok(())
    }

    /// Adds a rule to the telemetry datasets that have its signal; false when none has.
    fn add_to_datasets(
        &mut self,
        spec: &RuleSpec,
        signal: &str,
        compiled: &Compiled,
        datasets: &Datasets,
    ) -> Result<bool, String> {
        let judges = match compiled.subject {
            Subject::Window => Judges::Windows,
            _ => Judges::Rows(spec.order),
        };
        let mut rule = RuleOnSignals {
            slot: self.rules.len(),
            id: &spec.id,
            is_one_of_many: signal.contains('*'),
            is_plain: compiled.measure.is_none() && spec.only.is_none() && spec.warm_up.is_none(),
            unit: compiled.unit,
            columns: TextColumns::default(),
        };
        let mut is_found = false;
        for (index, dataset) in datasets.iter() {
            let is_wanted = dataset.kind == DatasetKind::Telemetry
                && spec
                    .dataset
                    .as_ref()
                    .is_none_or(|name| *name == dataset.name);
            let signals: Vec<usize> = if is_wanted {
                let all = dataset.signals.iter().enumerate();
                all.filter(|(_, known)| matches(signal, &known.name))
                    .map(|(at, _)| at)
                    .collect()
            } else {
                Vec::new()
            };
            if signals.is_empty() {
                continue;
            }
            is_found = true;
            self.names.insert(dataset.name.clone(), index);
            let rules = self.by_dataset.entry(index).or_default();
            let (only, by) = (spec.only.as_ref(), compiled.by.as_deref());
            let named = (only, by, compiled.needs_model);
            let columns = TextColumns::resolve(named, dataset, &mut rules.texts);
            rule.columns = columns.map_err(|why| {
                let has_signal =
                    |of: &Dataset| of.signals.iter().any(|known| matches(signal, &known.name));
                let fits = |of: &Dataset| {
                    of.kind == DatasetKind::Telemetry
                        && has_signal(of)
                        && TextColumns::resolve(named, of, &mut Vec::new()).is_ok()
                };
                let mut others = datasets.iter().map(|(_, of)| &**of);
                match others.find(|of| fits(of)) {
                    Some(other) if spec.dataset.is_none() => format!(
                        "{why}; if only the rows of '{0}' are meant, set dataset = \"{0}\"",
                        other.name
                    ),
                    _ => why,
                }
            })?;
            for signal in signals {
                rules.add(judges, &rule, dataset, signal);
            }
        }
        Ok(is_found)
    }

    /// The shortest time after which some rule finds a robot silent, microseconds; `built_in_us` is
    /// that of the rule which is always there.
    pub fn silence_us(&self, built_in_us: i64) -> i64 {
        let after = |rule: &Rule| match &rule.spec.kind {
            RuleKind::MissingData {
                signal: None,
                after,
            } => Some(after.0),
            _ => None,
        };
        let shortest = self.rules().iter().filter_map(after).min();
        shortest.map_or(built_in_us, |after| after.min(built_in_us))
    }

    /// The rules as they were written, without the built-in ones.
    pub fn written(&self) -> Vec<RuleSpec> {
        let specs = self.rules.iter().map(|rule| &rule.spec);
        let written = specs.filter(|spec| spec.kind != RuleKind::BuiltIn {});
        written.map(RuleSpec::as_written).collect()
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

    /// All rules by slot.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Slot of a rule.
    pub fn slot(&self, id: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.spec.id == id)
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

    /// Slots of the rules on how much a robot was used.
    pub(crate) fn usage_rules(&self) -> &[usize] {
        &self.usage_rules
    }

    /// Slots of the rules that follow events of a robot.
    pub(crate) fn event_rules(&self) -> &[usize] {
        &self.event_rules
    }

    /// Slots of the rules that follow the conditions of a rule.
    pub(crate) fn followers(&self, id: &str) -> &[usize] {
        self.followers.get(id).map_or(&[], Vec::as_slice)
    }

    /// Whether a rule has something to do after a time that no row and no event marks.
    pub(crate) fn has_deadlines(&self) -> bool {
        self.has_deadlines
    }

    /// Whether a rule raises nothing for a time after a start of the robot.
    pub(crate) fn has_warm_up(&self) -> bool {
        self.has_warm_up
    }

    /// The rules of a dataset; `None` when it has none.
    pub(crate) fn for_dataset(&self, dataset: DatasetIndex) -> Option<&DatasetRules> {
        self.by_dataset.get(&dataset)
    }

    /// The same for the dataset of a name.
    pub(crate) fn for_name(&self, dataset: &str) -> Option<&DatasetRules> {
        self.for_dataset(*self.names.get(dataset)?)
    }

    /// Whether conditions of this key are kept on a dataset; those of the robot as a whole have an
    /// empty name.
    pub(crate) fn is_rule_of(&self, key: &str, dataset: &str) -> bool {
        if dataset.is_empty() {
            let is = |slot: usize| self.rules[slot].spec.id == key;
            return self.clock_skew_rule.is_some_and(is)
                || self.silence_rules.iter().any(|slot| is(*slot));
        }
        self.for_name(dataset)
            .is_some_and(|rules| rules.all().any(|rule| &*rule.key == key))
    }

    /// The rule of an id that follows usage, events or other conditions.
    pub(crate) fn follower(&self, id: &str) -> Option<&Rule> {
        let is_one = |rule: &&Rule| {
            matches!(
                rule.subject,
                Subject::Usage | Subject::Sequence | Subject::Combination
            )
        };
        self.rules
            .iter()
            .find(|rule| rule.spec.id == id)
            .filter(is_one)
    }
}
