//! What each version of a rule in the shadow would have raised while it judged, beside what the
//! rule of that id has raised meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use theatre_actors::control::{ChangeFate, ChangeKind, RuleChange, StandingRules};
use theatre_actors::outputs::OutputKind;
use theatre_actors::time::LogTime;
use theatre_schemas::records::{Alert, Priority, Transition};

use super::standing::with_history;
use crate::cli::output::{rows, time, value, write};
use crate::cli::service::Place;
use crate::cli::{Common, Failure, Output};

/// So many conditions that differ are in the table.
const SHOWN: usize = 20;
/// So many are in the JSON.
const LISTED: usize = 1000;

/// A condition that the one or the other has raised; times are microseconds UTC.
#[derive(Debug, Clone, PartialEq)]
struct Condition {
    id: String,
    robot: String,
    version: i32,
    priority: Priority,
    /// When that it was raised was saved, by the store.
    saved_at: i64,
    raised_at: i64,
    /// Absent: it is open.
    cleared_at: Option<i64>,
}

impl Condition {
    /// Whether both were open at some moment, on one robot.
    fn overlaps(&self, other: &Self) -> bool {
        let end = |of: &Self| of.cleared_at.unwrap_or(i64::MAX);
        self.robot == other.robot && self.raised_at <= end(other) && other.raised_at <= end(self)
    }
}

/// The conditions of transitions.
fn conditions(alerts: Vec<(LogTime, Alert)>) -> Vec<Condition> {
    let mut found: BTreeMap<String, (i32, Condition)> = BTreeMap::new();
    for (saved_at, alert) in alerts {
        let cleared = (alert.transition == Transition::Cleared).then_some(alert.event_time);
        let new = Condition {
            id: alert.condition_id.clone(),
            robot: alert.robot_id,
            version: alert.rule_version,
            priority: alert.priority,
            saved_at: saved_at.0,
            raised_at: alert.raised_at,
            cleared_at: None,
        };
        let known = found.entry(alert.condition_id);
        let (first, condition) = known.or_insert_with(|| (alert.revision, new.clone()));
        let cleared_at = condition.cleared_at.or(cleared);
        if alert.revision < *first {
            (*first, *condition) = (alert.revision, new);
        }
        condition.cleared_at = cleared_at;
    }
    found
        .into_values()
        .map(|(_, condition)| condition)
        .collect()
}

/// From when to when each version of a rule in the shadow has judged, microseconds UTC: a version
/// may do so more than once. One of the configuration judges from the beginning.
fn stretches(standing: &StandingRules, rule: &str) -> BTreeMap<i32, Vec<(i64, i64)>> {
    let base = standing.base().iter();
    let base = base.filter(|spec| spec.id == rule && spec.shadow);
    let changes = standing.changes();
    let mut effective: Vec<(i64, &RuleChange)> = changes
        .iter()
        .filter(|it| it.rule_id == rule && it.shadow && !it.is_answer())
        .filter(|it| standing.fate(it) == ChangeFate::Counts)
        .map(|change| {
            let mut answers = changes.iter();
            let approval = answers.find(|it| it.approves.as_ref() == Some(&change.change_id));
            (approval.map_or(change.at, |approval| approval.at), change)
        })
        .collect();
    effective.sort_by_key(|(at, _)| *at);
    // The version, and since when it judges.
    let mut now = base.map(|spec| (spec.version, Some(i64::MIN))).next();
    let mut found: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
    let mut end = |now: Option<(i32, Option<i64>)>, at: i64| {
        if let Some((version, Some(from))) = now {
            found.entry(version).or_default().push((from, at));
        }
    };
    for (at, change) in effective {
        end(now, at);
        now = match (change.kind, now) {
            (ChangeKind::Put, _) => change.spec().ok().map(|spec| (spec.version, Some(at))),
            (ChangeKind::Enable, Some((version, _))) => Some((version, Some(at))),
            (ChangeKind::Disable, Some((version, _))) => Some((version, None)),
            _ => None,
        };
    }
    end(now, i64::MAX);
    found
}

/// What a version in the shadow and the rule have raised on a robot: how often, and when first.
#[derive(Debug, Default, PartialEq)]
struct Beside {
    raised: u64,
    first: Option<i64>,
    in_the_shadow: u64,
    first_in_the_shadow: Option<i64>,
    only_raised: u64,
    only_in_the_shadow: u64,
}

