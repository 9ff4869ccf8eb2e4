//! A rule on the conditions of other rules, joined by and, or and not.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::micros::Micros;

/// Conditions of other rules, joined; open while that is so for `hold`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CombinationSpec {
    /// What must be open.
    pub of: Expression,
    /// It must be so without a break for this long, in event time.
    #[serde(default)]
    pub hold: Micros,
}

/// An expression over conditions, each by the id of its rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a rule's id, { and = [..] }, { or = [..] } or { not = .. }"
)]
pub enum Expression {
    /// A condition of this rule is open.
    Rule(String),
    /// Others, joined.
    Joined(Joined),
}

/// Expressions that are joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Joined {
    /// All of them.
    And(Vec<Expression>),
    /// One of them at least.
    Or(Vec<Expression>),
    /// Not this one.
    Not(Box<Expression>),
}

impl Expression {
    /// Whether it is true, by the rules whose conditions are open.
    pub(crate) fn holds(&self, is_open: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Rule(id) => is_open(id),
            Self::Joined(Joined::And(all)) => all.iter().all(|of| of.holds(is_open)),
            Self::Joined(Joined::Or(any)) => any.iter().any(|of| of.holds(is_open)),
            Self::Joined(Joined::Not(of)) => !of.holds(is_open),
        }
    }

    /// The ids of the rules, in the order in which they are named first.
    pub(crate) fn rules(&self) -> Vec<&str> {
        let mut rules = Vec::new();
        self.collect(&mut BTreeSet::new(), &mut rules);
        rules
    }

    /// Adds the rules that are not `known` yet: a set, for there may be any number of them.
    fn collect<'a>(&'a self, known: &mut BTreeSet<&'a str>, rules: &mut Vec<&'a str>) {
        match self {
            Self::Rule(id) => rules.extend(known.insert(id).then_some(id.as_str())),
            Self::Joined(Joined::And(of) | Joined::Or(of)) => {
                of.iter().for_each(|of| of.collect(known, rules));
            }
            Self::Joined(Joined::Not(of)) => of.collect(known, rules),
        }
    }

    fn has_empty(&self) -> bool {
        match self {
            Self::Rule(_) => false,
            Self::Joined(Joined::And(of) | Joined::Or(of)) => {
                of.is_empty() || of.iter().any(Self::has_empty)
            }
            Self::Joined(Joined::Not(of)) => of.has_empty(),
        }
    }
}

impl CombinationSpec {
    /// # Errors
    /// When it joins nothing, or is true while nothing is open.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.of.has_empty() {
            return Err("and and or must name at least one condition".to_owned());
        }
        if self.of.holds(&|_| false) {
            return Err(
                "it would be open while no condition is: join not with another condition by and"
                    .to_owned(),
            );
        }
        if self.hold.0 < 0 {
            return Err("hold must not be negative".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> CombinationSpec {
        serde_json::from_value(serde_json::json!({ "of": json })).unwrap()
    }

    #[test]
    fn expressions_are_true_as_their_table_says() {
        let of = read(serde_json::json!({"and": [{"or": ["a", "b"]}, {"not": "c"}]})).of;
        assert_eq!(of.rules(), ["a", "b", "c"]);
        for (open, expected) in [
            ("", false),
            ("a", true),
            ("b", true),
            ("ab", true),
            ("ac", false),
            ("c", false),
        ] {
            assert_eq!(of.holds(&|id| open.contains(id)), expected, "{open}");
        }
    }

    #[test]
    fn a_rule_that_names_any_number_of_others_is_looked_at_once() {
        let ids = (0..200_000).map(|number| Expression::Rule(number.to_string()));
        let all: Vec<Expression> = ids.clone().chain(ids).collect();
        assert_eq!(Expression::Joined(Joined::Or(all)).rules().len(), 200_000);
    }

    #[test]
    fn what_is_true_of_nothing_or_joins_nothing_is_refused() {
        for (json, why) in [
            (serde_json::json!({"not": "a"}), "while no condition is"),
            (
                serde_json::json!({"or": ["a", {"not": "b"}]}),
                "while no condition is",
            ),
            (serde_json::json!({"and": []}), "at least one"),
            (
                serde_json::json!({"and": ["a", {"or": []}]}),
                "at least one",
            ),
        ] {
            assert!(
                read(json.clone()).check().unwrap_err().contains(why),
                "{json}"
            );
        }
        assert!(read(serde_json::json!("a")).check().is_ok());
        let wrong = serde_json::json!({ "of": { "nand": ["a"] } });
        let error = serde_json::from_value::<CombinationSpec>(wrong).unwrap_err();
        assert!(error.to_string().contains("{ and = [..] }"), "{error}");
    }
}
