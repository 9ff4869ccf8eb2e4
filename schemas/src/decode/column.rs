//! One column under construction: its values so far and which of them are null.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

use crate::dataset::{ColumnSpec, ColumnType, Dataset};

/// The values of a column; a null has a placeholder here. `ends` are the ends of the values in
/// `bytes`, after a leading 0.
#[derive(Debug)]
pub(super) enum ColumnValues {
    /// The values of this signal are in the rows.
    Signal(usize),
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Utf8 {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Binary {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
    /// Units of the last digit, with the digits and those after the point.
    Decimal(Vec<i64>, u32, u8),
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) values: ColumnValues,
    /// Rows without a value, ascending: most columns have none.
    pub(super) nulls: Vec<u32>,
    /// Domain of its pseudonym, for columns that identify a person.
    pub(super) person: Option<String>,
}

impl Column {
    /// Empty columns of a dataset, with room for so many rows.
    pub(super) fn all_of(dataset: &Dataset, rows: usize) -> Vec<Self> {
        let column = |(index, spec): (usize, &ColumnSpec)| match dataset.signal_in_rows(index) {
            Some(signal) => Self {
                values: ColumnValues::Signal(signal),
                nulls: Vec::new(),
                person: None,
            },
            None => Self::with_capacity(spec.column_type, spec.person.clone(), rows),
        };
        dataset.columns.iter().enumerate().map(column).collect()
    }

    fn with_capacity(column_type: ColumnType, person: Option<String>, rows: usize) -> Self {
        let text = || {
            let mut ends = Vec::with_capacity(rows + 1);
            ends.push(0);
            (ends, Vec::with_capacity(rows * 12))
        };
        let values = match column_type {
            ColumnType::Boolean => ColumnValues::Boolean(Vec::with_capacity(rows)),
            ColumnType::Int32 => ColumnValues::Int32(Vec::with_capacity(rows)),
            ColumnType::Int64 => ColumnValues::Int64(Vec::with_capacity(rows)),
            ColumnType::Float32 => ColumnValues::Float32(Vec::with_capacity(rows)),
            ColumnType::Float64 => ColumnValues::Float64(Vec::with_capacity(rows)),
            ColumnType::Utf8 => {
                let (ends, bytes) = text();
                ColumnValues::Utf8 { ends, bytes }
            }
            ColumnType::Binary => {
                let (ends, bytes) = text();
                ColumnValues::Binary { ends, bytes }
            }
            ColumnType::TimestampMicros => ColumnValues::Timestamp(Vec::with_capacity(rows)),
            ColumnType::Date => ColumnValues::Date(Vec::with_capacity(rows)),
            ColumnType::Decimal { precision, scale } => {
                ColumnValues::Decimal(Vec::with_capacity(rows), precision.into(), scale)
            }
        };
        Self {
            values,
            nulls: Vec::new(),
            person,
        }
    }

    #[inline]
    pub(super) fn append(&mut self, value: &[u8]) {
        match &mut self.values {
            ColumnValues::Utf8 { ends, bytes } | ColumnValues::Binary { ends, bytes } => {
                bytes.extend_from_slice(value);
                ends.push(bytes.len() as i32);
            }
            _ => unreachable!("the plan resolves text and bytes to such columns only"),
        }
    }

    /// Appends a null as this row.
    pub(super) fn append_null(&mut self, row: usize) {
        debug_assert_eq!(row, self.len());
        self.nulls.push(row as u32);
        match &mut self.values {
            ColumnValues::Signal(_) => {}
            ColumnValues::Boolean(values) => values.push(false),
            ColumnValues::Int32(values) | ColumnValues::Date(values) => values.push(0),
            ColumnValues::Int64(values)
            | ColumnValues::Timestamp(values)
            | ColumnValues::Decimal(values, ..) => values.push(0),
            ColumnValues::Float32(values) => values.push(0.0),
            ColumnValues::Float64(values) => values.push(0.0),
            ColumnValues::Utf8 { ends, bytes } | ColumnValues::Binary { ends, bytes } => {
                ends.push(bytes.len() as i32)
            }
        }
    }

