//! Schema, mapping and rules for a file, written for a person to change.
//!
//! The three files replay the file that they were made from as they are, unless it does not say
//! something that only the user knows; the mapping then says what. Limits of rules come from the
//! data's own distribution: they are guesses, of low priority, and marked as such.

mod mapping_text;
mod rules_text;
#[cfg(test)]
mod tests;
mod widened;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use theatre_config::ConfigError;
use theatre_schemas::dataset::ColumnType;

pub use widened::widened;

use crate::look::{Column, Looked};

/// Ids that schemas get here: above those that are shipped and those that people give by hand.
const IDS: std::ops::Range<u32> = 100_000..1_000_000;

/// Three files for a recording: names, and what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inferred {
    /// The Avro schema.
    pub schema: (String, String),
    /// The mapping, which names the other two.
    pub mapping: (String, String),
    /// The rules.
    pub rules: (String, String),
}

impl Inferred {
    /// Makes the files. `is_taken` says whether a schema has an id already.
    pub fn of(looked: &Looked, is_taken: &dyn Fn(u32) -> bool) -> Self {
        let dataset = looked.dataset.as_str();
        Self {
            schema: (
                format!("{dataset}.avsc"),
                format!("{:#}\n", schema(looked, is_taken)),
            ),
            mapping: (format!("{dataset}.toml"), mapping_text::of(looked)),
            rules: (format!("{dataset}.rules.toml"), rules_text::of(looked)),
        }
    }

    /// Writes the files into a folder, which is made, and gives their paths: schema, mapping,
    /// rules. Files that are there are kept unless `force` is given.
    ///
    /// # Errors
    /// When one of them is there, or cannot be written.
    pub fn write(&self, folder: &Path, force: bool) -> Result<[PathBuf; 3], ConfigError> {
        let files = [&self.schema, &self.mapping, &self.rules];
        let paths = files.map(|(name, _)| folder.join(name));
        if let Some(there) = paths.iter().find(|path| !force && path.exists()) {
            return Err(ConfigError(format!(
                "{} is there already: give --force to overwrite it, or another folder",
                there.display()
            )));
        }
        std::fs::create_dir_all(folder)
            .map_err(|error| ConfigError(format!("{}: {error}", folder.display())))?;
        for ((_, text), path) in files.iter().zip(&paths) {
            std::fs::write(path, text)
                .map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
        }
        Ok(paths)
    }
}

/// The schema of the rows.
fn schema(looked: &Looked, is_taken: &dyn Fn(u32) -> bool) -> Value {
    let dataset = looked.dataset.as_str();
    let mut fields = vec![
        json!({"name": "robot_id", "type": "string", "doc": "The robot."}),
        json!({
            "name": "event_time",
            "type": {"type": "long", "logicalType": "timestamp-micros"},
            "doc": "Time of the row.",
            "unit": "us since 1970-01-01T00:00:00Z",
        }),
        json!({"name": "sequence", "type": "long", "doc": "Number of the row, given when it is read."}),
    ];
    fields.extend(looked.columns.iter().map(field));
    let id = free_id(dataset, &fields, is_taken);
    json!({
        "type": "record",
        "name": record_name(dataset),
        "namespace": format!("{dataset}.v1"),
        "doc": format!("A row of {}.", crate::records::shown(&looked.file)),
        "theatre": {"id": id, "dataset": dataset, "kind": "telemetry", "version": 1},
        "fields": fields,
    })
}

fn field(column: &Column) -> Value {
    let plain = match column.column_type {
        ColumnType::Boolean => json!("boolean"),
        ColumnType::Int64 | ColumnType::Int32 => json!("long"),
        ColumnType::Float64 | ColumnType::Float32 => json!("double"),
        ColumnType::TimestampMicros | ColumnType::Date => {
            json!({"type": "long", "logicalType": "timestamp-micros"})
        }
        ColumnType::Utf8 | ColumnType::Binary | ColumnType::Decimal { .. } => json!("string"),
    };
    let mut field = json!({
        "name": column.field,
        "type": ["null", plain],
        "default": null,
        "doc": format!("Column '{}'.", crate::records::shown(&column.name)),
    });
    if let Some(unit) = &column.unit {
        field["unit"] = json!(unit);
    }
    field
}

/// `robot_data` is the record `RobotData`.
fn record_name(dataset: &str) -> String {
    dataset
        .split('_')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + rest
        })
        .collect()
}

/// An id that goes by what the schema says, so that the same one gets the same id again.
fn free_id(dataset: &str, fields: &[Value], is_taken: &dyn Fn(u32) -> bool) -> u32 {
    let mut hash = Sha256::new();
    hash.update(dataset);
    for field in fields {
        hash.update(field["name"].to_string());
        hash.update(field["type"].to_string());
    }
    let digest = hash.finalize();
    let number = digest
        .iter()
        .take(4)
        .fold(0u32, |number, byte| number << 8 | u32::from(*byte));
    let count = IDS.end - IDS.start;
    (0..count)
        .map(|step| IDS.start + (number % count + step) % count)
        .find(|id| !is_taken(*id))
        .unwrap_or(IDS.start)
}
