//! The admin server: `/metrics`, `/livez`, `/readyz`, `/partitions`, and `/log` for the levels of the
//! log. Its own thread; it knows the pipeline only by its progress.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use metrics_exporter_prometheus::PrometheusHandle;

use theatre_config::ConfigError;
use theatre_embedded::data_dir::DataDir;
use theatre_pipeline::Progress;

const UPKEEP_EVERY: Duration = Duration::from_secs(5);

struct State {
    metrics: PrometheusHandle,
    progress: Arc<Progress>,
    data: DataDir,
}

/// A running admin server; stops when dropped.
pub struct Admin {
    handle: actix_web::dev::ServerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Where it listens.
    pub address: std::net::SocketAddr,
}

/// What to do when another process listens at the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfTaken {
    /// Refuse to start: probes and scrapers look for this process there.
    Refuse,
    /// Take any free port of the same host.
    TakeAnother,
}

/// Starts the server at `listen`; port 0 picks a free one.
///
/// # Errors
/// When the address is taken or is none; says what to do.
pub fn start(
    listen: &str,
    if_taken: IfTaken,
    metrics: PrometheusHandle,
    progress: Arc<Progress>,
    data: DataDir,
) -> Result<Admin, ConfigError> {
    let refused = |error: std::io::Error| {
        ConfigError(format!(
            "the admin server cannot listen on {listen}: {error}; give another address with --admin, such as 127.0.0.1:0 for any free port"
        ))
    };
    let listener = bind(listen, if_taken).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let upkeep = metrics.clone();
    let state = web::Data::new(State {
        metrics,
        progress,
        data,
    });
    let (handles, started) = channel();
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            let served = actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(state.clone())
                        .route("/metrics", web::get().to(render))
                        .route("/livez", web::get().to(live))
                        .route("/readyz", web::get().to(ready))
                        .route("/partitions", web::get().to(partitions))
                        .route("/log", web::get().to(levels))
                        .route("/log", web::put().to(set_levels))
                };
                let server = HttpServer::new(app)
                    .workers(1)
                    .disable_signals()
                    .listen(listener)?
                    .run();
                drop(handles.send(server.handle()));
                let upkeep = actix_web::rt::spawn(keep_up(upkeep));
                let ended = server.await;
                upkeep.abort();
                ended
            });
            if let Err(error) = served {
                tracing::error!(%error, "the admin server ended");
            }
        })
        .map_err(refused)?;
    let handle = started
        .recv()
        .map_err(|_| ConfigError(format!("the admin server on {listen} did not start")))?;
    Ok(Admin {
        handle,
        thread: Some(thread),
        address,
    })
}

fn bind(listen: &str, if_taken: IfTaken) -> std::io::Result<TcpListener> {
    let taken = match TcpListener::bind(listen) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && if_taken == IfTaken::TakeAnother => {
            error
        }
        bound => return bound,
    };
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    // Of the two errors the first names the address that was asked for.
    TcpListener::bind(format!("{host}:0")).map_err(|_| taken)
}

impl Drop for Admin {
    fn drop(&mut self) {
        // The future only sends the order; the server's own thread carries it out.
        drop(self.handle.stop(false));
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}

/// Sorts the recorded values of histograms into their buckets: the recorder keeps every value until
/// then, and metrics may never be scraped.
async fn keep_up(metrics: PrometheusHandle) {
    let mut due = actix_web::rt::time::interval(UPKEEP_EVERY);
    loop {
        due.tick().await;
        metrics.run_upkeep();
    }
}

async fn render(state: web::Data<State>) -> HttpResponse {
    metrics_process::Collector::default().collect();
    state.progress.show();
    let data = state.data.clone();
    // A disk that hangs holds up this answer, and not those to the probes.
    if let Ok(Ok((free, size))) = web::block(move || data.disk()).await {
        theatre_telemetry::disk::is(free, size);
    }
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4")
        .body(state.metrics.render())
}

/// The levels of the log.
async fn levels() -> HttpResponse {
    HttpResponse::Ok().body(format!("{}\n", theatre_telemetry::logs::levels()))
}

/// Changes the levels of the log to what the body says, until the process ends. Only for callers on
/// this machine, or in this pod: metrics may be open to a whole network.
async fn set_levels(request: HttpRequest, levels: String) -> HttpResponse {
    let is_local = request
        .peer_addr()
        .is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if !is_local {
        return HttpResponse::Forbidden()
            .body("levels are changed from the machine, or the pod, of this process only\n");
    }
    match theatre_telemetry::logs::set_levels(&levels) {
        Ok(levels) => {
            tracing::warn!(levels, "the levels of the log were changed");
            HttpResponse::Ok().body(format!("{levels}\n"))
        }
        Err(why) => HttpResponse::BadRequest().body(format!("{why}\n")),
    }
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"live": true}))
}

async fn ready(state: web::Data<State>) -> HttpResponse {
    let reasons = state.progress.unready();
    let body = serde_json::json!({"ready": reasons.is_empty(), "reasons": reasons, "notices": state.progress.notices()});
    if reasons.is_empty() {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

/// Where each partition of this process is in its life.
async fn partitions(state: web::Data<State>) -> HttpResponse {
    let states = state.progress.states();
    let states = states.into_iter().map(|state| {
        serde_json::json!({
            "partition": state.partition,
            "phase": state.phase.name(),
            "epoch": state.epoch,
            "processors": state.processors,
            "unsaved_records": state.unsaved,
            "saved_at_us": state.saved_at,
        })
    });
    HttpResponse::Ok().json(states.collect::<Vec<_>>())
}
