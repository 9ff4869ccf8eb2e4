//! The section `[lake]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::rules::Micros;

use super::Config;
use super::check::{Faults, HTTP_FORM, HTTP_SCHEMES, Table};
use super::path::ConfigPath;
use super::redact;
use super::reference::Span;

/// Smallest part of a multipart upload that S3 takes, the last one excepted.
pub const PART_BYTES_MIN: usize = 5 << 20;
/// Most parts of an upload that are on their way at once: each is in memory.
const PARTS_IN_FLIGHT_MAX: usize = 1024;

/// When requests carry checksums beside what the signature proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksums {
    /// Wherever the protocol has a place for them.
    #[default]
    WhenSupported,
    /// Only where the protocol demands them: for object stores that refuse or misread the others.
    WhenRequired,
}

/// Where the lake is, and how to reach it.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// `s3://bucket/prefix`. Absent: embedded, in the data directory.
    #[serde(serialize_with = "redact::url")]
    pub url: Option<String>,
    /// Whether there is a lake at all. Without one there is no warehouse either: it is loaded from
    /// the lake.
    pub enabled: bool,
    /// Address of an object store that speaks S3, such as `http://127.0.0.1:9000`. Absent:
    /// `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, else AWS.
    #[serde(serialize_with = "redact::url")]
    pub endpoint: Option<String>,
    /// File with an AWS access key, in the form of `~/.aws/credentials`; its profile is
    /// AWS_PROFILE's, else `default`. Absent: the SDK looks where it always does: variables,
    /// profile, container or instance role.
    pub credentials_file: Option<ConfigPath>,
    /// Region of the bucket. Absent: as the AWS SDK finds it (`AWS_REGION`, profile, instance),
    /// else `us-east-1`.
    pub region: Option<String>,
    /// The bucket goes into the path and not into the host name, as most other object stores want
    /// it.
    pub path_style: bool,
    /// `when_supported`, or `when_required` for object stores that cannot read checksums in
    /// headers.
    pub checksums: Checksums,
    /// Length of an upload's parts, bytes; at least 5 MiB. A file has at most 10,000.
    pub part_bytes: usize,
    /// Parts that are on their way at once, of all files of the process: together with `part_bytes`
    /// it bounds memory.
    pub parts_in_flight: usize,
    /// One request is given up and sent again after this long.
    #[schemars(with = "Span")]
    pub attempt_timeout: Micros,
    /// A request and its repetitions, three attempts at most, are given up after this long; what
    /// failed is then begun anew.
    #[schemars(with = "Span")]
    pub operation_timeout: Micros,
    /// A body that moves no byte for this long counts as stalled. The SDK's own 5 s fail uploads on
    /// busy hosts.
    #[schemars(with = "Span")]
    pub stall_grace: Micros,
}

impl Default for LakeConfig {
    fn default() -> Self {
        let seconds = |seconds: i64| Micros(seconds * 1_000_000);
        Self {
            url: None,
            enabled: true,
            endpoint: None,
            credentials_file: None,
            region: None,
            path_style: false,
            checksums: Checksums::WhenSupported,
            part_bytes: 8 << 20,
            parts_in_flight: 4,
            attempt_timeout: seconds(20),
            operation_timeout: seconds(60),
            stall_grace: seconds(20),
        }
    }
}

impl Table for LakeConfig {
    fn check(&self, _config: &Config, faults: &mut Faults) {
        if self.enabled {
            faults.url(
                "[lake] url",
                self.url.as_deref(),
                &["s3://"],
                "s3://bucket/prefix; for the embedded lake leave it out",
            );
            faults.url(
                "[lake] endpoint",
                self.endpoint.as_deref(),
                HTTP_SCHEMES,
                HTTP_FORM,
            );
        }
        if self.enabled && self.url.is_some() {
            faults.unless(self.part_bytes >= PART_BYTES_MIN, || {
                format!(
                    "[lake] part_bytes: {} is less than the {PART_BYTES_MIN} that S3 takes",
                    self.part_bytes
                )
            });
            let parts = 1..=PARTS_IN_FLIGHT_MAX;
            faults.unless(parts.contains(&self.parts_in_flight), || {
                format!(
                    "[lake] parts_in_flight: {} is not within 1 to {PARTS_IN_FLIGHT_MAX}",
                    self.parts_in_flight
                )
            });
            for (key, span) in [
                ("[lake] attempt_timeout", self.attempt_timeout),
                ("[lake] operation_timeout", self.operation_timeout),
                ("[lake] stall_grace", self.stall_grace),
            ] {
                faults.span(key, span);
            }
            faults.file("[lake] credentials_file", self.credentials_file.as_ref());
        }
    }
}

/// As it is printed: without secrets.
impl std::fmt::Debug for LakeConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        redact::debug("LakeConfig", self, formatter)
    }
}
