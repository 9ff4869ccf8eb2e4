//! Webhooks, signed as the specification of Standard Webhooks describes: the receiver can tell from
//! whom a message is, that it is unchanged, and whether it has had it before.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use theatre_actors::ports::{Error, Result};
use theatre_actors::time::Clock;
use theatre_config::notify::NotifyConfig;
use theatre_pipeline::outbox::Receipt;

use super::http::Client;
use super::message::Notification;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// How long a secret may be, bytes, by the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A webhook.
pub(super) struct Webhook {
    client: Client,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
}

/// Where the secrets come from.
enum Secrets {
    File { key: String, path: PathBuf },
    Variable { key: String, name: String },
}

/// Whether the secret can be had and the client be set up.
pub(super) fn check(section: &NotifyConfig) -> Result<()> {
    Secrets::of(section).read()?;
    Client::of(section).check()
}

impl Secrets {
    fn of(section: &NotifyConfig) -> Self {
        match &section.secret_file {
            Some(path) => Self::File {
                key: section.key("secret_file"),
                path: path.to_path_buf(),
            },
            None => Self::Variable {
                key: section.key("secret_variable"),
                name: section.secret_variable.clone().unwrap_or_default(),
            },
        }
    }

    /// The secrets as they are now. There are several while one is being exchanged for another.
    fn read(&self) -> Result<Vec<Vec<u8>>> {
        let (place, text) = match self {
            Self::File { key, path } => (
                format!("{key}: {}", path.display()),
                std::fs::read_to_string(path).map_err(|error| error.to_string()),
            ),
            Self::Variable { key, name } => (
                format!("{key}: {name}"),
                std::env::var(name).map_err(|error| error.to_string()),
            ),
        };
        // What is wrong with a secret is said without the secret.
        let refused = |why: &str| Error::Refused(format!("{place}: {why}"));
        let text = text.map_err(|why| refused(&why))?;
        let secrets: Vec<Vec<u8>> = text
            .split_whitespace()
            .map(|secret| decoded(secret).map_err(refused))
            .collect::<Result<_>>()?;
        if secrets.is_empty() {
            return Err(refused("there is no secret in it"));
        }
        Ok(secrets)
    }
}

fn decoded(secret: &str) -> std::result::Result<Vec<u8>, &'static str> {
    let form = "a secret is whsec_ and 24 to 64 bytes in base64 (make one with: echo whsec_$(head -c 32 /dev/urandom | base64))";
    let encoded = secret.strip_prefix(PREFIX).ok_or(form)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| form)?;
    if SECRET_BYTES.contains(&bytes.len()) {
        Ok(bytes)
    } else {
        Err(form)
    }
}

/// The signatures of a message, one for each secret.
fn signatures(secrets: &[Vec<u8>], id: &str, timestamp: i64, body: &str) -> String {
    let signed = secrets.iter().filter_map(|secret| {
        // A key of HMAC may be of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        Some(format!("v1,{signature}"))
    });
    signed.collect::<Vec<_>>().join(" ")
}

impl Webhook {
    pub(super) fn new(section: &NotifyConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            client: Client::of(section),
            secrets: Secrets::of(section),
            clock,
        }
    }

    pub(super) fn send(&self, notification: &Notification<'_>) -> Result<Receipt> {
        let body = notification.json()?;
        let (id, timestamp) = (&notification.alert.alert_id, self.clock.now().0 / 1_000_000);
        let signature = signatures(&self.secrets.read()?, id, timestamp, &body);
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", id.as_str()),
            ("webhook-timestamp", &timestamp.to_string()),
            ("webhook-signature", &signature),
        ];
        self.client.post(&headers, &body)?.receipt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification: secret, id, time and body, and the signature they make.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = decoded("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = "{\"test\": 2432232314}";
        let signed = signatures(
            std::slice::from_ref(&secret),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            body,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = decoded(&format!("whsec_{}", STANDARD.encode([7; 24]))).unwrap();
        let both = signatures(&[secret, other], "msg", 1, body);
        assert_eq!(both.split(' ').count(), 2, "{both}");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        let folder = std::env::temp_dir().join(format!("secrets-{}", std::process::id()));
        let secrets = Secrets::File {
            key: "secret_file".to_owned(),
            path: folder.clone(),
        };
        let short = format!("whsec_{}", STANDARD.encode([7; 8]));
        for (text, wanted) in [
            ("hush", "whsec_ and 24"),
            ("whsec_hush!", "whsec_ and 24"),
            (short.as_str(), "whsec_ and 24"),
            (" \n", "there is no secret"),
        ] {
            std::fs::write(&folder, text).unwrap();
            let error = secrets.read().unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("hush"), "{error}");
        }
        let good = format!("whsec_{}\n", STANDARD.encode([7; 32]));
        std::fs::write(&folder, format!("{good}{good}")).unwrap();
        assert_eq!(secrets.read().unwrap(), [[7; 32], [7; 32]]);
        std::fs::remove_file(&folder).unwrap();
        assert!(matches!(secrets.read(), Err(Error::Refused(_))));
    }
}
