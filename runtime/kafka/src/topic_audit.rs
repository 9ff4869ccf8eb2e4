//! Topics as an operator sees them: which are missing, and which differ from the settings that
//! Theatre needs.
//!
//! Used by `theatre topics`. The settings themselves stand in [`super::topics`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::admin::{OwnedResourceSpecifier, ResourceSpecifier};
use theatre_actors::ports::Result;

use super::client::{self, by_code};
use super::topics::{Topics, options, settings};
use super::{admin, fetch_clients, lane};
use theatre_config::log::LogConfig;
use theatre_system::blocking::IoRuntime;

/// A topic that Theatre uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTopic {
    /// Its name.
    pub topic: String,
    /// Its number of partitions.
    pub partitions: u32,
    /// True if processing goes by the append times of its records.
    pub is_input: bool,
    /// True if it is on MSK Serverless.
    pub is_serverless: bool,
}

/// Something of a topic that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The topic.
    pub topic: String,
    /// What differs: `topic` itself, `partitions`, or a setting by its name on the broker.
    pub setting: String,
    /// As it should be.
    pub wanted: String,
    /// As it is; `None` if it is not there.
    pub found: Option<String>,
}

/// The settings of a topic, by their names on the broker.
pub type TopicSettings = BTreeMap<String, String>;

/// Compares topics with what Theatre needs, and creates missing ones.
pub struct TopicAudit {
    pub(super) topics: Topics,
    ended: Arc<AtomicBool>,
}

impl Drop for TopicAudit {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

impl TopicAudit {
    /// Opens the audit. It connects at the first request.
    ///
    /// # Errors
    /// Says what of the URL or the configuration cannot be used.
    pub fn open(url: &str, config: &LogConfig, io: &IoRuntime) -> Result<Self> {
        let base = client::base(url, config, io)?;
        let ended = Arc::new(AtomicBool::new(false));
        let query_client = fetch_clients::query_client(&base, config, &ended)?;
        let topics = Topics {
            query_client,
            base,
            io: io.clone(),
            may_create: true,
            partition_counts: Arc::default(),
        };
        Ok(Self { topics, ended })
    }

    /// The pipeline's topics, and the one that its lanes keep their positions by.
    pub fn wanted(
        config: &LogConfig,
        topics: Vec<String>,
        inputs: &[String],
        partitions: u32,
    ) -> Vec<ExpectedTopic> {
        let own = topics.into_iter().map(|topic| ExpectedTopic {
            is_input: inputs.contains(&topic),
            topic,
            partitions,
            is_serverless: config.serverless,
        });
        own.chain([ExpectedTopic {
            topic: lane::positions_topic(config),
            partitions: 1,
            is_input: false,
            is_serverless: config.serverless,
        }])
        .collect()
    }

    /// How many partitions a topic has; `None` if there is no such topic.
    ///
    /// # Errors
    /// When the brokers do not answer, or refuse to.
    pub fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.topics.partitions(topic)
    }

    /// Creates the topic if it is missing.
    ///
    /// # Errors
    /// As [`Self::partitions`]; refused when it is there with another number of partitions.
    pub fn create(&self, wanted: &ExpectedTopic) -> Result<()> {
        self.topics
            .ensure(std::slice::from_ref(&wanted.topic), wanted.partitions)
    }

    /// Everything that is not as it should be.
    ///
    /// # Errors
    /// As [`Self::partitions`].
    pub fn differences(&self, wanted: &[ExpectedTopic]) -> Result<Vec<Difference>> {
        let mut found = Vec::with_capacity(wanted.len());
        for one in wanted {
            found.push(self.topics.partitions(&one.topic)?);
        }
        let there = wanted
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_some());
        let names: Vec<&str> = there.map(|(one, _)| one.topic.as_str()).collect();
        let settings = self.settings(&names)?;
        let mut all = Vec::new();
        for (one, found) in wanted.iter().zip(found) {
            all.extend(differences(one, found, settings.get(&one.topic)));
        }
        Ok(all)
    }

    /// The settings of topics that are there, by topic; those that are not set are not among them.
    ///
    /// # Errors
    /// As [`Self::partitions`].
    pub fn settings(&self, topics: &[&str]) -> Result<BTreeMap<String, TopicSettings>> {
        const CALL: &str = "asking for the settings of topics";
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let admin = self.topics.admin()?;
        let asked: Vec<_> = topics
            .iter()
            .map(|topic| ResourceSpecifier::Topic(topic))
            .collect();
        let answer = self
            .topics
            .io
            .block_on(admin.describe_configs(&asked, &options()));
        let answer = answer
            .map_err(|error| admin::failed_with_log(&self.topics.base, &admin, CALL, &error))?;
        let mut all = BTreeMap::new();
        for described in answer {
            let described = described.map_err(|code| by_code(CALL, code))?;
            if let OwnedResourceSpecifier::Topic(topic) = described.specifier {
                let entries = described.entries.into_iter();
                let set = entries.filter_map(|entry| Some((entry.name, entry.value?)));
                all.insert(topic, set.collect());
            }
        }
        Ok(all)
    }
}

