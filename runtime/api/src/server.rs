//! The server: its threads, its limits, and what every answer carries.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::error::JsonPayloadError;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpServer, web};
use theatre_config::{ConfigError, in_plain_words};

use crate::access::{self, Remembered};
use crate::body;
use crate::events::Feed;
use crate::ingest::Encoders;
use crate::oidc::Issuer;
use crate::permits::Permits;
use crate::problem::Problem;
use crate::quota::Quota;
use crate::reports::Answers;
use crate::snapshot::Snapshot;
use crate::tls::Certificates;
use crate::{Parts, Settings, observed, routes, sockets, tags};

/// How often committed outputs are looked for for those who listen.
const FEED_EVERY: Duration = Duration::from_millis(200);
/// How long an answer to a request with a key is kept, microseconds.
const REQUESTS_KEPT_US: i64 = 24 * 3_600 * 1_000_000;
/// Looks of the feed between two clean-ups of requests: an hour or so.
const LOOKS_PER_CLEANUP: u64 = 18_000;
/// Pauses between two looks at the files of the certificate.
const PAUSES_PER_LOOK: u64 = 10;
/// A caller that sends its headers more slowly is cut off.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Connections of a thread.
const CONNECTIONS: usize = 2048;
/// Questions for rows of telemetry that are answered at a time: each reads files of the lake.
const TELEMETRY_READS: usize = 2;
/// Bytes of a body that is JSON and no records.
const SMALL_BODY: usize = 64 << 10;

/// What every answer carries, unless its handler says otherwise.
pub(crate) const HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// What handlers share.
pub(crate) struct State {
    pub(crate) parts: Parts,
    pub(crate) settings: Settings,
    pub(crate) snapshot: Snapshot,
    pub(crate) reports: Answers,
    pub(crate) remembered: Remembered,
    pub(crate) issuer: Option<Issuer>,
    pub(crate) encoders: Encoders,
    pub(crate) feed: Feed,
    pub(crate) ingests: Permits,
    pub(crate) quota: Option<Quota>,
    pub(crate) listeners: Permits,
    pub(crate) telemetry: Permits,
    pub(crate) letters: Permits,
    stopping: AtomicBool,
}

impl State {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// A running server; stops when dropped.
pub struct Server {
    handle: ServerHandle,
    state: Arc<State>,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub is_tls: bool,
}

/// Serves the interface on a listener.
///
/// # Errors
/// When a thread cannot be had, or the certificate cannot be used.
pub fn start(
    listener: TcpListener,
    parts: Parts,
    settings: Settings,
) -> Result<Server, ConfigError> {
    let refused =
        |error: std::io::Error| ConfigError(format!("the HTTP interface cannot start: {error}"));
    let address = listener.local_addr().map_err(refused)?;
    sockets::bound(&listener).map_err(refused)?;
    let tls = settings.tls.clone().map(Certificates::load).transpose()?;
    let tls = tls.map(Arc::new);
    let config = tls.as_ref().map(Certificates::server).transpose()?;
    let is_tls = config.is_some();
    let issuer = settings.oidc.clone();
    let state = Arc::new(State {
        encoders: Encoders::new(parts.registry.clone()),
        ingests: Permits::shared(settings.ingests),
        quota: (settings.records_per_second > 0).then(|| Quota::new(settings.records_per_second)),
        listeners: Permits::new(settings.listeners),
        telemetry: Permits::shared(TELEMETRY_READS),
        letters: Permits::shared(1),
        issuer: issuer.map(|oidc| Issuer::new(oidc, parts.clock.clone())),
        parts,
        settings,
        snapshot: Snapshot::default(),
        reports: Answers::default(),
        remembered: Remembered::default(),
        feed: Feed::default(),
        stopping: AtomicBool::new(false),
    });
    theatre_telemetry::http::begin(state.parts.topics.values().map(String::as_str));
    let mut threads = keepers(&state, tls).map_err(refused)?;
    let (handles, started) = channel();
    let served = state.clone();
    let serve = move || {
        if let Err(error) = serve(served, listener, config, &handles) {
            tracing::error!(%error, "the HTTP interface ended");
        }
    };
    threads.push(named("api").spawn(serve).map_err(refused)?);
    let handle = started
        .recv()
        .map_err(|_| ConfigError(format!("the HTTP interface on {address} did not start")))?;
    Ok(Server {
        handle,
        state,
        threads,
        address,
        is_tls,
    })
}

fn named(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned())
}

/// The threads that keep what requests are answered from.
fn keepers(
    state: &Arc<State>,
    certificates: Option<Arc<Certificates>>,
) -> std::io::Result<Vec<std::thread::JoinHandle<()>>> {
    let (of_feed, of_fleet, of_tls) = (state.clone(), state.clone(), state.clone());
    let mut threads = vec![
        named("api-feed").spawn(move || keep_feed(&of_feed))?,
        named("api-fleet").spawn(move || keep_fleet(&of_fleet))?,
    ];
    if let Some(certificates) = certificates {
        let keep = move || keep_certificate(&of_tls, &certificates);
        threads.push(named("api-tls").spawn(keep)?);
    }
    Ok(threads)
}

