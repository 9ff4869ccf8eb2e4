//! The rules that those of the configuration and changes of them make.

use std::sync::Arc;

use theatre_schemas::dataset::Datasets;

use super::{ChangeKind, RuleChange};
use crate::rules::{RuleSet, RuleSpec, in_shadow};
use crate::window::WindowPlan;

/// A rule, and whether it judges.
#[derive(Debug, Clone)]
struct Known {
    spec: Arc<RuleSpec>,
    is_enabled: bool,
    refusal: Option<Refusal>,
}

/// Why a rule cannot judge.
#[derive(Debug, Clone)]
struct Refusal {
    why: String,
    /// It is the rule itself, whatever becomes of others: until it is put again.
    is_own: bool,
}

/// A rule that cannot judge any more since the configuration is another one: what was put last does not
/// fit it, or the rule follows such a rule. No version of it judges until it is put again, or what it
/// needs is there again.
#[derive(Debug, Clone)]
pub struct RefusedRule {
    /// The rule.
    pub spec: RuleSpec,
    /// Why it cannot judge.
    pub why: String,
}

/// The rules that are known at a place of the input, in the order in which they judge; those that are
/// disabled or refused too.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownRules {
    rules: Vec<Known>,
}

impl KnownRules {
    /// Those of the configuration.
    pub(super) fn of(base: &[RuleSpec]) -> Self {
        let known = |spec: &RuleSpec| Known::new(Arc::new(spec.clone()));
        Self {
            rules: base.iter().map(known).collect(),
        }
    }

    /// Takes a change that was accepted when it came. A rule that was put and does not fit any more is
    /// refused, and judges in no version: the one before it was replaced. Returns what is wrong with
    /// such a rule, for [`Self::take`]; nothing is where it only lacks rules that it follows, which
    /// later changes may put.
    ///
    /// # Errors
    /// As [`Self::changed`], of changes that put no rule: the configuration is another one since, and
    /// the change changes nothing.
    pub(super) fn remember(
        &mut self,
        change: &RuleChange,
        datasets: &Datasets,
        windows: Option<&WindowPlan>,
    ) -> Result<Option<String>, String> {
        let why = match self.changed(change, datasets, windows) {
            Ok(next) => {
                *self = next;
                return Ok(None);
            }
            Err(why) => why,
        };
        if change.kind == ChangeKind::Remove {
            return Err(why);
        }
        let mut next = self.clone();
        if next.apply(change).is_err() {
            return Err(why);
        }
        next.refuse_followers();
        let is_refused = |rule: &&Known| rule.refusal.is_some() && !rule.is(change);
        let mut refused = next.rules.iter().filter(is_refused);
        let spoils_others = refused.any(|rule| self.judges(rule));
        if change.kind != ChangeKind::Put {
            // Of a rule that only lacks others it is remembered whether it is to judge.
            return match spoils_others {
                true => Err(why),
                false => {
                    *self = next;
                    Ok(None)
                }
            };
        }
        let fits = Self::check_alone(&change.spec()?, datasets, windows).is_ok();
        let fault = (!fits || spoils_others).then_some(why);
        self.take(change, fault.as_deref());
        Ok(fault)
    }

    /// Takes a change once more that was found to count, with what was found wrong with the rule that
    /// it puts.
    pub(super) fn take(&mut self, change: &RuleChange, fault: Option<&str>) {
        if self.apply(change).is_err() {
            return;
        }
        if let (Some(why), Some(rule)) = (fault, self.rules.iter_mut().find(|it| it.is(change))) {
            rule.refusal = Some(Refusal {
                why: why.to_owned(),
                is_own: true,
            });
        }
        self.refuse_followers();
    }

