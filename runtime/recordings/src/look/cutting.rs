//! How the lines of a table of text are cut: separator, quotes, cells that run over several lines.

use super::Looking;
use crate::csv::{Delimiter, Dialect, QUOTED_BYTES_MAX, are_alike};
use crate::mapping::Mapping;

/// A quoted cell among the first rows is looked for over so many lines.
const QUOTED_LINES_MAX: usize = 50;

/// Separators that are tried before others, the likeliest first, as the mapping writes them.
const USUAL: &[(&str, &str)] = &[("\t", "a tab"), (";", "';'"), ("|", "'|'"), (",", "','")];

/// Tried last: blanks stand beside other separators, too.
const BLANKS: (&str, &str) = ("blanks", "blanks");

/// Lines in which other separators are looked for, and most of these.
const LINES_OF_OTHERS: usize = 10;
const OTHERS_MAX: usize = 12;

/// Signs that names, numbers, dates and texts are made of, and those that are tried in any case.
const NO_SEPARATORS: &str = "\"'_.-+/()[]{}<>%°#=*\\,;µ–−’‘“”„…";

/// The first lines of a file.
pub(super) struct Table<'a> {
    pub(super) lines: &'a [String],
    /// What begins a comment.
    pub(super) comment: Option<&'a str>,
}

/// Its rows.
#[derive(Default)]
pub(super) struct Cut {
    /// Their cells.
    pub(super) rows: Vec<Vec<String>>,
    /// Lines in which a quote opens that does not close.
    open: usize,
    /// Whether a quote opens that does not close in its line.
    has_open: bool,
}

impl Cut {
    /// How many lines and rows there are of this width, of all.
    fn share_of(&self, width: usize) -> f64 {
        let even = self.rows.iter().filter(|cells| cells.len() == width);
        even.count() as f64 / (self.rows.len() + self.open).max(1) as f64
    }
}

impl Table<'_> {
    /// Whether a line outside of quotes is one of the table.
    fn is_row(&self, line: &str) -> bool {
        let line = line.trim();
        let is_sign = line.to_ascii_lowercase().starts_with("sep=");
        !line.is_empty() && !is_sign && self.comment.is_none_or(|mark| !line.starts_with(mark))
    }

    fn own_lines(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().filter(|line| self.is_row(line))
    }

    /// The rows as a dialect cuts them. What begins with an open quote goes on in the next lines,
    /// when these end it with as many cells as most rows have.
    pub(super) fn rows(&self, dialect: &Dialect) -> Cut {
        let cut = self.cut(dialect, None);
        if cut.has_open {
            self.cut(dialect, Some(usual_width(&cut.rows)))
        } else {
            cut
        }
    }

    fn cut(&self, dialect: &Dialect, width: Option<usize>) -> Cut {
        let mut cut = Cut::default();
        let mut at = 0;
        while let Some(line) = self.lines.get(at) {
            at += 1;
            if !self.is_row(line) {
                continue;
            }
            match dialect.cut_or_open(line) {
                Ok(cells) => cut.rows.push(without_last(cells)),
                Err(open) => {
                    cut.has_open = true;
                    match self.joined(dialect, at - 1, &open.before, width) {
                        Some((cells, next)) => {
                            cut.rows.push(cells);
                            at = next;
                        }
                        None => cut.open += 1,
                    }
                }
            }
        }
        cut
    }

    /// The row that begins in a line with an open quote, and the line after it. As when the file is
    /// read, a line within that is a row by itself shows that the quote was one too many.
    fn joined(
        &self,
        dialect: &Dialect,
        first: usize,
        before: &[String],
        width: Option<usize>,
    ) -> Option<(Vec<String>, usize)> {
        let mut text = self.lines[first].clone();
        let rest = self.lines.iter().enumerate().skip(first + 1);
        for (at, line) in rest.take(QUOTED_LINES_MAX) {
            let is_row = |width: usize| {
                let least = if before.is_empty() { 3 } else { 2 };
                width >= least
                    && dialect
                        .cut(line)
                        .is_some_and(|cells| cells.len() == width && are_alike(before, &cells))
            };
            if width.is_some_and(is_row) {
                return None;
            }
            text.push('\n');
            text.push_str(line);
            if text.len() > QUOTED_BYTES_MAX {
                return None;
            }
            if !dialect.quote.is_some_and(|quote| line.contains(quote)) {
                continue;
            }
            match dialect.cut_or_open(&text) {
                Ok(cells) => {
                    let cells = without_last(cells);
                    // A last name that is blank was taken for a separator at the end.
                    let fits = |width: usize| cells.len() == width || cells.len() + 1 == width;
                    return width.is_none_or(fits).then_some((cells, at + 1));
                }
                Err(open) if open.is_final => return None,
                Err(_) => {}
            }
        }
        None
    }
}

fn dialect(delimiter: &str) -> Dialect {
    Dialect {
        delimiter: match delimiter {
            "blanks" => Delimiter::Blanks,
            text => Delimiter::Text(text.to_owned()),
        },
        ..Dialect::default()
    }
}

