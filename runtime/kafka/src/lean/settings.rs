//! What the fetcher takes from the section `[log]`, and which of the properties of librdkafka it
//! understands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use theatre_actors::ports::{Error, Result};
use theatre_config::log::{LogConfig, LogSecurity};

use super::super::client::password;
use super::super::identity::Identity;
use super::sasl::{Login, Sasl};
use super::scram::Hash;
use super::tls;
use super::transport::Address;

/// A broker's port where a host has none.
const PORT: u16 = 9092;

/// Kind of addresses to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Settings of all connections.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) bootstrap: Vec<Address>,
    pub(super) client_id: String,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) sasl: Option<Sasl>,
    pub(super) family: Option<Family>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) reconnect_min: Duration,
    pub(super) reconnect_max: Duration,
    /// How long a broker may keep a request for which it has no records.
    pub(super) fetch_wait: Duration,
    pub(super) fetch_min_bytes: i32,
    /// Most bytes of one answer.
    pub(super) answer_bytes: usize,
    /// Most bytes of one partition in one answer, if it does not follow the sizes of batches.
    pub(super) piece_bytes: Option<usize>,
    pub(super) metadata_age: Duration,
    pub(super) fetch_memory: u64,
    pub(super) check_crcs: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Settings({:?})", self.bootstrap)
    }
}

impl Settings {
    /// Of these brokers, by the configuration.
    pub(super) fn of(brokers: &str, config: &LogConfig, identity: &Identity) -> Result<Self> {
        let mut settings = Self {
            bootstrap: brokers.split(',').map(address).collect::<Result<_>>()?,
            client_id: config.deployment.clone(),
            tls: None,
            sasl: None,
            family: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(1),
            fetch_wait: Duration::from_millis(100),
            fetch_min_bytes: 1,
            answer_bytes: 1 << 20,
            piece_bytes: None,
            metadata_age: Duration::from_secs(300),
            fetch_memory: config.fetch_memory,
            check_crcs: config.check_crcs,
        };
        let mut secrets = Secrets::default();
        for (name, value) in &config.properties {
            settings.take(name, value, &mut secrets)?;
        }
        if config.security != LogSecurity::Plaintext {
            settings.tls = Some(tls::config(config, &secrets)?);
        }
        settings.sasl = sasl(config, &secrets, identity)?;
        Ok(settings)
    }

    /// Takes a property, or refuses it by name.
    fn take(&mut self, name: &str, value: &str, secrets: &mut Secrets) -> Result<()> {
        let millis = || number(name, value).map(Duration::from_millis);
        let bytes = || number(name, value).map(|bytes| bytes.clamp(1, 1 << 30) as usize);
        match name {
            "client.id" => value.clone_into(&mut self.client_id),
            "broker.address.family" => {
                self.family = match value {
                    "any" => None,
                    "v4" => Some(Family::V4),
                    "v6" => Some(Family::V6),
                    _ => return Err(not_understood(name)),
                }
            }
            "fetch.wait.max.ms" => self.fetch_wait = millis()?.min(Duration::from_secs(300)),
            "fetch.min.bytes" => self.fetch_min_bytes = bytes()? as i32,
            "fetch.max.bytes" => self.answer_bytes = bytes()?,
            "fetch.message.max.bytes" | "max.partition.fetch.bytes" => {
                self.piece_bytes = Some(bytes()?);
            }
            "socket.timeout.ms" => self.request_timeout = millis()?,
            "socket.connection.setup.timeout.ms" => self.connect_timeout = millis()?,
            "reconnect.backoff.ms" => self.reconnect_min = millis()?,
            "reconnect.backoff.max.ms" => self.reconnect_max = millis()?,
            "topic.metadata.refresh.interval.ms" => {
                // -1 switches it off in librdkafka; a leader that moves is found without it.
                self.metadata_age = millis().unwrap_or(Duration::from_secs(3600));
            }
            "sasl.mechanism" | "sasl.mechanisms" => secrets.mechanism = Some(value.to_owned()),
            "ssl.key.password" => secrets.key_password = Some(value.to_owned()),
            "ssl.ca.location" => secrets.ca_file = Some(value.into()),
            "ssl.certificate.location" => secrets.certificate_file = Some(value.into()),
            "ssl.key.location" => secrets.key_file = Some(value.into()),
            "ssl.endpoint.identification.algorithm" if value == "https" => {}
            "enable.ssl.certificate.verification" if value == "true" => {}
            other if is_of_others(other) => {}
            other => return Err(not_understood(other)),
        }
        Ok(())
    }
}

