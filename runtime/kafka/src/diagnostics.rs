//! Why no broker can be reached: the last failed connection that librdkafka logged, kept so that
//! the error of a request without an answer can name the cause.
//!
//! A request that reaches no broker fails with a time-out or a "transport failure", whatever the
//! cause. The cause stands only in the log of the client that tried to connect, in the words of
//! librdkafka and of its settings. This module keeps that line and adds what an operator can do.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, RootCertStore};

use theatre_config::log::{LogConfig, LogSecurity};
use theatre_telemetry::names;

/// A failure that is older than this says nothing about now. librdkafka repeats one that persists
/// every 30 s.
const RECENT: Duration = Duration::from_secs(60);
/// How long a broker has to show its certificate.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(2);

/// The last failed connection of all clients of one configuration. Cheap to clone.
#[derive(Clone)]
pub(super) struct Diagnostics(Arc<Inner>);

struct Inner {
    security: LogSecurity,
    /// The authorities by which a broker's certificate is inspected; `None` if the configuration
    /// names them by a property that only librdkafka understands.
    trust: Option<Trust>,
    last: Mutex<Option<ConnectionFailure>>,
}

/// The authorities that may have signed a broker's certificate.
enum Trust {
    System,
    File(PathBuf),
}

#[derive(Clone)]
struct ConnectionFailure {
    at: Instant,
    text: String,
}

/// What has to change before a connection can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// This client does not accept the broker's certificate.
    BrokerCertificate,
    /// The broker does not accept this client's certificate, or got none.
    ClientCertificate,
    /// The broker does not accept the user and password, or the token.
    Credentials,
    /// The two sides expect different kinds of connection.
    Protocol,
    /// No known cause; it may pass by itself.
    Unknown,
}

impl Diagnostics {
    /// Without any failure yet.
    pub(super) fn new(config: &LogConfig) -> Self {
        let trust = match &config.ca_file {
            Some(file) => Some(Trust::File(file.to_path_buf())),
            None if config
                .properties
                .keys()
                .any(|name| name.starts_with("ssl.ca.")) =>
            {
                None
            }
            None => Some(Trust::System),
        };
        Self(Arc::new(Inner {
            security: config.security,
            trust,
            last: Mutex::new(None),
        }))
    }

