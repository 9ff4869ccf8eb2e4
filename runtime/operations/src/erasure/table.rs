//! The erasure of rows of one table, step by step.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    ErasedCount, ErasedRows, Error, FileFilter, FileRevision, FileStage, LakeFile, RegisteredFile,
    Result, RowSelection, TableErasure, add_erased,
};
use theatre_parquet::{erase, fitting};

use super::{Erasing, Line, Target};

/// So often files are looked at because others were loaded meanwhile.
const LOOKS_MAX: u32 = 5;

/// The pause before the second look; before each further one it is longer by as much. A loader
/// notes within it what it has loaded.
const PAUSE: Duration = Duration::from_secs(1);

/// Files that one transaction revises: one that is killed in between goes on with the others.
const REVISED_AT_ONCE: usize = 2_000;

type Hold<'a> = &'a mut dyn FnMut() -> Result<()>;
type Progress<'a> = &'a mut dyn FnMut(&Line);

/// Rows of one table that are being erased.
pub(super) struct Work<'a> {
    erasing: &'a Erasing<'a>,
    target: &'a Target,
    rows: RowSelection,
    hold: Hold<'a>,
    progress: Progress<'a>,
    /// What was done.
    pub(super) line: Line,
    /// What could not be, in words.
    pub(super) left: Vec<String>,
}

