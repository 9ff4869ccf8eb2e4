//! How a table of text is written: encoding, separator, decimal sign, where its names stand.

use super::Looking;
use super::header::{self, Names};
use crate::columns::unique;
use crate::csv::{Delimiter, Dialect};
use crate::mapping::Mapping;
use crate::records::{Place, ReadError};
use crate::source::{Input, LineFault, Lines};

/// Lines by which the form of a table is judged.
const LINES_MAX: usize = 300;

/// Lines over which the names may go.
const NAME_LINES_MAX: usize = 50;

/// Separators that are tried, the likeliest first, as the mapping writes them.
const DELIMITERS: &[(&str, &str)] = &[
    ("\t", "a tab"),
    (";", "';'"),
    ("|", "'|'"),
    (",", "','"),
    ("blanks", "blanks"),
];

/// Looks at a table of text and sets the mapping's keys.
pub(super) fn look(
    file: &str,
    mapping: &mut Mapping,
    looking: &mut Looking,
) -> Result<Names, ReadError> {
    let lines = read(file, mapping, looking)?;
    let comment = ["#", "%", "//", "~", "!"].into_iter().find(|mark| {
        let marked = lines
            .iter()
            .filter(|line| line.trim_start().starts_with(mark));
        marked.count() > 1
    });
    mapping.comment = comment.map(str::to_owned);
    let is_table = |line: &&String| {
        let line = line.trim();
        let is_sign = line.to_ascii_lowercase().starts_with("sep=");
        !line.is_empty() && !is_sign && comment.is_none_or(|mark| !line.starts_with(mark))
    };
    let table: Vec<&str> = lines.iter().filter(is_table).map(String::as_str).collect();
    let (delimiter, words, _) = delimiter(&lines, &table);
    mapping.delimiter = delimiter.to_owned();
    quotes(&table, mapping, looking);
    let cutting = mapping.dialect().map_err(|error| ReadError {
        place: Place {
            file: file.into(),
            line: 1,
        },
        why: error.to_string(),
    })?;
    let cut = cut(&cutting, &table);
    let width = usual_width(&cut);
    let rows: Vec<&Vec<String>> = cut.iter().filter(|cells| cells.len() == width).collect();
    numbers(&rows, mapping, looking);
    let mut found = header::names(&lines, &cut, width, &cutting, mapping, looking);
    if width == 1 && found.names.len() == 1 {
        looking
            .findings
            .push("separator: none, there is one column".to_owned());
    } else {
        looking.findings.push(format!(
            "separator: {words}, {} columns; decimal sign: '{}'",
            found.names.len(),
            mapping.decimal
        ));
    }
    found.names = unique(&found.names);
    Ok(found)
}

