//! The next version of an inferred schema, for a recording whose whole numbers have fractions.

use serde_json::{Value, json};

use super::free_id;

/// The next version of a schema, in which these fields are numbers that were whole numbers, and
/// which of them; none when no field of them was.
pub fn widened(
    schema: &str,
    fields: &[&str],
    is_taken: &dyn Fn(u32) -> bool,
) -> Option<(String, Vec<String>)> {
    let mut schema: Value = serde_json::from_str(schema).ok()?;
    let mut changed = Vec::new();
    for field in schema.get_mut("fields")?.as_array_mut()? {
        let name = field.get("name")?.as_str()?.to_owned();
        let kind = field.get_mut("type")?;
        if fields.contains(&name.as_str()) && widen(kind) {
            changed.push(name);
        }
    }
    if changed.is_empty() {
        return None;
    }
    let fields = schema["fields"].as_array()?.clone();
    let own = schema.get_mut("theatre")?;
    let dataset = own.get("dataset")?.as_str()?.to_owned();
    let version = own.get("version").and_then(Value::as_u64).unwrap_or(1);
    own["version"] = json!(version + 1);
    own["id"] = json!(free_id(&dataset, &fields, is_taken));
    Some((format!("{schema:#}\n"), changed))
}

/// Makes whole numbers of a type numbers, also beside null.
fn widen(kind: &mut Value) -> bool {
    match kind {
        Value::String(name) if ["int", "long"].contains(&name.as_str()) => {
            *kind = json!("double");
            true
        }
        Value::Array(branches) => {
            let widened = branches.iter_mut().map(widen);
            // Each of them, also after the first.
            widened.filter(|widened| *widened).count() > 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::widened;

    const SCHEMA: &str = r#"{"type":"record","name":"A","theatre":{"id":100000,"dataset":"a","kind":"telemetry","version":1},
        "fields":[{"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"n","type":["null","long"],"default":null},{"name":"m","type":["null","long"],"default":null},
        {"name":"t","type":["null","string"],"default":null}]}"#;

    #[test]
    fn whole_numbers_that_have_fractions_are_numbers_in_the_next_version() {
        let (text, changed) = widened(SCHEMA, &["n", "t", "x"], &|_| false).unwrap();
        assert_eq!(changed, ["n"]);
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            schema["fields"][1]["type"],
            serde_json::json!(["null", "double"])
        );
        assert_eq!(
            schema["fields"][2]["type"],
            serde_json::json!(["null", "long"])
        );
        assert_eq!(schema["theatre"]["version"], 2);
        assert_ne!(schema["theatre"]["id"], 100_000);
        assert_eq!(widened(SCHEMA, &["t", "event_time"], &|_| false), None);
        assert_eq!(widened(&text, &["n"], &|_| false), None);
    }
}