/// All versions, by version and robot, and the conditions that only one of both has, each with the
/// version of the shadow.
#[derive(Debug, Default, PartialEq)]
struct Compared<'a> {
    beside: BTreeMap<(i32, &'a str), Beside>,
    differing: Vec<(i32, bool, &'a Condition)>,
}

fn by_robot(conditions: &[Condition]) -> BTreeMap<&str, Vec<&Condition>> {
    let mut found: BTreeMap<&str, Vec<&Condition>> = BTreeMap::new();
    for condition in conditions {
        found.entry(&condition.robot).or_default().push(condition);
    }
    found
}

/// Compares conditions of the rule with those of the shadow, of which `stretches` says when it
/// judged.
fn compared<'a>(
    live: &'a [Condition],
    shadow: &'a [Condition],
    stretches: &BTreeMap<i32, Vec<(i64, i64)>>,
) -> Compared<'a> {
    let (live_of, shadow_of) = (by_robot(live), by_robot(shadow));
    let is_in = |all: &BTreeMap<&str, Vec<&Condition>>, condition: &Condition| {
        let of_robot = all.get(condition.robot.as_str());
        of_robot.is_some_and(|all| all.iter().any(|other| other.overlaps(condition)))
    };
    let mut found = Compared::default();
    for condition in shadow {
        let key = (condition.version, condition.robot.as_str());
        let beside = found.beside.entry(key).or_default();
        beside.in_the_shadow += 1;
        beside.first_in_the_shadow = earlier(beside.first_in_the_shadow, condition.raised_at);
        if !is_in(&live_of, condition) {
            beside.only_in_the_shadow += 1;
            found.differing.push((condition.version, true, condition));
        }
    }
    for condition in live {
        let within = |(from, to): &(i64, i64)| (*from..*to).contains(&condition.saved_at);
        let mut versions = stretches.iter();
        let Some((version, _)) = versions.find(|(_, of)| of.iter().any(within)) else {
            continue;
        };
        let key = (*version, condition.robot.as_str());
        let beside = found.beside.entry(key).or_default();
        beside.raised += 1;
        beside.first = earlier(beside.first, condition.raised_at);
        if !is_in(&shadow_of, condition) {
            beside.only_raised += 1;
            found.differing.push((*version, false, condition));
        }
    }
    let order = |it: &(i32, bool, &'a Condition)| (it.0, it.2.raised_at, it.2.id.as_str(), it.1);
    found
        .differing
        .sort_by(|one, other| order(one).cmp(&order(other)));
    found
}

fn earlier(known: Option<i64>, new: i64) -> Option<i64> {
    Some(known.map_or(new, |known| known.min(new)))
}

const BESIDE: [&str; 8] = [
    "version",
    "robot_id",
    "raised",
    "first",
    "in_the_shadow",
    "first_in_the_shadow",
    "only_raised",
    "only_in_the_shadow",
];

fn beside((of, beside): (&(i32, &str), &Beside)) -> Vec<Value> {
    let first = |at: Option<i64>| at.map_or(Value::Null, time);
    vec![
        json!(of.0),
        json!(of.1),
        json!(beside.raised),
        first(beside.first),
        json!(beside.in_the_shadow),
        first(beside.first_in_the_shadow),
        json!(beside.only_raised),
        json!(beside.only_in_the_shadow),
    ]
}

const DIFFERING: [&str; 7] = [
    "version",
    "only",
    "robot_id",
    "priority",
    "raised_at",
    "cleared_at",
    "condition_id",
];

fn differing((version, in_the_shadow, of): &(i32, bool, &Condition)) -> Vec<Value> {
    let only = if *in_the_shadow {
        "in_the_shadow"
    } else {
        "raised"
    };
    vec![
        json!(version),
        json!(only),
        json!(of.robot),
        json!(of.priority),
        time(of.raised_at),
        of.cleared_at.map_or(Value::Null, time),
        json!(of.id),
    ]
}

/// Rows as objects.
fn objects(names: &[&str], rows: impl Iterator<Item = Vec<Value>>) -> Value {
    let object = |row: Vec<Value>| -> Value {
        let names = names.iter().map(|name| (*name).to_owned());
        Value::Object(names.zip(row).collect())
    };
    rows.map(object).collect()
}

pub(super) fn compare(common: &Common, rule: &str) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let store = place.look()?.store()?;
    let of = |kind| theatre_queries::alerts_of(&*store, kind, rule).map(conditions);
    let (live, shadow) = (of(OutputKind::Alert)?, of(OutputKind::ShadowAlert)?);
    let standing = with_history(&place)?;
    let stretches = stretches(&standing, rule);
    if shadow.is_empty() && stretches.is_empty() {
        return Err(Failure::Usage(format!(
            "no rule '{rule}' runs in the shadow, and none has raised anything: `theatre rules add FILE --shadow` puts one there"
        )));
    }
    let found = compared(&live, &shadow, &stretches);
    let count = found.differing.len();
    if common.output == Output::Json {
        let listed = found.differing.iter().take(LISTED).map(differing);
        return value(&json!({
            "robots": objects(&BESIDE, found.beside.iter().map(beside)),
            "differing": {"count": count, "conditions": objects(&DIFFERING, listed)},
        }));
    }
    let lines: Vec<Vec<Value>> = found.beside.iter().map(beside).collect();
    rows(Output::Table, &BESIDE, &lines)?;
    let versions: BTreeSet<i32> = found.beside.keys().map(|(version, _)| *version).collect();
    write(&format!(
        "\n{count} conditions differ, of {} versions in the shadow\n",
        versions.len()
    ))?;
    if count > 0 {
        let shown = found.differing.iter().take(SHOWN).map(differing);
        rows(Output::Table, &DIFFERING, &shown.collect::<Vec<_>>())?;
    }
    if count > SHOWN {
        let more = count - SHOWN;
        write(&format!(
            "and {more} more (--output json lists {LISTED} of them at most)\n"
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
