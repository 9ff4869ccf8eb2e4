//! Text tables: a dialect, and the records of a file written in it.
//!
//! What a line costs: a quote that opens and does not close costs its line, a line with more or
//! fewer cells than the header costs itself, and reading goes on with the next line. Nothing is
//! shifted, and no cell swallows rows.

mod header;
mod split;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::records::{Cell, Place, ReadError, Record, Records, Refusal};
use crate::source::{Input, Line, Lines};
use header::Header;
use split::Splitter;
pub(crate) use split::{Open, are_alike};

/// A quoted cell runs over at most this many lines after its first.
pub const QUOTED_LINES_MAX: usize = 100;
/// A record of several lines has at most this many bytes.
pub const QUOTED_BYTES_MAX: usize = 64 << 10;

/// What stands between cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delimiter {
    /// This text.
    Text(String),
    /// One or several blanks and tabs; those at both ends of a line are nothing.
    Blanks,
}

/// Where the names of the columns stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderLine {
    /// In the first line, of the first hundred, that has all wanted names.
    Found,
    /// Nowhere.
    Absent,
}

/// How a text table is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// What stands between cells.
    pub delimiter: Delimiter,
    /// Sign around cells that hold delimiters or line ends.
    pub quote: Option<char>,
    /// Sign that takes the meaning from the next one within quotes.
    pub escape: Option<char>,
    /// What begins a comment.
    pub comment: Option<String>,
    /// Where the names of the columns stand.
    pub header: HeaderLine,
    /// Names in place of those of the header; empty: there are none.
    pub names: Vec<String>,
    /// Lines at the beginning that belong to nothing.
    pub skip_lines: u64,
    /// Lines after the header that are no rows.
    pub skip_after_header: u64,
    /// Lines at the end that are no rows.
    pub footer_lines: usize,
    /// Names that the header must have.
    pub wanted: Vec<String>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: Delimiter::Text(",".to_owned()),
            quote: Some('"'),
            escape: None,
            comment: None,
            header: HeaderLine::Found,
            names: Vec::new(),
            skip_lines: 0,
            skip_after_header: 0,
            footer_lines: 0,
            wanted: Vec::new(),
        }
    }
}

impl Dialect {
    /// Cuts a line into cells; none when a quote opens in it and does not close.
    pub(crate) fn cut(&self, line: &str) -> Option<Vec<String>> {
        self.cut_or_open(line).ok()
    }

    /// The same, with what stands before a quote that does not close.
    pub(crate) fn cut_or_open(&self, line: &str) -> Result<Vec<String>, Open> {
        Splitter::new(self).split(line)
    }
}

/// A text table that is read record by record.
pub struct CsvReader {
    feed: Feed,
    splitter: Splitter,
    header: Header,
    skip_after_header: u64,
    /// Cells of every record, by the first one; a blank one behind a last delimiter among them.
    width: Option<usize>,
    /// The rows now stand under a header of their own, whose columns are others.
    is_foreign: bool,
}

impl CsvReader {
    /// Opens a table and reads its header.
    ///
    /// # Errors
    /// When it cannot be read, is empty, or has no header with the wanted names.
    pub fn open(
        input: Input,
        encoding: Option<&str>,
        dialect: &Dialect,
    ) -> Result<Self, ReadError> {
        let mut feed = Feed {
            lines: Lines::new(input, encoding)?,
            again: VecDeque::new(),
            held: VecDeque::new(),
            held_texts: 0,
            footer_lines: dialect.footer_lines,
            comment: dialect.comment.clone(),
            left_out: 0,
        };
        for _ in 0..dialect.skip_lines {
            if feed.next()?.is_none() {
                break;
            }
            feed.left_out += 1;
        }
        let splitter = Splitter::new(dialect);
        let header = Header::read(&mut feed, &splitter, dialect)?;
        Ok(Self {
            feed,
            splitter,
            header,
            skip_after_header: dialect.skip_after_header,
            width: None,
            is_foreign: false,
        })
    }

    fn place(&self, line: u64) -> Place {
        self.feed.place(line)
    }

    /// The cells of the record that begins in a line; none when a quote in it opens and does not
    /// close. Lines that belong to it are taken.
    fn cells(&mut self, text: &str) -> Result<Option<Vec<String>>, ReadError> {
        match self.splitter.split(text) {
            Ok(cells) => Ok(Some(cells)),
            Err(open) => self.continued(text, &open),
        }
    }

    /// Looks for the end of a quoted cell in the lines that follow. It is not the end when
    /// something else than a delimiter comes after it, when the record would not have as many cells
    /// as the others, or when one of the lines is a record by itself: then the quote is one too
    /// many, and the lines are read again.
    fn continued(&mut self, first: &str, open: &Open) -> Result<Option<Vec<String>>, ReadError> {
        let mut text = first.to_owned();
        let mut taken: Vec<Line> = Vec::new();
        let mut found = None;
        while taken.len() < QUOTED_LINES_MAX {
            let Some(next) = self.feed.next()? else {
                break;
            };
            let added = next.text.clone().ok();
            taken.push(next);
            let Some(added) = added.filter(|added| !self.is_record(open, added)) else {
                break;
            };
            text.push('\n');
            text.push_str(&added);
            if text.len() > QUOTED_BYTES_MAX {
                break;
            }
            if !self.splitter.has_quote(&added) {
                continue;
            }
            match self.splitter.split(&text) {
                Ok(cells) => {
                    found = self.fits(cells.len(), &cells).then_some(cells);
                    break;
                }
                Err(open) if open.is_final => break,
                Err(_) => {}
            }
        }
        if found.is_none() {
            self.feed.put_back(taken);
        } else {
            self.feed.left_out += taken.len() as u64;
        }
        Ok(found)
    }

