//! Who this process is to MSK: short-lived tokens signed with its AWS credentials.
//!
//! All clients carry an [`Identity`] in their context. librdkafka asks for the next token by an
//! event, at four fifths of the life of the last, and before the first connection; the owner of a
//! client has to poll it for that. Without MSK IAM there is no identity, and librdkafka never asks.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_msk_iam_sasl_signer::generate_auth_token_from_credentials_provider;
use rdkafka::client::OAuthToken;
use theatre_actors::ports::{Error, Result};

use theatre_config::log::{LogConfig, LogSecurity};
use theatre_system::blocking::IoRuntime;

/// How long credentials and signature may take. The client's other events wait meanwhile.
const SIGN_TIMEOUT: Duration = Duration::from_secs(10);

/// Signs tokens, where the configuration wants them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Identity(Option<Arc<Signer>>);

struct Signer {
    region: Region,
    credentials: SharedCredentialsProvider,
    io: IoRuntime,
}

impl Identity {
    /// As the configuration says; with the credentials that the SDK finds.
    pub(super) fn of(config: &LogConfig, io: &IoRuntime) -> Result<Self> {
        if config.security != LogSecurity::MskIam {
            return Ok(Self(None));
        }
        let region = config.region.clone().filter(|region| !region.is_empty());
        let region = region.ok_or_else(|| {
            Error::Refused(
                "log.security = \"msk_iam\" needs log.region, the region of the cluster".to_owned(),
            )
        })?;
        let region = Region::new(region);
        let sdk = io.block_on(
            aws_config::defaults(BehaviorVersion::latest())
                .region(region.clone())
                .load(),
        );
        let credentials = sdk.credentials_provider().ok_or_else(|| {
            Error::Refused("log.security = \"msk_iam\": there are no AWS credentials".to_owned())
        })?;
        Ok(Self(Some(Arc::new(Signer {
            region,
            credentials,
            io: io.clone(),
        }))))
    }

    /// How long a client that no thread polls has to be polled before it is used. One poll without
    /// waiting serves one event, and the request for a token may be the second.
    pub(super) fn poll_time(&self) -> Duration {
        if self.0.is_some() {
            Duration::from_millis(1)
        } else {
            Duration::ZERO
        }
    }

    /// The next token; `None` where none is needed.
    pub(super) fn token(&self) -> std::result::Result<Option<OAuthToken>, Box<dyn StdError>> {
        let Some(signer) = &self.0 else {
            return Ok(None);
        };
        let signed = signer
            .io
            .block_on(async { tokio::time::timeout(SIGN_TIMEOUT, signer.sign()).await });
        signed
            .unwrap_or_else(|_| {
                Err(format!("no AWS credentials within {} s", SIGN_TIMEOUT.as_secs()).into())
            })
            .map(Some)
    }

    /// The next token, in the form that the callback of librdkafka returns.
    pub(super) fn oauth_token(&self) -> std::result::Result<OAuthToken, Box<dyn StdError>> {
        let token = self.token().and_then(|token| {
            token.ok_or_else(|| "OAUTHBEARER is for log.security = \"msk_iam\" only".into())
        });
        token.inspect_err(|error| tracing::warn!(%error, "no token for MSK; it is tried again"))
    }
}

impl Signer {
    async fn sign(&self) -> std::result::Result<OAuthToken, Box<dyn StdError>> {
        let credentials = self.credentials.provide_credentials().await?;
        let expiry = credentials.expiry();
        let (token, ends) = generate_auth_token_from_credentials_provider(
            self.region.clone(),
            SharedCredentialsProvider::new(credentials),
        )
        .await?;
        Ok(OAuthToken {
            token,
            principal_name: "theatre".to_owned(),
            lifetime_ms: token_end(ends, expiry),
        })
    }
}

/// When a token ends, in milliseconds since 1970: it is worth nothing once the credentials that
/// signed it have ended, so this is the earlier of the two ends.
fn token_end(token_ends: i64, credentials_end: Option<SystemTime>) -> i64 {
    let end = credentials_end.map(|end| {
        end.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis()
    });
    end.and_then(|end| i64::try_from(end).ok())
        .map_or(token_ends, |end| end.min(token_ends))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Credentials end by the machine's clock.
pub(super) mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    /// One whose credentials end after `life`.
    pub(crate) fn identity(life: Option<Duration>) -> Identity {
        let expiry = life.map(|life| SystemTime::now() + life);
        let credentials = SharedCredentialsProvider::new(Credentials::new(
            "AKIDEXAMPLE",
            "secret",
            None,
            expiry,
            "test",
        ));
        let io = IoRuntime::start().expect("threads");
        Identity(Some(Arc::new(Signer {
            region: Region::new("eu-central-1"),
            credentials,
            io,
        })))
    }

    fn life(identity: &Identity) -> i64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_millis() as i64;
        identity.oauth_token().expect("a token").lifetime_ms - now
    }

    #[test]
    fn a_token_lives_no_longer_than_the_credentials() {
        let long = life(&identity(None));
        assert!((890_000..=900_000).contains(&long), "{long}");
        assert!((890_000..=900_000).contains(&life(&identity(Some(Duration::from_secs(3600))))));
        let short = life(&identity(Some(Duration::from_secs(60))));
        assert!((50_000..=60_000).contains(&short), "{short}");
    }

    #[test]
    fn iam_needs_a_region_and_others_need_no_token() {
        let io = IoRuntime::start().expect("threads");
        let config = LogConfig {
            security: LogSecurity::MskIam,
            ..LogConfig::default()
        };
        assert!(
            matches!(Identity::of(&config, &io), Err(Error::Refused(why)) if why.contains("log.region"))
        );
        let plain = Identity::of(&LogConfig::default(), &io).expect("no identity");
        assert!(plain.token().expect("nothing to sign").is_none());
    }
}
