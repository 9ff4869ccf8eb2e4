//! From URL and configuration to a client, and whether the bucket can be used.

use std::time::Duration;

use aws_config::meta::region::RegionProviderChain;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::config::ResponseChecksumValidation;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use theatre_actors::ports::{Error, Result};
use theatre_actors::rules::Micros;

use super::bucket::Bucket;
use super::fault::Fault;
use super::inspect::ServerDate;
use theatre_aws::identified;
use theatre_config::lake::{Checksums, LakeConfig, PART_BYTES_MIN};
use theatre_config::redacted;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 3;
/// Where a bucket is whose region nothing names.
const DEFAULT_REGION: &str = "us-east-1";

/// The bucket at `url`; nothing is asked of it yet.
pub(super) async fn connect(
    url: &str,
    config: &LakeConfig,
    credentials: Option<Credentials>,
) -> Result<Bucket> {
    let (name, prefix) = place(url)?;
    if config.part_bytes < PART_BYTES_MIN {
        return Err(Error::Refused(format!(
            "[lake] part_bytes is {}: S3 takes no parts below {PART_BYTES_MIN} bytes",
            config.part_bytes
        )));
    }
    if config.parts_in_flight == 0 {
        return Err(Error::Refused(
            "[lake] parts_in_flight is 0: at least 1 is needed".to_owned(),
        ));
    }
    let client = client(config, credentials).await?;
    let at = config
        .endpoint
        .as_ref()
        .map(|endpoint| format!(" at {}", redacted(endpoint)))
        .unwrap_or_default();
    Ok(Bucket {
        client,
        name: name.to_owned(),
        prefix,
        checksums: config.checksums == Checksums::WhenSupported,
        display_name: format!("{url}{at}"),
    })
}

/// Asks for the bucket: `Refused` says what it or the credentials lack.
pub(super) async fn check(bucket: &Bucket) -> Result<()> {
    check_with(bucket, ServerDate::default()).await
}

/// Checks the bucket, and hands the date of the answer to `date`.
pub(super) async fn check_with(bucket: &Bucket, date: ServerDate) -> Result<()> {
    let request = bucket.client.head_bucket().bucket(&bucket.name);
    let seen = Box::pin(request.customize().interceptor(date).send()).await;
    seen.map(drop).map_err(|error| {
        let region = error
            .raw_response()
            .and_then(|raw| raw.headers().get("x-amz-bucket-region"))
            .map(str::to_owned);
        unusable(&bucket.display_name, region, error.into())
    })
}

/// Creates the bucket if it is missing; false if it was there.
pub(super) async fn create(bucket: &Bucket) -> Result<bool> {
    let asked = Box::pin(bucket.client.head_bucket().bucket(&bucket.name).send()).await;
    match asked.map(drop).map_err(Fault::from) {
        Ok(()) => return Ok(false),
        Err(fault) if fault.status == Some(404) => {}
        Err(fault) => return Err(unusable(&bucket.display_name, None, fault)),
    }
    // S3 refuses the name of this one region as a place; all others have to be named.
    let region = bucket.client.config().region().map(AsRef::as_ref);
    let place = region
        .filter(|region| *region != DEFAULT_REGION)
        .map(|region| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(region))
                .build()
        });
    let request = bucket.client.create_bucket().bucket(&bucket.name);
    let created = Box::pin(request.set_create_bucket_configuration(place).send()).await;
    match created.map(drop).map_err(Fault::from) {
        Ok(()) => Ok(true),
        // Another process was faster.
        Err(fault) if fault.is("BucketAlreadyOwnedByYou") => Ok(false),
        Err(fault) => Err(fault.into_error("lake: creating the bucket")),
    }
}

/// Bucket and prefix of `s3://bucket/prefix`; the prefix is empty or ends with a slash.
fn place(url: &str) -> Result<(&str, String)> {
    // The URL is not shown: one of another form may hold a secret key.
    let other = || Error::Refused("[lake] url is not s3://bucket/prefix".to_owned());
    let rest = url.strip_prefix("s3://").ok_or_else(other)?;
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_matches('/');
    if name.is_empty() || rest.contains(['?', '#', '@']) {
        return Err(other());
    }
    Ok((
        name,
        if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        },
    ))
}

async fn client(config: &LakeConfig, credentials: Option<Credentials>) -> Result<Client> {
    let duration = |micros: Micros| Duration::from_micros(micros.0.unsigned_abs());
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(duration(config.attempt_timeout))
        .operation_timeout(duration(config.operation_timeout))
        .build();
    let stalls = StalledStreamProtectionConfig::enabled()
        .grace_period(duration(config.stall_grace))
        .build();
    // Other object stores that speak S3 take any region, so a missing one is no error.
    let region = RegionProviderChain::first_try(config.region.clone().map(Region::new))
        .or_default_provider()
        .or_else(DEFAULT_REGION);
    let (asked, answered) = match config.checksums {
        Checksums::WhenSupported => (
            RequestChecksumCalculation::WhenSupported,
            ResponseChecksumValidation::WhenSupported,
        ),
        Checksums::WhenRequired => (
            RequestChecksumCalculation::WhenRequired,
            ResponseChecksumValidation::WhenRequired,
        ),
    };
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .stalled_stream_protection(stalls)
        .request_checksum_calculation(asked)
        .response_checksum_validation(answered);
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let loader = identified(
        loader,
        "lake",
        credentials,
        config.credentials_file.as_deref(),
    )?;
    let shared = Box::pin(loader.load()).await;
    Ok(Client::from_conf(
        aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(config.path_style)
            .build(),
    ))
}

/// Why a bucket cannot be used, and what to do about it.
fn unusable(bucket: &str, region: Option<String>, fault: Fault) -> Error {
    let refused = |why: String| Error::Refused(format!("lake {bucket}: {why}"));
    match fault.status {
        Some(404) => refused("the bucket does not exist: create it, or correct [lake] url or endpoint".to_owned()),
        Some(403) => refused(
            "access is denied: the credentials must be allowed to s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload"
                .to_owned(),
        ),
        Some(301) => {
            let region = region.unwrap_or_else(|| "another region".to_owned());
            refused(format!("the bucket is in {region}: set [lake] region"))
        }
        _ if fault.lacks_credentials() => {
            refused(format!("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or give this process a role ({fault})"))
        }
        _ => Error::Unavailable { what: "lake", why: format!("{bucket}: {fault}") },
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_url_names_bucket_and_prefix() {
        let good = [
            ("s3://lake", "lake", ""),
            ("s3://lake/", "lake", ""),
            ("s3://lake/a/b/", "lake", "a/b/"),
        ];
        for (url, bucket, prefix) in good {
            assert_eq!(place(url), Ok((bucket, prefix.to_owned())), "{url}");
        }
        for url in [
            "lake",
            "s3://",
            "s3:///a",
            "https://lake.s3.amazonaws.com",
            "s3://key:secret@lake",
        ] {
            let refused = place(url).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
