//! Makes the tables that people read, and lets those read them who may.
//!
//! The store's own tables change by numbered migrations; these follow the specification of the
//! kinds of output, which a build carries. What was made is noted by a fingerprint, and none is
//! taken away: what a later build has added an earlier one may write, too.

use sqlx::{AssertSqlSafe, PgConnection};
use theatre_actors::ports::Error;

use super::super::failure::{Attempt, Failure};
use super::super::migrations::SCHEMA_LOCK;
use super::ddl;

/// The role of those who may read the tables.
const READER: &str = "theatre_reader";

/// What `theatre migrate` says that it has made.
const MADE: &str = "tables";

/// A number for the tables of this build: others have another one.
fn fingerprint(schema: &str) -> String {
    // FNV-1a, 64 bits.
    let statements = ddl::statements(schema);
    let bytes = statements.iter().flat_map(|statement| statement.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Makes tables and views or brings them to this build, in one transaction, and grants the reader
/// role what it may read; says whether there was anything to make. The numbered migrations are
/// there.
pub(crate) async fn apply(connection: &mut PgConnection, schema: &str) -> Attempt<Option<String>> {
    let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({SCHEMA_LOCK})");
    sqlx::raw_sql(AssertSqlSafe(begin))
        .execute(&mut *connection)
        .await?;
    let is_made = is_made(connection, schema).await?;
    if !is_made {
        let mut statements = ddl::statements(schema);
        statements.extend(ddl::names().map(|name| grant_service(schema, name)));
        statements.push(format!(
            "INSERT INTO \"{schema}\".tables_made (fingerprint) VALUES ('{}')",
            fingerprint(schema)
        ));
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
    make_reader(connection, schema).await?;
    Ok((!is_made).then(|| MADE.to_owned()))
}

/// Refuses a schema whose tables this build did not make, nor a later one after it.
pub(crate) async fn check(connection: &mut PgConnection, schema: &str) -> Attempt<()> {
    if is_made(connection, schema).await? {
        return Ok(());
    }
    Err(Failure::Decided(Error::Refused(format!(
        "the tables for people to read in the checkpoint store's schema {schema} are of another build: run `theatre migrate` with this configuration, or do without them ([store] tables = \"off\")"
    ))))
}

async fn is_made(connection: &mut PgConnection, schema: &str) -> Attempt<bool> {
    let sql =
        format!("SELECT EXISTS (SELECT 1 FROM \"{schema}\".tables_made WHERE fingerprint = $1)");
    let made = sqlx::query_scalar(AssertSqlSafe(sql)).bind(fingerprint(schema));
    Ok(made.fetch_one(connection).await?)
}

/// A user that may write the partitions may write the tables: what was granted to the service goes
/// on.
fn grant_service(schema: &str, name: &str) -> String {
    format!(
        "DO $granting$ DECLARE granted RECORD; BEGIN
            FOR granted IN SELECT grantee, privilege_type FROM information_schema.role_table_grants
                WHERE table_schema = '{schema}' AND table_name = 'partition' AND grantee <> 'PUBLIC'
                    AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            LOOP EXECUTE format('GRANT %s ON \"{schema}\".\"{name}\" TO %I', granted.privilege_type, granted.grantee); END LOOP;
        END $granting$"
    )
}

/// Makes the reader role where this user may, and grants it the tables where it is there. What it
/// lacks [`reader_hint`] says.
async fn make_reader(connection: &mut PgConnection, schema: &str) -> Attempt<()> {
    let make = format!(
        "DO $making$ BEGIN
            IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{READER}') THEN
                CREATE ROLE {READER} NOLOGIN;
            END IF;
        EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN NULL;
        END $making$"
    );
    sqlx::raw_sql(AssertSqlSafe(make))
        .execute(&mut *connection)
        .await?;
    // Two schemas at once would change the same row of the catalogue.
    let grant = format!(
        "DO $reading$ BEGIN
            PERFORM pg_advisory_xact_lock({SCHEMA_LOCK});
            IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{READER}') THEN {}; END IF;
        END $reading$",
        grants(schema)
    );
    sqlx::raw_sql(AssertSqlSafe(grant))
        .execute(connection)
        .await?;
    Ok(())
}

fn grants(schema: &str) -> String {
    let names: Vec<String> = ddl::names()
        .map(|name| format!("\"{schema}\".\"{name}\""))
        .collect();
    format!(
        "GRANT USAGE ON SCHEMA \"{schema}\" TO {READER}; GRANT SELECT ON {} TO {READER}",
        names.join(", ")
    )
}

/// What an administrator has to run before people can read, where the reader role is missing.
pub(crate) async fn reader_hint(
    connection: &mut PgConnection,
    schema: &str,
) -> Attempt<Option<String>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)";
    let is_there: bool = sqlx::query_scalar(sql)
        .bind(READER)
        .fetch_one(&mut *connection)
        .await?;
    if is_there {
        let may_use: bool = sqlx::query_scalar("SELECT has_schema_privilege($1, $2, 'USAGE')")
            .bind(READER)
            .bind(schema)
            .fetch_one(connection)
            .await?;
        return Ok((!may_use).then(|| {
            format!(
                "the role {READER} may not use the schema, which is another user's: have its owner run GRANT USAGE ON SCHEMA \"{schema}\" TO {READER}"
            )
        }));
    }
    Ok(Some({
        format!(
            "the role {READER} is not there, and this user may not make it: have an administrator run CREATE ROLE {READER} NOLOGIN; and repeat theatre migrate, which grants it the tables"
        )
    }))
}
