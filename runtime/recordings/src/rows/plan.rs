//! A mapping and its schema, checked against each other.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use sha2::{Digest, Sha256};
use theatre_config::ConfigError;
use theatre_schemas::dataset::{ColumnType, Dataset};
use theatre_schemas::registry::schema_id;

use super::draft::{long, text};
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

/// Where the value of a field of the schema comes from.
#[derive(Debug, Clone)]
enum Source {
    Robot,
    Time,
    Sequence,
    /// Index into the plan's fields.
    Column(usize),
    /// The bytes of the field's default, its branch among them.
    Default(Vec<u8>),
}

/// How a field of the schema is written.
#[derive(Debug, Clone)]
struct Slot {
    source: Source,
    leaf: Leaf,
    /// Branches of a union: of null, and of the value.
    branches: Option<(i64, i64)>,
}

/// The form of a value on its way into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Flag,
    Whole,
    Single,
    Double,
    Text,
    Symbol,
    Millis,
    /// No column can fill it.
    None,
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
        let mut faults = Vec::new();
        let Schema::Record(record) = schema else {
            return vec!["the schema is no record".to_owned()];
        };
        let roles = self.dataset.roles;
        let role = |at: Option<usize>| at.map(|at| self.dataset.columns[at].name.clone());
        let (robot, time) = (role(Some(roles.robot_id)), role(Some(roles.event_time)));
        let sequence = role(roles.sequence);
        for (name, column) in &self.mapping.columns {
            let key = match Some(name) {
                name if name == robot.as_ref() => "robot_column",
                name if name == time.as_ref() => "time_column",
                name if name == sequence.as_ref() => "sequence_column",
                _ => continue,
            };
            faults.push(format!(
                "field '{name}' is filled by {key} = \"{column}\", not by [columns]"
            ));
        }
        for name in self.mapping.columns.keys() {
            if !record.fields.iter().any(|field| field.name == *name) {
                faults.push(self.not_there(name));
            }
        }
        for field in &record.fields {
            let name = Some(&field.name);
            let (leaf, branches, symbols) = leaf(&field.schema);
            let source = if name == robot.as_ref() {
                Source::Robot
            } else if name == time.as_ref() {
                Source::Time
            } else if name == sequence.as_ref() {
                Source::Sequence
            } else if let Some(column) = self.mapping.columns.get(&field.name) {
                if leaf == Leaf::None {
                    faults.push(format!(
                        "field '{}' is nested or of bytes, and a column cannot fill it: give the \
                         schema a plain field for it",
                        field.name
                    ));
                    continue;
                }
                let spec = self
                    .dataset
                    .columns
                    .iter()
                    .find(|spec| spec.name == field.name);
                self.fields.push(Field {
                    name: field.name.clone(),
                    column: column.clone(),
                    column_type: spec.map_or(ColumnType::Utf8, |spec| spec.column_type),
                    is_nullable: branches.is_some(),
                    symbols,
                    is_uuid: is_uuid_schema(&field.schema),
                });
                Source::Column(self.fields.len() - 1)
            } else {
                match default_of(field) {
                    Ok(bytes) => Source::Default(bytes),
                    Err(why) => {
                        faults.push(why);
                        continue;
                    }
                }
            };
            self.slots.push(Slot {
                source,
                leaf,
                branches,
            });
        }
        self.bind_events(&mut faults);
        faults
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

/// Writes a value as Avro does.
fn write(bytes: &mut Vec<u8>, leaf: Leaf, value: &Value, symbols: &[String]) {
    match (leaf, value) {
        (Leaf::Symbol, Value::Text(value)) => {
            let symbol = symbols.iter().position(|symbol| symbol == value);
            long(bytes, symbol.unwrap_or(0) as i64);
        }
        (_, Value::Flag(flag)) => bytes.push(u8::from(*flag)),
        (_, Value::Whole(number)) => long(bytes, *number),
        (_, Value::Single(number)) => bytes.extend_from_slice(&number.to_le_bytes()),
        (_, Value::Number(number)) => bytes.extend_from_slice(&number.to_le_bytes()),
        (_, Value::Text(value)) => text(bytes, value),
        (Leaf::Millis, Value::Time(micros)) => long(bytes, micros.div_euclid(1000)),
        (_, Value::Time(micros)) => long(bytes, *micros),
        (_, Value::Day(day)) => long(bytes, i64::from(*day)),
    }
}

/// The form of a field, its branches if it is a union with null, and its symbols.
fn leaf(schema: &Schema) -> (Leaf, Option<(i64, i64)>, Vec<String>) {
    if let Schema::Union(union) = schema {
        let null = union
            .variants()
            .iter()
            .position(|branch| *branch == Schema::Null);
        let value = union
            .variants()
            .iter()
            .position(|branch| *branch != Schema::Null);
        return match (null, value) {
            (Some(null), Some(value)) if union.variants().len() == 2 => {
                let (leaf, _, symbols) = leaf(&union.variants()[value]);
                (leaf, Some((null as i64, value as i64)), symbols)
            }
            _ => (Leaf::None, None, Vec::new()),
        };
    }
    let leaf = match schema {
        Schema::Boolean => Leaf::Flag,
        Schema::Int
        | Schema::Long
        | Schema::Date
        | Schema::TimeMillis
        | Schema::TimeMicros
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => Leaf::Whole,
        Schema::TimestampMillis => Leaf::Millis,
        Schema::Float => Leaf::Single,
        Schema::Double => Leaf::Double,
        Schema::String => Leaf::Text,
        Schema::Uuid(apache_avro::schema::UuidSchema::String) => Leaf::Text,
        Schema::Enum(symbols) => return (Leaf::Symbol, None, symbols.symbols.clone()),
        _ => Leaf::None,
    };
    (leaf, None, Vec::new())
}

fn is_uuid_schema(schema: &Schema) -> bool {
    match schema {
        Schema::Uuid(_) => true,
        Schema::Union(union) => union.variants().iter().any(is_uuid_schema),
        _ => false,
    }
}

/// The bytes of a field's default.
fn default_of(field: &apache_avro::schema::RecordField) -> Result<Vec<u8>, String> {
    let Some(default) = &field.default else {
        return Err(format!(
            "field '{}' has no default, and no column fills it: add {} = \"its column\" to \
             [columns], or give it a default in the schema",
            field.name, field.name
        ));
    };
    let written = AvroValue::try_from(default.clone())
        .map_err(|error| error.to_string())
        .and_then(|value| {
            value
                .resolve(&field.schema)
                .map_err(|error| error.to_string())
        })
        .and_then(|value| {
            GenericDatumWriter::builder(&field.schema)
                .build()
                .and_then(|writer| writer.write_value_to_vec(value))
                .map_err(|error| error.to_string())
        });
    written.map_err(|why| {
        format!(
            "the default of field '{}' cannot be written: {why}",
            field.name
        )
    })
}
