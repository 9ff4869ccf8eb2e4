//! Objects of S3, or of a look-alike.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Credentials};
use aws_sdk_s3::error::DisplayErrorContext;
use bytes::Bytes;

/// How S3 is reached. What is absent comes from the environment, as with every AWS client.
#[derive(Clone, Default)]
pub struct S3Access {
    /// URL of a look-alike.
    pub endpoint: Option<String>,
    /// Buckets are part of the path, not of the host name.
    pub path_style: bool,
    /// Access key and secret key.
    pub keys: Option<(String, String)>,
    /// Region.
    pub region: Option<String>,
}

/// A client of S3.
pub struct Objects(Client);

impl Objects {
    /// Connects lazily: nothing is asked before the first COPY.
    pub async fn new(access: &S3Access) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some((key, secret)) = &access.keys {
            loader = loader.credentials_provider(Credentials::new(
                key,
                secret,
                None,
                None,
                "redshift-local",
            ));
        }
        let shared = loader.load().await;
        let mut config = Builder::from(&shared).force_path_style(access.path_style);
        if access.region.is_some() || shared.region().is_none() {
            config = config.region(Region::new(
                access
                    .region
                    .clone()
                    .unwrap_or_else(|| "us-east-1".to_owned()),
            ));
        }
        if let Some(endpoint) = &access.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self(Client::from_conf(config.build()))
    }

    /// The bytes of `s3://bucket/key`; `None` when there is no such object.
    ///
    /// # Errors
    /// The server's message when S3 does not give them.
    pub async fn get(&self, url: &str) -> Result<Option<Bytes>, String> {
        let (bucket, key) = bucket_and_key(url)?;
        let failed = |why: String| format!("S3ServiceException: {url}: {why}");
        match self.0.get_object().bucket(bucket).key(key).send().await {
            Ok(object) => object
                .body
                .collect()
                .await
                .map(|body| Some(body.into_bytes()))
                .map_err(|error| failed(error.to_string())),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_no_such_key()) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed(DisplayErrorContext(&error).to_string())),
        }
    }

    /// The URLs of all objects whose key begins like that of `url`, in order.
    ///
    /// # Errors
    /// The server's message when S3 does not answer.
    pub async fn list(&self, url: &str) -> Result<Vec<String>, String> {
        let (bucket, prefix) = bucket_and_key(url)?;
        let mut pages = self
            .0
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .into_paginator()
            .send();
        let mut urls = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                format!("S3ServiceException: {url}: {}", DisplayErrorContext(&error))
            })?;
            urls.extend(
                page.contents()
                    .iter()
                    .filter_map(|object| object.key())
                    .map(|key| format!("s3://{bucket}/{key}")),
            );
        }
        Ok(urls)
    }
}

/// Cuts `s3://bucket/key`.
///
/// # Errors
/// Names a URL of another form.
pub fn bucket_and_key(url: &str) -> Result<(&str, &str), String> {
    let parts = url
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'));
    parts
        .filter(|(bucket, _)| !bucket.is_empty())
        .ok_or_else(|| format!("'{url}' is no S3 URL of the form s3://bucket/key"))
}
