//! The header of a text table.

use super::{Dialect, Feed, HeaderLine, Splitter};
use crate::columns;
use crate::records::ReadError;

/// Lines among which the header is looked for.
const LINES_LOOKED_AT: usize = 100;
/// Their bytes, which are kept for a moment.
const BYTES_LOOKED_AT: usize = 4 << 20;
/// A header goes on over at most this many lines after its first.
const NAME_LINES_MAX: usize = 50;

/// Names of the columns.
pub(super) struct Header {
    /// Unique.
    pub(super) columns: Vec<String>,
    /// As they stand in the file; empty when they do not.
    cells: Vec<String>,
    wanted: Vec<String>,
    /// The file ends before anything is in it.
    pub(super) is_empty: bool,
}

impl Header {
    pub(super) fn read(
        feed: &mut Feed,
        splitter: &Splitter,
        dialect: &Dialect,
    ) -> Result<Self, ReadError> {
        let found = match dialect.header {
            HeaderLine::Found => find(feed, splitter, dialect)?,
            HeaderLine::Absent => numbered(feed, splitter)?,
        };
        let is_empty = found.is_none();
        let in_file = dialect.header == HeaderLine::Found && !is_empty;
        // An empty file has no rows in any columns.
        let cells = found.unwrap_or_else(|| dialect.wanted.clone());
        let names = if dialect.names.is_empty() || is_empty {
            &cells
        } else {
            &dialect.names
        };
        Ok(Self {
            columns: columns::unique(names),
            cells: if in_file { cells.clone() } else { Vec::new() },
            wanted: dialect.wanted.clone(),
            is_empty,
        })
    }

    /// Whether the names from one on are all blank, so that a record may end before them.
    pub(super) fn is_blank_from(&self, from: usize) -> bool {
        self.cells.len() == self.columns.len()
            && self.cells[from..].iter().all(|name| name.trim().is_empty())
    }

    /// Whether a record is the header once more.
    pub(super) fn is_again(&self, cells: &[String]) -> bool {
        let same = |(a, b): (&String, &String)| a.trim().eq_ignore_ascii_case(b.trim());
        !self.cells.is_empty()
            && self.cells.len() == cells.len()
            && self.cells.iter().zip(cells).all(same)
    }

    /// Whether a record is another header: it names every column that is wanted, in another order,
    /// among others or in other units.
    pub(super) fn is_other(&self, cells: &[String]) -> bool {
        // Few records have a cell that reads like a name.
        let has = |name: &String| {
            let name = columns::without_unit(name.trim());
            let is_it =
                |cell: &String| columns::without_unit(cell.trim()).eq_ignore_ascii_case(name);
            cells.iter().any(is_it)
        };
        !self.cells.is_empty() && self.wanted.len() > 1 && self.wanted.iter().all(has)
    }
}

/// The first line that has all wanted names; none when the file ends before its first line.
fn find(
    feed: &mut Feed,
    splitter: &Splitter,
    dialect: &Dialect,
) -> Result<Option<Vec<String>>, ReadError> {
    let mut before = Vec::new();
    let mut first: Option<(Vec<String>, u64)> = None;
    let (mut looked_at, mut bytes, mut is_end) = (0, 0, false);
    while looked_at < LINES_LOOKED_AT && bytes < BYTES_LOOKED_AT {
        let Some(line) = feed.next()? else {
            is_end = true;
            break;
        };
        before.push(line);
        let Some(line) = before.last() else { break };
        let text = match &line.text {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => text,
            Err((fault, _)) if first.is_none() => {
                return Err(ReadError {
                    place: feed.place(line.number),
                    why: fault.of_header(),
                });
            }
            Err(_) => break,
        };
        looked_at += 1;
        bytes += text.len();
        let is_comment = feed.is_nothing(text);
        let Ok(cells) = splitter.split(bare(text, dialect)) else {
            let text = text.clone();
            if let Some(cells) = over_lines(&text, feed, splitter, dialect)? {
                feed.left_out += before.len() as u64;
                return Ok(Some(cells));
            }
            continue;
        };
        let names = if dialect.names.is_empty() {
            columns::unique(&cells)
        } else {
            dialect.names.clone()
        };
        let has = |wanted: &String| columns::is_there(&names, wanted);
        let is_sign = text.trim().to_ascii_lowercase().starts_with("sep=");
        let is_header = !is_sign && dialect.wanted.iter().all(has);
        if is_header && (!is_comment || !dialect.wanted.is_empty()) {
            feed.left_out += before.len() as u64;
            return Ok(Some(cells));
        }
        if !is_comment && !is_sign && first.is_none() {
            first = Some((cells, line.number));
        }
    }
    if first.is_none() && is_end && looked_at == 0 {
        feed.left_out += before.len() as u64;
        return Ok(None);
    }
    let Some((cells, number)) = first else {
        return Err(ReadError {
            place: feed.place(1),
            why: "has no header: comments only".to_owned(),
        });
    };
    Err(not_found(feed, dialect, &before, &cells, number))
}

