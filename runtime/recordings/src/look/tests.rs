use std::fs;
use std::path::Path;

use theatre_schemas::dataset::ColumnType;

use super::{Hints, Looked, look};
use crate::mapping::Header;

fn at(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn looked(name: &str, text: impl AsRef<[u8]>) -> Looked {
    let folder = tempfile::tempdir().unwrap();
    look(&at(folder.path(), name, text), &Hints::default()).unwrap()
}

fn fields(looked: &Looked) -> Vec<(&str, ColumnType)> {
    looked
        .columns
        .iter()
        .map(|column| (column.field.as_str(), column.column_type))
        .collect()
}

/// The times of the rows that are shown.
fn times(looked: &Looked) -> Vec<&str> {
    looked.first.iter().map(|row| row[1].as_str()).collect()
}

#[test]
fn a_plain_table_is_understood() {
    let found = looked(
        "ur3_left.csv",
        "time,current [A],stop,count,note\n2026-01-31T08:00:00Z,0.5,0,1,a\n\
         2026-01-31T08:00:01Z,0.25,1,2,b\n2026-01-31T08:00:02Z,N/A,0,3,\n",
    );
    assert_eq!(found.unclear, [""; 0]);
    assert_eq!(
        fields(&found),
        [
            ("current", ColumnType::Float64),
            ("stop", ColumnType::Boolean),
            ("count", ColumnType::Int64),
            ("note", ColumnType::Utf8),
        ]
    );
    assert_eq!(found.columns[0].unit.as_deref(), Some("A"));
    assert_eq!(found.mapping.robot_id.as_deref(), Some("ur3_left"));
    assert_eq!(found.mapping.events, ["stop"]);
    assert_eq!(found.pace_us, Some(1_000_000));
    assert_eq!(
        found.table(),
        "robot     time                  current  stop   count  note\n\
         ur3_left  2026-01-31T08:00:00Z  0.5      false  1      a\n\
         ur3_left  2026-01-31T08:00:01Z  0.25     true   2      b\n\
         ur3_left  2026-01-31T08:00:02Z  -        false  3      -\n"
    );
}

#[test]
fn separators_and_decimal_signs_are_told_apart() {
    let cases: &[(&str, &str, char, Option<char>)] = &[
        (
            "t;a;b\n1769846400;1,5;2,25\n1769846401;1,75;2\n",
            ";",
            ',',
            None,
        ),
        (
            "t,a,b\n1769846400,1.5,2.25\n1769846401,1.75,2\n",
            ",",
            '.',
            None,
        ),
        (
            "t\ta\tb\n1769846400\t1,5\t2,25\n1769846401\t1,7\t2\n",
            "\t",
            ',',
            None,
        ),
        (
            "t a  b\n1769846400  1.5 2.25\n1769846401 1.75   2\n",
            "blanks",
            '.',
            None,
        ),
        (
            "t|a|b\n1769846400|1.5|2\n1769846401|1.7|2\n",
            "|",
            '.',
            None,
        ),
        (
            "t;a;b\n1769846400;1.234,5;2\n1769846401;2.345,75;2\n",
            ";",
            ',',
            Some('.'),
        ),
        (
            "t,a,b\n1769846400,\"1,234.5\",2\n1769846401,\"2,345.25\",2\n",
            ",",
            '.',
            Some(','),
        ),
        (
            "t;a;b\n1769846400;1'234.5;2\n1769846401;2'345.25;2\n",
            ";",
            '.',
            Some('\''),
        ),
    ];
    for (text, delimiter, decimal, thousands) in cases {
        let found = looked("r.csv", text);
        let mapping = &found.mapping;
        assert_eq!(
            (
                mapping.delimiter.as_str(),
                mapping.decimal,
                mapping.thousands
            ),
            (*delimiter, *decimal, *thousands),
            "{text}"
        );
        assert_eq!(found.columns[0].column_type, ColumnType::Float64, "{text}");
        assert_eq!(mapping.time_format.as_deref(), Some("epoch_s"), "{text}");
        assert_eq!(found.unclear, [""; 0], "{text}");
    }
    let either = looked("r.csv", "t;a\n1769846400;1,234\n1769846401;2,345\n");
    assert!(
        either.unclear[0].contains("decimal = \",\""),
        "{:?}",
        either.unclear
    );
}

#[test]
fn preambles_units_comments_and_missing_headers_are_seen() {
    let found = looked(
        "r.csv",
        "Logger 5\nSerial;12\n\nTime;Force;Temp\ns;N;degC\n2026-01-31 08:00:00;1,5;20,5\n2026-01-31 08:00:01;1,5;20,5\n\
         2026-01-31 08:00:02;1,5;20,5\n",
    );
    assert_eq!(found.mapping.skip_after_header, 1);
    assert_eq!(found.columns[1].unit.as_deref(), Some("degC"));
    assert_eq!(found.mapping.time_zone.as_deref(), Some("UTC"));
    assert_eq!(found.rows, 3, "{:?}", found.findings);
    assert_eq!(times(&found)[0], "2026-01-31T08:00:00Z");

    let found = looked(
        "r.txt",
        "1769846400.5 1.5 2\n1769846401.5 1.6 3\n1769846402.5 1.6 4\n",
    );
    assert_eq!(found.mapping.header, Header::None);
    assert_eq!(found.mapping.time_column.as_deref(), Some("#1"));
    assert_eq!(found.rows, 3);
    assert_eq!(found.columns[0].field, "c2");

    let found = looked(
        "r.csv",
        "#timestamp [ns],w_x [rad s^-1]\n1.769846400E+018,0.5\n1.769846401E+018,0.25\n",
    );
    assert_eq!(
        found.mapping.time_format.as_deref(),
        Some("epoch_ns"),
        "{:?}",
        found.unclear
    );
    assert_eq!(found.columns[0].unit.as_deref(), Some("rad s^-1"));
}

#[test]
fn what_is_not_said_is_asked() {
    let either = looked(
        "r.csv",
        "time,v\n01/02/2026 08:00:00,1.5\n02/02/2026 08:00:00,2\n",
    );
    assert!(
        either.unclear[0].contains("\"day_first\" or \"month_first\""),
        "{:?}",
        either.unclear
    );
    let day = looked(
        "r.csv",
        "time,v\n01/02/2026 08:00:00,1.5\n13/02/2026 08:00:00,2\n",
    );
    assert_eq!(day.unclear, [""; 0]);
    assert_eq!(day.mapping.time_format.as_deref(), Some("day_first"));
    let none = looked("r.csv", "a,b\n1.5,2\n1.25,1\n");
    assert!(none.unclear[0].contains("rate = "), "{:?}", none.unclear);
    let seconds = looked("r.csv", "timestamp,v\n103.008,1.5\n103.016,2.5\n");
    assert_eq!(seconds.mapping.time_format.as_deref(), Some("elapsed_s"));
    assert!(
        seconds
            .findings
            .iter()
            .any(|line| line.contains("give time_start"))
    );
    assert_eq!(
        times(&seconds),
        ["2000-01-01T00:00:00Z", "2000-01-01T00:00:00.008Z"]
    );
}

#[test]
fn robots_dates_apart_and_footers_are_seen() {
    let found = looked(
        "pdm.csv",
        "Date,Time,machineID,volt\n2026-01-31,08:00:00,1,170.5\n2026-01-31,09:00:00,1,171\n\
         2026-01-31,08:00:00,2,170\n2026-01-31,09:00:00,2,171.5\nend of file\n",
    );
    assert_eq!(found.mapping.robot_column.as_deref(), Some("machineID"));
    assert_eq!(found.mapping.date_column.as_deref(), Some("Date"));
    assert_eq!(found.mapping.footer_lines, 1);
    assert_eq!(fields(&found), [("volt", ColumnType::Float64)]);
    assert_eq!(times(&found)[1], "2026-01-31T09:00:00Z");
    let ros = looked(
        "bag.csv",
        "header.stamp.secs,header.stamp.nsecs,x\n1769846400,500000000,1.5\n1769846401,0,2.5\n",
    );
    assert_eq!(
        ros.mapping.nanos_column.as_deref(),
        Some("header.stamp.nsecs")
    );
    assert_eq!(times(&ros)[0], "2026-01-31T08:00:00.5Z");
}

#[test]
fn encodings_and_packing_are_seen() {
    let found = looked("r.csv", b"time;Gr\xf6\xdfe\n2026-01-31T08:00:00Z;1,5\n");
    assert_eq!(found.mapping.encoding.as_deref(), Some("windows-1252"));
    assert_eq!(found.columns[0].field, "groesse");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"time,v\n2026-01-31T08:00:00Z,1.5\n").unwrap();
    let found = looked("r1.csv.gz", packed.finish().unwrap());
    assert!(found.findings[0].contains("packed by gzip"));
    assert_eq!(found.mapping.robot_id.as_deref(), Some("r1"));
    assert_eq!(found.rows, 1);
}

