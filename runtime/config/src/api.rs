//! The section `[api]`.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::ports::Role;

use super::check::{Faults, Table};
use super::{Config, ConfigPath};

/// Where the HTTP interface listens unless it is said.
pub const LISTEN: &str = "127.0.0.1:8080";
/// How long a body may be made.
const BODY_BYTES: RangeInclusive<usize> = 1 << 10..=1 << 30;
/// How many bodies at a time, and how many listeners, can be allowed.
const AT_A_TIME: RangeInclusive<usize> = 1..=100_000;

/// The HTTP interface and the page, which `theatre run`, `theatre demo` and `theatre api` serve.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Whether `theatre run` and `theatre demo` serve it.
    pub enabled: bool,
    /// Where it listens. Absent: `127.0.0.1:8080`, or any other port of this machine where that one
    /// is taken.
    pub listen: Option<String>,
    /// What callers without a token may do: `viewer`, which is to look. Absent: nothing. `theatre
    /// demo` lets them look where it listens on this machine only.
    #[schemars(with = "Option<String>")]
    pub anonymous: Option<Role>,
    /// Names by which callers without a token ask, such as `theatre.example.org`, beside addresses,
    /// `localhost` and the name in `listen`. By any other name they are refused, so that no page of
    /// another site reads answers through a name of its own.
    pub hosts: Vec<String>,
    /// Longest body of a request, bytes, after it was unpacked.
    pub body_bytes: usize,
    /// Bodies of records that are read and appended at a time, half of them of one token at most;
    /// further ones are asked to come again. Each takes up to four times `body_bytes` of memory.
    pub ingests: usize,
    /// Records a second that each token may send to each process of the interface, on average: what
    /// it did not send within the last ten seconds it may send at once. What is more is asked to
    /// come again. 0: as many as it likes.
    pub records_per_second: u64,
    /// Listeners of events at a time.
    pub listeners: usize,
    /// Certificate of the interface in PEM, followed by those between it and the root. With it the
    /// interface speaks TLS (1.2 and 1.3) only. The file is read again when it changes.
    pub tls_cert: Option<ConfigPath>,
    /// Private key of `tls_cert` in PEM, without a password. Read again with it.
    pub tls_key: Option<ConfigPath>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: None,
            anonymous: None,
            hosts: Vec::new(),
            body_bytes: 16 << 20,
            ingests: 4,
            records_per_second: 0,
            listeners: 2000,
            tls_cert: None,
            tls_key: None,
        }
    }
}

impl Table for ApiConfig {
    fn check(&self, _config: &Config, faults: &mut Faults) {
        if let Some(listen) = &self.listen {
            faults.listen("[api] listen", listen);
        }
        let is_viewer = |role: Role| role == Role::Viewer;
        faults.unless(self.anonymous.is_none_or(is_viewer), || {
            "[api] anonymous: without a token callers may look only (viewer); for more, make tokens: theatre token create".to_owned()
        });
        for host in &self.hosts {
            faults.unless(is_name(host), || {
                format!(
                    "[api] hosts: \"{host}\" is no name such as theatre.example.org, without a port"
                )
            });
        }
        faults.file("[api] tls_cert", self.tls_cert.as_ref());
        faults.file("[api] tls_key", self.tls_key.as_ref());
        faults.unless(self.tls_cert.is_some() == self.tls_key.is_some(), || {
            "[api] tls_cert and tls_key: one is of no use without the other".to_owned()
        });
        faults.unless(BODY_BYTES.contains(&self.body_bytes), || {
            let (from, to) = (BODY_BYTES.start(), BODY_BYTES.end());
            format!(
                "[api] body_bytes: {} is not within {from} to {to}",
                self.body_bytes
            )
        });
        for (key, value) in [("ingests", self.ingests), ("listeners", self.listeners)] {
            faults.unless(AT_A_TIME.contains(&value), || {
                let (from, to) = (AT_A_TIME.start(), AT_A_TIME.end());
                format!("[api] {key}: {value} is not within {from} to {to}")
            });
        }
    }
}

/// Whether a text can be the name of a host.
fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        let of_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !part.is_empty() && part.bytes().all(of_part)
    };
    text.len() <= 253 && text.split('.').all(is_part)
}
