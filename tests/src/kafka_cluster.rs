//! Several Kafka brokers on this machine as one cluster. The first is the controller, too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use theatre_dev::kafka;
use theatre_dev::process::{Life, Process, some_ports};

/// How long a start or a change of the cluster may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The name of the cluster, in the form that Kafka wants.
const NAME: &str = "dGhlYXRyZS10ZXN0cy0wMQ";

/// The brokers, numbered from 1.
pub struct KafkaCluster {
    root: PathBuf,
    ports: Vec<u16>,
    running: Vec<Option<Process>>,
}

impl KafkaCluster {
    /// Starts `size` brokers on an empty folder.
    pub fn start(root: &Path, size: usize) -> Result<Self> {
        let ports = some_ports(root, size + 1)?;
        let mut cluster = Self {
            root: root.to_owned(),
            running: (0..size).map(|_| None).collect(),
            ports,
        };
        for broker in 1..=size {
            cluster.format(broker)?;
        }
        for broker in 1..=size {
            cluster.spawn(broker)?;
        }
        for broker in 1..=size {
            cluster.wait_up(broker)?;
        }
        Ok(cluster)
    }

    /// Where clients begin: at all of them.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = (1..=self.running.len())
            .map(|broker| self.address(broker))
            .collect();
        addresses.join(",")
    }

    /// Kills a broker.
    pub fn kill(&mut self, broker: usize) -> Result<()> {
        let process = self.running[broker - 1].take();
        Ok(process.context("it does not run")?.end("KILL", PATIENCE)?)
    }

    /// Starts a broker that was killed, and waits until the cluster has it.
    pub fn launch(&mut self, broker: usize) -> Result<()> {
        self.spawn(broker)?;
        self.wait_up(broker)
    }

    /// Waits until a replica of partition 0 has all that its leader has.
    pub fn wait_in_sync(&self, topic: &str, replica: i32) -> Result<()> {
        wait("the replica is not in sync", || {
            self.client()?
                .fetch_metadata(Some(topic), Duration::from_secs(2))
                .map(|metadata| {
                    metadata.topics().iter().any(|topic| {
                        topic
                            .partitions()
                            .iter()
                            .any(|partition| partition.isr().contains(&replica))
                    })
                })
                .map_err(Into::into)
        })
    }

    fn client(&self) -> Result<BaseConsumer> {
        Ok(ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("log_level", "0")
            .create()?)
    }

    fn address(&self, broker: usize) -> String {
        format!("127.0.0.1:{}", self.ports[broker])
    }

    fn folder(&self, broker: usize) -> PathBuf {
        self.root.join(broker.to_string())
    }

    fn format(&self, broker: usize) -> Result<()> {
        let (folder, controller) = (self.folder(broker), self.ports[0]);
        fs::create_dir_all(&folder)?;
        let address = self.address(broker);
        let (roles, listeners) = if broker == 1 {
            (
                "broker,controller",
                format!("PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller}"),
            )
        } else {
            ("broker", format!("PLAINTEXT://{address}"))
        };
        let settings = format!(
            "process.roles={roles}\nnode.id={broker}\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             listeners={listeners}\nadvertised.listeners=PLAINTEXT://{address}\n\
             log.dirs={}\noffsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             auto.create.topics.enable=false\nbroker.session.timeout.ms=3000\n\
             broker.heartbeat.interval.ms=500\nreplica.lag.time.max.ms=5000\n",
            folder.join("data").display()
        );
        let file = folder.join("server.properties");
        fs::write(&file, settings)?;
        let mut command = kafka::java("kafka.tools.StorageTool")?;
        command.args(["format", "-t", NAME, "-c"]).arg(&file);
        if broker == 1 {
            command.arg("--standalone");
        }
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn spawn(&mut self, broker: usize) -> Result<()> {
        let folder = self.folder(broker);
        let mut command: Command = kafka::java("kafka.Kafka")?;
        command
            .arg(folder.join("server.properties"))
            .current_dir(&folder);
        let process = Process::start(command, &folder, Life::Owned)?;
        self.running[broker - 1] = Some(process);
        Ok(())
    }

    fn wait_up(&self, broker: usize) -> Result<()> {
        wait(&format!("broker {broker} is not in the cluster"), || {
            let client: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", self.address(broker))
                .set("log_level", "0")
                .create()?;
            Ok(client
                .fetch_metadata(None, Duration::from_secs(2))
                .is_ok_and(|metadata| {
                    metadata
                        .brokers()
                        .iter()
                        .any(|found| found.id() == broker as i32)
                }))
        })
    }
}

impl Drop for KafkaCluster {
    fn drop(&mut self) {
        for process in self.running.iter_mut().filter_map(Option::take) {
            // What is left of it ends with this process.
            let _ = process.end("KILL", PATIENCE);
        }
    }
}

fn wait(what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !holds()? {
        ensure!(begun.elapsed() < PATIENCE, "{what} after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
