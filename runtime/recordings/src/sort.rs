//! Sorting more than fits in memory: rows of a recording by event time.
//!
//! Rows are kept in memory up to a bound. Beyond it, sorted runs go to a temporary file, which the
//! system removes when it is closed, and are merged when they are read. Rows of one time stay in the
//! order in which they came.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much of a run is read at once while runs are merged, bytes.
const READ_AHEAD: usize = 64 << 10;
/// What a row takes in memory beside its bytes.
const OVERHEAD: usize = size_of::<InMemory>();
/// What stands before a row's bytes in a run: its time and its length.
const HEAD: usize = size_of::<i64>() + size_of::<u32>();

/// Takes rows in any order.
pub struct Sorter {
    folder: PathBuf,
    memory: usize,
    rows: Vec<InMemory>,
    bytes: Vec<u8>,
    runs: Vec<Run>,
    file: Option<File>,
    end: u64,
}

/// A row in memory: where its bytes stand.
#[derive(Debug, Clone, Copy)]
struct InMemory {
    time: i64,
    from: usize,
    length: usize,
}

/// A sorted stretch of the temporary file.
#[derive(Debug, Clone, Copy)]
struct Run {
    from: u64,
    to: u64,
}

/// Rows in order of time; can be read any number of times.
pub struct Sorted {
    rows: Vec<InMemory>,
    bytes: Vec<u8>,
    runs: Vec<Run>,
    file: Option<File>,
}

/// Reads sorted rows, one after another.
pub struct SortedRows<'a> {
    sorted: &'a Sorted,
    next_in_memory: usize,
    runs: Vec<RunReader<'a>>,
    /// (time, index of the run) of the next row of every run; that in memory comes last.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    row: Vec<u8>,
}

struct RunReader<'a> {
    file: &'a File,
    rest: Run,
    buffer: Vec<u8>,
    at: usize,
}

impl Sorter {
    /// A sorter that keeps about so many bytes in memory and the rest in a temporary file in
    /// `folder`.
    pub fn new(folder: &Path, memory: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            memory,
            rows: Vec::new(),
            bytes: Vec::new(),
            runs: Vec::new(),
            file: None,
            end: 0,
        }
    }

    /// True while no row has come.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.runs.is_empty()
    }

    /// Takes a row; `time` in microseconds UTC.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub fn push(&mut self, time: i64, row: &[u8]) -> io::Result<()> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(row);
        self.rows.push(InMemory {
            time,
            from,
            length: row.len(),
        });
        if self.bytes.len() + self.rows.len() * OVERHEAD > self.memory {
            self.spill()?;
        }
        Ok(())
    }

    /// Ends the input.
    pub fn finish(mut self) -> Sorted {
        self.rows.sort_by_key(|row| row.time);
        Sorted {
            rows: self.rows,
            bytes: self.bytes,
            runs: self.runs,
            file: self.file,
        }
    }

    /// Writes what is in memory as a run.
    fn spill(&mut self) -> io::Result<()> {
        self.rows.sort_by_key(|row| row.time);
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder)?,
        };
        let from = self.end;
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        for row in &self.rows {
            out.write_all(&row.time.to_le_bytes())?;
            out.write_all(&(row.length as u32).to_le_bytes())?;
            out.write_all(&self.bytes[row.from..row.from + row.length])?;
            self.end += (HEAD + row.length) as u64;
        }
        out.flush()?;
        drop(out);
        self.file = Some(file);
        self.runs.push(Run { from, to: self.end });
        self.rows.clear();
        self.bytes.clear();
        Ok(())
    }
}

impl Sorted {
    /// Reads from the first row on.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub fn read(&self) -> io::Result<SortedRows<'_>> {
        let mut rows = SortedRows {
            sorted: self,
            next_in_memory: 0,
            runs: Vec::new(),
            heads: BinaryHeap::new(),
            row: Vec::new(),
        };
        if let Some(file) = &self.file {
            for run in &self.runs {
                rows.runs.push(RunReader {
                    file,
                    rest: *run,
                    buffer: Vec::new(),
                    at: 0,
                });
            }
        }
        for run in 0..=rows.runs.len() {
            rows.push_head(run)?;
        }
        Ok(rows)
    }
}

