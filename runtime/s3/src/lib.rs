//! The lake on S3, or on an object store that speaks its protocol.
//!
//! A file is a multipart upload: its parts are uploaded while it grows, and no listing of the
//! bucket shows it until the file completer completes it, after its registration is committed.
//! Small files are uploads too, of one part. Completion is conditional (`If-None-Match: *`): once a
//! name is taken, no later attempt changes its bytes. An erasure does, with one PutObject, which
//! readers meet as a whole or not at all.
//!
//! **Markers.** S3 lists uploads by key and id only, so nothing there says which attempt an upload
//! belongs to, and its key must be the final path. Each upload therefore has a marker object,
//! `.uploads/<attempt>/<upload id>` below the lake's prefix, with the path as its body; it is
//! written when the upload is created, before any part, and deleted after the upload has ended. A
//! sweep lists the markers of its partition: it reads no uploads of others, and what has a
//! registered handle, or was begun under its own epoch or a later one, it leaves alone. A crash
//! between creating an upload and writing its marker leaves an upload that holds no parts; the
//! bucket's rule for incomplete uploads ends it. That rule must wait longer than the longest
//! outage: it ends registered uploads too.
//!
//! **Failures.** Opening sends no request, so that a process starts while its lake is down. The
//! first listing, reading or completing checks the bucket, until a check has succeeded once: a
//! missing bucket or permission is refused then. Later every error counts as transient, since
//! access and servers are repaired while the process waits, except for requests of which S3 says
//! that they can never work ([`fault`]). Every call ends by the time-outs of the configuration.

mod bucket;
mod connect;
mod fault;
mod handle;
mod inspect;
mod open;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_credential_types::Credentials;
use bytes::Bytes;
use theatre_actors::ports::{
    Epoch, Error, Lake, LakeBytes, LakeEntry, LakeUpload, Result, attempts_of, is_outdated,
};
use theatre_actors::position::Partition;
use tokio::sync::Semaphore;

use self::bucket::Bucket;
use self::handle::Handle;
pub use self::inspect::{Inspection, inspect};
use theatre_config::lake::LakeConfig;
use theatre_system::blocking::IoRuntime;

/// Opens the lake at `s3://bucket/prefix`, with the credentials that the SDK finds. The bucket is
/// asked for by the first call.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used.
pub fn open(url: &str, config: &LakeConfig, io: &IoRuntime) -> Result<Arc<dyn Lake>> {
    Ok(Arc::new(S3Lake::unchecked(url, config, None, io)?))
}

/// Creates the bucket of `s3://bucket/prefix` if it is missing, with the credentials that the SDK
/// finds; false if it was there.
///
/// # Errors
/// As [`open`]; or says why the bucket cannot be asked for or created.
pub fn create_bucket(url: &str, config: &LakeConfig, io: &IoRuntime) -> Result<bool> {
    create_bucket_as(url, config, None, io)
}

/// As [`create_bucket`]; `credentials` instead of those that the SDK finds.
///
/// # Errors
/// As [`create_bucket`].
pub fn create_bucket_as(
    url: &str,
    config: &LakeConfig,
    credentials: Option<Credentials>,
    io: &IoRuntime,
) -> Result<bool> {
    io.block_on(async {
        let bucket = connect::connect(url, config, credentials).await?;
        connect::create(&bucket).await
    })
}

/// A bucket, or what is below a prefix of it.
pub struct S3Lake {
    bucket: Arc<Bucket>,
    io: IoRuntime,
    in_flight: Arc<Semaphore>,
    part_bytes: usize,
    /// True once a check of bucket and credentials has succeeded.
    checked: AtomicBool,
}

impl S3Lake {
    /// Opens the lake at `s3://bucket/prefix` and asks for its bucket; `credentials` instead of
    /// those that the SDK finds.
    ///
    /// # Errors
    /// As [`open`], and says what of the bucket cannot be used, or that it does not answer.
    pub fn open(
        url: &str,
        config: &LakeConfig,
        credentials: Option<Credentials>,
        io: &IoRuntime,
    ) -> Result<Self> {
        let lake = Self::unchecked(url, config, credentials, io)?;
        io.block_on(lake.check_bucket())?;
        Ok(lake)
    }

