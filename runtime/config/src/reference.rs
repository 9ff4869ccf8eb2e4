//! The reference of the configuration, made from its types: every key with its type, its default
//! and its documentation. The doc comments of the sections' fields are the texts.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::path::PATH_FORMAT;
use super::{Config, ConfigError};

/// How the schema of the configuration marks a duration.
const DURATION_FORMAT: &str = "duration";

/// The JSON schema of [`Config`], without references. A path has the format `path`, a duration the
/// format `duration`.
pub static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<Config>);

fn schema_of<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Stands in the schema for [`Micros`](theatre_actors::rules::Micros), which is written as a number
/// and a unit.
pub(super) struct Span;

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": DURATION_FORMAT})
    }
}

/// A table of the configuration, with its keys in the order of their definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// As it stands in the file: `[lake]`, `[[input]]`, or nothing for the keys above all tables.
    pub header: String,
    /// What the table is for; may have several paragraphs, with an empty line between them.
    pub doc: String,
    /// For an array of tables that is not empty by default: the default, as TOML.
    pub default: Option<String>,
    /// Its keys.
    pub keys: Vec<Key>,
}

/// A key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// With its table: `lake.url`, `input.topic`.
    pub path: String,
    /// Its type in words, such as `duration`, `list of paths`, or ``one of `a`, `b` ``.
    pub kind: String,
    /// What each of a closed set of values means; empty for other types.
    pub values: Vec<(String, String)>,
    /// As TOML; absent: the key has no value unless it is set.
    pub default: Option<String>,
    /// Whether its table must have it.
    pub is_required: bool,
    /// What it does; may have several paragraphs, with an empty line between them.
    pub doc: String,
}

/// Every table of the configuration with every key; the keys above all tables come first.
///
/// # Errors
/// When the defaults cannot be written down, or a key is of a type that has no words here; both
/// would be bugs.
pub fn sections() -> Result<Vec<Section>, ConfigError> {
    let defaults = serde_json::to_value(Config::default())
        .map_err(|error| ConfigError(format!("the defaults cannot be written down: {error}")))?;
    let mut sections = vec![Section {
        header: String::new(),
        doc: doc(&SCHEMA),
        default: None,
        keys: Vec::new(),
    }];
    for (name, schema) in properties(&SCHEMA) {
        let default = defaults.get(name);
        if schema.get("properties").is_some() {
            sections.push(section(name, format!("[{name}]"), schema, schema, default)?);
        } else if let Some(row) = schema
            .get("items")
            .filter(|row| row.get("properties").is_some())
        {
            let header = format!("[[{name}]]");
            let mut section = section(name, header, schema, row, None)?;
            section.default = rows_as_toml(name, default)?;
            sections.push(section);
        } else {
            let is_required = is_required(&SCHEMA, name);
            let key = key(name.clone(), schema, default, is_required)?;
            sections[0].keys.push(key);
        }
    }
    Ok(sections)
}

/// Every key of another file than the configuration, in the order of their definition: of one whose
/// type is a single table, such as a mapping.
///
/// # Errors
/// When a key is of a type that has no words here, which would be a bug.
pub fn keys_of<T: JsonSchema>() -> Result<Vec<Key>, ConfigError> {
    let table = schema_of::<T>();
    let keys = properties(&table).map(|(name, schema)| {
        let is_required = is_required(&table, name);
        key(name.clone(), schema, schema.get("default"), is_required)
    });
    keys.collect()
}

/// `field` is the schema of the field that holds the table, `table` that of the table itself: the
/// text of the field comes before the text of its type.
fn section(
    name: &str,
    header: String,
    field: &Value,
    table: &Value,
    defaults: Option<&Value>,
) -> Result<Section, ConfigError> {
    let keys = properties(table).map(|(key_name, schema)| {
        let default = defaults.and_then(|defaults| defaults.get(key_name));
        let path = format!("{name}.{key_name}");
        key(path, schema, default, is_required(table, key_name))
    });
    Ok(Section {
        header,
        doc: doc(field),
        default: None,
        keys: keys.collect::<Result<_, _>>()?,
    })
}

fn key(
    path: String,
    schema: &Value,
    default: Option<&Value>,
    is_required: bool,
) -> Result<Key, ConfigError> {
    let kind = kind(schema)
        .ok_or_else(|| ConfigError(format!("{path}: its type has no words: {schema}")))?;
    let values = choices(schema)
        .iter()
        .filter_map(|choice| Some((choice.get("const")?.as_str()?.to_owned(), doc(choice))));
    Ok(Key {
        kind,
        values: values.collect(),
        default: default.map(as_toml).transpose()?.flatten(),
        is_required,
        doc: doc(schema),
        path,
    })
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
}

fn is_required(table: &Value, key: &str) -> bool {
    table
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|required| required.iter().any(|name| name == key))
}

/// The type of a key in words.
fn kind(schema: &Value) -> Option<String> {
    let choices = choices(schema);
    if !choices.is_empty() {
        let names = choices
            .iter()
            .map(|choice| Some(format!("`{}`", choice.get("const")?.as_str()?)));
        return Some(format!(
            "one of {}",
            names.collect::<Option<Vec<_>>>()?.join(", ")
        ));
    }
    // A key that may be absent has the types [its own, null].
    let name = match schema.get("type")? {
        Value::Array(types) => types.iter().find(|name| *name != "null")?,
        name => name,
    };
    let kind = match (name.as_str()?, schema.get("format").and_then(Value::as_str)) {
        ("string", Some(PATH_FORMAT)) => "path".to_owned(),
        ("string", Some(DURATION_FORMAT)) => "duration".to_owned(),
        ("string", None) => "text".to_owned(),
        ("integer", _) => "whole number".to_owned(),
        ("number", _) => "number".to_owned(),
        ("boolean", _) => "true or false".to_owned(),
        ("array", _) => format!("list of {}s", kind(schema.get("items")?)?),
        ("object", _) => format!("table of {}s", kind(schema.get("additionalProperties")?)?),
        _ => return None,
    };
    Some(kind)
}

