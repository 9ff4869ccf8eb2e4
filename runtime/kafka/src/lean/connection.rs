//! A connection to one broker: versions, authentication, requests and their answers. One request is
//! under way at a time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::errors;
use super::frame::{Frame, ReadAhead};
use super::sasl;
use super::settings::Settings;
use super::transport::{Address, ConnectionFailure, Result, Transport};

/// Version of the Fetch request: with topics by name (every broker since Kafka 2.7 has it) and with
/// the end of a diverging epoch in the answer.
pub(super) const FETCH_VERSION: i16 = 12;
/// Versions of the Metadata request: brokers that have [`FETCH_VERSION`] have the first; from 10 on
/// topics have ids.
const METADATA_VERSIONS: std::ops::RangeInclusive<i16> = 9..=12;
const API_VERSIONS_VERSION: i16 = 3;
/// Most bytes of an answer that is decoded as a whole.
const ANSWER_MAX: usize = 32 << 20;
/// Most bytes of an answer with records.
const FETCH_ANSWER_MAX: usize = 1 << 30;

/// A connection that lets requests through.
pub(super) struct Connection {
    address: Address,
    transport: Transport,
    ahead: ReadAhead,
    client_id: StrBytes,
    metadata_version: i16,
    request_timeout: Duration,
    correlation: i32,
    /// When the broker wants to be shown anew who this client is.
    authenticate_at: Option<Instant>,
    outgoing: Vec<u8>,
}

impl Connection {
    /// Connects, checks that the broker has the versions that are needed, and authenticates.
    pub(super) fn open(
        address: &Address,
        settings: &Settings,
        ended: Arc<AtomicBool>,
    ) -> Result<Self> {
        let mut connection = Self {
            address: address.clone(),
            transport: Transport::connect(address, settings, ended)?,
            ahead: ReadAhead::default(),
            client_id: StrBytes::from_string(settings.client_id.clone()),
            metadata_version: *METADATA_VERSIONS.start(),
            request_timeout: settings.request_timeout,
            correlation: 0,
            authenticate_at: None,
            outgoing: Vec::new(),
        };
        connection.check_versions()?;
        connection.authenticate(settings)?;
        Ok(connection)
    }

    /// Where it goes to.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The version of the Metadata request that this broker knows.
    pub(super) fn metadata_version(&self) -> i16 {
        self.metadata_version
    }

    /// The requests that the broker understands, and what it says of its features.
    pub(super) fn versions(&mut self) -> Result<ApiVersionsResponse> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("theatre"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let answer: ApiVersionsResponse = self
            .call(&request, API_VERSIONS_VERSION)
            .map_err(|failure| failure.during("asking for the broker's versions"))?;
        if answer.error_code != 0 && answer.error_code != errors::UNSUPPORTED_VERSION {
            return Err(ConnectionFailure::refusal(format!(
                "asking for the broker's versions: {}",
                errors::name(answer.error_code)
            )));
        }
        Ok(answer)
    }

    fn check_versions(&mut self) -> Result<()> {
        let answer = self.versions()?;
        let range = |key: ApiKey| {
            answer
                .api_keys
                .iter()
                .find(|found| found.api_key == key as i16)
                .map(|found| found.min_version..=found.max_version)
        };
        let metadata = range(ApiKey::Metadata)
            .map(|range| *range.end().min(METADATA_VERSIONS.end()))
            .filter(|version| METADATA_VERSIONS.contains(version));
        let has_fetch = range(ApiKey::Fetch).is_some_and(|range| range.contains(&FETCH_VERSION));
        if let (Some(metadata), true) = (metadata, has_fetch) {
            self.metadata_version = metadata;
            return Ok(());
        }
        Err(ConnectionFailure::refusal(
            "the broker is older than Kafka 2.7, or newer than this client knows; log.fetcher = \"librdkafka\" may read from it"
                .to_owned(),
        ))
    }

    fn authenticate(&mut self, settings: &Settings) -> Result<()> {
        let Some(sasl) = &settings.sasl else {
            return Ok(());
        };
        let lifetime =
            sasl::authenticate(self, sasl).map_err(|failure| failure.during("authenticating"))?;
        // With a tenth of the life left, as other clients do.
        self.authenticate_at = lifetime.map(|lifetime| Instant::now() + lifetime / 10 * 9);
        Ok(())
    }

    /// Authenticates anew if the session is about to end (KIP-368). Without it the broker would
    /// close the connection.
    pub(super) fn authenticate_if_due(&mut self, settings: &Settings) -> Result<()> {
        if self.authenticate_at.is_some_and(|at| Instant::now() >= at) {
            self.authenticate(settings)?;
        }
        Ok(())
    }

    /// Sends a request and waits for its answer.
    pub(super) fn call<Q: Request>(&mut self, request: &Q, version: i16) -> Result<Q::Response> {
        self.send(request, version)?;
        let (header_version, deadline) = (
            Q::Response::header_version(version),
            Instant::now() + self.request_timeout,
        );
        let frame = Frame::receive(&mut self.transport, &mut self.ahead, deadline, ANSWER_MAX)?;
        let mut answer = Bytes::from(frame.rest()?);
        let malformed =
            |error: String| ConnectionFailure::protocol(format!("an answer is malformed: {error}"));
        let header = ResponseHeader::decode(&mut answer, header_version)
            .map_err(|error| malformed(error.to_string()))?;
        check_correlation(header.correlation_id, self.correlation)?;
        // A broker that does not know the version answers in the oldest one.
        let is_version_refused = Q::KEY == ApiKey::ApiVersions as i16
            && answer.starts_with(&errors::UNSUPPORTED_VERSION.to_be_bytes());
        let version = if is_version_refused { 0 } else { version };
        Q::Response::decode(&mut answer, version).map_err(|error| malformed(error.to_string()))
    }

    /// Sends a request. Its answer is to be received before the next one is sent.
    pub(super) fn send<Q: Request>(&mut self, request: &Q, version: i16) -> Result<()> {
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        let header = RequestHeader::default()
            .with_request_api_key(Q::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(self.client_id.clone()));
        self.outgoing.clear();
        self.outgoing.extend_from_slice(&[0; 4]);
        header
            .encode(&mut self.outgoing, Q::header_version(version))
            .and_then(|()| request.encode(&mut self.outgoing, version))
            .map_err(|error| ConnectionFailure::protocol(error.to_string()))?;
        let size = (self.outgoing.len() - 4) as u32;
        self.outgoing[..4].copy_from_slice(&size.to_be_bytes());
        self.transport.write(&self.outgoing)
    }

    /// Waits for the answer to a Fetch request, which the broker may keep for as long as `wait`,
    /// and gives its body to `read`.
    pub(super) fn receive_fetch<T>(
        &mut self,
        wait: Duration,
        read: impl FnOnce(&mut Frame<'_>) -> Result<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + wait + self.request_timeout;
        let mut frame = Frame::receive(
            &mut self.transport,
            &mut self.ahead,
            deadline,
            FETCH_ANSWER_MAX,
        )?;
        check_correlation(frame.i32()?, self.correlation)?;
        frame.skip_tags()?;
        read(&mut frame)
    }
}

fn check_correlation(found: i32, wanted: i32) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(ConnectionFailure::protocol(format!(
        "an answer to request {found}, where that to {wanted} was due"
    )))
}
