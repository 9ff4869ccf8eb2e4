//! The section `[store]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::rules::Micros;

use super::Config;
use super::check::{Faults, Table};
use super::path::ConfigPath;
use super::redact;
use super::reference::Span;

/// How the connection is encrypted, and what is checked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Not at all.
    Disable,
    /// If the server can.
    Prefer,
    /// Always; the certificate is not checked.
    Require,
    /// Always; the certificate must come from a known authority.
    VerifyCa,
    /// Always; and it must be the certificate of that very host.
    VerifyFull,
}

/// How the server learns who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreAuth {
    /// By a password, or whatever else the server asks for.
    #[default]
    Password,
    /// By tokens of 15 minutes, signed with the AWS credentials of this process: for RDS and
    /// Aurora. Demands `verify-full`.
    RdsIam,
}

/// Which of the tables that people read are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeptTables {
    /// None; those that are there stay as they are.
    Off,
    /// All but `robot_windows`, the largest of them.
    WithoutWindows,
    /// All of them.
    #[default]
    All,
}

/// Where the store is, and how to reach it. The user needs `USAGE` on the schema and `SELECT`,
/// `INSERT`, `UPDATE`, `DELETE` on its tables; the one who runs `theatre migrate` owns them.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `postgres://user@host:port/database`, PostgreSQL 15 or newer. Absent: embedded, in the data
    /// directory.
    #[serde(serialize_with = "redact::url")]
    pub url: Option<String>,
    /// File whose first line is the password; it is read again at each connection, so that a
    /// changed one needs no restart. Absent: the URL's, else `PGPASSWORD`, else `~/.pgpass`.
    pub password_file: Option<ConfigPath>,
    /// `disable`, `prefer`, `require`, `verify-ca` or `verify-full`. Absent: the URL's `sslmode`,
    /// else `prefer`; with `auth = "rds_iam"` `verify-full`.
    pub sslmode: Option<SslMode>,
    /// PEM file of the authorities that may have signed the server's certificate, beside the public
    /// ones; for RDS its CA bundle.
    pub ca_file: Option<ConfigPath>,
    /// `password` or `rds_iam`.
    pub auth: StoreAuth,
    /// Region of the database, for `auth = "rds_iam"`. Absent: as the AWS SDK finds it.
    pub region: Option<String>,
    /// The schema in which all tables are: lower-case letters, digits and underscores.
    pub schema: String,
    /// Which tables for people to read are kept up to date in that schema: `off`,
    /// `without_windows` or `all`. The embedded store has none: its warehouse has them.
    pub tables: KeptTables,
    /// Connections for reading at most, beside the three for writing that each process keeps.
    pub pool: u32,
    /// A connection that is not there within this time is given up and tried again.
    #[schemars(with = "Span")]
    pub connect_timeout: Micros,
    /// A read waits this long for a connection of the pool; keep it below `save_interval`.
    #[schemars(with = "Span")]
    pub acquire_timeout: Micros,
    /// The server gives up a statement after this long, and a transaction that is silent for as
    /// long.
    #[schemars(with = "Span")]
    pub statement_timeout: Micros,
    /// The server gives up waiting for another process's transaction after this long.
    #[schemars(with = "Span")]
    pub lock_timeout: Micros,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let seconds = |seconds: i64| Micros(seconds * 1_000_000);
        Self {
            url: None,
            password_file: None,
            sslmode: None,
            ca_file: None,
            auth: StoreAuth::Password,
            region: None,
            schema: "theatre".to_owned(),
            tables: KeptTables::default(),
            pool: 8,
            connect_timeout: seconds(5),
            acquire_timeout: seconds(5),
            statement_timeout: seconds(30),
            lock_timeout: seconds(5),
        }
    }
}

impl Table for StoreConfig {
    fn check(&self, _config: &Config, faults: &mut Faults) {
        faults.url(
            "[store] url",
            self.url.as_deref(),
            &["postgres://", "postgresql://"],
            "postgres://user@host:port/database; for the embedded store leave it out",
        );
        if self.url.is_none() {
            return;
        }
        faults.unless(self.pool > 0, || {
            "[store] pool is 0: at least 1 is needed".to_owned()
        });
        for (key, span) in [
            ("[store] connect_timeout", self.connect_timeout),
            ("[store] acquire_timeout", self.acquire_timeout),
            ("[store] statement_timeout", self.statement_timeout),
            ("[store] lock_timeout", self.lock_timeout),
        ] {
            faults.span(key, span);
        }
        faults.file("[store] password_file", self.password_file.as_ref());
        faults.file("[store] ca_file", self.ca_file.as_ref());
    }
}

/// As it is printed: without the URL's password.
impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        redact::debug("StoreConfig", self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::StoreConfig;

    #[test]
    fn the_password_is_neither_printed_nor_written() {
        let config: StoreConfig = toml::from_str(
            "url = \"postgres://theatre:hush@db:5432/theatre\"\nsslmode = \"verify-full\"",
        )
        .unwrap();
        assert!(
            config
                .url
                .as_deref()
                .is_some_and(|url| url.contains("hush")),
            "it is used"
        );
        let (written, printed) = (toml::to_string(&config).unwrap(), format!("{config:?}"));
        assert!(
            written.contains("theatre:***@db:5432") && !written.contains("hush"),
            "{written}"
        );
        assert!(
            printed.contains("theatre:***@db:5432") && !printed.contains("hush"),
            "{printed}"
        );
    }
}
