//! A dataset: the flat columns of one kind of record, found from its Avro schema.

use std::collections::HashMap;
use std::sync::Arc;

/// What the records of a dataset are, which decides who in a family hears them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetKind {
    /// Samples of a robot's sensors; moves the robot's clock and feeds windows and rules.
    Telemetry,
    /// Things that happened to a robot (start-up, error, end of a recording).
    RobotEvents,
    /// Steps in the life of a procedure.
    ProcedureEvents,
    /// Clinical results of a procedure, reported later.
    ProcedureResults,
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
}

/// One flat column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSpec {
    /// Path in the record, nested fields joined by `.`, array elements as `[i]`: `joints[2].current`.
    pub name: String,
    /// Physical type.
    pub column_type: ColumnType,
    /// Unit, from the schema's `unit` property.
    pub unit: Option<String>,
    /// The schema's `doc`.
    pub doc: Option<String>,
    /// True when the schema marks the field as identifying a person (`"person": "patient"`): the column then
    /// holds a pseudonym; the value is the domain of its key.
    pub person: Option<String>,
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

/// Which columns play which part; indices into [`Dataset::columns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// `robot_id`: required, text.
    pub robot_id: usize,
    /// `event_time`: required, microseconds UTC.
    pub event_time: usize,
    /// `procedure_id`, when the record has one.
    pub procedure_id: Option<usize>,
    /// `sequence`: counts a robot's records of this topic within a boot.
    pub sequence: Option<usize>,
    /// `boot_id`: a number that grows with every start of the robot.
    pub boot_id: Option<usize>,
}

/// The reader's view of one kind of record: its flat columns, in an order that only ever grows at the end.
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
    /// The columns with a part to play.
    pub roles: Roles,
    /// Every numeric or boolean column without a part in [`Roles`], in column order.
    pub signals: Vec<SignalSpec>,
}

impl Dataset {
    /// Index of a signal by name.
    pub fn signal(&self, name: &str) -> Option<usize> {
        self.signals.iter().position(|signal| signal.name == name)
    }

    /// Index of a column by name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// All datasets a process knows, by name; index positions are stable within a process.
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
