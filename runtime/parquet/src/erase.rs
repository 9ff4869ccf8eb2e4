//! A file without some of its rows: what they are chosen by stands in two of its columns, and all
//! others are taken over as they are.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use theatre_actors::ports::{
    ErasedBy, ErasedCount, Error, LakeBytes, LakeUpload, Result, RowSelection,
};

use super::parts::read_some;
use super::writer::FileWriter;
use super::{encode_error, fitting, read};

/// Judges rows of a file.
struct Judge<'a> {
    path: &'a str,
    rows: RowSelection,
}

impl<'a> Judge<'a> {
    fn new(path: &'a str, rows: &RowSelection) -> Self {
        // As lake files hold them.
        let robots = rows.robots.iter().map(|robot| fitting(robot).into_owned());
        let robots = robots.collect();
        Self {
            path,
            rows: RowSelection {
                robots,
                ..rows.clone()
            },
        }
    }

    fn lacks(&self, column: &str) -> Error {
        Error::Refused(format!(
            "lake file '{}': it has no column '{column}' by which rows are erased",
            self.path
        ))
    }

    /// For each row why it is meant, if it is.
    fn reasons(&self, batch: &RecordBatch) -> Result<Vec<Option<ErasedBy>>> {
        let robots = match &self.rows.robot_column {
            Some(name) if !self.rows.robots.is_empty() => Some(self.texts(batch, name)?),
            _ => None,
        };
        let times = match &self.rows.time_column {
            Some(name) if self.rows.before.is_some() => {
                let column = batch.column_by_name(name);
                let times = column.and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
                Some(times.ok_or_else(|| self.lacks(name))?)
            }
            _ => None,
        };
        let reason = |row: usize| {
            let robot = robots.filter(|of| of.is_valid(row)).map(|of| of.value(row));
            let time = times.filter(|of| of.is_valid(row)).map(|of| of.value(row));
            self.rows.reason(robot, time)
        };
        Ok((0..batch.num_rows()).map(reason).collect())
    }

    fn texts<'b>(&self, batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray> {
        let column = batch.column_by_name(name);
        column
            .and_then(|it| it.as_string_opt::<i32>())
            .ok_or_else(|| self.lacks(name))
    }
}

/// Counts rows of a file that are meant, by reason; no more than the columns that say so is read.
///
/// # Errors
/// `Refused` when the file is damaged, or lacks such a column; others when its bytes cannot be had.
pub fn count(path: &str, file: &dyn LakeBytes, rows: &RowSelection) -> Result<ErasedCount> {
    let judge = Judge::new(path, rows);
    let wanted = [&rows.robot_column, &rows.time_column];
    let is_wanted = |name: &str| wanted.iter().any(|it| it.as_deref() == Some(name));
    let mut found = ErasedCount::default();
    for batch in read_some(path, file, is_wanted)? {
        let reasons = judge.reasons(&batch?)?;
        reasons.into_iter().flatten().for_each(|by| found.count(by));
    }
    Ok(found)
}

/// What is left of a file.
#[derive(Debug, PartialEq)]
pub struct Rest {
    /// The file. Without rows it is still one: readers that have listed it find it.
    pub bytes: Bytes,
    /// Its rows.
    pub rows: u64,
    /// The lowest and the highest time of its rows; `None` where there is none.
    pub times: Option<(i64, i64)>,
    /// The rows that are not in it any more.
    pub erased: ErasedCount,
}

/// A file without the rows that are meant. It is the same, byte by byte, whenever file and rows
/// are.
///
/// # Errors
/// `Refused` when the file is damaged, or lacks a column by which rows are meant.
pub fn without(path: &str, bytes: Bytes, rows: &RowSelection) -> Result<Rest> {
    let judge = Judge::new(path, rows);
    let file = read(path, bytes)?;
    let kept = InMemory::default();
    let schema = file.schema();
    let mut writer = FileWriter::new(Box::new(kept.clone()), &schema, path.to_owned(), "")?;
    let mut erased = ErasedCount::default();
    for batch in file {
        let batch = batch?;
        let reasons = judge.reasons(&batch)?;
        let stays: BooleanArray = reasons.iter().map(|by| Some(by.is_none())).collect();
        reasons
            .into_iter()
            .flatten()
            .for_each(|by| erased.count(by));
        let rest = filter_record_batch(&batch, &stays).map_err(|error| encode_error(&error))?;
        if rest.num_rows() > 0 {
            let times = times(&rest, rows.time_column.as_deref());
            writer.write(rest, times.into_iter())?;
        }
    }
    let written = writer.finish()?;
    let bytes = std::mem::take(&mut *kept.0.lock().unwrap_or_else(PoisonError::into_inner));
    let times = (written.event_time_min, written.event_time_max);
    Ok(Rest {
        bytes: bytes.into(),
        rows: written.rows,
        times: Some(times).filter(|(least, most)| least <= most),
        erased,
    })
}

fn times(batch: &RecordBatch, column: Option<&str>) -> Vec<i64> {
    let column = column.and_then(|name| batch.column_by_name(name));
    let times = column.and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
    times.map_or_else(Vec::new, |times| times.iter().flatten().collect())
}

/// A file that is written into memory.
#[derive(Clone, Default)]
struct InMemory(Arc<Mutex<Vec<u8>>>);

