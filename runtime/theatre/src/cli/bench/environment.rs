//! The environment a benchmark runs on: a folder, a name and a configuration of its own, a broker
//! and a database that run elsewhere.
//!
//! Every run has a fresh deployment: nothing that an earlier one saved or published can be met.
//! What it made is removed at the end.

use std::path::PathBuf;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use theatre_actors::ports::EventLog;
use theatre_actors::rules::Micros;

use super::measure::Server;
use super::process::listener_at;
use super::recount::{REORDER_US, WindowShape};
use super::{Common, Failure, topic};
use crate::adapters::{Access, Adapters};
use theatre_config::{Config, WindowConfig};
use theatre_dev::postgres::create_database;
use theatre_embedded::data_dir::DataDir;
use theatre_postgres::migrate;
use theatre_system::blocking::IoRuntime;

const DAY: Micros = Micros(86_400_000_000);
const RULE: &str = r#"[[rule]]
id = "hot"
dataset = "fleet_telemetry"
kind = { threshold = { signal = "motor_temperature", raise_above = 85.0, clear_below = 80.0 } }
"#;

/// What differs between benchmarks.
pub(super) struct Kinds {
    /// Kinds of topics that the run makes on the broker.
    pub(super) topics: &'static [&'static str],
    /// Priority of the alert: one of high priority is saved and published at once, others with the
    /// next save of their robot.
    pub(super) priority: &'static str,
    /// Its windows.
    pub(super) windows: WindowShape,
}

/// A folder that goes when this does.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

/// Where a benchmark runs.
pub(super) struct BenchEnvironment {
    topics: &'static [&'static str],
    /// Further topics that the run makes on the broker.
    pub(super) made: Vec<String>,
    scratch: Scratch,
    /// Of this run alone: lower-case letters, digits and underscores.
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) servers: Vec<Server>,
    brokers: Option<String>,
    /// The server, and the address of this run's database on it.
    database: Option<String>,
}

impl BenchEnvironment {
    /// A environment with a broker and a database where they are named, embedded files otherwise.
    pub(super) fn new(
        brokers: Option<&str>,
        database: Option<&str>,
        kinds: Kinds,
    ) -> Result<Self, Failure> {
        let name = format!("theatre_bench_{:08x}", rand::random::<u32>());
        let scratch = Scratch(std::env::temp_dir().join(&name));
        std::fs::create_dir_all(&scratch.0)?;
        let (rules, key) = (scratch.0.join("rules.toml"), scratch.0.join("key"));
        std::fs::write(&rules, format!("{RULE}priority = \"{}\"\n", kinds.priority))?;
        std::fs::write(&key, rand::random::<[u8; 32]>())?;
        let window = WindowConfig {
            name: "bench".to_owned(),
            size: Micros(kinds.windows.size_us),
            hop: Some(Micros(kinds.windows.hop_us)),
        };
        let mut config = Config {
            rules: Some(rules.into()),
            windows: vec![window],
            reorder_bound: Micros(REORDER_US),
            // The records are dated, not live: no robot counts as silent, and no record as old.
            silence_after: DAY,
            log_retention: Micros(30 * 365 * DAY.0),
            pseudonym_key_file: Some(key.into()),
            ..Config::default()
        };
        let mut servers = Vec::new();
        let mut find = |name, address: Option<String>| {
            servers.extend(
                address
                    .and_then(|at| listener_at(&at))
                    .map(|process| Server { name, process }),
            )
        };
        if let Some(brokers) = brokers {
            config.log.url = Some(format!("kafka://{brokers}"));
            config.log.deployment.clone_from(&name);
            find("broker", brokers.split(',').next().map(str::to_owned));
        }
        if let Some(url) = database {
            let (store, io) = (on_server(url, &name)?, IoRuntime::start()?);
            create_database(url, &name, &io)?;
            migrate(&store, &config.store, &io)?;
            config.store.url = Some(store);
            find("database", address(url));
        }
        Ok(Self {
            topics: kinds.topics,
            made: Vec::new(),
            scratch,
            name,
            config,
            servers,
            brokers: brokers.map(str::to_owned),
            database: database.map(str::to_owned),
        })
    }

    /// The command's flags for this environment.
    pub(super) fn common(&self, common: &Common) -> Common {
        Common {
            data: self.scratch.0.join("data"),
            admin: Some("127.0.0.1:0".to_owned()),
            ..common.clone()
        }
    }

    /// The log.
    pub(super) fn log(&self) -> Result<Arc<dyn EventLog>, Failure> {
        let dir = DataDir::created(&self.scratch.0.join("data"))?;
        Ok(Adapters::new(&self.config, &dir, Access::Write)?.log()?)
    }

