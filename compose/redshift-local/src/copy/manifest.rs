//! Which files a COPY reads: a manifest's entries with their exact sizes, or all objects under a
//! prefix.

use bytes::Bytes;
use serde::Deserialize;

use super::objects::{Objects, bucket_and_key};

#[derive(Deserialize)]
struct Manifest {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    url: String,
    #[serde(default)]
    mandatory: bool,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    content_length: Option<u64>,
}

/// A file to load.
pub struct File {
    /// `s3://bucket/key`.
    pub url: String,
    /// A missing file fails the COPY.
    mandatory: bool,
    content_length: Option<u64>,
}

impl File {
    /// The file's bytes; `None` when it is missing and may be.
    ///
    /// # Errors
    /// The server's message when it must be there, or has another size than the manifest says.
    pub async fn fetch(&self, objects: &Objects) -> Result<Option<Bytes>, String> {
        let found = objects.get(&self.url).await?;
        match (found, self.content_length) {
            (None, _) if self.mandatory => Err(format!(
                "S3ServiceException: The specified key does not exist. Mandatory url in the manifest is not present: {}",
                self.url
            )),
            (None, _) => Ok(None),
            (Some(bytes), Some(said)) if bytes.len() as u64 != said => {
                let there = bytes.len();
                Err(super::scan_error(
                    &self.url,
                    &format!("has {there} bytes, the manifest's meta.content_length says {said}"),
                ))
            }
            (Some(bytes), _) => Ok(Some(bytes)),
        }
    }
}

/// The files of a manifest.
///
/// # Errors
/// The server's message when it is missing or not in the form that columnar files need.
pub async fn files(url: &str, objects: &Objects) -> Result<Vec<File>, String> {
    let Some(bytes) = objects.get(url).await? else {
        return Err(format!(
            "S3ServiceException: The specified key does not exist. Manifest file is not found: {url}"
        ));
    };
    read(url, &bytes)
}

fn read(url: &str, bytes: &[u8]) -> Result<Vec<File>, String> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| {
        format!("Manifest file is not in correct json format, location = {url}: {error}")
    })?;
    if manifest.entries.is_empty() {
        return Err(format!("Manifest file has no entries, location = {url}"));
    }
    let file = |entry: Entry| {
        bucket_and_key(&entry.url)?;
        let Some(content_length) = entry.meta.and_then(|meta| meta.content_length) else {
            return Err(format!(
                "Manifest file does not contain the content_length meta key for {}, which columnar files need, location = {url}",
                entry.url
            ));
        };
        Ok(File {
            url: entry.url,
            mandatory: entry.mandatory,
            content_length: Some(content_length),
        })
    };
    manifest.entries.into_iter().map(file).collect()
}

/// All objects whose key begins like `url`.
///
/// # Errors
/// The server's message when there is none.
pub async fn by_prefix(url: &str, objects: &Objects) -> Result<Vec<File>, String> {
    let urls = objects.list(url).await?;
    if urls.is_empty() {
        return Err(format!(
            "The specified S3 prefix '{}' does not exist",
            bucket_and_key(url)?.1
        ));
    }
    Ok(urls
        .into_iter()
        .map(|url| File {
            url,
            mandatory: true,
            content_length: None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_files_and_their_exact_sizes() {
        let good = br#"{"entries":[{"url":"s3://b/k.parquet","mandatory":true,"meta":{"content_length":5}},{"url":"s3://b/l","meta":{"content_length":1}}]}"#;
        let files = read("s3://b/m", good).unwrap_or_default();
        assert_eq!(
            files
                .iter()
                .map(|file| (file.url.as_str(), file.mandatory))
                .collect::<Vec<_>>(),
            [("s3://b/k.parquet", true), ("s3://b/l", false)]
        );
        let why = |text: &str| read("s3://b/m", text.as_bytes()).err().unwrap_or_default();
        assert!(
            why(r#"{"entries":[{"url":"s3://b/k","mandatory":true}]}"#)
                .contains("content_length meta key for s3://b/k")
        );
        assert!(why(r#"{"entries":[]}"#).contains("no entries"));
        assert!(why("nonsense").contains("not in correct json format"));
        assert!(
            why(r#"{"entries":[{"url":"file:///k","meta":{"content_length":1}}]}"#)
                .contains("file:///k")
        );
    }
}