    /// Changes them; returns the rule that begins to judge, if one does. It is not looked at what the
    /// rule says.
    ///
    /// # Errors
    /// When the change puts no rule, or is about one that is not there; nothing has changed then.
    pub(super) fn apply(&mut self, change: &RuleChange) -> Result<Option<Arc<RuleSpec>>, String> {
        let at = self.rules.iter().position(|rule| rule.is(change));
        let known = at.and_then(|at| self.rules.get_mut(at));
        match (change.kind, known) {
            (ChangeKind::Put, known) => {
                let spec = Arc::new(change.spec()?);
                let put = Known::new(spec.clone());
                match known {
                    Some(rule) => *rule = put,
                    None => self.rules.push(put),
                }
                Ok(Some(spec))
            }
            (ChangeKind::Remove, Some(_)) => {
                self.rules.retain(|rule| !rule.is(change));
                Ok(None)
            }
            (ChangeKind::Enable | ChangeKind::Disable, Some(rule)) if !rule.is_faulty() => {
                rule.is_enabled = change.kind == ChangeKind::Enable;
                Ok(rule.is_enabled.then(|| rule.spec.clone()))
            }
            (ChangeKind::Approve | ChangeKind::Reject, _) => Ok(None),
            _ => Err(self.unknown(change)),
        }
    }

    /// Refuses the rules that follow rules which do not judge, and no others that only followed;
    /// returns where those that it refuses are, in the order in which they were found.
    fn refuse_followers(&mut self) -> Vec<usize> {
        for rule in self.rules.iter_mut().filter(|rule| !rule.is_faulty()) {
            rule.refusal = None;
        }
        let mut refused = Vec::new();
        while let Err(error) = RuleSet::check_references(self.enabled()) {
            let mut rules = self.rules.iter_mut().enumerate();
            let found = rules.find(|(_, rule)| rule.judges() && rule.is_called(&error.rule));
            let Some((at, rule)) = found else {
                break;
            };
            rule.refusal = Some(Refusal {
                why: error.to_string(),
                is_own: false,
            });
            refused.push(at);
        }
        refused
    }

    fn check_alone(
        spec: &RuleSpec,
        datasets: &Datasets,
        windows: Option<&WindowPlan>,
    ) -> Result<(), String> {
        let alone = RuleSet::alone(spec, datasets);
        let mut alone = alone.map_err(|error| error.to_string())?;
        let bound = windows.map(|windows| alone.bind(windows)).transpose();
        bound.map(drop).map_err(|error| error.to_string())
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
        let turns = matches!(change.kind, ChangeKind::Enable | ChangeKind::Disable);
        let is_refused = |rule: &Known| rule.is(change) && rule.refusal.is_some();
        if turns && self.rules.iter().any(is_refused) {
            return Err(self.unknown(change));
        }
        let mut next = self.clone();
        let begins = next.apply(change)?;
        let alone = begins.map(|spec| RuleSet::alone(&spec, datasets));
        let alone = alone.transpose().map_err(|error| error.to_string())?;
        let refused = next.refuse_followers().into_iter();
        let refused = refused.filter_map(|at| next.rules.get(at));
        let is_new = |rule: &&Known| rule.is(change) || self.judges(rule);
        if let Some(refusal) = refused
            .filter(is_new)
            .find_map(|rule| rule.refusal.as_ref())
        {
            return Err(refusal.why.clone());
        }
        if let (Some(mut alone), Some(windows)) = (alone, windows) {
            alone.bind(windows).map_err(|error| error.to_string())?;
        }
        Ok(next)
    }

    /// Why a rule cannot go, where that is because of the rules that follow it: these are named.
    pub(super) fn followed(&self, change: &RuleChange) -> Option<String> {
        if !matches!(change.kind, ChangeKind::Disable | ChangeKind::Remove) {
            return None;
        }
        let mut next = self.clone();
        next.apply(change).ok()?;
        let refused = next.refuse_followers().into_iter();
        let followers: Vec<&Known> = refused
            .filter_map(|at| next.rules.get(at))
            .filter(|rule| self.judges(rule))
            .collect();
        (!followers.is_empty()).then(|| followed(change, &followers))
    }

