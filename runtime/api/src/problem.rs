//! Answers that say what is wrong, as RFC 9457 describes them. Codes are stable: programs may
//! compare them.

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use theatre_actors::ports::Error;

/// Every code with its status and title, for the document of the interface.
pub(crate) const CODES: &[(&str, u16, &str)] = &[
    ("bad_request", 400, "The request cannot be understood"),
    (
        "invalid_records",
        400,
        "Records do not fit the dataset's schema",
    ),
    ("unauthenticated", 401, "A token is needed"),
    ("forbidden", 403, "The token does not allow this"),
    ("not_found", 404, "There is no such thing"),
    (
        "method_not_allowed",
        405,
        "The path is not asked by this method",
    ),
    ("too_slow", 408, "The body comes too slowly"),
    (
        "conflict",
        409,
        "The request is under way, or its key was used for another one",
    ),
    ("too_large", 413, "The body is too long"),
    (
        "unsupported",
        415,
        "The body's type or encoding is not known",
    ),
    (
        "misdirected",
        421,
        "Callers without a token do not ask by this name",
    ),
    ("busy", 429, "Too much at once"),
    ("internal", 500, "The request could not be carried out"),
    (
        "unavailable",
        503,
        "A server that this one depends on does not answer",
    ),
];

/// Something wrong with a request.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    /// Address of the code's description.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) title: &'static str,
    pub(crate) status: u16,
    /// Stable code.
    pub(crate) code: &'static str,
    /// What happened and what to do.
    pub(crate) detail: String,
    /// For records that do not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) records: Option<Box<serde_json::Value>>,
    /// Seconds after which it may go through.
    #[serde(skip)]
    pub(crate) retry_after: Option<u32>,
    /// Methods by which the path is asked, where it was another one.
    #[serde(skip)]
    pub(crate) allow: Option<Box<str>>,
}

pub(crate) type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of a code of [`CODES`].
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let (_, status, title) = CODES
            .iter()
            .find(|(known, ..)| *known == code)
            .copied()
            .unwrap_or(("internal", 500, "The request could not be carried out"));
        Self {
            kind: format!("/api/openapi.json#{code}"),
            title,
            status,
            code,
            detail: detail.into(),
            records: None,
            retry_after: None,
            allow: None,
        }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new("bad_request", detail)
    }

    pub(crate) fn missing(what: &str, id: &str) -> Self {
        Self::new("not_found", format!("there is no {what} '{id}'"))
    }

    /// A path that is there, asked by a method that is not one of its own.
    pub(crate) fn not_allowed(method: &Method, allowed: &[&str]) -> Self {
        let allowed = allowed.join(", ");
        let detail = format!("{method} cannot be done with this; {allowed} can");
        let mut problem = Self::new("method_not_allowed", detail);
        problem.allow = Some(allowed.into());
        problem
    }

    pub(crate) fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/problem+json");
        if self.status == 408 {
            // The rest of the body would come as slowly.
            response.force_close();
        }
        // A refusal before the handler does not come by the server's own headers.
        for header in crate::server::HEADERS {
            response.insert_header(header);
        }
        if self.status == 401 {
            response.insert_header((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"theatre\""),
            ));
        }
        if let Some(allowed) = &self.allow {
            response.insert_header((header::ALLOW, &**allowed));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response.body(serde_json::to_string(self).unwrap_or_default())
    }
}

/// What a port's error is to a caller: texts of servers and statements stay in the log.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable { what, .. } => {
                tracing::warn!(%error, "a request of the HTTP interface waits for a server");
                Self::new(
                    "unavailable",
                    format!("the {what} does not answer; try again"),
                )
                .after(2)
            }
            other => {
                tracing::error!(error = %other, "a request of the HTTP interface failed");
                Self::new(
                    "internal",
                    "the request could not be carried out; the log says why",
                )
            }
        }
    }
}

/// A task of the server that ended before its time, which would be a bug.
impl From<actix_web::error::BlockingError> for Problem {
    fn from(error: actix_web::error::BlockingError) -> Self {
        tracing::error!(%error, "a request of the HTTP interface was not carried out");
        Self::new(
            "internal",
            "the request could not be carried out; the log says why",
        )
    }
}
