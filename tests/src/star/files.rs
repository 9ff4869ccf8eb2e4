//! Rows as files of the lake.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int32Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use theatre_actors::ports::{ColumnType, FileStage, Lake, RegisteredFile, TableSpec};
use theatre_parquet::file_schema;
use theatre_parquet::writer::FileWriter;

use super::{Cell, Row};

/// Writes rows into a file of a table.
pub(super) fn file(
    lake: &dyn Lake,
    spec: &TableSpec,
    number: u64,
    rows: &[Row],
) -> Result<RegisteredFile> {
    for name in rows.iter().flat_map(BTreeMap::keys) {
        ensure!(
            spec.columns.iter().any(|(column, _)| column == name),
            "{} has no column {name}",
            spec.name
        );
    }
    let schema = file_schema(spec);
    let path = format!("data/{}/theatre_version=1/{number}.parquet", spec.name);
    let mut writer = FileWriter::new(
        lake.begin(&path, &format!("p0-e1-{number}"))?,
        &schema,
        path.clone(),
        &spec.name,
    )?;
    for rows in rows.chunks(10_000) {
        let columns = spec
            .columns
            .iter()
            .map(|(name, kind)| column(name, *kind, rows))
            .collect::<Result<_>>()?;
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        writer.write(batch, rows.iter().map(|_| 0))?;
    }
    let file = writer.finish()?;
    lake.complete(&path, &file.upload)?;
    Ok(RegisteredFile {
        number,
        partition: 0,
        file,
        stage: FileStage::Completed,
        batch: None,
        note: None,
    })
}

fn column(name: &str, kind: ColumnType, rows: &[Row]) -> Result<ArrayRef> {
    let cells = rows.iter().map(|row| row.get(name));
    let whole = |cell: Option<&Cell>| match cell {
        Some(Cell::Whole(value)) => Some(*value),
        _ => None,
    };
    macro_rules! collect {
        ($builder:expr, $value:expr) => {{
            let mut builder = $builder;
            for cell in cells {
                builder.append_option($value(cell));
            }
            Arc::new(builder.finish())
        }};
    }
    let number = |cell: Option<&Cell>| match cell {
        Some(Cell::Number(value)) => Some(*value),
        _ => None,
    };
    let flag = |cell: Option<&Cell>| match cell {
        Some(Cell::Flag(value)) => Some(*value),
        _ => None,
    };
    fn text(cell: Option<&Cell>) -> Option<&str> {
        match cell {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        }
    }
    Ok(match kind {
        ColumnType::Boolean => collect!(BooleanBuilder::new(), flag),
        ColumnType::Int32 => collect!(Int32Builder::new(), |cell| whole(cell)
            .map(|value| value as i32)),
        ColumnType::Int64 => collect!(Int64Builder::new(), whole),
        ColumnType::Float64 => collect!(Float64Builder::new(), number),
        ColumnType::Decimal { precision, scale } => {
            let one = 10_f64.powi(i32::from(scale));
            let mut builder =
                Decimal128Builder::new().with_precision_and_scale(precision, scale as i8)?;
            for cell in cells {
                builder.append_option(number(cell).map(|value| (value * one).round() as i128));
            }
            Arc::new(builder.finish())
        }
        ColumnType::Utf8 => collect!(StringBuilder::new(), text),
        ColumnType::Date => collect!(Date32Builder::new(), |cell| whole(cell)
            .map(|value| value as i32)),
        ColumnType::TimestampMicros => {
            let mut builder = TimestampMicrosecondBuilder::new();
            for cell in cells {
                builder.append_option(whole(cell));
            }
            Arc::new(builder.finish().with_timezone("UTC"))
        }
        other => anyhow::bail!("no table of the star has a column of {other:?}, such as {name}"),
    })
}