/// The values of a closed set, also of one that may be absent.
fn choices(schema: &Value) -> &[Value] {
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        return choices;
    }
    let alternatives = schema.get("anyOf").and_then(Value::as_array);
    alternatives
        .into_iter()
        .flatten()
        .find_map(|schema| schema.get("oneOf").and_then(Value::as_array))
        .map_or(&[], Vec::as_slice)
}

/// The documentation, one line a paragraph.
fn doc(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str);
    let paragraphs = text.unwrap_or_default().split("\n\n");
    let joined =
        paragraphs.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    joined.collect::<Vec<_>>().join("\n\n")
}

fn as_toml(value: &Value) -> Result<Option<String>, ConfigError> {
    if value.is_null() {
        return Ok(None);
    }
    let value = toml::Value::try_from(value)
        .map_err(|error| ConfigError(format!("a default cannot be written down: {error}")))?;
    Ok(Some(value.to_string()))
}

/// The default of an array of tables, as it would stand in a file; none when it is empty.
fn rows_as_toml(name: &str, rows: Option<&Value>) -> Result<Option<String>, ConfigError> {
    let Some(rows) = rows.filter(|rows| rows.as_array().is_some_and(|rows| !rows.is_empty()))
    else {
        return Ok(None);
    };
    let table = Map::from_iter([(name.to_owned(), rows.clone())]);
    toml::to_string(&table)
        .map(|text| Some(text.trim_end().to_owned()))
        .map_err(|error| ConfigError(format!("a default cannot be written down: {error}")))
}

#[cfg(test)]
mod tests {
    use super::{Key, sections};

    fn keys() -> Vec<Key> {
        let sections = sections().unwrap();
        sections
            .into_iter()
            .flat_map(|section| section.keys)
            .collect()
    }

    fn key(path: &str) -> Key {
        keys().into_iter().find(|key| key.path == path).unwrap()
    }

    #[test]
    fn every_key_has_a_type_a_text_and_its_default() {
        for key in keys() {
            assert!(!key.doc.is_empty() && !key.kind.is_empty(), "{key:?}");
            assert!(!key.doc.contains('\n'), "one paragraph: {key:?}");
        }
        let save = key("save_interval");
        assert_eq!(
            (save.kind.as_str(), save.default.as_deref()),
            ("duration", Some("\"10s\""))
        );
        let sslmode = key("store.sslmode");
        assert!(
            sslmode.kind.starts_with("one of `disable`, `prefer`"),
            "{sslmode:?}"
        );
        assert_eq!((sslmode.values.len(), sslmode.default), (5, None));
        assert_eq!(
            key("lake.checksums").default.as_deref(),
            Some("\"when_supported\"")
        );
        assert_eq!(key("log.properties").kind, "table of texts");
        assert_eq!(key("schemas").kind, "list of paths");
        assert!(key("input.topic").is_required && !key("input.schemas").is_required);
    }

    #[test]
    fn every_table_has_a_header_and_a_text() {
        let sections = sections().unwrap();
        let is_there = |header: &str| sections.iter().any(|section| section.header == header);
        for header in ["", "[log]", "[[input]]", "[[windows]]", "[[notify]]"] {
            assert!(is_there(header), "{header}");
        }
        let written = serde_json::to_value(crate::Config::default()).unwrap();
        for (name, value) in written.as_object().unwrap() {
            let is_found = !value.is_object() || is_there(&format!("[{name}]"));
            assert!(is_found, "[{name}] is a table without a section");
        }
        assert!(
            sections
                .iter()
                .all(|section| !section.doc.is_empty() && !section.keys.is_empty())
        );
        let windows = sections
            .iter()
            .find(|section| section.header == "[[windows]]")
            .unwrap();
        assert!(
            windows
                .default
                .as_deref()
                .unwrap()
                .starts_with("[[windows]]\nname = \"10s\""),
            "{windows:?}"
        );
    }

    #[test]
    fn a_key_that_is_named_as_a_file_or_folder_is_a_path() {
        for key in keys() {
            let is_path = key.kind.contains("path");
            let named = ["_file", "_folder"]
                .iter()
                .any(|end| key.path.ends_with(end));
            assert!(is_path || !named, "{key:?}: use ConfigPath");
        }
    }

    /// The schemas of these tables are written apart from their types, which are of another crate.
    #[test]
    fn the_keys_of_indicators_instruments_and_components_are_those_of_the_types() {
        let config = crate::Config::default();
        for (table, written) in [
            ("indicators", serde_json::to_value(&config.indicators[0])),
            ("instruments", serde_json::to_value(&config.instruments[0])),
            ("components", serde_json::to_value(&config.components[0])),
        ] {
            let written = written.unwrap();
            for name in written.as_object().unwrap().keys() {
                key(&format!("{table}.{name}"));
            }
            let begin = format!("{table}.");
            let keys = keys();
            let of_table = keys.iter().filter(|key| key.path.starts_with(&begin));
            assert_eq!(of_table.count(), written.as_object().unwrap().len());
        }
    }
}
