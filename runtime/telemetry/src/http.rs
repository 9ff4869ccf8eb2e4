//! What the HTTP interface emits.

use theatre_actors::define_metrics;

define_metrics! {
    /// What is emitted of the HTTP interface.
    pub(crate) const CATALOGUE;
    REQUESTS: Counter(
        "theatre_http_requests_total", "requests", ["method", "route", "status"],
        "Requests of the HTTP interface that were answered, by method, route and status"
    );
    DURATION: Histogram(
        "theatre_http_request_duration_seconds", "seconds", ["method", "route"],
        "Time of a request of the HTTP interface until its answer begins, by method and route"
    );
    IN_FLIGHT: Gauge(
        "theatre_http_requests_in_flight", "requests", [],
        "Requests of the HTTP interface that have no answer yet"
    );
    LISTENERS: Gauge(
        "theatre_http_listeners", "listeners", [],
        "Connections of the HTTP interface that listen to events"
    );
    RECORDS_IN: Counter(
        "theatre_http_records_in_total", "records", ["topic"],
        "Records that came over HTTP and were appended to the log, by topic"
    );
    CERTIFICATE_EXPIRY: Gauge(
        "theatre_http_certificate_expiry_timestamp_seconds", "seconds", [],
        "When the certificate of the HTTP interface, or one of its authorities beside it, expires, \
         Unix time; there only with TLS"
    );
    LETTERS_REPLAYED: Counter(
        "theatre_http_dead_letters_replayed_total", "records", [],
        "Records of dead letters that requests had appended to the log again"
    );
}

/// The interface is served from now on, and records can be sent to these topics: its counters begin
/// at 0.
pub fn begin<'a>(topics: impl Iterator<Item = &'a str>) {
    for topic in topics {
        records_in(topic, 0);
    }
    letters_replayed(0);
    IN_FLIGHT.add([], 0.0);
    LISTENERS.add([], 0.0);
}

/// A request under way; it is over when this is dropped.
#[derive(Debug)]
pub struct InFlight(());

impl InFlight {
    /// One that begins.
    #[must_use]
    pub fn begin() -> Self {
        IN_FLIGHT.add([], 1.0);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        IN_FLIGHT.add([], -1.0);
    }
}

/// A connection that listens; it has ended when this is dropped.
#[derive(Debug)]
pub struct Listening(());

impl Listening {
    /// One that begins.
    #[must_use]
    pub fn begin() -> Self {
        LISTENERS.add([], 1.0);
        Self(())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENERS.add([], -1.0);
    }
}

/// A request was answered after so many seconds.
pub fn answered(method: &'static str, route: &'static str, status: u16, seconds: f64) {
    let labels = [method.into(), route.into(), status.to_string().into()];
    REQUESTS.increment(labels, 1);
    DURATION.record([method.into(), route.into()], seconds);
}

/// Records that came over HTTP were appended.
pub fn records_in(topic: &str, records: u64) {
    RECORDS_IN.increment([topic.to_owned().into()], records);
}

/// The certificate expires then, Unix time in seconds.
pub fn certificate_expires(at: f64) {
    CERTIFICATE_EXPIRY.set([], at);
}

/// Records of dead letters were appended again.
pub fn letters_replayed(records: u64) {
    LETTERS_REPLAYED.increment([], records);
}