    fn unchecked(
        url: &str,
        config: &LakeConfig,
        credentials: Option<Credentials>,
        io: &IoRuntime,
    ) -> Result<Self> {
        let bucket = io.block_on(connect::connect(url, config, credentials))?;
        let in_flight = Arc::new(Semaphore::new(config.parts_in_flight));
        Ok(Self {
            bucket: Arc::new(bucket),
            io: io.clone(),
            in_flight,
            part_bytes: config.part_bytes,
            checked: AtomicBool::new(false),
        })
    }

    async fn check_bucket(&self) -> Result<()> {
        if !self.checked.load(Ordering::Acquire) {
            connect::check(&self.bucket).await?;
            self.checked.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn complete(&self, path: &str, upload: &str) -> Result<()> {
        self.check_bucket().await?;
        let gone = || {
            Error::Gone(format!(
                "lake file '{path}': neither the file nor its upload '{upload}' is there"
            ))
        };
        let Some(handle) = Handle::decode(upload) else {
            return if self.bucket.holds(path).await? {
                Ok(())
            } else {
                Err(gone())
            };
        };
        match self.bucket.complete(path, &handle).await {
            Ok(()) => {}
            // The name is taken: by this upload, the answer having been lost, or by another
            // attempt, and then these parts are an orphan.
            Err(fault) if fault.status == Some(412) => {
                self.bucket.abort(path, &handle.upload_id).await?
            }
            Err(fault) if fault.is("NoSuchUpload") => {
                if !self.bucket.holds(path).await? {
                    return Err(gone());
                }
            }
            // A conflict (409) with another request for the same name is passing too: the next
            // attempt finds out who won.
            Err(fault) => return Err(fault.into_error("lake, completing a file")),
        }
        self.bucket.unmark(&handle.attempt, &handle.upload_id).await
    }

    async fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize> {
        self.check_bucket().await?;
        let mut swept = 0;
        for (attempt, upload_id) in self.bucket.marked(&attempts_of(partition)).await? {
            if !is_outdated(&attempt, partition, epoch)
                || keep.iter().any(|handle| handle.contains(&upload_id))
            {
                continue;
            }
            if let Some(path) = self.bucket.marked_path(&attempt, &upload_id).await? {
                self.bucket.abort(&path, &upload_id).await?;
                self.bucket.unmark(&attempt, &upload_id).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

impl Lake for S3Lake {
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>> {
        let target = upload::Target::new(self.bucket.clone(), path, attempt);
        Ok(Box::new(upload::Upload::new(
            target,
            self.io.clone(),
            self.in_flight.clone(),
            self.part_bytes,
        )))
    }

    fn complete(&self, path: &str, upload: &str) -> Result<()> {
        self.io
            .block_on(Box::pin(Self::complete(self, path, upload)))
    }

    fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.io.block_on(Box::pin(async {
            self.check_bucket().await?;
            if !self.bucket.holds(path).await? {
                return Err(Error::Gone(format!("lake file '{path}' is not there")));
            }
            self.bucket.replace(path, bytes).await
        }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>> {
        self.io.block_on(Box::pin(async {
            self.check_bucket().await?;
            self.bucket.list(prefix).await
        }))
    }

    fn read(&self, path: &str) -> Result<Bytes> {
        let read = self.io.block_on(Box::pin(async {
            self.check_bucket().await?;
            self.bucket.read(path).await
        }))?;
        read.ok_or_else(|| Error::Gone(format!("lake file '{path}' is not there")))
    }

    fn open_file(&self, path: &str) -> Result<Box<dyn LakeBytes>> {
        let opened = self.io.block_on(Box::pin(async {
            self.check_bucket().await?;
            open::OpenFile::open(&self.bucket, &self.io, path).await
        }))?;
        match opened {
            Some(file) => Ok(Box::new(file)),
            None => Err(Error::Gone(format!("lake file '{path}' is not there"))),
        }
    }

    fn location(&self, path: &str) -> Option<String> {
        Some(self.bucket.location(path))
    }

    fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize> {
        self.io
            .block_on(Box::pin(Self::sweep(self, partition, epoch, keep)))
    }
}
