//! The first rows of a range, each once.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};
use theatre_actors::ports::{ColumnType, Error, Lake, RegisteredFile};
use theatre_actors::position::Partition;
use theatre_parquet::records::RecordReader;
use theatre_schemas::batch::Batch;

use super::{Place, Question};
use crate::model::{TelemetryRow, Time};
use crate::rows::date;

/// The first rows of the range, by place: one more than are wanted at most.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: BTreeMap<Place, TelemetryRow>,
    /// Topic, boot and number of the rows of the range, whether they are among the first or not.
    numbers: HashSet<(String, i64, i64)>,
}

impl Found {
    /// Takes the rows of a file.
    pub(super) fn read(
        &mut self,
        lake: &dyn Lake,
        file: &RegisteredFile,
        question: &Question,
    ) -> Result<(), Error> {
        let path = &file.file.path;
        let bytes = lake.open_file(path)?;
        let (dataset, index) = (question.dataset.clone(), question.index);
        let mut reader = RecordReader::open_some(path, &*bytes, dataset, index, |_| true)?;
        while let Some(records) = reader.read_next()? {
            let mut begin = 0;
            for (topic, end) in &records.topics {
                for row in begin..*end {
                    if is_wanted(&records.batch, row, question) {
                        self.note(&records.batch, row, topic);
                        self.take(
                            &records.batch,
                            row,
                            (topic, file.partition),
                            question,
                            false,
                        );
                    }
                }
                begin = *end;
            }
        }
        Ok(())
    }

    /// Takes a row of the log, unless it says what one says that is there: the lake will have it once.
    pub(super) fn take_new(
        &mut self,
        batch: &Batch,
        row: usize,
        place: (&str, Partition),
        question: &Question,
    ) {
        if is_wanted(batch, row, question) && self.note(batch, row, place.0) {
            self.take(batch, row, place, question, question.hides_persons);
        }
    }

    /// Notes the number of a row; false where it was there. A row without one is always new.
    fn note(&mut self, batch: &Batch, row: usize, topic: &str) -> bool {
        batch.sequence(row).is_none_or(|sequence| {
            let boot = batch.boot_id(row).unwrap_or(0);
            self.numbers.insert((topic.to_owned(), boot, sequence))
        })
    }

    fn take(
        &mut self,
        batch: &Batch,
        row: usize,
        (topic, partition): (&str, Partition),
        question: &Question,
        hides_persons: bool,
    ) {
        let time = batch.event_times()[row];
        let place = (time, topic.to_owned(), partition, batch.offsets[row]);
        let is_shown = question.after.as_ref().is_some_and(|after| place <= *after);
        let last = self.rows.last_key_value();
        let is_full = self.rows.len() > question.limit;
        if is_shown || (is_full && last.is_some_and(|(last, _)| *last <= place)) {
            return;
        }
        let shown = TelemetryRow {
            event_time: Time(time),
            appended_at: Time(batch.append_times[row]),
            topic: topic.to_owned(),
            partition,
            offset: batch.offsets[row],
            values: values(batch, row, hides_persons),
        };
        self.rows.insert(place, shown);
        if self.rows.len() > question.limit + 1 {
            self.rows.pop_last();
        }
    }
}

fn is_wanted(batch: &Batch, row: usize, question: &Question) -> bool {
    let time = batch.event_times()[row];
    (question.from..question.to).contains(&time) && batch.robot_id(row) == question.robot
}

/// The values of a row by the names of its columns; those that are missing are left out.
fn values(batch: &Batch, row: usize, hides_persons: bool) -> Map<String, Value> {
    let cell = |column: usize, column_type: ColumnType| match column_type {
        ColumnType::Utf8 => batch.text(column, row).map(|text| json!(text)),
        ColumnType::Boolean => batch.number(column, row).map(|value| json!(value != 0.0)),
        ColumnType::Float32 | ColumnType::Float64 => {
            let value = batch.number(column, row);
            value
                .filter(|value| value.is_finite())
                .map(|value| json!(value))
        }
        ColumnType::Int32 | ColumnType::Int64 => batch.int(column, row).map(|value| json!(value)),
        ColumnType::TimestampMicros => batch.int(column, row).map(|at| json!(Time(at))),
        ColumnType::Decimal { scale, .. } => {
            let unit = 10_f64.powi(i32::from(scale));
            let units = batch.decimal(column, row);
            units.map(|units| json!(units as f64 / unit))
        }
        ColumnType::Date => batch.date(column, row).and_then(date).map(|day| json!(day)),
        ColumnType::Binary => None,
    };
    let columns = batch.dataset.columns.iter().enumerate();
    columns
        .filter(|(_, spec)| !(hides_persons && spec.person.is_some()))
        .filter_map(|(at, spec)| Some((spec.name.clone(), cell(at, spec.column_type)?)))
        .collect()
}
