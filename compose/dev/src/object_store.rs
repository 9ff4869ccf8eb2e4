//! An object store that speaks S3, over a directory: `s3s-fs` behind a listener. `theatre dev` and
//! the tests start it.
//!
//! It is for trying and testing: one pair of keys, no versions, no life cycle, no TLS. Five things
//! are added to what `s3s-fs` does. A request that was begun is carried to its end when its client
//! goes away, as S3 does: half a completion would lose parts. Completions come one after another,
//! since in the middle of one the upload is gone and the object not yet there, which S3 never
//! shows. A completion that is interrupted, by a kill too, leaves its upload to the next one
//! ([`completion`]). And an upload that is gone is answered as S3 answers it (`NoSuchUpload`), not
//! as a denied access. Like other object stores it answers GET of `/health`, without keys.

mod completion;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_credential_types::Credentials;
use hyper::Method;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, CompleteMultipartUploadInput, ListPartsInput, UploadPartInput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Request, S3Result, s3_error};
use theatre_actors::ports::{Error, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use theatre_system::blocking::IoRuntime;

/// The only access key it knows.
pub const ACCESS_KEY: &str = "theatre-dev";
/// The secret of [`ACCESS_KEY`]: for a store that listens on this machine only.
pub const SECRET_KEY: &str = "theatre-dev-secret";

/// Where it is asked whether it is well.
const HEALTH: &str = "/health";

/// A running store; it ends when dropped.
pub struct ObjectStore {
    root: PathBuf,
    address: SocketAddr,
    accepting: JoinHandle<()>,
    /// Its own threads: they end with it.
    _drive: IoRuntime,
}

impl ObjectStore {
    /// Serves the buckets below `root`, which is created, at `listen`, such as `127.0.0.1:0`.
    ///
    /// # Errors
    /// When the directory cannot be used or nothing can listen there.
    pub fn start(root: &Path, listen: &str) -> Result<Self> {
        Self::start_for(root, listen, ACCESS_KEY, SECRET_KEY)
    }

    /// The same for another pair of keys.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_for(
        root: &Path,
        listen: &str,
        access_key: &str,
        secret_key: &str,
    ) -> Result<Self> {
        let refused = |error: &dyn std::fmt::Display| {
            Error::Refused(format!(
                "object store at {listen} over {}: {error}",
                root.display()
            ))
        };
        std::fs::create_dir_all(root).map_err(|error| refused(&error))?;
        completion::undo(root).map_err(|error| refused(&error))?;
        let files =
            s3s_fs::FileSystem::new(root).map_err(|error| refused(&format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
        builder.set_access(Uploads {
            root: root.to_owned(),
        });
        let io = IoRuntime::start()?;
        let listener = io
            .block_on(TcpListener::bind(listen))
            .map_err(|error| refused(&error))?;
        let address = listener.local_addr().map_err(|error| refused(&error))?;
        let accepting = io
            .handle()
            .spawn(accept(listener, builder.build(), root.into()));
        Ok(Self {
            root: root.to_owned(),
            address,
            accepting,
            _drive: io,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients call `endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The credentials it takes.
    pub fn credentials() -> Credentials {
        Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "theatre dev")
    }

    /// Creates a bucket; one that is there is left as it is.
    ///
    /// # Errors
    /// When its directory cannot be created.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        let path = self.root.join(name);
        std::fs::create_dir_all(&path).map_err(|error| {
            Error::Refused(format!(
                "bucket {} cannot be created: {error}",
                path.display()
            ))
        })
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, service: S3Service, root: Arc<Path>) {
    let completing = Arc::new(Mutex::new(()));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (service, completing) = (service.clone(), completing.clone());
                tokio::spawn(serve(stream, service, completing, root.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "object store: a connection could not be accepted");
                // Out of file handles, mostly: let some close.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, service: S3Service, completing: Arc<Mutex<()>>, root: Arc<Path>) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let (service, completing, root) = (service.clone(), completing.clone(), root.clone());
        async move {
            if request.method() == Method::GET && request.uri().path() == HEALTH {
                return Ok(s3s::HttpResponse::new(s3s::Body::empty()));
            }
            let completes = request.method() == Method::POST
                && request
                    .uri()
                    .query()
                    .is_some_and(|query| query.contains("uploadId="));
            let answered = tokio::spawn(async move {
                if !completes {
                    return service.call(request.map(s3s::Body::from)).await;
                }
                let _alone = completing.lock().await;
                let answered = service.call(request.map(s3s::Body::from)).await;
                let is_done = matches!(&answered, Ok(response) if response.status().is_success());
                let settled = if is_done {
                    completion::settle(&root)
                } else {
                    completion::undo(&root)
                };
                if let Err(error) = settled {
                    tracing::error!(%error, "object store: what a completion kept stays behind");
                }
                answered
            })
            .await;
            Ok::<_, Infallible>(match answered {
                Ok(Ok(response)) => response,
                failed => {
                    tracing::error!(?failed, "object store: a request could not be answered");
                    let mut response = s3s::HttpResponse::new(s3s::Body::empty());
                    *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
                    response
                }
            })
        }
    });
    if let Err(error) = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await
    {
        tracing::debug!(%error, "object store: a connection ended");
    }
}

/// Requests about uploads that are gone.
struct Uploads {
    root: PathBuf,
}

impl Uploads {
    /// The store keeps a small file per open upload; the ids are its own, so another is none it
    /// ever gave out.
    fn known(&self, upload_id: &str) -> S3Result<()> {
        let plain = upload_id
            .chars()
            .all(|letter| letter.is_ascii_hexdigit() || letter == '-');
        if plain && self.root.join(format!(".upload-{upload_id}.json")).exists() {
            Ok(())
        } else {
            Err(s3_error!(NoSuchUpload))
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Uploads {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_some() {
            Ok(())
        } else {
            Err(s3_error!(AccessDenied, "unsigned request"))
        }
    }

    async fn upload_part(&self, request: &mut S3Request<UploadPartInput>) -> S3Result<()> {
        self.known(&request.input.upload_id)
    }

    async fn list_parts(&self, request: &mut S3Request<ListPartsInput>) -> S3Result<()> {
        self.known(&request.input.upload_id)
    }

    async fn complete_multipart_upload(
        &self,
        request: &mut S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<()> {
        self.known(&request.input.upload_id)?;
        completion::begin(&self.root, &request.input.upload_id)
            .map_err(|error| s3_error!(InternalError, "{error}"))
    }

    async fn abort_multipart_upload(
        &self,
        request: &mut S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<()> {
        self.known(&request.input.upload_id)
    }
}