#[test]
fn json_lines_are_looked_at_like_tables() {
    let found = looked(
        "r.ndjson",
        "{\"ts\":1769846400123,\"j\":{\"a\":1.5},\"on\":true,\"device\":\"x\"}\n\
         {\"ts\":1769846400223,\"j\":{\"a\":2},\"on\":false,\"device\":\"x\"}\n",
    );
    assert_eq!(found.mapping.time_format.as_deref(), Some("epoch_ms"));
    assert_eq!(found.mapping.robot_column.as_deref(), Some("device"));
    assert_eq!(
        fields(&found),
        [("j_a", ColumnType::Float64), ("on", ColumnType::Boolean)]
    );
    assert_eq!(found.pace_us, Some(100_000));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let found = looked(
        "r.csv",
        "time,a\u{1b}[31m\n2026-01-31T08:00:00Z,x\u{1b}[2J\n",
    );
    let text = format!("{}{:?}", found.table(), found.findings);
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn whole_numbers_of_more_than_64_bits_are_texts_and_said() {
    let found = looked(
        "r.csv",
        "time,id,x\n2026-01-31T08:00:00Z,9007199254740993,1e20\n2026-01-31T08:00:01Z,18446744073709551615,5\n",
    );
    let expected = [("id", ColumnType::Utf8), ("x", ColumnType::Float64)];
    assert_eq!(fields(&found), expected);
    let said = found.findings.join("\n");
    assert!(
        said.contains("'id' has whole numbers of more than 64 bits"),
        "{said}"
    );
}

#[test]
fn days_of_workbooks_are_asked_for_and_what_is_said_is_heard() {
    let text = "time,v\n46053.3333333333,1\n46053.3333449074,2\n46053.3333564815,3\n";
    let found = looked("r.csv", text);
    assert!(
        found.unclear[0].contains("\"excel\""),
        "{:?}",
        found.unclear
    );
    let folder = tempfile::tempdir().unwrap();
    let hints = |format: &str| Hints {
        time_format: Some(format.to_owned()),
        time_zone: Some("UTC".to_owned()),
        ..Hints::default()
    };
    let file = at(folder.path(), "r.csv", text);
    let found = look(&file, &hints("excel")).unwrap();
    assert_eq!(found.unclear, [""; 0]);
    assert_eq!(times(&found)[1], "2026-01-31T08:00:01Z");
    let file = at(folder.path(), "s.csv", "time,v\n0,1\n8,2\n16,3\n");
    let found = look(&file, &hints("elapsed_ms")).unwrap();
    assert_eq!(found.unclear, [""; 0]);
    assert_eq!(times(&found)[1], "2000-01-01T00:00:00.008Z");
}

#[test]
fn names_may_be_blank_and_have_line_ends_in_them() {
    let found = looked(
        "r.csv",
        "time,,\"Force\n[N]\",\n2026-01-31T08:00:00Z,1,2,3\n2026-01-31T08:00:01Z,1,2,3\n",
    );
    assert_eq!(found.mapping.header, Header::Line);
    let names: Vec<&str> = fields(&found).iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["c2", "force", "c4"]);
    assert_eq!(found.columns[1].unit.as_deref(), Some("N"));
    assert_eq!(found.first[1][3], "2");
}

