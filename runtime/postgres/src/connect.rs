//! From URL and configuration to a connection: address, TLS, password or token, and the settings of
//! its session.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use theatre_actors::ports::{Error, Result};
use theatre_actors::rules::Micros;
use tokio::time::timeout;

use super::failure::{Failure, WHAT};
use super::iam::{Subject, Tokens};
use theatre_config::redacted;
use theatre_config::store::{SslMode, StoreAuth, StoreConfig};

/// So long a server that let us in may refuse to before that is taken for its last word.
const AUTH_GRACE_PERIOD: Duration = Duration::from_secs(600);

/// Where the server is, and how to come in.
#[derive(Debug)]
pub(super) struct Server {
    options: PgConnectOptions,
    secret: Secret,
    /// Host, port and database, for errors.
    pub(super) place: String,
    /// What each session sets first.
    settings: String,
    connect_timeout: Duration,
    auth: Mutex<AuthState>,
}

/// Whether the server lets the process in.
#[derive(Debug, Default)]
enum AuthState {
    /// No server has let the process in or refused it yet.
    #[default]
    Unknown,
    Open,
    /// The server let the process in once, and refuses it since.
    ClosedSince(Instant),
}

/// Where the password comes from.
#[derive(Debug)]
enum Secret {
    /// The URL, the environment, or none is asked for.
    Given,
    File(std::path::PathBuf),
    Token(tokio::sync::Mutex<Tokens>),
}

impl Server {
    pub(super) async fn of(url: &str, config: &StoreConfig) -> Result<Self> {
        let options = options(url, config)?;
        let place = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        let secret = match (config.auth, &config.password_file) {
            (StoreAuth::RdsIam, _) => {
                let subject = Subject {
                    host: options.get_host().to_owned(),
                    port: options.get_port(),
                    user: options.get_username().to_owned(),
                };
                Secret::Token(tokio::sync::Mutex::new(
                    Tokens::find(subject, config.region.clone()).await?,
                ))
            }
            (StoreAuth::Password, Some(path)) => Secret::File(path.to_path_buf()),
            (StoreAuth::Password, None) => Secret::Given,
        };
        Ok(Self {
            options,
            secret,
            place,
            settings: settings(config),
            connect_timeout: duration(config.connect_timeout),
            auth: Mutex::default(),
        })
    }

    /// How to connect now, and whether that has changed since it was asked last.
    pub(super) async fn options(&self) -> Result<(PgConnectOptions, bool)> {
        let (password, is_new) = match &self.secret {
            Secret::Given => return Ok((self.options.clone(), false)),
            Secret::File(path) => {
                let unreadable = |error| {
                    self.in_passing(Error::Refused(format!(
                        "[store] password_file {}: {error}",
                        path.display()
                    )))
                };
                let text = std::fs::read_to_string(path).map_err(unreadable)?;
                (text.lines().next().unwrap_or_default().to_owned(), true)
            }
            Secret::Token(tokens) => tokens.lock().await.current().await?,
        };
        Ok((self.options.clone().password(&password), is_new))
    }

    /// A new connection, its session set up.
    pub(super) async fn connect(&self) -> Result<PgConnection> {
        let (options, _) = self.options().await?;
        let connected = timeout(self.connect_timeout, async {
            let mut connection = PgConnection::connect_with(&options).await?;
            self.set_up(&mut connection).await?;
            Ok(connection)
        });
        match connected.await {
            Ok(connected) => {
                connected.map_err(|error: sqlx::Error| self.error(Failure::Sql(error)))
            }
            Err(_) => Err(Error::Unavailable {
                what: WHAT,
                why: format!(
                    "{}: no answer within {:?}",
                    self.place, self.connect_timeout
                ),
            }),
        }
    }

    /// Sets what every session of the store needs, whatever the defaults of server, database and
    /// user are.
    pub(super) async fn set_up(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(self.settings.clone()))
            .execute(connection)
            .await?;
        *self.auth.lock().unwrap_or_else(PoisonError::into_inner) = AuthState::Open;
        Ok(())
    }

    /// For the caller of the port.
    pub(super) fn error(&self, failure: Failure) -> Error {
        let at_the_door = failure.is_at_the_door();
        let error = failure.into_error(&self.place);
        if at_the_door {
            self.in_passing(error)
        } else {
            error
        }
    }

    /// What would be refused for good at a first connection may pass where others went well: a
    /// password changes in the server and in the file at two moments. It is tried again for a
    /// while, and readiness says why.
    fn in_passing(&self, error: Error) -> Error {
        let mut auth = self.auth.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*auth, AuthState::Open) {
            *auth = AuthState::ClosedSince(Instant::now());
        }
        match (error, &*auth) {
            (Error::Refused(why), AuthState::ClosedSince(since))
                if since.elapsed() < AUTH_GRACE_PERIOD =>
            {
                Error::Unavailable { what: WHAT, why }
            }
            (error, _) => error,
        }
    }
}

