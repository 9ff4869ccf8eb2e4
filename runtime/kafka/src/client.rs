//! Clients of librdkafka as the section `[log]` says, and what its errors mean to the pipeline.

use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use theatre_actors::ports::{Error, Result};

use super::context::{Context, Plain};
use super::diagnostics::Diagnostics;
use super::identity::Identity;
use theatre_config::log::{LogConfig, LogSecurity};
use theatre_system::blocking::IoRuntime;

pub(super) const WHAT: &str = "event log";
/// How long one request to the brokers may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest record, with room for its headers: the schema of robots' records allows 10 MiB. MSK
/// Serverless allows 8 MiB (its developer guide, "Configuration properties for MSK Serverless
/// clusters").
pub(super) const fn max_message_bytes(is_serverless: bool) -> &'static str {
    if is_serverless { "8388608" } else { "16777216" }
}

/// Properties that a configuration may not set: with other values of them the guarantees of Theatre
/// would not hold.
const RESERVED_PROPERTIES: [&str; 14] = [
    "bootstrap.servers",
    "group.id",
    "group.instance.id",
    "transactional.id",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "isolation.level",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "partition.assignment.strategy",
    "group.protocol",
];

/// Mechanisms that the property `sasl.mechanism` may name for `sasl_scram`: those with a user and a
/// password.
const PASSWORD_MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// A consumer that is in no group.
pub(super) type PlainConsumer = BaseConsumer<Context<Plain>>;

/// What all clients have in common. Cheap enough to clone.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) settings: ClientConfig,
    pub(super) identity: Identity,
    pub(super) diagnostics: Diagnostics,
    pub(super) is_serverless: bool,
}

impl Base {
    /// Like [`failed`]. When no broker answered, the error also says why the last connection failed
    /// and what to do about it.
    pub(super) fn failed(&self, call: &str, error: &KafkaError) -> Error {
        match failed(call, error) {
            Error::Unavailable { what, why } if is_no_answer(error) => {
                let cause = self
                    .diagnostics
                    .describe_last_failure()
                    .map_or_else(String::new, |cause| format!("; {cause}"));
                Error::Unavailable {
                    what,
                    why: format!("{why}{cause}"),
                }
            }
            other => other,
        }
    }
}

/// What all clients have in common, as the configuration says.
pub(super) fn base(url: &str, config: &LogConfig, io: &IoRuntime) -> Result<Base> {
    let brokers = url
        .strip_prefix("kafka://")
        .filter(|rest| !rest.is_empty() && !rest.contains('/'))
        .ok_or_else(|| {
            Error::Refused(
                "log.url: expected kafka://host:port,host:port; for the embedded log leave it out"
                    .to_owned(),
            )
        })?;
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", brokers)
        .set("client.id", &config.deployment)
        .set("log.connection.close", "false");
    for (name, value) in &config.properties {
        if RESERVED_PROPERTIES.contains(&name.as_str()) {
            return Err(Error::Refused(format!(
                "log.properties: '{name}' is decided by Theatre, its guarantees rest on it; remove it"
            )));
        }
        client.set(name, value);
    }
    secure(&mut client, config)?;
    Ok(Base {
        settings: client,
        identity: Identity::of(config, io)?,
        diagnostics: Diagnostics::new(config),
        is_serverless: config.serverless,
    })
}

fn secure(client: &mut ClientConfig, config: &LogConfig) -> Result<()> {
    let protocol = match config.security {
        LogSecurity::Plaintext => "plaintext",
        LogSecurity::Tls => "ssl",
        LogSecurity::SaslScram | LogSecurity::MskIam => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    let files = [
        ("ssl.ca.location", &config.ca_file),
        ("ssl.certificate.location", &config.certificate_file),
        ("ssl.key.location", &config.key_file),
    ];
    for (name, file) in files {
        if let Some(file) = file {
            client.set(name, file.to_string_lossy());
        }
    }
    if let Some(file) = &config.key_password_file {
        client.set("ssl.key.password", password("key_password_file", file)?);
    }
    if config.security == LogSecurity::MskIam {
        client.set("sasl.mechanism", "OAUTHBEARER");
    }
    if config.security == LogSecurity::SaslScram {
        let (Some(username), Some(file)) = (&config.username, &config.password_file) else {
            return Err(Error::Refused(
                "log.security = \"sasl_scram\" needs log.username and log.password_file".to_owned(),
            ));
        };
        let mechanism = ["sasl.mechanism", "sasl.mechanisms"]
            .iter()
            .find_map(|name| config.properties.get(*name))
            .map_or("SCRAM-SHA-512", String::as_str);
        if !PASSWORD_MECHANISMS.contains(&mechanism) {
            return Err(Error::Refused(format!(
                "log.properties: 'sasl.mechanism' is '{mechanism}'; log.security = \"sasl_scram\" takes {}",
                PASSWORD_MECHANISMS.join(", ")
            )));
        }
        client
            .set("sasl.mechanism", mechanism)
            .set("sasl.username", username)
            .set("sasl.password", password("password_file", file)?);
    }
    Ok(())
}

/// The password in the file that `key` names.
pub(super) fn password(key: &str, file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::Refused(format!(
            "log.{key} {} cannot be read: {error}",
            file.display()
        ))
    })?;
    Ok(text.trim_end().to_owned())
}

