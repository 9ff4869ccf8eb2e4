//! Who may read the tables, and what the catalogue says of them.

use anyhow::{Result, ensure};
use theatre_actors::outputs::ALL;
use theatre_config::store::KeptTables;
use theatre_star::PEOPLE;

use super::{execute, found, store};

#[test]
fn everything_in_the_schema_says_what_it_is() -> Result<()> {
    let (url, _) = store(KeptTables::All)?;
    let silent = "SELECT jsonb_build_array(relname)::text FROM pg_class WHERE relnamespace = 'theatre'::regnamespace
        AND relkind IN ('r', 'v') AND relname <> '_theatre_migrations' AND obj_description(oid, 'pg_class') IS NULL";
    ensure!(
        found(&url, silent)?.is_empty(),
        "{:?}",
        found(&url, silent)?
    );
    let names: Vec<String> = ALL
        .iter()
        .map(|spec| spec.table.name)
        .chain(PEOPLE.iter().map(|view| view.name))
        .map(|name| format!("'{name}'"))
        .collect();
    let columns = format!(
        "SELECT jsonb_build_array(relname || '.' || attname)::text FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
         WHERE relnamespace = 'theatre'::regnamespace AND relname IN ({}) AND attnum > 0 AND NOT attisdropped
         AND coalesce(col_description(attrelid, attnum), '') = ''",
        names.join(", ")
    );
    let silent = found(&url, &columns)?;
    ensure!(silent.is_empty(), "no comment: {silent:?}");
    Ok(())
}

#[test]
fn who_reads_the_tables_reads_nothing_else_and_writes_nothing() -> Result<()> {
    let (url, _) = store(KeptTables::All)?;
    let reader = theatre_testkit::unique("reader");
    execute(
        &url,
        &format!("CREATE ROLE {reader} LOGIN; GRANT theatre_reader TO {reader}"),
    )?;
    let names = ALL.iter().map(|spec| spec.table.name);
    for name in names.chain(PEOPLE.iter().map(|view| view.name)) {
        execute(
            &url,
            &format!("SET ROLE {reader}; SELECT count(*) FROM theatre.{name}"),
        )?;
        for change in [
            format!("DELETE FROM theatre.{name}"),
            format!("INSERT INTO theatre.{name} DEFAULT VALUES"),
            format!("DROP TABLE theatre.{name}"),
        ] {
            let refused = execute(&url, &format!("SET ROLE {reader}; {change}"));
            ensure!(refused.is_err(), "{change} was let through");
        }
    }
    for own in [
        "fact",
        "family",
        "token",
        "audit",
        "dead",
        "cursor",
        "tables_made",
        "works_with",
    ] {
        let refused = execute(
            &url,
            &format!("SET ROLE {reader}; SELECT count(*) FROM theatre.{own}"),
        );
        let why = refused.err().map(|error| format!("{error:#}"));
        ensure!(
            why.as_ref()
                .is_some_and(|why| why.contains("permission denied")),
            "{own}: {why:?}"
        );
    }
    execute(&url, &format!("DROP OWNED BY {reader}; DROP ROLE {reader}"))
}

#[test]
fn a_service_that_owns_nothing_may_write_the_tables() -> Result<()> {
    let (url, _) = store(KeptTables::All)?;
    let service = theatre_testkit::unique("service");
    execute(
        &url,
        &format!(
            "CREATE ROLE {service}; GRANT USAGE ON SCHEMA theatre TO {service};
             GRANT SELECT, INSERT, UPDATE, DELETE ON theatre.partition TO {service};
             DELETE FROM theatre.tables_made"
        ),
    )?;
    let io = theatre_system::blocking::IoRuntime::start()?;
    theatre_postgres::migrate(&url, &theatre_config::store::StoreConfig::default(), &io)?;
    execute(
        &url,
        &format!(
            "SET ROLE {service}; DELETE FROM theatre.procedures; UPDATE theatre.instruments SET cases = 0;
             SELECT * FROM theatre.robots; RESET ROLE; DROP OWNED BY {service}; DROP ROLE {service}"
        ),
    )
}
