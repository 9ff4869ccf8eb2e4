//! The flat columns of a record: fields of records by their paths, elements of arrays by index.

use super::{ColumnSpec, ColumnType, DECIMAL_PRECISION_MAX, SchemaError, field_error};
use crate::avro_type::{AvroField, AvroType, Logical};

/// Arrays are flattened to at most this many elements.
pub const ARRAY_LENGTH_MAX: usize = 1024;

/// Most columns of a dataset: tables have no more, and arrays of arrays would make any number of
/// them of a few words.
pub const COLUMNS_MAX: usize = 4096;

/// Adds the columns of a record's fields, in order.
pub(super) fn flatten(
    fields: &[AvroField],
    prefix: &str,
    columns: &mut Vec<ColumnSpec>,
) -> Result<(), SchemaError> {
    for field in fields {
        let name = if prefix.is_empty() {
            field.name.clone()
        } else {
            format!("{prefix}.{}", field.name)
        };
        flatten_type(field, &field.avro_type, name, columns)?;
    }
    Ok(())
}

/// Adds the columns of one field: one for a leaf, several for a record or an array.
fn flatten_type(
    field: &AvroField,
    avro_type: &AvroType,
    name: String,
    columns: &mut Vec<ColumnSpec>,
) -> Result<(), SchemaError> {
    match avro_type {
        AvroType::Record(fields) => return flatten(fields, &name, columns),
        AvroType::Union(branches) => {
            let mut present = branches
                .iter()
                .filter(|branch| !matches!(branch, AvroType::Null));
            return match (present.next(), present.next()) {
                (Some(only), None) => flatten_type(field, only, name, columns),
                (None, _) => Ok(()),
                _ => Err(field_error(
                    &name,
                    "is a union of several types: only [\"null\", T] has a flat form; split it into one field each",
                )),
            };
        }
        AvroType::Array { items, length } => {
            let length = length.filter(|length| (1..=ARRAY_LENGTH_MAX).contains(length)).ok_or_else(|| {
                field_error(&name, format!("is an array: give it a property \"length\" of 1 to {ARRAY_LENGTH_MAX}, the most elements it can have"))
            })?;
            let before = columns.len();
            for index in 0..length {
                flatten_type(field, items, format!("{name}[{index}]"), columns)?;
                if columns.len() == before {
                    break; // Nor has any other element a column.
                }
            }
            return Ok(());
        }
        AvroType::Null => return Ok(()),
        _ => {}
    }
    let column_type = column_type(avro_type).ok_or_else(|| {
        field_error(
            &name,
            "is a map: maps have no fixed columns; use a record or an array of declared length",
        )
    })?;
    if field.person.is_some() && column_type != ColumnType::Utf8 {
        return Err(field_error(
            &name,
            "is marked as a person but is not a string: pseudonyms are text",
        ));
    }
    if columns.len() >= COLUMNS_MAX {
        return Err(field_error(
            &name,
            format!(
                "is a column too many: a record has {COLUMNS_MAX} at most, its arrays flattened; declare shorter arrays"
            ),
        ));
    }
    columns.push(ColumnSpec {
        name,
        column_type,
        unit: field.unit.clone(),
        doc: field.doc.clone(),
        person: field.person.clone(),
        symbols: match avro_type {
            AvroType::Enum { symbols, .. } => symbols.clone(),
            _ => Vec::new(),
        },
    });
    Ok(())
}

/// The column type of a leaf; `None` for types that are not leaves.
pub(crate) fn column_type(avro_type: &AvroType) -> Option<ColumnType> {
    Some(match avro_type {
        AvroType::Boolean => ColumnType::Boolean,
        AvroType::Int(Logical::Date) => ColumnType::Date,
        AvroType::Int(_) => ColumnType::Int32,
        AvroType::Long(Logical::TimestampMillis | Logical::TimestampMicros) => {
            ColumnType::TimestampMicros
        }
        AvroType::Long(_) => ColumnType::Int64,
        AvroType::Float => ColumnType::Float32,
        AvroType::Double => ColumnType::Float64,
        AvroType::Bytes(Logical::Decimal { precision, scale })
        | AvroType::Fixed(_, Logical::Decimal { precision, scale }) => {
            if (1..=DECIMAL_PRECISION_MAX).contains(precision) && scale <= precision {
                ColumnType::Decimal {
                    precision: *precision as u8,
                    scale: *scale as u8,
                }
            } else {
                ColumnType::Float64
            }
        }
        AvroType::String | AvroType::Enum { .. } => ColumnType::Utf8,
        AvroType::Bytes(_) | AvroType::Fixed(..) => ColumnType::Binary,
        _ => return None,
    })
}
