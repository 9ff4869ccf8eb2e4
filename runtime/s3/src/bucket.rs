//! The requests to one bucket. Paths of the lake become keys below its prefix.

use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use theatre_actors::ports::{Error, LakeEntry, Result};
use theatre_aws::chain;

use super::fault::Fault;
use super::handle::{Handle, Part};

/// Folder of the markers; no listing shows it.
const UPLOADS: &str = ".uploads/";

/// A bucket and the lake's prefix in it.
#[derive(Debug)]
pub(super) struct Bucket {
    /// The client, with time-outs.
    pub client: Client,
    /// The bucket.
    pub name: String,
    /// Empty, or ends with a slash.
    pub prefix: String,
    /// Whether parts carry checksums that completion compares.
    pub checksums: bool,
    /// URL and endpoint, for people.
    pub display_name: String,
}

/// Some bytes of an object.
#[derive(Debug)]
pub(super) struct Piece {
    /// The bytes: those that were asked for, as far as the object reaches.
    pub bytes: Bytes,
    /// Length of the whole object.
    pub file_bytes: u64,
    /// Tells whether two pieces are of the same object.
    pub etag: Option<String>,
}

impl Bucket {
    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn marker(&self, attempt: &str, upload_id: &str) -> String {
        format!("{}{UPLOADS}{attempt}/{upload_id}", self.prefix)
    }

    /// Where others find a file.
    pub(super) fn location(&self, path: &str) -> String {
        format!("s3://{}/{}{path}", self.name, self.prefix)
    }

