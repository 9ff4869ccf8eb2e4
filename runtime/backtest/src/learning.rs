//! What is normal for the robots of a model, learnt from the past: the averages that rules on
//! cohorts make of each robot, brought together.
//!
//! Of each robot its averages become one value, in the way in which the rule averages. What is
//! normal is the median of these values and their robust spread (`middle_and_spread` of the rules'
//! kind names the source), so a robot with many rows counts as one with few.

use std::collections::BTreeMap;

use serde::Serialize;
use theatre_actors::rules::{
    Average, CohortAverages, CohortNormal, RuleKind, RuleSpec, middle_and_spread,
};

/// Robots and their averages, by name.
pub type RobotAverages = BTreeMap<String, Vec<CohortAverages>>;

/// What is normal by a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Learnt {
    /// The rule.
    pub rule_id: String,
    /// What is normal for a model.
    #[serde(flatten)]
    pub normal: CohortNormal,
}

/// Robots of which there are too few to say what is normal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TooFew {
    /// The rule.
    pub rule_id: String,
    /// The signal, of a rule on several.
    pub signal: Option<String>,
    /// The model.
    pub model: String,
    /// The value of the rule's `by`, if it has one.
    pub state: Option<String>,
    /// The robots.
    pub robots: Vec<String>,
}

/// The rules on cohorts among these, made to keep averages in place of judging them.
pub fn rules_that_learn(rules: &[RuleSpec]) -> Vec<RuleSpec> {
    let learning = |rule: &RuleSpec| {
        let mut rule = rule.clone();
        let RuleKind::Cohort(cohort) = &mut rule.kind else {
            return None;
        };
        cohort.learns = true;
        cohort.normal.clear();
        // What is learnt does not depend on whether the rule's alerts are sent.
        rule.shadow = false;
        Some(rule)
    };
    rules.iter().filter_map(learning).collect()
}

/// What is normal by each rule, model, state and signal, where at least so many robots say it, in
/// the order of the rules.
pub fn normals(
    robots: &RobotAverages,
    rules: &[RuleSpec],
    least_robots: usize,
) -> (Vec<Learnt>, Vec<TooFew>) {
    let (mut learnt, mut too_few) = (Vec::new(), Vec::new());
    for rule in rules {
        let RuleKind::Cohort(cohort) = &rule.kind else {
            continue;
        };
        for ((model, state, signal), values) in of_rule(robots, &rule.id, cohort.average) {
            let (model, signal) = (model.to_owned(), signal.map(str::to_owned));
            let state = cohort.by.is_some().then(|| state.to_owned());
            let averages: Vec<f64> = values.values().copied().collect();
            let known = middle_and_spread(&averages).filter(|_| values.len() >= least_robots);
            match known {
                Some((middle, spread)) => learnt.push(Learnt {
                    rule_id: rule.id.clone(),
                    normal: CohortNormal {
                        model,
                        state,
                        signal,
                        middle,
                        spread,
                        robots: u32::try_from(values.len()).unwrap_or(u32::MAX),
                    },
                }),
                None => too_few.push(TooFew {
                    rule_id: rule.id.clone(),
                    signal,
                    model,
                    state,
                    robots: values.into_keys().map(str::to_owned).collect(),
                }),
            }
        }
    }
    (learnt, too_few)
}

/// Model, state and signal.
type Group<'a> = (&'a str, &'a str, Option<&'a str>);

