//! What the rows and columns of a kind's table are, for people who read them in a database: in the
//! words of the schema of what is published.

use std::collections::BTreeMap;

use serde_json::Value;
use theatre_schemas::dataset::ColumnType;

use super::OutputKind;

/// Where a kind's table is described.
pub struct Described {
    /// What a row is, where the schema's own words are not those of a row.
    pub rows: Option<&'static str>,
    /// The schema of what is published: a field says what the column of the same name is.
    pub schema: &'static str,
    /// What the other columns are.
    pub notes: &'static [(&'static str, &'static str)],
    /// Columns that hold one of these texts, where the schema has a text.
    pub enumerations: &'static [(&'static str, &'static [&'static str])],
}

/// What a table is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDescription {
    /// What a row is.
    pub rows: String,
    /// The columns in the order of the files.
    pub columns: Vec<ColumnDescription>,
}

/// What a column is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDescription {
    /// Name.
    pub name: String,
    /// Type in a warehouse.
    pub column_type: ColumnType,
    /// What it is, and its unit.
    pub meaning: String,
    /// Whether every row has a value.
    pub is_required: bool,
    /// Whether it holds a list or a record, as JSON.
    pub is_nested: bool,
    /// What it may hold, where that is an enumeration; otherwise empty.
    pub symbols: Vec<String>,
}

/// Units that are no more than a way to say that a value is a count or a moment.
const PLAIN_UNITS: [&str; 2] = ["1", "us since 1970-01-01T00:00:00Z"];

impl OutputKind {
    /// What its table is.
    pub fn description(self) -> TableDescription {
        let spec = &self.spec().table;
        let schema: Value = serde_json::from_str(spec.described.schema).unwrap_or_default();
        let fields: BTreeMap<&str, &Value> = schema["fields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|field| Some((field["name"].as_str()?, field)))
            .collect();
        let rows = spec.described.rows.or(schema["doc"].as_str());
        let columns = self.table().columns.into_iter();
        let described = columns.map(|(name, column_type)| {
            let field = fields.get(name.as_str());
            spec.described.column(name, column_type, field.copied())
        });
        TableDescription {
            rows: rows.unwrap_or_default().to_owned(),
            columns: described.collect(),
        }
    }
}

impl Described {
    fn column(
        &self,
        name: String,
        column_type: ColumnType,
        field: Option<&Value>,
    ) -> ColumnDescription {
        let said = |list: &[(&str, &'static str)]| {
            let found = list.iter().find(|(of, _)| *of == name);
            found.map(|(_, text)| (*text).to_owned())
        };
        let meaning = said(self.notes).or_else(|| field.map(meaning));
        let named = self.enumerations.iter().find(|(of, _)| *of == name);
        let symbols = match named {
            Some((_, symbols)) => symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
            None => field.map(symbols).unwrap_or_default(),
        };
        let value = field.map(|field| value_type(&field["type"]));
        // A number that is not finite is none in a table.
        let is_number = matches!(column_type, ColumnType::Float32 | ColumnType::Float64);
        ColumnDescription {
            meaning: meaning.unwrap_or_default(),
            is_required: !is_number && field.is_some_and(|field| !field["type"].is_array()),
            is_nested: value.is_some_and(|value| {
                matches!(value["type"].as_str(), Some("array" | "map" | "record"))
            }),
            symbols,
            name,
            column_type,
        }
    }
}

/// The words of a field, with its unit.
fn meaning(field: &Value) -> String {
    let words = field["doc"].as_str().unwrap_or_default();
    let words = words.replace("; also the message key", "");
    match field["unit"].as_str() {
        Some(unit) if !PLAIN_UNITS.contains(&unit) => format!("{words} Unit: {unit}."),
        Some(_) | None => words,
    }
}

fn symbols(field: &Value) -> Vec<String> {
    let symbols = value_type(&field["type"])["symbols"].as_array();
    let symbols = symbols.into_iter().flatten().filter_map(Value::as_str);
    symbols.map(str::to_owned).collect()
}

/// The type of a value that is there.
fn value_type(declared: &Value) -> &Value {
    match declared {
        Value::Array(choices) => choices
            .iter()
            .find(|choice| choice.as_str() != Some("null"))
            .unwrap_or(declared),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ALL;
    use super::*;

    #[test]
    fn every_table_and_every_column_is_described() {
        for spec in ALL {
            let described = spec.kind.description();
            assert!(!described.rows.is_empty(), "{}", spec.name);
            for column in &described.columns {
                assert!(!column.meaning.is_empty(), "{} {}", spec.name, column.name);
            }
            let names = |name: &str| described.columns.iter().any(|column| column.name == name);
            let table = &spec.table.described;
            for (name, _) in table.notes {
                assert!(names(name), "{}: there is no column {name}", spec.name);
            }
            for (name, _) in table.enumerations {
                assert!(names(name), "{}: there is no column {name}", spec.name);
            }
        }
    }

    #[test]
    fn a_column_is_what_its_field_says() {
        let described = OutputKind::Alert.description();
        let column = |name: &str| {
            let found = described.columns.iter().find(|column| column.name == name);
            found.expect("the column is there").clone()
        };
        assert_eq!(column("priority").symbols, ["high", "medium", "low"]);
        assert!(column("alert_id").is_required && !column("procedure_id").is_required);
        assert!(!column("value").is_required && !column("priority").is_nested);
        let described = OutputKind::Phase.description();
        let idle = described.columns.iter().find(|of| of.name == "idle_time_s");
        assert!(idle.is_some_and(|of| of.meaning.ends_with(" Unit: s.")));
        let signals = described.columns.iter().find(|of| of.name == "signals");
        assert!(signals.is_some_and(|of| of.is_nested));
    }
}
