//! A real Apache Kafka broker on a folder, from the jars that Maven Central has: one process,
//! broker and controller at once.
//!
//! The jars are fetched once, by Maven, into a cache that all brokers share.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use theatre_actors::ports::{Error, Result};

use super::process::{self, Life, Process};

mod java;

use java::run;
pub use java::{LIBRARIES_VARIABLE, java};

/// One broker holds every replica; groups and transactions settle at once; a fetch holds the
/// longest record.
const SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
";
/// How long a start may take; recovery after a kill is part of it.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long a stop in order may take.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How long one question to the broker may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// A way in that is secured, beside the plain one that every broker has.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name: upper-case letters.
    pub name: &'static str,
    /// `SSL` or `SASL_SSL`.
    pub protocol: &'static str,
    /// The host that the broker names to clients once they have begun.
    pub advertised: &'static str,
    /// Settings that are this listener's only, such as `ssl.client.auth`.
    pub settings: Vec<(String, String)>,
}

/// What a broker has beside what all have.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// Secured listeners.
    pub listeners: Vec<Listener>,
    /// Users of SCRAM-SHA-512 and their passwords; they are made together with the cluster.
    pub users: Vec<(String, String)>,
    /// Settings of the broker.
    pub settings: Vec<(String, String)>,
}

/// A Kafka broker.
#[derive(Debug)]
pub struct Kafka {
    root: PathBuf,
    life: Life,
    port: u16,
    extras: Extras,
    /// One for each listener of `extras`.
    secured_ports: Vec<u16>,
    process: Option<Process>,
}

impl Kafka {
    /// Starts a broker on `root` that ends with this value; an empty folder becomes a new cluster.
    ///
    /// # Errors
    /// Says what is missing and how to install it, or how the broker's log ends.
    pub fn start(root: &Path) -> Result<Self> {
        Self::start_for(root, Life::Owned)
    }

    /// As [`Self::start`], for a `life`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_for(root: &Path, life: Life) -> Result<Self> {
        Self::start_with(root, life, Extras::default())
    }

    /// As [`Self::start_for`], with `extras`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(root: &Path, life: Life, extras: Extras) -> Result<Self> {
        let root = process::folder(root)?;
        let mut ports = process::some_ports(&root, 2 + extras.listeners.len())?;
        let secured_ports = ports.split_off(2);
        let mut broker = Self {
            root,
            life,
            port: ports[0],
            extras,
            secured_ports,
            process: None,
        };
        broker.configure(ports[1])?;
        broker.launch()?;
        Ok(broker)
    }

    /// The broker that another process started on `root`; none if it has ended.
    pub fn running(root: &Path) -> Option<Self> {
        let root = root.canonicalize().ok()?;
        let [port, _] = process::kept_ports::<2>(&root)?;
        let process = Some(Process::running(&root)?);
        Some(Self {
            root,
            life: Life::Detached,
            port,
            extras: Extras::default(),
            secured_ports: Vec::new(),
            process,
        })
    }

    /// Where clients begin.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where clients of a secured listener begin; none if there is no such listener.
    pub fn secured_bootstrap(&self, listener: &str) -> Option<String> {
        let index = self
            .extras
            .listeners
            .iter()
            .position(|one| one.name == listener)?;
        Some(format!("127.0.0.1:{}", self.secured_ports[index]))
    }

    /// True if it says what topics it has.
    pub fn answers(&self) -> bool {
        answers(&self.bootstrap())
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.end("TERM")
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.end("KILL")
    }

    /// Starts it again on the same port, stopping it first if it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Holds it still: connections stay open and nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.process()?.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.process()?.signal("CONT")
    }

    fn process(&self) -> Result<&Process> {
        self.process
            .as_ref()
            .ok_or_else(|| Error::Refused(format!("Kafka on {} does not run", self.root.display())))
    }

    fn end(&mut self, signal: &str) -> Result<()> {
        let Some(process) = self.process.take() else {
            return Ok(());
        };
        // A paused broker would not see any other signal.
        let _ = process.signal("CONT");
        process.end(signal, STOP_PATIENCE)
    }

    fn settings(&self) -> PathBuf {
        self.root.join("server.properties")
    }

    /// Writes the settings, and formats the folder the first time.
    fn configure(&self, controller: u16) -> Result<()> {
        let data = self.root.join("data");
        let text = self.settings_text(&data, controller);
        fs::write(self.settings(), text)
            .map_err(|error| Error::Refused(format!("{}: {error}", self.settings().display())))?;
        if data.join("meta.properties").exists() {
            return Ok(());
        }
        let mut command = java("kafka.tools.StorageTool")?;
        // The name of the cluster: 16 bytes in URL-safe base64. Nothing else ever joins it, so it
        // may be anybody's.
        command
            .args([
                "format",
                "--standalone",
                "-t",
                "dGhlYXRyZS1kZXYtMDAwMA",
                "-c",
            ])
            .arg(self.settings());
        for (name, password) in &self.extras.users {
            command
                .arg("--add-scram")
                .arg(format!("SCRAM-SHA-512=[name={name},password={password}]"));
        }
        run(&mut command, "Kafka's folder cannot be formatted")
    }

    fn settings_text(&self, data: &Path, controller: u16) -> String {
        let mut protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned();
        let mut listeners = format!("PLAINTEXT://{}", self.bootstrap());
        let mut advertised = listeners.clone();
        let mut own = String::new();
        for (listener, port) in self.extras.listeners.iter().zip(&self.secured_ports) {
            protocols += &format!(",{}:{}", listener.name, listener.protocol);
            listeners += &format!(",{}://127.0.0.1:{port}", listener.name);
            advertised += &format!(",{}://{}:{port}", listener.name, listener.advertised);
            for (name, value) in &listener.settings {
                own += &format!(
                    "listener.name.{}.{name}={value}\n",
                    listener.name.to_lowercase()
                );
            }
        }
        for (name, value) in &self.extras.settings {
            own += &format!("{name}={value}\n");
        }
        format!(
            "{SETTINGS}controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             listener.security.protocol.map={protocols}\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={advertised}\nlog.dirs={}\n{own}",
            data.display()
        )
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = java("kafka.Kafka")?;
        command.arg(self.settings()).current_dir(&self.root);
        let mut process = Process::start(command, &self.root, self.life)?;
        let ready = process::wait_until(START_PATIENCE, || process.has_ended() || self.answers());
        if ready && !process.has_ended() {
            self.process = Some(process);
            return Ok(());
        }
        process.end("KILL", STOP_PATIENCE)?;
        Err(Error::Refused(format!(
            "Kafka on {} does not start; its log ends: {}",
            self.root.display(),
            process::log_tail(&self.root)
        )))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Killed, not stopped: what it acknowledged is in its files, and an
        // orderly leave takes seconds.
        if self.life == Life::Owned
            && let Err(error) = self.kill()
        {
            tracing::warn!(%error, "Kafka could not be stopped");
        }
    }
}

