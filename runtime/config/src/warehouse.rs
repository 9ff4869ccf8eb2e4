//! The section `[warehouse]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::rules::Micros;

use super::Config;
use super::check::{Faults, HTTP_FORM, HTTP_SCHEMES, Table};
use super::path::ConfigPath;
use super::redact;
use super::reference::Span;

/// What the first part of a `redshift://` URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarehouseKind {
    /// A workgroup of Redshift Serverless.
    #[default]
    Serverless,
    /// A provisioned cluster.
    Provisioned,
}

/// Where the warehouse is, and how to reach it.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WarehouseConfig {
    /// `redshift://workgroup-or-cluster/database`. Absent: embedded, in the data directory.
    #[serde(serialize_with = "redact::url")]
    pub url: Option<String>,
    /// Whether the lake is loaded into a warehouse. Files that are not loaded are, once this is on
    /// again.
    pub enabled: bool,
    /// `serverless`: the URL names a workgroup; `provisioned`: a cluster.
    pub kind: WarehouseKind,
    /// Database user, for a provisioned cluster. Absent: the user that belongs to the IAM identity.
    pub db_user: Option<String>,
    /// ARN or name of a secret with user and password. Absent: temporary credentials of the IAM
    /// identity.
    pub secret_arn: Option<String>,
    /// ARN of the role with which COPY reads the lake, or `default`: the one attached to the
    /// warehouse.
    pub iam_role: String,
    /// Schema of all tables and views: lower-case letters, digits and underscores.
    pub schema: String,
    /// Address of something else that speaks the Data API. Absent: `AWS_ENDPOINT_URL_REDSHIFT_DATA`
    /// or `AWS_ENDPOINT_URL`, else AWS.
    #[serde(serialize_with = "redact::url")]
    pub endpoint: Option<String>,
    /// File with an AWS access key, in the form of `~/.aws/credentials`; its profile is
    /// AWS_PROFILE's, else `default`. Absent: the SDK looks where it always does: variables,
    /// profile, container or instance role.
    pub credentials_file: Option<ConfigPath>,
    /// Region. Absent: as the AWS SDK finds it (`AWS_REGION`, profile, instance), else `us-east-1`.
    pub region: Option<String>,
    /// A load or query that takes longer is left to itself, and asked for again later.
    #[schemars(with = "Span")]
    pub statement_timeout: Micros,
    /// One request is given up after this long.
    #[schemars(with = "Span")]
    pub request_timeout: Micros,
    /// A statement is asked for the first time after this long.
    #[schemars(with = "Span")]
    pub poll_first: Micros,
    /// Shortest time between two questions for one statement.
    #[schemars(with = "Span")]
    pub poll_min: Micros,
    /// Longest time between two questions for one statement.
    #[schemars(with = "Span")]
    pub poll_max: Micros,
}

impl Default for WarehouseConfig {
    fn default() -> Self {
        let millis = |millis: i64| Micros(millis * 1000);
        Self {
            url: None,
            enabled: true,
            kind: WarehouseKind::Serverless,
            db_user: None,
            secret_arn: None,
            iam_role: "default".to_owned(),
            schema: "public".to_owned(),
            endpoint: None,
            credentials_file: None,
            region: None,
            statement_timeout: millis(15 * 60_000),
            request_timeout: millis(20_000),
            poll_first: millis(50),
            poll_min: millis(250),
            poll_max: millis(5000),
        }
    }
}

/// Longest name in Redshift, bytes.
const NAME_BYTES_MAX: usize = 127;

impl WarehouseConfig {
    /// Refuses a schema that is not called in the catalog as it is here: Redshift makes lower-case
    /// letters of all, of quoted names too, and no table would be found again.
    ///
    /// # Errors
    /// Names the setting and what it may be.
    pub fn check_schema(&self) -> Result<(), String> {
        let name = &self.schema;
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let first = |byte: &u8| !byte.is_ascii_digit();
        if name.len() <= NAME_BYTES_MAX
            && name.bytes().all(good)
            && name.as_bytes().first().is_some_and(first)
            && !name.starts_with("pg_")
        {
            return Ok(());
        }
        Err(format!(
            "[warehouse] schema {name:?}: lower-case letters, digits and underscores only, at most {NAME_BYTES_MAX}, not beginning with a digit or pg_"
        ))
    }
}

impl Table for WarehouseConfig {
    fn check(&self, config: &Config, faults: &mut Faults) {
        let lake = &config.lake;
        if !lake.enabled || !self.enabled {
            return;
        }
        faults.url(
            "[warehouse] url",
            self.url.as_deref(),
            &["redshift://"],
            "redshift://workgroup-or-cluster/database; for the embedded warehouse leave it out",
        );
        faults.url(
            "[warehouse] endpoint",
            self.endpoint.as_deref(),
            HTTP_SCHEMES,
            HTTP_FORM,
        );
        if self.url.is_none() {
            return;
        }
        faults.unless(lake.url.is_some(), || {
            "warehouse.url: Redshift loads from S3 only: set lake.url to s3://bucket/prefix, or leave warehouse.url out".to_owned()
        });
        faults.take(self.check_schema());
        for (key, span) in [
            ("[warehouse] statement_timeout", self.statement_timeout),
            ("[warehouse] request_timeout", self.request_timeout),
            ("[warehouse] poll_first", self.poll_first),
            ("[warehouse] poll_min", self.poll_min),
            ("[warehouse] poll_max", self.poll_max),
        ] {
            faults.span(key, span);
        }
        faults.unless(self.poll_min <= self.poll_max, || {
            format!(
                "[warehouse] poll_min: {} is longer than poll_max, {}",
                self.poll_min, self.poll_max
            )
        });
        faults.unless(!self.iam_role.is_empty(), || {
            "[warehouse] iam_role: an ARN is needed, or \"default\"".to_owned()
        });
        faults.file(
            "[warehouse] credentials_file",
            self.credentials_file.as_ref(),
        );
    }
}

/// As it is printed: without secrets.
impl std::fmt::Debug for WarehouseConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        redact::debug("WarehouseConfig", self, formatter)
    }
}
