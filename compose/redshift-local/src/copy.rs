//! COPY of Parquet files from S3 into a PostgreSQL table, inside the caller's transaction.
//!
//! Columns go by position; their number and types must fit; a manifest's sizes must be exact.
//! Messages name the file as Redshift does.

mod binary;
mod manifest;
mod objects;

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sqlx::{PgConnection, Row};

use crate::sql::copy_command::CopyCommand;
pub use objects::{Objects, S3Access};

/// A row may have this many bytes.
const ROW_BYTES_MAX: usize = 4 << 20;

/// A column of the table that is loaded.
struct Target {
    name: String,
    /// PostgreSQL's name of the type.
    type_name: String,
    /// Bytes that a VARCHAR, CHAR or VARBYTE holds.
    length_max: Option<usize>,
}

/// Runs a COPY; returns the rows loaded.
///
/// # Errors
/// The server's message.
pub async fn run(
    command: &CopyCommand,
    connection: &mut PgConnection,
    objects: &Objects,
) -> Result<u64, String> {
    let targets = targets(command, connection).await?;
    let files = if command.manifest {
        manifest::files(&command.from, objects).await?
    } else {
        manifest::by_prefix(&command.from, objects).await?
    };
    let mut rows = 0;
    for file in files {
        let Some(bytes) = file.fetch(objects).await? else {
            continue;
        };
        rows += load_file(command, &targets, &file.url, bytes, connection).await?;
    }
    Ok(rows)
}

async fn targets(
    command: &CopyCommand,
    connection: &mut PgConnection,
) -> Result<Vec<Target>, String> {
    let sql = "SELECT attname::text, format_type(atttypid, NULL)::text, CASE WHEN atttypid IN (1042, 1043) AND atttypmod > 4 THEN atttypmod - 4 \
               WHEN atttypid = 17 THEN (SELECT min(substring(pg_get_constraintdef(oid) FROM '<= ([0-9]+)')::int) FROM pg_constraint \
               WHERE contype = 'c' AND conrelid = attrelid AND conkey = ARRAY[attnum]) END FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let rows = sqlx::query(sql)
        .bind(&command.table)
        .fetch_all(connection)
        .await
        .map_err(|error| crate::run::message(&error))?;
    let target = |row: &sqlx::postgres::PgRow| -> Result<Target, sqlx::Error> {
        let length: Option<i32> = row.try_get(2)?;
        Ok(Target {
            name: row.try_get(0)?,
            type_name: row.try_get(1)?,
            length_max: length.map(|length| length.unsigned_abs() as usize),
        })
    };
    let all = rows
        .iter()
        .map(target)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if command.columns.is_empty() {
        return Ok(all);
    }
    let named = command.columns.iter().map(|name| {
        let found = all.iter().find(|target| target.name == *name);
        found.map(|found| Target {
            name: found.name.clone(),
            type_name: found.type_name.clone(),
            length_max: found.length_max,
        })
    });
    named.collect::<Option<Vec<_>>>().ok_or_else(|| {
        format!(
            "a column of the COPY list is not in table {}",
            command.table
        )
    })
}

async fn load_file(
    command: &CopyCommand,
    targets: &[Target],
    url: &str,
    bytes: Bytes,
    connection: &mut PgConnection,
) -> Result<u64, String> {
    let unreadable = |why: &dyn std::fmt::Display| {
        scan_error(
            url,
            &format!("has an invalid or corrupt Parquet structure: {why}"),
        )
    };
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| unreadable(&error))?;
    let schema = builder.schema().clone();
    let columns = schema.fields().len();
    if columns > targets.len() || (columns < targets.len() && !command.fill_record) {
        let why = format!(
            "Unmatched number of columns between table and file. Table columns: {}, Data columns: {columns}",
            targets.len()
        );
        return Err(scan_error(url, &why));
    }
    for (field, target) in schema.fields().iter().zip(targets) {
        if !binary::fits(field.data_type(), &target.type_name) {
            let why = format!(
                "has an incompatible Parquet schema for column '{url}.{}'. Column type: {}, Parquet schema: optional {} {}",
                target.name,
                target.type_name.to_uppercase(),
                field.data_type(),
                field.name()
            );
            return Err(scan_error(url, &why));
        }
    }
    let names: Vec<String> = targets[..columns]
        .iter()
        .map(|target| format!("\"{}\"", target.name.replace('"', "\"\"")))
        .collect();
    let sql = format!(
        "COPY {} ({}) FROM STDIN (FORMAT binary)",
        command.table,
        names.join(", ")
    );
    let mut sink = connection
        .copy_in_raw(&sql)
        .await
        .map_err(|error| crate::run::message(&error))?;
    let reader = builder
        .with_batch_size(4096)
        .build()
        .map_err(|error| unreadable(&error))?;
    let encoded = reader.map(|batch| {
        batch
            .map_err(|error| unreadable(&error))
            .and_then(|batch| encode(&batch, targets, url))
    });
    let mut failed = sink
        .send(binary::HEADER.as_slice())
        .await
        .map(|_| ())
        .map_err(|error| crate::run::message(&error))
        .err();
    for batch in encoded {
        failed = match batch {
            Ok(batch) if failed.is_none() => sink
                .send(batch)
                .await
                .map(|_| ())
                .map_err(|error| crate::run::message(&error))
                .err(),
            Ok(_) => failed,
            Err(why) => Some(why),
        };
        if failed.is_some() {
            break;
        }
    }
    if let Some(why) = failed {
        // What the server says to this is that it was asked to stop; why is what matters.
        let _ = sink.abort("the file is refused").await;
        return Err(why);
    }
    sink.send(binary::TRAILER.as_slice())
        .await
        .map_err(|error| crate::run::message(&error))?;
    sink.finish()
        .await
        .map_err(|error| crate::run::message(&error))
}

fn encode(batch: &RecordBatch, targets: &[Target], url: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(batch.get_array_memory_size() + batch.num_rows() * 8);
    for row in 0..batch.num_rows() {
        let (start, mut too_long) = (out.len(), None);
        out.extend_from_slice(&(batch.num_columns() as i16).to_be_bytes());
        for (column, target) in batch.columns().iter().zip(targets) {
            let written = binary::value(column, row, &mut out)
                .map_err(|why| scan_error(url, &format!("has in column {} {why}", target.name)))?;
            if let Some(most) = target.length_max.filter(|most| written > *most) {
                let name = &target.name;
                let why = format!(
                    "The length of the data column {name} is longer than the length defined in the table. Table: {most}, Data: {written}"
                );
                too_long = too_long.or(Some(why));
            }
        }
        if out.len() - start > ROW_BYTES_MAX {
            return Err(scan_error(
                url,
                &format!(
                    "has a row of {} bytes; the most is {ROW_BYTES_MAX}",
                    out.len() - start
                ),
            ));
        }
        if let Some(why) = too_long {
            return Err(scan_error(url, &why));
        }
    }
    Ok(out)
}

/// The message in which Redshift names a file that it cannot load.
fn scan_error(url: &str, why: &str) -> String {
    format!(
        "Spectrum Scan Error. Detail: error: Spectrum Scan Error, code: 15007, context: File '{url}' {why}"
    )
}
