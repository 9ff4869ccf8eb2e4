//! Bodies as records: JSON, an object a line, a table, or framed Avro.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use theatre_actors::ports::NewRecord;
use theatre_schemas::dataset::{ColumnType, Dataset};
use theatre_schemas::datums::Datums;
use theatre_schemas::encode::{DirectEncoder, Fault, JsonEncoder};
use theatre_schemas::framing;
use theatre_schemas::records::text_of;
use theatre_schemas::registry::Registry;

use super::container::{self, Container};
use super::reject;
use super::table::{is_wider, misplaced_quote};
use crate::model::RejectedRecord;
use crate::problem::{Answer, Problem};

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Lines,
    Csv,
    Avro,
}

/// What a body holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) records: Vec<NewRecord>,
    /// The first ones that do not fit.
    pub(super) rejected: Vec<RejectedRecord>,
    pub(super) rejected_total: u64,
    /// Whether there were so many of them that the rest of the body was not read.
    pub(super) is_cut_off: bool,
}

/// How long what a body holds may be, and how much of it may be wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of a record, as it is appended.
    pub(super) record_bytes: usize,
    /// Bytes of a body, unpacked.
    pub(super) body_bytes: usize,
    /// Records that do not fit, after which no more are read; `None`: all are read.
    pub(super) rejected: Option<u64>,
}

impl Bounds {
    /// Bytes of texts and names of a record in JSON: names, and bytes in hex, are longer there.
    pub(super) fn text(self) -> usize {
        self.record_bytes.saturating_mul(TEXT_PER_BYTE)
    }

    /// Whether more is to be read; notes where not.
    pub(super) fn wants_more(self, parsed: &mut Parsed) -> bool {
        parsed.is_cut_off = self
            .rejected
            .is_some_and(|most| parsed.rejected_total >= most);
        !parsed.is_cut_off
    }
}

/// Bytes of text in JSON for each that a record may have as it is appended.
const TEXT_PER_BYTE: usize = 8;
/// Bytes before a datum that name its schema.
const FRAME: usize = 5;
/// Most cells of a table's row: a table of nothing but commas would take far more memory than it is
/// long.
const CELLS_MAX: usize = 4096;

/// Encodes records of one dataset.
pub(crate) struct DatasetEncoder {
    dataset: Arc<Dataset>,
    registry: Arc<Registry>,
    pub(super) schema_id: u32,
    json: JsonEncoder,
    /// The same for records in their usual form, where the dataset has one.
    pub(super) direct: Option<DirectEncoder>,
    /// Path of the field that records are keyed by.
    key: String,
}

/// The encoders that were needed so far.
pub(crate) struct Encoders {
    registry: Arc<Registry>,
    made: Mutex<HashMap<String, Arc<DatasetEncoder>>>,
}

impl Encoders {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            made: Mutex::default(),
        }
    }

    /// The encoder of a dataset, by the newest schema that is known.
    pub(super) fn of(&self, name: &str) -> Answer<Arc<DatasetEncoder>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = made.get(name) {
            return Ok(encoder.clone());
        }
        let encoder = Arc::new(DatasetEncoder::new(&self.registry, name)?);
        made.insert(name.to_owned(), encoder.clone());
        Ok(encoder)
    }
}

impl DatasetEncoder {
    fn new(registry: &Arc<Registry>, name: &str) -> Answer<Self> {
        let (index, dataset) = registry
            .datasets()
            .find(name)
            .ok_or_else(|| Problem::missing("dataset", name))?;
        let writer = registry.newest_writer(index);
        let by_number = writer.and_then(|writer| Some((writer.id.number()?, writer)));
        let (schema_id, writer) = by_number.ok_or_else(|| {
            Problem::new(
                "not_found",
                format!("schemas of '{name}' are in a registry that its producers use: send framed Avro to its topic"),
            )
        })?;
        let json = JsonEncoder::new(&writer.json).map_err(|error| {
            tracing::error!(%error, dataset = name, "a schema that is in use cannot be read");
            Problem::new(
                "internal",
                "the request could not be carried out; the log says why",
            )
        })?;
        let key = dataset.columns[dataset.roles.robot_id].name.clone();
        Ok(Self {
            direct: json.direct(&key),
            key,
            dataset: dataset.clone(),
            registry: registry.clone(),
            schema_id,
            json,
        })
    }

