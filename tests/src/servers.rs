//! Servers the tests share: each is started at its first use and ends with the test process,
//! however that ends.
//!
//! Tests do not see each other: every caller gets a database, a prefix of the lake, a schema of the
//! warehouse of its own, and names its topics by [`unique`]. A test that stops or kills a server
//! starts one for itself instead. Variables point the same tests at servers that already run;
//! `tests/run` says which.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use redshift_local::{Options, RedshiftLocal, S3Access};
use theatre_actors::rules::Micros;
use theatre_config::lake::LakeConfig;
use theatre_config::warehouse::WarehouseConfig;
use theatre_dev::kafka::Kafka;
use theatre_dev::object_store::ObjectStore;
use theatre_dev::postgres::{self, Durability, Postgres};
use theatre_dev::process::AtEnd;
use theatre_redshift::RedshiftWarehouse;
use theatre_s3::S3Lake;
use theatre_system::blocking::IoRuntime;

use crate::secured::SecuredKafka;

/// Where the AWS SDK looks for an object store, and for a Data API.
const S3_ENDPOINT: &str = "AWS_ENDPOINT_URL_S3";
const WAREHOUSE_ENDPOINT: &str = "AWS_ENDPOINT_URL_REDSHIFT_DATA";
/// The bucket of that object store, and the database of that Data API.
const BUCKET: &str = "THEATRE_TEST_BUCKET";
const WAREHOUSE: &str = "THEATRE_TEST_WAREHOUSE";

pub use theatre_testkit::unique;

/// Where Kafka clients begin.
pub fn kafka() -> Result<String> {
    if let Ok(brokers) = std::env::var("KAFKA_BROKERS") {
        return Ok(brokers);
    }
    static KAFKA: OnceLock<Result<Kafka, String>> = OnceLock::new();
    let broker = shared(&KAFKA, || Ok(Kafka::start(&folder()?.join("kafka"))?))?;
    Ok(broker.bootstrap())
}

/// A broker with secured listeners. A test that runs the pipeline on it has it alone: topics have
/// the names that robots know.
pub fn secured_kafka() -> Result<&'static SecuredKafka> {
    static KAFKA: OnceLock<Result<SecuredKafka, String>> = OnceLock::new();
    shared(&KAFKA, || SecuredKafka::start(&folder()?.join("secured")))
}

/// The URL of a new, empty database.
pub fn database() -> Result<String> {
    let name = unique("theatre");
    if let Ok(url) = std::env::var("DATABASE_URL") {
        postgres::create_database(&url, &name, &IoRuntime::start()?)?;
        return with_database(&url, &name);
    }
    Ok(postgres_server()?.create_database(&name)?)
}

fn postgres_server() -> Result<&'static Postgres> {
    static POSTGRES: OnceLock<Result<Postgres, String>> = OnceLock::new();
    shared(&POSTGRES, || {
        Ok(Postgres::start(
            &folder()?.join("postgres"),
            Durability::Fast,
        )?)
    })
}

/// An empty lake.
pub fn lake() -> Result<S3Lake> {
    if std::env::var_os(S3_ENDPOINT).is_none() {
        return own_lake(objects()?);
    }
    let bucket = std::env::var(BUCKET)
        .with_context(|| format!("{S3_ENDPOINT} is set, and {BUCKET} names no bucket there"))?;
    let config = LakeConfig {
        path_style: true,
        ..LakeConfig::default()
    };
    Ok(S3Lake::open(
        &format!("s3://{bucket}/{}", unique("lake")),
        &config,
        None,
        &IoRuntime::start()?,
    )?)
}

fn own_lake(objects: &ObjectStore) -> Result<S3Lake> {
    let config = LakeConfig {
        endpoint: Some(objects.endpoint()),
        path_style: true,
        ..LakeConfig::default()
    };
    Ok(S3Lake::open(
        &format!("s3://lake/{}", unique("lake")),
        &config,
        Some(ObjectStore::credentials()),
        &IoRuntime::start()?,
    )?)
}

fn objects() -> Result<&'static ObjectStore> {
    static OBJECTS: OnceLock<Result<ObjectStore, String>> = OnceLock::new();
    let start = || {
        let objects = ObjectStore::start(&folder()?.join("objects"), "127.0.0.1:0")?;
        objects.create_bucket("lake")?;
        Ok(objects)
    };
    shared(&OBJECTS, start)
}

