//! AWS Glue's schema registry: `GetSchemaVersion`, a signed POST. Its own client crate takes
//! minutes to build, for this one call.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};
use theatre_actors::ports::{Error, Result, SchemaSource};
use theatre_actors::time::Clock;
use theatre_schemas::framing::SchemaId;
use ureq::Agent;

use super::http;
use theatre_config::redacted;
use theatre_system::blocking::IoRuntime;

const WHAT: &str = "AWS Glue";
const TARGET: &str = "AWSGlue.GetSchemaVersion";

/// A region's Glue.
pub struct GlueSource {
    agent: Agent,
    endpoint: String,
    region: String,
    registry: String,
    credentials: SharedCredentialsProvider,
    io: IoRuntime,
    clock: Arc<dyn Clock>,
}

impl GlueSource {
    /// Glue in `region`, or at another endpoint, with the credentials that AWS tools would find.
    /// `registry` is the one in which subjects are looked up.
    ///
    /// # Errors
    /// When there are no credentials to be had, or threads.
    pub fn find(
        region: &str,
        endpoint: Option<&str>,
        registry: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let io = IoRuntime::start()?;
        let found = io.block_on(aws_config::defaults(aws_config::BehaviorVersion::latest()).load());
        let credentials = found.credentials_provider().ok_or_else(|| {
            Error::Refused("AWS Glue: no source of AWS credentials is configured".to_owned())
        })?;
        Self::new(region, endpoint, registry, credentials, io, clock)
    }

    /// The same with given credentials.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(
        region: &str,
        endpoint: Option<&str>,
        registry: &str,
        credentials: SharedCredentialsProvider,
        io: IoRuntime,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let endpoint = endpoint.map_or_else(
            || format!("https://glue.{region}.amazonaws.com"),
            |url| url.trim_end_matches('/').to_owned(),
        );
        let agent = theatre_system::http::agent(&endpoint, None)?;
        Ok(Self {
            agent,
            endpoint: endpoint + "/",
            region: region.to_owned(),
            registry: registry.to_owned(),
            credentials,
            io,
            clock,
        })
    }

    fn request(&self, query: &Value) -> Result<Option<String>> {
        let unavailable = |why: String| Error::Unavailable { what: WHAT, why };
        let credentials = self.io.block_on(self.credentials.provide_credentials());
        let credentials =
            credentials.map_err(|error| unavailable(format!("no AWS credentials: {error}")))?;
        let body = query.to_string();
        let fixed = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", TARGET),
        ];
        let signature = self
            .sign(credentials, &fixed, body.as_bytes())
            .map_err(unavailable)?;
        let mut request = self.agent.post(&self.endpoint);
        for (name, value) in fixed.into_iter().chain(
            signature
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        ) {
            request = request.header(name, value);
        }
        let (status, answer) = http::answer(WHAT, &self.endpoint, request.send(body.as_bytes()))?;
        let kind = answer["__type"].as_str().unwrap_or_default();
        match (status, answer["SchemaDefinition"].as_str()) {
            (200, Some(schema)) => Ok(Some(schema.to_owned())),
            (400, _) if kind.ends_with("EntityNotFoundException") => Ok(None),
            _ => {
                let message = answer["Message"]
                    .as_str()
                    .or_else(|| answer["message"].as_str())
                    .unwrap_or_default();
                Err(unavailable(redacted(&format!(
                    "{} answered {status} {kind} {message}",
                    self.endpoint
                ))))
            }
        }
    }

    /// The headers that sign a request.
    fn sign(
        &self,
        credentials: Credentials,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::result::Result<Vec<(String, String)>, String> {
        let identity = credentials.into();
        let time = UNIX_EPOCH + Duration::from_micros(self.clock.now().0.unsigned_abs());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("glue")
            .time(time)
            .settings(SigningSettings::default());
        let params = params.build().map_err(|error| error.to_string())?.into();
        let request = SignableRequest::new(
            "POST",
            self.endpoint.as_str(),
            headers.iter().copied(),
            SignableBody::Bytes(body),
        );
        let (signed, _) = sign(request.map_err(|error| error.to_string())?, &params)
            .map_err(|error| error.to_string())?
            .into_parts();
        Ok(signed
            .headers()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }
}

impl SchemaSource for GlueSource {
    fn fetch(&self, id: SchemaId) -> Result<Option<String>> {
        match id {
            SchemaId::Glue(_) => self.request(&json!({"SchemaVersionId": id.to_string()})),
            SchemaId::Confluent(_) => Ok(None),
        }
    }

    fn latest(&self, subject: &str) -> Result<Option<String>> {
        self.request(&json!({
            "SchemaId": {"RegistryName": self.registry, "SchemaName": subject},
            "SchemaVersionNumber": {"LatestVersion": true}
        }))
    }
}
