//! Erases rows from the lake and the warehouse: those of robots, or those that are old.
//!
//! A file is written without these rows and put under its own name in one step, so a reader meets
//! the old file or the new one and every other row once. Files whose rows are all erased stay, as
//! files without rows: readers that have listed a folder find them, and the name says where a cut of
//! the lake begins.
//!
//! Table by table, each step can be ended at any instruction and repeated:
//!
//! 1. The store notes of each file which rows are about to be erased, in one transaction.
//! 2. The files are replaced. One that has no such row any more was replaced before.
//! 3. The warehouse deletes the same rows, in a transaction that no load comes between. It does
//!    nothing if a load is in its ledger whose files were not looked at in step 1, which is then
//!    done again.
//! 4. The table for people in the store loses them, where there is one.
//! 5. The store notes what the files are now, and what is erased.
//!
//! What was begun in step 1 is finished by the next erasure, whatever that is asked for: from then on
//! the register alone says what is to be done. A pipeline may run meanwhile. An owner changes stages
//! of files, and files are looked at in stages that do not change any more: loaded, or, without a
//! warehouse, completed. What has not come so far is left, and counted.

mod behind;
mod table;
mod targets;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use theatre_actors::ports::{ErasedBy, Error, RegisteredFile, Result, RowSelection};
use theatre_pipeline::{PipelineParams, Ports};

pub(crate) use behind::meant;
use table::Work;
pub use targets::Target;

/// What is to be erased.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Rows of these robots.
    pub robots: BTreeSet<String>,
    /// Rows that happened before this moment, microseconds UTC.
    pub before: Option<i64>,
    /// Of these tables; empty: of all that hold measurements and what was noticed in them.
    pub datasets: BTreeSet<String>,
}

/// What was erased of a table, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The table.
    pub table: String,
    /// Files that had such rows.
    pub files: u64,
    /// Of these, files in which no row is left.
    pub emptied: u64,
    /// Rows of the lake.
    pub rows: u64,
    /// Rows of the warehouse: of revisions it has one.
    pub warehouse_rows: u64,
    /// Rows of the table for people in the store, where there are such.
    pub table_rows: u64,
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By table.
    pub lines: Vec<Line>,
    /// What an earlier command had begun, by table; nothing in a dry run.
    pub finished: Vec<Line>,
    /// What could not be erased yet, in words.
    pub left: Vec<String>,
}

impl Report {
    /// Rows of the lake, what an earlier command had begun left out.
    pub fn rows(&self) -> u64 {
        self.lines.iter().map(|line| line.rows).sum()
    }
}

/// An erasure.
pub struct Erasing<'a> {
    /// Which datasets there are.
    pub params: &'a PipelineParams,
    /// The deployment.
    pub ports: &'a Ports,
    /// What is to be erased.
    pub selection: &'a Selection,
    /// Only says what would be done.
    pub dry_run: bool,
    /// Waits so long for loads to be noted before files are looked at again.
    pub pause: fn(Duration),
}

impl Erasing<'_> {
    /// The tables that are meant.
    ///
    /// # Errors
    /// Refused where a table is named that there is not, or that has no such rows.
    pub fn targets(&self) -> Result<Vec<Target>> {
        targets::choose(targets::all(self.params)?, self.selection)
    }

    /// Erases; `hold` is called before each file and ends the work when it fails, `progress` after
    /// each. `report` says also after a failure what was done.
    ///
    /// # Errors
    /// As [`Self::targets`]; when a port does not answer, and what `hold` fails with. The command can
    /// be repeated.
    pub fn run(
        &self,
        report: &mut Report,
        hold: &mut dyn FnMut() -> Result<()>,
        progress: &mut dyn FnMut(&Line),
    ) -> Result<()> {
        if !self.params.lake {
            return Err(Error::Refused(
                "the lake is off in the configuration (lake.enabled): there is nothing to erase"
                    .to_owned(),
            ));
        }
        let chosen = self.targets()?;
        if !self.dry_run {
            self.finish(report, hold, progress)?;
        }
        for target in &chosen {
            let rows = target.rows(self.selection);
            let mut work = Work::new(self, target, rows, hold, progress);
            let done = work.run();
            report.lines.push(work.line);
            report.left.extend(work.left);
            done?;
        }
        report.left.extend(behind::look(self, &chosen)?);
        Ok(())
    }

    /// Finishes what earlier commands have begun.
    fn finish(
        &self,
        report: &mut Report,
        hold: &mut dyn FnMut() -> Result<()>,
        progress: &mut dyn FnMut(&Line),
    ) -> Result<()> {
        let files = self.ports.store.all_files()?;
        let begun = files.iter().filter(|file| !file.file.erasing.is_empty());
        let tables: BTreeSet<&str> = begun.map(|file| file.file.dataset.as_str()).collect();
        if tables.is_empty() {
            return Ok(());
        }
        let all = targets::all(self.params)?;
        for table in tables {
            let Some(target) = all.iter().find(|target| target.table.name == table) else {
                report.left.push(format!(
                    "rows of {table} are being erased, and the configuration does not know it any more: put its schema back and repeat"
                ));
                continue;
            };
            let rows = begun_rows(target, &files);
            let mut work = Work::new(self, target, rows, hold, progress);
            let done = work.run();
            report.finished.push(work.line);
            report.left.extend(work.left);
            done?;
        }
        Ok(())
    }
}

/// The rows of a table of which the register says that they are being erased.
fn begun_rows(target: &Target, files: &[RegisteredFile]) -> RowSelection {
    let mut rows = target.rows(&Selection::default());
    let begun = files.iter().filter(|file| target.has(file));
    let erasing = begun.flat_map(|file| &file.file.erasing);
    rows.include(
        erasing
            .map(|rows| &rows.by)
            .collect::<BTreeSet<&ErasedBy>>(),
    );
    rows
}

#[cfg(test)]
mod tests;
