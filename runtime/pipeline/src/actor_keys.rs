//! The keys by which producers place the records of an actor: a robot's id, and the id of a
//! facility, a surgeon or a model. What identifies a person is a pseudonym in an actor's name; its
//! key is then known by the log only.

use std::collections::HashMap;

use theatre_actors::control;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{EventLog, PollLimit, Result};
use theatre_actors::position::Partition;
use theatre_schemas::dataset::{DatasetKind, EntityKind};

use super::PipelineParams;

/// How long to wait before a log is asked again that had nothing to bring and has not ended.
const REST: std::time::Duration = std::time::Duration::from_millis(5);
const AT_ONCE: PollLimit = PollLimit {
    records: 10_000,
    bytes: 1 << 22,
};

/// Where registries, and changes of rules, are kept: their records are compacted and never expire.
pub fn is_registry(topic: &str) -> bool {
    topic.ends_with(".registry.v1") || topic.ends_with(".control.v1")
}

/// Keys of actors whose names hold a pseudonym, by that name.
#[derive(Debug, Default)]
pub struct ActorKeys(HashMap<String, Vec<u8>>);

impl ActorKeys {
    /// Reads the keys of all records about surgeons.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read(params: &PipelineParams, log: &dyn EventLog, partitions: u32) -> Result<Self> {
        let mut keys = HashMap::new();
        let registry = params.registry.datasets();
        let domain = registry.iter().find_map(|(_, dataset)| {
            let is_of_surgeons = dataset.kind == DatasetKind::SurgeonRegistry;
            let column = &dataset.columns[dataset.roles.robot_id];
            column.person.clone().filter(|_| is_of_surgeons)
        });
        let topics = params.topics.iter().filter(|topic| is_registry(topic));
        let Some(domain) = domain else {
            return Ok(Self::default());
        };
        for topic in topics.filter(|topic| topic.contains(".surgeon.")) {
            for partition in 0..partitions.min(log.partitions(topic)?.unwrap_or(0)) {
                let start = log.range(topic, partition)?.start;
                let mut reader = log.reader(topic, partition, start)?;
                loop {
                    let end = reader.poll(AT_ONCE, &mut |record| {
                        if let Ok(id) = std::str::from_utf8(record.key) {
                            let pseudonym = params.pseudonyms.pseudonym(&domain, id);
                            let name = format!("{}{pseudonym}", EntityKind::Surgeon.prefix());
                            keys.insert(name, record.key.to_vec());
                        }
                    })?;
                    if end.at_end {
                        break;
                    }
                    std::thread::sleep(REST);
                }
            }
        }
        Ok(Self(keys))
    }

    /// The partition that producers give an actor's records among so many.
    pub fn partition(&self, actor: &str, partitions: u32) -> Partition {
        if let Some(own) = control::partition_of(actor) {
            return own;
        }
        let key = match EntityKind::of_key(actor) {
            None => actor.as_bytes(),
            Some((_, id)) => self.0.get(actor).map_or(id.as_bytes(), Vec::as_slice),
        };
        partition_of(key, partitions)
    }
}

#[cfg(test)]
mod tests {
    use theatre_actors::partitioner::partition_of;

    use super::ActorKeys;

    #[test]
    fn an_actor_is_where_its_key_is() {
        let surgeon = "@surgeon/staff-0123".to_owned();
        let keys = ActorKeys([(surgeon.clone(), b"SURG-0001".to_vec())].into());
        for (actor, key) in [
            ("robot-1", "robot-1"),
            ("@home", "@home"),
            ("@facility/FAC-001", "FAC-001"),
            ("@model/a/b", "a/b"),
            (&surgeon, "SURG-0001"),
        ] {
            for partitions in [1, 4, 16, 64] {
                let expected = partition_of(key.as_bytes(), partitions);
                assert_eq!(keys.partition(actor, partitions), expected, "{actor}");
            }
        }
    }
}
