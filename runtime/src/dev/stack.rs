//! All local servers of a person together, below one folder: brought up, looked at, taken down; and the configuration that names them.
//!
//! Behind `theatre dev`. The servers go on when the command has ended; everything they need to be found again is in the folder.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use theatre_actors::ports::{Error, Result};

use super::kafka::Kafka;
use super::postgres::{Durability, Postgres};
use super::process::{self, Life};

/// The database of the checkpoint store.
const DATABASE: &str = "theatre";

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

    /// Starts what does not answer, and writes the configuration and, the first time, the key of pseudonyms.
    ///
    /// # Errors
    /// Says what is missing and how to install it, or why a server does not start.
    pub fn up(&self, mut say: impl FnMut(&str)) -> Result<()> {
        let _alone = self.alone()?;
        say("PostgreSQL ...");
        let store = self.postgres()?.create_database(DATABASE)?;
        say("Kafka ...");
        let brokers = self.kafka()?.bootstrap();
        self.keep_key()?;
        let mut config = String::from("# Written by `theatre dev up`, anew each time. What you add in theatre.d/*.toml beside it stays.\n");
        let _ = write!(config, "pseudonym_key_file = \"pseudonym.key\"\n\n[log]\nurl = \"kafka://{brokers}\"\n\n[store]\nurl = \"{store}\"\n");
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
        let of = |server, folder: &Path, address, answers| Status { server, address, log: process::log_file(folder), answers };
        Ok(vec![
            of("PostgreSQL", &self.postgres_folder(), postgres.as_ref().map(|server| server.url(DATABASE)), postgres.is_some_and(|server| server.answers())),
            of("Kafka", &self.kafka_folder(), kafka.as_ref().map(Kafka::bootstrap), kafka.is_some_and(|broker| broker.answers())),
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
