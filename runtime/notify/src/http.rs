//! A POST to a recipient, and what its answer means.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use theatre_actors::ports::{Error, Result};
use theatre_config::notify::NotifyConfig;
use theatre_config::without_path;
use theatre_pipeline::outbox::Receipt;
use theatre_system::http::{Agent, patient_agent};

/// Most of an answer that is read and shown.
const SHOWN_BYTES: u64 = 300;

/// A client of one recipient. It follows no redirect: a signed message is for the address that a
/// person has named and for no other.
pub(super) struct Client {
    url: String,
    ca_file: Option<PathBuf>,
    timeout: Duration,
    agent: OnceLock<Agent>,
}

/// An answer.
pub(super) struct Answer {
    /// Status.
    pub(super) status: u16,
    /// The beginning of the body.
    pub(super) body: String,
}

/// The error of a recipient that does not answer, or not now.
pub(super) fn unavailable(why: String) -> Error {
    Error::Unavailable {
        what: "the recipient",
        why,
    }
}

impl Client {
    /// For the URL of a section.
    pub(super) fn of(section: &NotifyConfig) -> Self {
        Self::at(section.url.clone().unwrap_or_default(), section)
    }

    /// For another URL.
    pub(super) fn at(url: String, section: &NotifyConfig) -> Self {
        Self {
            url,
            ca_file: section.ca_file.as_ref().map(|path| path.to_path_buf()),
            timeout: Duration::from_micros(section.timeout.0.unsigned_abs()),
            agent: OnceLock::new(),
        }
    }

    /// Where it posts to.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it could be set up.
    ///
    /// # Errors
    /// Names the certificates that cannot be used.
    pub(super) fn check(&self) -> Result<()> {
        self.agent().map(drop)
    }

    fn agent(&self) -> Result<&Agent> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        let agent = patient_agent(&self.url, self.ca_file.as_deref(), self.timeout)?;
        Ok(self.agent.get_or_init(|| agent))
    }

    /// Posts; an answer is no error, whatever its status.
    ///
    /// # Errors
    /// When there was no answer in time.
    pub(super) fn post(&self, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let mut request = self.agent()?.post(&self.url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // What lies behind the host may be a secret.
        let place = without_path(&self.url);
        let failed = |error: ureq::Error| {
            let why = error.to_string().replace(&self.url, &place);
            unavailable(format!("{place}: {why}"))
        };
        let mut response = request.send(body.as_bytes()).map_err(failed)?;
        let status = response.status().as_u16();
        // An answer that breaks off was given all the same.
        let begin = response
            .body_mut()
            .with_config()
            .limit(SHOWN_BYTES)
            .lossy_utf8(true);
        Ok(Answer {
            status,
            body: begin.read_to_string().unwrap_or_default(),
        })
    }
}

impl Answer {
    /// What an answer says of the message. A status of success: it is there. One that says that the
    /// message itself is at fault: it will never be taken. One that says that the server has failed
    /// with it: not now. All others may pass, and are of the recipient, whatever the message.
    ///
    /// # Errors
    /// Those that may pass.
    pub(super) fn receipt(&self) -> Result<Receipt> {
        match self.status {
            200..=299 => Ok(Receipt::Taken),
            408 | 429 => Err(unavailable(self.words())),
            400..=499 => Ok(Receipt::Refused(self.words())),
            500..=599 => Ok(Receipt::NotNow(self.words())),
            300..=399 => Err(unavailable(format!(
                "{}; a redirect is not followed: name the address it leads to, if that is right",
                self.words()
            ))),
            _ => Err(unavailable(self.words())),
        }
    }

    /// The answer in words.
    pub(super) fn words(&self) -> String {
        let body = self.body.split_whitespace().collect::<Vec<_>>().join(" ");
        if body.is_empty() {
            format!("it answered {}", self.status)
        } else {
            format!("it answered {}: {body}", self.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_it_is_there_never_will_be_or_may_be() {
        let receipt = |status| {
            let body = " no\n good ".to_owned();
            Answer { status, body }.receipt()
        };
        for status in [200, 202, 204] {
            assert_eq!(receipt(status), Ok(Receipt::Taken));
        }
        for status in [400, 401, 404, 410, 422] {
            let why = format!("it answered {status}: no good");
            assert_eq!(receipt(status), Ok(Receipt::Refused(why)));
        }
        for status in [500, 502, 503, 599] {
            let why = format!("it answered {status}: no good");
            assert_eq!(receipt(status), Ok(Receipt::NotNow(why)));
        }
        for status in [408, 429, 301, 307, 100] {
            assert!(
                matches!(receipt(status), Err(Error::Unavailable { .. })),
                "{status}"
            );
        }
    }
}