/// The value of each robot by a rule.
fn of_rule<'a>(
    robots: &'a RobotAverages,
    rule_id: &str,
    average: Average,
) -> BTreeMap<Group<'a>, BTreeMap<&'a str, f64>> {
    let mut groups: BTreeMap<Group<'a>, BTreeMap<&'a str, Vec<f64>>> = BTreeMap::new();
    for (robot, kept) in robots {
        for averages in kept.iter().filter(|averages| averages.rule_id == rule_id) {
            let group = (
                averages.model.as_str(),
                averages.state.as_str(),
                averages.signal.as_deref(),
            );
            let of_group = groups.entry(group).or_default();
            of_group.entry(robot).or_default().extend(&averages.values);
        }
    }
    let one = |(robot, values): (&'a str, Vec<f64>)| Some((robot, average.of_values(values)?));
    let of_group = |(group, robots): (Group<'a>, BTreeMap<&'a str, Vec<f64>>)| {
        (group, robots.into_iter().filter_map(one).collect())
    };
    groups.into_iter().map(of_group).collect()
}

#[cfg(test)]
mod tests {
    use theatre_actors::rules::{CohortSpec, Micros};
    use theatre_schemas::records::Priority;

    use super::*;

    fn rule(id: &str, by: Option<&str>, average: Average) -> RuleSpec {
        let cohort = CohortSpec {
            signal: "s".to_owned(),
            over: Micros(3_600_000_000),
            average,
            by: by.map(str::to_owned),
            least_deviation: 0.0,
            normal: Vec::new(),
            learns: false,
            raise_above: Some(4.0),
            clear_below: None,
            raise_below: None,
            clear_above: None,
            hold: Micros(0),
            clear_after: Micros(0),
            escalate: Vec::new(),
        };
        RuleSpec::new(id, Priority::Low, RuleKind::Cohort(cohort))
    }

    fn kept(rule_id: &str, model: &str, state: &str, values: &[f64]) -> CohortAverages {
        CohortAverages {
            rule_id: rule_id.to_owned(),
            signal: None,
            model: model.to_owned(),
            state: state.to_owned(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn each_robot_counts_once_and_half_of_them_say_what_is_normal() {
        let mut robots = RobotAverages::new();
        // Robot 5 is far off and has the most rows; robot 6 is of a model of its own.
        for (robot, values) in [
            ("1", vec![9.0, 10.0, 99.0]),
            ("2", vec![11.0]),
            ("3", vec![12.0]),
            ("4", vec![13.0]),
            ("5", vec![500.0; 50]),
        ] {
            robots.insert(robot.to_owned(), vec![kept("a", "m", "", &values)]);
        }
        robots.insert("6".to_owned(), vec![kept("a", "n", "", &[1.0])]);
        let (learnt, too_few) = normals(&robots, &[rule("a", None, Average::Median)], 5);
        let [only] = learnt.as_slice() else {
            panic!("{learnt:?}");
        };
        let normal = &only.normal;
        assert_eq!((normal.model.as_str(), normal.robots), ("m", 5));
        // Medians 10, 11, 12, 13 and 500: the deviations from 12 are 2, 1, 0, 1 and 488.
        assert_eq!((normal.middle, normal.spread), (12.0, 1.4826));
        assert_eq!(
            (too_few.len(), too_few[0].robots.as_slice()),
            (1, &["6".to_owned()][..])
        );
        assert_eq!(
            normals(&robots, &[rule("a", None, Average::Median)], 6).0,
            []
        );
    }

    #[test]
    fn rules_and_states_are_told_apart_and_only_cohorts_learn() {
        let by = rule("b", Some("state"), Average::Median);
        let mean = rule("c", None, Average::Mean);
        let mut robots = RobotAverages::new();
        for robot in ["1", "2"] {
            let all = vec![
                kept("b", "m", "cut", &[5.0]),
                kept("b", "m", "idle", &[1.0]),
                kept("c", "m", "", &[1.0, 2.0, 6.0]),
            ];
            robots.insert(robot.to_owned(), all);
        }
        let boolean = RuleKind::Boolean {
            signal: "s".to_owned(),
            when: true,
            hold: Micros(0),
            clear_after: Micros(0),
        };
        let other = RuleSpec::new("d", Priority::Low, boolean);
        let rules = [by, mean, other];
        let (learnt, _) = normals(&robots, &rules, 2);
        let found: Vec<(&str, Option<&str>, f64)> = learnt
            .iter()
            .map(|it| {
                (
                    it.rule_id.as_str(),
                    it.normal.state.as_deref(),
                    it.normal.middle,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("b", Some("cut"), 5.0),
                ("b", Some("idle"), 1.0),
                ("c", None, 3.0)
            ]
        );
        let learning = rules_that_learn(&rules);
        assert_eq!(learning.len(), 2);
    }
}
