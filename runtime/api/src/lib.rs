//! The HTTP interface: records come in, and what a deployment knows goes out, to programs and to the
//! page that is served beside them.
//!
//! Data flows one way. [`server`] listens; [`access`] says who a caller is and what the table of
//! [`routes`] lets it do; a handler reads the ports through `theatre-queries` and answers in the
//! forms of [`model`], or with a [`problem`]. [`ingest`] encodes records and appends them to the log;
//! [`events`] hands committed outputs to those who listen. Nothing here knows of the pipeline: every
//! answer comes from the store, so any process answers for all partitions.

mod access;
pub mod actions;
mod body;
mod cursor;
#[cfg(test)]
mod deployed;
mod events;
mod handlers;
mod hosts;
mod ingest;
mod keyed;
mod letters;
mod limits;
mod model;
mod observed;
mod oidc;
mod openapi;
mod page;
mod permits;
mod problem;
mod quota;
mod reports;
mod routes;
mod rows;
pub mod rule_changes;
mod server;
mod snapshot;
mod sockets;
mod standing;
mod tags;
mod tls;
mod tokens;
mod wished;

use std::collections::BTreeMap;
use std::sync::Arc;

use theatre_actors::ports::{AccessStore, CheckpointStore, EventLog, Lake, Role};
use theatre_actors::rules::RuleSpec;
use theatre_actors::time::Clock;
use theatre_actors::window::WindowPlan;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::Registry;

pub use body::Pace;
pub use letters::{LetterFate, LetterReplays, LetterReport};
pub use limits::split as robots_and_facilities;
pub use oidc::Oidc;
pub use openapi::document as openapi;
pub use reports::ReportSource;
pub use server::{Server, start};
pub use tls::{TlsFiles, certificates_expire};
pub use tokens::{NewToken, issue, revoke};

/// What the interface is served from.
#[derive(Clone)]
pub struct Parts {
    /// Where records are appended.
    pub log: Arc<dyn EventLog>,
    /// What is known.
    pub store: Arc<dyn CheckpointStore>,
    /// Who may ask.
    pub access: Arc<dyn AccessStore>,
    /// Where the warehouse's reports are asked; `None`: there is no warehouse.
    pub reports: Option<Arc<dyn ReportSource>>,
    /// Where rows of telemetry are read; `None`: there is no lake.
    pub lake: Option<Arc<dyn Lake>>,
    /// What sends records of dead letters again; `None`: this process cannot.
    pub letters: Option<Arc<dyn LetterReplays>>,
    /// What makes pseudonyms of persons as the pipeline does; `None`: this process cannot, and leaves
    /// them out of what it reads in the log.
    pub pseudonyms: Option<Arc<Pseudonyms>>,
    /// Schemas and datasets.
    pub registry: Arc<Registry>,
    /// The input topic of each dataset that records can be sent to.
    pub topics: BTreeMap<String, String>,
    /// The rules of the configuration.
    pub rules: Arc<Vec<RuleSpec>>,
    /// The windows that rules may name, where they are known.
    pub windows: Option<Arc<WindowPlan>>,
    /// The rules that hold once all that is in the log is read.
    pub foreseen: Arc<dyn rule_changes::ForeseenRules>,
    /// A change of rules counts only once another person approves it.
    pub rules_approval: bool,
    /// Partitions of every topic.
    pub partitions: u32,
    /// Longest record, bytes, as it is appended.
    pub record_bytes: usize,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
}

/// How the interface is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Role of a caller without a token; `None`: such a caller is refused.
    pub anonymous: Option<Role>,
    /// Names by which a caller without a token may ask, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Longest body after decompression, bytes.
    pub body_bytes: usize,
    /// How slowly a body may come.
    pub pace: Pace,
    /// Bodies that are read and appended at a time; one caller has half of them at most.
    pub ingests: usize,
    /// Records a second that each caller may send to this process; 0: as many as it likes.
    pub records_per_second: u64,
    /// Listeners of events at a time.
    pub listeners: usize,
    /// Certificate and key; `None`: HTTP without TLS.
    pub tls: Option<TlsFiles>,
    /// Whose tokens are taken beside those of the deployment.
    pub oidc: Option<Oidc>,
}