impl LakeUpload for InMemory {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        Ok(())
    }

    fn seal(self: Box<Self>) -> Result<String> {
        Ok(String::new())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow_array::types::Float64Type;
    use arrow_array::{Float64Array, TimestampMicrosecondArray};
    use proptest::prelude::*;
    use theatre_actors::ports::{ColumnType, ErasedRows, LoadMode, TableSpec};

    use super::*;
    use crate::file_schema;

    fn table() -> TableSpec {
        let columns = [
            ("robot_id", ColumnType::Utf8),
            ("event_time", ColumnType::TimestampMicros),
            ("value", ColumnType::Float64),
        ];
        TableSpec {
            name: "t".to_owned(),
            columns: columns.map(|(name, of)| (name.to_owned(), of)).to_vec(),
            mode: LoadMode::Append,
        }
    }

    type Row = (Option<String>, i64, f64);

    fn file(rows: &[Row]) -> Bytes {
        let schema = file_schema(&table());
        let kept = InMemory::default();
        let mut writer =
            FileWriter::new(Box::new(kept.clone()), &schema, String::new(), "t").unwrap();
        for rows in rows.chunks(100) {
            let robots: StringArray = rows.iter().map(|it| it.0.as_deref()).collect();
            let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|it| it.1));
            let values = Float64Array::from_iter_values(rows.iter().map(|it| it.2));
            let columns: Vec<arrow_array::ArrayRef> = vec![
                Arc::new(robots),
                Arc::new(times.with_timezone("UTC")),
                Arc::new(values),
            ];
            let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
            writer.write(batch, rows.iter().map(|it| it.1)).unwrap();
        }
        writer.finish().unwrap();
        let bytes = std::mem::take(&mut *kept.0.lock().unwrap());
        bytes.into()
    }

    fn rows_of(bytes: Bytes) -> Vec<Row> {
        let mut rows = Vec::new();
        for batch in read("t.parquet", bytes).unwrap() {
            let batch = batch.unwrap();
            let robots = batch.column(0).as_string::<i32>();
            let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
            let values = batch.column(2).as_primitive::<Float64Type>();
            rows.extend((0..batch.num_rows()).map(|row| {
                let robot = robots.is_valid(row).then(|| robots.value(row).to_owned());
                (robot, times.value(row), values.value(row))
            }));
        }
        rows
    }

    fn selection(robots: &[&str], before: Option<i64>) -> RowSelection {
        RowSelection {
            robot_column: Some("robot_id".to_owned()),
            time_column: Some("event_time".to_owned()),
            robots: robots.iter().map(|it| (*it).to_owned()).collect(),
            before,
        }
    }

    proptest! {
        #[test]
        fn what_is_left_is_every_other_row_in_its_order(
            rows in proptest::collection::vec((proptest::option::of("[ab\u{0}]{1,2}"), -50..50_i64, 0.0..1.0_f64), 0..300),
            robots in proptest::collection::btree_set("[ab\u{0}]{1,2}", 0..3),
            before in proptest::option::of(-60..60_i64),
        ) {
            let there: Vec<Row> = rows
                .into_iter()
                .map(|(robot, time, value)| (robot.map(|it| fitting(&it).into_owned()), time, value))
                .collect();
            let chosen: Vec<&str> = robots.iter().map(String::as_str).collect();
            let fitted: BTreeSet<String> = robots.iter().map(|it| fitting(it).into_owned()).collect();
            let selection = selection(&chosen, before);
            let bytes = file(&there);
            let is_meant = |(robot, time, _): &&Row| {
                robot.as_ref().is_some_and(|robot| fitted.contains(robot))
                    || before.is_some_and(|before| *time < before)
            };
            let (meant, kept): (Vec<&Row>, Vec<&Row>) = there.iter().partition(is_meant);
            let counted = count("t.parquet", &bytes, &selection).unwrap();
            prop_assert_eq!(counted.rows(), meant.len() as u64);
            let rest = without("t.parquet", bytes.clone(), &selection).unwrap();
            prop_assert_eq!(&rest.erased, &counted);
            prop_assert_eq!(rest.rows, kept.len() as u64);
            let times = kept.iter().map(|row| row.1);
            prop_assert_eq!(rest.times, times.clone().min().zip(times.max()));
            let left = rows_of(rest.bytes.clone());
            prop_assert_eq!(left.iter().collect::<Vec<_>>(), kept);
            let again = without("t.parquet", bytes, &selection).unwrap();
            prop_assert_eq!(&again.bytes, &rest.bytes, "it is not the same each time");
            let more = without("t.parquet", rest.bytes.clone(), &selection).unwrap();
            prop_assert_eq!(more.erased.rows(), 0);
        }
    }

    #[test]
    fn a_file_of_which_nothing_is_left_is_a_file_with_all_columns() {
        let bytes = file(&[(Some("a".to_owned()), 1, 0.5), (None, 2, 0.5)]);
        let rest = without("t.parquet", bytes, &selection(&["a"], Some(3))).unwrap();
        assert_eq!((rest.rows, rest.times), (0, None));
        let of = |by, rows| ErasedRows { by, rows };
        let robot = ErasedBy::Robot("a".to_owned());
        assert_eq!(
            rest.erased.into_rows(),
            [of(robot, 1), of(ErasedBy::Before(3), 1)]
        );
        let left = read("t.parquet", rest.bytes).unwrap();
        assert_eq!(left.schema(), file_schema(&table()));
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_file_without_the_column_is_refused() {
        let bytes = file(&[(Some("a".to_owned()), 1, 0.5)]);
        let other = RowSelection {
            robot_column: Some("who".to_owned()),
            ..selection(&["a"], None)
        };
        for refused in [
            count("t.parquet", &bytes, &other).map(drop),
            without("t.parquet", bytes.clone(), &other).map(drop),
        ] {
            let said = refused.unwrap_err().to_string();
            assert!(
                said.contains("t.parquet") && said.contains("'who'"),
                "{said}"
            );
        }
    }
}
