//! All local servers of a person together, below one folder: brought up, looked at, taken down; and
//! the configuration that names them.
//!
//! Behind `theatre dev`. The servers go on when the command has ended; everything they need to be
//! found again is in the folder.

use std::fmt::Write;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use redshift_local::{Options, RedshiftLocal, S3Access};
use theatre_actors::ports::{Error, Result};

use super::kafka::Kafka;
use super::object_store::{ACCESS_KEY, ObjectStore, SECRET_KEY};
use super::postgres::{Durability, Postgres};
use super::process::{self, Life, Process};
use theatre_config::store::StoreConfig;
use theatre_config::warehouse::WarehouseConfig;
use theatre_redshift::RedshiftWarehouse;
use theatre_system::blocking::IoRuntime;

/// The database of the checkpoint store.
const DATABASE: &str = "theatre";
/// The bucket of the lake.
const BUCKET: &str = "theatre";
/// The database of the warehouse.
const WAREHOUSE: &str = "dev";
/// The region that requests are signed for; the local servers do not look at it.
const REGION: &str = "us-east-1";
/// How long the object store and the warehouse may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of the servers.
#[derive(Debug, Clone)]
pub struct Stack(PathBuf);

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is, and the section of the configuration that names it.
    pub server: &'static str,
    /// Where it answers; none when it does not run.
    pub address: Option<String>,
    /// Its log.
    pub log: PathBuf,
    /// True if it answers.
    pub answers: bool,
}

impl Stack {
    /// The servers below `folder`, whether they run or not.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The configuration that names the servers.
    pub fn config_file(&self) -> PathBuf {
        self.0.join("theatre.toml")
    }

    /// Starts what does not answer, makes the schemas of store and warehouse, and writes the
    /// configuration and, the first time, the key of pseudonyms.
    ///
    /// # Errors
    /// Says what is missing and how to install it, or why a server does not start.
    pub fn up(&self, mut say: impl FnMut(&str)) -> Result<()> {
        let _alone = self.alone()?;
        say("PostgreSQL ...");
        let server = self.postgres()?;
        let store = server.create_database(DATABASE)?;
        say("Kafka ...");
        let brokers = self.kafka()?.bootstrap();
        say("object store and warehouse ...");
        let Endpoints { lake, warehouse } = self.stores(&server.url("postgres"))?;
        say("schemas ...");
        migrate(&store, &warehouse)?;
        self.keep_key()?;
        let mut config = String::from(
            "# Written by `theatre dev up`, anew each time. What you add in theatre.d/*.toml beside it stays.\n",
        );
        let _ = write!(
            config,
            "pseudonym_key_file = \"pseudonym.key\"\n\n[log]\nurl = \"kafka://{brokers}\"\n\n[store]\nurl = \"{store}\"\n"
        );
        let _ = write!(
            config,
            "\n[lake]\nurl = \"s3://{BUCKET}/lake\"\nendpoint = \"{lake}\"\nregion = \"{REGION}\"\npath_style = true\ncredentials_file = \"credentials\"\n"
        );
        let _ = write!(
            config,
            "\n[warehouse]\nurl = \"{}\"\nendpoint = \"{warehouse}\"\nregion = \"{REGION}\"\ncredentials_file = \"credentials\"\n",
            warehouse_url()
        );
        self.write("credentials", format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n").as_bytes())?;
        self.write("theatre.toml", config.as_bytes())
    }

    /// Stops what runs; what was stored stays.
    ///
    /// # Errors
    /// When a server does not end.
    pub fn down(&self, mut say: impl FnMut(&str)) -> Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        let _alone = self.alone()?;
        // The reverse of the way up.
        if let Some(process) = Process::running(&process::folder(&self.stores_folder())?) {
            say("object store and warehouse ...");
            process.end("TERM", PATIENCE)?;
        }
        if let Some(mut broker) = Kafka::running(&self.kafka_folder()) {
            say("Kafka ...");
            broker.stop()?;
        }
        if let Some(mut server) = Postgres::running(&self.postgres_folder())? {
            say("PostgreSQL ...");
            server.stop()?;
        }
        Ok(())
    }

