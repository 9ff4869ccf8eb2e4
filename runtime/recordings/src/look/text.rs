//! How a table of text is written: encoding, separator, decimal sign, where its names stand.

use super::Looking;
use super::cutting::{self, Table, usual_width};
use super::header::{self, Names};
use crate::columns::unique;
use crate::mapping::Mapping;
use crate::records::{Place, ReadError};
use crate::source::{Input, LineFault, Lines};

/// Lines by which the form of a table is judged.
const LINES_MAX: usize = 300;

/// Their bytes.
const BYTES_MAX: usize = 4 << 20;

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
    let table = Table {
        lines: &lines,
        comment,
    };
    let (delimiter, words) = cutting::delimiter(&table);
    mapping.delimiter = delimiter;
    cutting::quotes(&table, mapping, looking);
    let dialect = mapping.dialect().map_err(|error| ReadError {
        place: Place {
            file: file.into(),
            line: 1,
        },
        why: error.to_string(),
    })?;
    let cut = table.rows(&dialect).rows;
    let width = usual_width(&cut);
    let rows: Vec<&Vec<String>> = cut.iter().filter(|cells| cells.len() == width).collect();
    numbers(&rows, mapping, looking);
    let mut found = header::names(&lines, &cut, width, &dialect, mapping, looking);
    let is_whole = |line: &&String| {
        let line = line.trim();
        line.len() > 1 && line.starts_with('"') && line.ends_with('"')
    };
    let has_cells = |cells: &&Vec<String>| cells[0].contains([',', ';', '\t']);
    if width == 1
        && rows.len() > 1
        && rows.iter().all(has_cells)
        && lines.iter().filter(is_whole).count() >= rows.len()
    {
        looking.unclear.push(
            "each line is quoted as a whole, so that it is one cell: take these quotes away first, such as with sed -e 's/^\"//' -e 's/\"$//' -e 's/\"\"/\"/g'"
                .to_owned(),
        );
    }
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
        let (mut undecoded, mut bytes) = (false, 0);
        while found.len() < LINES_MAX && bytes < BYTES_MAX && !undecoded {
            let next = match lines.next_line() {
                // Of a file that breaks off, what came before is looked at.
                Err(_) if !found.is_empty() => break,
                next => next?,
            };
            match next.map(|line| line.text) {
                Some(Ok(text)) => {
                    bytes += text.len();
                    found.push(text);
                }
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