/// Properties that tell more of TLS and authentication than the section does.
#[derive(Default)]
pub(super) struct Secrets {
    mechanism: Option<String>,
    pub(super) key_password: Option<String>,
    pub(super) ca_file: Option<std::path::PathBuf>,
    pub(super) certificate_file: Option<std::path::PathBuf>,
    pub(super) key_file: Option<std::path::PathBuf>,
}

/// Properties that say nothing of fetching: of producers, groups, librdkafka's own queues, its log
/// and its choice of versions.
const OF_OTHERS: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "auto.commit.interval.ms",
    "broker.address.ttl",
    "broker.version.fallback",
    "builtin.features",
    "check.crcs",
    "client.dns.lookup",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.metrics.push",
    "enable.random.seed",
    "fetch.error.backoff.ms",
    "fetch.queue.backoff.ms",
    "heartbeat.interval.ms",
    "internal.termination.signal",
    "linger.ms",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "metadata.max.age.ms",
    "metadata.recovery.strategy",
    "metadata.recovery.rebootstrap.trigger.ms",
    "partitioner",
    "receive.message.max.bytes",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "session.timeout.ms",
    "socket.blocking.max.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
];
/// Their beginnings, where all with that beginning are.
const OF_OTHERS_PREFIXES: &[&str] = &[
    "batch.",
    "consume.callback.",
    "group.",
    "message.",
    "queue.buffering.",
    "queued.",
    "queuing.",
    "topic.metadata.",
];

fn is_of_others(name: &str) -> bool {
    OF_OTHERS.contains(&name)
        || OF_OTHERS_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn not_understood(name: &str) -> Error {
    Error::Refused(format!(
        "log.properties: the lean fetcher does not understand '{name}' with this value; remove it, or set log.fetcher = \"librdkafka\""
    ))
}

fn number(name: &str, value: &str) -> Result<u64> {
    value.parse().map_err(|_| {
        Error::Refused(format!(
            "log.properties: '{name}' wants a whole number, not '{value}'"
        ))
    })
}

/// A host and a port, such as `broker:9092` or `[::1]:9092`.
pub(super) fn address(text: &str) -> Result<Address> {
    let refused = || {
        Error::Refused(format!(
            "log.url: '{text}' is no host and port, as in host:9092"
        ))
    };
    let text = text.trim();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().map_err(|_| refused())?)
        }
        _ => (text, PORT),
    };
    let host = host.trim_matches(['[', ']']);
    if host.is_empty() {
        return Err(refused());
    }
    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

fn sasl(config: &LogConfig, secrets: &Secrets, identity: &Identity) -> Result<Option<Sasl>> {
    match config.security {
        LogSecurity::Plaintext | LogSecurity::Tls => Ok(None),
        LogSecurity::MskIam => Ok(Some(Sasl::OauthBearer(identity.clone()))),
        LogSecurity::SaslScram => {
            let (Some(username), Some(file)) = (&config.username, &config.password_file) else {
                return Err(Error::Refused(
                    "log.security = \"sasl_scram\" needs log.username and log.password_file"
                        .to_owned(),
                ));
            };
            let login = Login {
                username: username.clone(),
                password: password("password_file", file)?,
            };
            match secrets.mechanism.as_deref() {
                None | Some("SCRAM-SHA-512") => Ok(Some(Sasl::Scram(Hash::Sha512, login))),
                Some("SCRAM-SHA-256") => Ok(Some(Sasl::Scram(Hash::Sha256, login))),
                Some("PLAIN") => Ok(Some(Sasl::Plain(login))),
                Some(_) => Err(not_understood("sasl.mechanism")),
            }
        }
    }
}
