//! What a client may do, as the brokers say it when they are asked for topics and groups: nothing
//! has to be written to learn that.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    DescribeGroupsRequest, FindCoordinatorRequest, GroupId, MetadataRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use theatre_actors::ports::Error;
use theatre_config::log::LogConfig;

use super::super::client::WHAT;
use super::super::identity::Identity;
use super::super::inspect::{Right, Rights};
use super::connection::Connection;
use super::errors;
use super::settings::Settings;
use super::transport::{Address, ConnectionFailure, Result};

/// The version of FindCoordinator that asks for one group by its name.
const COORDINATOR_VERSION: i16 = 3;
const DESCRIBE_GROUPS_VERSION: i16 = 5;
/// Bits of the operations that may be done, as `AclOperation` of the protocol numbers them.
const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;

/// Asks for the rights of this client: one connection, and one more to the group's coordinator.
///
/// # Errors
/// `Refused` for a property that only librdkafka understands, or by the brokers; `Unavailable` when
/// none answers.
pub(in super::super) fn rights(
    brokers: &str,
    config: &LogConfig,
    identity: &Identity,
    topics: &[&str],
    patience: Duration,
) -> theatre_actors::ports::Result<Rights> {
    let mut settings = Settings::of(brokers, config, identity)?;
    settings.connect_timeout = patience;
    settings.request_timeout = patience;
    let failed = |failure: ConnectionFailure| {
        if failure.is_refusal() {
            Error::Refused(format!("asking for rights: {failure}"))
        } else {
            Error::Unavailable {
                what: WHAT,
                why: format!("asking for rights: {failure}"),
            }
        }
    };
    let mut last = ConnectionFailure::protocol("log.url names no broker".to_owned());
    for address in &settings.bootstrap {
        match ask(address, &settings, config, topics) {
            Ok(rights) => return Ok(rights),
            Err(failure) => last = failure.during(&address.to_string()),
        }
    }
    Err(failed(last))
}

fn ask(
    address: &Address,
    settings: &Settings,
    config: &LogConfig,
    topics: &[&str],
) -> Result<Rights> {
    let mut connection = Connection::open(address, settings, Arc::default())?;
    let named = |topic: &&str| {
        let name = TopicName(StrBytes::from_string((*topic).to_owned()));
        MetadataRequestTopic::default().with_name(Some(name))
    };
    let request = MetadataRequest::default()
        .with_topics(Some(topics.iter().map(named).collect()))
        .with_allow_auto_topic_creation(false)
        .with_include_topic_authorized_operations(true);
    let answer = connection.call(&request, connection.metadata_version())?;
    let mut rights = Rights::default();
    for topic in answer.topics {
        let Some(name) = &topic.name else { continue };
        let right = match topic.error_code {
            0 => right_of(topic.topic_authorized_operations),
            code if errors::is_authorization(code) => Right::default(),
            // One that is not there, or has no leader: others say so.
            _ => continue,
        };
        rights.topics.insert(name.to_string(), right);
    }
    rights.group = may_join(&mut connection, settings, config)?;
    Ok(rights)
}

fn right_of(operations: i32) -> Right {
    Right {
        read: operations & READ != 0,
        write: operations & WRITE != 0,
    }
}

/// Whether the group can be joined: its coordinator knows, if there is one yet.
fn may_join(
    connection: &mut Connection,
    settings: &Settings,
    config: &LogConfig,
) -> Result<Option<bool>> {
    let group = StrBytes::from_string(config.deployment.clone());
    let request = FindCoordinatorRequest::default().with_key(group.clone());
    let found = connection.call(&request, COORDINATOR_VERSION)?;
    if errors::is_authorization(found.error_code) {
        return Ok(Some(false));
    }
    if errors::is_without_coordinator(found.error_code) {
        return Ok(None);
    }
    if found.error_code != 0 {
        let why = format!("looking for the group: {}", errors::name(found.error_code));
        return Err(ConnectionFailure::protocol(why));
    }
    let address = Address {
        host: found.host.to_string(),
        port: u16::try_from(found.port).unwrap_or_default(),
    };
    let mut coordinator = Connection::open(&address, settings, Arc::default())
        .map_err(|failure| failure.during(&address.to_string()))?;
    let request = DescribeGroupsRequest::default()
        .with_groups(vec![GroupId(group)])
        .with_include_authorized_operations(true);
    let described = coordinator.call(&request, DESCRIBE_GROUPS_VERSION)?;
    let may = described.groups.first().is_some_and(|group| {
        !errors::is_authorization(group.error_code) && group.authorized_operations & READ != 0
    });
    Ok(Some(may))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_bits_by_the_numbers_of_the_protocol() {
        // AclOperation: READ is 3, WRITE 4, DESCRIBE 8, DESCRIBE_CONFIGS 10.
        for (numbers, read, write) in [
            (&[8, 10][..], false, false),
            (&[3, 8], true, false),
            (&[4, 8], false, true),
            (&[3, 4, 5, 6, 7, 8, 10, 11], true, true),
        ] {
            let operations = numbers.iter().map(|number| 1 << number).sum();
            assert_eq!(right_of(operations), Right { read, write }, "{numbers:?}");
        }
    }
}
