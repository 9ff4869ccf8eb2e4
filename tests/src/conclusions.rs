//! What a deployment concluded from its input, as far as it must depend on neither servers, crashes
//! nor the moments at which things arrived.
//!
//! Compared are contents: transitions of each condition in order, outcomes as last published,
//! windows with their revisions merged, what became of every record, and the rows of lake and
//! warehouse. Left out is what depends on the order between topics: how often an outcome or a
//! window was corrected on the way (`revision`); and on the moment of arrival: when a record was
//! appended (`_append_time`). Moments that records and outputs name themselves are compared.

mod tables;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use theatre_actors::outputs::{ALL, Counters, OutputEvent, OutputKind, OutputTopics};
use theatre_actors::ports::{CheckpointStore, FileStage, TableSpec};
use theatre_actors::processor::{IntakeProcessor, ProcessorView};
use theatre_actors::window::{WindowRow, merge_revisions};
use theatre_config::{Config, INPUT_TOPICS};
use theatre_parquet::table_spec;
use theatre_pipeline::Ports;
use theatre_schemas::records::{Alert, Outcome};
use theatre_schemas::registry::Registry;

use crate::deployment::same;
pub use tables::Rows;
use tables::Table;

/// The column that says when a record was appended.
const ARRIVED: &str = "_append_time";
/// The column that says how often something was corrected.
const CORRECTED: &str = "revision";

/// Everything that must be the same.
#[derive(Debug, Default)]
pub struct Conclusions {
    /// Transitions by condition, in order.
    pub alerts: BTreeMap<String, Vec<Alert>>,
    /// Outcomes by procedure, as last published.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Windows by robot, name and start, as [`WindowRow::encode`] writes them.
    pub windows: BTreeMap<(String, String, i64), Vec<u8>>,
    /// Outputs of kinds that are neither merged nor replaced: payloads by kind, id and revision.
    pub others: BTreeMap<(OutputKind, String, u32), Vec<u8>>,
    /// Counters by topic.
    pub counters: BTreeMap<usize, Counters>,
    /// Dead letters: topic, partition, offset; and why.
    pub dead: BTreeMap<(usize, u32, u64), String>,
    /// Rows of the lake by dataset.
    pub lake: BTreeMap<String, Rows>,
    /// Rows by table of the warehouse.
    pub warehouse: BTreeMap<String, Rows>,
}

impl Conclusions {
    /// Reads everything back, of a deployment with this configuration. Windows in lake and
    /// warehouse must be those of the store.
    pub fn read(config: &Config, ports: &Ports) -> Result<Self> {
        let mut read = Self::default();
        let (outputs, registry) = (
            all_outputs(&*ports.store)?,
            theatre::adapters::registry(config)?,
        );
        read.read_outputs(&outputs)?;
        read.read_records(&*ports.store)?;
        let windows = tables::windows_of(&outputs)?;
        same(
            "windows of the store in the lake",
            &windows,
            &read.read_lake(ports)?.windows(registry.datasets())?,
        )?;
        same(
            "windows of the store in the warehouse",
            &windows,
            &read
                .read_warehouse(&registry, ports)?
                .windows(registry.datasets())?,
        )?;
        Ok(read)
    }

    /// Reads the files of the lake, all of which are loaded; returns the rows of windows.
    fn read_lake(&mut self, ports: &Ports) -> Result<Table> {
        let of_windows = OutputKind::Window.table().name;
        let mut windows = Table::default();
        let mut revised: BTreeMap<&str, (&str, Table)> = revised_tables()
            .map(|(name, key)| (name, (key, Table::default())))
            .collect();
        for file in ports.store.all_files()? {
            let (path, dataset) = (&file.file.path, &file.file.dataset);
            ensure!(
                file.stage == FileStage::Loaded,
                "{path} is {:?}",
                file.stage
            );
            let bytes = ports.lake.read(path)?;
            if *dataset == of_windows {
                windows.add_file(path, bytes)?;
            } else if let Some((_, rows)) = revised.get_mut(dataset.as_str()) {
                rows.add_file(path, bytes)?;
            } else {
                let mut rows = Table::default();
                rows.add_file(path, bytes)?;
                rows.count(ARRIVED, self.lake.entry(dataset.clone()).or_default());
            }
        }
        for (name, (key, rows)) in revised {
            self.lake
                .insert(name.to_owned(), last_published(&rows, key)?);
        }
        Ok(windows)
    }

