//! The tables that people read, in memory: rows as texts, under their keys.

use std::collections::BTreeMap;

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{ColumnValues, LoadMode, RowSelection, TableRows};

/// A row: its columns by name.
pub type Row = BTreeMap<String, String>;

/// Rows by table and key.
#[derive(Debug, Default)]
pub(super) struct MemoryTables(BTreeMap<(OutputKind, Vec<String>), (i64, Row)>);

impl MemoryTables {
    /// Writes rows: a later revision takes the place of an earlier one.
    pub(super) fn write(&mut self, rows: &TableRows) {
        let key = match (rows.kind.spec().table.mode)() {
            LoadMode::MergeByRevision { key, .. } => key,
            LoadMode::Append => {
                let identity = rows.kind.spec().table.identity.iter();
                identity.map(|name| (*name).to_owned()).collect()
            }
        };
        let shared = rows.kind.spec().table.grouped.map_or(0, |of| of.shared);
        for (at, group) in places(rows) {
            let cells = rows.columns.iter().enumerate();
            let row: Row = cells
                .map(|(place, (name, of))| {
                    let at = if place < shared { group } else { at };
                    (name.clone(), cell(of, at))
                })
                .collect();
            let named = key.iter().map(|name| row[name].clone()).collect();
            let revision = row["revision"].parse().unwrap_or(0);
            match self.0.get(&(rows.kind, named)) {
                Some((known, _)) if *known >= revision => {}
                _ => {
                    let named = key.iter().map(|name| row[name].clone()).collect();
                    self.0.insert((rows.kind, named), (revision, row));
                }
            }
        }
    }

    /// Those of a kind that are meant; they go if `are_erased`.
    pub(super) fn meant(&mut self, kind: OutputKind, rows: &RowSelection, are_erased: bool) -> u64 {
        let is_meant = |row: &Row| {
            let of = |column: &Option<String>| row.get(column.as_ref()?);
            let time = of(&rows.time_column).and_then(|time| time.parse().ok());
            let robot = of(&rows.robot_column).map(String::as_str);
            rows.reason(robot, time).is_some()
        };
        let before = self.0.len();
        let of_kind = |(of, _): &(OutputKind, Vec<String>)| *of == kind;
        let meant = self.0.iter();
        let meant = meant.filter(|(key, (_, row))| of_kind(key) && is_meant(row));
        let count = meant.count();
        if are_erased {
            self.0
                .retain(|key, (_, row)| !(of_kind(key) && is_meant(row)));
            debug_assert_eq!(self.0.len() + count, before);
        }
        count as u64
    }

    /// All rows of a table.
    pub(super) fn of(&self, kind: OutputKind) -> Vec<Row> {
        let of_kind = self.0.iter().filter(|((of, _), _)| *of == kind);
        of_kind.map(|(_, (_, row))| row.clone()).collect()
    }
}

/// Each row with its group; one that is in none is a group of its own.
fn places(rows: &TableRows) -> Vec<(usize, usize)> {
    if rows.kind.spec().table.grouped.is_none() {
        return (0..rows.committed_at.len()).map(|at| (at, at)).collect();
    }
    let groups = rows.groups.iter().enumerate();
    let groups = groups.flat_map(|(group, rows)| std::iter::repeat_n(group, *rows as usize));
    groups.enumerate().collect()
}

fn cell(values: &ColumnValues, at: usize) -> String {
    fn text<T: ToString>(value: Option<&T>) -> String {
        value.map_or("NULL".to_owned(), ToString::to_string)
    }
    match values {
        ColumnValues::Text(values) => text(values[at].as_ref()),
        ColumnValues::Int32(values) | ColumnValues::Date(values) => text(values[at].as_ref()),
        ColumnValues::Int64(values)
        | ColumnValues::Decimal(values)
        | ColumnValues::Time(values) => text(values[at].as_ref()),
        ColumnValues::Boolean(values) => text(values[at].as_ref()),
        ColumnValues::Float(values) => text(values[at].as_ref()),
    }
}
