//! The section `[log]`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::rules::Micros;

use super::Config;
use super::check::{Faults, Table};
use super::path::ConfigPath;
use super::redact;
use super::reference::Span;

/// A broker that does not answer is noticed within this time; a robot must be unheard for longer
/// before it may be called silent.
pub const SILENCE_MIN: Micros = Micros(15_000_000);

/// How connections to the log are secured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogSecurity {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// TLS; with `certificate_file` and `key_file` the client proves who it is.
    Tls,
    /// TLS, and SCRAM-SHA-512 with `username` and `password_file`.
    SaslScram,
    /// TLS, and the IAM identity of this process's AWS credentials: Amazon MSK, port 9098. Needs
    /// `region`.
    MskIam,
}

/// What fetches records from Kafka.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFetcher {
    /// Theatre's own: a connection and a thread for each broker, records read in place.
    #[default]
    Lean,
    /// That of librdkafka: for properties that the lean one refuses, and to compare.
    Librdkafka,
}

/// Where the log is, and how to reach it.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `kafka://host:port,host:port`. Absent: embedded, in the data directory.
    #[serde(serialize_with = "redact::url")]
    pub url: Option<String>,
    /// Names this deployment: the consumer group, and the beginning of transactional ids. Two
    /// deployments on one cluster need two names.
    pub deployment: String,
    /// Stable name of this process within the group: it comes back to its partitions after a
    /// restart. Absent: a passing member.
    pub group_instance_id: Option<String>,
    /// After this long without a sign of life a member's partitions go to others. The broker allows
    /// 6s to 30m.
    #[schemars(with = "Span")]
    pub session_timeout: Micros,
    /// How connections are secured: `plaintext`, `tls`, `sasl_scram` or `msk_iam`.
    pub security: LogSecurity,
    /// PEM file with the certificates of the authorities to trust. Absent: the system's.
    pub ca_file: Option<ConfigPath>,
    /// PEM file with this client's certificate. Absent: it shows none.
    pub certificate_file: Option<ConfigPath>,
    /// PEM file with the certificate's private key.
    pub key_file: Option<ConfigPath>,
    /// File that holds the password of that key. Absent: the key has none.
    pub key_password_file: Option<ConfigPath>,
    /// User of `sasl_scram`, which needs it.
    pub username: Option<String>,
    /// Region of the cluster, for `msk_iam`, which needs it.
    pub region: Option<String>,
    /// File that holds the password of `sasl_scram`, which needs it.
    pub password_file: Option<ConfigPath>,
    /// What fetches records. Everything else that is asked of Kafka goes through librdkafka in both
    /// cases.
    pub fetcher: LogFetcher,
    /// Memory for records fetched ahead, of the whole process, in bytes. All partitions of all
    /// inputs share it evenly, each within 256 KiB and 16 MiB; what the broker is sending just
    /// then, up to a quarter of its share or 1 MiB a partition, comes on top. With `fetcher =
    /// "lean"` the partitions that have records share it, each up to 2 MiB or an eighth of it; one
    /// that holds none may always fetch one batch, and at most 1 MiB, beyond it.
    pub fetch_memory: u64,
    /// A publisher's transaction that stays open longer is ended by the broker.
    #[schemars(with = "Span")]
    pub transaction_timeout: Micros,
    /// Check the checksum of what is fetched.
    pub check_crcs: bool,
    /// Create topics that are missing, and give topics more partitions in a repartition. False:
    /// others do that, and what is missing is refused.
    pub create_topics: bool,
    /// The cluster is Amazon MSK Serverless, which takes messages of up to 8 MiB instead of 16 and
    /// decides on its own how many copies have to be in sync: topics are created and checked
    /// accordingly.
    pub serverless: bool,
    /// Further properties of librdkafka, by its names, for all clients. The lean fetcher follows
    /// those of addresses, time-outs, pauses, sizes of fetches and files of certificates, passes
    /// over those that say nothing of fetching, and refuses the others by name: they need
    /// `fetcher = "librdkafka"`. With `sasl_scram`, `sasl.mechanism` may be `SCRAM-SHA-256` or
    /// `PLAIN`. Secrets are better kept in files; those given here are not printed.
    #[serde(serialize_with = "redact::properties")]
    pub properties: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            url: None,
            deployment: "theatre".to_owned(),
            group_instance_id: None,
            session_timeout: Micros(45_000_000),
            security: LogSecurity::default(),
            ca_file: None,
            certificate_file: None,
            key_file: None,
            key_password_file: None,
            username: None,
            region: None,
            password_file: None,
            fetcher: LogFetcher::default(),
            fetch_memory: 32 << 20,
            transaction_timeout: Micros(10_000_000),
            check_crcs: true,
            create_topics: true,
            serverless: false,
            properties: BTreeMap::new(),
        }
    }
}

