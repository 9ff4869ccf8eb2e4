//! The rules that those of the configuration and changes of them make.

use std::sync::Arc;

use theatre_schemas::dataset::Datasets;

use super::{ChangeKind, RuleChange};
use crate::rules::{RuleSet, RuleSpec};
use crate::window::WindowPlan;

/// A rule, and whether it judges.
#[derive(Debug, Clone)]
struct Known {
    spec: Arc<RuleSpec>,
    is_enabled: bool,
}

/// A rule that was put and cannot judge with the others any more, since the configuration is another
/// one; it judges nothing until it is put again, or the configuration has what it needs.
#[derive(Debug, Clone)]
pub struct RefusedRule {
    /// The rule.
    pub spec: RuleSpec,
    /// Why it cannot judge.
    pub why: String,
}

/// The rules that are known at a place of the input, in the order in which they judge; those that are
/// disabled too.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownRules {
    rules: Vec<Known>,
    /// None of them is among the rules.
    refused: Vec<RefusedRule>,
}

impl KnownRules {
    /// Those of the configuration.
    pub(super) fn of(base: &[RuleSpec]) -> Self {
        let known = |spec: &RuleSpec| Known {
            spec: Arc::new(spec.clone()),
            is_enabled: true,
        };
        Self {
            rules: base.iter().map(known).collect(),
            refused: Vec::new(),
        }
    }

    /// Takes a change that was accepted when it came.
    ///
    /// # Errors
    /// As [`Self::changed`]: the configuration is another one since. It changes nothing then, but a
    /// rule that was put stays known as one that is refused.
    pub(super) fn remember(
        &mut self,
        change: &RuleChange,
        datasets: &Datasets,
        windows: Option<&WindowPlan>,
    ) -> Result<(), String> {
        match self.changed(change, datasets, windows) {
            Ok(next) => {
                *self = next;
                Ok(())
            }
            Err(why) => {
                if let (ChangeKind::Put, Ok(spec)) = (change.kind, change.spec())
                    && !self.has(&change.rule_id, change.shadow)
                {
                    self.forget_refused(change);
                    let why = why.clone();
                    self.refused.push(RefusedRule { spec, why });
                }
                Err(why)
            }
        }
    }

    /// Changes them; returns the rule that begins to judge, if one does. It is not looked at what the
    /// rule says.
    ///
    /// # Errors
    /// When the change puts no rule, or is about one that is not there; nothing has changed then.
    pub(super) fn apply(&mut self, change: &RuleChange) -> Result<Option<Arc<RuleSpec>>, String> {
        let rules = &mut self.rules;
        let at = rules.iter().position(|rule| rule.is(change));
        match (change.kind, at) {
            (ChangeKind::Put, at) => {
                let spec = Arc::new(change.spec()?);
                let put = Known {
                    spec: spec.clone(),
                    is_enabled: true,
                };
                match at.and_then(|at| rules.get_mut(at)) {
                    Some(rule) => *rule = put,
                    None => rules.push(put),
                }
                self.forget_refused(change);
                Ok(Some(spec))
            }
            (ChangeKind::Remove, Some(at)) => {
                rules.remove(at);
                Ok(None)
            }
            (ChangeKind::Enable | ChangeKind::Disable, Some(at)) => {
                let rule = &mut rules[at];
                rule.is_enabled = change.kind == ChangeKind::Enable;
                Ok(rule.is_enabled.then(|| rule.spec.clone()))
            }
            (ChangeKind::Approve | ChangeKind::Reject, _) => Ok(None),
            (ChangeKind::Remove, None) if self.forget_refused(change) => Ok(None),
            (_, None) => Err(self.unknown(change)),
        }
    }

    /// The rules after a change, if they can judge together. Those that are known can: so the rule
    /// that begins is compiled, and what rules say of each other looked at, but no other rule compiled
    /// again. Without windows, rules on these are not completed.
    ///
    /// # Errors
    /// As [`Self::apply`], and as the compilation of all of them.
    pub(super) fn changed(
        &self,
        change: &RuleChange,
        datasets: &Datasets,
        windows: Option<&WindowPlan>,
    ) -> Result<Self, String> {
        let mut next = self.clone();
        let begins = next.apply(change)?;
        let begins = begins.map(|spec| RuleSet::alone(&spec, datasets));
        let begins = begins.transpose().map_err(|error| error.to_string())?;
        RuleSet::check_references(next.enabled()).map_err(|error| error.to_string())?;
        if let (Some(mut alone), Some(windows)) = (begins, windows) {
            alone.bind(windows).map_err(|error| error.to_string())?;
        }
        Ok(next)
    }

    /// All of them, and whether each judges.
    pub(super) fn all(&self) -> impl Iterator<Item = (&RuleSpec, bool)> {
        self.rules.iter().map(|rule| (&*rule.spec, rule.is_enabled))
    }

    /// The rules that judge.
    pub(super) fn enabled(&self) -> impl Iterator<Item = &RuleSpec> {
        let enabled = self.rules.iter().filter(|rule| rule.is_enabled);
        enabled.map(|rule| &*rule.spec)
    }

    /// Whether a rule is known, be it disabled.
    pub(super) fn has(&self, rule_id: &str, shadow: bool) -> bool {
        let mut all = self.rules.iter();
        all.any(|rule| rule.spec.id == rule_id && rule.spec.shadow == shadow)
    }

    /// The rules that were put and cannot judge.
    pub(super) fn refused(&self) -> &[RefusedRule] {
        &self.refused
    }

    /// Forgets the refused rule that a change is about; true if there was one.
    fn forget_refused(&mut self, change: &RuleChange) -> bool {
        let before = self.refused.len();
        let is = |spec: &RuleSpec| spec.id == change.rule_id && spec.shadow == change.shadow;
        self.refused.retain(|refused| !is(&refused.spec));
        self.refused.len() < before
    }

    fn unknown(&self, change: &RuleChange) -> String {
        let is = |spec: &RuleSpec| spec.id == change.rule_id && spec.shadow == change.shadow;
        if let Some(refused) = self.refused.iter().find(|refused| is(&refused.spec)) {
            return format!(
                "the rule '{}' judges nothing since the configuration is another one: {}; put it again, or remove it",
                change.rule_id, refused.why
            );
        }
        let of_kind = self.rules.iter().map(|rule| &rule.spec);
        let ids: Vec<&str> = of_kind
            .filter(|spec| spec.shadow == change.shadow)
            .map(|spec| spec.id.as_str())
            .collect();
        let place = if change.shadow { " in the shadow" } else { "" };
        format!(
            "there is no rule '{}'{place}; {}",
            change.rule_id,
            crate::rules::did_you_mean(&change.rule_id, &ids)
        )
    }
}

impl Known {
    /// Whether a change is about it.
    fn is(&self, change: &RuleChange) -> bool {
        self.spec.id == change.rule_id && self.spec.shadow == change.shadow
    }
}
