//! What of a rule is not wrong, and yet may not be meant so: names that nothing knows, and steps that
//! change nothing. Rules that were recorded long ago may have some, so none is refused for it.

use std::collections::BTreeSet;

use theatre_schemas::dataset::{Dataset, Datasets};

use super::names::did_you_mean;
use super::scope::ScopeSpec;
use super::{RuleKind, RuleSet, RuleSpec};

/// Names that robots, cases and registries have, beside those that schemas list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownNames {
    /// Robot models that are registered.
    pub models: BTreeSet<String>,
    /// Facilities that are registered.
    pub facilities: BTreeSet<String>,
    /// Phases that cases had.
    pub phases: BTreeSet<String>,
}

/// Names that may be of one kind, and what is said of one that is not among them.
struct Names<'a> {
    key: &'static str,
    wanted: Vec<&'a str>,
    known: Vec<&'a str>,
    unknown: &'static str,
}

impl RuleSpec {
    /// What may not be meant so, a sentence each, with what may have been meant. Without `known` only
    /// what schemas list is looked at.
    pub fn doubts(&self, datasets: &Datasets, known: Option<&KnownNames>) -> Vec<String> {
        let mut doubts = Vec::new();
        let watched = self.watched(datasets);
        let scope = ScopeSpec::default();
        let only = self.only.as_ref().unwrap_or(&scope);
        let mut names = vec![
            symbols("only.states", &only.states, &only.state_column, &watched),
            symbols("only.tools", &only.tools, &only.tool_column, &watched),
            self.states_of_normal(&watched),
        ];
        if let Some(known) = known {
            names.extend(self.named(only, known).map(Some));
            if !self.judges_rows(datasets) && known.models.is_empty() && !only.models.is_empty() {
                doubts.push("only.models: it goes by the registry alone, and no robot is registered with a model: it holds nowhere until one is".to_owned());
            }
        }
        for names in names.into_iter().flatten() {
            let Names {
                key,
                known,
                unknown,
                ..
            } = &names;
            let is_unknown = |name: &&&str| !known.is_empty() && !known.contains(*name);
            doubts.extend(names.wanted.iter().filter(is_unknown).map(|name| {
                let hint = did_you_mean(name, known);
                format!("{key}: {unknown} '{name}'; {hint}")
            }));
        }
        doubts.extend(self.idle_steps());
        if self.version < 1 {
            doubts.push(format!(
                "version: {}, and versions begin with 1: a change of it is to have that or a higher one",
                self.version
            ));
        }
        let about = |doubt: String| format!("rule '{}': {doubt}", self.id);
        doubts.into_iter().map(about).collect()
    }

    /// Whether it names models, facilities or phases: what of [`Self::doubts`] needs the names that
    /// are known.
    pub fn names_what_is_known(&self) -> bool {
        let of_cohort = match &self.kind {
            RuleKind::Cohort(cohort) => !cohort.normal.is_empty(),
            _ => false,
        };
        let of_scope = self.only.as_ref().is_some_and(|only| {
            let named = [&only.models, &only.facilities, &only.phases];
            named.iter().any(|names| !names.is_empty())
        });
        of_cohort || of_scope
    }

    /// The datasets whose rows or windows it judges.
    fn watched<'a>(&self, datasets: &'a Datasets) -> Vec<&'a Dataset> {
        let Ok(alone) = RuleSet::alone(self, datasets) else {
            return Vec::new();
        };
        let watched = datasets.iter();
        let watched = watched.filter(|(index, _)| alone.for_dataset(*index).is_some());
        watched.map(|(_, dataset)| &**dataset).collect()
    }

    fn judges_rows(&self, datasets: &Datasets) -> bool {
        !matches!(self.kind, RuleKind::Aggregate(_)) && !self.watched(datasets).is_empty()
    }

    /// The states of what is normal for a model.
    fn states_of_normal<'a>(&'a self, watched: &[&'a Dataset]) -> Option<Names<'a>> {
        let RuleKind::Cohort(cohort) = &self.kind else {
            return None;
        };
        let states = cohort.normal.iter().filter_map(|of| of.state.as_deref());
        names_of(
            "normal.state",
            states.collect(),
            cohort.by.as_deref()?,
            watched,
        )
    }

    /// What is looked up among the names that are known.
    fn named<'a>(
        &'a self,
        only: &'a ScopeSpec,
        known: &'a KnownNames,
    ) -> impl Iterator<Item = Names<'a>> {
        let names = |key, wanted: Vec<&'a str>, known: &'a BTreeSet<String>, unknown| Names {
            key,
            wanted,
            known: known.iter().map(String::as_str).collect(),
            unknown,
        };
        let all = |wanted: &'a [String]| wanted.iter().map(String::as_str).collect();
        let cohort = match &self.kind {
            RuleKind::Cohort(cohort) => cohort.normal.iter().map(|of| &*of.model).collect(),
            _ => Vec::new(),
        };
        const MODEL: &str = "no robot is registered with the model";
        [
            names("only.models", all(&only.models), &known.models, MODEL),
            names("normal.model", cohort, &known.models, MODEL),
            names(
                "only.facilities",
                all(&only.facilities),
                &known.facilities,
                "nothing is registered of the facility",
            ),
            names(
                "only.phases",
                all(&only.phases),
                &known.phases,
                "no case that is remembered had the phase",
            ),
        ]
        .into_iter()
    }

    /// Steps of a condition that is not acknowledged that do not make it more urgent.
    fn idle_steps(&self) -> impl Iterator<Item = String> {
        let written = |priority: &theatre_schemas::records::Priority| {
            let name = serde_json::to_value(priority).unwrap_or_default();
            name.as_str().unwrap_or_default().to_owned()
        };
        // `Priority` orders the most urgent first.
        self.unacknowledged.iter().filter_map(move |step| {
            let priority = step.priority.filter(|priority| *priority > self.priority)?;
            Some(format!(
                "unacknowledged: the step after {} has the priority {}, and the rule's is {}: a condition keeps the higher one",
                step.after,
                written(&priority),
                written(&self.priority)
            ))
        })
    }
}

