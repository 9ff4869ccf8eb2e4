//! A dataset: the flat columns of one kind of record, derived from its Avro schema.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::avro_type::{self, AvroField};
use crate::declaration::{FieldPaths, TimeUnit};

mod flat;
mod kind;
#[cfg(test)]
mod tests;
mod versions;

pub(crate) use flat::column_type;
pub use flat::{ARRAY_LENGTH_MAX, COLUMNS_MAX};
pub use kind::{DatasetKind, EntityKind, PARTITION_PREFIX};

use flat::flatten;

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The JSON is not a valid Avro record schema.
    #[error("not a usable avro schema: {0}")]
    Invalid(String),
    /// A field has no flat form.
    #[error("field '{field}' {why}")]
    Field {
        /// Path of the field.
        field: String,
        /// What is wrong and what to do.
        why: String,
    },
}

fn field_error(field: &str, why: impl Into<String>) -> SchemaError {
    SchemaError::Field {
        field: field.to_owned(),
        why: why.into(),
    }
}

/// The physical type of a column, in Arrow, Parquet and SQL alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// `true` or `false`.
    Boolean,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// 32-bit IEEE 754.
    Float32,
    /// 64-bit IEEE 754.
    Float64,
    /// UTF-8 text; enums, UUIDs and person pseudonyms too.
    Utf8,
    /// Raw bytes.
    Binary,
    /// Microseconds since 1970-01-01T00:00:00Z.
    TimestampMicros,
    /// Days since 1970-01-01.
    Date,
    /// An exact decimal number, such as money: so many digits, so many of them after the point.
    /// Held as a whole number of units of the last digit.
    Decimal {
        /// Digits, 18 at most.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
}

/// Most digits of a [`ColumnType::Decimal`]: as many fit 64 bits.
pub const DECIMAL_PRECISION_MAX: u32 = 18;

impl ColumnType {
    /// True when every value of this type is one of `later`, too, or becomes one by Avro's
    /// promotions of numbers: `int` to `long` to `float` and `double`. Lake and warehouse follow
    /// such a change, and read what was written before it.
    pub fn widens_to(self, later: Self) -> bool {
        use ColumnType::{Float32, Float64, Int32, Int64};
        self == later
            || matches!(
                (self, later),
                (Int32, Int64 | Float32 | Float64)
                    | (Int64, Float32 | Float64)
                    | (Float32, Float64)
            )
    }
}

/// One flat column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSpec {
    /// Path in the record, nested fields joined by `.`, array elements as `[i]`:
    /// `joints[2].current`.
    pub name: String,
    /// Physical type.
    pub column_type: ColumnType,
    /// Unit, from the schema's `unit` property.
    pub unit: Option<String>,
    /// The schema's `doc`.
    pub doc: Option<String>,
    /// The domain of the pseudonyms in this column, when the schema marks the field as identifying
    /// a person (`"person": "patient"`); `None` for all other fields.
    pub person: Option<String>,
    /// The texts that can be in it, of an enum; empty: any.
    pub symbols: Vec<String>,
}

/// A numeric or boolean column that windows and rules may name.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalSpec {
    /// Same as its column's name.
    pub name: String,
    /// Index into [`Dataset::columns`].
    pub column: usize,
    /// Unit, from the schema.
    pub unit: Option<String>,
}

/// The columns with a role: indices into [`Dataset::columns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// `robot_id`, or the field that the schema's `key` names: required, text.
    pub robot_id: usize,
    /// `event_time`: required, microseconds UTC.
    pub event_time: usize,
    /// `procedure_id`, when the record has one.
    pub procedure_id: Option<usize>,
    /// `sequence`: numbers a robot's records of this topic within a boot.
    pub sequence: Option<usize>,
    /// `boot_id`: a number that grows with every start of the robot.
    pub boot_id: Option<usize>,
}

/// The reader's view of one kind of record: its flat columns, in an order that only ever grows at
/// the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Name in configuration, lake folder and warehouse table, `[a-z][a-z0-9_]*`.
    pub name: String,
    /// Kind of record.
    pub kind: DatasetKind,
    /// Version of the reader schema (the `v=N` of the lake path).
    pub version: u32,
    /// All flat columns.
    pub columns: Vec<ColumnSpec>,
    /// The columns with a role.
    pub roles: Roles,
    /// The unit of the event time in writers' schemas that give it as a plain number.
    pub event_time_unit: Option<TimeUnit>,
    /// Every numeric or boolean column without a role, in column order.
    pub signals: Vec<SignalSpec>,
}

