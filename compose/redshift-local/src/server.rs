//! The HTTP side: one path, the operation in a header.

use std::net::{SocketAddr, TcpListener};
use std::str::FromStr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime::{Builder, Runtime};

use crate::copy::{Objects, S3Access};
use crate::run::Runner;
use crate::statements::Statements;
use crate::wire::{self, ApiError, Request};

/// A request may have this many bytes: a batch of forty statements of 100 KB, and room.
const BODY_BYTES_MAX: usize = 6 << 20;

/// How the stand-in is set up.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// PostgreSQL's URL; requests name the database.
    pub postgres: String,
    /// Databases to create where they are missing.
    pub databases: Vec<String>,
    /// Where COPY reads.
    pub s3: S3Access,
    /// Statements that may be under way at a time.
    pub active_max: usize,
    /// Rows on a page of a result.
    pub page_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8439));
        Self {
            listen,
            postgres: "postgres://postgres@127.0.0.1:5432/postgres".to_owned(),
            databases: Vec::new(),
            s3: S3Access::default(),
            active_max: 500,
            page_rows: 1000,
        }
    }
}

/// A running stand-in; it stops when this is dropped, and what is under way is rolled back.
pub struct RedshiftLocal {
    address: SocketAddr,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
}

struct Shared {
    statements: Arc<Statements>,
    runner: Arc<Runner>,
    runtime: tokio::runtime::Handle,
    options: Options,
}

impl RedshiftLocal {
    /// Starts it in this process. Not to be called from asynchronous code.
    ///
    /// # Errors
    /// When the address is taken, or PostgreSQL does not answer.
    pub fn start(options: Options) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("redshift-local")
            .enable_all()
            .build()?;
        runtime.block_on(create_databases(&options))?;
        let objects = runtime.block_on(Objects::new(&options.s3));
        let statements = Arc::new(Statements::default());
        let runner = Runner {
            postgres: options.postgres.clone(),
            objects,
            statements: statements.clone(),
            prepared: tokio::sync::Mutex::default(),
        };
        let listener = TcpListener::bind(options.listen)
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        let address = listener.local_addr()?;
        let shared = web::Data::new(Shared {
            statements,
            runner: Arc::new(runner),
            runtime: runtime.handle().clone(),
            options,
        });
        let (started, starting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("redshift-local-http".to_owned())
            .spawn(move || serve(listener, shared, &started))?;
        let server = starting.recv().context("the HTTP server did not start")??;
        Ok(Self {
            address,
            server,
            thread: Some(thread),
            runtime: Some(runtime),
        })
    }

    /// The URL for `AWS_ENDPOINT_URL_REDSHIFT_DATA`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until it is stopped from outside.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panicked server has already said why.
            let _ = thread.join();
        }
    }
}

