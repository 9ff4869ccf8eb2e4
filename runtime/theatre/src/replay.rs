//! Replay: rows of a CSV file into the event log, described by a mapping file and a schema, never
//! by code.

use std::io::Read;
use std::path::{Path, PathBuf};

use apache_avro::types::Value;
use serde::Deserialize;
use theatre_actors::ports::NewRecord;
use theatre_schemas::dataset::{ColumnType, Dataset};
use theatre_schemas::records::RecordWriter;
use theatre_schemas::registry::schema_id;

use theatre_config::ConfigError;

/// How a CSV file becomes telemetry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Avro schema of the records, relative to the mapping file.
    pub schema: PathBuf,
    /// Rule file for it, relative to the mapping file; used when no configuration names one.
    pub rules: Option<PathBuf>,
    /// The robot of all rows.
    pub robot_id: Option<String>,
    /// Column that names the robot, where it is not one for all.
    pub robot_column: Option<String>,
    /// Column of the event time, RFC 3339.
    pub time_column: String,
    /// Column of the sequence number; absent: rows are numbered, from 0.
    pub sequence_column: Option<String>,
    /// Field separator. Default `,`.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Decimal separator. Default `.`.
    #[serde(default = "point")]
    pub decimal: char,
    /// Field of the schema = column of the file.
    pub columns: std::collections::BTreeMap<String, String>,
    /// Boolean fields whose rising edges the summary looks back from.
    #[serde(default)]
    pub events: Vec<String>,
}

fn comma() -> char {
    ','
}

fn point() -> char {
    '.'
}

/// A row on its way into the log.
#[derive(Debug)]
pub struct Row {
    /// Robot, which is also the key.
    pub robot_id: String,
    /// Event time, microseconds UTC.
    pub event_time: i64,
    /// The record.
    pub record: NewRecord,
    /// For each of the mapping's events: is it true here?
    pub events: Vec<bool>,
}

/// A CSV file, opened with its mapping.
pub struct Replay {
    mapping: Mapping,
    dataset: Dataset,
    writer: RecordWriter,
    reader: csv::Reader<Box<dyn Read>>,
    columns: Vec<(String, ColumnType, usize)>,
    time: usize,
    robot: Option<usize>,
    sequence: Option<usize>,
    row: i64,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// Names the file and the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError(format!(
                "mapping {} cannot be read: {error}",
                path.display()
            ))
        })?;
        let mut mapping: Self = theatre_config::parse(path, &text)?;
        let base = path.parent().unwrap_or(Path::new("."));
        mapping.schema = base.join(&mapping.schema);
        mapping.rules = mapping.rules.map(|rules| base.join(rules));
        Ok(mapping)
    }
}

/// Opens a CSV file, or standard input for `-`.
fn reader(path: &str, delimiter: char) -> Result<csv::Reader<Box<dyn Read>>, ConfigError> {
    let input: Box<dyn Read> = if path == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(
            std::fs::File::open(path)
                .map_err(|error| ConfigError(format!("{path} cannot be opened: {error}")))?,
        )
    };
    let delimiter = u8::try_from(delimiter).map_err(|_| {
        ConfigError("mapping: the delimiter must be one ASCII character".to_owned())
    })?;
    Ok(csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(input))
}

impl Replay {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// When the file, its header and the mapping do not fit together; says what is missing where.
    pub fn open(path: &str, mapping: Mapping) -> Result<Self, ConfigError> {
        let json = std::fs::read_to_string(&mapping.schema).map_err(|error| {
            ConfigError(format!(
                "schema {} cannot be read: {error}",
                mapping.schema.display()
            ))
        })?;
        let in_schema = |error: &dyn std::fmt::Display| {
            ConfigError(format!("schema {}: {error}", mapping.schema.display()))
        };
        let dataset = Dataset::from_schema(&json).map_err(|error| in_schema(&error))?;
        let id = schema_id(&json).map_err(|error| in_schema(&error))?;
        let writer = RecordWriter::new(id, &json).map_err(|error| in_schema(&error))?;
        let mut reader = reader(path, mapping.delimiter)?;
        let header = reader
            .headers()
            .map_err(|error| ConfigError(format!("{path}: {error}")))?
            .clone();
        let find = |column: &str| {
            let wanted = column.trim();
            let found = header
                .iter()
                .position(|name| name.trim().trim_start_matches('\u{feff}') == wanted);
            found.ok_or_else(|| {
                ConfigError(format!(
                    "{path} has no column '{column}'; its header is: {}",
                    header.iter().collect::<Vec<_>>().join(", ")
                ))
            })
        };
        let mut columns = Vec::new();
        for (field, column) in &mapping.columns {
            let spec = dataset.columns.iter().find(|spec| spec.name == *field);
            let spec = spec.ok_or_else(|| {
                ConfigError(format!(
                    "mapping: schema {} has no field '{field}'",
                    mapping.schema.display()
                ))
            })?;
            columns.push((field.clone(), spec.column_type, find(column)?));
        }
        if mapping.robot_id.is_some() == mapping.robot_column.is_some() {
            return Err(ConfigError(
                "mapping: give exactly one of robot_id and robot_column".to_owned(),
            ));
        }
        let time = find(&mapping.time_column)?;
        let robot = mapping.robot_column.as_deref().map(find).transpose()?;
        let sequence = mapping.sequence_column.as_deref().map(find).transpose()?;
        Ok(Self {
            dataset,
            writer,
            reader,
            columns,
            time,
            robot,
            sequence,
            row: 0,
            mapping,
        })
    }