/// A warehouse with an empty schema, migrated, and an empty lake that it reads.
pub struct Warehouse {
    /// The warehouse.
    pub warehouse: RedshiftWarehouse,
    /// The lake.
    pub lake: S3Lake,
    _redshift: Option<RedshiftLocal>,
}

/// A warehouse of its own.
pub fn warehouse() -> Result<Warehouse> {
    let (io, config) = (
        IoRuntime::start()?,
        WarehouseConfig {
            schema: unique("theatre"),
            ..WarehouseConfig::default()
        },
    );
    let made = if std::env::var_os(WAREHOUSE_ENDPOINT).is_some() {
        let url = std::env::var(WAREHOUSE).with_context(|| format!("{WAREHOUSE_ENDPOINT} is set, and {WAREHOUSE} names no redshift://workgroup/database"))?;
        ensure!(
            std::env::var_os(S3_ENDPOINT).is_some(),
            "{WAREHOUSE_ENDPOINT} is set, and {S3_ENDPOINT} names no object store from which it loads"
        );
        Warehouse {
            warehouse: RedshiftWarehouse::open(&url, &config, None, &io)?,
            lake: lake()?,
            _redshift: None,
        }
    } else {
        let (objects, database) = (objects()?, unique("warehouse"));
        let server = std::env::var("DATABASE_URL")
            .or_else(|_| postgres_server().map(|server| server.url("postgres")))?;
        // Pages of two rows: a reader of a result has to turn them.
        let redshift = RedshiftLocal::start(Options {
            page_rows: 2,
            ..redshift_options(server, objects, &database)
        })?;
        let millis = |millis: i64| Micros(millis * 1000);
        let asked = WarehouseConfig {
            poll_first: millis(10),
            poll_min: millis(10),
            poll_max: millis(100),
            ..config
        };
        let config = WarehouseConfig {
            endpoint: Some(redshift.endpoint()),
            ..asked
        };
        let warehouse = RedshiftWarehouse::open(
            &format!("redshift://local/{database}"),
            &config,
            Some(ObjectStore::credentials()),
            &io,
        )?;
        Warehouse {
            warehouse,
            lake: own_lake(objects)?,
            _redshift: Some(redshift),
        }
    };
    made.warehouse.migrate()?;
    Ok(made)
}

/// How the stand-in for Redshift is set up over a PostgreSQL, with a database that it creates, and
/// an object store.
pub fn redshift_options(postgres: String, objects: &ObjectStore, database: &str) -> Options {
    let credentials = ObjectStore::credentials();
    let keys = Some((
        credentials.access_key_id().to_owned(),
        credentials.secret_access_key().to_owned(),
    ));
    let s3 = S3Access {
        endpoint: Some(objects.endpoint()),
        path_style: true,
        keys,
        region: None,
    };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        listen,
        postgres,
        databases: vec![database.to_owned()],
        s3,
        ..Options::default()
    }
}

/// The same server, another database: what follows the last slash, up to the options.
fn with_database(url: &str, name: &str) -> Result<String> {
    let (address, options) = url
        .split_once('?')
        .map_or((url, None), |(address, options)| (address, Some(options)));
    let host = address.find("://").context("DATABASE_URL is no URL")? + 3;
    let server = address[host..]
        .find('/')
        .map_or(address, |slash| &address[..host + slash]);
    Ok(options.map_or(format!("{server}/{name}"), |options| {
        format!("{server}/{name}?{options}")
    }))
}

/// The one server of the process; why it could not be started is reported to every test that wants
/// it.
fn shared<T>(
    slot: &'static OnceLock<Result<T, String>>,
    start: impl FnOnce() -> Result<T>,
) -> Result<&'static T> {
    slot.get_or_init(|| start().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

/// Where the servers of this process keep their files; removed when it has ended, a moment after
/// the servers were.
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
        assert_eq!(
            with_database("postgres://u:p@h:1/a?sslmode=disable", "b").unwrap(),
            "postgres://u:p@h:1/b?sslmode=disable"
        );
        assert_eq!(
            with_database("postgres://u@h", "b").unwrap(),
            "postgres://u@h/b"
        );
        assert!(with_database("h:1/a", "b").is_err());
    }
}
