//! The page: its files are parts of the program.

use actix_web::http::header;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use crate::problem::{Answer, Problem};

/// Nothing from anywhere else, nothing inline, in no frame.
const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const INDEX: &str = include_str!("../page/index.html");
const ASSETS: &[(&str, &str, &str)] = &[
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("../page/style.css"),
    ),
    (
        "app.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/app.js"),
    ),
    (
        "api.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/api.js"),
    ),
    (
        "alerts.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/alerts.js"),
    ),
    (
        "fleet.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/fleet.js"),
    ),
    (
        "dom.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/dom.js"),
    ),
    (
        "pipeline.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/pipeline.js"),
    ),
    (
        "procedures.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/procedures.js"),
    ),
    (
        "plot.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/plot.js"),
    ),
    (
        "reports.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/reports.js"),
    ),
    (
        "maintenance.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/maintenance.js"),
    ),
    (
        "views.js",
        "text/javascript; charset=utf-8",
        include_str!("../page/views.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../page/icon.svg"),
    ),
];

fn file(request: &HttpRequest, kind: &str, text: &'static str) -> HttpResponse {
    let tag = format!("\"{}\"", &crate::tokens::hash(text)[..16]);
    let known = request
        .headers()
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .content_type(kind)
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY));
    if known {
        response.finish()
    } else {
        response.body(text)
    }
}

pub(crate) async fn index(request: HttpRequest) -> HttpResponse {
    file(&request, "text/html; charset=utf-8", INDEX)
}

pub(crate) async fn asset(request: HttpRequest, name: Path<String>) -> Answer<HttpResponse> {
    let found = ASSETS.iter().find(|(known, ..)| *known == name.as_str());
    let (_, kind, text) = found.ok_or_else(|| Problem::missing("file", &name))?;
    Ok(file(&request, kind, text))
}
