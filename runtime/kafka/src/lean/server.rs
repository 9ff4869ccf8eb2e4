//! What a broker says of itself: the release of Kafka that it is of, and the clock of the
//! controllers.
//!
//! No answer of the protocol names a release. The levels of the feature `metadata.version` that a
//! broker supports do: each release adds some, and none goes away (`MetadataVersion` of Kafka has
//! the list). The time comes from the leader of the controllers, which gives its own "last fetch"
//! as the moment of the answer (KIP-836).

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, DescribeQuorumRequest, DescribeQuorumResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use theatre_actors::ports::Error;
use theatre_actors::time::{Clock, LogTime};
use theatre_config::log::LogConfig;

use super::super::client::WHAT;
use super::super::identity::Identity;
use super::super::inspect::{ClockReading, Server};
use super::connection::Connection;
use super::settings::Settings;
use super::transport::{Address, ConnectionFailure, Result};

/// The first version of DescribeQuorum that has times.
const QUORUM_VERSION: i16 = 1;
/// The log that the controllers share.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// The highest level of `metadata.version` of each release that has brokers without ZooKeeper.
const RELEASES: [(i16, &str); 12] = [
    (1, "3.0"),
    (2, "3.1"),
    (3, "3.2"),
    (7, "3.3"),
    (8, "3.4"),
    (11, "3.5"),
    (14, "3.6"),
    (19, "3.7"),
    (20, "3.8"),
    (21, "3.9"),
    (25, "4.0"),
    (27, "4.1"),
];

/// Asks the first broker that answers.
///
/// # Errors
/// `Refused` for a property that only librdkafka understands, or by the broker; `Unavailable` when
/// none answers.
pub(in super::super) fn server(
    brokers: &str,
    config: &LogConfig,
    identity: &Identity,
    clock: &dyn Clock,
    patience: Duration,
) -> theatre_actors::ports::Result<Server> {
    let mut settings = Settings::of(brokers, config, identity)?;
    settings.connect_timeout = patience;
    settings.request_timeout = patience;
    let mut last = ConnectionFailure::protocol("log.url names no broker".to_owned());
    for address in &settings.bootstrap {
        match ask(address, &settings, clock) {
            Ok(server) => return Ok(server),
            Err(failure) => last = failure.during(&address.to_string()),
        }
    }
    let why = format!("asking for version and clock: {last}");
    Err(if last.is_refusal() {
        Error::Refused(why)
    } else {
        Error::Unavailable { what: WHAT, why }
    })
}

fn ask(address: &Address, settings: &Settings, clock: &dyn Clock) -> Result<Server> {
    let mut connection = Connection::open(address, settings, Arc::default())?;
    let versions = connection.versions()?;
    let has_quorum = versions.api_keys.iter().any(|found| {
        found.api_key == ApiKey::DescribeQuorum as i16 && found.max_version >= QUORUM_VERSION
    });
    let mut server = Server {
        release: release_of(&versions),
        clock: None,
    };
    if has_quorum {
        let partition = PartitionData::default().with_partition_index(0);
        let topic = TopicData::default()
            .with_topic_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
            .with_partitions(vec![partition]);
        let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
        let asked = clock.now();
        let answer = connection.call(&request, QUORUM_VERSION)?;
        let answered = clock.now();
        server.clock = time_of(&answer).map(|server| ClockReading {
            asked,
            server,
            answered,
        });
    }
    Ok(server)
}

/// The release by the levels that a broker supports.
fn release_of(versions: &ApiVersionsResponse) -> String {
    let mut features = versions.supported_features.iter();
    let Some(feature) = features.find(|feature| feature.name.as_str() == "metadata.version") else {
        return "2.7 to 3.9 with ZooKeeper".to_owned();
    };
    let level = feature.max_version;
    match RELEASES.iter().find(|(last, _)| level <= *last) {
        Some((_, release)) => (*release).to_owned(),
        None => format!("later than {}", RELEASES[RELEASES.len() - 1].1),
    }
}

/// The time of the leading controller; none if this client may not ask for it, or none leads.
fn time_of(answer: &DescribeQuorumResponse) -> Option<LogTime> {
    let partition = answer.topics.first()?.partitions.first()?;
    let mut voters = partition.current_voters.iter();
    let leader = voters.find(|voter| voter.replica_id == partition.leader_id)?;
    let millis = leader.last_fetch_timestamp;
    (answer.error_code == 0 && partition.error_code == 0 && millis > 0)
        .then_some(LogTime(millis.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::api_versions_response::SupportedFeatureKey;
    use kafka_protocol::messages::describe_quorum_response as answered;

    use super::*;

    #[test]
    fn releases_are_told_by_levels_of_the_metadata() {
        for (level, release) in [
            (None, "2.7 to 3.9 with ZooKeeper"),
            (Some(1), "3.0"),
            (Some(4), "3.3"),
            (Some(19), "3.7"),
            (Some(21), "3.9"),
            (Some(22), "4.0"),
            (Some(25), "4.0"),
            (Some(27), "4.1"),
            (Some(28), "later than 4.1"),
        ] {
            let feature = |level| {
                SupportedFeatureKey::default()
                    .with_name(StrBytes::from_static_str("metadata.version"))
                    .with_min_version(1)
                    .with_max_version(level)
            };
            let other = SupportedFeatureKey::default()
                .with_name(StrBytes::from_static_str("kraft.version"))
                .with_max_version(1);
            let features = [other].into_iter().chain(level.map(feature)).collect();
            let versions = ApiVersionsResponse::default().with_supported_features(features);
            assert_eq!(release_of(&versions), release, "level {level:?}");
        }
    }

    #[test]
    fn the_time_is_that_of_the_leader_and_of_nothing_else() {
        let voter = |id, millis| {
            answered::ReplicaState::default()
                .with_replica_id(BrokerId(id))
                .with_last_fetch_timestamp(millis)
        };
        let answer = |leader, error| {
            let partition = answered::PartitionData::default()
                .with_leader_id(BrokerId(leader))
                .with_current_voters(vec![voter(1, 5_000), voter(2, 7_000), voter(3, -1)]);
            let topic = answered::TopicData::default().with_partitions(vec![partition]);
            DescribeQuorumResponse::default()
                .with_error_code(error)
                .with_topics(vec![topic])
        };
        assert_eq!(time_of(&answer(2, 0)), Some(LogTime(7_000_000)));
        assert_eq!(time_of(&answer(3, 0)), None, "it has none");
        assert_eq!(time_of(&answer(-1, 0)), None, "none leads");
        assert_eq!(time_of(&answer(2, 31)), None, "not for this client");
        assert_eq!(time_of(&DescribeQuorumResponse::default()), None);
    }
}