/// The cells of a line.
pub(super) fn cells(dialect: &Dialect, line: &str) -> Option<Vec<String>> {
    dialect.cut(line).map(without_last)
}

/// A separator at the end of each line begins no column.
fn without_last(mut cells: Vec<String>) -> Vec<String> {
    if cells.len() > 1 && cells.last().is_some_and(|cell| cell.trim().is_empty()) {
        cells.pop();
    }
    cells
}

/// The separator as the mapping writes it, and in words.
pub(super) fn delimiter(table: &Table<'_>) -> (String, String) {
    let said = table.lines.iter().find_map(|line| {
        let sign = line.trim().to_ascii_lowercase();
        sign.strip_prefix("sep=").map(str::to_owned)
    });
    let mut best = (",".to_owned(), "','".to_owned());
    let mut most = 0.0;
    let known = |(delimiter, words): &(&str, &str)| ((*delimiter).to_owned(), (*words).to_owned());
    let tried = USUAL
        .iter()
        .map(known)
        .chain(others(table).into_iter().map(|other| {
            let words = in_words(&other);
            (other, words)
        }))
        .chain([known(&BLANKS)]);
    for (delimiter, words) in tried {
        let cut = table.rows(&dialect(&delimiter));
        let width = usual_width(&cut.rows);
        if width < 2 {
            continue;
        }
        if said.as_deref() == Some(delimiter.trim()) {
            return (delimiter, words);
        }
        let rows = cut.rows.iter().filter(|cells| cells.len() == width);
        let (count, clean) = rows.flatten().fold((0_u64, 0_u64), |(count, clean), cell| {
            (count + 1, clean + u64::from(is_clean(cell)))
        });
        let score = clean as f64 / count as f64 * cut.share_of(width);
        if score > most + 1e-9 {
            (best, most) = ((delimiter, words), score);
        }
    }
    best
}

/// Signs, or several together, that may stand between cells though they seldom do.
fn others(table: &Table<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in table.own_lines().take(LINES_OF_OTHERS) {
        let separates = |sign: char| {
            !sign.is_alphanumeric() && !sign.is_whitespace() && !NO_SEPARATORS.contains(sign)
        };
        for run in line.split(|sign: char| !separates(sign)) {
            // One colon stands in times.
            let is_new = !["", ":", "|"].contains(&run) && !found.iter().any(|known| known == run);
            if is_new && run.chars().count() <= 3 && found.len() < OTHERS_MAX {
                found.push(run.to_owned());
            }
        }
    }
    found
}

/// A separator for people: control characters by their numbers.
fn in_words(delimiter: &str) -> String {
    match delimiter.chars().next() {
        Some(sign) if sign.is_control() => format!("the sign U+{:04X}", u32::from(sign)),
        _ => format!("'{delimiter}'"),
    }
}

/// Ways of quoting, the usual one first: quote, escape, and what stands in a line that needs it.
/// That there are no quotes is not guessed: a quote that does not close is more often a mistake.
const QUOTES: &[(&str, Option<&str>, &str)] = &[
    ("\"", None, "\""),
    ("'", None, "'"),
    ("\"", Some("\\"), "\\\""),
];

/// Finds how cells are quoted: the way by which most rows have the same number of cells.
pub(super) fn quotes(table: &Table<'_>, mapping: &mut Mapping, looking: &mut Looking) {
    let mut most = 0.0;
    let mut best = None;
    for (quote, escape, mark) in QUOTES {
        if best.is_some() && !table.own_lines().any(|line| line.contains(mark)) {
            continue;
        }
        let mut dialect = dialect(&mapping.delimiter);
        dialect.quote = quote.chars().next();
        dialect.escape = escape.and_then(|escape| escape.chars().next());
        let cut = table.rows(&dialect);
        let even = cut.share_of(usual_width(&cut.rows));
        if even > most + 1e-9 {
            (most, best) = (even, Some((*quote, *escape)));
        }
    }
    let Some((quote, escape)) = best.filter(|best| *best != ("\"", None)) else {
        return;
    };
    mapping.quote = quote.to_owned();
    mapping.escape = escape.map(str::to_owned);
    looking.findings.push(match (quote, escape) {
        (quote, None) => format!("quotes: {quote}"),
        (quote, Some(escape)) => format!("quotes: {quote}, escaped by {escape}"),
    });
}

/// The number of cells that most rows have.
pub(super) fn usual_width(rows: &[Vec<String>]) -> usize {
    let mut counts = std::collections::BTreeMap::new();
    for cells in rows {
        *counts.entry(cells.len()).or_insert(0usize) += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(width, count)| (*count, *width))
        .map_or(1, |(width, _)| width)
}

/// Whether a cell looks whole: no other separator stands in it, but as a decimal sign.
fn is_clean(cell: &str) -> bool {
    let cell = cell.trim();
    let is_number = cell
        .chars()
        .all(|sign| sign.is_ascii_digit() || "+-.,eE".contains(sign));
    (is_number && cell.matches(',').count() <= 1) || !cell.contains(['\t', ';', '|', ','])
}
