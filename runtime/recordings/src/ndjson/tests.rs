use std::io::Cursor;

use proptest::prelude::*;

use super::Ndjson;
use crate::column_search::ColumnSearch;
use crate::records::{Cell, ReadError, Records};

/// All that comes out of a file that is whole: columns, rows and refusals as text, and remarks.
fn read(text: impl AsRef<[u8]>, search: &ColumnSearch<'_>) -> (String, Vec<String>, Vec<String>) {
    try_read(text, search).unwrap()
}

/// The same of any file; the error is what keeps it from being read on.
fn try_read(
    text: impl AsRef<[u8]>,
    search: &ColumnSearch<'_>,
) -> Result<(String, Vec<String>, Vec<String>), ReadError> {
    let mut file = Ndjson::open("f".into(), Cursor::new(text.as_ref()), search)?;
    let mut rows = Vec::new();
    while let Some(record) = file.next_record()? {
        rows.push(match record {
            Ok(record) => {
                assert_eq!(record.cells.len(), file.columns().len());
                let cells = record.cells.iter().map(|cell| match cell {
                    Cell::Missing => "-".to_owned(),
                    Cell::Text(text) => format!("'{text}'"),
                    Cell::Integer(value) => value.to_string(),
                    Cell::Number(value) => format!("{value:?}"),
                    Cell::Flag(value) => value.to_string(),
                    Cell::Time(value) => format!("@{value}"),
                });
                let cells: Vec<String> = cells.collect();
                format!("{} {}", record.place.line, cells.join(" "))
            }
            Err(refusal) => refusal.to_string(),
        });
    }
    Ok((file.columns().join(","), rows, file.remarks()))
}

/// What any text may become: records and refusals, or an array that has no end.
fn is_read_or_was_cut_off(text: &[u8], search: &ColumnSearch<'_>) {
    if let Err(error) = try_read(text, search) {
        assert!(error.why.contains("cut off"), "{error}");
        let begins = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut begins = begins.iter().skip_while(|byte| b" \t\r\n".contains(byte));
        assert_eq!(begins.next(), Some(&b'['), "{error}");
    }
}

#[test]
fn lines_become_records_and_what_is_no_object_is_refused_at_its_line() {
    let text = "\u{feff}{\"t\":1,\"j\":{\"a\":[1.5,2]}}\r\n\n{\"t\":2,\"x\":\"y\"}\nnonsense\n\
                {\"t\":3,\"t\":4}\n[5]\n{\"t\":6,\"j\":{\"a\":[7]}}";
    let (columns, rows, remarks) = read(text, &ColumnSearch::default());
    assert_eq!(columns, "t,j.a[0],j.a[1],x");
    assert_eq!(
        rows,
        [
            "1 1 1.5 2 -",
            "3 2 - - 'y'",
            "f line 4: no JSON object: 'nonsense'",
            "f line 5: a key comes twice in one object: 't'",
            "f line 6: no JSON object: '[5]'",
            "7 6 7 - -",
        ]
    );
    assert_eq!(remarks, [""; 0]);
}

#[test]
fn an_array_of_objects_is_a_file_too() {
    let text = "\n[\n {\"t\": 1,\n  \"s\": \"a]}\\\"\"},\n 7, {\"t\": 2}\n]\n";
    let (columns, rows, _) = read(text, &ColumnSearch::default());
    assert_eq!(columns, "t,s");
    assert_eq!(
        rows,
        ["3 1 'a]}\"'", "f line 5: no JSON object: '7'", "5 2 -"]
    );
    let more = read("[{\"t\":1}]\n[{\"t\":2}]", &ColumnSearch::default()).1;
    assert!(more[1].starts_with("f line 2: more follows"), "{more:?}");
}

#[test]
fn an_array_that_was_cut_off_is_an_error_after_what_came_before() {
    for cut in ["[{\"t\":1},\n{\"t\":", "[{\"t\":1},\n", "[{\"t\":1}\n"] {
        let input = std::io::Cursor::new(cut.as_bytes());
        let mut opened = Ndjson::open("f".into(), input, &ColumnSearch::default()).unwrap();
        assert!(opened.next_record().unwrap().unwrap().is_ok(), "{cut}");
        let error = opened.next_record().unwrap_err();
        assert_eq!(error.place.line, 2);
        assert!(error.why.contains("cut off"), "{error}");
    }
    let nothing = std::io::Cursor::new(&b"["[..]);
    assert!(Ndjson::open("f".into(), nothing, &ColumnSearch::default()).is_err());
}

#[test]
fn marks_of_joined_files_are_nothing() {
    let text = "\u{feff}{\"t\":1}\n\u{feff}{\"t\":2}\n";
    let (_, rows, _) = read(text, &ColumnSearch::default());
    assert_eq!(rows, ["1 1", "2 2"]);
}

#[test]
fn late_columns_are_there_when_they_are_wanted_and_said_when_not() {
    let text = "{\"a\":1}\n{\"a\":2,\"b\":3}\n{\"a\":4,\"c\":5}\n";
    let wanted = ["a".to_owned(), "c".to_owned(), "d".to_owned()];
    let search = ColumnSearch {
        wanted: &wanted,
        records: 1,
    };
    let (columns, rows, remarks) = read(text, &search);
    assert_eq!(columns, "a,c,d");
    assert_eq!(rows, ["1 1 - -", "2 2 - -", "3 4 5 -"]);
    assert_eq!(remarks.len(), 2);
    assert!(
        remarks[0].starts_with("'b' first comes at 2"),
        "{remarks:?}"
    );
    assert_eq!(remarks[1], "no record has a value named d");
    // Of a file that was looked through as a whole it is known that it has no such column.
    let search = ColumnSearch {
        wanted: &wanted,
        records: 9,
    };
    assert_eq!(read(text, &search).0, "a,b,c");
}

#[test]
fn a_line_that_is_too_long_costs_itself_and_no_memory() {
    let mut text = vec![b' '; 0];
    text.extend_from_slice(b"{\"a\":\"");
    text.resize(17 << 20, b'x');
    text.extend_from_slice(b"\"}\n{\"a\":1}\n");
    let (_, rows, _) = read(&text, &ColumnSearch::default());
    assert!(rows[0].starts_with("f line 1: the line is longer than 16 MiB"));
    assert_eq!(rows[1], "2 1");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        is_read_or_was_cut_off(&bytes, &ColumnSearch::default());
    }

    #[test]
    fn nothing_that_looks_like_json_makes_it_panic(
        text in "[\\[\\{\\}\\]\",:a0.eE\\-\\\\u \n]{0,80}",
        records in 0usize..4,
    ) {
        let wanted = ["a".to_owned()];
        is_read_or_was_cut_off(text.as_bytes(), &ColumnSearch { wanted: &wanted, records });
    }
}
