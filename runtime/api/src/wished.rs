//! A rule as a program writes it in a body: read, and what is wrong with it said with the key at
//! which it stands.

use serde::Deserialize;
use serde_json::Value;
use theatre_actors::rules::RuleSpec;
use theatre_config::in_plain_words;

/// In a longer rule no key is looked for: each of its values has it read once more.
const VALUES_MAX: usize = 256;

/// Reads a rule that is to be put.
///
/// # Errors
/// Says what is wrong with it, where, and what may have been meant.
pub(crate) fn rule_of(written: &Value) -> Result<RuleSpec, String> {
    let rule = read(written).map_err(|said| {
        let plain = in_plain_words(&said);
        match key_of_fault(written, &said) {
            Some(key) => format!("the rule: {key}: {plain}"),
            None => format!("the rule: {plain}"),
        }
    })?;
    rule.check_version()?;
    Ok(rule)
}

fn read(written: &Value) -> Result<RuleSpec, String> {
    RuleSpec::deserialize(written).map_err(|error| error.to_string())
}

/// The key of the value that the parser does not take, and at which it ended: with another fault in
/// place of a value it says something else, but with one after its end it says the same.
fn key_of_fault(written: &Value, said: &str) -> Option<String> {
    let mut keys = Vec::new();
    collect("", "", written, &mut keys);
    if keys.len() > VALUES_MAX {
        return None;
    }
    let mut last = None;
    for (key, pointer) in keys {
        let mut spoiled = written.clone();
        let value = spoiled.pointer_mut(&pointer)?;
        let other = match value {
            Value::String(_) => Value::Bool(true),
            _ => Value::String("?".to_owned()),
        };
        let known = std::mem::replace(value, other);
        if read(&spoiled).err().as_deref() != Some(said) {
            last = Some((key, known));
        }
    }
    let (key, value) = last?;
    names(said, &value).then_some(key)
}

/// Whether what a parser says is about a value.
fn names(said: &str, value: &Value) -> bool {
    if said.starts_with("unknown field") || said.starts_with("missing field") {
        return false;
    }
    let named = match value {
        Value::Null => vec!["invalid type: null,".to_owned()],
        Value::Array(_) => vec!["invalid type: sequence,".to_owned()],
        Value::Object(_) => vec!["invalid type: map,".to_owned()],
        Value::String(text) => vec![
            format!("string {text:?}"),
            format!("'{text}'"),
            format!("unknown variant `{text}`"),
        ],
        other => vec![format!("`{other}`")],
    };
    named.iter().any(|name| said.contains(name))
}

/// The keys of all values in a value, in the order in which they are read, each with its JSON
/// pointer.
fn collect(key: &str, pointer: &str, value: &Value, into: &mut Vec<(String, String)>) {
    let mut inner = |key: String, part: &str, value: &Value| {
        let pointer = format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"));
        into.push((key.clone(), pointer.clone()));
        collect(&key, &pointer, value, into);
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if key.is_empty() { "" } else { "." };
                inner(format!("{key}{dot}{name}"), name, value);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                inner(format!("{key}[{at}]"), &at.to_string(), value);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(more: Value) -> String {
        let mut rule = json!({
            "id": "hot",
            "priority": "low",
            "kind": {"threshold": {"signal": "x", "raise_above": 1}}
        });
        for (key, value) in more.as_object().unwrap() {
            rule[key] = value.clone();
        }
        match rule_of(&rule) {
            Ok(rule) => rule.id,
            Err(why) => why,
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key_and_what_may_have_been_meant() {
        let limits = |limits: Value| json!({"kind": {"threshold": limits}});
        for (more, expected) in [
            (json!({}), vec!["hot"]),
            (
                limits(json!({"signal": "1", "raise_above": "1", "clear_below": "1"})),
                vec![
                    "the rule: kind.threshold.raise_above: ",
                    "expected a number",
                ],
            ),
            (
                limits(json!({"signal": "x", "raise_above": 1, "hold": 30})),
                vec!["kind.threshold.hold: ", "such as \"30s\""],
            ),
            (
                limits(json!({"signal": "x", "raise_above": 1, "hold": "30 parsecs"})),
                vec!["kind.threshold.hold: ", "'30 parsecs'"],
            ),
            (
                limits(json!({"signal": "x", "raise_abov": 1})),
                vec![
                    "the rule: unknown field `raise_abov`",
                    "did you mean raise_above",
                ],
            ),
            (
                json!({"priority": "lo"}),
                vec!["the rule: priority: ", "did you mean low?"],
            ),
            (
                json!({"only": 5}),
                vec!["the rule: only: ", "expected a table of keys and values"],
            ),
            (
                json!({"only": {"models": ["a", 5]}}),
                vec!["the rule: only.models[1]: ", "expected a string"],
            ),
            (
                json!({"kind": {"treshold": {}}}),
                vec![
                    "the rule: unknown variant `treshold`",
                    "did you mean threshold?",
                ],
            ),
            (json!({"kind": "threshold"}), vec!["a name alone"]),
            (json!({"kind": {}}), vec!["there must be one here"]),
            (
                limits(json!({"raise_above": 1})),
                vec!["missing field `signal`"],
            ),
            (json!({"version": 0}), vec!["rule 'hot'", "begin with 1"]),
        ] {
            let said = said(more);
            assert!(expected.iter().all(|part| said.contains(part)), "{said}");
        }
    }

    #[test]
    fn a_long_rule_is_read_once() {
        let names: Vec<String> = (0..VALUES_MAX).map(|at| at.to_string()).collect();
        let said = said(json!({"only": {"models": names}, "version": "1"}));
        assert!(said.starts_with("the rule: invalid type"), "{said}");
    }
}
