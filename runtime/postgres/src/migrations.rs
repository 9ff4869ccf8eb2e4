//! Versions of the schema: applied by `theatre migrate`, and compared when a store is opened.
//!
//! A file, once released, is never edited; a change is a new file. The tables that people read are
//! made behind them, out of the kinds of output. A build works with a schema that a later one has
//! migrated as long as the schema says so, in its table works_with.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr};
use theatre_actors::ports::{Error, Result};
use theatre_config::store::{KeptTables, StoreConfig};

use super::connect::Server;
use super::failure::{Attempt, Failure};
use super::tables;

pub(super) const TABLE: &str = "_theatre_migrations";
const FILES: [(&str, &str); 11] = [
    (
        "checkpoint",
        include_str!("../migrations/0001_checkpoint.sql"),
    ),
    (
        "past_layouts",
        include_str!("../migrations/0002_past_layouts.sql"),
    ),
    ("cursors", include_str!("../migrations/0003_cursors.sql")),
    ("access", include_str!("../migrations/0004_access.sql")),
    (
        "undelivered",
        include_str!("../migrations/0005_undelivered.sql"),
    ),
    (
        "dead_letters",
        include_str!("../migrations/0006_dead_letters.sql"),
    ),
    (
        "dead_replay_indexes",
        include_str!("../migrations/0007_dead_replay_indexes.sql"),
    ),
    ("pages", include_str!("../migrations/0008_pages.sql")),
    ("tables", include_str!("../migrations/0009_tables.sql")),
    (
        "works_with",
        include_str!("../migrations/0010_works_with.sql"),
    ),
    (
        "file_times",
        include_str!("../migrations/0011_file_times.sql"),
    ),
];
/// Attempts to get the locks that migrations need, 3 s and a wait for the lock apart: some 3 minutes,
/// less than the chart gives its job.
const LOCK_ATTEMPTS: u32 = 36;
/// PostgreSQL 15.
const SERVER_VERSION_MIN: u32 = 150_000;
/// `theatre` in ASCII: the advisory lock of a process that makes a schema. PostgreSQL's
/// IF NOT EXISTS alone fails where two make the same one at once.
pub(super) const SCHEMA_LOCK: i64 = 0x74_68_65_61_74_72_65;

/// Versions that were applied, with their checksums.
type Applied = Vec<(i64, Vec<u8>)>;

fn all() -> Vec<Migration> {
    let migration = |(number, (name, sql)): (i64, &(&'static str, &'static str))| {
        Migration::new(
            number,
            (*name).into(),
            MigrationType::Simple,
            (*sql).into_sql_str(),
            false,
        )
    };
    (1..).zip(&FILES).map(migration).collect()
}

/// Applies what is missing and says what that was. Two at once wait for each other.
pub(super) async fn apply(server: &Server, schema: &str) -> Result<Vec<String>> {
    let mut connection = server.connect().await?;
    apply_on(&mut connection, schema)
        .await
        .map_err(|failure| failure.into_error(&server.place))
}

async fn apply_on(connection: &mut PgConnection, schema: &str) -> Attempt<Vec<String>> {
    check_server(connection)?;
    // Indexes of large tables take their time. Locks may not: who waits for one has everybody who
    // comes after it wait, and with a long reader before it, such as a backup, no state is saved.
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = '2s'")
        .execute(&mut *connection)
        .await?;
    let mut before = None;
    let mut attempts = 1;
    loop {
        match apply_once(connection, schema, &mut before).await {
            Err(failure) if failure.is_lock_timeout() && attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                tracing::warn!(
                    schema,
                    "a table is held by another session, such as a long transaction or a backup; trying again"
                );
                for statement in ["ROLLBACK", "SELECT pg_sleep(3)"] {
                    sqlx::raw_sql(statement).execute(&mut *connection).await?;
                }
            }
            done => return done,
        }
    }
}

/// Applies what is missing, as far as no other session holds what it needs. `before` is what there
/// was at the first attempt.
async fn apply_once(
    connection: &mut PgConnection,
    schema: &str,
    before: &mut Option<Applied>,
) -> Attempt<Vec<String>> {
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
        .bind(schema)
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        // A user that may not create schemas can use one that was made for it, so it is created
        // only where it is missing. Both statements are one transaction.
        let create = format!(
            "SELECT pg_advisory_xact_lock({SCHEMA_LOCK}); CREATE SCHEMA IF NOT EXISTS \"{schema}\""
        );
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut *connection)
            .await?;
    }
    let now = applied(connection, schema).await?;
    if is_later(connection, &now, schema).await? {
        // What a later build has made holds for this one, too.
        let made = tables::migrate::apply(connection, schema).await?;
        return Ok(made.into_iter().collect());
    }
    let before = before.get_or_insert(now);
    let mut migrator = Migrator::with_migrations(all());
    migrator.dangerous_set_table_name(TABLE);
    migrator
        .run_direct(None, connection, false)
        .await
        .map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => Failure::Sql(error),
            other => Failure::Decided(Error::Refused(format!("schema {schema}: {other}"))),
        })?;
    let missing = FILES
        .iter()
        .zip(1..)
        .filter(|(_, number)| !before.iter().any(|(version, _)| version == number));
    let missing = missing.map(|((name, _), number)| format!("{number:04}_{name}"));
    let mut applied: Vec<String> = missing.collect();
    applied.extend(tables::migrate::apply(connection, schema).await?);
    Ok(applied)
}

