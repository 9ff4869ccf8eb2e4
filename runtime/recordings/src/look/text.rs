//! How a table of text is written: encoding, separator, decimal sign, where its names stand.

use super::Looking;
use crate::columns::unique;
use crate::csv::{Delimiter, Dialect};
use crate::mapping::{Header, Mapping};
use crate::records::{ReadError, shown};
use crate::source::{Input, LineFault, Lines};
use crate::times::forms;

/// Lines by which the form of a table is judged.
const LINES_MAX: usize = 300;

/// Separators that are tried, the likeliest first, as the mapping writes them.
const DELIMITERS: &[(&str, &str)] = &[
    ("\t", "a tab"),
    (";", "';'"),
    ("|", "'|'"),
    (",", "','"),
    ("blanks", "blanks"),
];

/// What is found of the names of the columns.
pub(super) struct Names {
    /// Unique names, from the left.
    pub(super) names: Vec<String>,
    /// What stands in a line of units below them.
    pub(super) units: Vec<String>,
}

/// Looks at a table of text and sets the mapping's keys.
pub(super) fn look(
    file: &str,
    mapping: &mut Mapping,
    looking: &mut Looking,
) -> Result<Names, ReadError> {
    let lines = read(file, mapping, looking)?;
    let comment = ["#", "%", "//"].into_iter().find(|mark| {
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
    let (delimiter, words, width) = delimiter(&lines, &table);
    mapping.delimiter = delimiter.to_owned();
    let cut: Vec<Vec<String>> = table
        .iter()
        .filter_map(|line| cells(delimiter, line))
        .collect();
    let rows: Vec<&Vec<String>> = cut.iter().filter(|cells| cells.len() == width).collect();
    numbers(&rows, mapping, looking);
    let mut found = names(&lines, &cut, width, delimiter, mapping, looking);
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

fn dialect(delimiter: &str) -> Dialect {
    Dialect {
        delimiter: match delimiter {
            "blanks" => Delimiter::Blanks,
            text => Delimiter::Text(text.to_owned()),
        },
        ..Dialect::default()
    }
}

fn cells(delimiter: &str, line: &str) -> Option<Vec<String>> {
    let mut cells = dialect(delimiter).cut(line)?;
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
        let cut: Vec<Vec<String>> = table
            .iter()
            .filter_map(|line| cells(delimiter, line))
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
fn signs(cell: &str) -> Option<(Option<char>, Option<char>)> {
    let cell = cell.trim().trim_start_matches(['+', '-']);
    if !cell.starts_with(|sign: char| sign.is_ascii_digit())
        || !cell
            .chars()
            .all(|sign| sign.is_ascii_digit() || ".,'".contains(sign))
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
    Some(if first != last {
        (Some(last), Some(first))
    } else if found.len() > 1 {
        // The same sign several times groups, or the cell is no number (a version, a date).
        (None, Some(first).filter(|sign| groups(*sign)))
    } else if last == '\'' {
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
    let (mut commas, mut points, mut either, mut groups) = (0u64, 0u64, 0u64, Vec::new());
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
            Some((None, None)) => either += u64::from(cell.contains(',')),
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
    }
}

/// Whether a cell is a value rather than a name.
fn is_value(cell: &str, decimal: char) -> bool {
    let cell = cell.trim();
    cell.replace(decimal, ".").parse::<f64>().is_ok()
        || signs(cell).is_some()
        || (!cell.is_empty() && !forms(&[cell]).is_empty())
}

/// Finds the line of names, and that of units below it.
fn names(
    lines: &[String],
    cut: &[Vec<String>],
    width: usize,
    delimiter: &str,
    mapping: &mut Mapping,
    looking: &mut Looking,
) -> Names {
    let values = |cells: &[String]| {
        cells
            .iter()
            .filter(|cell| is_value(cell, mapping.decimal))
            .count()
    };
    let is_count = |cells: &[String]| {
        cells.len() > 1
            && cells
                .iter()
                .enumerate()
                .all(|(at, cell)| cell.trim() == at.to_string())
    };
    let first = cut.iter().position(|cells| cells.len() == width);
    let Some(first) = first else {
        return Names {
            names: cut.first().cloned().unwrap_or_default(),
            units: Vec::new(),
        };
    };
    let head = &cut[first];
    if values(head) == 0 || is_count(head) {
        let units = units(cut, first, width, &values);
        if !units.is_empty() {
            mapping.skip_after_header = 1;
            looking.findings.push(format!(
                "the line below the names is one of units: {}",
                shown(&units.join(", "))
            ));
        }
        said_preamble(lines, &head.join(" "), delimiter, looking);
        return Names {
            names: head.clone(),
            units,
        };
    }
    // The names may stand in a comment above.
    if let Some(mark) = &mapping.comment {
        let above = lines
            .iter()
            .take_while(|line| line.trim().is_empty() || line.trim_start().starts_with(mark))
            .filter_map(|line| {
                cells(
                    delimiter,
                    line.trim_start().trim_start_matches(mark.as_str()),
                )
            })
            .filter(|cells| cells.len() == width && values(cells) == 0)
            .last();
        if let Some(names) = above {
            looking
                .findings
                .push("the names of the columns stand in a comment".to_owned());
            return Names {
                names,
                units: Vec::new(),
            };
        }
    }
    mapping.header = Header::None;
    looking
        .findings
        .push("header: none, the first line is a row".to_owned());
    Names {
        names: (1..=width).map(|number| format!("#{number}")).collect(),
        units: Vec::new(),
    }
}

/// The line below the names, when it has no values and those that follow do.
fn units(
    cut: &[Vec<String>],
    head: usize,
    width: usize,
    values: &dyn Fn(&[String]) -> usize,
) -> Vec<String> {
    let below: Vec<&Vec<String>> = cut[head + 1..]
        .iter()
        .filter(|cells| cells.len() == width)
        .take(5)
        .collect();
    let Some((first, others)) = below.split_first() else {
        return Vec::new();
    };
    let short = first.iter().all(|cell| cell.trim().chars().count() <= 12);
    let is_units = short
        && values(first) == 0
        && first.iter().any(|cell| !cell.trim().is_empty())
        && !others.is_empty()
        && others.iter().all(|cells| values(cells) * 2 > width);
    if is_units {
        (*first).clone()
    } else {
        Vec::new()
    }
}

/// Says how many lines stand before the names.
fn said_preamble(lines: &[String], head: &str, delimiter: &str, looking: &mut Looking) {
    let at = lines
        .iter()
        .position(|line| cells(delimiter, line).is_some_and(|cells| cells.join(" ") == head));
    if let Some(at) = at.filter(|at| *at > 0) {
        looking.findings.push(format!(
            "header: line {}, after {at} lines of a preamble",
            at + 1
        ));
    }
}
