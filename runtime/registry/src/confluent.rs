//! A registry that speaks Confluent's HTTP interface (Confluent, Karapace, Redpanda, Apicurio's
//! compatible one).

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use theatre_actors::ports::{Error, Result, SchemaSource};
use theatre_schemas::framing::SchemaId;
use ureq::Agent;

use super::http;
use theatre_config::redacted;

const WHAT: &str = "schema registry";

/// A registry at a URL.
pub struct ConfluentSource {
    agent: Agent,
    url: String,
    /// The header that says who asks; never shown.
    authorization: Option<String>,
}

impl ConfluentSource {
    /// A registry at `url` (`http://host:port`, also with a path), asked as `user` with `password`
    /// where there is one.
    ///
    /// # Errors
    /// When the URL is none or the certificates cannot be read.
    pub fn new(url: &str, user: Option<(&str, &str)>, ca_file: Option<&Path>) -> Result<Self> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            // Not shown: it may hold a password, and without a scheme it is not known where.
            return Err(Error::Refused(
                "registry.url begins with neither http:// nor https://".to_owned(),
            ));
        }
        let authorization = user.map(|(user, password)| {
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        });
        Ok(Self {
            agent: theatre_system::http::agent(url, ca_file)?,
            url: url.trim_end_matches('/').to_owned(),
            authorization,
        })
    }

    fn get(&self, path: &str) -> Result<Option<String>> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.get(&url).header(
            "accept",
            "application/vnd.schemaregistry.v1+json, application/json",
        );
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let (status, answer) = http::answer(WHAT, &url, request.call())?;
        let unavailable = |why: String| Error::Unavailable {
            what: WHAT,
            why: redacted(&format!("{url} answered {status}{why}")),
        };
        match (status, answer["schema"].as_str()) {
            (200, Some(schema)) => Ok(Some(schema.to_owned())),
            (404, _) => Ok(None),
            (401 | 403, _) => Err(unavailable(
                ": check registry.user and registry.password_file".to_owned(),
            )),
            _ => Err(unavailable(
                answer["message"]
                    .as_str()
                    .map_or(String::new(), |message| format!(": {message}")),
            )),
        }
    }
}

impl SchemaSource for ConfluentSource {
    fn fetch(&self, id: SchemaId) -> Result<Option<String>> {
        match id {
            SchemaId::Confluent(number) => self.get(&format!("/schemas/ids/{number}")),
            SchemaId::Glue(_) => Ok(None),
        }
    }

    fn latest(&self, subject: &str) -> Result<Option<String>> {
        self.get(&format!("/subjects/{subject}/versions/latest"))
    }
}
