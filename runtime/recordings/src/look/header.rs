//! Where the names of the columns stand in a table of text.

use super::Looking;
use super::apart::{is_clock, is_date};
use super::cutting::cells;
use super::roles::is_time_name;
use super::text::signs;
use crate::csv::Dialect;
use crate::mapping::{Header, Mapping};
use crate::records::shown;
use crate::times::forms;

/// Rows among which the names are looked for.
const HEADER_MAX: usize = 100;

/// Most lines of units below the names.
const UNIT_LINES_MAX: usize = 3;

/// What is found of the names of the columns.
pub(super) struct Names {
    /// Unique names, from the left.
    pub(super) names: Vec<String>,
    /// What stands in a line of units below them.
    pub(super) units: Vec<String>,
}

/// Whether a cell is a value rather than a name.
fn is_value(cell: &str, decimal: char) -> bool {
    let cell = cell.trim();
    cell.replace(decimal, ".").parse::<f64>().is_ok()
        || signs(cell).is_some()
        || (!cell.is_empty() && !forms(&[cell]).is_empty())
}

/// Finds the line of names, and those of units below it.
pub(super) fn names(
    lines: &[String],
    cut: &[Vec<String>],
    width: usize,
    dialect: &Dialect,
    mapping: &mut Mapping,
    looking: &mut Looking,
) -> Names {
    let padded = padded(lines, cut, width, dialect, mapping.decimal);
    let rows: Vec<&Vec<String>> = padded.iter().collect();
    if let Some(at) = header(&rows, mapping.decimal) {
        let head = rows[at];
        let units = units(&rows[at + 1..], mapping.decimal);
        if let Some(first) = units.first() {
            mapping.skip_after_header = units.len() as u64;
            looking.findings.push(format!(
                "below the names, {} of units and the like: {}",
                if units.len() == 1 { "a line" } else { "lines" },
                shown(&first.join(", "))
            ));
        }
        said_preamble(lines, head, dialect, looking);
        return Names {
            names: head.clone(),
            units: units
                .first()
                .map(|units| (*units).clone())
                .unwrap_or_default(),
        };
    }
    // The names may stand in a comment above.
    if let Some(mark) = &mapping.comment {
        let above = lines
            .iter()
            .take_while(|line| line.trim().is_empty() || line.trim_start().starts_with(mark))
            .filter_map(|line| cells(dialect, line.trim_start().trim_start_matches(mark.as_str())))
            .filter(|cells| cells.len() == width && values(cells, mapping.decimal) == 0)
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
    if rows.is_empty() {
        return Names {
            names: cut.first().cloned().unwrap_or_default(),
            units: Vec::new(),
        };
    }
    mapping.header = Header::None;
    Names {
        names: without_header(lines, &rows, dialect, mapping, looking),
        units: Vec::new(),
    }
}

/// Names for rows above which none are. What stands before the first row is left out.
fn without_header(
    lines: &[String],
    rows: &[&Vec<String>],
    dialect: &Dialect,
    mapping: &mut Mapping,
    looking: &mut Looking,
) -> Vec<String> {
    let width = rows[0].len();
    let is_first = |line: &String| cells(dialect, line).is_some_and(|cells| cells == *rows[0]);
    let first = lines.iter().position(is_first).unwrap_or(0);
    let mark = mapping.comment.as_deref();
    let above = lines[..first].iter().rev().find(|line| {
        let line = line.trim();
        !line.is_empty() && mark.is_none_or(|mark| !line.starts_with(mark))
    });
    if let Some(above) = above {
        mapping.skip_lines = first as u64;
        let known = cells(dialect, above).and_then(|names| {
            one_above_two(&names, rows)
                .map(|names| (names, "one name above date and time, which stand apart"))
                .or_else(|| {
                    Some((
                        none_above_numbers(&names, rows)?,
                        "no name above row numbers",
                    ))
                })
        });
        if let Some((names, how)) = known {
            looking
                .findings
                .push(format!("header: line {first}, {how}"));
            mapping.names.clone_from(&names);
            return names;
        }
    }
    looking.findings.push(match first {
        0 => "header: none, the first line is a row".to_owned(),
        first => format!("header: none, the first row is line {}", first + 1),
    });
    (1..=width).map(|number| format!("#{number}")).collect()
}

/// The names for rows whose times have a separator in them, as of `time value` above
/// `2026-01-31 08:00:00 1.5`.
fn one_above_two(names: &[String], rows: &[&Vec<String>]) -> Option<Vec<String>> {
    let is_time = |name: &String| is_time_name(name) || name.to_lowercase().contains("time");
    let at = names.iter().position(is_time)?;
    let are_apart = |cells: &&Vec<String>| {
        cells.len() == names.len() + 1 && is_date(&cells[at]) && is_clock(&cells[at + 1])
    };
    if !rows.iter().take(HEADER_MAX).all(are_apart) {
        return None;
    }
    let mut names = names.to_vec();
    names.splice(at..=at, ["date".to_owned(), "time".to_owned()]);
    Some(names)
}

/// The names for rows that begin with their numbers, as programs for statistics write tables.
fn none_above_numbers(names: &[String], rows: &[&Vec<String>]) -> Option<Vec<String>> {
    let number = |cells: &Vec<String>| cells[0].trim().parse::<u64>().ok();
    let first = number(rows.first()?)?;
    let is_numbered = |(at, cells): (u64, &&Vec<String>)| {
        cells.len() == names.len() + 1 && number(cells) == first.checked_add(at)
    };
    let is_text = |name: &String| !name.trim().is_empty() && name.trim().parse::<f64>().is_err();
    if !names.iter().all(is_text) || !(0..).zip(rows.iter().take(HEADER_MAX)).all(is_numbered) {
        return None;
    }
    Some([&["row".to_owned()][..], names].concat())
}

/// The lines of the usual width, and names among them whose last one is blank: it was taken for a
/// separator at the end of the line.
fn padded(
    lines: &[String],
    cut: &[Vec<String>],
    width: usize,
    dialect: &Dialect,
    decimal: char,
) -> Vec<Vec<String>> {
    // Names with line ends in them are in no line as a whole.
    let is_blank_behind = |cells: &[String]| {
        cells.iter().any(|name| name.contains('\n'))
            || lines.iter().any(|line| {
                dialect
                    .cut(line)
                    .is_some_and(|whole| whole.len() == width && whole.starts_with(cells))
            })
    };
    let pad = |cells: &Vec<String>| match width.checked_sub(cells.len())? {
        0 => Some(cells.clone()),
        1 if width > 2
            && names_a_time(cells)
            && values(cells, decimal) == 0
            && is_blank_behind(cells) =>
        {
            Some([cells.as_slice(), &[String::new()]].concat())
        }
        _ => None,
    };
    cut.iter().filter_map(pad).collect()
}

fn names_a_time(cells: &[String]) -> bool {
    cells.iter().any(|cell| is_time_name(cell))
}

/// How many cells are values rather than names.
fn values(cells: &[String], decimal: char) -> usize {
    cells.iter().filter(|cell| is_value(cell, decimal)).count()
}

/// Which row has the names: of those without values the one that names a time, or after which most
/// rows are alike.
fn header(rows: &[&Vec<String>], decimal: char) -> Option<usize> {
    let is_count = |cells: &[String]| {
        cells.len() > 1
            && cells
                .iter()
                .enumerate()
                .all(|(at, cell)| cell.trim() == at.to_string())
    };
    if rows.first().is_some_and(|first| is_count(first)) {
        return Some(0);
    }
    let alike = |at: usize| {
        let mut below = rows[at + 1..]
            .iter()
            .map(|cells| values(cells, decimal))
            .skip_while(|values| *values == 0);
        match below.next() {
            Some(first) => 1 + below.take_while(|values| *values == first).count(),
            None => 0,
        }
    };
    rows.iter()
        .enumerate()
        .take(HEADER_MAX)
        .filter(|(_, cells)| values(cells, decimal) == 0)
        .filter(|(at, cells)| {
            *at == 0 || names_a_time(cells) || cells.iter().all(|cell| !cell.trim().is_empty())
        })
        .max_by_key(|(at, cells)| (names_a_time(cells), alike(*at), std::cmp::Reverse(*at)))
        .map(|(at, _)| at)
}

/// The lines below the names that have no values, when those that follow do.
fn units<'a>(below: &[&'a Vec<String>], decimal: char) -> Vec<&'a Vec<String>> {
    let is_unit_line = |cells: &&&Vec<String>| {
        let short = |cell: &String| cell.trim().chars().count() <= 12;
        values(cells, decimal) == 0 && cells.iter().all(short)
    };
    let units: Vec<&Vec<String>> = below.iter().take_while(is_unit_line).copied().collect();
    let mut others = below[units.len()..].iter().take(5).peekable();
    let follow =
        others.peek().is_some() && others.all(|cells| values(cells, decimal) * 2 > cells.len());
    if follow && units.len() <= UNIT_LINES_MAX {
        units
    } else {
        Vec::new()
    }
}

/// Says how many lines stand before the names.
fn said_preamble(lines: &[String], head: &[String], dialect: &Dialect, looking: &mut Looking) {
    let at = lines
        .iter()
        .position(|line| cells(dialect, line).is_some_and(|cells| cells == head));
    if let Some(at) = at.filter(|at| *at > 0) {
        let lines = if at == 1 { "line" } else { "lines" };
        looking.findings.push(format!(
            "header: line {}, after {at} {lines} of a preamble",
            at + 1
        ));
    }
}
