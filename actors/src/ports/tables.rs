//! Rows of outputs for the tables that people read in the checkpoint store.

use crate::outputs::OutputKind;

/// The values of a column, one for each row.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum ColumnValues {
    Text(Vec<Option<String>>),
    Int32(Vec<Option<i32>>),
    Int64(Vec<Option<i64>>),
    Boolean(Vec<Option<bool>>),
    /// Days since 1970-01-01.
    Date(Vec<Option<i32>>),
    /// In units of their last digit.
    Decimal(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    /// Microseconds UTC.
    Time(Vec<Option<i64>>),
}

impl ColumnValues {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Int32(values) | Self::Date(values) => values.len(),
            Self::Int64(values) | Self::Decimal(values) | Self::Time(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Float(values) => values.len(),
        }
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of the table of a kind of output.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRows {
    /// The kind.
    pub kind: OutputKind,
    /// Its columns by name, in the order of the table; all of the same length.
    pub columns: Vec<(String, ColumnValues)>,
    /// When each row was committed, microseconds UTC.
    pub committed_at: Vec<i64>,
    /// Of a kind whose rows come in groups ([`crate::outputs::Grouped`]) the rows of each: the
    /// columns that they share, and the moments, have a value for each group. Otherwise empty.
    pub groups: Vec<u32>,
}

/// What a consumer writes into the tables in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct TableBatch {
    /// The consumer whose position moves with the rows.
    pub consumer: String,
    /// Outputs up to here were written before: the consumer's position in the store.
    pub after: u64,
    /// The last output in the rows, or passed over.
    pub up_to: u64,
    /// The rows, by table.
    pub rows: Vec<TableRows>,
}
