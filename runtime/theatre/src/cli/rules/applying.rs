//! A rule file against the rules that hold: what it would change, and that done. With Kafka no process
//! watches a file; a job of the repository that has it says what it says.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use theatre_actors::control::{ChangeKind, RuleChange, StandingRules};
use theatre_actors::rules::RuleSpec;

use super::changing::{Desk, Who};
use super::file;
use crate::cli::output::rows;
use crate::cli::rule_file::differences::{has_become, in_order, with_versions};
use crate::cli::{Common, Failure, Output};

/// What a file says of a rule that is not what holds.
#[derive(Debug, Clone, PartialEq)]
enum Difference {
    /// There is none of this id.
    New(RuleSpec),
    /// It says something else: what holds, and what the file has.
    Changed(Box<RuleSpec>, RuleSpec),
    /// It is the same, and was disabled by a command: that stays.
    Disabled(RuleSpec),
    /// What the file has waits to be approved, as this change.
    Waiting(RuleSpec, String),
    /// It is not in the file; with whether that it is removed waits to be approved.
    Beyond(RuleSpec, Option<String>),
}

impl Difference {
    fn rule(&self) -> &RuleSpec {
        match self {
            Self::New(rule)
            | Self::Changed(_, rule)
            | Self::Disabled(rule)
            | Self::Waiting(rule, _)
            | Self::Beyond(rule, _) => rule,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Changed(..) => "changed",
            Self::Disabled(_) => "disabled",
            Self::Waiting(..) => "waiting",
            Self::Beyond(..) => "not in the file",
        }
    }

    /// What is to be said to the partitions, if anything is.
    fn change(&self, removes: bool) -> Result<Option<RuleChange>, Failure> {
        let rule = self.rule();
        let change = RuleChange {
            rule_id: rule.id.clone(),
            shadow: rule.shadow,
            ..RuleChange::default()
        };
        match self {
            Self::New(_) | Self::Changed(..) => Ok(Some(RuleChange {
                kind: ChangeKind::Put,
                rule: Some(serde_json::to_string(rule).map_err(|error| {
                    Failure::Failed(format!("rule '{}' cannot be written: {error}", rule.id))
                })?),
                ..change
            })),
            Self::Beyond(_, None) if removes => Ok(Some(RuleChange {
                kind: ChangeKind::Remove,
                ..change
            })),
            _ => Ok(None),
        }
    }

    /// In words; `recorded_as` is the version that it is to be recorded under.
    fn words(&self, recorded_as: Option<i32>) -> String {
        let mut words = match self {
            Self::New(rule) => vec![format!("version {}", rule.version)],
            Self::Changed(before, after) => keys_that_differ(before, after),
            Self::Disabled(rule) => vec![format!(
                "a command has disabled it: `theatre rules enable {}`",
                rule.id
            )],
            Self::Waiting(_, change) => vec![format!("{change} waits to be approved")],
            Self::Beyond(_, None) => {
                vec!["apply leaves it, or removes it with --remove".to_owned()]
            }
            Self::Beyond(_, Some(change)) => {
                vec![format!("{change}, which removes it, waits to be approved")]
            }
        };
        let own = self.rule().version;
        if let Some(version) = recorded_as.filter(|version| *version != own) {
            words.push(format!(
                "its version {own} is taken, it is recorded as version {version}"
            ));
        }
        words.join("; ")
    }
}

/// The keys in which two versions of a rule differ, with what each says.
fn keys_that_differ(before: &RuleSpec, after: &RuleSpec) -> Vec<String> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &json!(before), &mut old);
    flatten("", &json!(after), &mut new);
    let said = |value: Option<&Value>| value.map_or("-".to_owned(), Value::to_string);
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| format!("{key}: {} -> {}", said(old.get(key)), said(new.get(key))))
        .collect()
}

/// The values of an object by their paths; lists are values, and what is null is not there.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                flatten(&path, value, into);
            }
        }
        Value::Null => {}
        value => drop(into.insert(path.to_owned(), value.clone())),
    }
}

