//! What users of the warehouse's database may do, by the rights that PostgreSQL knows.

use anyhow::{Result, ensure};
use theatre_redshift::Users;

use super::Servers;

#[test]
fn who_reads_reports_reads_what_is_made_later_too_and_changes_nothing() -> Result<()> {
    let servers = Servers::start()?;
    let warehouse = servers.migrated()?;
    let named = |name: &str| vec![format!("IAMR:{name}")];
    let users = Users {
        load: named("loader"),
        read: named("reader"),
    };
    ensure!(warehouse.let_in(&users)? == ["IAMR:loader", "IAMR:reader"]);
    ensure!(warehouse.let_in(&users)?.is_empty());
    let does = |user: &str, sql: &str| {
        let sql = format!("SET ROLE \"IAMR:{user}\"; {sql}");
        servers.execute(&sql)
    };
    for sql in [
        "CREATE TABLE later (a INTEGER); INSERT INTO later VALUES (1)",
        "CREATE VIEW of_later AS SELECT a FROM later",
        "CREATE TEMP TABLE stage (LIKE later)",
        "INSERT INTO load_ledger VALUES ('batch', 'later', 1, 1, now())",
    ] {
        does("loader", sql)?;
    }
    for sql in [
        "SELECT count(*) FROM fact_procedures",
        "SELECT a FROM later",
        "SELECT a FROM of_later",
    ] {
        does("reader", sql)?;
    }
    for sql in [
        "INSERT INTO later VALUES (2)",
        "DELETE FROM load_ledger",
        "UPDATE dim_date SET year = 1",
        "CREATE TABLE own (a INTEGER)",
        "CREATE TEMP TABLE own (a INTEGER)",
        "CREATE SCHEMA own",
        "DROP VIEW of_later",
    ] {
        let refused = does("reader", sql).map_err(|error| error.to_string());
        ensure!(
            refused.as_ref().is_err_and(|why| {
                why.contains("permission denied") || why.contains("must be owner")
            }),
            "{sql}: {refused:?}"
        );
    }
    Ok(())
}
