//! The warehouse on Amazon Redshift, through its Data API.
//!
//! A load is one batch of statements, which is one transaction: lock the ledger, stage the files by
//! manifest, copy the rows to their table unless the ledger has the batch, add the batch to the
//! ledger. A load of unknown outcome is looked up by its name, then in the ledger, and never
//! repeated without that. The
//! ledger, the dimensions and the views are migrations (`theatre migrate --warehouse`); tables of
//! outputs are made from their specifications.

mod erase;
mod inspect;
mod load;
mod migrations;
mod poller;
mod session;
mod sql;
mod tables;
mod users;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_credential_types::Credentials;
use theatre_actors::ports::{
    Error, Lake, LoadBatch, LoadReceipt, QueryResult, Result, TableErasure, TableLimits, TableSpec,
    Warehouse,
};

pub use inspect::{Inspection, inspect};
use session::Session;
pub use tables::LIMITS;
use theatre_config::warehouse::WarehouseConfig;
use theatre_system::blocking::IoRuntime;
pub use users::Users;

/// Opens the warehouse.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used, or what does not answer.
pub fn open(url: &str, config: &WarehouseConfig, io: &IoRuntime) -> Result<Arc<dyn Warehouse>> {
    Ok(Arc::new(RedshiftWarehouse::open(url, config, None, io)?))
}

/// Brings the warehouse's schema to this version: ledger, outputs, dimensions, views. Returns the
/// names of the migrations that were applied now.
///
/// # Errors
/// Names the migration that is refused; those before it stay.
pub fn migrate(url: &str, config: &WarehouseConfig, io: &IoRuntime) -> Result<Vec<String>> {
    RedshiftWarehouse::open(url, config, None, io)?.migrate()
}

/// Makes users that are missing and gives all of them their rights, by a user who may; that is the
/// one of `warehouse.secret_arn`. Returns the names of those that were made now.
///
/// # Errors
/// When a name is none, or the database refuses: nothing is changed then.
pub fn let_in(
    url: &str,
    config: &WarehouseConfig,
    users: &Users,
    io: &IoRuntime,
) -> Result<Vec<String>> {
    RedshiftWarehouse::open(url, config, None, io)?.let_in(users)
}

/// A warehouse on Redshift.
#[derive(Debug)]
pub struct RedshiftWarehouse {
    session: Session,
    schema: String,
    iam_role: String,
    tables: Mutex<Vec<TableSpec>>,
}

impl RedshiftWarehouse {
    /// Sets the client up, without a request; `credentials` replace those that the SDK finds.
    ///
    /// # Errors
    /// Says what of the URL or the configuration cannot be used.
    pub fn open(
        url: &str,
        config: &WarehouseConfig,
        credentials: Option<Credentials>,
        io: &IoRuntime,
    ) -> Result<Self> {
        config.check_schema().map_err(Error::Refused)?;
        let session = Session::open(url, config, credentials, io)?;
        Ok(Self {
            session,
            schema: config.schema.clone(),
            iam_role: config.iam_role.clone(),
            tables: Mutex::default(),
        })
    }

    /// As [`migrate`].
    ///
    /// # Errors
    /// As [`migrate`].
    pub fn migrate(&self) -> Result<Vec<String>> {
        migrations::apply(&self.session, &self.schema)
    }

    /// As [`let_in`].
    ///
    /// # Errors
    /// As [`let_in`].
    pub fn let_in(&self, users: &Users) -> Result<Vec<String>> {
        users::let_in(&self.session, &self.schema, users)
    }

    fn tables(&self) -> MutexGuard<'_, Vec<TableSpec>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Warehouse for RedshiftWarehouse {
    fn limits(&self) -> TableLimits {
        tables::LIMITS
    }

    fn check_tables(&self, tables: &[TableSpec]) -> Result<()> {
        tables::check(&self.session, &self.schema, tables)
    }

    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()> {
        migrations::check(&self.session, &self.schema)?;
        tables::ensure(&self.session, &self.schema, tables)?;
        *self.tables() = tables.to_vec();
        Ok(())
    }

    fn load(&self, batch: &LoadBatch, lake: &dyn Lake) -> Result<LoadReceipt> {
        let table = self
            .tables()
            .iter()
            .find(|table| table.name == batch.dataset)
            .cloned();
        let table = table.ok_or_else(|| {
            let dataset = &batch.dataset;
            Error::Refused(format!("the warehouse has no table '{dataset}': run `theatre migrate --warehouse`, and keep its schema in the configuration"))
        })?;
        load::Loading {
            session: &self.session,
            schema: &self.schema,
            iam_role: &self.iam_role,
            table: &table,
            batch,
            lake,
            older: None,
        }
        .run()
    }

    fn erase(&self, erasure: &TableErasure) -> Result<Option<u64>> {
        erase::erase(&self.session, &self.schema, erasure)
    }

    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>> {
        load::receipt(&self.session, &self.schema, batch)
    }

    fn query(&self, sql: &str) -> Result<QueryResult> {
        if let Some(why) = sql::not_reading(sql) {
            return Err(Error::Refused(format!(
                "the warehouse refuses the query: {why}"
            )));
        }
        let path = format!("SET search_path TO {}", sql::name(&self.schema));
        let id = self
            .session
            .run_batch(vec![path, sql.to_owned()], "theatre-query")?;
        self.session.fetch(&format!("{id}:2"))
    }
}
