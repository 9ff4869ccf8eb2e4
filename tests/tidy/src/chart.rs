//! The values of the Helm chart, as `values.yaml` documents them: a comment that begins with `# --`
//! documents the value below it. Read line by line, for the file keeps a simple form: blanks of
//! two, no anchors, and lists of scalars in one line.

use serde_json::{Map, Value, json};

/// A value of the chart that a user may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartValue {
    /// With its sections: `pipeline.replicas`.
    pub path: String,
    /// What it does.
    pub doc: String,
    /// As it stands in the file; absent where it has several lines.
    pub default: Option<String>,
}

/// Where the reader stands: a section, by its indentation.
struct Section {
    indent: usize,
    path: String,
}

/// The documented values of a file, in its order.
///
/// # Errors
/// Names the line of a value that no comment documents, or that cannot be read.
pub fn values(text: &str) -> Result<Vec<ChartValue>, String> {
    let mut found = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    let mut doc: Option<String> = None;
    // Deeper lines belong to the value that was found last.
    let mut inside: Option<usize> = None;
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if inside.is_some_and(|outer| indent > outer && !trimmed.is_empty()) {
            continue;
        }
        inside = None;
        if let Some(comment) = trimmed.strip_prefix('#') {
            match (comment.trim_start().strip_prefix("-- "), &mut doc) {
                (Some(begin), _) => doc = Some(begin.trim().to_owned()),
                (None, Some(doc)) => {
                    doc.push(' ');
                    doc.push_str(comment.trim());
                }
                (None, None) => {}
            }
            continue;
        }
        if trimmed.is_empty() {
            doc = None;
            continue;
        }
        let (key, rest) = trimmed
            .split_once(':')
            .ok_or_else(|| format!("line {number} is no key"))?;
        sections.retain(|section| section.indent < indent);
        let path = match sections.last() {
            Some(section) => format!("{}.{key}", section.path),
            None => key.to_owned(),
        };
        let default = rest.trim();
        match (doc.take(), default.is_empty()) {
            (Some(doc), several_lines) => {
                let default = (!several_lines).then(|| default.to_owned());
                found.push(ChartValue { path, doc, default });
                inside = Some(indent);
            }
            (None, true) => sections.push(Section { indent, path }),
            (None, false) => return Err(format!("line {number}: no comment documents {path}")),
        }
    }
    Ok(found)
}

/// Paths of the values that a schema knows, down to the documented ones.
#[must_use]
pub fn schema_paths(schema: &Value, documented: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    collect("", schema, documented, &mut paths);
    paths
}

fn collect(path: &str, schema: &Value, documented: &dyn Fn(&str) -> bool, paths: &mut Vec<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let Some(properties) = properties.filter(|_| !documented(path)) else {
        paths.push(path.to_owned());
        return;
    };
    for (key, schema) in properties {
        let below = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        collect(&below, schema, documented, paths);
    }
}

/// Keys of the configuration that the chart sets itself.
const OWN: [(&str, &str); 3] = [
    ("", "admin"),
    ("", "pseudonym_key_file"),
    ("log", "group_instance_id"),
];
/// A duration, as the configuration writes it.
const DURATION: &str = "^[0-9.]+ *(us|ms|s|m|min|h|d)$";

/// The schema of the chart's value `config`, made from that of the configuration: without the keys
/// that the chart sets itself, and with the form of a duration as a pattern, since Helm does not
/// know the formats of Theatre.
#[must_use]
pub fn config_schema(configuration: &Value) -> Value {
    let mut schema = configuration.clone();
    for (section, key) in OWN {
        let table = match section {
            "" => Some(&mut schema),
            section => schema.pointer_mut(&format!("/properties/{section}")),
        };
        let properties = table
            .and_then(|table| table.get_mut("properties"))
            .and_then(Value::as_object_mut);
        if let Some(properties) = properties {
            properties.shift_remove(key);
        }
    }
    simplify(&mut schema);
    schema
}

fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("format") == Some(&json!("duration")) {
                object.insert("pattern".to_owned(), json!(DURATION));
            }
            // A key of the configuration may be called as a word of schemas.
            let words = ["$schema", "title", "format", "default"];
            let is_word = |object: &Map<String, Value>, word: &str| {
                object.get(word).is_some_and(|value| !is_schema(value))
            };
            for word in words {
                if is_word(object, word) {
                    object.shift_remove(word);
                }
            }
            object.values_mut().for_each(simplify);
        }
        Value::Array(array) => array.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// Whether a value is the schema of a key, and no word of one.
fn is_schema(value: &Value) -> bool {
    value.get("type").is_some() || value.get("oneOf").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ChartValue, config_schema, schema_paths, values};

    fn value(path: &str, doc: &str, default: Option<&str>) -> ChartValue {
        ChartValue {
            path: path.to_owned(),
            doc: doc.to_owned(),
            default: default.map(str::to_owned),
        }
    }

    #[test]
    fn values_are_read_with_sections_comments_and_defaults() {
        let text = "# Not about a value.\n\n# -- One\n# more.\na: 1\nb:\n  # -- Two.\n  c: [x]\n  d:\n\
                    \x20   # -- Three.\n    e:\n      f: 1\n      g:\n        - h: 1\n# -- Four.\ni: {}\n";
        let read = values(text).unwrap();
        assert_eq!(
            read,
            [
                value("a", "One more.", Some("1")),
                value("b.c", "Two.", Some("[x]")),
                value("b.d.e", "Three.", None),
                value("i", "Four.", Some("{}")),
            ]
        );
        let error = values("a:\n  b: 1\n").unwrap_err();
        assert_eq!(error, "line 2: no comment documents a.b");
    }

    #[test]
    fn paths_of_a_schema_end_where_values_are_documented() {
        let schema = json!({"properties": {"a": {}, "b": {"properties": {
            "c": {}, "d": {"properties": {"e": {}}}}}}});
        let paths = schema_paths(&schema, &|path| path == "b.d");
        assert_eq!(paths, ["a", "b.c", "b.d"]);
    }

    #[test]
    fn a_schema_of_the_configuration_loses_formats_defaults_and_the_keys_of_the_chart() {
        let schema = json!({"title": "Config", "type": "object", "properties": {
            "admin": {"type": "string"},
            "save_interval": {"type": "string", "format": "duration", "default": "10s"},
            "log": {"type": "object", "properties": {
                "group_instance_id": {"type": "string"},
                "title": {"type": "string", "format": "path"}}}}});
        let expected = json!({"type": "object", "properties": {
            "save_interval": {"type": "string", "pattern": super::DURATION},
            "log": {"type": "object", "properties": {"title": {"type": "string"}}}}});
        assert_eq!(config_schema(&schema), expected);
    }
}
