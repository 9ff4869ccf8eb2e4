//! Conditions, transitions and silences, printed.

use serde_json::{Value, json};
use theatre_actors::processor::ConditionView;
use theatre_actors::rules::did_you_mean;
use theatre_api::actions::{Known, Refusal};
use theatre_queries::{self as queries, OpenCondition, StandingSilence};
use theatre_schemas::records::{Alert, Transition};

use super::doing::refused;
use crate::cli::output::{rows, time, value, write};
use crate::cli::service::store;
use crate::cli::{Common, Failure, Output};

/// So much of an id is enough for people.
const SHORT: usize = 12;

fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

fn optional_time(us: Option<i64>) -> Value {
    us.map_or(Value::Null, time)
}

/// How a condition stands, in words.
fn stands(condition: &ConditionView) -> String {
    let mut words = Vec::new();
    if condition.is_stale {
        words.push("old: the robot is silent".to_owned());
    }
    if condition.is_latched {
        words.push("latched: its cause is over".to_owned());
    }
    if condition.is_flapping {
        words.push("flapping".to_owned());
    }
    if let Some(by) = &condition.acknowledged_by {
        words.push(format!("acknowledged by {by}"));
    }
    if let Some(to) = &condition.assignee {
        words.push(format!("assigned to {to}"));
    }
    if let Some(until) = condition.silenced_until {
        let until = time(until);
        words.push(format!("silenced until {}", until.as_str().unwrap_or("-")));
    }
    if condition.escalation > 0 {
        words.push(format!("passed on {} times", condition.escalation));
    }
    if words.is_empty() {
        return "not acknowledged".to_owned();
    }
    words.join("; ")
}

/// A condition as programs read it.
fn condition_json(robot: &str, condition: &ConditionView) -> Value {
    let mut shown = json!(condition);
    shown["robot_id"] = json!(robot);
    shown["raised_at"] = time(condition.raised_at);
    shown["acknowledged_at"] = optional_time(condition.acknowledged_at);
    shown["silenced_until"] = optional_time(condition.silenced_until);
    shown
}

pub(super) fn list(common: &Common) -> Result<(), Failure> {
    let open = queries::open_conditions(&*store(common)?)?;
    if common.output == Output::Json {
        let shown = open.iter().map(|open| {
            let mut shown = condition_json(&open.robot_id, &open.condition);
            shown["heard_at"] = optional_time(open.heard_at);
            shown
        });
        return value(&shown.collect());
    }
    let line = |open: &OpenCondition| {
        let condition = &open.condition;
        vec![
            json!(condition.condition_id.as_deref().map(short)),
            json!(open.robot_id),
            json!(condition.rule_id),
            json!(condition.priority),
            time(condition.raised_at),
            optional_time(open.heard_at),
            json!(stands(condition)),
        ]
    };
    rows(
        common.output,
        &[
            "condition",
            "robot_id",
            "rule_id",
            "priority",
            "raised_at",
            "heard_at",
            "how it stands",
        ],
        &open.iter().map(line).collect::<Vec<_>>(),
    )
}

/// A transition as programs read it.
fn transition_json(alert: &Alert) -> Value {
    let mut shown = json!(alert);
    for name in [
        "event_time",
        "raised_at",
        "acknowledged_at",
        "silenced_until",
    ] {
        shown[name] = optional_time(shown[name].as_i64());
    }
    shown
}

/// What happened, and what was said with it.
fn in_words(alert: &Alert) -> String {
    let mut words = alert.message.clone();
    if alert.transition == Transition::Assigned {
        // The message says who has assigned it.
        let to = alert.assignee.as_deref().unwrap_or("no one");
        words.push_str(&format!(" (to {to})"));
    }
    if let Some(comment) = &alert.comment {
        words.push_str(&format!(" - \"{comment}\""));
    }
    words
}

pub(super) fn history(common: &Common, robot: Option<String>, limit: usize) -> Result<(), Failure> {
    let history = queries::alert_history(&*store(common)?, robot, limit)?;
    if common.output == Output::Json {
        return value(&history.iter().map(transition_json).collect());
    }
    let line = |alert: &Alert| {
        vec![
            time(alert.event_time),
            json!(short(&alert.condition_id)),
            json!(alert.robot_id),
            json!(alert.rule_id),
            json!(alert.transition),
            json!(alert.priority),
            json!(alert.value),
            json!(in_words(alert)),
        ]
    };
    rows(
        common.output,
        &[
            "event_time",
            "condition",
            "robot_id",
            "rule_id",
            "transition",
            "priority",
            "value",
            "message",
        ],
        &history.iter().map(line).collect::<Vec<_>>(),
    )
}

