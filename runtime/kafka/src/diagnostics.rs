//! Why no broker is reached: what librdkafka says of connections that failed, kept for the error of
//! whoever waits for an answer.
//!
//! A call that finds no broker ends by a time-out or a "transport failure", whatever the cause. The
//! cause is told elsewhere, in the log of the client that connects, and there in the words and
//! settings of librdkafka: here it is joined with what to do about it.

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

/// What is older says nothing about now. librdkafka repeats a complaint that stays the same every
/// 30 s.
const FRESH: Duration = Duration::from_secs(60);
/// How long a broker has to show its certificate.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// What all clients of one configuration heard last. Cheap to clone.
#[derive(Clone)]
pub(super) struct Diagnostics(Arc<Inner>);

struct Inner {
    security: LogSecurity,
    /// By which certificates are examined; `None` if properties say it in a way that only
    /// librdkafka understands.
    trust: Option<Trust>,
    last: Mutex<Option<Diagnostic>>,
}

/// Who may have signed a broker's certificate.
enum Trust {
    System,
    File(PathBuf),
}

#[derive(Clone)]
struct Diagnostic {
    at: Instant,
    text: String,
}

/// What has to change before a connection can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// We do not accept the broker's certificate.
    Untrusted,
    /// The broker does not accept ours, or misses it.
    Unproven,
    /// The broker does not accept user and password, or token.
    Denied,
    /// Both sides expect another kind of connection.
    Mismatched,
    /// Nothing that is known: it may pass.
    Other,
}

impl Diagnostics {
    /// Nothing is heard yet.
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