    /// The records of a body. One that is longer than the bounds say is rejected: the pipeline would
    /// make a dead letter of it.
    pub(super) fn parse(&self, form: Form, body: &[u8], bounds: Bounds) -> Answer<Parsed> {
        let mut parsed = Parsed::default();
        match form {
            Form::Json => self.json(body, bounds, &mut parsed)?,
            Form::Lines => self.lines(body, bounds, &mut parsed),
            Form::Csv => self.csv(body, bounds, &mut parsed)?,
            Form::Avro if container::is_one(body) => self.container(body, bounds, &mut parsed)?,
            Form::Avro => self.avro(body, bounds.record_bytes, &mut parsed),
        }
        Ok(parsed)
    }

    fn csv(&self, body: &[u8], bounds: Bounds, parsed: &mut Parsed) -> Answer<()> {
        if is_wider(body, CELLS_MAX) {
            return Err(Problem::bad(format!(
                "a row of the table has more than {CELLS_MAX} cells"
            )));
        }
        if let Some(why) = misplaced_quote(body) {
            return Err(Problem::bad(why));
        }
        let mut reader = csv::ReaderBuilder::new().from_reader(body);
        let unreadable =
            |error: csv::Error| Problem::bad(format!("the header of the table: {error}"));
        let header = reader.headers().map_err(unreadable)?.clone();
        if let Some(twice) = twice(&header) {
            return Err(Problem::bad(format!(
                "the header of the table has '{twice}' twice: which of the columns is meant?"
            )));
        }
        let column = |name: &str| {
            self.dataset
                .column(name)
                .map(|column| self.dataset.columns[column].column_type)
        };
        let types: Vec<Option<ColumnType>> = header.iter().map(column).collect();
        for (index, row) in (0..).zip(reader.records()) {
            match row {
                Ok(row) => {
                    let cells = header.iter().zip(&types).zip(&row);
                    let record: Map<String, Value> = cells
                        .filter(|(_, cell)| !cell.is_empty())
                        .map(|((name, column_type), cell)| {
                            (name.to_owned(), value(*column_type, cell))
                        })
                        .collect();
                    self.push(index, &Value::Object(record), bounds.record_bytes, parsed);
                }
                Err(error) => {
                    let faults = vec![fault("a row as long as the header", &error)];
                    reject(parsed, index, faults);
                }
            }
            if !bounds.wants_more(parsed) {
                break;
            }
        }
        Ok(())
    }

    /// One framed record. That it is keyed by its robot is all that is looked for: what a robot may
    /// write to the log may come here as well.
    fn avro(&self, body: &[u8], longest: usize, parsed: &mut Parsed) {
        if body.len() > longest {
            return reject(parsed, 0, vec![too_long(longest)]);
        }
        let opened = framing::parse(body).map_err(|error| error.to_string());
        let key = opened.and_then(|(id, datum)| {
            let writer = self
                .registry
                .lookup(id)
                .ok_or_else(|| format!("schema {id} is not known"))?;
            if self.registry.datasets().get(writer.dataset_index).name != self.dataset.name {
                return Err(format!("schema {id} is of another dataset"));
            }
            text_of(&writer.json, datum, &self.key).map_err(|error| error.to_string())
        });
        match key {
            Ok(Some(key)) => parsed.records.push(NewRecord {
                key: key.into_bytes(),
                value: body.to_vec(),
                headers: Vec::new(),
            }),
            Ok(None) => reject(parsed, 0, vec![self.no_key()]),
            Err(why) => reject(parsed, 0, vec![fault("a framed Avro record", &why)]),
        }
    }

    /// The records of an object container file. Its schema must be one of the dataset's, so that bytes
    /// go to the log as they are.
    fn container(&self, body: &[u8], bounds: Bounds, parsed: &mut Parsed) -> Answer<()> {
        let mut container = Container::open(body, bounds.body_bytes)?;
        let (schema_id, json) = self.written_alike(container.schema())?;
        let datums = Datums::new(&json).map_err(|error| Problem::bad(error.to_string()))?;
        let mut index = 0;
        while let Some((count, block)) = container.next_block()? {
            let first = index;
            let read = datums.each(&block, count, &self.key, |datum, key| {
                match key.filter(|key| !key.is_empty()) {
                    _ if datum.len() + FRAME > bounds.record_bytes => {
                        reject(parsed, index, vec![too_long(bounds.record_bytes)]);
                    }
                    None => reject(parsed, index, vec![self.no_key()]),
                    Some(key) => parsed.records.push(NewRecord {
                        key: key.into_bytes(),
                        value: framing::frame(schema_id, datum),
                        headers: Vec::new(),
                    }),
                }
                index += 1;
                container::has_room(parsed.records.len(), bounds.body_bytes)
                    && bounds.wants_more(parsed)
            });
            if !container::has_room(parsed.records.len(), bounds.body_bytes) {
                return Err(container::too_many());
            }
            if let Err(error) = read {
                // Where the records behind it begin is not known.
                let behind = count.saturating_sub(index - first + 1);
                let expected = format!(
                    "a record of the container's schema; {behind} behind it in its block are not read"
                );
                reject(parsed, index, vec![fault(&expected, &error)]);
                parsed.rejected_total = parsed.rejected_total.saturating_add(behind);
                index = first.saturating_add(count);
            }
            if !bounds.wants_more(parsed) {
                break;
            }
        }
        Ok(())
    }

