//! The TLS of connections: whom this client trusts, and the certificate by which it is known.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use theatre_actors::ports::{Error, Result};
use theatre_config::log::LogConfig;

use super::super::client::password;
use super::settings::Secrets;

/// By the section `[log]`, and where it says nothing by the properties of the same meaning.
pub(super) fn config(config: &LogConfig, secrets: &Secrets) -> Result<Arc<ClientConfig>> {
    let file = |key: &'static str, section: Option<&Path>, property: &Option<_>| {
        section
            .map(Path::to_path_buf)
            .or_else(|| property.clone())
            .map(|path| (key, path))
    };
    let roots = roots(file("ca_file", config.ca_file.as_deref(), &secrets.ca_file))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Refused(format!("log: TLS cannot be used: {error}")))?
        .with_root_certificates(roots);
    let certificate = file(
        "certificate_file",
        config.certificate_file.as_deref(),
        &secrets.certificate_file,
    );
    let key = file("key_file", config.key_file.as_deref(), &secrets.key_file);
    let client = match (certificate, key) {
        (Some((_, certificate)), Some((_, key))) => {
            let chain = certificates("certificate_file", &certificate)?;
            let password = match &config.key_password_file {
                Some(file) => Some(password("key_password_file", file)?),
                None => secrets.key_password.clone(),
            };
            let key = private_key(&key, password.as_deref())?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                Error::Refused(format!(
                    "log.certificate_file and log.key_file cannot be used: {error}"
                ))
            })?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            return Err(Error::Refused(
                "log.certificate_file and log.key_file belong together: set both or none"
                    .to_owned(),
            ));
        }
    };
    Ok(Arc::new(client))
}

fn roots(file: Option<(&'static str, std::path::PathBuf)>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (found, source) = match file {
        Some((key, path)) => {
            let found = certificates(key, &path)?;
            (found, format!("log.{key} {}", path.display()))
        }
        None => (
            rustls_native_certs::load_native_certs().certs,
            "the system's store of certificates; name a file in log.ca_file".to_owned(),
        ),
    };
    let (added, _) = roots.add_parsable_certificates(found);
    if added == 0 {
        return Err(Error::Refused(format!("no authority is in {source}")));
    }
    Ok(roots)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let refused = |error: rustls::pki_types::pem::Error| {
        Error::Refused(format!(
            "log.{key} {} cannot be read: {error}",
            path.display()
        ))
    };
    CertificateDer::pem_file_iter(path)
        .map_err(refused)?
        .collect::<std::result::Result<_, _>>()
        .map_err(refused)
}

/// The key in a PEM file; one that is encrypted (PKCS #8) needs its password.
fn private_key(path: &Path, password: Option<&str>) -> Result<PrivateKeyDer<'static>> {
    let refused = |why: String| {
        Error::Refused(format!(
            "log.key_file {} cannot be used: {why}",
            path.display()
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(refused(
            "it is encrypted in the old form; convert it by `openssl pkcs8 -topk8`, or set log.fetcher = \"librdkafka\""
                .to_owned(),
        ));
    }
    let encrypted = text
        .find("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        .map(|at| &text[at..]);
    let Some(encrypted) = encrypted else {
        return PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| refused(error.to_string()));
    };
    let password = password.ok_or_else(|| {
        refused(
            "it is encrypted; name the file of its password in log.key_password_file".to_owned(),
        )
    })?;
    let failed = |error: &dyn std::fmt::Display| {
        refused(format!(
            "it does not open with the password of log.key_password_file: {error}"
        ))
    };
    let (_, document) =
        pkcs8::SecretDocument::from_pem(encrypted).map_err(|error| failed(&error))?;
    let key = pkcs8::EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|error| failed(&error))?
        .decrypt(password)
        .map_err(|error| failed(&error))?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(
        key.as_bytes().to_vec(),
    )))
}
