//! Outputs as rows of their tables: the columns that a kind declares, in Arrow.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, TimestampMicrosecondArray,
};
use arrow_schema::SchemaRef;
use theatre_actors::outputs::columns::ColumnSink;
use theatre_actors::outputs::{ALL, OutputEvent, OutputKind};
use theatre_actors::ports::{Error, Result, TableSpec};
use theatre_schemas::dataset::{ColumnType, Datasets};

use super::{arrow_type, fitting};

/// The tables of all kinds of output.
pub fn tables() -> Vec<TableSpec> {
    ALL.iter().map(|spec| spec.kind.table()).collect()
}

/// Outputs of one kind as rows of their table's files.
///
/// # Errors
/// When a payload cannot be read; when Arrow refuses, which would be a bug.
pub fn record_batch(
    kind: OutputKind,
    schema: &SchemaRef,
    outputs: &[&OutputEvent],
    datasets: &Datasets,
) -> Result<RecordBatch> {
    let table = &kind.spec().table;
    let mut columns = ArrowColumns::default();
    (table.columns)(outputs, datasets, &mut columns)?;
    RecordBatch::try_new(schema.clone(), columns.0)
        .map_err(|error| Error::Refused(format!("table '{}': {error}", table.name)))
}

/// Collects columns as Arrow's arrays.
#[derive(Default)]
struct ArrowColumns(Vec<ArrayRef>);

impl ColumnSink for ArrowColumns {
    fn text(&mut self, _: &'static str, values: &mut dyn Iterator<Item = Option<Cow<'_, str>>>) {
        let mut texts = StringBuilder::new();
        for value in values {
            texts.append_option(value.as_deref().map(fitting));
        }
        self.0.push(Arc::new(texts.finish()));
    }

    fn int32(&mut self, _: &'static str, values: &mut dyn Iterator<Item = i32>) {
        let numbers = Int32Array::from_iter_values(values);
        self.0.push(Arc::new(numbers));
    }

    fn int64(&mut self, _: &'static str, values: &mut dyn Iterator<Item = i64>) {
        let numbers = Int64Array::from_iter_values(values);
        self.0.push(Arc::new(numbers));
    }

    fn optional_int32(&mut self, _: &'static str, values: &mut dyn Iterator<Item = Option<i32>>) {
        self.0.push(Arc::new(values.collect::<Int32Array>()));
    }

    fn flag(&mut self, _: &'static str, values: &mut dyn Iterator<Item = bool>) {
        let truths: BooleanArray = values.map(Some).collect();
        self.0.push(Arc::new(truths));
    }

    fn date(&mut self, _: &'static str, values: &mut dyn Iterator<Item = Option<i32>>) {
        self.0.push(Arc::new(values.collect::<Date32Array>()));
    }

    fn decimal(
        &mut self,
        _: &'static str,
        column_type: ColumnType,
        values: &mut dyn Iterator<Item = Option<i64>>,
    ) {
        let units = values.map(|units| units.map(i128::from));
        let units = units.collect::<Decimal128Array>();
        self.0
            .push(Arc::new(units.with_data_type(arrow_type(column_type))));
    }

    fn float(&mut self, _: &'static str, values: &mut dyn Iterator<Item = Option<f64>>) {
        let numbers = values.collect::<Float64Array>();
        self.0.push(Arc::new(numbers));
    }

    fn time(&mut self, _: &'static str, values: &mut dyn Iterator<Item = Option<i64>>) {
        let times = values.collect::<TimestampMicrosecondArray>();
        self.0.push(Arc::new(times.with_timezone("UTC")));
    }
}