/// What of a file's rules is not what holds, in the order of the file.
fn differences(wanted: &[RuleSpec], standing: &StandingRules) -> Vec<Difference> {
    let known: Vec<(&RuleSpec, bool)> = standing.known().collect();
    let is = |one: &RuleSpec, other: &RuleSpec| (&one.id, one.shadow) == (&other.id, other.shadow);
    let waits = |rule: &RuleSpec, kind: ChangeKind| {
        let mut waiting = standing.waiting().iter();
        let found = waiting.find(|change| {
            (change.kind, &change.rule_id, change.shadow) == (kind, &rule.id, rule.shadow)
                && (kind != ChangeKind::Put
                    || change.spec().is_ok_and(|waits| has_become(rule, &waits)))
        });
        found.map(|change| change.change_id.clone())
    };
    let mut found = Vec::new();
    for rule in wanted {
        let before = known.iter().find(|(known, _)| is(known, rule));
        found.push(match before {
            Some((before, true)) if has_become(rule, before) => continue,
            Some((before, false)) if has_become(rule, before) => {
                Difference::Disabled((*before).clone())
            }
            _ => match (waits(rule, ChangeKind::Put), before) {
                (Some(change), _) => Difference::Waiting(rule.clone(), change),
                (None, Some((before, _))) => {
                    Difference::Changed(Box::new((*before).clone()), rule.clone())
                }
                (None, None) => Difference::New(rule.clone()),
            },
        });
    }
    let refused = standing.refused();
    let all = known.iter().map(|(rule, _)| *rule);
    let all = all.chain(refused.iter().map(|refused| &refused.spec));
    for rule in all.filter(|rule| !wanted.iter().any(|wanted| is(wanted, rule))) {
        let is_noted = |noted: &Difference| is(noted.rule(), rule);
        if !found.iter().any(is_noted) {
            found.push(Difference::Beyond(
                rule.clone(),
                waits(rule, ChangeKind::Remove),
            ));
        }
    }
    found
}

/// What makes the rules those of the file, each under a version that is free.
fn changes(
    found: &[Difference],
    standing: &StandingRules,
    removes: bool,
) -> Result<Vec<RuleChange>, Failure> {
    let mut changes = Vec::new();
    for difference in found {
        changes.extend(difference.change(removes)?);
    }
    with_versions(&mut changes, standing.clone()).map_err(Failure::Usage)?;
    Ok(changes)
}

/// A file, and the rules that hold.
fn opened(common: &Common, path: &Path) -> Result<(Desk, Vec<Difference>), Failure> {
    let desk = Desk::open(common)?;
    let mut config = desk.place.config.clone();
    // Rules that they follow may hold already: the whole is checked with these.
    let wanted = file::checked(path, &mut config, desk.registry.datasets())?;
    file::say_doubts(&wanted, &desk.place, desk.registry.datasets());
    let found = differences(&wanted, &desk.standing);
    Ok((desk, found))
}

pub(super) fn diff(common: &Common, path: &Path) -> Result<(), Failure> {
    let (desk, found) = opened(common, path)?;
    let changes = changes(&found, &desk.standing, false)?;
    let lines: Vec<Vec<Value>> = found
        .iter()
        .map(|difference| {
            let rule = difference.rule();
            let is =
                |change: &&RuleChange| (&change.rule_id, change.shadow) == (&rule.id, rule.shadow);
            let put = changes
                .iter()
                .find(is)
                .and_then(|change| change.spec().ok());
            let words = difference.words(put.map(|put| put.version));
            let mut line = vec![
                json!(rule.id),
                json!(rule.shadow),
                json!(difference.name()),
                json!(words),
            ];
            if common.output == Output::Json {
                let (now, wanted) = match difference {
                    Difference::New(rule) | Difference::Waiting(rule, _) => (None, Some(rule)),
                    Difference::Changed(before, after) => (Some(&**before), Some(after)),
                    Difference::Disabled(rule) => (Some(rule), Some(rule)),
                    Difference::Beyond(rule, _) => (Some(rule), None),
                };
                line.extend([json!(now), json!(wanted)]);
            }
            line
        })
        .collect();
    let names = [
        "rule",
        "shadow",
        "change",
        "difference",
        "now",
        "in_the_file",
    ];
    let shown = if common.output == Output::Json { 6 } else { 4 };
    rows(common.output, &names[..shown], &lines)?;
    in_order(changes, desk.standing).map_err(|why| {
        Failure::Usage(format!(
            "{}: it does not fit the rules that hold: {why}",
            path.display()
        ))
    })?;
    Ok(())
}

pub(super) fn apply(common: &Common, path: &Path, removes: bool, who: &Who) -> Result<(), Failure> {
    let (desk, found) = opened(common, path)?;
    let by = Desk::change(who)?;
    let mut changes = changes(&found, &desk.standing, removes)?;
    for change in &mut changes {
        let again = Desk::change(who)?;
        let comment = [by.comment.clone(), change.comment.take()];
        let comment: Vec<String> = comment.into_iter().flatten().collect();
        *change = RuleChange {
            change_id: again.change_id,
            at: by.at,
            actor: by.actor.clone(),
            comment: (!comment.is_empty()).then(|| comment.join("; ")),
            ..std::mem::take(change)
        };
    }
    let ordered = in_order(changes, desk.standing.clone()).map_err(|why| {
        Failure::Usage(format!(
            "{}: it does not fit the rules that hold: {why}",
            path.display()
        ))
    })?;
    for left in &found {
        if left.change(removes)?.is_none() {
            eprintln!("{}: {}: {}", left.rule().id, left.name(), left.words(None));
        }
    }
    if ordered.is_empty() {
        eprintln!("nothing is to be changed");
        return match common.output {
            Output::Json => rows(common.output, &[], &[]),
            Output::Table => Ok(()),
        };
    }
    desk.submit(common, &ordered)
}