impl Drop for RedshiftLocal {
    fn drop(&mut self) {
        // Dropping this future would not undo the stop: it only waits for it.
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn create_databases(options: &Options) -> Result<()> {
    let mut connection =
        PgConnection::connect_with(&PgConnectOptions::from_str(&options.postgres)?)
            .await
            .context("PostgreSQL does not answer")?;
    for name in &options.databases {
        let there: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(name)
                .fetch_one(&mut connection)
                .await?;
        if !there {
            let sql = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .with_context(|| format!("cannot create database {name}"))?;
        }
    }
    Ok(connection.close().await?)
}

fn serve(
    listener: TcpListener,
    shared: web::Data<Shared>,
    tell: &mpsc::Sender<std::io::Result<ServerHandle>>,
) {
    actix_web::rt::System::new().block_on(async move {
        let app = move || {
            App::new()
                .app_data(shared.clone())
                .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
                .route("/", web::post().to(answer))
        };
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .shutdown_timeout(1)
            .listen(listener);
        match server.map(HttpServer::run) {
            Ok(server) => {
                let heard = tell.send(Ok(server.handle())).is_ok();
                if let (true, Err(error)) = (heard, server.await) {
                    tracing::error!(%error, "the HTTP server ended");
                }
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    });
}

async fn answer(http: HttpRequest, body: web::Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let target = http
        .headers()
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let request = serde_json::from_slice::<Request>(&body).map_err(|error| ApiError {
        status: 400,
        code: "SerializationException",
        message: error.to_string(),
    });
    let outcome = match (target.strip_prefix("RedshiftData."), request) {
        (_, Err(error)) => Err(error),
        (Some("ExecuteStatement"), Ok(request)) => submit(&shared, request, false),
        (Some("BatchExecuteStatement"), Ok(request)) => submit(&shared, request, true),
        (Some("DescribeStatement"), Ok(request)) => describe(&shared, &request),
        (Some("GetStatementResult"), Ok(request)) => result(&shared, &request),
        (Some("CancelStatement"), Ok(request)) => cancel(&shared, &request),
        (Some("ListStatements"), Ok(request)) => list(&shared, &request),
        _ => Err(ApiError {
            status: 400,
            code: "UnknownOperationException",
            message: format!("'{target}' is not done by this stand-in"),
        }),
    };
    let json = "application/x-amz-json-1.1";
    match outcome {
        Ok(value) => HttpResponse::Ok()
            .content_type(json)
            .body(value.to_string()),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
            HttpResponse::build(status)
                .content_type(json)
                .insert_header(("x-amzn-errortype", error.code))
                .body(error.body().to_string())
        }
    }
}

fn submit(shared: &Shared, request: Request, batch: bool) -> Result<Value, ApiError> {
    let (statement, new) = shared
        .statements
        .submit(request, batch, shared.options.active_max)?;
    let answer = wire::submitted(&statement);
    if new {
        let runner = shared.runner.clone();
        shared
            .runtime
            .spawn(async move { runner.run(statement).await });
    }
    Ok(answer)
}

fn id(request: &Request) -> Result<&str, ApiError> {
    request
        .id
        .as_deref()
        .ok_or_else(|| ApiError::validation("Id is required."))
}

fn describe(shared: &Shared, request: &Request) -> Result<Value, ApiError> {
    Ok(wire::described(&shared.statements.find(id(request)?)?.0))
}

fn result(shared: &Shared, request: &Request) -> Result<Value, ApiError> {
    let (statement, part) = shared.statements.find(id(request)?)?;
    if statement.is_batch && part.is_none() {
        return Err(ApiError::validation(
            "A batch has a result for each of its statements: name one as id:number.",
        ));
    }
    let Some(result) = &statement.parts[part.unwrap_or(0)].result else {
        return Err(ApiError::not_found(
            "Query does not have result. Please check query status with DescribeStatement.",
        ));
    };
    let start = page_start(request)?.min(result.rows.len());
    let end = result.rows.len().min(start + shared.options.page_rows);
    let mut answer = json!({ "ColumnMetadata": result.columns, "TotalNumRows": result.rows.len(), "Records": &result.rows[start..end] });
    if end < result.rows.len() {
        answer["NextToken"] = end.to_string().into();
    }
    Ok(answer)
}

fn page_start(request: &Request) -> Result<usize, ApiError> {
    request.next_token.as_ref().map_or(Ok(0), |token| {
        token
            .parse()
            .map_err(|_| ApiError::validation("NextToken is not one of ours."))
    })
}

fn cancel(shared: &Shared, request: &Request) -> Result<Value, ApiError> {
    let (statement, part) = shared.statements.find(id(request)?)?;
    if part.is_some() {
        return Err(ApiError::validation(
            "A statement of a batch cannot be cancelled alone.",
        ));
    }
    if statement.status.is_final() {
        return Err(ApiError::validation(
            format!(
                "Could not cancel a query that is already in {:?} state",
                statement.status
            )
            .to_uppercase(),
        ));
    }
    shared
        .statements
        .change(&statement.id, |statement| statement.cancelled = true);
    let runner = shared.runner.clone();
    shared.runtime.spawn(async move {
        if let Err(why) = runner.cancel(&statement).await {
            tracing::warn!(why, id = statement.id, "a statement could not be cancelled");
        }
    });
    Ok(json!({ "Status": true }))
}

fn list(shared: &Shared, request: &Request) -> Result<Value, ApiError> {
    let found = shared
        .statements
        .list(request.statement_name.as_deref(), request.status.as_deref());
    let (start, size) = (
        page_start(request)?.min(found.len()),
        request
            .max_results
            .filter(|most| *most > 0)
            .unwrap_or(100)
            .min(100),
    );
    let end = found.len().min(start + size);
    let mut answer =
        json!({ "Statements": found[start..end].iter().map(wire::listed).collect::<Vec<_>>() });
    if end < found.len() {
        answer["NextToken"] = end.to_string().into();
    }
    Ok(answer)
}
