//! Fields of a schema as they are written.

use apache_avro::Schema;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;

use super::draft::{long, text};
use crate::cells::Value;

/// Where the value of a field of the schema comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Robot,
    Time,
    Sequence,
    /// Index into the plan's fields.
    Column(usize),
    /// The bytes of the field's default, its branch among them.
    Default(Vec<u8>),
}

/// How a field of the schema is written.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) source: Source,
    pub(super) leaf: Leaf,
    /// Branches of a union: of null, and of the value.
    pub(super) branches: Option<(i64, i64)>,
}

/// The form of a value on its way into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Flag,
    Whole,
    Single,
    Double,
    Text,
    Symbol,
    Millis,
    /// No column can fill it.
    None,
}

/// Writes a value as Avro does.
pub(super) fn write(bytes: &mut Vec<u8>, leaf: Leaf, value: &Value, symbols: &[String]) {
    match (leaf, value) {
        (Leaf::Symbol, Value::Text(value)) => {
            let symbol = symbols.iter().position(|symbol| symbol == value);
            long(bytes, symbol.unwrap_or(0) as i64);
        }
        (_, Value::Flag(flag)) => bytes.push(u8::from(*flag)),
        (_, Value::Whole(number)) => long(bytes, *number),
        (_, Value::Single(number)) => bytes.extend_from_slice(&number.to_le_bytes()),
        (_, Value::Number(number)) => bytes.extend_from_slice(&number.to_le_bytes()),
        (_, Value::Text(value)) => text(bytes, value),
        (Leaf::Millis, Value::Time(micros)) => long(bytes, micros.div_euclid(1000)),
        (_, Value::Time(micros)) => long(bytes, *micros),
        (_, Value::Day(day)) => long(bytes, i64::from(*day)),
    }
}

/// The form of a field, its branches if it is a union with null, and its symbols.
pub(super) fn leaf(schema: &Schema) -> (Leaf, Option<(i64, i64)>, Vec<String>) {
    if let Schema::Union(union) = schema {
        let null = union
            .variants()
            .iter()
            .position(|branch| *branch == Schema::Null);
        let value = union
            .variants()
            .iter()
            .position(|branch| *branch != Schema::Null);
        return match (null, value) {
            (Some(null), Some(value)) if union.variants().len() == 2 => {
                let (leaf, _, symbols) = leaf(&union.variants()[value]);
                (leaf, Some((null as i64, value as i64)), symbols)
            }
            _ => (Leaf::None, None, Vec::new()),
        };
    }
    let leaf = match schema {
        Schema::Boolean => Leaf::Flag,
        Schema::Int
        | Schema::Long
        | Schema::Date
        | Schema::TimeMillis
        | Schema::TimeMicros
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => Leaf::Whole,
        Schema::TimestampMillis => Leaf::Millis,
        Schema::Float => Leaf::Single,
        Schema::Double => Leaf::Double,
        Schema::String => Leaf::Text,
        Schema::Uuid(apache_avro::schema::UuidSchema::String) => Leaf::Text,
        Schema::Enum(symbols) => return (Leaf::Symbol, None, symbols.symbols.clone()),
        _ => Leaf::None,
    };
    (leaf, None, Vec::new())
}

pub(super) fn is_uuid_schema(schema: &Schema) -> bool {
    match schema {
        Schema::Uuid(_) => true,
        Schema::Union(union) => union.variants().iter().any(is_uuid_schema),
        _ => false,
    }
}

/// The bytes of a field's default.
pub(super) fn default_of(field: &apache_avro::schema::RecordField) -> Result<Vec<u8>, String> {
    let Some(default) = &field.default else {
        return Err(format!(
            "field '{}' has no default, and no column fills it: add {} = \"its column\" to \
             [columns], or give it a default in the schema",
            field.name, field.name
        ));
    };
    let written = AvroValue::try_from(default.clone())
        .map_err(|error| error.to_string())
        .and_then(|value| {
            value
                .resolve(&field.schema)
                .map_err(|error| error.to_string())
        })
        .and_then(|value| {
            GenericDatumWriter::builder(&field.schema)
                .build()
                .and_then(|writer| writer.write_value_to_vec(value))
                .map_err(|error| error.to_string())
        });
    written.map_err(|why| {
        format!(
            "the default of field '{}' cannot be written: {why}",
            field.name
        )
    })
}
