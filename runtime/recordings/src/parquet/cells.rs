//! Arrow arrays as columns of cells.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, OffsetSizeTrait, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use theatre_schemas::dataset::ARRAY_LENGTH_MAX;

use super::Known;
use crate::column_search::COLUMNS_MAX;
use crate::json::number;
use crate::records::{Cell, shown};

/// Which value of an array stands in a row of the file; absent: that of the same number.
type Rows = Option<Arc<[Option<usize>]>>;

/// A column of a batch.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// Its name.
    pub(crate) name: String,
    array: ArrayRef,
    rows: Rows,
    /// Whether a timestamp without a zone is an instant.
    instant: bool,
}

/// The columns of a batch while they are gathered.
pub(crate) struct Leaves<'a> {
    known: &'a mut Known,
    leaves: Vec<Leaf>,
    rows: usize,
}

impl Leaves<'_> {
    /// The columns of a batch.
    pub(crate) fn of(batch: &RecordBatch, known: &mut Known) -> Vec<Leaf> {
        let mut gathered = Leaves {
            known,
            leaves: Vec::new(),
            rows: batch.num_rows(),
        };
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            gathered.add(field.name().clone(), array, &None);
        }
        gathered.leaves
    }

    fn leave_out(&mut self, why: String) {
        self.known.left_out.insert(why);
    }

    fn add(&mut self, name: String, array: &ArrayRef, rows: &Rows) {
        if self.leaves.len() >= COLUMNS_MAX {
            self.leave_out(format!(
                "the file has more than {COLUMNS_MAX} columns: the others are left out"
            ));
            return;
        }
        match array.data_type() {
            DataType::Struct(fields) => {
                let inner = array.as_struct();
                let rows = self.mapped(rows, |row| inner.is_valid(row).then_some(row));
                for (field, column) in fields.iter().zip(inner.columns()) {
                    self.add(format!("{name}.{}", field.name()), column, &rows);
                }
            }
            DataType::List(_) => self.add_list::<i32>(&name, array, rows),
            DataType::LargeList(_) => self.add_list::<i64>(&name, array, rows),
            DataType::FixedSizeList(_, width) => {
                let list = array.as_fixed_size_list();
                let width = usize::try_from(*width).unwrap_or(0);
                let at = |row: usize| {
                    list.is_valid(row)
                        .then(|| (list.value_offset_at(row), width))
                };
                self.add_elements(&name, list.values(), rows, &at);
            }
            DataType::Dictionary(..) => {
                let Some(dictionary) = array.as_any_dictionary_opt() else {
                    return;
                };
                let values = dictionary.values();
                let keys = if values.is_empty() {
                    Vec::new()
                } else {
                    dictionary.normalized_keys()
                };
                let rows = self.mapped(rows, |row| {
                    let key = keys.get(row).copied();
                    key.filter(|_| array.is_valid(row))
                });
                self.add(name, values, &rows);
            }
            kind if is_value(kind) => self.add_leaf(name, array, rows),
            kind => {
                let why = format!(
                    "column '{}' is of the type {}, which has no flat form: it is left out",
                    shown(&name),
                    shown(&kind.to_string())
                );
                self.leave_out(why);
            }
        }
    }

    fn add_leaf(&mut self, name: String, array: &ArrayRef, rows: &Rows) {
        self.leaves.push(Leaf {
            instant: self.known.instants.contains(&name),
            name,
            array: Arc::clone(array),
            rows: rows.clone(),
        });
    }

    fn add_list<O: OffsetSizeTrait>(&mut self, name: &str, array: &ArrayRef, rows: &Rows) {
        let list = array.as_list::<O>();
        let at = |row: usize| {
            let begin = list.value_offsets()[row].as_usize();
            list.is_valid(row)
                .then(|| (begin, list.value_length(row).as_usize()))
        };
        self.add_elements(name, list.values(), rows, &at);
    }

    /// The elements of lists: `at` gives where those of a row begin, and how many they are.
    fn add_elements(
        &mut self,
        name: &str,
        values: &ArrayRef,
        rows: &Rows,
        at: &dyn Fn(usize) -> Option<(usize, usize)>,
    ) {
        let place = |row: usize| match rows {
            Some(rows) => rows[row],
            None => Some(row),
        };
        let longest = (0..self.rows)
            .filter_map(place)
            .filter_map(|row| at(row).map(|(_, length)| length))
            .max()
            .unwrap_or(0);
        if !self.known.settled {
            self.known
                .widths
                .insert(name.to_owned(), longest.min(ARRAY_LENGTH_MAX));
        }
        let width = self.known.widths.get(name).copied().unwrap_or(0);
        if longest > width {
            self.leave_out(format!(
                "lists in column '{}' have more than the {width} elements of the first rows: the others are left out",
                shown(name)
            ));
        }
        for index in 0..width {
            if self.leaves.len() >= COLUMNS_MAX {
                break;
            }
            let element = self.mapped(rows, |row| {
                at(row).and_then(|(begin, length)| (index < length).then_some(begin + index))
            });
            self.add(format!("{name}[{index}]"), values, &element);
        }
    }

    /// Which values of an inner array stand in the rows, if `inner` gives that for the outer one.
    fn mapped(&self, rows: &Rows, inner: impl Fn(usize) -> Option<usize>) -> Rows {
        let mapped = (0..self.rows).map(|row| match rows {
            Some(rows) => rows[row].and_then(&inner),
            None => inner(row),
        });
        Some(mapped.collect())
    }
}

