use super::{CsvReader, Delimiter, Dialect, QUOTED_LINES_MAX};
use crate::records::{Cell, Records};
use crate::source::Input;

fn reader(text: &str, dialect: &Dialect) -> CsvReader {
    let input = Input::of("in", Box::new(std::io::Cursor::new(text.to_owned()))).unwrap();
    CsvReader::open(input, None, dialect).unwrap()
}

/// Records as text, refusals as their line.
fn records(text: &str, dialect: &Dialect) -> Vec<String> {
    let mut reader = reader(text, dialect);
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(match record {
            Ok(record) => {
                let texts = record.cells.into_iter().map(|cell| match cell {
                    Cell::Text(text) => text,
                    other => panic!("{other:?}"),
                });
                texts.collect::<Vec<_>>().join("|")
            }
            Err(refusal) => format!("!{}", refusal.place.line),
        });
    }
    records
}

#[test]
fn a_cell_of_many_lines_has_a_bound() {
    let lines = |count: usize| format!("a,b\n1,\"x\n{}y\"\n2,z\n", "more\n".repeat(count));
    let short = records(&lines(QUOTED_LINES_MAX - 1), &Dialect::default());
    assert_eq!((short.len(), short[1].as_str()), (2, "2|z"));
    let long = records(&lines(QUOTED_LINES_MAX), &Dialect::default());
    assert_eq!(
        long.first().map(String::as_str),
        Some("!2"),
        "its line is refused alone"
    );
    assert_eq!(
        long.last().map(String::as_str),
        Some("2|z"),
        "and reading goes on"
    );
    let wide = format!("a,b\n1,\"{}\ny\"\n2,z\n", "x".repeat(70_000));
    assert_eq!(records(&wide, &Dialect::default()), ["!2", "!3", "2|z"]);
}

#[test]
fn many_open_quotes_are_read_in_time() {
    let text = format!("a,b\n{}", "1,\"open\n".repeat(20_000));
    let read = records(&text, &Dialect::default());
    assert_eq!(read.len(), 20_000);
    assert!(read.iter().all(|record| record.starts_with('!')));
}

#[test]
fn the_first_record_decides_about_separators_at_the_end_of_lines() {
    let read = |text: &str| records(text, &Dialect::default());
    assert_eq!(
        read("a,b\n1,2,\n3,4,\n5,6\n7,,\n"),
        ["1|2", "3|4", "!4", "7|"]
    );
    assert_eq!(read("a,b\n1,2\n3,4,\n"), ["1|2", "!3"]);
    assert_eq!(read("a,b,,\n1,2\n3,4\n"), ["1|2||", "3|4||"]);
    assert_eq!(read("a,b\n1\n1,2\n"), ["!2", "1|2"]);
}

#[test]
fn lines_that_are_no_rows_are_counted_apart() {
    let dialect = Dialect {
        comment: Some("#".to_owned()),
        footer_lines: 2,
        ..Dialect::default()
    };
    let mut reader = reader("# c\na,b\n\n1,2\na,b\n3,4\n\nsum,1\n\nend\n", &dialect);
    let mut count = 0;
    while reader.next_record().unwrap().is_some() {
        count += 1;
    }
    assert_eq!((count, reader.left_out()), (2, 8));
}

#[test]
fn a_header_is_found_behind_a_hundred_lines_at_most() {
    let dialect = Dialect {
        wanted: vec!["a".to_owned()],
        ..Dialect::default()
    };
    let behind = |count: usize| format!("{}a,b\n1,2\n", "x\n".repeat(count));
    assert_eq!(records(&behind(99), &dialect), ["1|2"]);
    let text = behind(100);
    let input = Input::of("in", Box::new(std::io::Cursor::new(text))).unwrap();
    let error = CsvReader::open(input, None, &dialect).err().unwrap();
    assert!(error.why.contains("there is no column 'a'"), "{error}");
}

#[test]
fn blanks_are_one_separator() {
    let dialect = Dialect {
        delimiter: Delimiter::Blanks,
        ..Dialect::default()
    };
    assert_eq!(records("a  b\n 1 \t 2\n1 2 3\n", &dialect), ["1|2", "!3"]);
}