    /// What runs and what answers.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn status(&self) -> Result<Vec<Status>> {
        let postgres = Postgres::running(&self.postgres_folder())?;
        let kafka = Kafka::running(&self.kafka_folder());
        let (lake, warehouse) = self
            .endpoints()
            .map(|endpoints| (endpoints.lake, endpoints.warehouse))
            .unzip();
        let of = |server, folder: &Path, address, answers| Status {
            server,
            address,
            log: process::log_file(folder),
            answers,
        };
        Ok(vec![
            of(
                "PostgreSQL",
                &self.postgres_folder(),
                postgres.as_ref().map(|server| server.url(DATABASE)),
                postgres.is_some_and(|server| server.answers()),
            ),
            of(
                "Kafka",
                &self.kafka_folder(),
                kafka.as_ref().map(Kafka::bootstrap),
                kafka.is_some_and(|broker| broker.answers()),
            ),
            of(
                "object store",
                &self.stores_folder(),
                lake.clone(),
                lake.is_some_and(|endpoint| answers(&endpoint)),
            ),
            of(
                "warehouse",
                &self.stores_folder(),
                warehouse.clone(),
                warehouse.is_some_and(|endpoint| answers(&endpoint)),
            ),
        ])
    }

    /// The server that answers, or a new one in its place.
    fn postgres(&self) -> Result<Postgres> {
        let folder = self.postgres_folder();
        match Postgres::running(&folder)? {
            Some(server) if server.answers() => return Ok(server),
            Some(mut stuck) => stuck.kill()?,
            None => {}
        }
        Postgres::start_for(&folder, Durability::Safe, Life::Detached)
    }

    /// The broker that answers, or a new one in its place.
    fn kafka(&self) -> Result<Kafka> {
        let folder = self.kafka_folder();
        match Kafka::running(&folder) {
            Some(broker) if broker.answers() => return Ok(broker),
            Some(mut stuck) => stuck.kill()?,
            None => {}
        }
        Kafka::start_for(&folder, Life::Detached)
    }

    /// The object store and the warehouse that answer, or new ones in their place: one process of
    /// this same program, see [`serve`].
    fn stores(&self, postgres: &str) -> Result<Endpoints> {
        let folder = process::folder(&self.stores_folder())?;
        if let Some(endpoints) = self.endpoints().filter(Endpoints::answer) {
            return Ok(endpoints);
        }
        if let Some(stuck) = Process::running(&folder) {
            stuck.end("KILL", PATIENCE)?;
        }
        let endpoints = Endpoints::of(process::ports(&folder)?);
        let program = std::env::current_exe()
            .map_err(|error| Error::Refused(format!("this program cannot be found: {error}")))?;
        let mut command = Command::new(program);
        command.args(["dev", "serve"]).arg(&folder).arg(postgres);
        let mut process = Process::start(command, &folder, Life::Detached)?;
        if process::wait_until(PATIENCE, || process.has_ended() || endpoints.answer())
            && !process.has_ended()
        {
            return Ok(endpoints);
        }
        process.end("KILL", PATIENCE)?;
        let log = process::log_tail(&folder);
        Err(Error::Refused(format!(
            "the object store and the warehouse on {} do not start; their log ends: {log}",
            folder.display()
        )))
    }

    fn endpoints(&self) -> Option<Endpoints> {
        let folder = self.stores_folder().canonicalize().ok()?;
        let ports = process::kept_ports(&folder)?;
        Process::running(&folder).map(|_| Endpoints::of(ports))
    }

    fn stores_folder(&self) -> PathBuf {
        self.0.join("object-store")
    }

    fn postgres_folder(&self) -> PathBuf {
        self.0.join("postgres")
    }

    fn kafka_folder(&self) -> PathBuf {
        self.0.join("kafka")
    }

    /// Keeps another `theatre dev` off the folder while the value lives.
    fn alone(&self) -> Result<File> {
        process::folder(&self.0)?;
        let path = self.0.join("lock");
        let refused =
            |why: &dyn std::fmt::Display| Error::Refused(format!("{}: {why}", path.display()));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| refused(&error))?;
        file.try_lock()
            .map_err(|_| refused(&"another `theatre dev` is at work on this folder"))?;
        Ok(file)
    }

    /// A key of its own for this stack: the log would not be readable in the same way with another
    /// one.
    fn keep_key(&self) -> Result<()> {
        if self.0.join("pseudonym.key").exists() {
            Ok(())
        } else {
            self.write("pseudonym.key", &rand::random::<[u8; 32]>())
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        fs::write(&path, bytes)
            .map_err(|error| Error::Refused(format!("{}: {error}", path.display())))
    }
}