    /// Id and text of the dataset's schema that gives the same bytes as this one.
    fn written_alike(&self, schema: &str) -> Answer<(u32, String)> {
        let name = &self.dataset.name;
        let found = self.registry.datasets().find(name);
        let alike = found.map(|(index, _)| self.registry.written_alike(index, schema));
        let alike = alike.transpose();
        let alike = alike.map_err(|error| Problem::bad(format!("the container's schema: {error}")));
        let alike = alike?.flatten();
        let own = alike.and_then(|writer| Some((writer.id.number()?, writer.json.clone())));
        own.ok_or_else(|| {
            Problem::bad(format!(
                "the container's schema is none of the dataset '{name}': write it with the schema that its producers use, in which nothing but doc, default and aliases may differ"
            ))
        })
    }

    pub(super) fn push(&self, index: u64, record: &Value, longest: usize, parsed: &mut Parsed) {
        let mut value = framing::frame(self.schema_id, &[]);
        if let Err(faults) = self.json.encode(record, &mut value) {
            return reject(parsed, index, faults);
        }
        let Some(key) = text_at(record, &self.key).filter(|key| !key.is_empty()) else {
            return reject(parsed, index, vec![self.no_key()]);
        };
        if value.len() > longest {
            return reject(parsed, index, vec![too_long(longest)]);
        }
        parsed.records.push(NewRecord {
            key: key.as_bytes().to_vec(),
            value,
            headers: Vec::new(),
        });
    }

    fn no_key(&self) -> Fault {
        Fault {
            pointer: format!("/{}", self.key.replace('.', "/")),
            expected: "an id that is not empty".to_owned(),
            found: "nothing".to_owned(),
            unit: None,
        }
    }
}

/// A name that a header has more than once.
fn twice(header: &csv::StringRecord) -> Option<&str> {
    let mut seen = HashSet::new();
    let mut names = header.iter().filter(|name| !name.is_empty());
    names.find(|name| !seen.insert(*name))
}

/// The text under a path, of a record that is nested or has the path as its key.
fn text_at<'a>(record: &'a Value, path: &str) -> Option<&'a str> {
    if let Some(text) = record.get(path).and_then(Value::as_str) {
        return Some(text);
    }
    let step = |value: Option<&'a Value>, name: &str| value.and_then(|value| value.get(name));
    path.split('.').fold(Some(record), step)?.as_str()
}

/// A cell as the JSON value that its column's type has.
fn value(column_type: Option<ColumnType>, cell: &str) -> Value {
    let number = |cell: &str| cell.parse().ok().map(Value::Number);
    let typed = match column_type {
        Some(ColumnType::Boolean) => cell.to_ascii_lowercase().parse().ok().map(Value::Bool),
        Some(ColumnType::Utf8 | ColumnType::Binary) | None => None,
        Some(ColumnType::TimestampMicros | ColumnType::Date) => {
            cell.parse::<i64>().ok().map(Value::from)
        }
        Some(_) => number(cell),
    };
    typed.unwrap_or_else(|| Value::String(cell.to_owned()))
}

pub(super) fn fault(expected: &str, why: &dyn std::fmt::Display) -> Fault {
    Fault {
        pointer: String::new(),
        expected: expected.to_owned(),
        found: why.to_string(),
        unit: None,
    }
}

fn too_long(longest: usize) -> Fault {
    Fault {
        pointer: String::new(),
        expected: format!("at most {longest} bytes of Avro"),
        found: "a longer record".to_owned(),
        unit: None,
    }
}