    /// Creates an upload and marks it as the attempt's.
    pub(super) async fn create(&self, path: &str, attempt: &str) -> Result<String> {
        const WHAT: &str = "lake, beginning an upload";
        let checksum = self.checksums.then_some(ChecksumAlgorithm::Crc32);
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.name)
            .key(self.key(path))
            .set_checksum_algorithm(checksum);
        let created = request
            .send()
            .await
            .map_err(|error| Fault::from(error).into_error(WHAT))?;
        let upload_id = created.upload_id.ok_or_else(|| Error::Unavailable {
            what: WHAT,
            why: "the answer names no upload".to_owned(),
        })?;
        let marker = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(self.marker(attempt, &upload_id));
        let marked = marker
            .body(ByteStream::from(path.as_bytes().to_vec()))
            .send()
            .await;
        if let Err(error) = marked {
            // Best effort: no sweep finds an upload without a marker, only the bucket's own rule
            // for incomplete uploads ends it.
            if let Err(error) = self.abort(path, &upload_id).await {
                tracing::warn!(%error, path, "an upload that could not be marked stays behind");
            }
            return Err(Fault::from(error).into_error(WHAT));
        }
        Ok(upload_id)
    }

    /// Uploads a part.
    pub(super) async fn put_part(
        &self,
        path: &str,
        upload_id: &str,
        number: i32,
        bytes: Bytes,
    ) -> Result<Part> {
        const WHAT: &str = "lake, uploading a part";
        let checksum = self.checksums.then_some(ChecksumAlgorithm::Crc32);
        let request = self
            .client
            .upload_part()
            .bucket(&self.name)
            .key(self.key(path))
            .upload_id(upload_id)
            .part_number(number);
        let sent = request
            .set_checksum_algorithm(checksum)
            .body(ByteStream::from(bytes))
            .send()
            .await;
        let done = sent.map_err(|error| Fault::from(error).into_error(WHAT))?;
        let etag = done.e_tag.ok_or_else(|| Error::Unavailable {
            what: WHAT,
            why: "the answer names no ETag".to_owned(),
        })?;
        Ok(Part {
            number,
            etag,
            crc32: done.checksum_crc32,
        })
    }

    /// Completes an upload unless its name is taken.
    pub(super) async fn complete(
        &self,
        path: &str,
        handle: &Handle,
    ) -> std::result::Result<(), Fault> {
        let part = |part: &Part| {
            CompletedPart::builder()
                .part_number(part.number)
                .e_tag(&part.etag)
                .set_checksum_crc32(part.crc32.clone())
                .build()
        };
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(handle.parts.iter().map(part).collect()))
            .build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(self.key(path))
            .upload_id(&handle.upload_id);
        request
            .multipart_upload(parts)
            .if_none_match("*")
            .send()
            .await?;
        Ok(())
    }

    /// Aborts an upload and frees its parts; succeeds for one that is gone.
    pub(super) async fn abort(&self, path: &str, upload_id: &str) -> Result<()> {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.name)
            .key(self.key(path))
            .upload_id(upload_id);
        match request.send().await.map_err(Fault::from) {
            Ok(_) => Ok(()),
            Err(fault) if fault.is("NoSuchUpload") => Ok(()),
            Err(fault) => Err(fault.into_error("lake, ending an upload")),
        }
    }

    /// Removes the mark of an upload that has ended.
    pub(super) async fn unmark(&self, attempt: &str, upload_id: &str) -> Result<()> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.name)
            .key(self.marker(attempt, upload_id));
        request
            .send()
            .await
            .map_err(|error| Fault::from(error).into_error("lake, forgetting an upload"))?;
        Ok(())
    }

    /// Attempt and upload id of all marked uploads whose attempt starts with `prefix`.
    pub(super) async fn marked(&self, prefix: &str) -> Result<Vec<(String, String)>> {
        let folder = self.key(UPLOADS);
        let listed = self.keys(&format!("{folder}{prefix}")).await?;
        let marks = listed
            .iter()
            .filter_map(|(key, _)| key.strip_prefix(&folder)?.split_once('/'));
        Ok(marks
            .map(|(attempt, upload_id)| (attempt.to_owned(), upload_id.to_owned()))
            .collect())
    }

    /// The path of a marked upload; `None` if it was unmarked meanwhile.
    pub(super) async fn marked_path(
        &self,
        attempt: &str,
        upload_id: &str,
    ) -> Result<Option<String>> {
        let body = self.get(self.marker(attempt, upload_id)).await?;
        Ok(body.map(|body| String::from_utf8_lossy(&body).into_owned()))
    }

    /// True if a completed file is there.
    pub(super) async fn holds(&self, path: &str) -> Result<bool> {
        match self
            .client
            .head_object()
            .bucket(&self.name)
            .key(self.key(path))
            .send()
            .await
            .map_err(Fault::from)
        {
            Ok(_) => Ok(true),
            Err(fault) if fault.status == Some(404) => Ok(false),
            Err(fault) => Err(fault.into_error("lake, looking for a file")),
        }
    }

    /// Puts other bytes under the name of a file, with one request.
    pub(super) async fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        let checksum = self.checksums.then_some(ChecksumAlgorithm::Crc32);
        let request = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(self.key(path))
            .set_checksum_algorithm(checksum);
        let sent = request.body(ByteStream::from(bytes)).send().await;
        sent.map(drop)
            .map_err(|error| Fault::from(error).into_error("lake, replacing a file"))
    }

    /// All completed files under a prefix, sorted by path.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>> {
        let mut entries = Vec::new();
        for (key, bytes) in self.keys(&self.key(prefix)).await? {
            // Consoles make empty objects that end with a slash, to show folders.
            let path = key
                .strip_prefix(&self.prefix)
                .filter(|path| !path.starts_with(UPLOADS) && !path.ends_with('/'));
            entries.extend(path.map(|path| LakeEntry {
                path: path.to_owned(),
                bytes,
            }));
        }
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(entries)
    }

    /// The bytes of a completed file; `None` if it is not there.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        self.get(self.key(path)).await
    }

    /// Bytes of a completed file; `None` if it is not there.
    pub(super) async fn piece(&self, path: &str, range: Range<u64>) -> Result<Option<Piece>> {
        const WHAT: &str = "lake, reading a part of a file";
        let last = range.end.saturating_sub(1);
        let request = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(self.key(path))
            .range(format!("bytes={}-{last}", range.start));
        let answer = match request.send().await.map_err(Fault::from) {
            Ok(answer) => answer,
            Err(fault) if fault.is("NoSuchKey") => return Ok(None),
            // No part of an empty object can be asked for.
            Err(fault) if fault.status == Some(416) => {
                let whole = self.read(path).await?;
                return Ok(whole.map(|bytes| Piece {
                    file_bytes: bytes.len() as u64,
                    bytes,
                    etag: None,
                }));
            }
            Err(fault) => return Err(fault.into_error(WHAT)),
        };
        let etag = answer.e_tag.clone();
        // As in `bytes 0-99/2000`; an answer without it is the whole object.
        let total = answer.content_range.as_deref();
        let total = total.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        let body = answer.body.collect().await;
        let body = body.map_err(|error| Error::Unavailable {
            what: WHAT,
            why: chain(&error),
        })?;
        let bytes = body.into_bytes();
        Ok(Some(Piece {
            file_bytes: total.unwrap_or(bytes.len() as u64),
            bytes,
            etag,
        }))
    }

    /// Whether the lake's part of the bucket can be listed; one page shows it.
    pub(super) async fn try_listing(&self) -> Result<()> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(&self.prefix)
            .max_keys(1);
        let listed = request.send().await.map(drop);
        listed.map_err(|error| Fault::from(error).into_error("lake, listing"))
    }

    /// Whether an object can be written, read and deleted. It stands among the markers, which no
    /// listing of the lake shows, under a name that no attempt has.
    pub(super) async fn try_writing(&self, number: i64) -> Result<()> {
        const WHAT: &str = "lake, writing an object to try it";
        let key = self.marker("doctor", &number.to_string());
        let body = format!("written and deleted by theatre doctor: {number}");
        let request = self.client.put_object().bucket(&self.name).key(&key);
        request
            .body(ByteStream::from(body.as_bytes().to_vec()))
            .send()
            .await
            .map_err(|error| Fault::from(error).into_error(WHAT))?;
        let read = self.get(key.clone()).await;
        // Also if it could not be read.
        let request = self.client.delete_object().bucket(&self.name).key(&key);
        let deleted = request.send().await;
        if read?.is_none_or(|found| found != body.as_bytes()) {
            return Err(Error::Refused(
                "lake: what was just written is not what is read; the object store is not consistent"
                    .to_owned(),
            ));
        }
        deleted
            .map(drop)
            .map_err(|error| Fault::from(error).into_error("lake, deleting an object"))
    }

    /// Keys and lengths under a prefix of the bucket.
    async fn keys(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        let mut keys = Vec::new();
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(prefix)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Fault::from(error).into_error("lake, listing"))?;
            for object in page.contents.unwrap_or_default() {
                let bytes = object
                    .size
                    .and_then(|bytes| u64::try_from(bytes).ok())
                    .unwrap_or_default();
                keys.extend(object.key.map(|key| (key, bytes)));
            }
        }
        Ok(keys)
    }

    async fn get(&self, key: String) -> Result<Option<Bytes>> {
        const WHAT: &str = "lake, reading a file";
        let answer = match self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await
            .map_err(Fault::from)
        {
            Ok(answer) => answer,
            Err(fault) if fault.is("NoSuchKey") => return Ok(None),
            Err(fault) => return Err(fault.into_error(WHAT)),
        };
        let body = answer
            .body
            .collect()
            .await
            .map_err(|error| Error::Unavailable {
                what: WHAT,
                why: chain(&error),
            })?;
        Ok(Some(body.into_bytes()))
    }
}
