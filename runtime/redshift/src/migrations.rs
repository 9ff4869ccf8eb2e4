//! The warehouse's own schema, version by version: ledger, dimensions, views.
//!
//! `theatre migrate --warehouse` applies them; a start only checks, because the user that loads
//! outputs need not be allowed to make views. In the files `{schema}` stands for the quoted schema,
//! and a line that ends in a semicolon ends a statement. A file, once released, is never edited.

use theatre_actors::ports::{Error, Result};

use super::session::Session;
use super::{sql, tables};
use theatre_parquet::outputs;
use theatre_star::VIEWS;
use theatre_star::dialect::Dialect;

const MIGRATIONS: [(&str, &str); 5] = [
    ("0001_ledger", include_str!("../migrations/0001_ledger.sql")),
    (
        "0002_calendar",
        include_str!("../migrations/0002_calendar.sql"),
    ),
    ("0003_views", include_str!("../migrations/0003_views.sql")),
    (
        "0004_outcome_id",
        include_str!("../migrations/0004_outcome_id.sql"),
    ),
    (
        "0005_outcomes_by_id",
        include_str!("../migrations/0005_outcomes_by_id.sql"),
    ),
];

/// What the names of the star's versions begin with.
const STAR: &str = "star_";

/// The name of the version of the views that this build makes. A version is not listed above: views
/// hold nothing, so all of them are made anew when one is another.
fn star_name() -> String {
    format!("{STAR}{}", theatre_star::fingerprint())
}

/// The statements that make the views of the star anew. They are bound late, so that a table below
/// them can be made anew with wider columns.
fn star_statements(quoted: &str) -> Vec<String> {
    let names: Vec<String> = VIEWS
        .iter()
        .rev()
        .map(|view| format!("{quoted}.{}", view.name))
        .collect();
    let drops = format!("DROP VIEW IF EXISTS {}", names.join(", "));
    let creates = VIEWS.iter().map(|view| {
        let query = view.query(&Dialect::Redshift(quoted));
        format!(
            "CREATE VIEW {quoted}.{} AS {query} WITH NO SCHEMA BINDING",
            view.name
        )
    });
    std::iter::once(drops).chain(creates).collect()
}

/// Applies what is missing; returns the names.
pub(super) fn apply(session: &Session, schema: &str) -> Result<Vec<String>> {
    let quoted = sql::name(schema);
    // Two that migrate at once may both find nothing there: the second one finds it when it looks
    // again.
    if begin(session, schema).is_err() {
        begin(session, schema)?;
    }
    // The views stand on these.
    tables::ensure(session, schema, &outputs::tables())?;
    tables::ensure_there(session, schema, &theatre_star::tables())?;
    let applied = applied(session, schema)?;
    let mut done = Vec::new();
    let listed = MIGRATIONS.map(|(name, text)| (name.to_owned(), statements_of(text, &quoted)));
    let star = (star_name(), star_statements(&quoted));
    for (name, migration) in listed.into_iter().chain([star]) {
        if applied.contains(&name) {
            continue;
        }
        let (versions, named) = (format!("{quoted}.theatre_schema_version"), sql::text(&name));
        // Divides by zero, and so takes all back, when another process has applied it meanwhile.
        let once = format!(
            "SELECT 1 / CASE WHEN count(*) = 0 THEN 1 ELSE 0 END FROM {versions} WHERE name = {named}"
        );
        let mut statements = vec![format!("LOCK {versions}"), once];
        statements.extend(migration);
        statements.push(format!(
            "INSERT INTO {versions} (name, applied_at) SELECT {named}, GETDATE()"
        ));
        match session.run_batch(statements, "theatre-migrate") {
            Ok(_) => done.push(name),
            Err(error) if !self::applied(session, schema)?.contains(&name) => {
                return Err(in_migration(&name, error));
            }
            Err(_) => {}
        }
    }
    Ok(done)
}

/// Makes the schema, where it is not there, and the list of what is applied to it.
fn begin(session: &Session, schema: &str) -> Result<()> {
    let quoted = sql::name(schema);
    let mut statements = Vec::new();
    // A user that may not create schemas can use one that was made for it, so it is created only
    // where it is missing.
    if session
        .rows(
            "SELECT 1 FROM pg_namespace WHERE nspname = :schema",
            &[("schema", schema)],
        )?
        .rows
        .is_empty()
    {
        statements.push(format!("CREATE SCHEMA IF NOT EXISTS {quoted}"));
    }
    let columns = "name VARCHAR(100) NOT NULL, applied_at TIMESTAMP NOT NULL";
    statements.push(format!(
        "CREATE TABLE IF NOT EXISTS {quoted}.theatre_schema_version ({columns}) DISTSTYLE ALL"
    ));
    session.run_batch(statements, "theatre-migrate").map(drop)
}

/// Refuses a warehouse of another version.
pub(super) fn check(session: &Session, schema: &str) -> Result<()> {
    let there =
        session.rows("SELECT table_name FROM svv_tables WHERE table_schema = :schema AND table_name = 'theatre_schema_version'", &[("schema", schema)])?;
    let applied = if there.rows.is_empty() {
        Vec::new()
    } else {
        applied(session, schema)?
    };
    let known: Vec<String> = MIGRATIONS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .chain([star_name()])
        .collect();
    if let Some(missing) = known.iter().find(|name| !applied.contains(name)) {
        return Err(Error::Refused(format!(
            "the warehouse lacks migration {missing} in schema '{schema}': run `theatre migrate --warehouse`"
        )));
    }
    match applied
        .iter()
        .find(|applied| !known.contains(applied) && !applied.starts_with(STAR))
    {
        Some(newer) => Err(Error::Refused(format!(
            "the warehouse has migration {newer}, which this version does not know: run a newer version"
        ))),
        None => Ok(()),
    }
}

fn applied(session: &Session, schema: &str) -> Result<Vec<String>> {
    let found = session.rows(
        &format!(
            "SELECT name FROM {}.theatre_schema_version ORDER BY name",
            sql::name(schema)
        ),
        &[],
    )?;
    Ok(found
        .rows
        .iter()
        .filter_map(|row| row.first()?.as_str().map(str::to_owned))
        .collect())
}

fn statements_of(text: &str, schema: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    let code = code.join("\n").replace("{schema}", schema);
    code.split(";\n")
        .map(|statement| statement.trim().trim_end_matches(';').to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}

fn in_migration(name: &str, error: Error) -> Error {
    match error {
        Error::Refused(why) => Error::Refused(format!(
            "migration {name}: {why} (a view of your own that stands on one of Theatre's is to be dropped first)"
        )),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::session::BATCH_MAX;
    use super::*;

    #[test]
    fn the_star_is_made_by_one_batch() {
        // The lock, the check that it is done once, and the entry in the list of versions.
        assert!(star_statements("\"s\"").len() + 3 <= BATCH_MAX);
    }
}
