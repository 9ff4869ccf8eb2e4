//! Two years of a small fleet as files of the lake, made to show what a star schema may get wrong:
//! entries that come late and out of order, that say again what was known, that move a robot;
//! versions that were withdrawn; cases without a result, under way, that move to another robot,
//! that have the number of another; revisions of windows; work with and without an alert.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use theatre_actors::ports::{Lake, LoadBatch, Warehouse};

mod files;
mod made;
mod versions;

pub use made::{Case, Leg};

/// 2023-01-01, microseconds UTC.
pub const BEGIN: i64 = 1_672_531_200_000_000;
const DAY: i64 = 86_400_000_000;

/// A value of a column.
#[derive(Debug, Clone)]
pub enum Cell {
    /// A whole number, a time in microseconds, or a date in days.
    Whole(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// True or false.
    Flag(bool),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

/// A row by the names of its columns; what is not named is NULL.
pub type Row = BTreeMap<&'static str, Cell>;

/// Makes a row.
#[macro_export]
macro_rules! row {
    ($($name:ident: $value:expr),* $(,)?) => {
        $crate::star::Row::from([$((stringify!($name), $crate::star::Cell::from($value))),*])
    };
}

/// The rows of all tables.
#[derive(Debug, Default)]
pub struct Fleet {
    /// By table, in the order in which they were appended.
    pub tables: BTreeMap<&'static str, Vec<Row>>,
    /// Of the registries' records those that are not refused.
    accepted: BTreeMap<&'static str, Vec<Row>>,
    offset: i64,
}

impl Fleet {
    /// Adds a record of an input.
    pub fn record(&mut self, table: &'static str, appended: i64, mut row: Row) {
        self.offset += 1;
        row.insert("_topic", Cell::from(table));
        row.insert("_partition", Cell::from(0));
        row.insert("_offset", Cell::from(self.offset));
        row.insert("_append_time", Cell::from(appended));
        self.output(table, row);
    }

    /// Adds an entry of a registry, of which versions are made.
    pub fn entry(&mut self, table: &'static str, appended: i64, row: Row) {
        self.accepted.entry(table).or_default().push(row.clone());
        self.record(table, appended, row);
    }

    /// Adds a row of an output.
    pub fn output(&mut self, table: &'static str, row: Row) {
        self.tables.entry(table).or_default().push(row);
    }

    /// Writes all rows into the lake and loads them, each table in two files.
    ///
    /// # Errors
    /// When the lake or the warehouse refuses.
    pub fn load(&self, lake: &dyn Lake, warehouse: &dyn Warehouse) -> Result<()> {
        let specs = theatre_star::tables();
        warehouse.ensure_tables(&specs)?;
        let mut tables = self.tables.clone();
        tables.extend(versions::tables(&self.accepted));
        for (number, (table, rows)) in tables.iter().enumerate() {
            let spec = specs
                .iter()
                .find(|spec| spec.name == *table)
                .context("a table of the star")?;
            for (half, rows) in [&rows[..rows.len() / 2], &rows[rows.len() / 2..]]
                .into_iter()
                .enumerate()
            {
                let number = (number * 2 + half) as u64;
                let file = files::file(lake, spec, number, rows)?;
                warehouse.load(
                    &LoadBatch {
                        id: format!("{table}-{half}"),
                        dataset: (*table).to_owned(),
                        partition: 0,
                        files: vec![file],
                    },
                    lake,
                )?;
            }
        }
        Ok(())
    }
}
