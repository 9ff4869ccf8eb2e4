//! Tags of answers (`ETag`): who has an answer that holds the same gets none again
//! (`If-None-Match`). When an answer was read is not part of what it holds.

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use sha2::{Digest, Sha256};

use crate::problem::Problem;
use crate::tokens::hex;

/// What comes before the time of an answer. No text within it holds this: quotes in texts are
/// escaped.
const AS_OF: &[u8] = b"\"as_of\":\"";
/// Bytes of a tag.
const LENGTH: usize = 12;

/// Tags answers in JSON, and leaves out those that a caller has.
pub(crate) async fn tag(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let is_asked = [Method::GET, Method::HEAD].contains(request.method());
    let response = next.call(request).await?;
    let is_json = is_json(response.headers());
    let is_tagged = response.headers().contains_key(header::ETAG);
    if !is_asked || !is_json || is_tagged || response.status() != StatusCode::OK {
        return Ok(response.map_into_boxed_body());
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let body = to_bytes(body).await.map_err(|error| {
        let error: Box<dyn std::error::Error> = error.into();
        tracing::error!(%error, "an answer cannot be read");
        Problem::new(
            "internal",
            "the request could not be carried out; the log says why",
        )
    })?;
    let tag = of(&body);
    let response = if has(request.headers(), &tag) {
        let mut response = HttpResponse::NotModified();
        response.insert_header((header::ETAG, tag)).finish()
    } else {
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response.set_body(body).map_into_boxed_body()
    };
    Ok(ServiceResponse::new(request, response))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes() == b"application/json")
}

/// The tag of an answer: a weak one, since the same may have been read at different times.
fn of(body: &[u8]) -> String {
    let mut digest = Sha256::new();
    let time = body.windows(AS_OF.len()).rposition(|part| part == AS_OF);
    match time.map(|place| body.split_at(place + AS_OF.len())) {
        Some((before, time)) => {
            let end = time.iter().position(|byte| *byte == b'"');
            digest.update(before);
            digest.update(&time[end.unwrap_or(0)..]);
        }
        None => digest.update(body),
    }
    format!("W/\"{}\"", hex(&digest.finalize()[..LENGTH]))
}

/// Whether a caller has an answer with this tag.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH);
    let mut known = known.filter_map(|tags| tags.to_str().ok());
    // A tag of ours has no comma in it. Whether one is weak is no matter where it is compared so.
    known.any(|tags| {
        let mut tags = tags.split(',').map(str::trim);
        tags.any(|known| known == "*" || known == tag || known == &tag[2..])
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use theatre_actors::ports::Role;

    use super::of;
    use crate::deployed::Deployed;

    #[test]
    fn when_it_was_read_is_not_part_of_what_an_answer_holds() {
        let answer = |item: &str, as_of: &str| {
            of(format!("{{\"items\":[{item}],\"as_of\":\"{as_of}\"}}").as_bytes())
        };
        assert_eq!(answer("1", "2026"), answer("1", "2027-01-01"));
        assert_ne!(answer("1", "2026"), answer("2", "2026"));
        let said = |text: &str| answer(&serde_json::json!(text).to_string(), "2026");
        assert_ne!(said("\"as_of\":\"a\""), said("\"as_of\":\"b\""));
        assert_ne!(of(b"{\"as_of\":\"a"), of(b"{\"as_of\":\"b"));
        assert_ne!(of(b""), of(b"{}"));
    }

    #[test]
    fn who_has_an_answer_gets_none_again_until_it_holds_something_else() {
        let served = Deployed::start(|_| {});
        let token = served.token(Role::Admin, &[]);
        let ask = |path: &str, more: &str| {
            let asked = format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
                connection: close\r\n{more}\r\n"
            );
            let mut stream = TcpStream::connect(served.server.address).unwrap();
            stream.write_all(asked.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            let tag = head.lines().find_map(|line| line.strip_prefix("etag: "));
            (status, tag.map(str::to_owned), body.to_owned())
        };
        let (status, tag, body) = ask("/api/v1/tokens", "");
        let tag = tag.unwrap();
        assert!(status == 200 && body.contains("as_of"), "{body}");
        for known in [
            tag.clone(),
            tag[2..].to_owned(),
            "*".to_owned(),
            format!("\"x\", {tag}"),
        ] {
            let again = ask("/api/v1/tokens", &format!("if-none-match: {known}\r\n"));
            assert_eq!(again, (304, Some(tag.clone()), String::new()), "{known}");
        }
        served.token(Role::Viewer, &[]);
        let other = ask("/api/v1/tokens", &format!("if-none-match: {tag}\r\n"));
        assert!(other.0 == 200 && other.1 != Some(tag), "{other:?}");
        let (status, tag, _) = ask("/api/v1/robots/none", "if-none-match: *\r\n");
        assert_eq!((status, tag), (404, None));
    }
}