    /// Takes a line of a client's log, and logs it.
    pub(super) fn hear(&self, level: Level, facility: &str, text: &str) {
        if facility == "FAIL" {
            // The thread's name comes first, which is the broker's, and then the broker's name.
            let text = text
                .strip_prefix("[thrd:")
                .and_then(|rest| rest.split_once("]: "))
                .map_or(text, |(_, rest)| rest);
            // Grave ones come once more, as an error.
            tracing::debug!(target: "librdkafka", "{facility} {text}");
            *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Diagnostic {
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

    /// Takes what a client reports of itself. That all brokers are away passes by itself, or
    /// whoever waits for an answer says more.
    pub(super) fn report(&self, error: &KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::warn!(target: "librdkafka", "{reason}");
        } else {
            tracing::error!(target: "librdkafka", "{error}: {reason}");
        }
    }

    fn last(&self) -> Option<Diagnostic> {
        let last = self
            .0
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        last.filter(|complaint| complaint.at.elapsed() < FRESH)
    }

    /// True if something was heard that is still of interest.
    pub(super) fn any(&self) -> bool {
        self.last().is_some()
    }

    /// True if waiting cannot help.
    pub(super) fn is_refusal(&self) -> bool {
        self.last()
            .is_some_and(|complaint| self.cause(&complaint.text) != Cause::Other)
    }

    /// What was heard last and what to do about it. May ask the broker for its certificate.
    pub(super) fn explain(&self) -> Option<String> {
        let Diagnostic { at, text } = self.last()?;
        let cause = self.cause(&text);
        let examined = if cause == Cause::Untrusted {
            self.examine(&text)
        } else {
            None
        };
        let parts = [
            Some(shortened(&text).to_owned()),
            examined,
            self.advice(cause).map(str::to_owned),
        ];
        let said: Vec<String> = parts.into_iter().flatten().collect();
        Some(format!(
            "heard {} s ago: {}",
            at.elapsed().as_secs(),
            said.join("; ")
        ))
    }

    fn cause(&self, text: &str) -> Cause {
        cause(self.0.security, text)
    }

    fn advice(&self, cause: Cause) -> Option<&'static str> {
        match cause {
            Cause::Untrusted => Some(
                "log.ca_file has to hold the authority that signed the broker's certificate, and that certificate the host's name as log.url and the \
                 broker's advertised.listeners write it",
            ),
            Cause::Unproven => Some(
                "the broker wants another certificate of this client: set log.certificate_file and log.key_file to one of an authority that it trusts",
            ),
            Cause::Denied if self.0.security == LogSecurity::MskIam => Some(
                "check the AWS credentials of this process, what their policy allows on the cluster, and log.region",
            ),
            Cause::Denied => Some("check log.username and the password in log.password_file"),
            Cause::Mismatched if self.0.security == LogSecurity::Tls => Some(
                "see that log.security says how the listener at log.url is secured; it may want a certificate of this client, too (log.certificate_file \
                 and log.key_file)",
            ),
            Cause::Mismatched => {
                Some("see that log.security says how the listener at log.url is secured")
            }
            Cause::Other => None,
        }
    }

    /// librdkafka does not tell what is wrong with a certificate: it is looked at once more.
    fn examine(&self, text: &str) -> Option<String> {
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
        objection(address, roots).map(|error| error.to_string())
    }
}

/// What rustls has against the certificate that is shown at `address`; `None` if nothing, or if
/// none is shown.
fn objection(address: &str, roots: RootCertStore) -> Option<rustls::Error> {
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
        .find_map(|at| TcpStream::connect_timeout(&at, SHOWN_WITHIN).ok())?;
    socket
        .set_read_timeout(Some(SHOWN_WITHIN))
        .and_then(|()| socket.set_write_timeout(Some(SHOWN_WITHIN)))
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

/// A complaint without what librdkafka guesses: it speaks of its own settings.
fn shortened(text: &str) -> &str {
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
        Cause::Untrusted
    } else if has(&[
        "connecting to a PLAINTEXT broker listener?",
        "wrong version number",
        "packet length too long",
        "mechanism handshake failed",
    ]) || closed_at_once(security, text)
    {
        Cause::Mismatched
    } else if has(&[" alert "]) && has(&["certificate", "unknown ca", "handshake failure"]) {
        Cause::Unproven
    } else if has(&["SASL"]) {
        Cause::Denied
    } else {
        Cause::Other
    }
}

/// True if the broker closed a connection when it heard the first words on it. It ends with how
/// long the connection was in which state.
fn closed_at_once(security: LogSecurity, text: &str) -> bool {
    let Some((span, rest)) = text
        .rsplit_once("(after ")
        .and_then(|(_, after)| after.split_once("ms in state "))
    else {
        return false;
    };
    let state = rest.split([',', ')']).next().unwrap_or_default();
    // Who speaks TLS only to a listener that wants a password is heard, asks, and is closed upon.
    let first_words = state == "APIVERSION_QUERY"
        || (state == "UP" && matches!(security, LogSecurity::Plaintext | LogSecurity::Tls));
    text.contains("Disconnected")
        && first_words
        && span
            .parse()
            .is_ok_and(|milliseconds: u64| milliseconds < 2000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_says_has_a_cause_that_can_be_mended() {
        let said = [
            (
                "ssl://h:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate",
                Cause::Untrusted,
            ),
            (
                "ssl://h:1/1: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42",
                Cause::Unproven,
            ),
            (
                "ssl://h:1/1: Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116",
                Cause::Unproven,
            ),
            (
                "ssl://h:1/1: SSL handshake failed: error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48",
                Cause::Unproven,
            ),
            (
                "sasl_ssl://h:1/1: SASL authentication error: Authentication failed during authentication due to invalid credentials",
                Cause::Denied,
            ),
            (
                "sasl_ssl://h:1/1: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism",
                Cause::Mismatched,
            ),
            (
                "ssl://h:1/1: Disconnected: SSL connection closed by peer (after 5ms in state UP, 1 identical error(s) suppressed)",
                Cause::Mismatched,
            ),
            (
                "h:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 3ms in state APIVERSION_QUERY)",
                Cause::Mismatched,
            ),
            (
                "h:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 12345ms in state UP)",
                Cause::Other,
            ),
            (
                "ssl://h:1/1: SSL handshake failed: error:0A00010B:SSL routines::wrong version number",
                Cause::Mismatched,
            ),
            (
                "h:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
                Cause::Other,
            ),
            ("h:1/1: Disconnected", Cause::Other),
        ];
        for (text, wanted) in said {
            assert_eq!(cause(LogSecurity::Tls, text), wanted, "{text}");
        }
        assert_eq!(
            cause(
                LogSecurity::SaslScram,
                "sasl_ssl://h:1/1: Disconnected (after 5ms in state UP)"
            ),
            Cause::Other,
            "the password was taken"
        );
    }

    #[test]
    fn the_last_failed_connection_is_told_with_what_to_do() {
        let diagnostics = Diagnostics::new(&LogConfig {
            security: LogSecurity::SaslScram,
            ..LogConfig::default()
        });
        assert_eq!(diagnostics.explain(), None);
        diagnostics.hear(Level::Info, "CONNECTED", "[thrd:h:1/1]: h:1/1: Connected");
        assert!(!diagnostics.any(), "that one did not fail");
        diagnostics.hear(Level::Info, "FAIL", "[thrd:h:1/1]: h:1/1: Disconnected");
        assert!(
            diagnostics.any() && !diagnostics.is_refusal(),
            "it may pass"
        );
        diagnostics.hear(
            Level::Error,
            "FAIL",
            "[thrd:sasl_ssl://h:1/1]: sasl_ssl://h:1/1: SASL authentication error: invalid credentials (after 9ms in state AUTH_REQ)",
        );
        let told = diagnostics.explain().unwrap();
        assert!(
            diagnostics.is_refusal()
                && !told.contains("thrd")
                && told.contains("invalid credentials; check log.username"),
            "{told}"
        );
    }
}