/// What is said where no line has all wanted names: which of them the first line lacks.
fn not_found(
    feed: &Feed,
    dialect: &Dialect,
    before: &[crate::source::Line],
    cells: &[String],
    number: u64,
) -> ReadError {
    let missing = columns::missing_of(&columns::unique(cells), &dialect.wanted);
    let mut why = missing.unwrap_or_else(|| "is no header".to_owned());
    why += &other_delimiter(before, dialect);
    let is_text =
        |line: &&crate::source::Line| line.text.as_ref().is_ok_and(|text| !text.trim().is_empty());
    if before.iter().filter(is_text).count() == LINES_LOOKED_AT {
        why += &format!(
            "; the header was looked for in the first {LINES_LOOKED_AT} lines: where it comes \
             later, skip_lines leaves out what stands before it"
        );
    }
    ReadError {
        place: feed.place(number),
        why,
    }
}

/// The header that begins in a line and has line ends within its names, when it has all wanted ones.
fn over_lines(
    first: &str,
    feed: &mut Feed,
    splitter: &Splitter,
    dialect: &Dialect,
) -> Result<Option<Vec<String>>, ReadError> {
    let mut text = first.to_owned();
    let mut taken = Vec::new();
    while taken.len() < NAME_LINES_MAX && !dialect.wanted.is_empty() {
        let Some(next) = feed.next()? else { break };
        let added = next.text.clone();
        taken.push(next);
        let Ok(added) = added else { break };
        text.push('\n');
        text.push_str(&added);
        let Ok(cells) = splitter.split(&text) else {
            continue;
        };
        let names = columns::unique(&cells);
        if dialect
            .wanted
            .iter()
            .all(|wanted| columns::is_there(&names, wanted))
        {
            feed.left_out += taken.len() as u64;
            return Ok(Some(cells));
        }
        break;
    }
    feed.put_back(taken);
    Ok(None)
}

/// A header may stand in a comment: without its mark.
fn bare<'a>(text: &'a str, dialect: &Dialect) -> &'a str {
    let mark = dialect.comment.as_deref().unwrap_or_default();
    let trimmed = text.trim_start();
    match trimmed.strip_prefix(mark) {
        Some(rest) if !mark.is_empty() => rest.trim_start(),
        _ => text,
    }
}

/// Says which delimiter would give the wanted names, if one would.
fn other_delimiter(lines: &[crate::source::Line], dialect: &Dialect) -> String {
    let texts = lines.iter().filter_map(|line| line.text.as_ref().ok());
    for text in texts {
        for (delimiter, written) in [
            (super::Delimiter::Text(",".to_owned()), ","),
            (super::Delimiter::Text(";".to_owned()), ";"),
            (super::Delimiter::Text("\t".to_owned()), "\\t"),
            (super::Delimiter::Text("|".to_owned()), "|"),
            (super::Delimiter::Blanks, "blanks"),
        ] {
            let other = Dialect {
                delimiter,
                ..dialect.clone()
            };
            let Ok(cells) = Splitter::new(&other).split(bare(text, dialect)) else {
                continue;
            };
            let names = columns::unique(&cells);
            if !dialect.wanted.is_empty()
                && dialect
                    .wanted
                    .iter()
                    .all(|wanted| columns::is_there(&names, wanted))
            {
                return format!("; with delimiter = \"{written}\" it would be there");
            }
        }
    }
    String::new()
}

/// `#1`, `#2` and so on, as many as the first line has cells; none when there is none.
fn numbered(feed: &mut Feed, splitter: &Splitter) -> Result<Option<Vec<String>>, ReadError> {
    let mut before = Vec::new();
    let (mut count, mut is_end) = (0, true);
    while let Some(line) = feed.next()? {
        let cells = match &line.text {
            Ok(text) if !feed.is_nothing(text) => splitter.split(text).ok(),
            _ => None,
        };
        before.push(line);
        if let Some(cells) = cells {
            let blank = cells
                .iter()
                .rev()
                .take_while(|cell| cell.trim().is_empty())
                .count();
            count = cells.len() - blank.min(1);
            is_end = false;
            break;
        }
        if before.len() >= LINES_LOOKED_AT {
            is_end = false;
            break;
        }
    }
    let has_faults = before.iter().any(|line| line.text.is_err());
    feed.put_back(before);
    Ok((!is_end || has_faults).then(|| vec![String::new(); count]))
}
