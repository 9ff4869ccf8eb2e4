//! Avro to columns: a plan compiled once per writer schema, and builders that take one datum at a
//! time.
//!
//! Why not a library: arrow-avro decodes a stream, and a truncated or poisonous record costs it the
//! batch; it has no flat form of arrays either. Here every record either adds one value to every
//! column or, on any error, none. A datum must be consumed up to its last byte. The tests compare
//! with apache-avro's results. Wire format: Avro 1.12 specification, "Binary encoding".

mod builder;
mod column;
mod cursor;
pub(crate) mod decimal;
mod plan;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

pub use builder::BatchBuilder;
pub use plan::DecodePlan;

/// Why a datum was refused. No column has a value of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside the record.
    #[error("the record ends at byte {at}, in the middle of a value")]
    Truncated {
        /// Length of the datum.
        at: usize,
    },
    /// Bytes are left after the record.
    #[error(
        "{left} bytes are left after the record: wrong schema id, or two records in one message"
    )]
    Trailing {
        /// How many bytes.
        left: usize,
    },
    /// The bytes are no value of the type.
    #[error("byte {at}: {what}")]
    Malformed {
        /// Offset of the value in the datum.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The record was decoded, but it names no robot or no time.
    #[error("the record has no {what}, so it cannot be given to a robot")]
    Unroutable {
        /// The missing field.
        what: &'static str,
    },
    /// The id of the robot begins as the names of other actors do.
    #[error("the robot_id begins with '{prefix}', which names something else than a robot")]
    Reserved {
        /// What it begins with.
        prefix: &'static str,
    },
    /// The record was decoded, but an id in it is longer than a store can index.
    #[error("{what} has {bytes} bytes, {ID_BYTES_MAX} are allowed")]
    NameTooLong {
        /// The field.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A time or date is outside the years 0001 to 9999, see [`TIMESTAMP_RANGE`].
    #[error(
        "column '{column}' is {value} {unit} from 1970-01-01: only the years 0001 to 9999 are taken"
    )]
    OutOfRange {
        /// Name of the column.
        column: String,
        /// The value in the record.
        value: i64,
        /// The unit of the value.
        unit: &'static str,
    },
}

/// Longest robot or procedure id, bytes of UTF-8: they are keys, and an index of PostgreSQL takes
/// 2,704 bytes for all columns of an entry.
pub const ID_BYTES_MAX: usize = 512;

/// What a timestamp column holds, microseconds from 1970-01-01T00:00:00Z: 0001-01-01 to the end of
/// 9999-12-31. These are the years of SQL's and ISO 8601's datetimes, and all that Python's
/// `datetime` has. PostgreSQL and Redshift hold 4713 BC to AD 294276, so what is computed from such
/// a time, like the start of its window, has a place there too.
pub const TIMESTAMP_RANGE: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// What a date column holds, days from 1970-01-01: the same years.
pub const DATE_RANGE: RangeInclusive<i64> = -719_162..=2_932_896;