impl SortedRows<'_> {
    /// The next row: its time and its bytes; `None` at the end.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub fn next_row(&mut self) -> io::Result<Option<(i64, &[u8])>> {
        let Some(Reverse((time, run))) = self.heads.pop() else {
            return Ok(None);
        };
        self.row.clear();
        if run == self.runs.len() {
            let row = self.sorted.rows[self.next_in_memory];
            let bytes = &self.sorted.bytes[row.from..row.from + row.length];
            self.row.extend_from_slice(bytes);
            self.next_in_memory += 1;
        } else {
            self.runs[run].take(&mut self.row)?;
        }
        self.push_head(run)?;
        Ok(Some((time, &self.row)))
    }

    fn push_head(&mut self, run: usize) -> io::Result<()> {
        let time = if run == self.runs.len() {
            self.sorted
                .rows
                .get(self.next_in_memory)
                .map(|row| row.time)
        } else {
            self.runs[run].time()?
        };
        self.heads.extend(time.map(|time| Reverse((time, run))));
        Ok(())
    }
}

impl RunReader<'_> {
    /// The time of the next row; `None` at the end of the run.
    fn time(&mut self) -> io::Result<Option<i64>> {
        if self.at == self.buffer.len() && self.rest.from == self.rest.to {
            return Ok(None);
        }
        self.fill(HEAD)?;
        let mut time = [0; size_of::<i64>()];
        time.copy_from_slice(&self.buffer[self.at..self.at + size_of::<i64>()]);
        Ok(Some(i64::from_le_bytes(time)))
    }

    /// Appends the bytes of the next row to `row`.
    fn take(&mut self, row: &mut Vec<u8>) -> io::Result<()> {
        self.fill(HEAD)?;
        let mut length = [0; size_of::<u32>()];
        length.copy_from_slice(&self.buffer[self.at + size_of::<i64>()..self.at + HEAD]);
        let length = u32::from_le_bytes(length) as usize;
        self.fill(HEAD + length)?;
        self.at += HEAD;
        row.extend_from_slice(&self.buffer[self.at..self.at + length]);
        self.at += length;
        Ok(())
    }

    /// Makes sure that so many bytes are in the buffer.
    fn fill(&mut self, needed: usize) -> io::Result<()> {
        if self.buffer.len() - self.at >= needed {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let have = self.buffer.len();
        let left = usize::try_from(self.rest.to - self.rest.from).unwrap_or(usize::MAX);
        let more = left.min(READ_AHEAD.max(needed - have));
        self.buffer.resize(have + more, 0);
        self.file
            .read_exact_at(&mut self.buffer[have..], self.rest.from)?;
        self.rest.from += more as u64;
        if self.buffer.len() < needed {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a temporary file of the sorter has lost its end",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(sorted: &Sorted) -> Vec<(i64, Vec<u8>)> {
        let mut rows = sorted.read().expect("the rows can be read");
        let mut read = Vec::new();
        while let Some((time, row)) = rows.next_row().expect("the rows can be read") {
            read.push((time, row.to_vec()));
        }
        read
    }

    proptest! {
        #[test]
        fn rows_come_by_time_and_in_order_within_a_time(
            rows in prop::collection::vec((-5_i64..5, 0_usize..300), 0..400),
            memory in 0_usize..20_000,
        ) {
            let mut sorter = Sorter::new(&std::env::temp_dir(), memory);
            let mut expected = Vec::new();
            for (at, (time, length)) in rows.iter().enumerate() {
                let mut row = at.to_le_bytes().to_vec();
                row.resize(8 + length, at as u8);
                sorter.push(*time, &row).expect("there is room");
                expected.push((*time, row));
            }
            expected.sort_by_key(|(time, _)| *time);
            let sorted = sorter.finish();
            prop_assert_eq!(&read(&sorted), &expected);
            prop_assert_eq!(&read(&sorted), &expected);
        }
    }
}
