//! Proves to a broker who this client is: the mechanisms PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and
//! OAUTHBEARER with the tokens of MSK.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::super::identity::Identity;
use super::connection::Connection;
use super::errors;
use super::scram::{Exchange, Hash};
use super::transport::{ConnectionFailure, Result};

const HANDSHAKE_VERSION: i16 = 1;
/// The first whose answer has the life of a session.
const AUTHENTICATE_VERSION: i16 = 1;

/// A user and a password.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Login({})", self.username)
    }
}

/// How this client proves who it is.
#[derive(Clone)]
pub(super) enum Sasl {
    Plain(Login),
    Scram(Hash, Login),
    OauthBearer(Identity),
}

impl Sasl {
    fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain(_) => "PLAIN",
            Self::Scram(Hash::Sha256, _) => "SCRAM-SHA-256",
            Self::Scram(Hash::Sha512, _) => "SCRAM-SHA-512",
            Self::OauthBearer(_) => "OAUTHBEARER",
        }
    }
}

/// Authenticates; returns for how long, if the broker sets a limit.
pub(super) fn authenticate(connection: &mut Connection, sasl: &Sasl) -> Result<Option<Duration>> {
    let request =
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(sasl.mechanism()));
    let answer: SaslHandshakeResponse = connection.call(&request, HANDSHAKE_VERSION)?;
    if answer.error_code != 0 {
        let offered: Vec<&str> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
        return Err(ConnectionFailure::refusal(format!(
            "{}: the broker takes {}, not {}",
            errors::name(answer.error_code),
            offered.join(", "),
            sasl.mechanism()
        )));
    }
    let last = match sasl {
        Sasl::Plain(login) => {
            let message = format!("\0{}\0{}", login.username, login.password);
            exchange(connection, message.into_bytes())?
        }
        Sasl::Scram(hash, login) => scram(connection, *hash, login)?,
        Sasl::OauthBearer(identity) => oauth_bearer(connection, identity)?,
    };
    let lifetime = u64::try_from(last.session_lifetime_ms).unwrap_or(0);
    Ok((lifetime > 0).then(|| Duration::from_millis(lifetime)))
}

/// Sends one message of a mechanism and returns the broker's.
fn exchange(connection: &mut Connection, message: Vec<u8>) -> Result<SaslAuthenticateResponse> {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
    let answer: SaslAuthenticateResponse = connection.call(&request, AUTHENTICATE_VERSION)?;
    if answer.error_code == 0 {
        return Ok(answer);
    }
    let why = answer
        .error_message
        .as_ref()
        .map_or_else(String::new, |why| format!(": {}", why.as_str()));
    Err(ConnectionFailure::refusal(format!(
        "{}{why}",
        errors::name(answer.error_code)
    )))
}

fn scram(
    connection: &mut Connection,
    hash: Hash,
    login: &Login,
) -> Result<SaslAuthenticateResponse> {
    let begun = Exchange::begin(hash, &login.username);
    let first = exchange(connection, begun.first_message().into_bytes())?;
    let (proof, expected) = begun
        .prove(&login.password, &first.auth_bytes)
        .map_err(ConnectionFailure::refusal)?;
    let last = exchange(connection, proof.into_bytes())?;
    // The broker has to know the password, too.
    expected
        .check(&last.auth_bytes)
        .map_err(ConnectionFailure::refusal)?;
    Ok(last)
}

fn oauth_bearer(
    connection: &mut Connection,
    identity: &Identity,
) -> Result<SaslAuthenticateResponse> {
    let token = identity
        .oauth_token()
        .map_err(|error| ConnectionFailure::protocol(error.to_string()))?;
    let message = format!("n,,\x01auth=Bearer {}\x01\x01", token.token);
    let answer = exchange(connection, message.into_bytes())?;
    if answer.auth_bytes.is_empty() {
        return Ok(answer);
    }
    // The broker says why it refuses, and fails the exchange once that is acknowledged.
    let why = String::from_utf8_lossy(&answer.auth_bytes).into_owned();
    match exchange(connection, vec![1]) {
        Err(failure) => Err(failure.during(&why)),
        Ok(_) => Err(ConnectionFailure::refusal(why)),
    }
}
