//! A mapping and its schema, checked against each other.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::schema::RecordField;
use sha2::{Digest, Sha256};
use theatre_config::ConfigError;
use theatre_schemas::dataset::{ColumnType, Dataset};
use theatre_schemas::registry::schema_id;

use super::draft::{long, text};
use super::slot::{Leaf, Slot, Source, default_of, is_uuid_schema, leaf, write};
use super::{Draft, Row};
use crate::cells::{CellRules, Value};
use crate::mapping::Mapping;
use crate::records::Place;
use crate::times::TimeRules;

/// A field that a column fills.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    /// Name of its column in the mapping.
    pub(super) column: String,
    pub(super) column_type: ColumnType,
    pub(super) is_nullable: bool,
    /// The texts that it may hold; empty: any.
    symbols: Vec<String>,
    is_uuid: bool,
}

impl Field {
    /// A value, when the field can hold it.
    pub(super) fn fitting(&self, value: Value) -> Result<Option<Value>, &'static str> {
        if let Value::Text(text) = &value {
            if !self.symbols.is_empty() && !self.symbols.contains(text) {
                return Err("none of the words that the schema lists");
            }
            if self.is_uuid && !is_uuid(text) {
                return Err("no UUID");
            }
        }
        Ok(Some(value))
    }
}

fn is_uuid(text: &str) -> bool {
    let is_sign = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_sign)
}

/// A mapping and its schema, checked: how records become rows.
#[derive(Debug)]
pub struct Plan {
    mapping: Mapping,
    dataset: Dataset,
    schema_id: u32,
    fields: Vec<Field>,
    /// In the order of the schema.
    slots: Vec<Slot>,
    cells: CellRules,
    times: Arc<TimeRules>,
    /// For each of the mapping's events, its field.
    events: Vec<usize>,
}

impl Plan {
    /// Checks a mapping against the schema that it names.
    ///
    /// # Errors
    /// What can be known to be wrong before the first row, all of it at once.
    pub fn new(mapping: Mapping) -> Result<Self, ConfigError> {
        mapping.check()?;
        let path = mapping.schema.display().to_string();
        let in_schema =
            |error: &dyn std::fmt::Display| ConfigError(format!("schema {path}: {error}"));
        let json = std::fs::read_to_string(&mapping.schema)
            .map_err(|error| ConfigError(format!("schema {path} cannot be read: {error}")))?;
        let dataset = Dataset::from_schema(&json).map_err(|error| in_schema(&error))?;
        let schema_id = schema_id(&json).map_err(|error| in_schema(&error))?;
        let schema = Schema::parse_str(&json).map_err(|error| in_schema(&error))?;
        let times =
            TimeRules::new(&mapping).map_err(|why| ConfigError(format!("mapping: {why}")))?;
        let mut plan = Self {
            cells: CellRules::new(&mapping),
            times: Arc::new(times),
            mapping,
            dataset,
            schema_id,
            fields: Vec::new(),
            slots: Vec::new(),
            events: Vec::new(),
        };
        let faults = plan.bind(&schema);
        if faults.is_empty() {
            Ok(plan)
        } else {
            Err(ConfigError(format!(
                "mapping and schema {path} do not fit together: {}",
                faults.join("; ")
            )))
        }
    }