    /// The bytes of a text in the last row, which is this one; `None` for a null and in any other
    /// column.
    #[inline]
    pub(super) fn last_text(&self, row: usize) -> Option<&[u8]> {
        let ColumnValues::Utf8 { ends, bytes } = &self.values else {
            return None;
        };
        let [from, to] = *ends.last_chunk::<2>()?;
        let is_null = self.nulls.last() == Some(&(row as u32));
        bytes.get(from as usize..to as usize).filter(|_| !is_null)
    }

    fn len(&self) -> usize {
        match &self.values {
            ColumnValues::Signal(_) => 0,
            ColumnValues::Boolean(values) => values.len(),
            ColumnValues::Int32(values) | ColumnValues::Date(values) => values.len(),
            ColumnValues::Int64(values)
            | ColumnValues::Timestamp(values)
            | ColumnValues::Decimal(values, ..) => values.len(),
            ColumnValues::Float32(values) => values.len(),
            ColumnValues::Float64(values) => values.len(),
            ColumnValues::Utf8 { ends, .. } | ColumnValues::Binary { ends, .. } => ends.len() - 1,
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        while self.nulls.last().is_some_and(|row| *row as usize >= rows) {
            self.nulls.pop();
        }
        match &mut self.values {
            ColumnValues::Signal(_) => {}
            ColumnValues::Boolean(values) => values.truncate(rows),
            ColumnValues::Int32(values) | ColumnValues::Date(values) => values.truncate(rows),
            ColumnValues::Int64(values)
            | ColumnValues::Timestamp(values)
            | ColumnValues::Decimal(values, ..) => values.truncate(rows),
            ColumnValues::Float32(values) => values.truncate(rows),
            ColumnValues::Float64(values) => values.truncate(rows),
            ColumnValues::Utf8 { ends, bytes } | ColumnValues::Binary { ends, bytes } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().copied().unwrap_or(0) as usize);
            }
        }
    }

    /// The column as an array; `None` for a signal that is in the rows.
    pub(super) fn finish(self, rows: usize) -> Option<ArrayRef> {
        let nulls = (!self.nulls.is_empty()).then(|| {
            let mut valid = vec![true; rows];
            for row in &self.nulls {
                valid[*row as usize] = false;
            }
            NullBuffer::from(valid)
        });
        Some(match self.values {
            ColumnValues::Signal(_) => return None,
            ColumnValues::Boolean(values) => {
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            ColumnValues::Int32(values) => primitive::<Int32Type>(values, nulls),
            ColumnValues::Int64(values) => primitive::<Int64Type>(values, nulls),
            ColumnValues::Float32(values) => primitive::<Float32Type>(values, nulls),
            ColumnValues::Float64(values) => primitive::<Float64Type>(values, nulls),
            ColumnValues::Timestamp(values) => {
                let array = PrimitiveArray::<TimestampMicrosecondType>::new(
                    ScalarBuffer::from(values),
                    nulls,
                );
                Arc::new(array.with_timezone("UTC"))
            }
            ColumnValues::Date(values) => primitive::<Date32Type>(values, nulls),
            ColumnValues::Decimal(values, precision, scale) => {
                let wide: Vec<i128> = values.into_iter().map(i128::from).collect();
                let data_type = DataType::Decimal128(precision as u8, scale as i8);
                let array = PrimitiveArray::<Decimal128Type>::new(ScalarBuffer::from(wide), nulls);
                Arc::new(array.with_data_type(data_type))
            }
            ColumnValues::Utf8 { ends, bytes } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                Arc::new(StringArray::new(offsets, bytes.into(), nulls))
            }
            ColumnValues::Binary { ends, bytes } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                Arc::new(BinaryArray::new(offsets, bytes.into(), nulls))
            }
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls))
}