    /// Logs a line of a client's log, and keeps it when it says that a connection failed.
    pub(super) fn record_log_line(&self, level: Level, facility: &str, text: &str) {
        if facility == "FAIL" {
            // The line begins with the name of the thread, which is the broker's name; the name
            // of the broker then follows once more.
            let text = text
                .strip_prefix("[thrd:")
                .and_then(|rest| rest.split_once("]: "))
                .map_or(text, |(_, rest)| rest);
            // librdkafka reports grave failures once more, as errors of the client.
            tracing::debug!(target: "librdkafka", "{facility} {text}");
            match self.cause(text) {
                Cause::Credentials => names::kafka_auth_failed("credentials"),
                Cause::ClientCertificate => names::kafka_auth_failed("client_certificate"),
                Cause::BrokerCertificate => names::kafka_auth_failed("broker_certificate"),
                Cause::Protocol | Cause::Unknown => {}
            }
            *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(ConnectionFailure {
                at: Instant::now(),
                text: text.to_owned(),
            });
            return;
        }
        match level {
            Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
                tracing::error!(target: "librdkafka", "{facility} {text}")
            }
            Level::Warning => tracing::warn!(target: "librdkafka", "{facility} {text}"),
            Level::Notice | Level::Info => {
                tracing::info!(target: "librdkafka", "{facility} {text}")
            }
            Level::Debug => tracing::debug!(target: "librdkafka", "{facility} {text}"),
        }
    }

    /// Logs an error that a client reports of itself. That all brokers are down is a warning only:
    /// it passes by itself, or a request fails and its error says more.
    pub(super) fn log_error(&self, error: &KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::warn!(target: "librdkafka", "{reason}");
        } else {
            tracing::error!(target: "librdkafka", "{error}: {reason}");
        }
    }

    fn last(&self) -> Option<ConnectionFailure> {
        let last = self
            .0
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        last.filter(|failure| failure.at.elapsed() < RECENT)
    }

    /// True if a connection failed recently.
    pub(super) fn has_recent_failure(&self) -> bool {
        self.last().is_some()
    }

    /// True if the recent failure has a cause that does not pass by itself.
    pub(super) fn is_permanent(&self) -> bool {
        self.last()
            .is_some_and(|failure| self.cause(&failure.text) != Cause::Unknown)
    }

    /// The recent failure and what to do about it, for an error message. May connect to the broker
    /// to inspect its certificate.
    pub(super) fn describe_last_failure(&self) -> Option<String> {
        let ConnectionFailure { at, text } = self.last()?;
        let cause = self.cause(&text);
        let objection = if cause == Cause::BrokerCertificate {
            self.inspect_certificate(&text)
        } else {
            None
        };
        let parts = [
            Some(without_guesses(&text).to_owned()),
            objection,
            self.advice(cause).map(str::to_owned),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        Some(format!(
            "the last connection failed {} s ago: {}",
            at.elapsed().as_secs(),
            parts.join("; ")
        ))
    }

    fn cause(&self, text: &str) -> Cause {
        cause(self.0.security, text)
    }

    fn advice(&self, cause: Cause) -> Option<&'static str> {
        match cause {
            Cause::BrokerCertificate => Some(
                "log.ca_file has to hold the authority that signed the broker's certificate, and that certificate the host's name as log.url and the \
                 broker's advertised.listeners write it",
            ),
            Cause::ClientCertificate => Some(
                "the broker wants another certificate of this client: set log.certificate_file and log.key_file to one of an authority that it trusts",
            ),
            Cause::Credentials if self.0.security == LogSecurity::MskIam => Some(
                "check the AWS credentials of this process, what their policy allows on the cluster, and log.region",
            ),
            Cause::Credentials => Some("check log.username and the password in log.password_file"),
            Cause::Protocol if self.0.security == LogSecurity::Tls => Some(
                "see that log.security says how the listener at log.url is secured; it may want a certificate of this client, too (log.certificate_file \
                 and log.key_file)",
            ),
            Cause::Protocol => {
                Some("see that log.security says how the listener at log.url is secured")
            }
            Cause::Unknown => None,
        }
    }

    /// What is wrong with the broker's certificate. librdkafka does not say it, so the certificate
    /// is fetched and verified once more.
    fn inspect_certificate(&self, text: &str) -> Option<String> {
        let address = text.split_once("://")?.1.split('/').next()?;
        let mut roots = RootCertStore::empty();
        match self.0.trust.as_ref()? {
            Trust::File(file) => roots.add_parsable_certificates(
                CertificateDer::pem_file_iter(file)
                    .ok()?
                    .filter_map(Result::ok),
            ),
            Trust::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)
            }
        };
        certificate_error(address, roots).map(|error| error.to_string())
    }
}

/// Why rustls does not accept the certificate that the server at `address` shows; `None` if it
/// does, or if the server shows none.
fn certificate_error(address: &str, roots: RootCertStore) -> Option<rustls::Error> {
    let host = address.rsplit_once(':')?.0.trim_matches(['[', ']']);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let mut connection = ClientConnection::new(
        Arc::new(config),
        ServerName::try_from(host.to_owned()).ok()?,
    )
    .ok()?;
    let mut socket = address
        .to_socket_addrs()
        .ok()?
        .find_map(|at| TcpStream::connect_timeout(&at, CERTIFICATE_TIMEOUT).ok())?;
    socket
        .set_read_timeout(Some(CERTIFICATE_TIMEOUT))
        .and_then(|()| socket.set_write_timeout(Some(CERTIFICATE_TIMEOUT)))
        .ok()?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut socket) {
            return error
                .into_inner()?
                .downcast::<rustls::Error>()
                .ok()
                .map(|error| *error)
                .filter(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
        }
    }
    None
}

/// The text of a failure without the causes at which librdkafka guesses: they name its own
/// settings, not those of Theatre.
fn without_guesses(text: &str) -> &str {
    [": broker certificate could not be verified", " (after "]
        .iter()
        .fold(text, |text, guess| text.split(guess).next().unwrap_or(text))
}

