//! Clients of librdkafka as the section `[log]` says, and what its errors mean to the pipeline.

use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use theatre_actors::ports::{Error, Result};

use super::brokers::Brokers;
use super::diagnostics::Diagnostics;
use super::identity::{Identity, Plain};
use theatre_config::log::{LogConfig, LogSecurity};
use theatre_system::blocking::IoRuntime;

pub(super) const WHAT: &str = "event log";
/// How long one question to the broker may take.
pub(super) const ANSWER: Duration = Duration::from_secs(20);
/// Longest record, with room for its headers: the schema of robots' records allows 10 MiB.
pub(super) const MAX_MESSAGE_BYTES: &str = "16777216";
/// What other values of would break the guarantees.
const DECIDED: [&str; 14] = [
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

/// A consumer that has nothing to note.
pub(super) type PlainConsumer = BaseConsumer<Plain>;

/// What all clients have in common. Cheap enough to clone.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) settings: ClientConfig,
    pub(super) identity: Identity,
    pub(super) diagnostics: Diagnostics,
}

impl Base {
    /// As [`failed`]; where nobody answered, with what was heard of connections and what to do
    /// about it.
    pub(super) fn failed(&self, call: &str, error: &KafkaError) -> Error {
        match failed(call, error) {
            Error::Unavailable { what, why } if is_silence(error) => {
                let heard = self
                    .diagnostics
                    .explain()
                    .map_or_else(String::new, |heard| format!("; {heard}"));
                Error::Unavailable {
                    what,
                    why: format!("{why}{heard}"),
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
        if DECIDED.contains(&name.as_str()) {
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
        client
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", username)
            .set("sasl.password", password("password_file", file)?);
    }
    Ok(())
}

/// The password in the file that `key` names.
fn password(key: &str, file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::Refused(format!(
            "log.{key} {} cannot be read: {error}",
            file.display()
        ))
    })?;
    Ok(text.trim_end().to_owned())
}

/// A consumer that takes part in no group's balance and decides its own offsets.
pub(super) fn consumer(base: &Base) -> ClientConfig {
    let mut client = base.settings.clone();
    client
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error");
    client
}

/// Opens a consumer of such settings.
pub(super) fn open(base: &Base, settings: &ClientConfig, call: &str) -> Result<PlainConsumer> {
    settings
        .create_with_context(Plain(
            base.identity.clone(),
            base.diagnostics.clone(),
            Brokers::of(settings),
        ))
        .map_err(|error| failed(call, &error))
}

/// Serves what waits at a consumer that no thread polls: reports, and the wish for a token.
pub(super) fn serve_events(consumer: &PlainConsumer) {
    serve_events_for(consumer, consumer.context().0.patience());
}

/// The same, waiting for so long.
pub(super) fn serve_events_for(consumer: &PlainConsumer, patience: Duration) {
    if let Some(Err(error)) = consumer.poll(patience) {
        tracing::warn!(%error, "Kafka reports");
    }
    consumer.context().2.remind(consumer.client());
}

/// What the error means to a caller: to be repeated, or refused for good.
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

/// As [`failed`], from a code alone.
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
pub(super) fn is_silence(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    // The crate leaves these out.
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

/// True if it is this record that is refused, and others would not be.
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

/// True if repeating cannot help.
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
