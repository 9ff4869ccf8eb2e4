//! A bucket as an operator sees it: where it is, whether it can be listed and, if that is wanted,
//! written.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use theatre_actors::ports::Result;
use theatre_actors::time::{Clock, LogTime};

use super::connect;
use theatre_config::lake::LakeConfig;
use theatre_system::blocking::IoRuntime;

/// What was seen of a bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// URL and endpoint.
    pub place: String,
    /// Region that the requests are signed for.
    pub region: String,
    /// The `Date` of an answer, as HTTP writes it.
    pub date: Option<String>,
    /// When that was asked, by this machine's clock.
    pub asked: LogTime,
    /// When the answer was there, by this machine's clock.
    pub answered: LogTime,
    /// Whether the lake's part of the bucket could be listed.
    pub listed: Result<()>,
    /// Whether an object could be written, read and deleted there; none if that was not wanted.
    pub written: Option<Result<()>>,
}

/// Asks for the bucket of `s3://bucket/prefix`, with the credentials that the SDK finds; with
/// `write` it also writes a small object below the prefix, reads it and deletes it.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used, or why the bucket cannot be asked for.
pub fn inspect(
    url: &str,
    config: &LakeConfig,
    io: &IoRuntime,
    clock: &dyn Clock,
    write: bool,
) -> Result<Inspection> {
    io.block_on(Box::pin(async {
        let bucket = connect::connect(url, config, None).await?;
        let date = ServerDate::default();
        let asked = clock.now();
        connect::check_with(&bucket, date.clone()).await?;
        let answered = clock.now();
        let region = bucket.client.config().region().map(ToString::to_string);
        Ok(Inspection {
            place: bucket.display_name.clone(),
            region: region.unwrap_or_default(),
            date: date.take(),
            asked,
            answered,
            listed: bucket.try_listing().await,
            written: if write {
                Some(bucket.try_writing(asked.0).await)
            } else {
                None
            },
        })
    }))
}

/// Notes the `Date` header of the last answer.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerDate(Arc<Mutex<Option<String>>>);

impl ServerDate {
    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Intercept for ServerDate {
    fn name(&self) -> &'static str {
        "ServerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}
