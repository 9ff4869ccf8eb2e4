use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float64Builder, ListBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    DurationMillisecondArray, Float32Array, Float64Array, Int8Array, RecordBatch, StringArray,
    StructArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::Parquet;
use crate::records::{Cell, ReadError, Records};

fn written(columns: Vec<(&str, ArrayRef)>, compression: Compression) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn open(bytes: Vec<u8>) -> Result<Parquet, ReadError> {
    Parquet::open("f".into(), bytes::Bytes::from(bytes))
}

/// The columns, each with its cells.
fn read(bytes: Vec<u8>) -> (Vec<(String, Vec<Cell>)>, Vec<String>) {
    let mut file = open(bytes).unwrap();
    let mut columns: Vec<(String, Vec<Cell>)> = file
        .columns()
        .iter()
        .map(|name| (name.clone(), Vec::new()))
        .collect();
    let mut row = 0;
    while let Some(record) = file.next_record().unwrap() {
        let record = record.unwrap();
        row += 1;
        assert_eq!(record.place.line, row);
        assert_eq!(record.cells.len(), columns.len());
        for (column, cell) in columns.iter_mut().zip(record.cells) {
            column.1.push(cell);
        }
    }
    (columns, file.remarks())
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn one(array: ArrayRef) -> Vec<Cell> {
    let (mut columns, remarks) = read(written(vec![("v", array)], Compression::SNAPPY));
    assert_eq!(remarks, [""; 0]);
    columns.remove(0).1
}

#[test]
fn plain_values_are_exact() {
    assert_eq!(
        one(Arc::new(Int8Array::from(vec![Some(-1), None]))),
        [Cell::Integer(-1), Cell::Missing]
    );
    assert_eq!(
        one(Arc::new(UInt64Array::from(vec![7, u64::MAX]))),
        [Cell::Integer(7), text("18446744073709551615")]
    );
    assert_eq!(
        one(Arc::new(Float32Array::from(vec![0.5]))),
        [Cell::Number(0.5)]
    );
    assert_eq!(
        one(Arc::new(BooleanArray::from(vec![true]))),
        [Cell::Flag(true)]
    );
    let decimals = Decimal128Array::from(vec![1250, 12_345_678_901_234_567_890])
        .with_precision_and_scale(30, 2)
        .unwrap();
    assert_eq!(
        one(Arc::new(decimals)),
        [Cell::Number(12.5), text("123456789012345678.90")]
    );
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b"), Some("a")]
        .into_iter()
        .collect();
    assert_eq!(
        one(Arc::new(words)),
        [text("a"), Cell::Missing, text("b"), text("a")]
    );
    let binary = BinaryArray::from(vec![&b"old"[..], &[0xff]]);
    assert_eq!(one(Arc::new(binary)), [text("old"), Cell::Missing]);
}

#[test]
fn a_time_with_a_zone_is_a_time_and_one_without_is_its_text() {
    let second = 1_769_846_400;
    let at = i128::from(second) * 1_000_000_000;
    let utc: [ArrayRef; 4] = [
        Arc::new(TimestampSecondArray::from(vec![second]).with_timezone("UTC")),
        Arc::new(TimestampMillisecondArray::from(vec![second * 1000]).with_timezone("+02:00")),
        Arc::new(
            TimestampMicrosecondArray::from(vec![second * 1_000_000]).with_timezone("Asia/Tokyo"),
        ),
        Arc::new(TimestampNanosecondArray::from(vec![second * 1_000_000_000]).with_timezone("UTC")),
    ];
    for array in utc {
        assert_eq!(one(array), [Cell::Time(at)]);
    }
    let naive = TimestampNanosecondArray::from(vec![second * 1_000_000_000 + 1]);
    assert_eq!(
        one(Arc::new(naive)),
        [text("2026-01-31T08:00:00.000000001")]
    );
    assert_eq!(
        one(Arc::new(Date32Array::from(vec![20484]))),
        [text("2026-01-31")]
    );
    assert_eq!(
        one(Arc::new(Time64MicrosecondArray::from(vec![
            28_800_500_000i64
        ]))),
        [text("08:00:00.5")]
    );
    assert_eq!(
        one(Arc::new(DurationMillisecondArray::from(vec![1500]))),
        [Cell::Number(1.5)]
    );
    // A timestamp beyond the calendar is no panic.
    one(Arc::new(TimestampSecondArray::from(vec![i64::MAX])));
}

#[test]
fn structs_and_lists_become_columns() {
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("b", DataType::Float64, true)),
        Arc::new(Float64Array::from(vec![Some(1.0), None])) as ArrayRef,
    )]);
    let mut lists = ListBuilder::new(Float64Builder::new());
    lists.append_value([Some(1.0), Some(2.0)]);
    lists.append_null();
    let mut fixed = FixedSizeListBuilder::new(Float64Builder::new(), 2);
    for row in 0..2 {
        fixed.values().append_value(f64::from(row));
        fixed.values().append_null();
        fixed.append(true);
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(inner)),
        ("l", Arc::new(lists.finish())),
        ("f", Arc::new(fixed.finish())),
    ];
    let (columns, _) = read(written(columns, Compression::UNCOMPRESSED));
    let expected = [
        ("a.b", vec![Cell::Number(1.0), Cell::Missing]),
        ("l[0]", vec![Cell::Number(1.0), Cell::Missing]),
        ("l[1]", vec![Cell::Number(2.0), Cell::Missing]),
        ("f[0]", vec![Cell::Number(0.0), Cell::Number(1.0)]),
        ("f[1]", vec![Cell::Missing, Cell::Missing]),
    ];
    for ((name, cells), expected) in columns.iter().zip(&expected) {
        assert_eq!((name.as_str(), cells), (expected.0, &expected.1));
    }
    assert_eq!(columns.len(), expected.len());
}

