//! What the sources that ask over HTTP share: an answer is bounded and must be JSON.

use theatre_actors::ports::{Error, Result};
use ureq::Body;
use ureq::http::Response;

use theatre_config::redacted;

/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Status and JSON of an answer; an answer that is no JSON is none of a schema registry's.
pub(super) fn answer(
    what: &'static str,
    url: &str,
    response: std::result::Result<Response<Body>, ureq::Error>,
) -> Result<(u16, serde_json::Value)> {
    let unavailable = |why: String| Error::Unavailable {
        what,
        why: redacted(&format!("{url}: {why}")),
    };
    let mut response = response.map_err(|error| unavailable(error.to_string()))?;
    let status = response.status().as_u16();
    let text = response
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string()
        .map_err(|error| unavailable(error.to_string()))?;
    let json = serde_json::from_str(&text)
        .map_err(|_| unavailable(format!("answered {status} with something that is no JSON")))?;
    Ok((status, json))
}
