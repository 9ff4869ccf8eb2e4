//! What became of lines, by kind.

use std::sync::Arc;

use crate::records::Refusal;

/// Examples that are kept of a kind.
const EXAMPLES: usize = 3;
/// Kinds that are kept apart; what comes after them is counted together.
const KINDS: usize = 200;

/// Refusals of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Why, as a sentence without the value that stood there.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// The first three.
    pub examples: Vec<Refusal>,
}

/// What became of the lines of a file, or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that became rows.
    pub rows: u64,
    /// Lines that are no rows by the rules: blank ones, comments, headers, what stands before and
    /// after the table.
    pub left_out: u64,
    /// Lines that were refused, in the order of their first example.
    pub refused: Vec<Kind>,
    /// Cells of rows that could not be read and became missing values.
    pub bad_cells: Vec<Kind>,
    /// What is to be said of files as a whole, once their ends were reached: columns and topics that
    /// were passed over. Each once, with the first file that it was said of.
    pub remarks: Vec<(Arc<str>, String)>,
}

impl Tally {
    /// Counts a refused line.
    pub fn refuse(&mut self, refusal: &Refusal) {
        count(&mut self.refused, refusal);
    }

    /// Counts a cell that became a missing value.
    pub fn bad_cell(&mut self, refusal: &Refusal) {
        count(&mut self.bad_cells, refusal);
    }

    /// How many lines were refused.
    pub fn refused_lines(&self) -> u64 {
        self.refused.iter().map(|kind| kind.count).sum()
    }

    /// How many cells became missing values because they could not be read.
    pub fn missing_cells(&self) -> u64 {
        self.bad_cells.iter().map(|kind| kind.count).sum()
    }

    /// Keeps what is to be said of a file as a whole, unless it was said of another.
    pub fn remark(&mut self, file: &Arc<str>, remark: String) {
        let is_new = self.remarks.iter().all(|(_, said)| *said != remark);
        if is_new && self.remarks.len() < KINDS {
            self.remarks.push((file.clone(), remark));
        }
    }

    /// Adds what became of the lines of another file.
    pub fn add(&mut self, other: &Self) {
        for (file, remark) in &other.remarks {
            self.remark(file, remark.clone());
        }
        self.rows += other.rows;
        self.left_out += other.left_out;
        for (mine, theirs) in [
            (&mut self.refused, &other.refused),
            (&mut self.bad_cells, &other.bad_cells),
        ] {
            for kind in theirs {
                for example in &kind.examples {
                    count(mine, example);
                }
                let more = kind.count - kind.examples.len() as u64;
                if let Some(known) = mine.iter_mut().find(|known| known.kind == kind.kind) {
                    known.count += more;
                } else if let Some(last) = mine.last_mut() {
                    last.count += more;
                }
            }
        }
    }
}

fn count(kinds: &mut Vec<Kind>, refusal: &Refusal) {
    let found = kinds.iter().position(|kind| kind.kind == refusal.kind);
    let at = match found {
        Some(at) => at,
        None if kinds.len() > KINDS => kinds.len() - 1,
        None => {
            let is_last = kinds.len() == KINDS;
            kinds.push(Kind {
                kind: if is_last {
                    "other reasons".to_owned()
                } else {
                    refusal.kind.clone()
                },
                count: 0,
                examples: Vec::new(),
            });
            kinds.len() - 1
        }
    };
    kinds[at].count += 1;
    if kinds[at].examples.len() < EXAMPLES {
        kinds[at].examples.push(refusal.clone());
    }
}