/// Settings of a consumer that is in no group and decides its own offsets.
pub(super) fn consumer(base: &Base) -> ClientConfig {
    let mut client = base.settings.clone();
    client
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error");
    client
}

/// Opens a consumer with these settings; `call` names the attempt in errors.
pub(super) fn open(base: &Base, settings: &ClientConfig, call: &str) -> Result<PlainConsumer> {
    settings
        .create_with_context(Context::new(base, settings, Plain))
        .map_err(|error| failed(call, &error))
}

/// Polls a consumer that no thread polls: serves reports and the request for a token.
pub(super) fn serve_events(consumer: &PlainConsumer) {
    serve_events_for(consumer, consumer.context().identity.poll_time());
}

/// Like [`serve_events`], but waits for events for as long as `timeout`.
pub(super) fn serve_events_for(consumer: &PlainConsumer, timeout: Duration) {
    if let Some(Err(error)) = consumer.poll(timeout) {
        tracing::warn!(%error, "a client of Kafka reports an error");
    }
    consumer
        .context()
        .brokers
        .restore_if_lost(consumer.client());
}

/// What an error means to the caller: `Unavailable` when a retry may succeed, `Refused` when not.
pub(super) fn failed(call: &str, error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, why, name, _) => {
            Error::Refused(format!("log: the property '{name}' cannot be used: {why}"))
        }
        KafkaError::ClientCreation(why) => Error::Refused(format!(
            "log: the Kafka client cannot be made: {why}; check the section [log]"
        )),
        other => match other.rdkafka_error_code() {
            Some(code) => by_code(call, code),
            None => Error::Unavailable {
                what: WHAT,
                why: format!("{call}: {other}"),
            },
        },
    }
}

/// Like [`failed`], from a code alone.
pub(super) fn by_code(call: &str, code: RDKafkaErrorCode) -> Error {
    if is_refusal(code) {
        Error::Refused(format!("{call}: {code}"))
    } else {
        Error::Unavailable {
            what: WHAT,
            why: format!("{call}: {code}"),
        }
    }
}

/// True if no broker was reached, or none answered in time: the error itself does not say why.
pub(super) fn is_no_answer(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    // The crate's own accessor leaves out the codes of admin operations.
    let code = if let KafkaError::AdminOp(code) = error {
        Some(*code)
    } else {
        error.rdkafka_error_code()
    };
    matches!(
        code,
        Some(
            Code::BrokerTransportFailure
                | Code::OperationTimedOut
                | Code::MessageTimedOut
                | Code::RequestTimedOut
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::SSL
                | Code::Authentication
        )
    )
}

/// True if the broker refuses this record but would take others.
pub(super) fn is_of_record(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord
    )
}

/// True if another producer has taken the transactional id.
pub(super) fn is_fence(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch
    )
}

/// True if a retry cannot succeed.
pub(super) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::UnknownPartition
            | Code::UnknownTopic
            | Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidConfig
            | Code::InvalidReplicationFactor
            | Code::PolicyViolation
            | Code::UnsupportedSASLMechanism
            | Code::UnsupportedVersion
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_password_comes_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let config = LogConfig {
            security: LogSecurity::Tls,
            key_password_file: Some(file.clone().into()),
            ..LogConfig::default()
        };
        let mut client = ClientConfig::new();
        let refused = secure(&mut client, &config).unwrap_err().to_string();
        assert!(refused.contains("log.key_password_file"), "{refused}");
        std::fs::write(&file, "open sesame\n").unwrap();
        secure(&mut client, &config).unwrap();
        assert_eq!(client.get("ssl.key.password"), Some("open sesame"));
    }
}
