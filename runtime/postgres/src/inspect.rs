//! A server as an operator sees it: its version, what the user may do, how it is set up.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use theatre_actors::ports::Result;
use theatre_actors::time::{Clock, LogTime};

use super::connect::Server;
use super::failure::Attempt;
use super::migrations;
use theatre_actors::ports::Error;
use theatre_config::store::StoreConfig;
use theatre_system::blocking::IoRuntime;

/// What was seen of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Host, port and database.
    pub place: String,
    /// Version of the server.
    pub version: String,
    /// Whether its tables are those of this build.
    pub tables: Result<()>,
    /// Rights that the user lacks, such as `DELETE on output`.
    pub missing_rights: Vec<String>,
    /// Time of one round trip, microseconds.
    pub round_trip: i64,
    /// Connections that the server takes of users such as this one.
    pub connections_max: i64,
    /// Connections of all users that are open now.
    pub connections: i64,
    /// Settings with which a commit may be lost with the server's machine, such as `fsync = off`.
    pub undurable: Vec<String>,
    /// True if nothing can be written: a standby, or a database that is set so.
    pub is_read_only: bool,
    /// When the server was asked for its time, by this machine's clock.
    pub asked: LogTime,
    /// The server's time.
    pub server_time: LogTime,
    /// When its answer was there, by this machine's clock.
    pub answered: LogTime,
}

/// Asks a server about itself, without changing anything.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used, or why the server does not answer or
/// refuses this user.
pub fn inspect(
    url: &str,
    config: &StoreConfig,
    io: &IoRuntime,
    clock: &dyn Clock,
) -> Result<Inspection> {
    io.block_on(async {
        let server = Server::of(url, config).await?;
        let mut connection = server.connect().await?;
        look(&mut connection, &server.place, config, clock)
            .await
            .map_err(|failure| server.error(failure))
    })
}

async fn look(
    connection: &mut PgConnection,
    place: &str,
    config: &StoreConfig,
    clock: &dyn Clock,
) -> Attempt<Inspection> {
    let schema = &config.schema;
    let tables = match migrations::check_all(connection, config).await {
        Err(failure) => match failure.into_error(place) {
            refused @ Error::Refused(_) => Err(refused),
            passing => return Err(passing.into()),
        },
        Ok(()) => Ok(()),
    };
    let (version, fsync, full_page_writes, synchronous_commit, is_read_only): (
        String,
        String,
        String,
        String,
        bool,
    ) = sqlx::query_as(
        "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes'), \
         current_setting('synchronous_commit'), pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool",
    )
    .fetch_one(&mut *connection)
    .await?;
    let (connections_max, connections): (i64, i64) = sqlx::query_as(
        "SELECT current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8, \
         (SELECT coalesce(sum(numbackends), 0)::int8 FROM pg_stat_database)",
    )
    .fetch_one(&mut *connection)
    .await?;
    let missing_rights = missing_rights(connection, schema).await?;
    let begun = clock.now();
    connection.ping().await?;
    let asked = clock.now();
    let (server_us,): (i64,) =
        sqlx::query_as("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8")
            .fetch_one(&mut *connection)
            .await?;
    let undurable = [
        ("fsync", fsync),
        ("full_page_writes", full_page_writes),
        ("synchronous_commit", synchronous_commit),
    ];
    Ok(Inspection {
        place: place.to_owned(),
        version,
        tables,
        missing_rights,
        connections_max,
        connections,
        round_trip: (asked.0 - begun.0).max(0),
        undurable: undurable
            .into_iter()
            .filter(|(_, value)| value == "off")
            .map(|(name, value)| format!("{name} = {value}"))
            .collect(),
        is_read_only,
        asked,
        server_time: LogTime(server_us),
        answered: clock.now(),
    })
}

/// What the user may not do with the schema and its tables; nothing where there is none.
async fn missing_rights(connection: &mut PgConnection, schema: &str) -> Attempt<Vec<String>> {
    let found: Option<(bool,)> = sqlx::query_as(
        "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1",
    )
    .bind(schema)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((false,)) = found {
        return Ok(vec![format!("USAGE on schema {schema}")]);
    }
    // Of the lists of what was made it is enough to read them.
    let sql = format!(
        "SELECT privilege || ' on ' || relname FROM pg_class \
         CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS needed (privilege) \
         WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'p') \
         AND (privilege = 'SELECT' OR relname NOT IN ('{}', 'tables_made', 'works_with')) AND NOT has_table_privilege(pg_class.oid, privilege) \
         ORDER BY relname, privilege",
        migrations::TABLE
    );
    let missing: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(schema)
        .fetch_all(connection)
        .await?;
    Ok(missing.into_iter().map(|(right,)| right).collect())
}
