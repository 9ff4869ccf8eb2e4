//! A stand-in for a Confluent-compatible registry and for Glue's `GetSchemaVersion`, on a thread of
//! its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What it answers, and what it was asked.
#[derive(Default)]
pub(super) struct Answers {
    /// Schemas by number or UUID.
    pub(super) schemas: BTreeMap<String, String>,
    /// Newest schemas by subject.
    pub(super) subjects: BTreeMap<String, String>,
    /// Answers 503 to everything.
    pub(super) is_down: bool,
    /// The `authorization` header it wants.
    pub(super) authorization: Option<String>,
    /// Paths or bodies asked for, with their headers.
    pub(super) asked: Vec<(String, BTreeMap<String, String>)>,
}

pub(super) struct Stand {
    pub(super) url: String,
    pub(super) answers: Arc<Mutex<Answers>>,
    handle: ServerHandle,
}

impl Stand {
    pub(super) fn start() -> Result<Self> {
        let answers = Arc::new(Mutex::new(Answers::default()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let data = web::Data::from(answers.clone());
        let (handles, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(data.clone())
                        .route("/schemas/ids/{id}", web::get().to(by_id))
                        .route("/subjects/{subject}/versions/latest", web::get().to(latest))
                        .route("/", web::post().to(glue))
                };
                let server = HttpServer::new(app)
                    .workers(1)
                    .disable_signals()
                    .listen(listener)?
                    .run();
                drop(handles.send(server.handle()));
                server.await
            })
        });
        let handle = started.recv().context("the stand-in did not start")?;
        Ok(Self {
            url,
            answers,
            handle,
        })
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(
            &mut self
                .answers
                .lock()
                .expect("no thread panics while holding it"),
        );
    }

    pub(super) fn asked(&self) -> usize {
        self.answers
            .lock()
            .expect("no thread panics while holding it")
            .asked
            .len()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

/// Notes a request; an answer when it is refused.
fn note(answers: &mut Answers, request: &HttpRequest, what: String) -> Option<HttpResponse> {
    let header = |(name, value): (
        &actix_web::http::header::HeaderName,
        &actix_web::http::header::HeaderValue,
    )| {
        (
            name.to_string(),
            value.to_str().unwrap_or_default().to_owned(),
        )
    };
    let headers: BTreeMap<String, String> = request.headers().iter().map(header).collect();
    let wanted = answers.authorization.clone();
    let welcome = wanted.is_none() || headers.get("authorization") == wanted.as_ref();
    answers.asked.push((what, headers));
    if answers.is_down {
        return Some(
            HttpResponse::ServiceUnavailable()
                .json(json!({"error_code": 50301, "message": "the store is away"})),
        );
    }
    (!welcome).then(|| {
        HttpResponse::Unauthorized().json(json!({"error_code": 401, "message": "Unauthorized"}))
    })
}

async fn by_id(
    answers: web::Data<Mutex<Answers>>,
    request: HttpRequest,
    id: web::Path<String>,
) -> HttpResponse {
    let mut answers = answers.lock().expect("no thread panics while holding it");
    if let Some(refused) = note(&mut answers, &request, request.path().to_owned()) {
        return refused;
    }
    match answers.schemas.get(&*id) {
        Some(schema) => HttpResponse::Ok().json(json!({"schema": schema})),
        None => HttpResponse::NotFound()
            .json(json!({"error_code": 40403, "message": "Schema not found"})),
    }
}

async fn latest(
    answers: web::Data<Mutex<Answers>>,
    request: HttpRequest,
    subject: web::Path<String>,
) -> HttpResponse {
    let mut answers = answers.lock().expect("no thread panics while holding it");
    if let Some(refused) = note(&mut answers, &request, request.path().to_owned()) {
        return refused;
    }
    match answers.subjects.get(&*subject) {
        Some(schema) => HttpResponse::Ok()
            .json(json!({"subject": &*subject, "version": 1, "id": 1, "schema": schema})),
        None => HttpResponse::NotFound()
            .json(json!({"error_code": 40401, "message": "Subject not found"})),
    }
}

async fn glue(
    answers: web::Data<Mutex<Answers>>,
    request: HttpRequest,
    body: String,
) -> HttpResponse {
    let mut answers = answers.lock().expect("no thread panics while holding it");
    if let Some(refused) = note(&mut answers, &request, body.clone()) {
        return refused;
    }
    let question: Value = serde_json::from_str(&body).unwrap_or_default();
    let by_name = question["SchemaId"]["SchemaName"]
        .as_str()
        .and_then(|name| answers.subjects.get(name));
    match question["SchemaVersionId"]
        .as_str()
        .and_then(|id| answers.schemas.get(id))
        .or(by_name)
    {
        Some(schema) => HttpResponse::Ok()
            .json(json!({"SchemaDefinition": schema, "DataFormat": "AVRO", "Status": "AVAILABLE"})),
        None => HttpResponse::BadRequest().json(
            json!({"__type": "EntityNotFoundException", "Message": "Schema version is not found."}),
        ),
    }
}