#[test]
fn longer_lists_than_those_of_the_first_rows_are_said() {
    let mut lists = ListBuilder::new(Float64Builder::new());
    for row in 0..3000 {
        lists.append_value(vec![Some(1.0); if row < 2000 { 1 } else { 2 }]);
    }
    let (columns, remarks) = read(written(
        vec![("l", Arc::new(lists.finish()))],
        Compression::SNAPPY,
    ));
    assert_eq!(columns.len(), 1);
    assert_eq!(columns[0].1.len(), 3000);
    assert!(
        remarks[0].contains("more than the 1 elements"),
        "{remarks:?}"
    );
}

#[test]
fn every_usual_compression_is_read() {
    let array = || vec![("s", Arc::new(StringArray::from(vec!["x"; 100])) as ArrayRef)];
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(parquet::basic::GzipLevel::default()),
        Compression::LZ4_RAW,
        Compression::ZSTD(parquet::basic::ZstdLevel::default()),
    ] {
        assert_eq!(read(written(array(), compression)).0[0].1.len(), 100);
    }
}

#[test]
fn what_is_no_whole_parquet_file_is_said() {
    let bytes = written(
        vec![("v", Arc::new(Int8Array::from(vec![1])) as ArrayRef)],
        Compression::SNAPPY,
    );
    for cut in [0, 3, 8, 11, bytes.len() - 1] {
        let why = open(bytes[..cut].to_vec()).err().unwrap().why;
        assert!(why.contains("not written or copied to its end"), "{why}");
    }
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..8),
        rows in 1usize..50,
    ) {
        let array: ArrayRef = Arc::new(StringArray::from(vec!["x"; rows]));
        let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1; rows]));
        let mut bytes = written(vec![("s", array), ("t", times)], Compression::SNAPPY);
        let length = bytes.len() - 4;
        for (at, byte) in changes {
            bytes[usize::from(at) % length] = byte;
        }
        if let Ok(mut file) = open(bytes) {
            while let Ok(Some(_)) = file.next_record() {}
        }
    }
}