    /// The dataset its rows belong to.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The next row; `None` at the end. A row that cannot be read is an error that says where, and
    /// the next call goes on after it.
    pub fn next_row(&mut self) -> Option<Result<Row, ConfigError>> {
        let mut record = csv::StringRecord::new();
        match self.reader.read_record(&mut record) {
            Ok(false) => None,
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                let row = self
                    .convert(&record)
                    .map_err(|why| ConfigError(format!("line {line}: {why}")));
                self.row += 1;
                Some(row)
            }
            Err(error) => Some(Err(ConfigError(error.to_string()))),
        }
    }

    fn convert(&self, record: &csv::StringRecord) -> Result<Row, String> {
        let cell = |index: usize| record.get(index).unwrap_or_default().trim();
        let time: jiff::Timestamp = cell(self.time).parse().map_err(|_| {
            format!(
                "'{}' in column '{}' is no time such as 2026-01-31T08:00:00.000Z",
                cell(self.time),
                self.mapping.time_column
            )
        })?;
        let robot_id = self.robot.map_or_else(
            || self.mapping.robot_id.clone().unwrap_or_default(),
            |index| cell(index).to_owned(),
        );
        let sequence = match self.sequence {
            Some(index) => cell(index)
                .parse()
                .map_err(|_| format!("'{}' is no sequence number", cell(index)))?,
            None => self.row,
        };
        let mut fields = vec![
            ("robot_id".to_owned(), Value::String(robot_id.clone())),
            (
                "event_time".to_owned(),
                Value::TimestampMicros(time.as_microsecond()),
            ),
        ];
        if self.dataset.roles.sequence.is_some() {
            fields.push(("sequence".to_owned(), Value::Long(sequence)));
        }
        let mut events = vec![false; self.mapping.events.len()];
        for (field, kind, index) in &self.columns {
            let value = self
                .value(cell(*index), *kind)
                .map_err(|why| format!("{why} (field '{field}')"))?;
            if let Some(event) = self.mapping.events.iter().position(|event| event == field) {
                events[event] = value == Value::Boolean(true);
            }
            fields.push((field.clone(), value));
        }
        let value = self
            .writer
            .encode(Value::Record(fields))
            .map_err(|error| error.to_string())?;
        let record = NewRecord {
            key: robot_id.clone().into_bytes(),
            value,
            headers: Vec::new(),
        };
        Ok(Row {
            robot_id,
            event_time: time.as_microsecond(),
            record,
            events,
        })
    }

    /// A blank cell is a missing value.
    fn value(&self, text: &str, kind: ColumnType) -> Result<Value, String> {
        if text.is_empty() {
            return Ok(Value::Null);
        }
        let number = || {
            let plain = if self.mapping.decimal == '.' {
                text.to_owned()
            } else {
                text.replace(self.mapping.decimal, ".")
            };
            plain.parse::<f64>().map_err(|_| {
                format!(
                    "'{text}' is no number with decimal separator '{}'",
                    self.mapping.decimal
                )
            })
        };
        Ok(match kind {
            ColumnType::Float64 => Value::Double(number()?),
            ColumnType::Float32 => Value::Float(number()? as f32),
            ColumnType::Int64 => Value::Long(
                text.parse()
                    .map_err(|_| format!("'{text}' is no whole number"))?,
            ),
            ColumnType::Int32 => Value::Int(
                text.parse()
                    .map_err(|_| format!("'{text}' is no whole number"))?,
            ),
            ColumnType::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => Value::Boolean(true),
                "false" | "0" | "no" => Value::Boolean(false),
                _ => return Err(format!("'{text}' is neither true nor false")),
            },
            ColumnType::Utf8 => Value::String(text.to_owned()),
            ColumnType::Binary | ColumnType::TimestampMicros | ColumnType::Date => {
                return Err("fields of this type cannot come from a CSV file".to_owned());
            }
        })
    }
}

/// The event that ends a recording: closes the robot's windows.
///
/// # Errors
/// Never for the shipped schema.
pub fn recording_ended(robot_id: &str, event_time: i64) -> Result<NewRecord, ConfigError> {
    let (_, json) = theatre_schemas::registry::INPUT_SCHEMAS[1];
    let writer = RecordWriter::new(1002, json).map_err(|error| ConfigError(error.to_string()))?;
    let fields = [
        ("robot_id", Value::String(robot_id.to_owned())),
        ("event_time", Value::TimestampMicros(event_time)),
        ("boot_id", Value::Long(0)),
        // The same recording ends at the same time: a second replay of it is a duplicate.
        ("sequence", Value::Long(event_time)),
        (
            "event_id",
            Value::String(format!("recording_ended/{robot_id}/{event_time}")),
        ),
        ("event_type", Value::String("recording_ended".to_owned())),
    ];
    let value = writer.encode(Value::Record(
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
    ));
    Ok(NewRecord {
        key: robot_id.as_bytes().to_vec(),
        value: value.map_err(|error| ConfigError(error.to_string()))?,
        headers: Vec::new(),
    })
}

/// How well conditions announced the events of a recording.
#[derive(Debug, Default, PartialEq)]
pub struct FlagSummary {
    /// Rising edges.
    pub events: usize,
    /// Of them, with a condition raised within the time before.
    pub announced: usize,
}

/// Counts rising edges (event times) that had one of `raised` (event times) within `before_us`
/// before them.
pub fn announced(edges: &[i64], raised: &[i64], before_us: i64) -> FlagSummary {
    let hit = |edge: &&i64| {
        raised
            .iter()
            .any(|at| at < *edge && **edge - at <= before_us)
    };
    FlagSummary {
        events: edges.len(),
        announced: edges.iter().filter(hit).count(),
    }
}
