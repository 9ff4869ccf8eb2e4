//! The warehouse: tables into which whole files are loaded, and a ledger of the loads.

use serde::{Deserialize, Serialize};

use super::{Lake, LoadBatch, Result};

/// The type of a warehouse column: the same physical types as in a dataset.
pub use theatre_schemas::dataset::ColumnType;

/// How loaded rows are combined with the rows of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadMode {
    /// Every loaded row is inserted.
    Append,
    /// A loaded row replaces the row with the same key and a lower revision.
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
    /// How loads combine with existing rows.
    pub mode: LoadMode,
}

/// The ledger's entry for a loaded batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReceipt {
    /// Batch id.
    pub batch: String,
    /// Number of rows in its files.
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
    /// Creates missing tables and appends new columns to existing ones; any other change is
    /// refused.
    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()>;

    /// Loads a batch: its rows and its ledger entry are committed in one transaction. A batch that
    /// is in the ledger already is not loaded again. `Refused` names the file at fault when it is
    /// known.
    fn load(&self, batch: &LoadBatch, lake: &dyn Lake) -> Result<LoadReceipt>;

    /// The ledger entry of a batch; `None` when the batch was not loaded.
    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>>;

    /// Runs one read-only statement.
    fn query(&self, sql: &str) -> Result<QueryResult>;
}
