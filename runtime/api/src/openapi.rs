//! The document of the interface (OpenAPI 3.1), made of the table of routes.

use actix_web::HttpResponse;
use actix_web::http::Method;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::problem::CODES;
use crate::routes::{self, Gives, Kind, RouteSpec, Takes};
use crate::rows;

/// The document as it is served at `/api/openapi.json`.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all() {
        let schema = match route.gives {
            Gives::Json(schema) => Some(schema(&mut generator).to_value()),
            Gives::Rows(kind) => Some(page_of(rows::schema(kind))),
            _ => None,
        };
        let method = route.method.as_str().to_ascii_lowercase();
        let path = paths
            .entry(route.path.to_owned())
            .or_insert_with(|| json!({}));
        let body = route
            .takes
            .map(|takes| body(takes, takes.schema.map(|of| of(&mut generator).to_value())));
        path[method.as_str()] = operation(&route, schema, body);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Theatre",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Records in, and what is known out. Times are RFC 3339 in UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

/// A page whose items have this schema.
fn page_of(item: Value) -> Value {
    json!({
        "type": "object",
        "description": "A page of a list.",
        "required": ["items", "as_of"],
        "properties": {
            "items": {"type": "array", "items": item, "description": "The things themselves."},
            "next": {"type": ["string", "null"], "description": "Give this as `after` to get the next page; absent: this is the last one."},
            "as_of": {"type": "string", "format": "date-time", "description": "When the store was read."},
        },
    })
}

fn problem_schema() -> Value {
    let codes: Vec<&str> = CODES.iter().map(|(code, ..)| *code).collect();
    json!({
        "type": "object",
        "description": "What is wrong, as RFC 9457 describes it.",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": codes, "description": "Stable: programs may compare it."},
            "detail": {"type": "string", "description": "What happened and what to do."},
            "records": {"type": "array", "items": {"type": "object"}, "description": "Records that do not fit."},
        },
    })
}

fn kind(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Moment => json!({"type": "string", "format": "date-time"}),
        Kind::Within(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Kind::OneOf(names) => json!({"type": "string", "enum": names}),
    }
}

fn operation(route: &RouteSpec, schema: Option<Value>, body: Option<Value>) -> Value {
    let parameters: Vec<Value> = route
        .parameters
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name,
                "in": parameter.place,
                "required": parameter.is_required,
                "description": parameter.doc,
                "schema": kind(parameter.kind),
            })
        })
        .collect();
    // Paths of the platform before this one stand beside those of the same name.
    let is_alias = route.path.starts_with("/api/") && !route.path.starts_with("/api/v1/");
    let alias = (is_alias && route.path != "/api/openapi.json").then_some("alias");
    let id: String = route
        .path
        .split(['/', '{', '}', '-', '.'])
        .filter(|part| !part.is_empty() && !["api", "v1"].contains(part))
        .chain(alias)
        .collect::<Vec<_>>()
        .join("_");
    let method = route.method.as_str().to_ascii_lowercase();
    let mut operation = json!({
        "operationId": format!("{method}_{}", if id.is_empty() { "page" } else { &id }),
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses(route, schema),
        "security": [],
    });
    if let Some(role) = route.role {
        operation["security"] = json!([{"token": []}]);
        operation["description"] = json!(format!("For callers with the role {}.", role.as_str()));
    }
    if let Some(body) = body {
        operation["requestBody"] = body;
    }
    operation
}

fn body(takes: Takes, schema: Option<Value>) -> Value {
    let content = match schema {
        Some(schema) => json!({"application/json": {"schema": schema}}),
        // Text and bytes have no schema.
        None => json!({
            "application/json": {"schema": {}},
            "application/x-ndjson": {},
            "text/csv": {},
            "application/vnd.apache.avro": {},
        }),
    };
    json!({"required": true, "description": takes.doc, "content": content})
}

fn responses(route: &RouteSpec, schema: Option<Value>) -> Value {
    let content = match (route.gives, schema) {
        (Gives::Json(_) | Gives::Rows(_), Some(schema)) => {
            json!({"application/json": {"schema": schema}})
        }
        (Gives::File(kind), _) => json!({kind: {"schema": {"type": "string"}}}),
        (Gives::Events, _) => json!({"text/event-stream": {"schema": {"type": "string"}}}),
        _ => json!({}),
    };
    let mut good = json!({"description": "Done."});
    if content
        .as_object()
        .is_some_and(|content| !content.is_empty())
    {
        good["content"] = content;
    }
    let mut responses = Map::new();
    responses.insert(route.status.to_string(), good);
    if route.method == Method::GET && !matches!(route.gives, Gives::Events | Gives::File(_)) {
        let held =
            "The caller has it: `If-None-Match` has the `ETag` of an answer that holds the same.";
        responses.insert("304".to_owned(), json!({"description": held}));
    }
    let mut statuses: Vec<(u16, &str)> = Vec::new();
    for (_, status, title) in CODES {
        // What has an operation is asked by its method.
        if may_answer(route, *status) && !statuses.iter().any(|(known, _)| known == status) {
            statuses.push((*status, title));
        }
    }
    for (status, title) in statuses {
        let problem = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
        responses.insert(
            status.to_string(),
            json!({"description": title, "content": problem}),
        );
    }
    Value::Object(responses)
}

/// Whether a route may be answered by a problem of this status.
fn may_answer(route: &RouteSpec, status: u16) -> bool {
    let names_one = route.path.contains('{');
    match status {
        // What has an operation is asked by its method.
        405 => false,
        // What needs no token shows nothing of the deployment, and asks for little.
        401 | 403 | 421 | 429 => route.role.is_some(),
        400 => route.role.is_some() || names_one,
        408 | 413 | 415 => route.takes.is_some(),
        // A repeated change without a body may meet the first one, too.
        409 => route.method != Method::GET,
        _ => true,
    }
}

pub(crate) async fn serve() -> HttpResponse {
    static TEXT: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| format!("{:#}\n", document()));
    HttpResponse::Ok()
        .content_type("application/json")
        .body(TEXT.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_with_a_schema_says_as_of_when_it_is() {
        let document = document();
        let mut looked_at = 0;
        for (path, operations) in document["paths"].as_object().unwrap() {
            let content = &operations["get"]["responses"]["200"]["content"];
            let mut schema = &content["application/json"]["schema"];
            if let Some(name) = schema["$ref"].as_str() {
                schema = document.pointer(name.trim_start_matches('#')).unwrap();
            }
            let Some(properties) = schema["properties"].as_object() else {
                continue;
            };
            looked_at += 1;
            assert!(properties.contains_key("as_of"), "{path}: {properties:?}");
        }
        assert!(looked_at > 15, "{looked_at}");
    }
}
