//! The context of a client of librdkafka: who the client is, where its log goes, and where its
//! brokers are. librdkafka calls it back, mostly from the thread that polls the client.

use std::error::Error as StdError;

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext};

use super::brokers::Brokers;
use super::client::Base;
use super::diagnostics::Diagnostics;
use super::identity::Identity;

/// What every client that lives longer than one request has, and what its role adds to that.
pub(super) struct Context<R> {
    pub(super) identity: Identity,
    pub(super) diagnostics: Diagnostics,
    pub(super) brokers: Brokers,
    pub(super) role: R,
}

impl<R> Context<R> {
    /// For a client of these settings.
    pub(super) fn new(base: &Base, settings: &ClientConfig, role: R) -> Self {
        Self {
            identity: base.identity.clone(),
            diagnostics: base.diagnostics.clone(),
            brokers: Brokers::of(settings),
            role,
        }
    }
}

impl<R: Send + Sync + 'static> ClientContext for Context<R> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.diagnostics.record_log_line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.brokers.on_error(&error);
        self.diagnostics.log_error(&error, reason);
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> std::result::Result<OAuthToken, Box<dyn StdError>> {
        self.identity.oauth_token()
    }
}

/// The role of a consumer that is in no group and wants no callback.
pub(super) struct Plain;

impl ConsumerContext for Context<Plain> {}
