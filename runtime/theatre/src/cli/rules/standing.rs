//! The rules that hold, how they came to be, and what those in the shadow would have raised.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use theatre_actors::control::{ChangeFate, RuleBase, RuleChange, StandingRules};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::CheckpointStore;
use theatre_actors::rules::{RuleSpec, did_you_mean};
use theatre_schemas::records::Transition;

use super::check::kind_name;
use super::file;
use crate::adapters;
use crate::cli::output::{rows, time, value};
use crate::cli::service::Place;
use crate::cli::{Common, Failure};

/// The rules that hold. Where nothing has run yet they are those of the configuration.
pub(in crate::cli) fn standing(place: &Place) -> Result<StandingRules, Failure> {
    let rules = place.config.rule_specs()?;
    let registry = adapters::registry(&place.config)?;
    let windows = theatre_pipeline::params::window_plan(&place.config);
    let base = RuleBase {
        rules: &rules,
        needs_approval: place.config.rules_approval,
        datasets: registry.datasets(),
        windows: windows.as_ref(),
    };
    if place.config.store.url.is_none() && !place.dir.store().exists() {
        let standing = StandingRules::read(base, None);
        return standing.map_err(|error| Failure::Failed(error.to_string()));
    }
    let store = place.look()?.store()?;
    Ok(theatre_queries::standing_rules(&*store, base)?)
}

pub(super) fn list(common: &Common) -> Result<(), Failure> {
    let standing = standing(&Place::of(common)?)?;
    let line = |rule: &RuleSpec, is_enabled: bool, refused: Option<&str>| {
        let waits = |it: &&RuleChange| (&it.rule_id, it.shadow) == (&rule.id, rule.shadow);
        let waiting = standing.waiting().iter().filter(waits);
        let waiting: Vec<&str> = waiting.map(|change| change.change_id.as_str()).collect();
        vec![
            json!(rule.id),
            json!(rule.version),
            json!(rule.priority),
            json!(kind_name(&rule.kind)),
            json!(is_enabled),
            json!(rule.shadow),
            json!(waiting.join(", ")),
            json!(refused),
            json!(rule.description),
        ]
    };
    let known = standing.known();
    let known = known.map(|(rule, is_enabled)| line(rule, is_enabled, None));
    let refused = standing.refused();
    let refused = refused
        .iter()
        .map(|it| line(&it.spec, false, Some(&it.why)));
    let lines: Vec<Vec<Value>> = known.chain(refused).collect();
    let names = [
        "rule",
        "version",
        "priority",
        "kind",
        "enabled",
        "shadow",
        "waiting",
        "refused",
        "description",
    ];
    rows(common.output, &names, &lines)
}

pub(super) fn show(common: &Common, id: &str, shadow: bool) -> Result<(), Failure> {
    let standing = standing(&Place::of(common)?)?;
    let mut rules = standing.known().map(|(rule, _)| rule);
    let Some(rule) = rules.find(|rule| rule.id == id && rule.shadow == shadow) else {
        let ids: Vec<&str> = standing.known().map(|(rule, _)| rule.id.as_str()).collect();
        let place = if shadow { " in the shadow" } else { "" };
        return Err(Failure::Usage(format!(
            "there is no rule '{id}'{place}; {}",
            did_you_mean(id, &ids)
        )));
    };
    value(&json!(rule))
}

pub(super) fn diff(common: &Common, path: &Path) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let registry = adapters::registry(&place.config)?;
    let mut config = place.config.clone();
    let wanted = file::compiled(path, &mut config, registry.datasets())?.written();
    let known = standing(&place)?.rules();
    let find = |rules: &[RuleSpec], wanted: &RuleSpec| {
        let is = |rule: &&RuleSpec| (&rule.id, rule.shadow) == (&wanted.id, wanted.shadow);
        rules.iter().find(is).cloned()
    };
    let mut lines = Vec::new();
    for rule in &wanted {
        let (change, before) = match find(&known, rule) {
            None => ("new", None),
            Some(before) if before == *rule => continue,
            Some(before) => ("changed", Some(before)),
        };
        lines.push(vec![
            json!(rule.id),
            json!(change),
            json!(before),
            json!(rule),
        ]);
    }
    for rule in known.iter().filter(|rule| find(&wanted, rule).is_none()) {
        lines.push(vec![
            json!(rule.id),
            json!("not in the file"),
            json!(rule),
            Value::Null,
        ]);
    }
    rows(
        common.output,
        &["rule", "change", "now", "in_the_file"],
        &lines,
    )
}

pub(super) fn history(common: &Common) -> Result<(), Failure> {
    let standing = standing(&Place::of(common)?)?;
    let lines: Vec<Vec<Value>> = standing
        .changes()
        .iter()
        .map(|change| {
            let fate = standing.fate(change);
            vec![
                time(change.at),
                json!(change.change_id),
                json!(change.kind),
                json!(change.rule_id),
                json!(change.shadow),
                json!(change.actor),
                json!(fate == ChangeFate::Waiting),
                json!(fate.to_string()),
                json!(change.comment),
            ]
        })
        .collect();
    let names = [
        "at",
        "change_id",
        "change",
        "rule_id",
        "shadow",
        "actor",
        "is_waiting",
        "fate",
        "comment",
    ];
    rows(common.output, &names, &lines)
}

/// What was raised, by robot: how often, and when first.
type Raised = BTreeMap<String, (u64, i64)>;

fn raised(store: &dyn CheckpointStore, kind: OutputKind, rule: &str) -> Result<Raised, Failure> {
    let mut raised = Raised::new();
    for alert in theatre_queries::alerts_of(store, kind, rule)? {
        if alert.transition == Transition::Raised {
            let of_robot = raised
                .entry(alert.robot_id)
                .or_insert((0, alert.event_time));
            of_robot.0 += 1;
            of_robot.1 = of_robot.1.min(alert.event_time);
        }
    }
    Ok(raised)
}

pub(super) fn compare(common: &Common, rule: &str) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let store = place.look()?.store()?;
    let live = raised(&*store, OutputKind::Alert, rule)?;
    let shadow = raised(&*store, OutputKind::ShadowAlert, rule)?;
    if shadow.is_empty() {
        let rules = standing(&place)?.rules();
        if !rules.iter().any(|known| known.id == rule && known.shadow) {
            return Err(Failure::Usage(format!(
                "no rule '{rule}' runs in the shadow, and none has raised anything: `theatre rules add FILE --shadow` puts one there"
            )));
        }
    }
    let mut robots: Vec<&String> = live.keys().chain(shadow.keys()).collect();
    robots.sort_unstable();
    robots.dedup();
    let of = |raised: &Raised, robot: &String| match raised.get(robot) {
        Some((count, first)) => (json!(count), time(*first)),
        None => (json!(0), Value::Null),
    };
    let lines: Vec<Vec<Value>> = robots
        .into_iter()
        .map(|robot| {
            let ((live, first), (shadow, shadow_first)) = (of(&live, robot), of(&shadow, robot));
            vec![json!(robot), live, first, shadow, shadow_first]
        })
        .collect();
    let names = [
        "robot_id",
        "raised",
        "first",
        "in_the_shadow",
        "first_in_the_shadow",
    ];
    rows(common.output, &names, &lines)
}