fn symbols<'a>(
    key: &'static str,
    wanted: &'a [String],
    column: &str,
    watched: &[&'a Dataset],
) -> Option<Names<'a>> {
    let wanted = wanted.iter().map(String::as_str).collect();
    names_of(key, wanted, column, watched)
}

/// Names that are looked up among the texts that a column can have in the datasets that a rule
/// watches; nothing where one of them may have any.
fn names_of<'a>(
    key: &'static str,
    wanted: Vec<&'a str>,
    column: &str,
    watched: &[&'a Dataset],
) -> Option<Names<'a>> {
    let mut known = Vec::new();
    for dataset in watched {
        let symbols = &dataset.columns.get(dataset.column(column)?)?.symbols;
        if symbols.is_empty() {
            return None;
        }
        known.extend(symbols.iter().map(String::as_str));
    }
    known.sort_unstable();
    known.dedup();
    Some(Names {
        key,
        wanted,
        known,
        unknown: "its datasets never have",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use theatre_schemas::registry::Registry;

    use super::*;

    fn known() -> KnownNames {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        KnownNames {
            models: set(&["Surgical-X1", "Surgical-X2"]),
            facilities: set(&["FAC-001"]),
            phases: set(&["docking", "dissection"]),
        }
    }

    fn doubts(more: Value, known: Option<&KnownNames>) -> Vec<String> {
        let mut rule = json!({
            "id": "hot",
            "priority": "medium",
            "dataset": "robot_telemetry",
            "kind": { "threshold": { "signal": "grip_pressure", "raise_above": 8.0 } }
        });
        for (key, value) in more.as_object().unwrap() {
            rule[key] = value.clone();
        }
        let rule: RuleSpec = serde_json::from_value(rule).unwrap();
        let registry = Registry::builtin();
        let datasets = registry.datasets();
        let doubts = rule.doubts(datasets, known);
        if !rule.names_what_is_known() {
            assert_eq!(doubts, rule.doubts(datasets, None));
        }
        doubts
    }

    #[test]
    fn names_that_nothing_knows_are_doubted_with_what_may_have_been_meant() {
        let names = known();
        for (more, expected) in [
            (json!({}), vec![]),
            (
                json!({"only": {"states": ["enabled"], "tools": ["grasper"], "models": ["Surgical-X1"], "facilities": ["FAC-001"], "phases": ["dissection"]}}),
                vec![],
            ),
            (
                json!({"only": {"tools": ["graspr", "scissors"]}}),
                vec!["only.tools: its datasets never have 'graspr'; did you mean grasper?"],
            ),
            (
                json!({"only": {"models": ["surgical-x3"], "facilities": ["FAC-01"], "phases": ["disection"]}}),
                vec![
                    "only.models: no robot is registered with the model 'surgical-x3'; did you mean Surgical-X1, Surgical-X2?",
                    "only.facilities: nothing is registered of the facility 'FAC-01'; did you mean FAC-001?",
                    "only.phases: no case that is remembered had the phase 'disection'; did you mean dissection?",
                ],
            ),
            (
                json!({"kind": {"cohort": {"signal": "grip_pressure", "over": "1d", "by": "tool_type", "raise_above": 4.0, "normal": [{"model": "Surgical-X", "state": "grasp", "middle": 1.0, "spread": 1.0}]}}}),
                vec![
                    "normal.state: its datasets never have 'grasp'; did you mean grasper?",
                    "normal.model: no robot is registered with the model 'Surgical-X'; did you mean Surgical-X1, Surgical-X2?",
                ],
            ),
            (
                json!({"version": 0}),
                vec![
                    "version: 0, and versions begin with 1: a change of it is to have that or a higher one",
                ],
            ),
            (
                json!({"unacknowledged": [{"after": "10m", "priority": "low"}, {"after": "20m", "priority": "high"}]}),
                vec![
                    "unacknowledged: the step after 10m has the priority low, and the rule's is medium: a condition keeps the higher one",
                ],
            ),
        ] {
            let expected: Vec<String> = expected
                .iter()
                .map(|doubt| format!("rule 'hot': {doubt}"))
                .collect();
            assert_eq!(doubts(more, Some(&names)), expected);
        }
    }

    #[test]
    fn where_nothing_is_known_nothing_is_doubted_but_what_goes_by_the_registry_alone() {
        let nowhere = json!({"only": {"models": ["m"], "facilities": ["f"], "phases": ["p"]}});
        let none = KnownNames::default();
        assert_eq!(doubts(nowhere.clone(), None), Vec::<String>::new());
        assert_eq!(doubts(nowhere, Some(&none)), Vec::<String>::new());
        let usage = json!({
            "dataset": null,
            "only": {"models": ["m"]},
            "kind": {"usage": {"counter": "cases", "raise_above": 5.0}}
        });
        assert_eq!(doubts(usage.clone(), None), Vec::<String>::new());
        let [doubt] = &doubts(usage, Some(&none))[..] else {
            panic!("one doubt");
        };
        assert!(doubt.contains("holds nowhere until one is"), "{doubt}");
    }
}
