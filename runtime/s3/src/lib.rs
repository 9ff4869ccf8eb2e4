//! The lake on S3, or on an object store that speaks its protocol.
//!
//! A file is a multipart upload: its parts go up while it grows, and nobody who lists the bucket
//! sees it until it is completed, which the file completer does once its registration is committed.
//! Small files go the same way, as one part. Completion is conditional (`If-None-Match: *`): a
//! name, once taken, keeps its bytes, whoever tries again.
//!
//! **Markers.** S3 lists uploads by key and id only, so nothing there says whose attempt an upload
//! is, and its key must be the final path. Each upload therefore has a marker object,
//! `.uploads/<attempt>/<upload id>` below the lake's prefix, with the path as its body; it is
//! written when the upload is created, before any part, and deleted after the upload has ended. A
//! sweep lists the markers of its partition: it reads no uploads of others, and what has a
//! registered handle, or was begun under its own epoch or a later one, it leaves alone. A crash
//! between creating an upload and writing its marker leaves an upload that holds no parts; the
//! bucket's rule for incomplete uploads ends it. That rule must wait longer than the longest
//! outage: it ends registered uploads too.
//!
//! **Failures.** Opening asks nothing, so that a process starts while its lake is away. Before the
//! first listing, reading or completing the bucket is asked for, until it was seen once: what it or
//! a credential lacks is refused. Later everything passes for passing, since access and servers are
//! repaired while we wait, but for requests that S3 says can never work ([`fault`]). Every call
//! ends by the time-outs of the configuration.

mod bucket;
mod connect;
mod fault;
mod handle;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_credential_types::Credentials;
use bytes::Bytes;
use theatre_actors::ports::{
    Epoch, Error, Lake, LakeEntry, LakeUpload, Result, attempts_of, is_outdated,
};
use theatre_actors::position::Partition;
use tokio::sync::Semaphore;

use self::bucket::Bucket;
use self::handle::Handle;
use theatre_config::lake::LakeConfig;
use theatre_system::blocking::IoRuntime;

/// Opens the lake at `s3://bucket/prefix`, with the credentials that the SDK finds. The bucket is
/// asked for by the first call.
///
/// # Errors
/// Says what of the URL or the configuration cannot be used.
pub fn open(url: &str, config: &LakeConfig, io: &IoRuntime) -> Result<Arc<dyn Lake>> {
    Ok(Arc::new(S3Lake::unseen(url, config, None, io)?))
}

/// A bucket, or what is below a prefix of it.
pub struct S3Lake {
    bucket: Arc<Bucket>,
    io: IoRuntime,
    in_flight: Arc<Semaphore>,
    part_bytes: usize,
    /// The bucket was there once, and the credentials were let in.
    seen: AtomicBool,
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
        let lake = Self::unseen(url, config, credentials, io)?;
        io.block_on(lake.look())?;
        Ok(lake)
    }

    fn unseen(
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
            seen: AtomicBool::new(false),
        })
    }

    async fn look(&self) -> Result<()> {
        if !self.seen.load(Ordering::Acquire) {
            connect::look(&self.bucket).await?;
            self.seen.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn complete(&self, path: &str, upload: &str) -> Result<()> {
        self.look().await?;
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
        self.look().await?;
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

    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>> {
        self.io.block_on(Box::pin(async {
            self.look().await?;
            self.bucket.list(prefix).await
        }))
    }

    fn read(&self, path: &str) -> Result<Bytes> {
        let read = self.io.block_on(Box::pin(async {
            self.look().await?;
            self.bucket.read(path).await
        }))?;
        read.ok_or_else(|| Error::Refused(format!("lake file '{path}' is not there")))
    }

    fn location(&self, path: &str) -> Option<String> {
        Some(self.bucket.location(path))
    }

    fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize> {
        self.io
            .block_on(Box::pin(Self::sweep(self, partition, epoch, keep)))
    }
}
