//! TLS for the interface: a certificate and its key from two files, which are read again when they
//! change. A change that cannot be used is said once, and the certificate before it goes on.

mod expiry;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys, ServerConfig};
use theatre_config::ConfigError;

use crate::tokens::hash;

pub use expiry::certificates_expire;

/// Where the certificate of the interface is, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then those of the authorities between it and the root.
    pub cert: PathBuf,
    /// Its private key, without a password.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Tries the files as the server does.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn check(&self) -> Result<(), ConfigError> {
        let provider = aws_lc_rs::default_provider();
        let read = self.read().map_err(ConfigError)?;
        self.certified(&read, &provider)
            .map(drop)
            .map_err(ConfigError)
    }

    fn read(&self) -> Result<Read, String> {
        let read = |key: &str, path: &Path| {
            std::fs::read(path)
                .map_err(|error| format!("{key}: {} cannot be read: {error}", path.display()))
        };
        Ok(Read {
            cert: read("[api] tls_cert", &self.cert)?,
            key: read("[api] tls_key", &self.key)?,
        })
    }

    /// What the files hold, as the server shows it.
    fn certified(&self, read: &Read, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
        let cert = |why: &str| format!("[api] tls_cert: {}: {why}", self.cert.display());
        let key = |why: &str| format!("[api] tls_key: {}: {why}", self.key.display());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read.cert)
            .collect::<Result<_, PemError>>()
            .map_err(|error| cert(&format!("it is no PEM: {error}")))?;
        if chain.is_empty() {
            return Err(cert("there is no certificate in it, in PEM"));
        }
        let private = PrivateKeyDer::from_pem_slice(&read.key).map_err(|error| match error {
            PemError::NoItemsFound if is_encrypted(&read.key) => {
                key("the key has a password: give it without one")
            }
            PemError::NoItemsFound => key("there is no private key in it, in PEM"),
            error => key(&format!("it is no PEM: {error}")),
        })?;
        CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => key(&format!(
                "the key is not that of the first certificate in {}",
                self.cert.display()
            )),
            error @ TlsError::InvalidCertificate(_) => {
                cert(&format!("the first certificate cannot be used: {error}"))
            }
            error => key(&format!("the key cannot be used: {error}")),
        })
    }
}

/// Shows when what the interface shows expires: the certificate, or one of its authorities.
fn show(certified: &CertifiedKey) {
    if let Some(at) = expiry::first_expiry(certified.cert.iter()) {
        theatre_telemetry::http::certificate_expires(at.0 as f64 / 1e6);
    }
}

fn is_encrypted(pem: &[u8]) -> bool {
    String::from_utf8_lossy(pem).contains("ENCRYPTED")
}

