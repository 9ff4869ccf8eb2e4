//! The upload of a file: full parts are sent in the background while the pipeline's thread encodes
//! the next one.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use theatre_actors::ports::{Error, LakeUpload, Result};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use super::bucket::Bucket;
use super::handle::{Handle, Part};
use theatre_system::blocking::IoRuntime;

/// What the tasks of one file share. It holds no [`IoRuntime`]: a task must not be the last to drop
/// the threads it runs on.
pub(super) struct Target {
    bucket: Arc<Bucket>,
    path: String,
    attempt: String,
    /// Created by the first part that leaves.
    upload_id: OnceCell<String>,
}

impl Target {
    pub(super) fn new(bucket: Arc<Bucket>, path: &str, attempt: &str) -> Self {
        Self {
            bucket,
            path: path.to_owned(),
            attempt: attempt.to_owned(),
            upload_id: OnceCell::new(),
        }
    }

    async fn put(
        &self,
        number: i32,
        bytes: Bytes,
        _in_flight: OwnedSemaphorePermit,
    ) -> Result<Part> {
        let upload_id = self
            .upload_id
            .get_or_try_init(|| self.bucket.create(&self.path, &self.attempt))
            .await?;
        self.bucket
            .put_part(&self.path, upload_id, number, bytes)
            .await
    }

    async fn abandon(&self) -> Result<()> {
        let Some(upload_id) = self.upload_id.get() else {
            return Ok(());
        };
        self.bucket.abort(&self.path, upload_id).await?;
        self.bucket.unmark(&self.attempt, upload_id).await
    }
}

/// An upload; dropped without a seal, it is ended in the background, and by the next sweep if that
/// fails.
pub(super) struct Upload {
    target: Arc<Target>,
    io: IoRuntime,
    in_flight: Arc<Semaphore>,
    part_bytes: usize,
    buffer: BytesMut,
    sent: i32,
    parts: Vec<Part>,
    tasks: JoinSet<Result<Part>>,
    /// The first failure. A file that has lost a part cannot be completed any more.
    failed: Option<Error>,
    sealed: bool,
}

impl Upload {
    pub(super) fn new(
        target: Target,
        io: IoRuntime,
        in_flight: Arc<Semaphore>,
        part_bytes: usize,
    ) -> Self {
        Self {
            target: Arc::new(target),
            io,
            in_flight,
            part_bytes,
            buffer: BytesMut::new(),
            sent: 0,
            parts: Vec::new(),
            tasks: JoinSet::new(),
            failed: None,
            sealed: false,
        }
    }

    /// Sends what is buffered as the next part. Waits while as many parts are in flight as may be:
    /// this is the back-pressure that bounds memory.
    fn send(&mut self) -> Result<()> {
        let permit = self
            .io
            .block_on(self.in_flight.clone().acquire_owned())
            .expect("the semaphore is never closed");
        self.sent += 1;
        let (target, number, bytes) = (
            self.target.clone(),
            self.sent,
            std::mem::take(&mut self.buffer).freeze(),
        );
        self.tasks.spawn_on(
            async move { Box::pin(target.put(number, bytes, permit)).await },
            self.io.handle(),
        );
        while let Some(done) = self.tasks.try_join_next() {
            self.add_part(done)?;
        }
        Ok(())
    }

    fn add_part(&mut self, done: std::result::Result<Result<Part>, JoinError>) -> Result<()> {
        let done = done.unwrap_or_else(|error| {
            Err(Error::Unavailable {
                what: "lake, uploading a part",
                why: error.to_string(),
            })
        });
        self.parts
            .push(done.inspect_err(|error| self.failed = Some(error.clone()))?);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl LakeUpload for Upload {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.check()?;
        while self.buffer.len() + bytes.len() >= self.part_bytes {
            let (full, rest) = bytes.split_at(self.part_bytes - self.buffer.len());
            self.buffer.extend_from_slice(full);
            bytes = rest;
            self.send()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn seal(mut self: Box<Self>) -> Result<String> {
        self.check()?;
        if self.sent == 0 || !self.buffer.is_empty() {
            self.send()?;
        }
        let io = self.io.clone();
        while let Some(done) = io.block_on(self.tasks.join_next()) {
            self.add_part(done)?;
        }
        self.parts.sort_by_key(|part| part.number);
        self.sealed = true;
        let upload_id = self
            .target
            .upload_id
            .get()
            .cloned()
            .expect("a part that is up has an upload");
        Ok(Handle {
            attempt: self.target.attempt.clone(),
            upload_id,
            parts: std::mem::take(&mut self.parts),
        }
        .encode())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.sealed || self.sent == 0 {
            return;
        }
        let (target, mut tasks) = (self.target.clone(), std::mem::take(&mut self.tasks));
        // Parts that arrive after the upload was aborted would stay in the bucket, and so would an
        // upload whose creation was cut off before its marker: the tasks are awaited first.
        self.io.handle().spawn(async move {
            while tasks.join_next().await.is_some() {}
            if let Err(error) = Box::pin(target.abandon()).await {
                tracing::debug!(%error, path = target.path, "an abandoned upload is left to the next sweep");
            }
        });
    }
}