    /// Whether a line within a quoted cell is a record by itself: it has as many cells as the
    /// others, and those before the quote look like those of the line where it opened.
    fn is_record(&self, open: &Open, text: &str) -> bool {
        let Ok(cells) = self.splitter.split(text) else {
            return false;
        };
        let columns = self.width.unwrap_or(self.header.columns.len());
        let least = if open.before.is_empty() { 3 } else { 2 };
        cells.len() == columns && columns >= least && are_alike(&open.before, &cells)
    }

    /// Whether a record may have so many cells. The first record decides about delimiters at the
    /// end of lines; nothing is remembered here.
    fn fits(&self, count: usize, cells: &[String]) -> bool {
        let columns = self.header.columns.len();
        match self.width {
            Some(width) => count == width,
            None => {
                count == columns
                    || count == columns + 1
                        && cells.last().is_some_and(|cell| cell.trim().is_empty())
                    || count < columns && count > 0 && self.header.is_blank_from(count)
            }
        }
    }

    fn judge(
        &mut self,
        line: u64,
        cells: Vec<String>,
        found: &str,
    ) -> Option<Result<Record, Refusal>> {
        if self.header.is_again(&cells) {
            self.is_foreign = false;
            return None;
        }
        if self.header.is_other(&cells) {
            self.is_foreign = true;
        }
        if self.is_foreign {
            let kind =
                "stands under a second header, whose columns are others: split the file there";
            return Some(Err(Refusal::new(self.place(line), kind, found)));
        }
        if !self.fits(cells.len(), &cells) {
            let kind = if cells.len() < self.header.columns.len() {
                "fewer cells than columns"
            } else if cells.len() == self.header.columns.len() {
                "another number of cells than the rows before"
            } else {
                "more cells than columns"
            };
            let found = format!("{} for {}: {found}", cells.len(), self.header.columns.len());
            return Some(Err(Refusal::new(self.place(line), kind, &found)));
        }
        self.width = Some(cells.len());
        let mut cells: Vec<Cell> = cells.into_iter().map(Cell::Text).collect();
        cells.resize(self.header.columns.len(), Cell::Text(String::new()));
        Some(Ok(Record {
            place: self.place(line),
            cells,
        }))
    }
}

impl Records for CsvReader {
    fn columns(&self) -> &[String] {
        &self.header.columns
    }

    fn next_record(&mut self) -> Result<Option<Result<Record, Refusal>>, ReadError> {
        loop {
            let Some(line) = self.feed.next()? else {
                return Ok(None);
            };
            if self.skip_after_header > 0 {
                self.skip_after_header -= 1;
                self.feed.left_out += 1;
                continue;
            }
            let text = match line.text {
                Ok(text) => text,
                Err((fault, begins)) => {
                    let place = self.place(line.number);
                    return Ok(Some(Err(Refusal::new(place, fault.kind(), &begins))));
                }
            };
            if self.feed.is_nothing(&text) {
                self.feed.left_out += 1;
                continue;
            }
            let Some(cells) = self.cells(&text)? else {
                let kind = "a quote opens in this line and does not close";
                return Ok(Some(Err(Refusal::new(
                    self.place(line.number),
                    kind,
                    &text,
                ))));
            };
            match self.judge(line.number, cells, &text) {
                Some(record) => return Ok(Some(record)),
                None => self.feed.left_out += 1,
            }
        }
    }

    fn left_out(&self) -> u64 {
        self.feed.left_out
    }

    fn remarks(&self) -> Vec<String> {
        let what = match self.feed.left_out {
            0 => "it is empty",
            _ => "it has nothing but blank lines and those that the mapping leaves out",
        };
        let empty = self.header.is_empty.then(|| what.to_owned());
        empty.into_iter().collect()
    }
}

/// Lines, with those that are read again and those that may be the last.
struct Feed {
    lines: Lines,
    /// Lines that were looked at and are read again.
    again: VecDeque<Line>,
    /// Lines that may belong to the footer.
    held: VecDeque<Line>,
    /// How many of them are not blank.
    held_texts: usize,
    footer_lines: usize,
    comment: Option<String>,
    left_out: u64,
}

impl Feed {
    fn next(&mut self) -> Result<Option<Line>, ReadError> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        if self.footer_lines == 0 {
            return self.lines.next_line();
        }
        while self.held_texts <= self.footer_lines {
            let Some(line) = self.lines.next_line()? else {
                self.left_out += self.held.len() as u64;
                self.held.clear();
                self.held_texts = 0;
                return Ok(None);
            };
            self.held_texts += usize::from(!is_blank(&line));
            self.held.push_back(line);
        }
        let line = self.held.pop_front();
        self.held_texts -= usize::from(line.as_ref().is_some_and(|line| !is_blank(line)));
        Ok(line)
    }

    fn put_back(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            self.again.push_front(line);
        }
    }

    /// Whether a line is blank, a comment, or the sign for the end of a file of old systems.
    fn is_nothing(&self, text: &str) -> bool {
        let text = text.trim();
        let is_comment = |comment: &String| text.starts_with(comment.as_str());
        text.is_empty() || text == "\u{1a}" || self.comment.as_ref().is_some_and(is_comment)
    }

    fn place(&self, line: u64) -> Place {
        Place {
            file: self.lines.name().clone(),
            line,
        }
    }
}

fn is_blank(line: &Line) -> bool {
    line.text.as_ref().is_ok_and(|text| text.trim().is_empty())
}
