//! All local servers of a person together, below one folder: brought up, looked at, taken down; and the configuration that names them.
//!
//! Behind `theatre dev`. The servers go on when the command has ended; everything they need to be found again is in the folder.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use theatre_actors::ports::{Error, Result};

use super::kafka::Kafka;
use super::object_store::{ACCESS_KEY, ObjectStore, SECRET_KEY};
use super::postgres::{Durability, Postgres};
use super::process::{self, Life, Process};
use crate::config::store::StoreConfig;
use crate::drive::Drive;

/// The database of the checkpoint store.
const DATABASE: &str = "theatre";
/// The bucket of the lake.
const BUCKET: &str = "theatre";
/// How long the object store may take to start or to stop.
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

    /// The variables a process needs to use the servers: what the object store is asked with. As a shell reads them, see [`Self::env_file`].
    pub fn variables() -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]
    }

    /// The variables, for `.` in a shell.
    pub fn env_file(&self) -> PathBuf {
        self.0.join("env")
    }

    /// Starts what does not answer, and writes the configuration and, the first time, the key of pseudonyms.
    ///
    /// # Errors
    /// Says what is missing and how to install it, or why a server does not start.
    pub fn up(&self, mut say: impl FnMut(&str)) -> Result<()> {
        let _alone = self.alone()?;
        say("PostgreSQL ...");
        let store = self.postgres()?.create_database(DATABASE)?;
        crate::postgres::migrate(&store, &StoreConfig::default(), &Drive::start()?)?;
        say("Kafka ...");
        let brokers = self.kafka()?.bootstrap();
        say("object store ...");
        let endpoint = self.object_store()?;
        self.keep_key()?;
        let mut config = String::from("# Written by `theatre dev up`, anew each time. What you add in theatre.d/*.toml beside it stays.\n");
        let _ = write!(config, "pseudonym_key_file = \"pseudonym.key\"\n\n[log]\nurl = \"kafka://{brokers}\"\n\n[store]\nurl = \"{store}\"\n");
        let _ = write!(config, "\n[lake]\nurl = \"s3://{BUCKET}/lake\"\nendpoint = \"{endpoint}\"\nregion = \"us-east-1\"\npath_style = true\n");
        let variables: String = Self::variables().iter().map(|(name, value)| format!("export {name}={value}\n")).collect();
        self.write("env", variables.as_bytes())?;
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
        if let Some(process) = Process::running(&process::folder(&self.object_store_folder())?) {
            say("object store ...");
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
        let object_store = self.object_store_endpoint();
        let of = |server, folder: &Path, address, answers| Status { server, address, log: process::log_file(folder), answers };
        Ok(vec![
            of("PostgreSQL", &self.postgres_folder(), postgres.as_ref().map(|server| server.url(DATABASE)), postgres.is_some_and(|server| server.answers())),
            of("Kafka", &self.kafka_folder(), kafka.as_ref().map(Kafka::bootstrap), kafka.is_some_and(|broker| broker.answers())),
            of("object store", &self.object_store_folder(), object_store.clone(), object_store.is_some_and(|endpoint| answers(&endpoint))),
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

    /// The endpoint of the object store that answers, or of a new one in its place: this same program, see [`serve`].
    fn object_store(&self) -> Result<String> {
        let folder = process::folder(&self.object_store_folder())?;
        if let Some(endpoint) = self.object_store_endpoint().filter(|endpoint| answers(endpoint)) {
            return Ok(endpoint);
        }
        if let Some(stuck) = Process::running(&folder) {
            stuck.end("KILL", PATIENCE)?;
        }
        let [port] = process::ports(&folder)?;
        let program = std::env::current_exe().map_err(|error| Error::Refused(format!("this program cannot be found: {error}")))?;
        let mut command = Command::new(program);
        command.args(["dev", "serve"]).arg(&folder);
        let mut process = Process::start(command, &folder, Life::Detached)?;
        let endpoint = format!("http://127.0.0.1:{port}");
        if process::wait_until(PATIENCE, || process.has_ended() || answers(&endpoint)) && !process.has_ended() {
            return Ok(endpoint);
        }
        process.end("KILL", PATIENCE)?;
        Err(Error::Refused(format!("the object store on {} does not start; its log ends: {}", folder.display(), process::log_tail(&folder))))
    }

    fn object_store_endpoint(&self) -> Option<String> {
        let folder = self.object_store_folder().canonicalize().ok()?;
        let [port] = process::kept_ports::<1>(&folder)?;
        Process::running(&folder).map(|_| format!("http://127.0.0.1:{port}"))
    }

    fn object_store_folder(&self) -> PathBuf {
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
        let refused = |why: &dyn std::fmt::Display| Error::Refused(format!("{}: {why}", path.display()));
        let file = File::options().create(true).append(true).open(&path).map_err(|error| refused(&error))?;
        file.try_lock().map_err(|_| refused(&"another `theatre dev` is at work on this folder"))?;
        Ok(file)
    }

    /// A key of its own for this stack: the log would not be readable in the same way with another one.
    fn keep_key(&self) -> Result<()> {
        if self.0.join("pseudonym.key").exists() { Ok(()) } else { self.write("pseudonym.key", &rand::random::<[u8; 32]>()) }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        fs::write(&path, bytes).map_err(|error| Error::Refused(format!("{}: {error}", path.display())))
    }
}

/// The object store on `folder`, at the port that [`Stack::up`] chose; lives as long as the value.
///
/// # Errors
/// When there is no port or nothing can listen there.
pub fn serve(folder: &Path) -> Result<ObjectStore> {
    let [port] = process::kept_ports(folder).ok_or_else(|| Error::Refused(format!("{}: `theatre dev up` has not been here", folder.display())))?;
    let store = ObjectStore::start(&folder.join("data"), &format!("127.0.0.1:{port}"))?;
    store.create_bucket(BUCKET)?;
    Ok(store)
}

/// True if something at `endpoint` speaks HTTP; that it refuses an unsigned request is an answer too.
fn answers(endpoint: &str) -> bool {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2))).http_status_as_error(false).build().into();
    agent.get(endpoint).call().is_ok()
}