impl Dataset {
    /// Derives a dataset from a record schema that carries the property
    /// `"theatre": {"id": 2001, "dataset": "ur3", "kind": "telemetry", "version": 1}`.
    ///
    /// Nested records and arrays of declared `length` are flattened; `robot_id` and `event_time`
    /// must be there. A record that is about something else than a robot names the field with its
    /// id: `"key": "facility_id"`.
    ///
    /// # Errors
    /// When the schema is invalid, a required field is missing or a field has no flat form; the
    /// text names the field and says what to do.
    pub fn from_schema(json: &str) -> Result<Self, SchemaError> {
        let (fields, root) = avro_type::parse(json)?;
        let properties = &root["theatre"];
        let name = properties["dataset"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if !is_name(&name) {
            return Err(SchemaError::Invalid(format!(
                "the root needs a property \"theatre\": {{\"id\": N, \"dataset\": \"name_in_lower_case\", \"kind\": \"telemetry\"}}, not dataset '{name}'"
            )));
        }
        let kind = serde_json::from_value(properties["kind"].clone()).map_err(|_| {
            let kinds = DatasetKind::ALL.map(DatasetKind::as_str).join(", ");
            SchemaError::Invalid(format!(
                "theatre.kind {} is none of {kinds}",
                properties["kind"]
            ))
        })?;
        let version = properties["version"].as_u64().unwrap_or(1) as u32;
        let paths = FieldPaths {
            robot_id: properties["key"].as_str().map(str::to_owned),
            ..FieldPaths::default()
        };
        Self::assemble(name, kind, version, &fields, &paths)
    }

    /// Builds a dataset from fields; `paths` says which fields have the roles.
    pub(crate) fn assemble(
        name: String,
        kind: DatasetKind,
        version: u32,
        fields: &[AvroField],
        paths: &FieldPaths,
    ) -> Result<Self, SchemaError> {
        let mut columns = Vec::new();
        flatten(fields, "", &mut columns)?;
        if !kind.keeps_decimals() {
            columns.iter_mut().for_each(measure_decimals);
        }
        let event_time_unit = convert_plain_event_time(&mut columns, paths)?;
        let mut seen = HashSet::new();
        if let Some(twice) = columns
            .iter()
            .find(|column| !seen.insert(column.name.as_str()))
        {
            return Err(field_error(
                &twice.name,
                "is there twice after flattening: rename one",
            ));
        }
        let roles = roles(&columns, paths)?;
        let role_columns = [
            Some(roles.robot_id),
            Some(roles.event_time),
            roles.procedure_id,
            roles.sequence,
            roles.boot_id,
        ];
        let signals = columns.iter().enumerate().filter(|(index, column)| {
            is_numeric(column.column_type) && !role_columns.contains(&Some(*index))
        });
        let signals = signals
            .map(|(column, spec)| SignalSpec {
                name: spec.name.clone(),
                column,
                unit: spec.unit.clone(),
            })
            .collect();
        Ok(Self {
            name,
            kind,
            version,
            columns,
            roles,
            event_time_unit,
            signals,
        })
    }

    /// Index of a signal by name.
    pub fn signal(&self, name: &str) -> Option<usize> {
        self.signals.iter().position(|signal| signal.name == name)
    }

    /// The signal whose values are kept in rows only, see [`crate::signal_rows`]; `None` for a
    /// column that is an array of its own.
    pub(crate) fn signal_in_rows(&self, column: usize) -> Option<usize> {
        let is_double = self.columns[column].column_type == ColumnType::Float64;
        self.signal_of(column).filter(|_| is_double)
    }

    /// The signal of a column, if it is one. Signals stand in the order of their columns.
    pub(crate) fn signal_of(&self, column: usize) -> Option<usize> {
        let found = self
            .signals
            .binary_search_by_key(&column, |signal| signal.column);
        found.ok()
    }

    /// Index of a column by name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// All datasets that a process knows, by name; an index is stable within a process.
#[derive(Debug, Clone, Default)]
pub struct Datasets {
    list: Vec<Arc<Dataset>>,
    by_name: HashMap<String, usize>,
}

/// Index of a dataset in [`Datasets`].
pub type DatasetIndex = usize;

impl Datasets {
    /// Adds a dataset, returning its index; a dataset of the same name is replaced in place.
    pub fn insert(&mut self, dataset: Arc<Dataset>) -> DatasetIndex {
        if let Some(&index) = self.by_name.get(&dataset.name) {
            self.list[index] = dataset;
            return index;
        }
        let index = self.list.len();
        self.by_name.insert(dataset.name.clone(), index);
        self.list.push(dataset);
        index
    }

    /// The dataset at `index`; panics when the index came from another registry.
    pub fn get(&self, index: DatasetIndex) -> &Arc<Dataset> {
        &self.list[index]
    }

    /// Finds a dataset by name.
    pub fn find(&self, name: &str) -> Option<(DatasetIndex, &Arc<Dataset>)> {
        let index = *self.by_name.get(name)?;
        Some((index, &self.list[index]))
    }

    /// All datasets in index order.
    pub fn iter(&self) -> impl Iterator<Item = (DatasetIndex, &Arc<Dataset>)> {
        self.list.iter().enumerate()
    }
}

fn measure_decimals(column: &mut ColumnSpec) {
    if matches!(column.column_type, ColumnType::Decimal { .. }) {
        column.column_type = ColumnType::Float64;
    }
}

fn is_numeric(column_type: ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::Boolean
            | ColumnType::Int32
            | ColumnType::Int64
            | ColumnType::Float32
            | ColumnType::Float64
    )
}

/// True for a valid name of a dataset: `[a-z][a-z0-9_]*`.
pub fn is_name(name: &str) -> bool {
    let simple = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(simple)
}

/// Turns the column of an event time that is declared as a plain number into a timestamp column.
fn convert_plain_event_time(
    columns: &mut [ColumnSpec],
    paths: &FieldPaths,
) -> Result<Option<TimeUnit>, SchemaError> {
    let Some(unit) = paths.event_time_unit else {
        return Ok(None);
    };
    let path = paths.event_time.as_deref().unwrap_or("event_time");
    if let Some(column) = columns.iter_mut().find(|column| column.name == path) {
        if column.column_type != ColumnType::Int64 {
            return Err(field_error(
                path,
                format!(
                    "is {:?}: event_time_unit is for a plain long, leave it out",
                    column.column_type
                ),
            ));
        }
        column.column_type = ColumnType::TimestampMicros;
    }
    Ok(Some(unit))
}

/// Finds the columns with a role and checks their types. A declared path must exist, unless it is
/// empty, which means that no column has the role; a default name need not exist.
fn roles(columns: &[ColumnSpec], paths: &FieldPaths) -> Result<Roles, SchemaError> {
    let find = |declared: &Option<String>,
                name: &str,
                wanted: &[ColumnType]|
     -> Result<Option<usize>, SchemaError> {
        let path = declared.as_deref().unwrap_or(name);
        if path.is_empty() {
            return Ok(None);
        }
        let Some(index) = columns.iter().position(|column| column.name == path) else {
            let why = || format!("is not in the schema, though it is said to be the {name}");
            return if declared.is_some() {
                Err(field_error(path, why()))
            } else {
                Ok(None)
            };
        };
        if wanted.contains(&columns[index].column_type) {
            return Ok(Some(index));
        }
        let hint = if name == "event_time" && columns[index].column_type == ColumnType::Int64 {
            " (or say its event_time_unit)"
        } else {
            ""
        };
        Err(field_error(
            path,
            format!(
                "is {:?}; it must be one of {wanted:?}{hint}",
                columns[index].column_type
            ),
        ))
    };
    let missing = |name: &str, what: &str| {
        field_error(name, format!("is missing: every record needs {what}"))
    };
    let counts = [ColumnType::Int64, ColumnType::Int32];
    Ok(Roles {
        robot_id: find(&paths.robot_id, "robot_id", &[ColumnType::Utf8])?
            .ok_or_else(|| missing("robot_id", "a robot id of type string"))?,
        event_time: find(
            &paths.event_time,
            "event_time",
            &[ColumnType::TimestampMicros],
        )?
        .ok_or_else(|| {
            missing(
                "event_time",
                "an event time of type long, logicalType timestamp-micros or timestamp-millis",
            )
        })?,
        procedure_id: find(&paths.procedure_id, "procedure_id", &[ColumnType::Utf8])?,
        sequence: find(&paths.sequence, "sequence", &counts)?,
        boot_id: find(&paths.boot_id, "boot_id", &counts)?,
    })
}