/// Whether values of a type are cells.
fn is_value(kind: &DataType) -> bool {
    kind.is_primitive() && !matches!(kind, DataType::Interval(_))
        || matches!(
            kind,
            DataType::Null
                | DataType::Boolean
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
        )
}

impl Leaf {
    /// The value in a row of the batch.
    pub(crate) fn cell(&self, row: usize) -> Cell {
        let at = match &self.rows {
            Some(rows) => rows.get(row).copied().flatten(),
            None => Some(row),
        };
        match at.filter(|at| *at < self.array.len() && self.array.is_valid(*at)) {
            Some(at) => self.value(at),
            None => Cell::Missing,
        }
    }

    fn value(&self, at: usize) -> Cell {
        let array = &self.array;
        macro_rules! plain {
            ($kind:ty) => {
                array.as_primitive::<$kind>().value(at)
            };
        }
        match array.data_type() {
            DataType::Boolean => Cell::Flag(array.as_boolean().value(at)),
            DataType::Int8 => Cell::Integer(plain!(Int8Type).into()),
            DataType::Int16 => Cell::Integer(plain!(Int16Type).into()),
            DataType::Int32 => Cell::Integer(plain!(Int32Type).into()),
            DataType::Int64 => Cell::Integer(plain!(Int64Type)),
            DataType::UInt8 => Cell::Integer(plain!(UInt8Type).into()),
            DataType::UInt16 => Cell::Integer(plain!(UInt16Type).into()),
            DataType::UInt32 => Cell::Integer(plain!(UInt32Type).into()),
            DataType::UInt64 => number(&plain!(UInt64Type).to_string()),
            DataType::Float16 => Cell::Number(plain!(Float16Type).to_f64()),
            DataType::Float32 => Cell::Number(plain!(Float32Type).into()),
            DataType::Float64 => Cell::Number(plain!(Float64Type)),
            DataType::Decimal32(..) => {
                number(&array.as_primitive::<Decimal32Type>().value_as_string(at))
            }
            DataType::Decimal64(..) => {
                number(&array.as_primitive::<Decimal64Type>().value_as_string(at))
            }
            DataType::Decimal128(..) => {
                number(&array.as_primitive::<Decimal128Type>().value_as_string(at))
            }
            DataType::Decimal256(..) => {
                number(&array.as_primitive::<Decimal256Type>().value_as_string(at))
            }
            DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(at).to_owned()),
            DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(at).to_owned()),
            DataType::Utf8View => Cell::Text(array.as_string_view().value(at).to_owned()),
            DataType::Binary => text(array.as_binary::<i32>().value(at)),
            DataType::LargeBinary => text(array.as_binary::<i64>().value(at)),
            DataType::BinaryView => text(array.as_binary_view().value(at)),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => self.time(at),
            DataType::Time32(_) | DataType::Time64(_) => self.time_of_day(at),
            DataType::Duration(unit) => {
                let (value, _) = self.count(at);
                Cell::Number(value as f64 / (1e9 / factor(*unit) as f64))
            }
            _ => Cell::Missing,
        }
    }

    /// The whole number behind a temporal value, and how many nanoseconds one of it is.
    fn count(&self, at: usize) -> (i128, i128) {
        let array = &self.array;
        macro_rules! plain {
            ($kind:ty) => {
                i128::from(array.as_primitive::<$kind>().value(at))
            };
        }
        match array.data_type() {
            DataType::Timestamp(unit, _) => (
                match unit {
                    TimeUnit::Second => plain!(TimestampSecondType),
                    TimeUnit::Millisecond => plain!(TimestampMillisecondType),
                    TimeUnit::Microsecond => plain!(TimestampMicrosecondType),
                    TimeUnit::Nanosecond => plain!(TimestampNanosecondType),
                },
                factor(*unit),
            ),
            DataType::Duration(unit) => (
                match unit {
                    TimeUnit::Second => plain!(DurationSecondType),
                    TimeUnit::Millisecond => plain!(DurationMillisecondType),
                    TimeUnit::Microsecond => plain!(DurationMicrosecondType),
                    TimeUnit::Nanosecond => plain!(DurationNanosecondType),
                },
                factor(*unit),
            ),
            DataType::Date32 => (plain!(Date32Type), 86_400_000_000_000),
            DataType::Date64 => (plain!(Date64Type), 1_000_000),
            DataType::Time32(TimeUnit::Second) => (plain!(Time32SecondType), 1_000_000_000),
            DataType::Time32(_) => (plain!(Time32MillisecondType), 1_000_000),
            DataType::Time64(TimeUnit::Microsecond) => (plain!(Time64MicrosecondType), 1000),
            DataType::Time64(_) => (plain!(Time64NanosecondType), 1),
            _ => (0, 1),
        }
    }

    fn time(&self, at: usize) -> Cell {
        let (value, each) = self.count(at);
        let kind = self.array.data_type();
        if self.instant || matches!(kind, DataType::Timestamp(_, Some(_))) {
            return Cell::Time(value * each);
        }
        let Ok(civil) = jiff::Timestamp::from_nanosecond(value * each) else {
            return Cell::Text(format!("{value} times {each} ns since 1970"));
        };
        let civil = civil.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        Cell::Text(if matches!(kind, DataType::Timestamp(..)) {
            civil.to_string()
        } else {
            civil.date().to_string()
        })
    }

    fn time_of_day(&self, at: usize) -> Cell {
        let (value, each) = self.count(at);
        let day = jiff::Timestamp::from_nanosecond(value * each);
        match day {
            Ok(day) if (0..86_400_000_000_000).contains(&(value * each)) => Cell::Text(
                day.to_zoned(jiff::tz::TimeZone::UTC)
                    .datetime()
                    .time()
                    .to_string(),
            ),
            _ => Cell::Text(format!("{value} times {each} ns since midnight")),
        }
    }
}

/// Nanoseconds of a unit.
fn factor(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Text of a column without the mark that it is text, as old writers leave it; other bytes are no
/// value.
fn text(bytes: &[u8]) -> Cell {
    std::str::from_utf8(bytes).map_or(Cell::Missing, |text| Cell::Text(text.to_owned()))
}
