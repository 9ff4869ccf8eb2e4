//! Failed requests in words, and which of them repeating can help.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use theatre_actors::ports::Error;
use theatre_aws::{causes, chain};

/// Codes of what no waiting mends: requests that S3 will never accept, and rights, keys, names and
/// regions that a person has to put right. Nothing is lost meanwhile, and it is tried again at long
/// pauses; but it counts as refused. All others are taken for passing.
const HOPELESS: [&str; 19] = [
    "InvalidRequest",
    "InvalidArgument",
    "InvalidPart",
    "InvalidPartOrder",
    "EntityTooSmall",
    "EntityTooLarge",
    "MalformedXML",
    "NotImplemented",
    "AccessDenied",
    "AllAccessDisabled",
    "AccountProblem",
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "KeyTooLongError",
    "MethodNotAllowed",
    "NoSuchBucket",
    "PermanentRedirect",
    "SignatureDoesNotMatch",
];

/// A failed request.
#[derive(Debug)]
pub(super) struct Fault {
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// S3's name for the failure.
    code: Option<String>,
    words: String,
    credentials: bool,
}

impl<E> From<SdkError<E, HttpResponse>> for Fault
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
        let code = meta.and_then(|meta| meta.code()).map(str::to_owned);
        let words = match (status, meta) {
            (Some(status), Some(meta)) => {
                let parts = [meta.code(), meta.message()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(": ");
                format!("answered {status} {parts}").trim_end().to_owned()
            }
            _ => chain(&error),
        };
        let credentials = causes(&error).any(|error| error.is::<CredentialsError>());
        Self {
            status,
            code,
            words,
            credentials,
        }
    }
}

impl Fault {
    /// True if S3 named the failure so.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// True if the request was not sent for want of credentials.
    pub(super) fn lacks_credentials(&self) -> bool {
        self.credentials
    }

    /// For the caller of the port; `what` names the component and the call.
    pub(super) fn into_error(self, what: &'static str) -> Error {
        match &self.code {
            Some(code) if HOPELESS.contains(&code.as_str()) => {
                Error::Refused(format!("{what}: S3 {}", self.words))
            }
            _ => Error::Unavailable {
                what,
                why: self.words,
            },
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.words)
    }
}
