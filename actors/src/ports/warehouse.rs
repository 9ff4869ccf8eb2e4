//! The warehouse: tables into which whole files are loaded, and a ledger of the loads.

use serde::{Deserialize, Serialize};

use super::{Error, Lake, LoadBatch, Result, TableErasure};

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
        Self::by_revision_of(&[key])
    }

    /// The row with the same values of these key columns and a lower `revision` is replaced.
    pub fn by_revision_of(key: &[&str]) -> Self {
        Self::MergeByRevision {
            key: key.iter().map(|name| (*name).to_owned()).collect(),
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

/// What tables a warehouse can have at all; known without asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableLimits {
    /// Most columns of a table.
    pub columns_max: usize,
    /// Longest name of a table or a column, bytes.
    pub name_bytes_max: usize,
    /// Names that no table may have; one that ends in `*` stands for all that begin so.
    pub reserved_tables: &'static [&'static str],
    /// Names that no column may have.
    pub reserved_columns: &'static [&'static str],
}

impl TableLimits {
    /// No limit at all.
    pub const NONE: Self = Self {
        columns_max: usize::MAX,
        name_bytes_max: usize::MAX,
        reserved_tables: &[],
        reserved_columns: &[],
    };

    /// Refuses a table that the warehouse cannot have, and says what to do.
    ///
    /// # Errors
    /// `Refused`, with the limit and the way out.
    pub fn check(&self, table: &TableSpec) -> Result<()> {
        let refused = |why: String| Err(Error::Refused(format!("table '{}': {why}", table.name)));
        let reserved = self.reserved_tables.iter().any(|name| {
            name.strip_suffix('*')
                .map_or(table.name == *name, |begin| table.name.starts_with(begin))
        });
        if reserved {
            return refused(
                "the warehouse keeps this name for itself, give the dataset another one (theatre.dataset)".to_owned(),
            );
        }
        if table.columns.len() > self.columns_max {
            return refused(format!(
                "it would have {} columns, the warehouse takes {}: split the schema into several datasets, or do without a warehouse ([warehouse] enabled = false)",
                table.columns.len(),
                self.columns_max
            ));
        }
        let names = table.columns.iter().map(|(name, _)| name);
        for name in names.chain([&table.name]) {
            if name.len() > self.name_bytes_max {
                return refused(format!(
                    "the name '{name}' has {} bytes, the warehouse takes {}: shorten it",
                    name.len(),
                    self.name_bytes_max
                ));
            }
        }
        let mut columns = table.columns.iter().map(|(name, _)| name.as_str());
        match columns.find(|name| self.reserved_columns.contains(name)) {
            Some(name) => refused(format!(
                "the warehouse keeps the column name '{name}' for itself: rename the field"
            )),
            None => Ok(()),
        }
    }
}

/// A warehouse that loads whole files in a transaction with its own ledger.
pub trait Warehouse: Send + Sync {
    /// What tables it can have.
    fn limits(&self) -> TableLimits {
        TableLimits::NONE
    }

    /// Refuses what [`Self::ensure_tables`] would refuse of these tables, and changes nothing: so a
    /// schema that the warehouse cannot follow is found before anything is kept under it.
    fn check_tables(&self, tables: &[TableSpec]) -> Result<()> {
        tables
            .iter()
            .try_for_each(|table| self.limits().check(table))
    }

    /// Creates missing tables, appends new columns to existing ones, and gives columns a type that
    /// theirs widens to ([`ColumnType::widens_to`]); any other change is refused.
    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()>;

    /// Loads a batch: its rows and its ledger entry are committed in one transaction. A batch that
    /// is in the ledger already is not loaded again. A file may have been written before its table
    /// got more columns, or wider ones. `BadFile` names the file at fault when it is known; any
    /// other error says nothing about the files.
    fn load(&self, batch: &LoadBatch, lake: &dyn Lake) -> Result<LoadReceipt>;

    /// Takes rows out of a table, in one transaction that no load comes between; returns how many, and
    /// `None`, with nothing done, when the ledger has another number of the table's loads.
    fn erase(&self, erasure: &TableErasure) -> Result<Option<u64>> {
        Err(Error::Refused(format!(
            "table '{}': this warehouse has no way to erase rows",
            erasure.table.name
        )))
    }

    /// The ledger entry of a batch; `None` when the batch was not loaded.
    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>>;

    /// Runs one read-only statement.
    fn query(&self, sql: &str) -> Result<QueryResult>;
}
