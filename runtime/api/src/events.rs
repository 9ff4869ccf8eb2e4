//! Server-sent events: alerts, outcomes, steps of procedures and how robots stand, as they are
//! committed.
//!
//! A [`feed::Feed`] reads the store's outputs once for all listeners and keeps the newest. An event's
//! id says how far each partition was then, so a listener that comes back goes on without a hole and
//! without an event twice: from the feed where that still has them, else from the store. A
//! [`listener::Listener`] that does not keep up is sent the reason and cut off; it comes back by itself.

mod event;
mod feed;
mod listener;
mod position;
#[cfg(test)]
mod tests;

use actix_web::http::header;
use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use serde::Deserialize;
use theatre_schemas::records::Priority;

use crate::handlers::{Known, Shared};
use crate::problem::{Answer, Problem};

use event::EventKind;
pub(crate) use feed::Feed;
use listener::{Filter, Listener};
use position::Position;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    kinds: Option<String>,
    robot: Option<String>,
    facility: Option<String>,
    priority: Option<Priority>,
    last_event_id: Option<String>,
}

pub(crate) async fn listen(
    query: Query<EventsQuery>,
    request: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let query = query.into_inner();
    let kinds = EventKind::listed(query.kinds.as_deref())?;
    let permit = state
        .listeners
        .take(&caller.id)
        .map_err(|_| Problem::new("busy", "too many listen already; try again later").after(5))?;
    let header = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let id = header.or(query.last_event_id.as_deref());
    let id = id.filter(|id| !id.is_empty());
    let unknown = || Problem::bad("Last-Event-ID is none of this interface");
    let at = id
        .map(|id| Position::parse(id).ok_or_else(unknown))
        .transpose()?;
    let mut caller = caller.into_inner();
    caller.look_away();
    let filter = Filter {
        kinds,
        robot: query.robot,
        facility: query.facility,
        priority: query.priority,
        caller,
    };
    let listener = Listener::new(state.into_inner(), filter, at, permit);
    let pieces = stream::unfold(listener, async |mut listener| {
        let piece = listener.next().await?;
        Some((Ok::<_, actix_web::Error>(piece), listener))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(pieces))
}
