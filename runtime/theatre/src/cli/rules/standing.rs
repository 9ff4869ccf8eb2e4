//! The rules that hold, and how they came to be.

use serde_json::{Value, json};
use theatre_actors::control::{ChangeFate, RuleBase, RuleChange, StandingRules};
use theatre_actors::ports::{CheckpointStore, EventLog};
use theatre_actors::rules::{RuleSpec, did_you_mean};
use theatre_pipeline::PipelineParams;

use super::check::kind_name;
use super::file;
use crate::adapters;
use crate::cli::output::{rows, time, value, write};
use crate::cli::service::Place;
use crate::cli::{Common, Failure, Output};

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

/// One rule, or all that hold, as a rule file has them.
pub(super) fn show(common: &Common, id: Option<&str>, shadow: bool) -> Result<(), Failure> {
    let standing = standing(&Place::of(common)?)?;
    let rules = match id {
        None => standing.rules(),
        Some(id) => {
            let mut known = standing.known().map(|(rule, _)| rule);
            let found = known.find(|rule| rule.id == id && rule.shadow == shadow);
            let rule = found.ok_or_else(|| {
                let ids: Vec<&str> = standing.known().map(|(rule, _)| rule.id.as_str()).collect();
                let place = if shadow { " in the shadow" } else { "" };
                Failure::Usage(format!(
                    "there is no rule '{id}'{place}; {}",
                    did_you_mean(id, &ids)
                ))
            })?;
            vec![rule.clone()]
        }
    };
    match (common.output, id, rules.as_slice()) {
        (Output::Json, Some(_), [rule]) => value(&json!(rule)),
        (Output::Json, ..) => value(&json!(rules)),
        _ => write(&file::as_toml(&rules).map_err(Failure::Failed)?),
    }
}

/// The rules that hold, with all changes that were ever made, as far as the log has them.
pub(super) fn with_history(place: &Place) -> Result<StandingRules, Failure> {
    by_the_log(place, theatre_queries::rules_with_history)
}

/// The rules that hold once all that is in the log is read.
pub(super) fn foreseen(place: &Place) -> Result<StandingRules, Failure> {
    by_the_log(place, theatre_queries::foreseen_rules)
}

/// What makes rules of store and log.
type Reading = fn(
    &dyn CheckpointStore,
    &dyn EventLog,
    &PipelineParams,
    RuleBase<'_>,
) -> theatre_actors::ports::Result<StandingRules>;

fn by_the_log(place: &Place, read: Reading) -> Result<StandingRules, Failure> {
    if place.config.store.url.is_none() && !place.dir.store().exists() {
        return standing(place);
    }
    let adapters = place.look()?;
    // No column of a change of rules is a pseudonym.
    let params = adapters::params(&place.config, &place.dir, [0; 32])?;
    let rules = place.config.rule_specs()?;
    let base = RuleBase {
        rules: &rules,
        needs_approval: place.config.rules_approval,
        datasets: params.registry.datasets(),
        windows: Some(&params.processor.windows),
    };
    let (store, log) = (adapters.store()?, adapters.log()?);
    Ok(read(&*store, &*log, &params, base)?)
}

pub(super) fn history(common: &Common) -> Result<(), Failure> {
    let standing = with_history(&Place::of(common)?)?;
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

/// Each version of a rule with what it says, and what else was done to it.
pub(super) fn versions(common: &Common, id: &str) -> Result<(), Failure> {
    let standing = with_history(&Place::of(common)?)?;
    let of_base = standing.base().iter().filter(|rule| rule.id == id);
    let of_base = of_base.map(|rule| {
        vec![
            Value::Null,
            Value::Null,
            json!("configuration"),
            json!(rule.version),
            json!(rule.shadow),
            Value::Null,
            Value::Null,
            Value::Null,
            json!(rule),
        ]
    });
    let changes = standing.changes().iter();
    let of_changes = changes.filter(|it| it.rule_id == id).map(|change| {
        let rule = change.spec().ok();
        vec![
            time(change.at),
            json!(change.change_id),
            json!(change.kind),
            json!(rule.as_ref().map(|rule| rule.version)),
            json!(change.shadow),
            json!(change.actor),
            json!(standing.fate(change).to_string()),
            json!(change.comment),
            json!(rule),
        ]
    });
    let lines: Vec<Vec<Value>> = of_base.chain(of_changes).collect();
    if lines.is_empty() {
        let known = standing.base().iter().map(|rule| rule.id.as_str());
        let put = standing.changes().iter().map(|it| it.rule_id.as_str());
        let mut ids: Vec<&str> = known.chain(put).collect();
        ids.sort_unstable();
        ids.dedup();
        return Err(Failure::Usage(format!(
            "--rule: no rule '{id}' is in the configuration or was ever recorded; {}",
            did_you_mean(id, &ids)
        )));
    }
    let names = [
        "at",
        "change_id",
        "change",
        "version",
        "shadow",
        "actor",
        "fate",
        "comment",
        "rule",
    ];
    rows(common.output, &names, &lines)
}