/// The settings of a session. Statements, not parameters of the connection: proxies pass those on.
fn settings(config: &StoreConfig) -> String {
    let milliseconds = |span: Micros| duration(span).as_millis().max(1);
    // Durable: publishers rely on what is committed. A transaction whose client fell silent ends by
    // itself, or it would hold its partitions' rows against the next owner. The schema is a checked
    // name.
    format!(
        "SET synchronous_commit = on; SET search_path = \"{}\"; SET statement_timeout = {statement}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = {statement}; SET default_transaction_isolation = 'read committed'",
        config.schema,
        milliseconds(config.lock_timeout),
        statement = milliseconds(config.statement_timeout),
    )
}

fn options(url: &str, config: &StoreConfig) -> Result<PgConnectOptions> {
    let refused = |why: String| Error::Refused(format!("[store] {why}"));
    check_schema_name(&config.schema)?;
    if config.pool == 0 {
        return Err(refused("pool is 0: at least 1 is needed".to_owned()));
    }
    let not_a_url = |why: &dyn std::fmt::Display| {
        refused(format!(
            "url {} is not postgres://user@host:port/database: {why}",
            redacted(url)
        ))
    };
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        // Without a scheme it is unknown where a password is in it: nothing of it is printed.
        return Err(refused(
            "url does not begin with postgres:// (postgres://user@host:port/database)".to_owned(),
        ));
    }
    let mut options = PgConnectOptions::from_str(url)
        .map_err(|error| not_a_url(&error))?
        .application_name("theatre");
    if options.get_database().is_none() {
        return Err(not_a_url(&"it names no database"));
    }
    if config.auth == StoreAuth::RdsIam {
        if !matches!(config.sslmode, None | Some(SslMode::VerifyFull)) {
            return Err(refused("auth = \"rds_iam\" demands sslmode = \"verify-full\": a token must reach the database only".to_owned()));
        }
        options = options.ssl_mode(PgSslMode::VerifyFull);
    } else if let Some(mode) = config.sslmode {
        options = options.ssl_mode(match mode {
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Prefer => PgSslMode::Prefer,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        });
    }
    if let Some(path) = &config.ca_file {
        let bundle = std::fs::read(path)
            .map_err(|error| refused(format!("ca_file {}: {error}", path.display())))?;
        // Without one every server would be unknown, and this file would not be read.
        if !CertificateDer::pem_slice_iter(&bundle).any(|certificate| certificate.is_ok()) {
            return Err(refused(format!(
                "ca_file {}: there is no certificate in it, in PEM",
                path.display()
            )));
        }
        options = options.ssl_root_cert_from_pem(bundle);
    }
    Ok(options)
}

/// The name becomes part of statements: no parameter can stand there.
fn check_schema_name(name: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(good)
        && !name.starts_with("pg_")
        && !name.starts_with(|first: char| first.is_ascii_digit())
    {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "[store] schema {name:?}: lower-case letters, digits and underscores only, at most 63, not beginning with a digit or pg_"
    )))
}

pub(super) fn duration(span: Micros) -> Duration {
    Duration::from_micros(span.0.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, config: &StoreConfig) -> String {
        options(url, config).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_password() {
        let config = StoreConfig::default();
        for url in [
            "mysql://u:hush@h/d",
            "postgres://u:hush@h:port/d",
            "postgres://u:hush@h:5432",
            "u:hush@h/d",
        ] {
            let why = refused(url, &config);
            assert!(
                why.contains("[store]")
                    && why.contains("postgres://user@host")
                    && !why.contains("hush"),
                "{why}"
            );
        }
        for schema in ["", "Theatre", "a\"; DROP SCHEMA x; --", "pg_x", "1a"] {
            let config = StoreConfig {
                schema: schema.to_owned(),
                ..StoreConfig::default()
            };
            assert!(
                refused("postgres://u@h/d", &config).contains("schema"),
                "{schema}"
            );
        }
        assert!(
            refused(
                "postgres://u@h/d",
                &StoreConfig {
                    pool: 0,
                    ..StoreConfig::default()
                }
            )
            .contains("pool")
        );
        assert!(
            refused(
                "postgres://u@h/d",
                &StoreConfig {
                    ca_file: Some("nowhere.pem".into()),
                    ..StoreConfig::default()
                }
            )
            .contains("nowhere.pem")
        );
        let empty = tempfile::NamedTempFile::new().unwrap();
        let config = StoreConfig {
            ca_file: Some(empty.path().to_owned().into()),
            ..StoreConfig::default()
        };
        assert!(refused("postgres://u@h/d", &config).contains("no certificate"));
    }

    #[test]
    fn tokens_travel_over_verified_connections_only() {
        let with = |sslmode| StoreConfig {
            auth: StoreAuth::RdsIam,
            sslmode,
            ..StoreConfig::default()
        };
        assert!(refused("postgres://u@h/d", &with(Some(SslMode::Require))).contains("verify-full"));
        for url in ["postgres://u@h/d", "postgres://u@h/d?sslmode=disable"] {
            assert!(
                matches!(
                    options(url, &with(None)).unwrap().get_ssl_mode(),
                    PgSslMode::VerifyFull
                ),
                "{url}"
            );
        }
    }
}