    /// Reads the tables of the warehouse; returns the rows of windows.
    fn read_warehouse(&mut self, registry: &Registry, ports: &Ports) -> Result<Table> {
        let datasets: Vec<TableSpec> = registry
            .datasets()
            .iter()
            .map(|(_, dataset)| table_spec(dataset))
            .collect::<Result<_, _>>()?;
        let by_row = ALL
            .iter()
            .filter(|spec| spec.table.keeps_every_row && spec.kind != OutputKind::Window)
            .map(|spec| spec.kind);
        for spec in datasets.into_iter().chain(by_row.map(OutputKind::table)) {
            let mut rows = Rows::new();
            Table::of_warehouse(&*ports.warehouse, &spec)?.count(ARRIVED, &mut rows);
            self.warehouse.insert(spec.name, rows);
        }
        for spec in ALL.iter().filter(|spec| !spec.table.keeps_every_row) {
            let table = spec.kind.table();
            let rows = Table::of_warehouse(&*ports.warehouse, &table)?;
            let rows = last_published(&rows, spec.table.identity[0])?;
            self.warehouse.insert(table.name, rows);
        }
        Table::of_warehouse(&*ports.warehouse, &OutputKind::Window.table())
    }

    fn read_outputs(&mut self, outputs: &[OutputEvent]) -> Result<()> {
        let mut windows: BTreeMap<(String, String, i64), Vec<WindowRow>> = BTreeMap::new();
        for output in outputs {
            if output.kind == OutputKind::Alert {
                let alert = Alert::decode(&output.payload)?;
                self.alerts
                    .entry(alert.condition_id.clone())
                    .or_default()
                    .push(alert);
            } else if output.kind == OutputKind::Outcome {
                let outcome = Outcome::decode(&output.payload)?;
                self.outcomes.insert(
                    outcome.procedure_id.clone(),
                    Outcome {
                        revision: 0,
                        ..outcome
                    },
                );
            } else if output.kind == OutputKind::Window {
                let row = WindowRow::decode(&output.payload)?;
                windows
                    .entry((
                        output.robot_id.clone(),
                        output.subject.clone(),
                        row.start_us,
                    ))
                    .or_default()
                    .push(row);
            } else if output.kind.spec().table.keeps_every_row {
                let key = (output.kind, output.id.clone(), output.revision);
                self.others.insert(key, output.payload.clone());
            }
        }
        for (key, revisions) in windows {
            let merged = merge_revisions(&revisions).context("a window without revisions")?;
            self.windows.insert(
                key,
                WindowRow {
                    revision: 0,
                    ..merged
                }
                .encode(),
            );
        }
        Ok(())
    }

    fn read_records(&mut self, store: &dyn CheckpointStore) -> Result<()> {
        let (topics, partitions) = store.layout()?.context("no layout")?;
        self.counters = (0..topics.len())
            .map(|topic| (topic, Counters::default()))
            .collect();
        for stored in (0..partitions)
            .map(|partition| store.processors(partition))
            .collect::<Result<Vec<_>, _>>()?
            .concat()
        {
            let counted = if stored.processor.is_empty() {
                IntakeProcessor::restore(&stored.state)?.counters().to_vec()
            } else {
                ProcessorView::from_state(&stored.processor, &stored.state)?.counters
            };
            for (topic, counted) in counted.iter().enumerate() {
                self.counters.entry(topic).or_default().add(counted);
            }
        }
        for stored in store.find_dead(0)? {
            self.dead.insert(
                (stored.dead.topic, stored.partition, stored.dead.offset),
                stored.dead.reason.as_str().to_owned(),
            );
        }
        Ok(())
    }

    /// The same without what depends on how topics lie beside each other in the log. The use of an
    /// instrument is put out when its case has concluded, with all rows that came before the end of
    /// the case did: of it only what it is and since when is kept.
    pub fn in_any_order_of_topics(mut self) -> Self {
        let instruments = OutputKind::Instrument.table().name;
        for tables in [&mut self.lake, &mut self.warehouse] {
            if let Some(rows) = tables.get_mut(&instruments) {
                let mut known = Rows::new();
                for (row, times) in std::mem::take(rows) {
                    let cells: Vec<&str> = row.splitn(6, '|').collect();
                    *known
                        .entry(cells[..cells.len().min(5)].join("|"))
                        .or_default() += times;
                }
                *rows = known;
            }
        }
        self
    }

