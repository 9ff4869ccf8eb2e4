//! Servers the tests share: each is started at its first use and ends with the test process, however that ends.
//!
//! Tests do not see each other: every caller gets a database of its own, and names its topics and buckets by [`unique`]. A test that stops or
//! kills a server starts one for itself instead. `KAFKA_BROKERS` and `DATABASE_URL` point the same tests at servers that already run.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use theatre_runtime::dev::kafka::Kafka;
use theatre_runtime::dev::postgres::{self, Durability, Postgres};
use theatre_runtime::dev::process::AtEnd;
use theatre_runtime::drive::Drive;

use crate::secured::SecuredKafka;

/// A name that no other test and no other run has: lower-case letters, digits and underscores, beginning with `prefix`.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{:012x}", rand::random::<u64>() >> 16)
}

/// Where Kafka clients begin.
pub fn kafka() -> Result<String> {
    if let Ok(brokers) = std::env::var("KAFKA_BROKERS") {
        return Ok(brokers);
    }
    static KAFKA: OnceLock<Result<Kafka, String>> = OnceLock::new();
    let broker = shared(&KAFKA, || Ok(Kafka::start(&folder()?.join("kafka"))?))?;
    Ok(broker.bootstrap())
}

/// A broker with secured listeners. Whoever runs the pipeline on it is alone with it: topics have the names that robots know.
pub fn secured_kafka() -> Result<&'static SecuredKafka> {
    static KAFKA: OnceLock<Result<SecuredKafka, String>> = OnceLock::new();
    shared(&KAFKA, || SecuredKafka::start(&folder()?.join("secured")))
}

/// The URL of a new, empty database.
pub fn database() -> Result<String> {
    let name = unique("theatre");
    if let Ok(url) = std::env::var("DATABASE_URL") {
        postgres::create_database(&url, &name, &Drive::start()?)?;
        return with_database(&url, &name);
    }
    static POSTGRES: OnceLock<Result<Postgres, String>> = OnceLock::new();
    let server = shared(&POSTGRES, || Ok(Postgres::start(&folder()?.join("postgres"), Durability::Fast)?))?;
    Ok(server.create_database(&name)?)
}

/// The same server, another database: what follows the last slash, up to the options.
fn with_database(url: &str, name: &str) -> Result<String> {
    let (address, options) = url.split_once('?').map_or((url, None), |(address, options)| (address, Some(options)));
    let host = address.find("://").context("DATABASE_URL is no URL")? + 3;
    let server = address[host..].find('/').map_or(address, |slash| &address[..host + slash]);
    Ok(options.map_or(format!("{server}/{name}"), |options| format!("{server}/{name}?{options}")))
}

/// The one server of the process; why it could not be started is told to every test that wants it.
fn shared<T>(slot: &'static OnceLock<Result<T, String>>, start: impl FnOnce() -> Result<T>) -> Result<&'static T> {
    slot.get_or_init(|| start().map_err(|error| format!("{error:#}"))).as_ref().map_err(|error| anyhow!("{error}"))
}

/// Where the servers of this process keep their files; removed when it has ended, a moment after the servers were.
fn folder() -> Result<&'static Path> {
    static FOLDER: OnceLock<Result<(PathBuf, AtEnd), String>> = OnceLock::new();
    let create = || {
        let folder = std::env::temp_dir().join(unique("theatre"));
        std::fs::create_dir(&folder)?;
        let removal = AtEnd::run("sleep 2; rm -rf \"$0\"", &folder.to_string_lossy())?;
        Ok((folder, removal))
    };
    Ok(&shared(&FOLDER, create)?.0)
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn a_url_names_another_database_of_the_same_server() {
        assert_eq!(with_database("postgres://u:p@h:1/a?sslmode=disable", "b").unwrap(), "postgres://u:p@h:1/b?sslmode=disable");
        assert_eq!(with_database("postgres://u@h", "b").unwrap(), "postgres://u@h/b");
        assert!(with_database("h:1/a", "b").is_err());
    }
}
