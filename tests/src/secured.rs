//! Servers that accept secured connections only, and the certificates by which they and their
//! clients know each other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use theatre_dev::kafka::{Extras, Kafka, Listener};
use theatre_dev::postgres::Certificate;
use theatre_dev::process::Life;

/// The one user that [`SecuredKafka::SCRAM`] lets in.
pub const USER: &str = "theatre";
/// That user's password.
pub const PASSWORD: &str = "open-sesame";
/// After so long a client of [`SecuredKafka::SCRAM`] has to prove anew who it is.
pub const SESSION: Duration = Duration::from_secs(4);
/// The only name that the certificate of [`SecuredKafka::ELSEWHERE`] holds.
pub const OTHER_HOST: &str = "broker.elsewhere.example";

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one, which no server trusts.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// Its own certificate, for clients and servers that are to trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate for this name or address.
    pub fn issue(&self, name: &str) -> Result<Certificate> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        Ok(Certificate {
            chain: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// A broker with a listener for each way to secure connections, and the files that its clients
/// need.
pub struct SecuredKafka {
    /// The broker. Its plain listener is for tests that watch.
    pub broker: Kafka,
    files: PathBuf,
}

impl SecuredKafka {
    /// Shows a certificate and asks for none.
    pub const TLS: &'static str = "TLS";
    /// Accepts clients that have a certificate of the clients' authority.
    pub const MUTUAL: &'static str = "MUTUAL";
    /// Lets in [`USER`], over TLS.
    pub const SCRAM: &'static str = "SCRAM";
    /// Redirects accepted clients to `localhost`, a name that its certificate does not hold.
    pub const ELSEWHERE_LATER: &'static str = "ELSEWHERELATER";
    /// Wants OAUTHBEARER tokens, over TLS, and knows none that Amazon signs.
    pub const TOKEN: &'static str = "TOKEN";
    /// Shows the certificate of [`OTHER_HOST`].
    pub const ELSEWHERE: &'static str = "ELSEWHERE";

    /// Starts it on `root`.
    pub fn start(root: &Path) -> Result<Self> {
        Self::start_with(root, &[])
    }

    /// The same, with a broker that gives [`USER`] the rights of access control lists only; those
    /// of its plain listener may do everything.
    pub fn start_authorizing(root: &Path) -> Result<Self> {
        let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
        let settings = [
            ("authorizer.class.name", authorizer),
            ("super.users", "User:ANONYMOUS"),
        ];
        Self::start_with(root, &settings)
    }

    fn start_with(root: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        std::fs::create_dir_all(root)?;
        let files = root.canonicalize()?;
        let write = |name: &str, text: &str| -> Result<String> {
            let path = files.join(name);
            std::fs::write(&path, text)?;
            Ok(path.to_string_lossy().into_owned())
        };
        let (brokers, clients, unknown) = (
            Authority::new("brokers")?,
            Authority::new("clients")?,
            Authority::new("unknown")?,
        );
        write("brokers.pem", brokers.pem())?;
        write("unknown.pem", unknown.pem())?;
        for (name, authority) in [("client", &clients), ("stranger", &unknown)] {
            let issued = authority.issue("theatre")?;
            write(&format!("{name}.pem"), &issued.chain)?;
            write(&format!("{name}.key"), &issued.key)?;
        }
        write("password", &format!("{PASSWORD}\n"))?;
        write("wrong-password", "close-sesame\n")?;
        let store = |name: &str, host: &str| -> Result<Vec<(String, String)>> {
            let issued = brokers.issue(host)?;
            let path = write(name, &format!("{}{}", issued.key, issued.chain))?;
            Ok(pairs(&[
                ("ssl.keystore.type", "PEM"),
                ("ssl.keystore.location", &path),
            ]))
        };
        let (here, elsewhere) = (
            store("broker.pem", "127.0.0.1")?,
            store("elsewhere.pem", OTHER_HOST)?,
        );
        let trusted = write("clients.pem", clients.pem())?;
        let mutual = pairs(&[
            ("ssl.client.auth", "required"),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &trusted),
        ]);
        let scram = pairs(&[
            ("sasl.enabled.mechanisms", "SCRAM-SHA-512"),
            (
                "scram-sha-512.connections.max.reauth.ms",
                &SESSION.as_millis().to_string(),
            ),
            (
                "scram-sha-512.sasl.jaas.config",
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            ),
        ]);
        let token = pairs(&[
            ("sasl.enabled.mechanisms", "OAUTHBEARER"),
            (
                "oauthbearer.sasl.jaas.config",
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
            ),
        ]);
        let listener = |name, protocol, settings: &[Vec<(String, String)>]| Listener {
            name,
            protocol,
            advertised: "127.0.0.1",
            settings: settings.concat(),
        };
        let extras = Extras {
            listeners: vec![
                listener(Self::TLS, "SSL", std::slice::from_ref(&here)),
                listener(Self::MUTUAL, "SSL", &[here.clone(), mutual]),
                Listener {
                    advertised: "localhost",
                    ..listener(Self::ELSEWHERE_LATER, "SSL", std::slice::from_ref(&here))
                },
                listener(Self::SCRAM, "SASL_SSL", &[here.clone(), scram]),
                listener(Self::TOKEN, "SASL_SSL", &[here, token]),
                listener(Self::ELSEWHERE, "SSL", &[elsewhere]),
            ],
            users: pairs(&[(USER, PASSWORD)]),
            settings: pairs(settings),
        };
        Ok(Self {
            broker: Kafka::start_with(&files.join("broker"), Life::Owned, extras)?,
            files,
        })
    }

    /// One of the files that [`Self::section`] names.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    /// The section `[log]` of a client of this listener. `files` are keys and the files that they
    /// name: `brokers.pem` and `unknown.pem` are authorities, `client` and `stranger` have a `.pem`
    /// and a `.key`, `password` is the right one and `wrong-password` is not.
    pub fn section(
        &self,
        listener: &str,
        security: &str,
        files: &[(&str, &str)],
    ) -> Result<String> {
        let bootstrap = self
            .broker
            .secured_bootstrap(listener)
            .with_context(|| format!("there is no listener {listener}"))?;
        let mut section = format!(
            "[log]\nurl = \"kafka://{bootstrap}\"\nsecurity = \"{security}\"\nsession_timeout = \"6s\"\n"
        );
        match security {
            "sasl_scram" => section += &format!("username = \"{USER}\"\n"),
            "msk_iam" => section += "region = \"eu-central-1\"\n",
            _ => {}
        }
        for (key, name) in files {
            section += &format!("{key} = \"{}\"\n", self.files.join(name).display());
        }
        Ok(section)
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