/// Refuses a schema that is not the one this build was made for.
pub(super) async fn check(connection: &mut PgConnection, schema: &str) -> Attempt<()> {
    check_server(connection)?;
    let applied = applied(connection, schema).await?;
    if is_later(connection, &applied, schema).await? {
        return Ok(());
    }
    let (newest, needed) = (applied.len(), FILES.len());
    if newest < needed {
        let state = if applied.is_empty() {
            "has no tables of Theatre yet".to_owned()
        } else {
            format!("is at version {newest}, this build needs {needed}")
        };
        return Err(refused(
            schema,
            &format!("{state}: run `theatre migrate` with this configuration"),
        ));
    }
    Ok(())
}

/// Checks the versions of the store and, where they are kept, of the tables that people read.
pub(super) async fn check_all(connection: &mut PgConnection, config: &StoreConfig) -> Attempt<()> {
    check(connection, &config.schema).await?;
    match config.tables {
        KeptTables::Off => Ok(()),
        KeptTables::WithoutWindows | KeptTables::All => {
            tables::migrate::check(connection, &config.schema).await
        }
    }
}

/// Versions and checksums; none where nothing was migrated yet.
async fn applied(connection: &mut PgConnection, schema: &str) -> Attempt<Applied> {
    let sql = format!(
        "SELECT version, checksum FROM \"{schema}\".{TABLE} WHERE success ORDER BY version"
    );
    match sqlx::query_as(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
    {
        Err(sqlx::Error::Database(error))
            if matches!(error.code().as_deref(), Some("42P01" | "3F000")) =>
        {
            Ok(Vec::new())
        }
        found => Ok(found?),
    }
}

/// Whether a later build has migrated the schema, with which this one still works. Refuses one with
/// which it does not, and versions that this build knows otherwise.
async fn is_later(
    connection: &mut PgConnection,
    applied: &[(i64, Vec<u8>)],
    schema: &str,
) -> Attempt<bool> {
    let known = all();
    let (mut newest, mut count) = (0, 0);
    for (version, checksum) in applied {
        newest = newest.max(*version);
        let Some(migration) = known.iter().find(|migration| migration.version == *version) else {
            continue;
        };
        count += 1;
        if migration.checksum != *checksum {
            return Err(refused(
                schema,
                &format!(
                    "was made by another version {version} than this build's: it comes from a build that was never released"
                ),
            ));
        }
    }
    let own = FILES.len();
    if newest <= own as i64 {
        return Ok(false);
    }
    // Before it was said which builds work with a schema, none did but those that know it.
    let needed = match count == own {
        true => works_with(connection, schema).await?,
        false => newest,
    };
    if needed > own as i64 {
        return Err(refused(
            schema,
            &format!(
                "is at version {newest} and needs a build that knows {needed}, this one knows {own}: run a build at least as new"
            ),
        ));
    }
    tracing::warn!(
        schema,
        newest,
        known = own,
        "a later build has migrated the checkpoint store; this one still works with it"
    );
    Ok(true)
}

/// The version that a build must know to work with a schema.
async fn works_with(connection: &mut PgConnection, schema: &str) -> Attempt<i64> {
    let sql = format!("SELECT version::bigint FROM \"{schema}\".works_with");
    let version = sqlx::query_scalar(AssertSqlSafe(sql));
    Ok(version.fetch_one(connection).await?)
}

fn refused(schema: &str, state: &str) -> Failure {
    Failure::Decided(Error::Refused(format!(
        "the checkpoint store's schema {schema} {state}"
    )))
}

fn check_server(connection: &PgConnection) -> Attempt<()> {
    match connection.server_version_num() {
        Some(version) if version < SERVER_VERSION_MIN => {
            Err(Failure::Decided(Error::Refused(format!(
                "[store] url: the server is PostgreSQL {}, 15 or newer is needed",
                version / 10_000
            ))))
        }
        _ => Ok(()),
    }
}
