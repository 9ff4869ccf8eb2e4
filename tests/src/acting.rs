//! What people do about a simulated fleet while it runs: they acknowledge, silence and close
//! conditions of a robot and of all robots, change rules, and answer such changes; partly more than
//! once, which acts once, and partly what does not fit.

use anyhow::Result;
use apache_avro::types::Value;
use theatre_actors::ports::NewRecord;

use crate::registered::record;

const SECOND: i64 = 1_000_000;
/// A tick of the simulated fleet, microseconds.
const TICK_US: i64 = 100_000;
/// Topics by their places in the list of inputs.
const ACTIONS: usize = 9;
const RULES: usize = 10;

/// Why changes are rejected and withdrawn.
pub const REASON: &str = "not on a Friday";

/// The records of a tick for partition 0, by topic. A fleet of so many robots begins at `start_us`.
pub fn records(tick: u64, robots: u64, start_us: i64) -> Result<Vec<(usize, NewRecord)>> {
    let now = start_us + tick as i64 * TICK_US;
    let mut records = Vec::new();
    if tick % 5 == 3 {
        let robot = format!("robot-{:04}", tick / 5 % robots);
        let verbs = [
            "acknowledge",
            "assign",
            "silence",
            "close",
            "unacknowledge",
            "unsilence",
            "acknowledge",
        ];
        let verb = verbs[(tick / 5 % 7) as usize];
        records.push((ACTIONS, action(tick, &robot, verb, now)?));
    }
    // What was said to all is said once more under its id a while later.
    for said in [tick, tick.saturating_sub(9)] {
        if said % 29 == 11 {
            let verb = ["silence", "acknowledge", "unsilence"][(said / 29 % 3) as usize];
            let then = start_us + said as i64 * TICK_US;
            records.push((ACTIONS, action(said, "@partition/0", verb, then)?));
        }
    }
    for said in [tick, tick.saturating_sub(8)] {
        if said % 31 == 17 {
            records.push((RULES, change(said, start_us + said as i64 * TICK_US)?));
        }
    }
    if tick % 43 == 30 {
        records.push((RULES, combination(tick, now)?));
    }
    records.extend(answers(tick, now)?.into_iter().map(|it| (RULES, it)));
    Ok(records)
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn symbol(name: &str) -> Value {
    Value::Enum(0, name.to_owned())
}

fn action(tick: u64, key: &str, verb: &str, now: i64) -> Result<NewRecord> {
    let mut fields = vec![
        ("robot_id", text(key)),
        ("event_time", Value::TimestampMicros(now)),
        // Every other one is said again under its id.
        ("action_id", text(format!("{key}/{}", tick / 10))),
        ("action", symbol(verb)),
        ("actor", text(format!("person {}", tick % 3))),
        ("assignee", text("workshop")),
        ("hides_high", Value::Boolean(tick.is_multiple_of(2))),
        (
            "until",
            Value::TimestampMicros(now + (tick % 7) as i64 * SECOND),
        ),
    ];
    if tick.is_multiple_of(4) {
        fields.push(("rule_id", text("far_right")));
    }
    record("alert_actions", key, fields)
}

/// Rules come, change, go into the shadow and out of it, rest and go.
fn change(tick: u64, now: i64) -> Result<NewRecord> {
    let limit = 200 + tick as i64 % 90;
    let rule = |id: &str, more: &str| {
        format!(
            r#"{{"id":"{id}","version":{tick},"priority":"medium",{more}"kind":{{"threshold":{{"signal":"arm_position.x","raise_above":{limit}.0,"clear_below":150.0}}}}}}"#
        )
    };
    let flapping = r#""flapping":{"turns":3,"within":"3s"},"latch":true,"#;
    let (kind, id, json, shadow) = match tick / 31 % 8 {
        0 => ("put", "right", Some(rule("right", flapping)), false),
        1 => ("put", "far_right", Some(rule("far_right", "")), true),
        2 => ("disable", "active", None, false),
        3 => ("put", "far_right", Some(rule("far_right", flapping)), false),
        4 => ("remove", "right", None, false),
        5 => ("remove", "unknown rule", None, false),
        6 => ("enable", "active", None, false),
        _ => ("remove", "far_right", None, true),
    };
    said((tick, now), kind, (id, shadow), json)
}

/// A combination says something else each time.
fn combination(tick: u64, now: i64) -> Result<NewRecord> {
    let of = [
        r#"{"or":["far_right","robot_silent"]}"#,
        r#"{"and":["far_right","robot_silent"]}"#,
        r#"{"and":["far_right",{"not":"robot_silent"}]}"#,
    ][(tick / 43 % 3) as usize];
    let hold = tick / 43 % 2;
    let rule = format!(
        r#"{{"id":"both","version":{tick},"priority":"low","kind":{{"combination":{{"of":{of},"hold":"{hold}s"}}}}}}"#
    );
    said((tick, now), "put", ("both", false), Some(rule))
}

/// Changes are approved a while after they came, which refuses its own maker, and once more after
/// their repetition. Some combinations are rejected or withdrawn, and what approves them later is
/// too late. Where changes need no approval nothing waits, and all of these are refused.
fn answers(tick: u64, now: i64) -> Result<Vec<NewRecord>> {
    let mut answers = Vec::new();
    let mut say = |of: u64, rule: &str, kind: &str, person: u64| -> Result<()> {
        answers.push(answer((tick, now), (of, rule), kind, person)?);
        Ok(())
    };
    let is_of = |after: u64, every: u64, rest: u64| {
        let of = tick.checked_sub(after).filter(|of| of % every == rest)?;
        Some((of, of / every))
    };
    for (after, person) in [(2, 0), (3, 1), (11, 2)] {
        if let Some((of, number)) = is_of(after, 31, 17) {
            let rules = ["right", "far_right", "active", "far_right"];
            let more = ["right", "unknown rule", "active", "far_right"];
            let all = [rules, more].concat();
            say(of, all[(number % 8) as usize], "approve", person)?;
        }
    }
    if let Some((of, number)) = is_of(3, 43, 30) {
        match number % 3 {
            0 => say(of, "both", "approve", 1)?,
            1 => say(of, "both", "reject", 1)?,
            _ => say(of, "both", "reject", 0)?,
        }
    }
    for after in [12, 20] {
        if let Some((of, _)) = is_of(after, 43, 30) {
            say(of, "both", "approve", 2)?;
        }
    }
    Ok(answers)
}

fn answer(
    (tick, now): (u64, i64),
    (of, rule): (u64, &str),
    kind: &str,
    person: u64,
) -> Result<NewRecord> {
    let of = text(format!("change {of}"));
    let mut fields = vec![
        ("robot_id", text("@partition/0")),
        ("event_time", Value::TimestampMicros(now)),
        ("change_id", text(format!("answer {tick} of {rule}"))),
        ("change", symbol(kind)),
        ("rule_id", text(rule)),
        ("shadow", Value::Boolean(false)),
        ("actor", text(format!("person {person}"))),
    ];
    match kind {
        "approve" => fields.push(("approves", of)),
        _ => fields.extend([("rejects", of), ("comment", text(REASON))]),
    }
    record("rule_changes", rule, fields)
}

fn said(
    (tick, now): (u64, i64),
    kind: &str,
    (id, shadow): (&str, bool),
    rule: Option<String>,
) -> Result<NewRecord> {
    let mut fields = vec![
        ("robot_id", text("@partition/0")),
        ("event_time", Value::TimestampMicros(now)),
        ("change_id", text(format!("change {tick}"))),
        ("change", symbol(kind)),
        ("rule_id", text(id)),
        ("shadow", Value::Boolean(shadow)),
        ("actor", text("person 0")),
    ];
    fields.extend(rule.map(|json| ("rule", text(json))));
    record("rule_changes", id, fields)
}