pub(super) fn show(common: &Common, id: &str) -> Result<(), Failure> {
    let store = store(common)?;
    let robots = queries::robots(&*store)?;
    let known = Known::new(robots.iter(), &[]);
    let open = match known.condition(id) {
        Ok(open) => Some(open),
        Err(Refusal::Missing(_)) => None,
        Err(wrong) => return Err(refused(wrong)),
    };
    let id = match open.and_then(|(_, condition)| condition.condition_id.clone()) {
        Some(id) => id,
        None => ended(&queries::alert_history(&*store, None, 0)?, id)?,
    };
    let history = queries::condition_history(&*store, &id)?;
    let condition = open.map(|(robot, condition)| condition_json(robot, condition));
    if common.output == Output::Json {
        let transitions: Vec<Value> = history.iter().map(transition_json).collect();
        return value(&json!({"condition": condition, "transitions": transitions}));
    }
    let (Some(first), Some(last)) = (history.first(), history.last()) else {
        return Err(Failure::Failed(format!(
            "the store has no transition of the condition '{id}'"
        )));
    };
    let state = open.map_or("it has ended".to_owned(), |(_, condition)| {
        stands(condition)
    });
    write(&format!(
        "condition  {id}\nrobot      {}\nrule       {} (version {})\npriority   {}\nstands     {state}\n\n",
        first.robot_id,
        first.rule_id,
        last.rule_version,
        json!(last.priority).as_str().unwrap_or("-"),
    ))?;
    let line = |alert: &Alert| {
        vec![
            time(alert.event_time),
            json!(alert.transition),
            json!(alert.priority),
            json!(alert.value),
            json!(in_words(alert)),
        ]
    };
    rows(
        common.output,
        &["event_time", "transition", "priority", "value", "message"],
        &history.iter().map(line).collect::<Vec<_>>(),
    )
}

/// The id of a condition that has ended, by its beginning.
fn ended(history: &[Alert], id: &str) -> Result<String, Failure> {
    let mut known: Vec<&str> = history
        .iter()
        .map(|alert| alert.condition_id.as_str())
        .collect();
    known.sort_unstable();
    known.dedup();
    let begins = |known: &&&str| !id.is_empty() && known.starts_with(id);
    let found: Vec<&&str> = known.iter().filter(begins).collect();
    match found.as_slice() {
        [one] => Ok((**one).to_owned()),
        [] => {
            let meant = Some(did_you_mean(id, &known));
            let meant = meant.filter(|meant| meant.starts_with("did you mean"));
            Err(Failure::Failed(format!(
                "there is no condition '{id}': {}",
                meant.unwrap_or_else(|| "`theatre alerts history` names them".to_owned())
            )))
        }
        many => Err(Failure::Usage(format!(
            "'{id}' begins the ids of {} conditions: give more of it",
            many.len()
        ))),
    }
}

pub(super) fn silences(common: &Common) -> Result<(), Failure> {
    let robots = queries::robots(&*store(common)?)?;
    let standing = queries::standing_silences(robots.iter());
    let about = |standing: &StandingSilence| {
        let of = &standing.silence;
        let names = [
            ("robot", &standing.robot_id),
            ("rule", &of.rule_id),
            ("condition", &of.condition_id),
            ("facility", &of.facility_id),
            ("model", &of.robot_model),
        ];
        let named = names.iter().filter_map(|(name, id)| {
            let id = id.as_deref()?;
            Some(format!("{name} {id}"))
        });
        named.collect::<Vec<_>>().join(", ")
    };
    if common.output == Output::Json {
        let shown = standing.iter().map(|standing| {
            let mut shown = json!(standing);
            shown["until"] = time(standing.silence.until);
            shown
        });
        return value(&shown.collect());
    }
    let line = |standing: &StandingSilence| {
        let of = &standing.silence;
        vec![
            json!(of.silence_id),
            json!(about(standing)),
            time(of.until),
            json!(if of.hides_high { "too" } else { "not" }),
            json!(of.actor),
            json!(of.comment),
        ]
    };
    rows(
        common.output,
        &["silence", "about", "until", "high priority", "by", "reason"],
        &standing.iter().map(line).collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use theatre_schemas::records::{Alert, Priority};

    use super::*;

    #[test]
    fn how_a_condition_stands_is_said_in_words() {
        let mut condition = ConditionView {
            rule_id: "hot".to_owned(),
            dataset: None,
            priority: Priority::High,
            raised_at: 0,
            condition_id: Some("abcdef0123456789".to_owned()),
            signal: None,
            message: None,
            acknowledged_by: None,
            acknowledged_at: None,
            assignee: None,
            silenced_until: None,
            escalation: 0,
            is_latched: false,
            is_flapping: false,
            is_stale: false,
        };
        assert_eq!(stands(&condition), "not acknowledged");
        condition.acknowledged_by = Some("Anna".to_owned());
        condition.silenced_until = Some(1_767_225_600_000_000);
        condition.is_stale = true;
        let said = stands(&condition);
        assert_eq!(
            said,
            "old: the robot is silent; acknowledged by Anna; silenced until 2026-01-01T00:00:00.000Z"
        );
        let shown = condition_json("r1", &condition);
        assert_eq!(shown["condition_id"], "abcdef0123456789");
        assert_eq!(shown["silenced_until"], "2026-01-01T00:00:00.000Z");
        assert_eq!(
            (&shown["robot_id"], &shown["is_stale"]),
            (&json!("r1"), &json!(true))
        );
    }

    #[test]
    fn a_condition_that_has_ended_is_found_by_the_beginning_of_its_id() {
        let alert = |id: &str| Alert {
            condition_id: id.to_owned(),
            ..Alert::default()
        };
        let history = ["abc111", "abc111", "abd222"].map(alert);
        assert_eq!(ended(&history, "abc").unwrap(), "abc111");
        let why = |id: &str| match ended(&history, id) {
            Err(Failure::Usage(why) | Failure::Failed(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(why("ab").contains("2 conditions"));
        assert!(why("abc112").contains("did you mean abc111"));
        assert!(why("zzzzzz").contains("theatre alerts history"));
    }
}