    /// Sees that the topic has records: takes it as it is, or has another process fill it, so that
    /// filling leaves no trace in this one's memory.
    pub(super) fn fill(
        &mut self,
        topic: &str,
        partitions: Option<u32>,
        records: Option<u64>,
        robots: u64,
    ) -> Result<(), Failure> {
        let log = self.log()?;
        let usual = if self.brokers.is_some() { 16 } else { 4 };
        self.config.partitions = log.partitions(topic)?.or(partitions).unwrap_or(usual);
        if log.partitions(topic)?.is_some()
            && topic::extent(&*log, topic, self.config.partitions)? > 0
        {
            return Ok(());
        }
        let records = match (records, &self.brokers) {
            (Some(records), _) => records,
            (None, None) => 1_000_000,
            (None, Some(_)) => {
                return Err(Failure::Usage(format!(
                    "the topic {topic} is empty: fill it, or say with --fill how many records to write to it"
                )));
            }
        };
        drop(log);
        let file = self.scratch.0.join("theatre.toml");
        let mut text = format!("partitions = {}\n", self.config.partitions);
        if let Some(url) = &self.config.log.url {
            // As clients produce by default.
            text.push_str(&format!(
                "[log]\nurl = \"{url}\"\nproperties = {{ \"compression.type\" = \"none\" }}\n"
            ));
        }
        std::fs::write(&file, text)?;
        let mut filler = std::process::Command::new(std::env::current_exe()?);
        filler
            .arg("--config")
            .arg(&file)
            .arg("--data")
            .arg(self.scratch.0.join("data"))
            .args(["simulate", "--profile", "fleet", "--topic", topic]);
        filler.args([
            "--records",
            &records.to_string(),
            "--robots",
            &robots.to_string(),
        ]);
        let ended = filler.status()?;
        if ended.success() {
            Ok(())
        } else {
            Err(Failure::Failed(format!(
                "filling the topic {topic} ended with {ended}"
            )))
        }
    }

    pub(super) fn describe_log(&self) -> String {
        self.brokers.as_ref().map_or_else(
            || "embedded".to_owned(),
            |brokers| format!("kafka {brokers}"),
        )
    }

    pub(super) fn describe_store(&self) -> &'static str {
        if self.database.is_some() {
            "postgresql"
        } else {
            "embedded"
        }
    }

    pub(super) fn describe_lake(&self) -> &'static str {
        if self.config.lake.enabled {
            "folder"
        } else {
            "off"
        }
    }
}

impl Drop for BenchEnvironment {
    /// Removes the topics and the database that the run made on the servers, also of one that
    /// failed.
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("not everything of this run could be removed from the servers: {error}");
        }
    }
}

impl BenchEnvironment {
    fn clear(&self) -> Result<(), String> {
        let io = IoRuntime::start().map_err(|error| error.to_string())?;
        if let Some(brokers) = &self.brokers {
            let topics: Vec<String> = self
                .topics
                .iter()
                .chain(&["relay"])
                .map(|kind| format!("{}.{kind}", self.name))
                .chain(self.made.iter().cloned())
                .collect();
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            let admin: Result<AdminClient<DefaultClientContext>, _> = ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .create();
            admin
                .and_then(|admin| io.block_on(admin.delete_topics(&names, &AdminOptions::new())))
                .map_err(|error| format!("topics: {error}"))?;
        }
        if let Some(url) = &self.database {
            let statement = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name);
            let dropped = io.block_on(async {
                PgConnection::connect(url)
                    .await?
                    .execute(AssertSqlSafe(statement))
                    .await
            });
            dropped.map_err(|error| format!("database {}: {error}", self.name))?;
        }
        Ok(())
    }
}

/// Another database on the server of a URL.
fn on_server(url: &str, database: &str) -> Result<String, Failure> {
    let (start, options) = url
        .split_once('?')
        .map_or((url, None), |(start, options)| (start, Some(options)));
    let host = start.find("://").ok_or_else(|| {
        Failure::Usage("--database: expected postgres://user@host:port/database".to_owned())
    })? + 3;
    let server = start[host..]
        .find('/')
        .map_or(start, |slash| &start[..host + slash]);
    Ok(options.map_or_else(
        || format!("{server}/{database}"),
        |options| format!("{server}/{database}?{options}"),
    ))
}

/// Host and port of a URL.
fn address(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let server = rest.split(['/', '?']).next()?;
    let place = server.rsplit_once('@').map_or(server, |(_, place)| place);
    Some(if place.contains(':') {
        place.to_owned()
    } else {
        format!("{place}:5432")
    })
}

#[cfg(test)]
mod tests {
    use super::{address, on_server};

    #[test]
    fn a_url_is_taken_apart() {
        assert_eq!(
            on_server("postgres://u:p@h:1/a?sslmode=disable", "b")
                .ok()
                .as_deref(),
            Some("postgres://u:p@h:1/b?sslmode=disable")
        );
        assert_eq!(address("postgres://u:p@h:1/a").as_deref(), Some("h:1"));
        assert_eq!(address("postgres://u@h/a").as_deref(), Some("h:5432"));
    }
}