    /// All of them that are not refused, and whether each judges.
    pub(super) fn all(&self) -> impl Iterator<Item = (&RuleSpec, bool)> {
        let fit = self.rules.iter().filter(|rule| rule.refusal.is_none());
        fit.map(|rule| (&*rule.spec, rule.is_enabled))
    }

    /// The rules that judge.
    pub(super) fn enabled(&self) -> impl Iterator<Item = &RuleSpec> {
        let enabled = self.rules.iter().filter(|rule| rule.judges());
        enabled.map(|rule| &*rule.spec)
    }

    /// Whether a rule is known and not refused, be it disabled.
    pub(super) fn has(&self, rule_id: &str, shadow: bool) -> bool {
        let mut all = self.all();
        all.any(|(spec, _)| spec.id == rule_id && spec.shadow == shadow)
    }

    /// The rules that cannot judge.
    pub(super) fn refused(&self) -> Vec<RefusedRule> {
        let refused = |rule: &Known| {
            Some(RefusedRule {
                spec: RuleSpec::clone(&rule.spec),
                why: rule.refusal.as_ref()?.why.clone(),
            })
        };
        self.rules.iter().filter_map(refused).collect()
    }

    /// Why the rule that a change has put cannot judge, where it is still the one that was put last.
    pub(super) fn refusal(&self, change: &RuleChange) -> Option<&str> {
        let rule = self.rules.iter().find(|rule| rule.is(change))?;
        let refusal = rule.refusal.as_ref()?;
        let is_put =
            change.kind == ChangeKind::Put && change.spec().is_ok_and(|it| it == *rule.spec);
        is_put.then_some(refusal.why.as_str())
    }

    /// Whether the rule that a rule of other known ones is judges in these.
    fn judges(&self, other: &Known) -> bool {
        let is =
            |rule: &Known| (&rule.spec.id, rule.spec.shadow) == (&other.spec.id, other.spec.shadow);
        self.rules.iter().any(|rule| is(rule) && rule.judges())
    }

    fn unknown(&self, change: &RuleChange) -> String {
        let known = self.rules.iter().find(|rule| rule.is(change));
        if let Some(refusal) = known.and_then(|rule| rule.refusal.as_ref()) {
            return format!(
                "the rule '{}' judges nothing since the configuration is another one: {}; put it again, or remove it",
                change.rule_id, refusal.why
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

/// Why a rule cannot go: these cannot judge without it.
fn followed(change: &RuleChange, followers: &[&Known]) -> String {
    let name = |rule: &&Known| match rule.spec.shadow {
        true => format!("'{}' in the shadow", rule.spec.id),
        false => format!("'{}'", rule.spec.id),
    };
    let names: Vec<String> = followers.iter().map(name).collect();
    let (follow, those) = match names.len() {
        1 => ("follows", "it"),
        _ => ("follow", "them"),
    };
    let verb = match change.kind {
        ChangeKind::Disable => "disable",
        _ => "remove",
    };
    format!(
        "{} {follow} the rule '{}' and cannot judge without it: {verb} {those} first",
        names.join(", "),
        change.rule_id
    )
}

impl Known {
    fn new(spec: Arc<RuleSpec>) -> Self {
        Self {
            spec,
            is_enabled: true,
            refusal: None,
        }
    }

    fn judges(&self) -> bool {
        self.is_enabled && self.refusal.is_none()
    }

    /// Whether it is refused whatever becomes of others.
    fn is_faulty(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.is_own)
    }

    /// Whether a change is about it.
    fn is(&self, change: &RuleChange) -> bool {
        self.spec.id == change.rule_id && self.spec.shadow == change.shadow
    }

    /// Whether it is the one that judges by this id.
    fn is_called(&self, id: &str) -> bool {
        match in_shadow(id) {
            Some(id) => self.spec.shadow && self.spec.id == id,
            None => !self.spec.shadow && self.spec.id == id,
        }
    }
}