/// The first lines; an encoding that fits them is found.
fn read(
    file: &str,
    mapping: &mut Mapping,
    looking: &mut Looking,
) -> Result<Vec<String>, ReadError> {
    for encoding in [mapping.encoding.clone(), Some("windows-1252".to_owned())] {
        let mut lines = Lines::new(Input::open(file)?, encoding.as_deref())?;
        let mut found = Vec::new();
        let mut undecoded = false;
        while found.len() < LINES_MAX && !undecoded {
            match lines.next_line()?.map(|line| line.text) {
                Some(Ok(text)) => found.push(text),
                Some(Err((LineFault::NotText { is_assumed: true }, _))) => undecoded = true,
                Some(Err(_)) => {}
                None => break,
            }
        }
        if !undecoded {
            if encoding != mapping.encoding {
                looking.findings.push(
                    "encoding: no UTF-8; taken as windows-1252 (Latin-1), the usual one of Western Europe"
                        .to_owned(),
                );
                mapping.encoding = encoding;
            }
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The cells of lines. Names may have line ends in them: what begins with an open quote goes on in
/// the next lines, when these end it with as many cells as most lines have.
fn cut(dialect: &Dialect, table: &[&str]) -> Vec<Vec<String>> {
    let mut cut: Vec<Option<Vec<String>>> = table.iter().map(|line| cells(dialect, line)).collect();
    let whole: Vec<Vec<String>> = cut.iter().flatten().cloned().collect();
    let width = usual_width(&whole);
    // A last name that is blank was taken for a separator at the end.
    let fits = |count: usize| width > 1 && (count == width || count + 1 == width);
    if let Some(open) = cut.iter().position(Option::is_none) {
        let joined = (open + 1..table.len().min(open + NAME_LINES_MAX))
            .find_map(|end| Some((end, cells(dialect, &table[open..=end].join("\n"))?)));
        if let Some((end, names)) = joined.filter(|(_, names)| fits(names.len())) {
            cut.splice(open..=end, [Some(names)]);
        }
    }
    cut.into_iter().flatten().collect()
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
    let mut cells = dialect.cut(line)?;
    // A separator at the end of each line begins no column.
    if cells.len() > 1 && cells.last().is_some_and(|cell| cell.trim().is_empty()) {
        cells.pop();
    }
    Some(cells)
}

/// The separator, in words, and how many cells most lines have with it.
fn delimiter(lines: &[String], table: &[&str]) -> (&'static str, &'static str, usize) {
    let said = lines.iter().find_map(|line| {
        let sign = line.trim().to_ascii_lowercase();
        sign.strip_prefix("sep=").map(str::to_owned)
    });
    let mut best = (",", "','", 1);
    let mut most = 0.0;
    for (delimiter, words) in DELIMITERS {
        let dialect = dialect(delimiter);
        let cut: Vec<Vec<String>> = table
            .iter()
            .filter_map(|line| cells(&dialect, line))
            .collect();
        let width = usual_width(&cut);
        if said.as_deref() == Some(delimiter.trim()) && width > 1 {
            return (delimiter, words, width);
        }
        if width < 2 {
            continue;
        }
        let rows: Vec<&Vec<String>> = cut.iter().filter(|cells| cells.len() == width).collect();
        let count = rows.iter().map(|cells| cells.len()).sum::<usize>() as f64;
        let clean = rows
            .iter()
            .flat_map(|cells| cells.iter())
            .filter(|cell| is_clean(cell))
            .count() as f64;
        let score = clean / count * rows.len() as f64 / table.len().max(1) as f64;
        if score > most + 1e-9 {
            (best, most) = ((*delimiter, *words, width), score);
        }
    }
    best
}

/// Ways of quoting, the usual one first: quote, escape, and what stands in a line that needs it.
/// That there are no quotes is not guessed: a quote that does not close is more often a mistake.
const QUOTES: &[(&str, Option<&str>, &str)] = &[
    ("\"", None, "\""),
    ("'", None, "'"),
    ("\"", Some("\\"), "\\\""),
];

/// Finds how cells are quoted: the way by which most lines have the same number of cells.
fn quotes(table: &[&str], mapping: &mut Mapping, looking: &mut Looking) {
    let mut most = 0;
    let mut best = None;
    for (quote, escape, mark) in QUOTES {
        if best.is_some() && !table.iter().any(|line| line.contains(mark)) {
            continue;
        }
        let mut dialect = dialect(&mapping.delimiter);
        dialect.quote = quote.chars().next();
        dialect.escape = escape.and_then(|escape| escape.chars().next());
        let cut: Vec<Vec<String>> = table
            .iter()
            .filter_map(|line| cells(&dialect, line))
            .collect();
        let width = usual_width(&cut);
        let even = cut.iter().filter(|cells| cells.len() == width).count();
        if even > most {
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

/// The number of cells that most lines have.
fn usual_width(cut: &[Vec<String>]) -> usize {
    let mut counts = std::collections::BTreeMap::new();
    for cells in cut {
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

/// How a text that may be a number with signs in it uses them: decimal sign, sign of thousands.
pub(super) fn signs(cell: &str) -> Option<(Option<char>, Option<char>)> {
    let cell = cell.trim().trim_start_matches(['+', '-']);
    let cell = &cell
        .replace(['\u{a0}', '\u{202f}', '\u{2009}'], " ")
        .replace('\u{2019}', "'");
    if !cell.starts_with(|sign: char| sign.is_ascii_digit())
        || !cell
            .chars()
            .all(|sign| sign.is_ascii_digit() || ".,' ".contains(sign))
    {
        return None;
    }
    let found: Vec<(usize, char)> = cell
        .char_indices()
        .filter(|(_, sign)| !sign.is_ascii_digit())
        .collect();
    let (at, last) = *found.last()?;
    let groups = |sign: char| {
        let mut parts = cell.split(sign);
        let first = parts
            .next()
            .is_some_and(|part| (1..=3).contains(&part.len()));
        first && parts.all(|part| part.split(['.', ',']).next().map(str::len) == Some(3))
    };
    let first = found[0].1;
    // What stands around a blank is a number only when it groups digits.
    if cell.contains(' ') && !groups(' ') {
        return None;
    }
    Some(if first != last {
        (Some(last), Some(first))
    } else if found.len() > 1 {
        // The same sign several times groups, or the cell is no number (a version, a date).
        (None, Some(first).filter(|sign| groups(*sign)))
    } else if last == '\'' || last == ' ' {
        (None, Some(last))
    } else if cell.len() - at - 1 == 3 && at <= 3 && !cell.starts_with('0') {
        // 1,234 can be either.
        (None, None)
    } else {
        (Some(last), None)
    })
}

/// Finds the decimal sign and that of thousands.
fn numbers(rows: &[&Vec<String>], mapping: &mut Mapping, looking: &mut Looking) {
    let (mut commas, mut points, mut groups) = (0u64, 0u64, Vec::new());
    let (mut either, mut either_point) = (0u64, 0u64);
    for cell in rows.iter().flat_map(|cells| cells.iter()) {
        match signs(cell) {
            Some((Some(','), group)) => {
                commas += 1;
                groups.extend(group);
            }
            Some((Some(_), group)) => {
                points += 1;
                groups.extend(group);
            }
            Some((None, Some(group))) => groups.push(group),
            Some((None, None)) => {
                either += u64::from(cell.contains(','));
                either_point += u64::from(cell.contains('.'));
            }
            None => {}
        }
    }
    if commas > points && !groups.contains(&',') {
        mapping.decimal = ',';
    }
    if let Some(group) = groups.iter().find(|group| **group != mapping.decimal) {
        mapping.thousands = Some(*group);
        looking
            .findings
            .push(format!("thousands are separated by '{group}'"));
    } else if either > 0 && commas + points == 0 {
        looking.unclear.push(
            "numbers such as 1,234 can be one and a bit or more than a thousand: give decimal = \",\" or thousands = \",\""
                .to_owned(),
        );
    } else if either > 0 && points > 0 && mapping.decimal == '.' {
        mapping.thousands = Some(',');
        looking
            .findings
            .push("thousands are separated by ','".to_owned());
    } else if either_point > 0 && points == 0 && mapping.decimal == ',' {
        // Where commas are decimal signs, a point is none.
        mapping.thousands = Some('.');
        looking
            .findings
            .push("thousands are separated by '.'".to_owned());
    }
}
