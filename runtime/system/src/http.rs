//! The HTTP client of what needs a small one: short time-outs, the system's root certificates or a
//! given file's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use theatre_actors::ports::{Error, Result};
pub use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsConfigBuilder, parse_pem};
use ureq::typestate::AgentScope;

const CONNECT: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(5);
const REDIRECTS: u32 = 10;

/// A client for `url`; the certificates are read only when it needs them. An answer is no error,
/// whatever its status.
///
/// # Errors
/// Names the file of certificates that cannot be used.
pub fn agent(url: &str, ca_file: Option<&Path>) -> Result<Agent> {
    agent_of(url, ca_file, WHOLE, REDIRECTS)
}

/// The same for requests that may take up to `whole` and go to the address that is named and to no
/// other: a redirect is an answer as any.
///
/// # Errors
/// As [`agent`].
pub fn patient_agent(url: &str, ca_file: Option<&Path>, whole: Duration) -> Result<Agent> {
    agent_of(url, ca_file, whole, 0)
}

/// A client for a process of this machine that is known by its address. With TLS it may show any
/// certificate: that of the machine names the machine, not the loopback address, and what is sent
/// does not leave the machine.
pub fn local_agent() -> Agent {
    let tls = tls().disable_verification(true).build();
    let config = config(WHOLE, 0).proxy(None);
    config.tls_config(tls).build().into()
}

fn agent_of(url: &str, ca_file: Option<&Path>, whole: Duration, redirects: u32) -> Result<Agent> {
    let mut config = config(whole, redirects);
    if is_of_this_machine(url) {
        // A proxy's loopback address is another one.
        config = config.proxy(None);
    }
    if !url.starts_with("https://") {
        return Ok(config.build().into());
    }
    let tls = tls().root_certs(roots(ca_file)?).build();
    Ok(config.tls_config(tls).build().into())
}

/// Whether an address is a loopback address.
fn is_of_this_machine(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].contains(&host)
}

/// Tries whether certificates can be read from a file.
///
/// # Errors
/// As [`agent`].
pub fn check_certificates(ca_file: &Path) -> Result<()> {
    roots(Some(ca_file)).map(drop)
}

fn config(whole: Duration, redirects: u32) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .timeout_connect(Some(CONNECT.min(whole)))
        .timeout_global(Some(whole))
        .max_redirects(redirects)
        .http_status_as_error(false)
}

fn tls() -> TlsConfigBuilder {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    TlsConfig::builder().unversioned_rustls_crypto_provider(provider)
}

fn roots(ca_file: Option<&Path>) -> Result<RootCerts> {
    let Some(path) = ca_file else {
        let found = rustls_native_certs::load_native_certs().certs;
        return Ok(RootCerts::from(
            found
                .iter()
                .map(|der| Certificate::from_der(der.as_ref()).to_owned()),
        ));
    };
    let refused = |why: String| {
        Error::Refused(format!(
            "the certificates in {} cannot be used: {why}",
            path.display()
        ))
    };
    let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|error| refused(error.to_string()))?
        {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(refused("there is none".to_owned()));
    }
    Ok(RootCerts::from(certificates))
}