/// Where the object store and the warehouse listen.
struct Endpoints {
    lake: String,
    warehouse: String,
}

impl Endpoints {
    fn of(ports: [u16; 2]) -> Self {
        let [lake, warehouse] = ports.map(|port| format!("http://127.0.0.1:{port}"));
        Self { lake, warehouse }
    }

    fn answer(&self) -> bool {
        answers(&self.lake) && answers(&self.warehouse)
    }
}

/// The object store and the warehouse of a [`Stack`]; they live as long as the value.
pub struct Stores {
    // Dropped first: it reads from the other.
    _warehouse: RedshiftLocal,
    _lake: ObjectStore,
}

/// Serves both on `folder`, at the ports that [`Stack::up`] chose; the warehouse keeps its tables
/// in the PostgreSQL at `postgres`.
///
/// # Errors
/// When there are no ports, nothing can listen there or PostgreSQL does not answer.
pub fn serve(folder: &Path, postgres: &str) -> Result<Stores> {
    let missing = || {
        Error::Refused(format!(
            "{}: `theatre dev up` has not been here",
            folder.display()
        ))
    };
    let [lake_port, warehouse_port] = process::kept_ports(folder).ok_or_else(missing)?;
    let lake = ObjectStore::start(&folder.join("data"), &format!("127.0.0.1:{lake_port}"))?;
    lake.create_bucket(BUCKET)?;
    let keys = Some((ACCESS_KEY.to_owned(), SECRET_KEY.to_owned()));
    let s3 = S3Access {
        endpoint: Some(lake.endpoint()),
        path_style: true,
        keys,
        region: None,
    };
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, warehouse_port));
    let options = Options {
        listen,
        postgres: postgres.to_owned(),
        databases: vec![WAREHOUSE.to_owned()],
        s3,
        ..Options::default()
    };
    let warehouse = RedshiftLocal::start(options).map_err(|error| {
        Error::Refused(format!(
            "the warehouse at {listen} does not start: {error:#}"
        ))
    })?;
    Ok(Stores {
        _warehouse: warehouse,
        _lake: lake,
    })
}

fn warehouse_url() -> String {
    format!("redshift://local/{WAREHOUSE}")
}

/// Brings the schemas of the store and of the warehouse to this version, so that the next command
/// simply works.
fn migrate(store: &str, warehouse: &str) -> Result<()> {
    let io = IoRuntime::start()?;
    theatre_postgres::migrate(store, &StoreConfig::default(), &io)?;
    let config = WarehouseConfig {
        endpoint: Some(warehouse.to_owned()),
        region: Some(REGION.to_owned()),
        ..WarehouseConfig::default()
    };
    RedshiftWarehouse::open(
        &warehouse_url(),
        &config,
        Some(ObjectStore::credentials()),
        &io,
    )?
    .migrate()?;
    Ok(())
}

/// True if something at `endpoint` speaks HTTP; that it refuses an unsigned request is an answer
/// too.
fn answers(endpoint: &str) -> bool {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(2)))
        .http_status_as_error(false)
        .build()
        .into();
    agent.get(endpoint).call().is_ok()
}