/// Serves until it is stopped; gives away its handle once it has begun.
fn serve(
    state: Arc<State>,
    listener: TcpListener,
    tls: Option<rustls::ServerConfig>,
    handles: &Sender<ServerHandle>,
) -> std::io::Result<()> {
    actix_web::rt::System::new().block_on(async move {
        let data = web::Data::from(state);
        let server = HttpServer::new(move || app(data.clone()))
            .workers(2)
            .max_connections(CONNECTIONS)
            // Handshakes count apart: with the library's 256, as many sockets that say nothing would
            // shut the door.
            .max_connection_rate(CONNECTIONS)
            .tls_handshake_timeout(HEADERS_WITHIN)
            .client_request_timeout(HEADERS_WITHIN)
            .shutdown_timeout(5)
            .disable_signals();
        let server = match tls {
            Some(config) => server.listen_rustls_0_23(listener, config)?,
            None => server.listen(listener)?,
        };
        let server = server.run();
        drop(handles.send(server.handle()));
        server.await
    })
}

impl Server {
    /// Where it is asked, such as `https://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::Release);
        self.state.feed.wake();
        // The future only sends the order; the server's own thread carries it out.
        drop(self.handle.stop(true));
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn app(
    state: web::Data<State>,
) -> App<
    impl actix_web::dev::ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse<impl actix_web::body::MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let headers = HEADERS
        .into_iter()
        .fold(DefaultHeaders::new(), DefaultHeaders::add);
    let bad_query = |error: actix_web::error::QueryPayloadError, _: &_| {
        Problem::bad(format!("the query: {error}")).into()
    };
    let bad_json = |error: JsonPayloadError, _: &_| {
        match error {
            JsonPayloadError::ContentType => Problem::new(
                "unsupported",
                "the body: its Content-Type is not application/json",
            ),
            JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
                Problem::new("too_large", format!("the body: {error}"))
            }
            JsonPayloadError::Payload(error) => body::broken(&error),
            JsonPayloadError::Deserialize(error) => {
                let plain = in_plain_words(&error.to_string());
                Problem::bad(format!("the body: {plain}"))
            }
            error => Problem::bad(format!("the body: {error}")),
        }
        .into()
    };
    let bad_path = |error: actix_web::error::PathError, _: &_| {
        Problem::bad(format!("the path: {error}")).into()
    };
    let mut app = App::new()
        .app_data(state)
        .app_data(web::QueryConfig::default().error_handler(bad_query))
        .app_data(
            web::JsonConfig::default()
                .limit(SMALL_BODY)
                .error_handler(bad_json),
        )
        .app_data(web::PathConfig::default().error_handler(bad_path))
        .wrap(from_fn(tags::tag))
        .wrap(from_fn(access::check))
        .wrap(headers)
        // The outermost: what is refused is counted, too.
        .wrap(from_fn(observed::count));
    for route in routes::all() {
        app = app.route(route.path, (route.handler)());
    }
    app
}

/// Reads committed outputs until the server stops, and forgets old requests now and then.
fn keep_feed(state: &State) {
    let mut looks = 0_u64;
    while !state.is_stopping() {
        if let Err(error) = state.feed.read(&*state.parts.store, &*state.parts.clock) {
            tracing::warn!(%error, "events of the HTTP interface wait for the store");
        }
        if looks.is_multiple_of(LOOKS_PER_CLEANUP) {
            let now = state.parts.clock.now();
            let before = theatre_actors::time::LogTime(now.0.saturating_sub(REQUESTS_KEPT_US));
            if let Err(error) = state.parts.access.forget_requests(before) {
                tracing::warn!(%error, "old requests of the HTTP interface could not be forgotten");
            }
        }
        looks += 1;
        std::thread::sleep(FEED_EVERY);
    }
}

/// Reads robots for those who ask until the server stops.
fn keep_fleet(state: &State) {
    let parts = &state.parts;
    while !state.is_stopping() {
        if let Err(error) = state.snapshot.keep(&*parts.store, &*parts.clock) {
            tracing::warn!(%error, "robots of the HTTP interface wait for the store");
        }
        std::thread::sleep(FEED_EVERY);
    }
}

/// Looks at the files of the certificate now and then until the server stops.
fn keep_certificate(state: &State, certificates: &Certificates) {
    let mut pauses = 0_u64;
    while !state.is_stopping() {
        if pauses.is_multiple_of(PAUSES_PER_LOOK) {
            certificates.renew();
        }
        pauses += 1;
        std::thread::sleep(FEED_EVERY);
    }
}
