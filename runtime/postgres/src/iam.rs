//! Passwords for RDS that are made, not kept: a presigned request to connect, good for 15 minutes,
//! signed with this process's AWS credentials.
//!
//! The server looks at one only when a connection is made, so it is renewed before it can be too
//! old for the next.

use std::time::{Duration, Instant, SystemTime};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use theatre_actors::ports::{Error, Result};
use theatre_actors::time::Clock;

use super::failure::WHAT;
use theatre_system::clock::SystemClock;

const GOOD_FOR: Duration = Duration::from_secs(15 * 60);
/// Leaves time for a connection that is slow to come, and for clocks that differ.
const RENEW_AFTER: Duration = Duration::from_secs(10 * 60);

/// Whom a token lets in, and where.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
}

/// Makes tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    subject: Subject,
    region: Region,
    credentials: SharedCredentialsProvider,
    latest: Option<(Instant, String)>,
}

impl Tokens {
    /// Finds credentials and region as the AWS SDK does.
    pub(super) async fn find(subject: Subject, region: Option<String>) -> Result<Self> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        let shared = Box::pin(loader.load()).await;
        let region = shared.region().cloned();
        let region = region.ok_or_else(|| {
            Error::Refused(
                "[store] auth = \"rds_iam\": no region is known: set [store] region or AWS_REGION"
                    .to_owned(),
            )
        })?;
        let credentials = shared.credentials_provider().ok_or_else(|| {
            Error::Refused(
                "[store] auth = \"rds_iam\": no AWS credentials are configured".to_owned(),
            )
        })?;
        Ok(Self {
            subject,
            region,
            credentials,
            latest: None,
        })
    }

    /// A token that is young enough to connect with, and whether it is a new one.
    pub(super) async fn current(&mut self) -> Result<(String, bool)> {
        if let Some((made, token)) = &self.latest
            && made.elapsed() < RENEW_AFTER
        {
            return Ok((token.clone(), false));
        }
        let made = Instant::now();
        let unavailable = |error| Error::Unavailable {
            what: WHAT,
            why: format!("no AWS credentials to sign a token with: {error}"),
        };
        let credentials = self
            .credentials
            .provide_credentials()
            .await
            .map_err(unavailable)?;
        let now =
            SystemTime::UNIX_EPOCH + Duration::from_micros(SystemClock.now().0.unsigned_abs());
        let token = token(&self.subject, &self.region, credentials, now)?;
        self.latest = Some((made, token.clone()));
        Ok((token, true))
    }
}

fn token(
    subject: &Subject,
    region: &Region,
    credentials: Credentials,
    at: SystemTime,
) -> Result<String> {
    let refused = |error: &dyn std::fmt::Display| {
        Error::Refused(format!(
            "[store] auth = \"rds_iam\": no token can be made: {error}"
        ))
    };
    let address = format!("{}:{}", subject.host, subject.port);
    let request = format!(
        "https://{address}/?Action=connect&DBUser={}",
        escaped(&subject.user)
    );
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(GOOD_FOR);
    let identity = credentials.into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region.as_ref())
        .name("rds-db")
        .time(at)
        .settings(settings)
        .build();
    let params = params.map_err(|error| refused(&error))?.into();
    let signable = SignableRequest::new(
        "GET",
        request.as_str(),
        std::iter::empty(),
        SignableBody::Bytes(&[]),
    )
    .map_err(|error| refused(&error))?;
    let (instructions, _) = sign(signable, &params)
        .map_err(|error| refused(&error))?
        .into_parts();
    let signed = instructions
        .params()
        .iter()
        .map(|(name, value)| format!("&{name}={}", escaped(value)));
    Ok(format!(
        "{}{}",
        &request["https://".len()..],
        signed.collect::<String>()
    ))
}

/// As a query holds it: all but what RFC 3986 leaves as it is.
fn escaped(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    value.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature was computed from the published steps of Signature Version 4 by another
    /// program.
    #[test]
    fn a_token_is_a_presigned_request_to_connect() {
        let subject = Subject {
            host: "db.example.eu-west-1.rds.amazonaws.com".to_owned(),
            port: 5432,
            user: "theatre app".to_owned(),
        };
        let credentials = Credentials::from_keys(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("session/token+1".to_owned()),
        );
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let token = token(&subject, &Region::new("eu-west-1"), credentials, at).unwrap();
        let (signed, signature) = token.split_once("&X-Amz-Signature=").unwrap();
        let (signature, rest) = signature.split_once('&').unwrap_or((signature, ""));
        assert!(
            signed.starts_with(
                "db.example.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=theatre%20app&"
            ),
            "{token}"
        );
        for part in [
            "X-Amz-Expires=900",
            "X-Amz-Date=20231114T221320Z",
            "X-Amz-SignedHeaders=host",
            "%2F20231114%2Feu-west-1%2Frds-db%2Faws4_request",
        ] {
            assert!(token.contains(part), "{part} in {token}");
        }
        assert!(
            format!("{signed}&{rest}").contains("X-Amz-Security-Token=session%2Ftoken%2B1"),
            "{token}"
        );
        assert_eq!(
            signature,
            "07897b44c441159b9febbee24c89098d91f9b7cf73044f25f6e4a1eade219f0c"
        );
    }
}
