//! What a deployment concluded from its input, as far as it must depend on neither servers, crashes nor the moments at which things arrived.
//!
//! Compared are contents: transitions of each condition in order, outcomes as last told, windows with their revisions merged, what became of every
//! record, and the rows of lake and warehouse. How often an outcome or a window was corrected on the way is left out: it depends on the order between topics.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde_json::Value;
use theatre_actors::effect::{Counters, Fact, FactKind};
use theatre_actors::family::{FamilyView, IntakeFamily};
use theatre_actors::ports::{CheckpointStore, ColumnType, FileStage, TableSpec};
use theatre_actors::window::{WindowRow, merge_revisions};
use theatre_runtime::config::{ALERT_TOPIC, Config, INPUT_TOPICS, OUTCOME_TOPIC};
use theatre_runtime::parquet::{self, facts, table_spec};
use theatre_runtime::pipeline::Ports;
use theatre_schemas::records::{Alert, Outcome};

use crate::deployment::same;

/// Rows as text, with how often each is there.
pub type Rows = BTreeMap<String, u64>;

/// Everything that must be the same.
#[derive(Debug, Default)]
pub struct Conclusions {
    /// Transitions by condition, in order.
    pub alerts: BTreeMap<String, Vec<Alert>>,
    /// Outcomes by procedure, as last told.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Windows by robot, name and start, as [`WindowRow::encode`] writes them.
    pub windows: BTreeMap<(String, String, i64), Vec<u8>>,
    /// Counters by topic.
    pub counters: BTreeMap<usize, Counters>,
    /// Dead letters: topic, partition, offset; and why.
    pub dead: BTreeMap<(usize, u32, u64), String>,
    /// Rows by folder of the lake.
    pub lake: BTreeMap<String, Rows>,
    /// Rows by table of the warehouse.
    pub warehouse: BTreeMap<String, Rows>,
}

impl Conclusions {
    /// Reads everything back, of a deployment with this configuration.
    pub fn read(config: &Config, ports: &Ports) -> Result<Self> {
        let mut read = Self::default();
        read.read_facts(&*ports.store)?;
        read.read_records(&*ports.store)?;
        for file in ports.store.all_files()? {
            ensure!(file.stage == FileStage::Loaded, "{} is {:?}", file.file.path, file.stage);
            let folder = file.file.path.split('/').take(2).collect::<Vec<_>>().join("/");
            if !folder.starts_with("data/") && folder != "facts/maintenance_alerts" {
                continue;
            }
            count_rows(&file.file.path, ports.lake.read(&file.file.path)?, read.lake.entry(folder).or_default())?;
        }
        let registry = config.registry()?;
        let datasets: Result<Vec<TableSpec>, _> = registry.datasets().iter().map(|(_, dataset)| table_spec(dataset)).collect();
        for table in datasets?.into_iter().chain([FactKind::Alert, FactKind::Outcome].map(facts::table)) {
            read.warehouse.insert(table.name.clone(), warehouse_rows(ports, &table)?);
        }
        Ok(read)
    }

    fn read_facts(&mut self, store: &dyn CheckpointStore) -> Result<()> {
        let mut windows: BTreeMap<(String, String, i64), Vec<WindowRow>> = BTreeMap::new();
        for fact in all_facts(store)? {
            match fact.kind {
                FactKind::Alert => {
                    let alert = Alert::decode(&fact.payload)?;
                    self.alerts.entry(alert.condition_id.clone()).or_default().push(alert);
                }
                FactKind::Outcome => {
                    let outcome = Outcome::decode(&fact.payload)?;
                    self.outcomes.insert(outcome.procedure_id.clone(), Outcome { revision: 0, ..outcome });
                }
                FactKind::Window => {
                    let row = WindowRow::decode(&fact.payload)?;
                    windows.entry((fact.robot_id, fact.subject, row.start_us)).or_default().push(row);
                }
            }
        }
        for (key, revisions) in windows {
            let merged = merge_revisions(&revisions).context("a window without revisions")?;
            self.windows.insert(key, WindowRow { revision: 0, ..merged }.encode());
        }
        Ok(())
    }

    fn read_records(&mut self, store: &dyn CheckpointStore) -> Result<()> {
        let (topics, partitions) = store.layout()?.context("no layout")?;
        self.counters = (0..topics.len()).map(|topic| (topic, Counters::default())).collect();
        for stored in (0..partitions).map(|partition| store.families(partition)).collect::<Result<Vec<_>, _>>()?.concat() {
            let counted = if stored.family.is_empty() {
                IntakeFamily::restore(&stored.state)?.counters().to_vec()
            } else {
                FamilyView::from_state(&stored.family, &stored.state)?.counters
            };
            for (topic, counted) in counted.iter().enumerate() {
                self.counters.entry(topic).or_default().add(counted);
            }
        }
        for stored in store.find_dead(0)? {
            self.dead.insert((stored.dead.topic, stored.partition, stored.dead.offset), stored.dead.reason.as_str().to_owned());
        }
        Ok(())
    }