fn cause(security: LogSecurity, text: &str) -> Cause {
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if has(&[
        "certificate verify failed",
        "Failed to verify broker certificate",
        "did not provide a certificate",
    ]) {
        Cause::BrokerCertificate
    } else if has(&[
        "connecting to a PLAINTEXT broker listener?",
        "wrong version number",
        "packet length too long",
        "mechanism handshake failed",
    ]) || closed_at_once(security, text)
    {
        Cause::Protocol
    } else if has(&[" alert "]) && has(&["certificate", "unknown ca", "handshake failure"]) {
        Cause::ClientCertificate
    } else if has(&["SASL"]) {
        Cause::Credentials
    } else {
        Cause::Unknown
    }
}

/// True if the broker closed the connection at its first request. The text of such a failure ends
/// with the state of the connection and how long it was in that state.
fn closed_at_once(security: LogSecurity, text: &str) -> bool {
    let Some((span, rest)) = text
        .rsplit_once("(after ")
        .and_then(|(_, after)| after.split_once("ms in state "))
    else {
        return false;
    };
    let state = rest.split([',', ')']).next().unwrap_or_default();
    // A listener that wants a password lets a client without one finish its TLS handshake (state
    // UP) and closes the connection at the first request.
    let at_first_request = state == "APIVERSION_QUERY"
        || (state == "UP" && matches!(security, LogSecurity::Plaintext | LogSecurity::Tls));
    text.contains("Disconnected")
        && at_first_request
        && span
            .parse()
            .is_ok_and(|milliseconds: u64| milliseconds < 2000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_says_has_a_cause_that_can_be_mended() {
        let cases = [
            (
                "ssl://h:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate",
                Cause::BrokerCertificate,
            ),
            (
                "ssl://h:1/1: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42",
                Cause::ClientCertificate,
            ),
            (
                "ssl://h:1/1: Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116",
                Cause::ClientCertificate,
            ),
            (
                "ssl://h:1/1: SSL handshake failed: error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48",
                Cause::ClientCertificate,
            ),
            (
                "sasl_ssl://h:1/1: SASL authentication error: Authentication failed during authentication due to invalid credentials",
                Cause::Credentials,
            ),
            (
                "sasl_ssl://h:1/1: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism",
                Cause::Protocol,
            ),
            (
                "ssl://h:1/1: Disconnected: SSL connection closed by peer (after 5ms in state UP, 1 identical error(s) suppressed)",
                Cause::Protocol,
            ),
            (
                "h:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 3ms in state APIVERSION_QUERY)",
                Cause::Protocol,
            ),
            (
                "h:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 12345ms in state UP)",
                Cause::Unknown,
            ),
            (
                "ssl://h:1/1: SSL handshake failed: error:0A00010B:SSL routines::wrong version number",
                Cause::Protocol,
            ),
            (
                "h:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
                Cause::Unknown,
            ),
            ("h:1/1: Disconnected", Cause::Unknown),
        ];
        for (text, wanted) in cases {
            assert_eq!(cause(LogSecurity::Tls, text), wanted, "{text}");
        }
        assert_eq!(
            cause(
                LogSecurity::SaslScram,
                "sasl_ssl://h:1/1: Disconnected (after 5ms in state UP)"
            ),
            Cause::Unknown,
            "the broker has accepted the password"
        );
    }

    #[test]
    fn the_last_failed_connection_is_described_with_what_to_do() {
        let diagnostics = Diagnostics::new(&LogConfig {
            security: LogSecurity::SaslScram,
            ..LogConfig::default()
        });
        assert_eq!(diagnostics.describe_last_failure(), None);
        diagnostics.record_log_line(Level::Info, "CONNECTED", "[thrd:h:1/1]: h:1/1: Connected");
        assert!(!diagnostics.has_recent_failure(), "that one did not fail");
        diagnostics.record_log_line(Level::Info, "FAIL", "[thrd:h:1/1]: h:1/1: Disconnected");
        assert!(
            diagnostics.has_recent_failure() && !diagnostics.is_permanent(),
            "it may pass"
        );
        diagnostics.record_log_line(
            Level::Error,
            "FAIL",
            "[thrd:sasl_ssl://h:1/1]: sasl_ssl://h:1/1: SASL authentication error: invalid credentials (after 9ms in state AUTH_REQ)",
        );
        let text = diagnostics.describe_last_failure().unwrap();
        assert!(
            diagnostics.is_permanent()
                && !text.contains("thrd")
                && text.contains("invalid credentials; check log.username"),
            "{text}"
        );
    }
}