#[cfg(test)]
mod tests {
    use theatre_actors::control::RuleBase;
    use theatre_schemas::registry::Registry;

    use super::*;

    fn rule(id: &str, version: i32, above: f64) -> RuleSpec {
        let rule = json!({
            "id": id,
            "version": version,
            "priority": "low",
            "kind": { "threshold": { "signal": "motor_temperature", "raise_above": above } }
        });
        serde_json::from_value(rule).unwrap()
    }

    fn holding(rules: &[RuleSpec], needs_approval: bool) -> StandingRules {
        let registry = Registry::builtin();
        let base = RuleBase {
            rules,
            needs_approval,
            datasets: registry.datasets(),
            windows: None,
        };
        StandingRules::read(base, None).unwrap()
    }

    fn shown(wanted: &[RuleSpec], standing: &StandingRules) -> Vec<String> {
        let found = differences(wanted, standing);
        let said = changes(&found, standing, true).unwrap();
        let line = |difference: &Difference| {
            let rule = difference.rule();
            let change = said.iter().find(|change| change.rule_id == rule.id);
            let put = change.and_then(|change| change.spec().ok());
            let words = difference.words(put.map(|put| put.version));
            let kind = change.map_or("-", |change| change.kind.as_str());
            format!("{} {} {kind} {words}", rule.id, difference.name())
        };
        found.iter().map(line).collect()
    }

    #[test]
    fn a_file_is_compared_key_by_key_and_the_same_one_again_changes_nothing() {
        let standing = holding(&[rule("a", 1, 5.0), rule("b", 1, 5.0)], false);
        let same = [rule("a", 1, 5.0), rule("b", 1, 5.0)];
        assert_eq!(shown(&same, &standing), Vec::<String>::new());
        assert_eq!(
            shown(&[rule("a", 2, 6.5), rule("c", 1, 1.0)], &standing),
            [
                "a changed put kind.threshold.raise_above: 5.0 -> 6.5; version: 1 -> 2",
                "c new put version 1",
                "b not in the file remove apply leaves it, or removes it with --remove",
            ]
        );
        // Edited without a higher version: it gets the next one, and is then what holds.
        assert_eq!(
            shown(&[rule("a", 1, 6.5), rule("b", 1, 5.0)], &standing),
            [
                "a changed put kind.threshold.raise_above: 5.0 -> 6.5; its version 1 is taken, it is recorded as version 2"
            ]
        );
        let standing = holding(&[rule("a", 2, 6.5)], false);
        assert_eq!(shown(&[rule("a", 1, 6.5)], &standing), Vec::<String>::new());
    }

    #[test]
    fn what_waits_or_was_disabled_is_said_and_left() {
        let mut standing = holding(&[rule("a", 1, 5.0), rule("b", 1, 5.0)], false);
        standing.meet(RuleChange {
            change_id: "chg_1".to_owned(),
            kind: ChangeKind::Disable,
            rule_id: "a".to_owned(),
            ..RuleChange::default()
        });
        assert_eq!(
            shown(&[rule("a", 1, 5.0), rule("b", 1, 5.0)], &standing),
            ["a disabled - a command has disabled it: `theatre rules enable a`"]
        );
        let mut standing = holding(&[rule("a", 1, 5.0), rule("b", 1, 5.0)], true);
        let put = rule("a", 2, 6.0);
        for (id, kind, rule_id, spec) in [
            ("chg_1", ChangeKind::Put, "a", Some(&put)),
            ("chg_2", ChangeKind::Remove, "b", None),
        ] {
            standing.meet(RuleChange {
                change_id: id.to_owned(),
                kind,
                rule_id: rule_id.to_owned(),
                rule: spec.map(|spec| serde_json::to_string(spec).unwrap()),
                actor: "Anna".to_owned(),
                ..RuleChange::default()
            });
        }
        assert_eq!(
            shown(std::slice::from_ref(&put), &standing),
            [
                "a waiting - chg_1 waits to be approved",
                "b not in the file - chg_2, which removes it, waits to be approved",
            ]
        );
    }
}
