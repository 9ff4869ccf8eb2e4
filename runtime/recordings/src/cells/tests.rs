use theatre_schemas::dataset::ColumnType;

use super::{CellRules, Read, Value};
use crate::mapping::Mapping;
use crate::records::Cell;

fn rules(keys: &str) -> CellRules {
    let mapping = format!(
        "schema = \"s\"\nrobot_id = \"r\"\ntime_column = \"t\"\n{keys}\n[columns]\nv = \"v\"\n"
    );
    let mapping: Mapping = toml::from_str(&mapping).unwrap();
    CellRules::new(&mapping)
}

fn text(keys: &str, text: &str, column_type: ColumnType) -> Read {
    rules(keys).read(&Cell::Text(text.to_owned()), column_type, true)
}

#[test]
fn numbers_are_finite_or_bad() {
    let number = |text_: &str| text("", text_, ColumnType::Float64);
    for (text, wanted) in [
        ("1", 1.0),
        (" 2.5 ", 2.5),
        ("-3e-2", -0.03),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("-0.0", 0.0),
        ("1E5", 1e5),
        ("\u{2212}7", -7.0),
        ("4.9e-324", 5e-324),
    ] {
        assert_eq!(number(text), Read::Value(Value::Number(wanted)), "{text}");
    }
    for text in [
        "1e400",
        "inf",
        "-Infinity",
        "0x1F",
        "1_000",
        "1,5",
        "12 V",
        "5%",
        "--1",
        "e5",
        "１",
    ] {
        assert!(matches!(number(text), Read::Bad(_)), "{text}");
    }
    for text in [
        "", "  ", "NaN", "nan", "N/A", "NULL", "-", "#N/A", "None", "<NA>",
    ] {
        assert_eq!(number(text), Read::Missing, "{text}");
    }
    let single = |text_: &str| text("", text_, ColumnType::Float32);
    assert_eq!(single("0.1"), Read::Value(Value::Single(0.1)));
    assert!(
        matches!(single("1e39"), Read::Bad(_)),
        "too large for 32 bits"
    );
}

#[test]
fn words_for_missing_values_are_texts_where_null_is_not_allowed() {
    let rules = rules("");
    let cell = Cell::Text("None".to_owned());
    assert_eq!(rules.read(&cell, ColumnType::Utf8, true), Read::Missing);
    let kept = Read::Value(Value::Text("None".to_owned()));
    assert_eq!(rules.read(&cell, ColumnType::Utf8, false), kept);
    assert_eq!(rules.read(&cell, ColumnType::Float64, false), Read::Missing);
}

#[test]
fn small_whole_numbers_do_not_overflow() {
    assert_eq!(
        text("", "2147483647.0", ColumnType::Int32),
        Read::Value(Value::Whole(2_147_483_647))
    );
    assert!(matches!(
        text("", "2147483648", ColumnType::Int32),
        Read::Bad(_)
    ));
    assert!(matches!(text("", "3.5", ColumnType::Int32), Read::Bad(_)));
    let grouped = text("thousands = \"'\"", "1'234'567", ColumnType::Int64);
    assert_eq!(grouped, Read::Value(Value::Whole(1_234_567)));
}

#[test]
fn dates_are_days() {
    for (date, day) in [
        ("1970-01-01", 0),
        ("1970-01-02", 1),
        ("1969-12-31", -1),
        ("2026-01-31", 20_484),
    ] {
        assert_eq!(
            text("", date, ColumnType::Date),
            Read::Value(Value::Day(day)),
            "{date}"
        );
    }
}

#[test]
fn cells_of_typed_files_fit_exactly_or_not_at_all() {
    let rules = rules("");
    let read = |cell: Cell, column_type| rules.read(&cell, column_type, true);
    let value = |value| Read::Value(value);
    assert_eq!(
        read(Cell::Integer(3), ColumnType::Float64),
        value(Value::Number(3.0))
    );
    assert_eq!(
        read(Cell::Number(3.0), ColumnType::Int64),
        value(Value::Whole(3))
    );
    assert_eq!(
        read(Cell::Integer(1), ColumnType::Boolean),
        value(Value::Flag(true))
    );
    assert_eq!(
        read(Cell::Number(0.0), ColumnType::Boolean),
        value(Value::Flag(false))
    );
    assert_eq!(
        read(Cell::Time(1_999), ColumnType::TimestampMicros),
        value(Value::Time(1))
    );
    assert_eq!(
        read(Cell::Text("7".to_owned()), ColumnType::Int64),
        value(Value::Whole(7))
    );
    assert_eq!(read(Cell::Missing, ColumnType::Int64), Read::Missing);
    assert_eq!(
        read(Cell::Number(f64::NAN), ColumnType::Float64),
        Read::Missing
    );
    for (cell, column_type) in [
        (Cell::Number(3.5), ColumnType::Int64),
        (Cell::Number(1e19), ColumnType::Int64),
        (Cell::Number(9_223_372_036_854_775_808.0), ColumnType::Int64),
        (Cell::Integer(1 << 40), ColumnType::Int32),
        (Cell::Integer(2), ColumnType::Boolean),
        (Cell::Flag(true), ColumnType::Float64),
        (Cell::Number(f64::INFINITY), ColumnType::Float64),
        (Cell::Number(1e300), ColumnType::Float32),
    ] {
        assert!(
            matches!(read(cell.clone(), column_type), Read::Bad(_)),
            "{cell:?}"
        );
    }
}
