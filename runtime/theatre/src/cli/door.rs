//! The door of a running process: what a command asks of the process that runs on its data directory
//! and owns its log.

use std::sync::Arc;

use serde_json::Value;
use theatre_actors::ports::{AccessStore, Role};
use theatre_actors::time::{Clock, LogTime};
use theatre_api::NewToken;
use theatre_api::actions::text;
use theatre_embedded::data_dir::DataLock;
use theatre_system::clock::SystemClock;

use super::Failure;
use super::alerts::refused;
use super::service::Place;
use super::token::WHO;

/// How long the token holds by which a running process is asked, microseconds.
const TOKEN_US: i64 = 60_000_000;

/// Method, path and body of a request.
pub(super) type Request = (&'static str, String, Value);

/// Who appends what a command says.
pub(super) enum Appender {
    /// The command itself. An embedded log belongs to the process that runs on its directory, so its
    /// lock is held meanwhile.
    Command(Option<DataLock>),
    /// The process that runs on the directory, whose HTTP interface is asked at this URL.
    Process(String),
}

impl Appender {
    /// Who appends at a place; its directory is made where nothing has run yet.
    pub(super) fn at(place: &Place) -> Result<Self, Failure> {
        place.dir.create()?;
        if place.config.log.url.is_some() {
            return Ok(Self::Command(None));
        }
        match place.dir.lock() {
            Ok(lock) => Ok(Self::Command(Some(lock))),
            Err(taken) => place.dir.api_address().map(Self::Process).ok_or_else(|| {
                Failure::Failed(format!(
                    "{taken}; it serves no HTTP interface, which would take this ([api] enabled)"
                ))
            }),
        }
    }

    /// When what was said counts.
    pub(super) fn counts(&self) -> &'static str {
        match self {
            Self::Process(_) => {
                "the process that runs here has it; it counts as soon as it is read"
            }
            Self::Command(None) => {
                "in the log; it counts as soon as each partition's process has read it"
            }
            Self::Command(Some(_)) => "in the log; it counts when theatre next runs here",
        }
    }
}

/// The process that runs on a data directory, and who asks it.
pub(super) struct Door<'a> {
    pub(super) place: &'a Place,
    /// Where its HTTP interface is asked.
    pub(super) address: &'a str,
    pub(super) actor: &'a str,
    /// What the requests need.
    pub(super) role: Role,
}

impl Door<'_> {
    /// Asks as the one who acts: with a token of that name, which is revoked afterwards. A user
    /// who may write the directory may make one anyway.
    pub(super) fn ask(&self, requests: &[Request]) -> Result<Vec<Value>, Failure> {
        let access: Arc<dyn AccessStore> = self.place.write()?.access()?;
        let now = SystemClock.now();
        let wish = NewToken {
            name: self.actor.to_owned(),
            role: self.role,
            robots: Vec::new(),
            facilities: Vec::new(),
            expires_at: Some(LogTime(now.0.saturating_add(TOKEN_US))),
        };
        let (token, secret) = theatre_api::issue(&*access, wish, now, WHO, None)?;
        let asked = requests
            .iter()
            .map(|request| ask(self.address, &secret, request));
        let asked: Result<Vec<Value>, Failure> = asked.collect();
        let at = SystemClock.now();
        theatre_api::revoke(&*access, &token.id, at, WHO, None)?;
        asked
    }
}

/// Who acts: as said, or the user.
pub(super) fn actor(
    by: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<String, Failure> {
    let user = || ["USER", "LOGNAME"].iter().find_map(|name| variable(name));
    let name = by.map(str::to_owned).or_else(user);
    let name = text("--by", name.as_deref()).map_err(refused)?;
    name.ok_or_else(|| {
        Failure::Usage("say who you are: --by NAME (neither USER nor LOGNAME is set)".to_owned())
    })
}

/// Asks for one thing; returns the answer.
fn ask(address: &str, secret: &str, request: &Request) -> Result<Value, Failure> {
    let (method, path, body) = request;
    let url = format!("{address}{path}");
    let silent = |error: &dyn std::fmt::Display| {
        Failure::Unreachable(format!(
            "the process that runs here does not answer at {url}: {error}"
        ))
    };
    let agent = theatre_system::http::local_agent();
    let bearer = format!("Bearer {secret}");
    let answered = match *method {
        "DELETE" => agent.delete(&url).header("authorization", &bearer).call(),
        "PUT" => agent
            .put(&url)
            .header("authorization", &bearer)
            .send_json(body),
        _ => agent
            .post(&url)
            .header("authorization", &bearer)
            .send_json(body),
    };
    let mut answer = answered.map_err(|error| silent(&error))?;
    let status = answer.status().as_u16();
    let said = answer
        .body_mut()
        .read_to_string()
        .map_err(|error| silent(&error))?;
    let said: Value = serde_json::from_str(&said).unwrap_or_default();
    match status {
        202 => Ok(said),
        401 => Err(Failure::Failed(format!(
            "another process than that of this data directory answers at {address}: stop one of them"
        ))),
        _ => Err(Failure::Failed(format!(
            "the process that runs here refuses it ({status}): {}",
            said["detail"].as_str().unwrap_or("it does not say why")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::actor;
    use crate::cli::Failure;

    #[test]
    fn who_acts_is_the_one_named_or_the_user() {
        let user = |name: &str| (name == "LOGNAME").then(|| "anna".to_owned());
        assert_eq!(actor(Some("Ben"), user).unwrap(), "Ben");
        assert_eq!(actor(None, user).unwrap(), "anna");
        for no_name in [actor(None, |_| None), actor(Some(" "), user)] {
            assert!(matches!(no_name, Err(Failure::Usage(_))), "{no_name:?}");
        }
    }
}
