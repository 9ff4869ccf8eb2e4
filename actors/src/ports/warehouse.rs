//! The warehouse: tables that whole files are loaded into, with a ledger.

use serde::{Deserialize, Serialize};

use super::{Lake, LoadBatch, Result};

/// Type of a warehouse column; the physical types of a dataset.
pub use theatre_schemas::dataset::ColumnType;

/// How rows of a table meet rows that are there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadMode {
    /// Every row is new.
    Append,
    /// The row with the same key and a lower revision is replaced.
    MergeByRevision {
        /// Key columns.
        key: Vec<String>,
        /// Revision column.
        revision: String,
    },
}

impl LoadMode {
    /// The row with the same value of one key column and a lower `revision` is replaced.
    pub fn by_revision(key: &str) -> Self {
        Self::MergeByRevision {
            key: vec![key.to_owned()],
            revision: "revision".to_owned(),
        }
    }
}

/// A warehouse table; column order is the order in the files.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSpec {
    /// Name.
    pub name: String,
    /// Columns in file order.
    pub columns: Vec<(String, ColumnType)>,
    /// How loads meet what is there.
    pub mode: LoadMode,
}

/// The ledger's word on a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReceipt {
    /// Batch id.
    pub batch: String,
    /// Rows that were in its files.
    pub rows: u64,
}

/// Rows of a query, as JSON values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryResult {
    /// Column names.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<serde_json::Value>>,
}

/// A warehouse that loads whole files in a transaction with its own ledger.
pub trait Warehouse: Send + Sync {
    /// Creates tables, and appends new columns to those that are there; refuses any other change.
    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()>;

    /// Loads a batch, both rows and ledger row or neither. A batch already in the ledger changes
    /// nothing. `Refused` names the file at fault when it is known.
    fn load(&self, batch: &LoadBatch, lake: &dyn Lake) -> Result<LoadReceipt>;

    /// What the ledger says of a batch.
    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>>;

    /// Runs one read-only statement.
    fn query(&self, sql: &str) -> Result<QueryResult>;
}
