//! Avro to columns: a plan compiled once per writer schema, and builders that take one datum at a time.
//!
//! Why not a library: arrow-avro decodes a stream, and a truncated or poisonous record costs it the batch; it has no flat form of
//! arrays either. Here every record either adds one value to every column or, on any error, none. A datum must be used up to its
//! last byte. apache-avro is the oracle of the tests. Wire format: Avro 1.12 specification, "Binary encoding".

mod builder;
mod cursor;
mod plan;
#[cfg(test)]
mod tests;

pub use builder::BatchBuilder;
pub use plan::DecodePlan;

/// Why a datum was refused. Nothing of it was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside the record.
    #[error("the record ends at byte {at}, in the middle of a value")]
    Truncated {
        /// Length of the datum.
        at: usize,
    },
    /// Bytes are left over.
    #[error("{left} bytes are left after the record: wrong schema id, or two records in one message")]
    Trailing {
        /// How many.
        left: usize,
    },
    /// A value that its type does not allow.
    #[error("byte {at}: {what}")]
    Malformed {
        /// Where.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Decoded, but it names no robot or no time.
    #[error("the record has no {what}, so it belongs to nobody")]
    Unroutable {
        /// The missing field.
        what: &'static str,
    },
    /// Decoded, but a name in it is longer than any store can look up.
    #[error("{what} has {bytes} bytes, {ID_BYTES_MAX} are allowed")]
    NameTooLong {
        /// The field.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
}

/// Longest robot or procedure id, bytes of UTF-8: they are keys, and an index of PostgreSQL takes 2,704 bytes for all columns of an entry.
pub const ID_BYTES_MAX: usize = 512;