    /// The same without the partitions and offsets of records: dead letters by topic and reason,
    /// rows by what they hold.
    pub fn wherever(mut self) -> Self {
        let mut reasons: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for ((topic, ..), reason) in self.dead {
            reasons.entry(topic).or_default().push(reason);
        }
        reasons
            .values_mut()
            .for_each(|reasons| reasons.sort_unstable());
        let numbered = |(topic, reasons): (usize, Vec<String>)| {
            (0..)
                .zip(reasons)
                .map(move |(number, reason)| ((topic, 0, number), reason))
        };
        self.dead = reasons.into_iter().flat_map(numbered).collect();
        for rows in self.lake.values_mut().chain(self.warehouse.values_mut()) {
            let mut placeless = Rows::new();
            for (row, times) in std::mem::take(rows) {
                // Rows of records begin with their topic, partition and offset.
                let cells: Vec<&str> = row.splitn(4, '|').collect();
                let of_record = INPUT_TOPICS.contains(&cells[0]) && cells.len() == 4;
                *placeless
                    .entry(if of_record { cells[3].to_owned() } else { row })
                    .or_default() += times;
            }
            *rows = placeless;
        }
        self
    }

    /// Wants everything to be as in `self`, and there to be something in all of it.
    pub fn must_equal(&self, other: &Self) -> Result<()> {
        ensure!(
            !self.alerts.is_empty() && !self.outcomes.is_empty() && !self.windows.is_empty(),
            "there is nothing to compare"
        );
        self.must_agree(other)
    }

    /// Wants everything to be as in `self`.
    pub fn must_agree(&self, other: &Self) -> Result<()> {
        same("counters", &self.counters, &other.counters)?;
        same("dead letters", &self.dead, &other.dead)?;
        same("alerts", &self.alerts, &other.alerts)?;
        same("outcomes", &self.outcomes, &other.outcomes)?;
        same("windows", &self.windows, &other.windows)?;
        same("other outputs", &self.others, &other.others)?;
        same_rows("lake", &self.lake, &other.lake)?;
        same_rows("warehouse", &self.warehouse, &other.warehouse)
    }
}

/// Outputs of all partitions in the order in which they were committed: a robot's may be in
/// several.
pub fn all_outputs(store: &dyn CheckpointStore) -> Result<Vec<OutputEvent>> {
    let partitions = store.layout()?.context("no layout")?.1;
    let mut all = Vec::new();
    for partition in 0..partitions {
        all.extend(store.outputs_after(partition, 0, usize::MAX >> 1)?);
    }
    all.sort_by_key(|stored| stored.committed_at);
    Ok(all.into_iter().map(|stored| stored.output).collect())
}

/// What is to be published of the committed outputs: values by topic and CloudEvents id.
pub fn all_published(store: &dyn CheckpointStore) -> Result<BTreeMap<(String, String), Vec<u8>>> {
    let topics = OutputTopics::new(|_| None);
    let topic = |kind| topics.get(kind).map(str::to_owned);
    let published = all_outputs(store)?.into_iter().filter_map(|output| {
        Some((
            (
                topic(output.kind)?,
                format!("{}#{}", output.id, output.revision),
            ),
            output.payload,
        ))
    });
    Ok(published.collect())
}

fn same_rows(
    what: &str,
    expected: &BTreeMap<String, Rows>,
    got: &BTreeMap<String, Rows>,
) -> Result<()> {
    let names: Vec<&String> = expected.keys().collect();
    ensure!(
        names == got.keys().collect::<Vec<_>>(),
        "{what}: {names:?} expected, {:?} got",
        got.keys()
    );
    expected
        .iter()
        .try_for_each(|(name, rows)| same(&format!("{what} {name}"), rows, &got[name]))
}

/// The tables in which a later revision replaces the one before, each with the column of its key.
fn revised_tables() -> impl Iterator<Item = (&'static str, &'static str)> {
    let revised = ALL.iter().filter(|spec| !spec.table.keeps_every_row);
    revised.map(|spec| (spec.table.name, spec.table.identity[0]))
}

/// What was published last under each key, the one that there is in the warehouse too.
fn last_published(revisions: &Table, key: &str) -> Result<Rows> {
    let mut rows = Rows::new();
    revisions.last_revisions(key)?.count(CORRECTED, &mut rows);
    Ok(rows)
}
