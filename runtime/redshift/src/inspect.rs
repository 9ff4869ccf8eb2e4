//! A warehouse as an operator sees it: who is let in, and whether its schema is this version's.

use theatre_actors::ports::{Result, TableSpec};
use theatre_actors::time::{Clock, LogTime};

use super::session::Session;
use super::{migrations, tables};
use theatre_config::warehouse::WarehouseConfig;
use theatre_system::blocking::IoRuntime;

/// What was seen of a warehouse.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The database user that statements run as.
    pub user: String,
    /// What it says of its version.
    pub version: String,
    /// When a statement was submitted, by this machine's clock.
    pub asked: LogTime,
    /// When its rows were there, by this machine's clock.
    pub answered: LogTime,
    /// Whether ledger, dimensions and views are those of this build.
    pub migrated: Result<()>,
    /// Whether the tables fit that are there already. Those that are missing the first loader
    /// makes.
    pub tables: Result<()>,
}

/// Asks a warehouse about itself and its tables, without changing anything.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used, or why no statement runs.
pub fn inspect(
    url: &str,
    config: &WarehouseConfig,
    wanted: &[TableSpec],
    io: &IoRuntime,
    clock: &dyn Clock,
) -> Result<Inspection> {
    let session = Session::open(url, config, None, io)?;
    let asked = clock.now();
    let found = session.rows("SELECT current_user, version()", &[])?;
    let answered = clock.now();
    let said = |column: usize| {
        let value = found.rows.first().and_then(|row| row.get(column));
        let text = value.and_then(serde_json::Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    Ok(Inspection {
        user: said(0),
        version: said(1),
        asked,
        answered,
        migrated: migrations::check(&session, &config.schema),
        tables: tables::check(&session, &config.schema, wanted),
    })
}