#[test]
fn a_robot_may_be_named_by_a_nested_value() {
    let row = |robot: &str, second: u32| {
        format!(
            "{{\"time\":\"2026-01-31T08:00:0{second}Z\",\"device\":{{\"id\":\"{robot}\"}},\"v\":1}}\n"
        )
    };
    let text = [row("A", 0), row("B", 0), row("A", 1), row("B", 1)].concat();
    let found = looked("r.ndjson", text);
    assert_eq!(found.mapping.robot_column.as_deref(), Some("device.id"));
}

#[test]
fn a_list_within_one_object_is_no_recording() {
    let found = looked(
        "r.json",
        "{\"data\":[{\"time\":1,\"v\":1},{\"time\":2,\"v\":2}]}\n",
    );
    assert!(
        found.unclear.iter().any(|why| why.contains("jq -c")),
        "{:?}",
        found.unclear
    );
}

#[test]
fn thousands_may_be_separated_by_blanks_of_any_kind() {
    let found = looked(
        "r.csv",
        "t;a\n1769846400;1\u{a0}234,5\n1769846401;12\u{202f}345,25\n",
    );
    assert_eq!(
        (found.mapping.decimal, found.mapping.thousands),
        (',', Some(' '))
    );
    assert_eq!(found.columns[0].column_type, ColumnType::Float64);
}

