//! A cluster as an operator sees it: brokers, topics with their copies, rights, and the group.
//! Nothing of it changes anything.
//!
//! Used by `theatre doctor`, so a broker that does not answer is given up after one attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::{MetadataBroker, MetadataPartition};
use theatre_actors::ports::Result;
use theatre_actors::time::{Clock, LogTime};

use super::client::by_code;
use super::lean;
use super::topic_audit::TopicAudit;
use theatre_config::log::LogConfig;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The brokers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its id; none if the brokers do not say it.
    pub id: Option<String>,
    /// Number and address of each broker.
    pub brokers: Vec<(i32, String)>,
}

/// What a broker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The release of Kafka, as far as brokers let it be known: `4.0`.
    pub release: String,
    /// The clock of the cluster's controllers; none where there is none, or where this client may
    /// not describe the cluster.
    pub clock: Option<ClockReading>,
}

/// A look at a server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// When it was asked for, by the clock of this machine.
    pub asked: LogTime,
    /// What the server said, exact to a millisecond.
    pub server: LogTime,
    /// When the answer was there, by the clock of this machine.
    pub answered: LogTime,
}

/// A topic that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its partitions.
    pub partitions: u32,
    /// Copies of the partition that has the fewest.
    pub replicas: usize,
    /// Copies that are in sync, of the partition that has the fewest such.
    pub in_sync: usize,
    /// Partitions without a leader.
    pub leaderless: Vec<i32>,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `Stable`, `Empty`, `Dead` (there is none), or what it goes through just now.
    pub state: String,
    /// Client id and host of each member.
    pub members: Vec<String>,
}

/// What a client may do with a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Right {
    /// Read it.
    pub read: bool,
    /// Write to it.
    pub write: bool,
}

/// What a client may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// With each topic that is there.
    pub topics: BTreeMap<String, Right>,
    /// Whether it may join the group; none while no broker keeps groups, as on a new cluster.
    pub group: Option<bool>,
}

impl TopicAudit {
    /// The brokers.
    ///
    /// # Errors
    /// When none answers, or lets this client in: says why.
    pub fn cluster(&self) -> Result<Cluster> {
        let found = self.topics.fetch_metadata_once(None);
        let found = found.map_err(|error| self.topics.base.failed("asking for brokers", &error))?;
        let broker = |broker: &MetadataBroker| {
            let address = format!("{}:{}", broker.host(), broker.port());
            (broker.id(), address)
        };
        let mut brokers: Vec<_> = found.brokers().iter().map(broker).collect();
        brokers.sort_unstable();
        let id = self.topics.query_client.client().fetch_cluster_id(PATIENCE);
        Ok(Cluster { id, brokers })
    }

    /// What the first broker that answers says of itself, beside the time by `clock`.
    ///
    /// # Errors
    /// As [`Self::cluster`]; refused where `log.properties` hold what only librdkafka understands.
    pub fn server(&self, config: &LogConfig, clock: &dyn Clock) -> Result<Server> {
        let base = &self.topics.base;
        let brokers = base.settings.get("bootstrap.servers").unwrap_or_default();
        lean::server(brokers, config, &base.identity, clock, PATIENCE)
    }

    /// A topic; `None` if it is not there.
    ///
    /// # Errors
    /// As [`Self::cluster`].
    pub fn topic(&self, name: &str) -> Result<Option<Topic>> {
        let found = self.topics.fetch_metadata_once(Some(name));
        let found = found.map_err(|error| self.topics.base.failed("asking for a topic", &error))?;
        let Some(topic) = found.topics().first() else {
            return Ok(None);
        };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(code) => return Err(by_code(&format!("asking for topic '{name}'"), code)),
        }
        let partitions = topic.partitions();
        let fewest = |copies: fn(&MetadataPartition) -> usize| {
            partitions.iter().map(copies).min().unwrap_or_default()
        };
        let leaderless = partitions.iter().filter(|partition| partition.leader() < 0);
        Ok(Some(Topic {
            partitions: partitions.len() as u32,
            replicas: fewest(|partition| partition.replicas().len()),
            in_sync: fewest(|partition| partition.isr().len()),
            leaderless: leaderless.map(MetadataPartition::id).collect(),
        }))
    }

    /// The group by which processes share partitions; `None` if the brokers know none.
    ///
    /// # Errors
    /// As [`Self::cluster`].
    pub fn group(&self, config: &LogConfig) -> Result<Option<Group>> {
        let client = self.topics.query_client.client();
        let found = client
            .fetch_group_list(Some(&config.deployment), PATIENCE)
            .map_err(|error| self.topics.base.failed("asking for the group", &error))?;
        Ok(found.groups().first().map(|group| {
            let member = |member: &rdkafka::groups::GroupMemberInfo| {
                let host = member.client_host().trim_start_matches('/');
                format!("{} at {host}", member.client_id())
            };
            Group {
                state: group.state().to_owned(),
                members: group.members().iter().map(member).collect(),
            }
        }))
    }

    /// What this client may do with these topics and its group.
    ///
    /// # Errors
    /// As [`Self::cluster`]; refused where `log.properties` hold what only librdkafka understands.
    pub fn rights(&self, config: &LogConfig, topics: &[&str]) -> Result<Rights> {
        let base = &self.topics.base;
        let brokers = base.settings.get("bootstrap.servers").unwrap_or_default();
        lean::rights(brokers, config, &base.identity, topics, PATIENCE)
    }
}
