//! A whole installation for one test: a broker, a database, an object store and a warehouse of its
//! own, and a deployment on them.
//!
//! Topics have the names that robots and readers know, so tests that run the whole pipeline cannot
//! share a broker; and they may stop theirs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use redshift_local::RedshiftLocal;
use tempfile::TempDir;
use theatre_dev::kafka::Kafka;
use theatre_dev::object_store::ObjectStore;
use theatre_dev::postgres::{Durability, Postgres};

use crate::deployment::Deployment;
use crate::fault_proxy::FaultProxy;
use crate::servers::redshift_options;

/// After this long without a sign of life a member's partitions go to others.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

const BUCKET: &str = "lake";
const WAREHOUSE: &str = "warehouse";

/// Servers, the lines to two of them that can be cut, and the deployment.
pub struct Site {
    /// The deployment: its configuration names all servers.
    pub deployment: Deployment,
    /// The log.
    pub kafka: Kafka,
    /// The store, and what the warehouse stands on.
    pub postgres: Postgres,
    /// The line to the lake.
    pub lake: FaultProxy,
    /// The line to the warehouse.
    pub warehouse: FaultProxy,
    _redshift: RedshiftLocal,
    _objects: ObjectStore,
    // Dropped last: the servers stand on it.
    folder: TempDir,
}

impl Site {
    /// Starts everything and makes the tables; `settings` are the deployment's beside the addresses
    /// of its servers. No process runs yet.
    pub fn start(settings: &str, rules: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let kafka = Kafka::start(&folder.path().join("kafka"))?;
        // Servers are killed here, machines are not: what is written survives without being forced
        // to disk.
        let postgres = Postgres::start(&folder.path().join("postgres"), Durability::Fast)?;
        let store = postgres.create_database("theatre")?;
        let objects = ObjectStore::start(&folder.path().join("objects"), "127.0.0.1:0")?;
        objects.create_bucket(BUCKET)?;
        let redshift = RedshiftLocal::start(redshift_options(
            postgres.url("postgres"),
            &objects,
            WAREHOUSE,
        ))?;
        let lake = FaultProxy::start(objects.address())?;
        let warehouse =
            FaultProxy::start(redshift.endpoint().trim_start_matches("http://").parse()?)?;
        let sections = format!(
            "[log]\nurl = \"kafka://{}\"\nsession_timeout = \"{}s\"\n\
             [store]\nurl = \"{store}\"\n\
             [lake]\nurl = \"s3://{BUCKET}/fleet\"\nendpoint = \"http://{}\"\npath_style = true\nregion = \"us-east-1\"\nattempt_timeout = \"2s\"\noperation_timeout = \"5s\"\nstall_grace = \"2s\"\n\
             [warehouse]\nurl = \"redshift://local/{WAREHOUSE}\"\nendpoint = \"http://{}\"\nrequest_timeout = \"2s\"\nregion = \"us-east-1\"\nstatement_timeout = \"60s\"\n",
            kafka.bootstrap(),
            SESSION_TIMEOUT.as_secs(),
            lake.address(),
            warehouse.address()
        );
        let deployment = Deployment::new(&format!("{settings}{sections}"), rules)?;
        deployment.look(&["migrate"])?;
        deployment.look(&["migrate", "--warehouse"])?;
        Ok(Self {
            deployment,
            kafka,
            postgres,
            lake,
            warehouse,
            _redshift: redshift,
            _objects: objects,
            folder,
        })
    }

    /// Where the object store keeps its files.
    pub fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }
}