    /// The same without the partitions and offsets of records: dead letters by topic and reason, rows by what they hold.
    pub fn wherever(mut self) -> Self {
        let mut reasons: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for ((topic, ..), reason) in self.dead {
            reasons.entry(topic).or_default().push(reason);
        }
        reasons.values_mut().for_each(|reasons| reasons.sort_unstable());
        let numbered = |(topic, reasons): (usize, Vec<String>)| (0..).zip(reasons).map(move |(number, reason)| ((topic, 0, number), reason));
        self.dead = reasons.into_iter().flat_map(numbered).collect();
        for rows in self.lake.values_mut().chain(self.warehouse.values_mut()) {
            let mut placeless = Rows::new();
            for (row, times) in std::mem::take(rows) {
                // Rows of records begin with their topic, partition and offset.
                let cells: Vec<&str> = row.splitn(4, '|').collect();
                let of_record = INPUT_TOPICS.contains(&cells[0]) && cells.len() == 4;
                *placeless.entry(if of_record { cells[3].to_owned() } else { row }).or_default() += times;
            }
            *rows = placeless;
        }
        self
    }

    /// Wants everything to be as in `self`, and there to be something in all of it.
    pub fn must_equal(&self, other: &Self) -> Result<()> {
        ensure!(!self.alerts.is_empty() && !self.outcomes.is_empty() && !self.windows.is_empty(), "there is nothing to compare");
        self.must_agree(other)
    }

    /// Wants everything to be as in `self`.
    pub fn must_agree(&self, other: &Self) -> Result<()> {
        same("counters", &self.counters, &other.counters)?;
        same("dead letters", &self.dead, &other.dead)?;
        same("alerts", &self.alerts, &other.alerts)?;
        same("outcomes", &self.outcomes, &other.outcomes)?;
        same("windows", &self.windows, &other.windows)?;
        same_rows("lake", &self.lake, &other.lake)?;
        same_rows("warehouse", &self.warehouse, &other.warehouse)
    }
}

/// Facts of all partitions in the order in which they were committed: a robot's may be in several.
pub fn all_facts(store: &dyn CheckpointStore) -> Result<Vec<Fact>> {
    let partitions = store.layout()?.context("no layout")?.1;
    let mut all = Vec::new();
    for partition in 0..partitions {
        all.extend(store.facts_after(partition, 0, usize::MAX >> 1)?);
    }
    all.sort_by_key(|stored| stored.committed_at);
    Ok(all.into_iter().map(|stored| stored.fact).collect())
}

/// What is to be published of the committed facts: values by topic and CloudEvents id.
pub fn all_published(store: &dyn CheckpointStore) -> Result<BTreeMap<(String, String), Vec<u8>>> {
    let topic = |kind| match kind {
        FactKind::Alert => Some(ALERT_TOPIC.to_owned()),
        FactKind::Outcome => Some(OUTCOME_TOPIC.to_owned()),
        FactKind::Window => None,
    };
    let told = all_facts(store)?.into_iter().filter_map(|fact| Some(((topic(fact.kind)?, format!("{}#{}", fact.id, fact.revision)), fact.payload)));
    Ok(told.collect())
}

fn same_rows(what: &str, expected: &BTreeMap<String, Rows>, got: &BTreeMap<String, Rows>) -> Result<()> {
    let names: Vec<&String> = expected.keys().collect();
    ensure!(names == got.keys().collect::<Vec<_>>(), "{what}: {names:?} expected, {:?} got", got.keys());
    expected.iter().try_for_each(|(name, rows)| same(&format!("{what} {name}"), rows, &got[name]))
}

/// Adds the rows of a file. Of facts only alerts count: outcomes and windows are told again when something changes them.
fn count_rows(path: &str, bytes: bytes::Bytes, rows: &mut Rows) -> Result<()> {
    for batch in parquet::read(path, bytes)? {
        let batch = batch?;
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| field.name() != "_append_time");
        let columns: Vec<&ArrayRef> = columns.map(|(_, column)| column).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| text(column, row)).collect::<Result<_>>()?;
            *rows.entry(cells.join("|")).or_default() += 1;
        }
    }
    Ok(())
}

/// A value of a column as text; moments as the numbers they are stored as.
fn text(column: &ArrayRef, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok(String::new());
    }
    Ok(match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => column.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => format!("{:?}", column.as_binary::<i32>().value(row)),
        other => bail!("no lake file has a column of {other}"),
    })
}

/// Rows of a table, without times: warehouses write them differently.
fn warehouse_rows(ports: &Ports, table: &TableSpec) -> Result<Rows> {
    let is_compared =
        |name: &str, kind: &ColumnType| name != "revision" && !matches!(kind, ColumnType::TimestampMicros | ColumnType::Date | ColumnType::Binary);
    let columns = table.columns.iter().filter(|(name, kind)| is_compared(name, kind)).map(|(name, _)| format!("\"{name}\""));
    let sql = format!("SELECT {} FROM \"{}\"", columns.collect::<Vec<_>>().join(", "), table.name);
    let mut rows = Rows::new();
    for row in ports.warehouse.query(&sql)?.rows {
        *rows.entry(row.iter().map(cell).collect::<Vec<_>>().join("|")).or_default() += 1;
    }
    Ok(rows)
}

/// A cell as text, the same from every warehouse: truth is a number in some, numbers are text in others, and SQLite knows no value that is no number.
fn cell(value: &Value) -> String {
    match value {
        Value::Bool(truth) => u8::from(*truth).to_string(),
        Value::Number(number) => number.as_f64().map_or(number.to_string(), |number| number.to_string()),
        Value::String(text) if text == "NaN" => Value::Null.to_string(),
        Value::String(text) => text.parse::<f64>().map_or(text.clone(), |number| number.to_string()),
        other => other.to_string(),
    }
}