/// True if the broker at `bootstrap` says what topics it has.
pub fn answers(bootstrap: &str) -> bool {
    // While it starts, refusals are what is expected: only the answer is of interest, not the
    // client's log of them.
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("log_level", "0")
        .set("log.connection.close", "false");
    let client: std::result::Result<BaseConsumer, _> = config.create();
    client.is_ok_and(|client| {
        client
            .fetch_metadata(None, ANSWER_PATIENCE)
            .is_ok_and(|metadata| !metadata.brokers().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::ClientConfig;
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Message;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::{Offset, TopicPartitionList};

    use super::Kafka;
    use theatre_system::blocking::IoRuntime;

    const TOPIC: &str = "kept";

    fn client(broker: &Kafka) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", broker.bootstrap())
            .set("group.id", "test")
            .set("log_level", "0");
        config
    }

    fn produce(broker: &Kafka, values: std::ops::Range<u32>) {
        let producer: BaseProducer = client(broker).create().unwrap();
        for value in values {
            producer
                .send(BaseRecord::<(), _>::to(TOPIC).payload(&value.to_string()))
                .unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    fn consume(broker: &Kafka, count: usize) -> Vec<String> {
        let consumer: BaseConsumer = client(broker).create().unwrap();
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(TOPIC, 0, Offset::Beginning)
            .unwrap();
        consumer.assign(&assignment).unwrap();
        let next = || {
            consumer.poll(Duration::from_secs(30)).map(|message| {
                String::from_utf8_lossy(message.unwrap().payload().unwrap()).into_owned()
            })
        };
        std::iter::from_fn(next).take(count).collect()
    }

    #[test]
    fn what_was_acknowledged_survives_stop_kill_and_pause_at_the_same_address() {
        let folder = tempfile::tempdir().unwrap();
        let mut broker = Kafka::start(folder.path()).unwrap();
        let admin: AdminClient<DefaultClientContext> = client(&broker).create().unwrap();
        let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(1));
        IoRuntime::start()
            .unwrap()
            .block_on(admin.create_topics([&topic], &AdminOptions::new()))
            .unwrap()[0]
            .clone()
            .unwrap();
        produce(&broker, 0..10);
        broker.restart().unwrap();
        produce(&broker, 10..20);
        broker.kill().unwrap();
        assert!(!broker.answers());
        broker.restart().unwrap();
        broker.pause().unwrap();
        assert!(!broker.answers());
        broker.resume().unwrap();
        assert_eq!(
            consume(&broker, 20),
            (0..20)
                .map(|value: u32| value.to_string())
                .collect::<Vec<_>>()
        );
    }
}