/// What of a topic is not as it should be; `found` is its number of partitions, if it is there.
pub fn differences(
    wanted: &ExpectedTopic,
    found: Option<u32>,
    settings: Option<&TopicSettings>,
) -> Vec<Difference> {
    let differs = |setting: &str, as_wanted: String, found| Difference {
        topic: wanted.topic.clone(),
        setting: setting.to_owned(),
        wanted: as_wanted,
        found,
    };
    let Some(there) = found else {
        return vec![differs("topic", "present".to_owned(), None)];
    };
    let mut all = Vec::new();
    if there != wanted.partitions {
        let (as_wanted, there) = (wanted.partitions.to_string(), there.to_string());
        all.push(differs("partitions", as_wanted, Some(there)));
    }
    let setting = |name: &str| settings?.get(name).cloned();
    let differing = differing_settings(wanted, setting).into_iter();
    all.extend(differing.map(|(name, as_wanted, found)| differs(name, as_wanted, found)));
    all
}

/// Settings that differ: name, as it should be, as it is.
fn differing_settings(
    wanted: &ExpectedTopic,
    found: impl Fn(&str) -> Option<String>,
) -> Vec<(&'static str, String, Option<String>)> {
    let mut differ = Vec::new();
    for (name, value) in settings(&wanted.topic, 1, wanted.is_serverless) {
        let there = found(name);
        let fits = match (name, there.as_deref()) {
            // It follows the number of brokers, which is the operator's choice.
            ("min.insync.replicas", _) => true,
            ("message.timestamp.type", _) if !wanted.is_input => true,
            (_, None) => false,
            ("cleanup.policy", Some(there)) => policies(there) == policies(&value),
            // A longer retention does no harm; -1 is for ever.
            ("retention.ms", Some("-1")) => true,
            ("max.message.bytes" | "retention.ms", Some(there)) => {
                there.parse::<u64>().ok() >= value.parse().ok()
            }
            (_, Some(there)) => there == value,
        };
        if !fits {
            differ.push((name, value, there));
        }
    }
    differ
}

/// The policies of a list, sorted: their order there means nothing.
fn policies(list: &str) -> Vec<&str> {
    let mut all: Vec<&str> = list.split(',').map(str::trim).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(topic: &str, is_input: bool, there: &[(&str, &str)]) -> Vec<&'static str> {
        let wanted = ExpectedTopic {
            topic: topic.to_owned(),
            partitions: 1,
            is_input,
            is_serverless: false,
        };
        names_of(&wanted, there)
    }

    fn names_of(wanted: &ExpectedTopic, there: &[(&str, &str)]) -> Vec<&'static str> {
        let found = |name: &str| {
            there
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        differing_settings(wanted, found)
            .into_iter()
            .map(|(name, ..)| name)
            .collect()
    }

    #[test]
    fn only_what_matters_differs() {
        let good = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "604800000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("max.message.bytes", "20000000"),
        ];
        assert!(names("surgical.robot.telemetry.v1", true, &good).is_empty());
        let bad = [
            ("cleanup.policy", "compact"),
            ("retention.ms", "1"),
            ("message.timestamp.type", "CreateTime"),
            ("max.message.bytes", "1048588"),
        ];
        let all = [
            "cleanup.policy",
            "retention.ms",
            "message.timestamp.type",
            "max.message.bytes",
        ];
        assert_eq!(names("surgical.robot.telemetry.v1", true, &bad), all);
        for (kept, fits) in [("-1", true), ("604800001", true), ("604799999", false)] {
            assert_eq!(
                !names(
                    "surgical.robot.telemetry.v1",
                    true,
                    &[("retention.ms", kept)]
                )
                .contains(&"retention.ms"),
                fits,
                "{kept}"
            );
        }
        assert!(
            !names("surgical.robot.telemetry.v1", false, &bad).contains(&"message.timestamp.type"),
            "only inputs go by it"
        );
        assert_eq!(
            names("surgical.robot.telemetry.v1", true, &[]),
            all,
            "a setting that the broker does not name differs"
        );
        assert!(
            !names(
                "surgical.procedure.outcomes.v1",
                false,
                &[("cleanup.policy", "delete, compact")]
            )
            .contains(&"cleanup.policy")
        );
    }

    #[test]
    fn serverless_is_asked_for_what_it_gives() {
        let mut wanted = ExpectedTopic {
            topic: "surgical.robot.registry.v1".to_owned(),
            partitions: 1,
            is_input: true,
            is_serverless: true,
        };
        let made = settings(&wanted.topic, 3, true);
        let made: Vec<_> = made.iter().map(|(name, value)| (*name, &**value)).collect();
        // What can be set there, and up to which value, by its developer guide.
        let settable = [
            "cleanup.policy",
            "compression.type",
            "max.message.bytes",
            "message.timestamp.difference.max.ms",
            "message.timestamp.type",
            "retention.bytes",
            "retention.ms",
        ];
        assert!(made.iter().all(|(name, _)| settable.contains(name)));
        assert!(made.contains(&("max.message.bytes", "8388608")));
        assert!(names_of(&wanted, &made).is_empty());
        wanted.is_serverless = false;
        assert_eq!(names_of(&wanted, &made), ["max.message.bytes"]);
    }
}