/// Longest record for MSK Serverless: its messages have 8 MiB at most, headers included.
const SERVERLESS_BYTES_MAX: usize = 7 << 20;
/// What a broker allows as session time-out.
const SESSION_US: RangeInclusive<i64> = 6_000_000..=1_800_000_000;

impl LogConfig {
    /// Adds what MSK Serverless does not take.
    fn check_serverless(&self, record_bytes: usize, faults: &mut Faults) {
        faults.unless(!self.serverless || record_bytes <= SERVERLESS_BYTES_MAX, || {
            format!(
                "record_bytes: {record_bytes} with log.serverless, which takes messages of 8 MiB with all that comes with a record"
            )
        });
    }
}

impl Table for LogConfig {
    fn check(&self, config: &Config, faults: &mut Faults) {
        let form = "kafka://host:port,host:port; for the embedded log leave it out";
        let url = self.url.as_deref();
        faults.url("log.url", url, &["kafka://"], form);
        if let Some(brokers) = url.and_then(|url| url.strip_prefix("kafka://")) {
            for broker in brokers.split(',') {
                let port = broker.rsplit_once(':').map(|(_, port)| port);
                let good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
                faults.unless(good && !broker.is_empty() && !broker.contains('/'), || {
                    format!("log.url: \"{broker}\" is no broker such as host:9092")
                });
            }
        }
        self.check_serverless(config.record_bytes, faults);
        if self.url.is_none() {
            return;
        }
        faults.unless(config.silence_after >= SILENCE_MIN, || {
            format!(
                "silence_after: {} is too short with Kafka, whose absence is shown from a robot's silence only after {SILENCE_MIN}",
                config.silence_after
            )
        });
        faults.unless(!self.deployment.is_empty(), || {
            "log.deployment: it needs a name".to_owned()
        });
        faults.unless(SESSION_US.contains(&self.session_timeout.0), || {
            format!(
                "log.session_timeout: {} is not within the 6s to 30m that the broker allows",
                self.session_timeout
            )
        });
        faults.span("log.transaction_timeout", self.transaction_timeout);
        faults.unless(self.fetch_memory > 0, || {
            "log.fetch_memory: nothing can be fetched into no memory".to_owned()
        });
        for (key, file) in [
            ("log.ca_file", &self.ca_file),
            ("log.certificate_file", &self.certificate_file),
            ("log.key_file", &self.key_file),
            ("log.key_password_file", &self.key_password_file),
            ("log.password_file", &self.password_file),
        ] {
            faults.file(key, file.as_ref());
        }
        faults.unless(
            self.certificate_file.is_some() == self.key_file.is_some(),
            || {
                "log.certificate_file and log.key_file: one is of no use without the other"
                    .to_owned()
            },
        );
        match self.security {
            LogSecurity::SaslScram => faults.unless(
                self.username.is_some() && self.password_file.is_some(),
                || {
                    "log.security = \"sasl_scram\" needs log.username and log.password_file"
                        .to_owned()
                },
            ),
            LogSecurity::MskIam => faults.unless(self.region.is_some(), || {
                "log.security = \"msk_iam\" needs log.region".to_owned()
            }),
            LogSecurity::Plaintext | LogSecurity::Tls => {}
        }
    }
}

/// As it is printed: without secrets.
impl std::fmt::Debug for LogConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        redact::debug("LogConfig", self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::LogConfig;

    #[test]
    fn secrets_among_the_properties_are_neither_printed_nor_written() {
        let text = r#"
            url = "kafka://broker:9092"
            [properties]
            "ssl.key.password" = "hush"
            "SASL.Password" = "hush"
            "ssl.key.pem" = "hush"
            "sasl.jaas.config" = "hush"
            "sasl.oauthbearer.client.secret" = "hush"
            "sasl.oauthbearer.token.endpoint.url" = "https://hush"
            "some.proxy" = "http://user:hush@proxy:1"
            "linger.ms" = "7"
        "#;
        let config: LogConfig = toml::from_str(text).unwrap();
        assert_eq!(
            config
                .properties
                .values()
                .filter(|value| value.contains("hush"))
                .count(),
            7,
            "they are used"
        );
        for shown in [toml::to_string(&config).unwrap(), format!("{config:?}")] {
            assert!(
                !shown.contains("hush")
                    && shown.contains("ssl.key.password")
                    && shown.contains("user:***@proxy:1"),
                "{shown}"
            );
            assert!(
                shown.contains("linger.ms")
                    && shown.contains('7')
                    && shown.contains("kafka://broker:9092"),
                "{shown}"
            );
        }
    }
}