/// What a look at the files of the table has found.
struct Look {
    /// Files of which rows are to be erased, or are being erased since an earlier attempt, as the
    /// register is to say it before anything is done.
    begun: Vec<FileRevision>,
    /// Loads of the table that the store knows.
    loads: u64,
    /// What cannot be erased yet, in words.
    left: Vec<String>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        erasing: &'a Erasing<'a>,
        target: &'a Target,
        rows: RowSelection,
        hold: Hold<'a>,
        progress: Progress<'a>,
    ) -> Self {
        let line = Line {
            table: target.table.name.clone(),
            ..Line::default()
        };
        Self {
            erasing,
            target,
            rows,
            hold,
            progress,
            line,
            left: Vec::new(),
        }
    }

    /// Erases the rows, or counts them.
    pub(super) fn run(&mut self) -> Result<()> {
        // What was replaced for an earlier look is known by its number.
        let mut replaced = BTreeMap::new();
        for number in 0..LOOKS_MAX {
            if number > 0 {
                (self.erasing.pause)(PAUSE * number);
                (self.hold)()?;
            }
            let look = self.look()?;
            self.left = look.left;
            if self.erasing.dry_run {
                self.count(&look.begun);
                self.line.table_rows = self.meant_in_table()?;
                return Ok(());
            }
            if look.begun.is_empty() {
                return self.erase_in_table();
            }
            let files = self.begin(look.begun)?;
            for file in &files {
                if let Entry::Vacant(place) = replaced.entry((file.partition, file.number)) {
                    place.insert(self.replace(file)?);
                    (self.progress)(&self.line);
                }
            }
            if let Some(rows) = self.erase_in_warehouse(look.loads)? {
                self.line.warehouse_rows += rows;
                self.erase_in_table()?;
                return self.end(files, &replaced);
            }
        }
        let table = &self.line.table;
        self.left.push(format!(
            "{table}: the lake's files are without the rows, and the warehouse is not: its ledger has other loads than the store knows. Repeat the command once `theatre run` has noted them"
        ));
        Ok(())
    }

    fn files(&self) -> Result<Vec<RegisteredFile>> {
        let whole = FileFilter::whole(&self.target.table.name);
        let mut files = self.erasing.ports.store.find_files(&whole)?;
        files.retain(|file| self.target.has(file));
        Ok(files)
    }

    /// Whether nothing but an erasure changes what is known of a file any more.
    fn is_settled(&self, file: &RegisteredFile) -> bool {
        match file.stage {
            FileStage::Loaded | FileStage::Quarantined => true,
            FileStage::Completed => !self.erasing.params.warehouse,
            FileStage::Registered | FileStage::Lost => false,
        }
    }

    fn look(&mut self) -> Result<Look> {
        let mut look = Look {
            begun: Vec::new(),
            loads: 0,
            left: Vec::new(),
        };
        let (mut unloaded, mut registered, mut loads) = (0, 0, BTreeSet::new());
        let files = self.files()?;
        if !self.erasing.dry_run {
            // What an earlier attempt has noted is noted as done with this one: the warehouse is to
            // be without those rows by then, too.
            let erasing = files.iter().flat_map(|file| &file.file.erasing);
            self.rows.include(erasing.map(|rows| &rows.by));
        }
        for file in files {
            if file.stage == FileStage::Loaded {
                loads.insert(file.batch.clone());
            }
            if !self.may_have(&file) {
                continue;
            }
            match file.stage {
                FileStage::Registered => registered += 1,
                FileStage::Lost => {}
                _ => {
                    (self.hold)()?;
                    let found = match self.counted(&file) {
                        Err(Error::Gone(why) | Error::Refused(why)) => {
                            look.left.push(format!("{}: {why}", self.line.table));
                            continue;
                        }
                        found => found?,
                    };
                    if self.is_settled(&file) {
                        look.begun.extend(begun(file, found));
                    } else {
                        unloaded += found.rows();
                    }
                }
            }
        }
        look.loads = loads.len() as u64;
        let table = &self.line.table;
        if unloaded > 0 {
            look.left.push(format!(
                "{table}: {unloaded} rows are in files that are not in the warehouse yet"
            ));
        }
        if registered > 0 {
            look.left.push(format!(
                "{table}: {registered} files, which may have such rows, are not completed yet"
            ));
        }
        Ok(look)
    }

    /// Whether a file may have rows that are meant, by what is registered of it.
    fn may_have(&self, file: &RegisteredFile) -> bool {
        let by_robot = self.rows.robot_column.is_some() && !self.rows.robots.is_empty();
        let is_old = |before| file.file.event_time_min < before;
        // The times of outputs are not those of a column in all tables.
        let by_time = self.target.kind.is_some() || self.rows.before.is_some_and(is_old);
        !file.file.erasing.is_empty() || (file.file.rows > 0 && (by_robot || by_time))
    }

    fn counted(&self, file: &RegisteredFile) -> Result<ErasedCount> {
        let path = &file.file.path;
        let open = self.erasing.ports.lake.open_file(path)?;
        erase::count(path, &*open, &self.rows)
    }

    fn count(&mut self, begun: &[FileRevision]) {
        for revision in begun {
            let rows = revision.file.erasing_rows();
            self.line.files += 1;
            self.line.rows += rows;
            self.line.emptied += u64::from(rows == revision.file.rows);
        }
    }

    /// Has the register say what is about to be erased; returns the files as it has them then.
    fn begin(&mut self, begun: Vec<FileRevision>) -> Result<Vec<RegisteredFile>> {
        let (known, new): (Vec<_>, Vec<_>) = begun
            .into_iter()
            .partition(|revision| revision.seen.file == revision.file);
        for part in new.chunks(REVISED_AT_ONCE) {
            (self.hold)()?;
            self.erasing.ports.store.revise_files(part)?;
        }
        let as_revised = |revision: FileRevision| RegisteredFile {
            file: revision.file,
            ..revision.seen
        };
        Ok(known.into_iter().chain(new).map(as_revised).collect())
    }

    /// Puts a file without its rows into the place of the one that has them, unless that was done;
    /// returns what it is then.
    fn replace(&mut self, file: &RegisteredFile) -> Result<LakeFile> {
        (self.hold)()?;
        let (known, lake) = (&file.file, &self.erasing.ports.lake);
        let there = lake.read(&known.path)?;
        let bytes = there.len() as u64;
        let rest = erase::without(&known.path, there, &self.rows)?;
        let erased = known.erasing_rows();
        if rest.rows + erased != known.rows {
            return Err(Error::Refused(format!(
                "lake file '{}' would be left with {} rows, and {} were registered, {erased} of them to be erased: look at it with `theatre reconcile`",
                known.path, rest.rows, known.rows
            )));
        }
        let is_done = rest.erased.rows() == 0;
        let (least, most) = rest
            .times
            .unwrap_or((known.event_time_min, known.event_time_max));
        let now = LakeFile {
            rows: rest.rows,
            bytes: if is_done {
                bytes
            } else {
                rest.bytes.len() as u64
            },
            event_time_min: least,
            event_time_max: most,
            ..known.clone()
        };
        if !is_done {
            lake.replace(&known.path, rest.bytes)?;
        }
        self.line.files += 1;
        self.line.rows += erased;
        self.line.emptied += u64::from(now.rows == 0);
        Ok(now)
    }

    /// Deletes the rows in the warehouse; `None`: it has loads that were not looked at.
    fn erase_in_warehouse(&mut self, loads: u64) -> Result<Option<u64>> {
        if !self.erasing.params.warehouse {
            return Ok(Some(0));
        }
        (self.hold)()?;
        self.erasing.ports.warehouse.erase(&TableErasure {
            table: self.target.table.clone(),
            rows: self.rows.clone(),
            loads,
        })
    }

    /// The rows as the table for people holds them, and the kind that it is of.
    fn in_table(&self) -> Option<(OutputKind, RowSelection)> {
        let robots = self.rows.robots.iter();
        let rows = RowSelection {
            robots: robots.map(|robot| fitting(robot).into_owned()).collect(),
            ..self.rows.clone()
        };
        Some((self.target.kind?, rows))
    }

    fn meant_in_table(&self) -> Result<u64> {
        match self.in_table() {
            Some((kind, rows)) => self.erasing.ports.store.meant_rows(kind, &rows),
            None => Ok(0),
        }
    }

    /// Deletes the rows of the table for people. Until the register says that all is done, another
    /// attempt does it again.
    fn erase_in_table(&mut self) -> Result<()> {
        let Some((kind, rows)) = self.in_table() else {
            return Ok(());
        };
        loop {
            (self.hold)()?;
            let erased = self.erasing.ports.store.erase_rows(kind, &rows)?;
            self.line.table_rows += erased;
            if erased == 0 {
                return Ok(());
            }
        }
    }

    /// Has the register say what the files are now.
    fn end(
        &mut self,
        files: Vec<RegisteredFile>,
        replaced: &BTreeMap<(u32, u64), LakeFile>,
    ) -> Result<()> {
        let revision = |seen: RegisteredFile| {
            let now = replaced.get(&(seen.partition, seen.number))?;
            let mut file = now.clone();
            add_erased(&mut file.erased, &seen.file.erasing);
            file.erasing = Vec::new();
            Some(FileRevision { seen, file })
        };
        let revisions: Vec<FileRevision> = files.into_iter().filter_map(revision).collect();
        for part in revisions.chunks(REVISED_AT_ONCE) {
            self.erasing.ports.store.revise_files(part)?;
        }
        Ok(())
    }
}

/// What the register is to say of a file before its rows are erased; `None` if nothing is. Rows that
/// are being erased since an earlier attempt may be in it still, or not.
fn begun(seen: RegisteredFile, found: ErasedCount) -> Option<FileRevision> {
    let mut file = seen.file.clone();
    let is_known = |rows: &ErasedRows| seen.file.erasing.iter().any(|known| known.by == rows.by);
    let new = found.into_rows().into_iter().filter(|rows| !is_known(rows));
    file.erasing.extend(new);
    (!file.erasing.is_empty()).then_some(FileRevision { seen, file })
}