/// The content of both files.
struct Read {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Read {
    /// Tells two contents apart.
    fn mark(&self) -> String {
        let parts = [&self.cert, &self.key].map(|part| String::from_utf8_lossy(part));
        hash(&parts.join("\0"))
    }
}

/// The certificate that new connections get.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// What was last found: the content, or why it could not be read.
    found: Mutex<String>,
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, ConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let read = files.read().map_err(ConfigError)?;
        let certified = files.certified(&read, &provider).map_err(ConfigError)?;
        show(&certified);
        Ok(Self {
            files,
            provider,
            current: RwLock::new(Arc::new(certified)),
            found: Mutex::new(read.mark()),
        })
    }

    /// Reads the files again, and uses what they hold if it is another certificate.
    pub(crate) fn renew(&self) {
        let read = self.files.read();
        let mark = read.as_ref().map_or_else(Clone::clone, Read::mark);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if *found == mark {
            return;
        }
        *found = mark;
        match read.and_then(|read| self.files.certified(&read, &self.provider)) {
            Ok(certified) => {
                show(&certified);
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(certified);
                tracing::info!(
                    file = %self.files.cert.display(),
                    "the HTTP interface shows its new certificate"
                );
            }
            Err(why) => tracing::warn!(
                %why,
                "the HTTP interface goes on with the certificate that it has"
            ),
        }
    }

    /// What a listener needs: TLS 1.2 and 1.3.
    pub(crate) fn server(self: &Arc<Self>) -> Result<ServerConfig, ConfigError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError(format!("TLS cannot be set up: {error}")))?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        // A session that is resumed would go on with a certificate that was replaced.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::{Certificates, TlsFiles};
    use crate::deployed::Deployed;

    /// A certificate and its key, in PEM.
    fn pair(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn files(folder: &tempfile::TempDir, cert: &str, key: &str) -> TlsFiles {
        let files = TlsFiles {
            cert: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        std::fs::write(&files.cert, cert).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    }

    #[test]
    fn a_refusal_names_the_file_and_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let ((cert, key), (_, other)) = (pair("one"), pair("other"));
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let broken = cert.replace("BEGIN CERTIFICATE-----\n", "BEGIN CERTIFICATE-----\nAAAA");
        let half = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        for (cert, key, file, why) in [
            ("", key.as_str(), "tls_cert", "no certificate"),
            (&key, &key, "tls_cert", "no certificate"),
            (&broken, &key, "tls_cert", "cannot be used"),
            (half, &key, "tls_cert", "no PEM"),
            (&cert, "", "tls_key", "no private key"),
            (&cert, &cert, "tls_key", "no private key"),
            (&cert, &encrypted, "tls_key", "password"),
            (
                &cert,
                &other,
                "tls_key",
                "not that of the first certificate",
            ),
        ] {
            let files = files(&folder, cert, key);
            let said = files.check().unwrap_err().to_string();
            let names = said.contains(file) && said.contains(".pem");
            assert!(names && said.contains(why), "{file}, {why}: {said}");
        }
        let mut files = files(&folder, &cert, &key);
        files.check().unwrap();
        files.key = folder.path().join("nowhere.pem");
        let said = files.check().unwrap_err().to_string();
        assert!(said.contains("nowhere.pem cannot be read"), "{said}");
    }

    #[test]
    fn a_change_is_used_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let ((cert, key), (new_cert, new_key)) = (pair("one"), pair("new"));
        let served = Certificates::load(files(&folder, &cert, &key)).unwrap();
        let shown = |served: &Certificates| served.current.read().unwrap().cert.clone();
        let first = shown(&served);
        served.renew();
        assert_eq!(shown(&served), first);
        // Who replaces two files replaces one of them first.
        files(&folder, &new_cert, &key);
        served.renew();
        assert_eq!(shown(&served), first);
        std::fs::remove_file(folder.path().join("key.pem")).unwrap();
        served.renew();
        assert_eq!(shown(&served), first);
        files(&folder, &new_cert, &new_key);
        served.renew();
        let second = shown(&served);
        assert_ne!(second, first);
        files(&folder, &cert, &key);
        served.renew();
        assert_eq!(shown(&served), first);
    }

    /// An authority that is kept in a file, and the certificate that it signed for this machine.
    fn signed(folder: &Path, name: &str) -> (PathBuf, String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = folder.join(name);
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &authority).unwrap().pem();
        (file, cert, key.serialize_pem())
    }

    #[test]
    fn a_served_certificate_is_replaced_without_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (old, cert, key) = signed(folder.path(), "old.pem");
        let (new, new_cert, new_key) = signed(folder.path(), "new.pem");
        let tls = files(&folder, &cert, &key);
        let served = Deployed::start(|settings| settings.tls = Some(tls.clone()));
        let lives = |ca: &Path| served.get("/livez", None, Some(ca)).map(|answer| answer.0);
        assert_eq!(lives(&old), Ok(200));
        assert!(lives(&new).is_err(), "it is of the other authority");
        let plain = format!("http://{}/livez", served.server.address);
        let agent = theatre_system::http::agent(&plain, None).unwrap();
        assert!(
            agent.get(&plain).call().is_err(),
            "nothing is said without TLS"
        );

        std::fs::write(&tls.key, "rubbish").unwrap();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(lives(&old), Ok(200), "the old one goes on");
        files(&folder, &new_cert, &new_key);
        let looks = (0..100).find(|_| {
            std::thread::sleep(Duration::from_millis(100));
            lives(&new) == Ok(200)
        });
        assert!(looks.is_some(), "the new one is never shown");
        assert!(lives(&old).is_err(), "the old one is shown no more");
    }
}