#[test]
fn a_robot_may_be_named_by_a_column_of_two_words() {
    let found = looked(
        "r.csv",
        "time,Robot ID,v\n2026-01-31T08:00:00Z,A,1\n2026-01-31T08:00:01Z,B,2\n",
    );
    assert_eq!(found.mapping.robot_column.as_deref(), Some("Robot ID"));
}

#[test]
fn a_number_without_an_end_makes_no_texts_of_a_column() {
    let found = looked(
        "r.csv",
        "time,v\n2026-01-31T08:00:00Z,1.5\n2026-01-31T08:00:01Z,inf\n2026-01-31T08:00:02Z,1e400\n",
    );
    assert_eq!(fields(&found), [("v", ColumnType::Float64)]);
}

#[test]
fn rows_that_begin_with_their_numbers_have_the_names_behind() {
    let found = looked(
        "r.txt",
        "\"when\" \"v\"\n\"1\" \"2026-01-31T08:00:00Z\" 1.5\n\"2\" \"2026-01-31T08:00:01Z\" 2.5\n",
    );
    let names: Vec<&str> = fields(&found).iter().map(|(name, _)| *name).collect();
    assert_eq!((found.unclear.len(), names), (0, vec!["row", "v"]));
    assert_eq!(times(&found)[1], "2026-01-31T08:00:01Z");
}

#[test]
fn lines_that_are_quoted_as_a_whole_are_said() {
    let found = looked(
        "r.csv",
        "\"time,v\"\n\"2026-01-31T08:00:00Z,1\"\n\"2026-01-31T08:00:01Z,2\"\n",
    );
    assert!(
        found.unclear[0].contains("quoted as a whole"),
        "{:?}",
        found.unclear
    );
}

#[test]
fn what_numbers_may_count_beside_1970_is_asked() {
    let cases = [
        ("639054432000000000", "639054432010000000", "ticks of .NET"),
        (
            "134143200000000000",
            "134143200010000000",
            "times of Windows",
        ),
        ("791539200", "791539201", "times of Apple"),
        ("3852691200", "3852691201", "times of LabVIEW"),
        ("740013.33333333333", "740013.33334490741", "MATLAB"),
        ("2461071.8333333333", "2461071.8333449074", "Julian days"),
        ("61071.333333333", "61071.333344907", "modified Julian"),
    ];
    for (first, second, wanted) in cases {
        let found = looked("r.csv", format!("time,v\n{first},1\n{second},2\n"));
        assert!(
            found.unclear.iter().any(|why| why.contains(wanted)),
            "{wanted}: {:?}",
            found.unclear
        );
    }
    let found = looked("r.csv", "ts,v\n40000000,1\n50000000,2\n");
    assert!(
        found.unclear[0].contains("elapsed_s"),
        "{:?}",
        found.unclear
    );
    let found = looked("r.csv", "ts [us],v\n40000000,1\n50000000,2\n");
    assert_eq!(found.unclear, [""; 0]);
    assert_eq!(found.mapping.time_format.as_deref(), Some("elapsed_us"));
    // Those of our days, and seconds since a robot was switched on, are as clear as ever.
    for text in [
        "time,v\n1769846400,1\n1769846401,2\n",
        "time,v\n61071.5,1\n61072.5,2\n",
        // A clock that was not set costs its row, and so does another unit.
        "ts,v\n0,1\n1769846400,2\n1769846401,3\n1769846402000,4\n1769846403,5\n",
    ] {
        assert_eq!(looked("r.csv", text).unclear, [""; 0], "{text}");
    }
}