    /// The mapping.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The dataset that the rows belong to.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Id of the schema under which records are written.
    pub fn schema_id(&self) -> u32 {
        self.schema_id
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(super) fn cells(&self) -> &CellRules {
        &self.cells
    }

    pub(super) fn times(&self) -> &Arc<TimeRules> {
        &self.times
    }

    /// Finds the source of every field of the schema; returns what is wrong.
    fn bind(&mut self, schema: &Schema) -> Vec<String> {
        let Schema::Record(record) = schema else {
            return vec!["the schema is no record".to_owned()];
        };
        let roles = self.dataset.roles;
        let role = |at: Option<usize>| at.map(|at| self.dataset.columns[at].name.clone());
        let roles = [
            (role(Some(roles.robot_id)), Source::Robot, "robot_column"),
            (role(Some(roles.event_time)), Source::Time, "time_column"),
            (role(roles.sequence), Source::Sequence, "sequence_column"),
        ];
        let role_of = |name: &String| roles.iter().find(|(role, ..)| role.as_ref() == Some(name));
        let mut faults = Vec::new();
        for (name, column) in &self.mapping.columns {
            if let Some((_, _, key)) = role_of(name) {
                faults.push(format!(
                    "field '{name}' is filled by {key} = \"{column}\", not by [columns]"
                ));
            } else if !record.fields.iter().any(|field| field.name == *name) {
                faults.push(self.not_there(name));
            }
        }
        for field in &record.fields {
            let (leaf, branches, symbols) = leaf(&field.schema);
            let source = match role_of(&field.name) {
                Some((_, source, _)) => Ok(source.clone()),
                None if self.mapping.columns.contains_key(&field.name) => {
                    self.column(field, leaf, branches.is_some(), symbols)
                }
                None => default_of(field).map(Source::Default),
            };
            match source {
                Ok(source) => self.slots.push(Slot {
                    source,
                    leaf,
                    branches,
                }),
                Err(why) => faults.push(why),
            }
        }
        self.bind_events(&mut faults);
        faults
    }

    /// A field that a column fills.
    fn column(
        &mut self,
        field: &RecordField,
        leaf: Leaf,
        is_nullable: bool,
        symbols: Vec<String>,
    ) -> Result<Source, String> {
        let name = &field.name;
        if leaf == Leaf::None {
            return Err(format!(
                "field '{name}' is nested or of bytes, and a column cannot fill it: give the \
                 schema a plain field for it"
            ));
        }
        let spec = self.dataset.columns.iter().find(|spec| spec.name == *name);
        self.fields.push(Field {
            name: name.clone(),
            column: self.mapping.columns.get(name).cloned().unwrap_or_default(),
            column_type: spec.map_or(ColumnType::Utf8, |spec| spec.column_type),
            is_nullable,
            symbols,
            is_uuid: is_uuid_schema(&field.schema),
        });
        Ok(Source::Column(self.fields.len() - 1))
    }

    fn bind_events(&mut self, faults: &mut Vec<String>) {
        for event in &self.mapping.events {
            let found = self.fields.iter().position(|field| field.name == *event);
            match found {
                Some(at) if self.fields[at].column_type == ColumnType::Boolean => {
                    self.events.push(at);
                }
                Some(_) => {
                    faults.push(format!("events names '{event}', which is no boolean field"))
                }
                // Another fault says that the field is not there.
                None => {}
            }
        }
    }

    fn not_there(&self, name: &str) -> String {
        let is_flat = self
            .dataset
            .columns
            .iter()
            .any(|column| column.name == *name);
        if is_flat {
            return format!(
                "field '{name}' lies within another field, and a column can fill only fields at \
                 the top of the schema"
            );
        }
        let names = self
            .dataset
            .columns
            .iter()
            .map(|column| column.name.as_str());
        let names: Vec<&str> = names.take(40).collect();
        format!(
            "the schema has no field '{name}'; it has {}",
            names.join(", ")
        )
    }

    /// A row of values, in the order of the plan's fields.
    pub(super) fn row(
        &self,
        robot_id: String,
        event_time: i64,
        counter: Option<i64>,
        values: &[Option<Value>],
        place: Place,
    ) -> Row {
        let mut bytes = Vec::with_capacity(16 + values.len() * 9);
        bytes.push(0);
        bytes.extend_from_slice(&self.schema_id.to_be_bytes());
        let mut number_at = None;
        for slot in &self.slots {
            let value = match &slot.source {
                Source::Default(default) => {
                    bytes.extend_from_slice(default);
                    continue;
                }
                Source::Column(at) => values[*at].as_ref(),
                Source::Robot | Source::Time | Source::Sequence => None,
            };
            if let Some((null, present)) = slot.branches {
                let is_null = matches!(slot.source, Source::Column(_)) && value.is_none();
                long(&mut bytes, if is_null { null } else { present });
                if is_null {
                    continue;
                }
            }
            match (&slot.source, value) {
                (Source::Robot, _) => text(&mut bytes, &robot_id),
                (Source::Time, _) if slot.leaf == Leaf::Millis => {
                    long(&mut bytes, event_time.div_euclid(1000));
                }
                (Source::Time, _) => long(&mut bytes, event_time),
                (Source::Sequence, _) => number_at = Some(bytes.len()),
                (Source::Column(at), Some(value)) => {
                    write(&mut bytes, slot.leaf, value, &self.fields[*at].symbols);
                }
                // Rows refuse a missing value of a field that cannot be null.
                (Source::Column(_) | Source::Default(_), _) => {}
            }
        }
        let is_true = |at: &usize| values[*at] == Some(Value::Flag(true));
        Row {
            content: self.content(values),
            robot_id,
            event_time,
            counter,
            events: self.events.iter().map(is_true).collect(),
            place,
            draft: Draft { bytes, number_at },
        }
    }

    /// Hash of what the values say: equal for `3` and `3.0`, so that a wider schema changes nothing.
    fn content(&self, values: &[Option<Value>]) -> [u8; 16] {
        let mut named: Vec<(&str, &Value)> = Vec::with_capacity(values.len());
        for (field, value) in self.fields.iter().zip(values) {
            named.extend(value.as_ref().map(|value| (field.name.as_str(), value)));
        }
        named.sort_unstable_by_key(|(name, _)| *name);
        let mut bytes = Vec::with_capacity(named.len() * 24);
        for (name, value) in named {
            text(&mut bytes, name);
            match value {
                Value::Flag(flag) => bytes.extend([b'f', u8::from(*flag)]),
                Value::Whole(number) if number.unsigned_abs() > 1 << 53 => {
                    bytes.push(b'w');
                    bytes.extend(number.to_be_bytes());
                }
                Value::Whole(number) => number_bytes(&mut bytes, *number as f64),
                Value::Single(number) => number_bytes(&mut bytes, f64::from(*number)),
                Value::Number(number) => number_bytes(&mut bytes, *number),
                Value::Text(value) => {
                    bytes.push(b't');
                    text(&mut bytes, value);
                }
                Value::Time(micros) => {
                    bytes.push(b'm');
                    bytes.extend(micros.to_be_bytes());
                }
                Value::Day(day) => {
                    bytes.push(b'd');
                    bytes.extend(day.to_be_bytes());
                }
            }
        }
        let hash = Sha256::digest(&bytes);
        let mut content = [0; 16];
        content.copy_from_slice(&hash[..16]);
        content
    }
}

fn number_bytes(bytes: &mut Vec<u8>, number: f64) {
    bytes.push(b'n');
    // Zero has two forms.
    bytes.extend((number + 0.0).to_bits().to_be_bytes());
}