#[test]
fn a_date_and_a_time_of_day_belong_together_whatever_they_are_called() {
    for text in [
        "log_date,log_time,v\n2026-01-31,08:00:00,1\n2026-01-31,08:00:01,2\n",
        "clock time,on,v\n08:00:00 AM,31 Jan 2026,1\n08:00:01 AM,31 Jan 2026,2\n",
        "2026-01-31,08:00:00,1\n2026-01-31,08:00:01,2\n",
        "2026-01-31 08:00:00 1\n2026-01-31 08:00:01 2\n",
        "when was the time\n2026-01-31 08:00:00 1\n2026-01-31 08:00:01 2\n",
        "timestamp v\n2026-01-31 08:00:00 1\n2026-01-31 08:00:01 2\n",
    ] {
        let found = looked("r.csv", text);
        assert_eq!(found.unclear, [""; 0], "{text}");
        assert_eq!(
            times(&found),
            ["2026-01-31T08:00:00Z", "2026-01-31T08:00:01Z"],
            "{text}"
        );
    }
}

#[test]
fn texts_in_a_column_of_times_are_shown_and_a_pattern_is_heard() {
    let text = "time,v\n[31/Jan/2026:08:00:00 +0000],1\n[31/Jan/2026:08:00:01 +0000],2\n";
    let found = looked("r.csv", text);
    assert!(
        found.unclear[0].contains("'[31/Jan/2026:08:00:00 +0000]'"),
        "{:?}",
        found.unclear
    );
    let folder = tempfile::tempdir().unwrap();
    let hints = Hints {
        time_format: Some("[%d/%b/%Y:%H:%M:%S %z]".to_owned()),
        ..Hints::default()
    };
    let found = look(&at(folder.path(), "r.csv", text), &hints).unwrap();
    assert_eq!(found.unclear, [""; 0]);
    assert_eq!(times(&found)[1], "2026-01-31T08:00:01Z");
}

#[test]
fn columns_as_lists_of_one_object_are_no_rows() {
    let found = looked(
        "r.json",
        "{\"ts\":[\"2026-01-31T08:00:00Z\",\"2026-01-31T08:00:01Z\"],\"v\":[1,2]}\n",
    );
    assert!(
        found
            .unclear
            .iter()
            .any(|why| why.contains("range($all.ts")),
        "{:?}",
        found.unclear
    );
}

#[test]
fn what_came_before_a_file_breaks_off_is_looked_at() {
    let mut rows = String::from("time,v\n");
    for second in 0..3000 {
        let (minute, second) = (second / 60, second % 60);
        rows += &format!("2026-01-31T08:{minute:02}:{second:02}Z,{minute}.{second}\n");
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, rows.as_bytes()).unwrap();
    let mut packed = packed.finish().unwrap();
    packed.truncate(packed.len() / 2);
    let found = looked("r.csv.gz", packed);
    assert_eq!(found.unclear, [""; 0]);
    assert!(found.rows > 100, "{}", found.rows);
    let said = found.findings.join("\n");
    assert!(said.contains("cannot be read to its end"), "{said}");
    let array = "[{\"time\":\"2026-01-31T08:00:00Z\",\"v\":1},\n{\"time\":\"2026-01-31T08:00:01Z\",\"v\":2},\n{\"ti";
    let found = looked("r.json", array);
    assert_eq!((found.unclear.len(), found.rows), (0, 2));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let _ = look(&at(folder.path(), "f", bytes), &Hints::default());
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-c,;\"0-9.:\\-T \n\t#|é]{0,120}") {
        let folder = tempfile::tempdir().unwrap();
        let _ = look(&at(folder.path(), "f", text), &Hints::default());
    }
}
