//! Server-sent events: alerts and outcomes as they are committed.
//!
//! A [`feed::Feed`] reads the store's outputs once for all listeners and keeps the newest. An event's
//! id says how far each partition was then, so a listener that comes back goes on without a hole and
//! without an event twice: from the feed where that still has them, else from the store. A listener
//! that does not keep up is cut off; it comes back by itself.

mod feed;
mod position;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use serde::Deserialize;
use theatre_schemas::records::Priority;

use crate::access::Caller;
use crate::handlers::{Known, Shared};
use crate::problem::{Answer, Problem};
use crate::server::State;

use feed::Event;
pub(crate) use feed::Feed;
use position::Position;

/// How often it is looked for news: a person sees no difference.
const EVERY: Duration = Duration::from_millis(200);
/// A comment is sent after so many looks without an event, so that connections stay open.
const QUIET_LOOKS: u32 = 75;
/// Events that are sent at a time.
const AT_ONCE: usize = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    robot: Option<String>,
    priority: Option<Priority>,
    last_event_id: Option<String>,
}

/// What a listener wants to hear of.
struct Filter {
    robot: Option<String>,
    priority: Option<Priority>,
    caller: Caller,
}

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        let priority = self
            .priority
            .is_none_or(|wanted| event.priority == Some(wanted));
        let robot = self
            .robot
            .as_ref()
            .is_none_or(|wanted| *wanted == event.robot);
        priority && robot && self.caller.may(&event.robot)
    }
}

/// A connection that listens.
struct Listener {
    state: Arc<State>,
    filter: Filter,
    at: Position,
    quiet: u32,
    has_greeted: bool,
    /// Counts the connection until it ends.
    _permit: crate::permits::Permit,
}

pub(crate) async fn listen(
    query: Query<EventsQuery>,
    request: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let permit = state
        .listeners
        .take(&caller.id)
        .map_err(|_| Problem::new("busy", "too many listen already; try again later").after(5))?;
    let header = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let at = match header
        .or(query.last_event_id.as_deref())
        .filter(|id| !id.is_empty())
    {
        Some(id) => Position::parse(id)
            .ok_or_else(|| Problem::bad("Last-Event-ID is none of this interface"))?,
        None => state.feed.now(),
    };
    let query = query.into_inner();
    let mut caller = caller.into_inner();
    caller.look_away();
    let listener = Listener {
        state: state.into_inner(),
        filter: Filter {
            robot: query.robot,
            priority: query.priority,
            caller,
        },
        at,
        quiet: 0,
        has_greeted: false,
        _permit: permit,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream::unfold(listener, next)))
}

/// What is sent next; `None` ends the connection.
async fn next(mut listener: Listener) -> Option<(Result<Bytes, actix_web::Error>, Listener)> {
    if !listener.has_greeted {
        listener.has_greeted = true;
        let hello = format!("retry: 2000\nid: {}\n: theatre\n\n", listener.at);
        return Some((Ok(Bytes::from(hello)), listener));
    }
    loop {
        if listener.state.is_stopping() {
            return None;
        }
        let state = actix_web::web::Data::from(listener.state.clone());
        match listener.filter.caller.has_ended(&state).await {
            Ok(false) => {}
            Ok(true) => return None,
            Err(problem) => {
                tracing::warn!(%problem, "a listener of events is cut off");
                return None;
            }
        }
        let at = listener.at.clone();
        match listener.news().await {
            Ok(events) if events.is_empty() => {}
            Ok(events) => {
                listener.quiet = 0;
                return Some((Ok(Bytes::from(events)), listener));
            }
            Err(problem) => {
                tracing::warn!(%problem, "a listener of events is cut off");
                return None;
            }
        }
        listener.quiet += 1;
        if listener.quiet >= QUIET_LOOKS {
            listener.quiet = 0;
            // The id moves on also where nothing passes the filter.
            let beat = format!("id: {}\n: quiet\n\n", listener.at);
            return Some((Ok(Bytes::from(beat)), listener));
        }
        // Who is far behind goes on at once.
        if listener.at == at {
            actix_web::rt::time::sleep(EVERY).await;
        }
    }
}

impl Listener {
    /// The next events as text; empty where there are none.
    async fn news(&mut self) -> Answer<String> {
        let (events, at) = match self.state.feed.after(&self.at, AT_ONCE) {
            Some(found) => found,
            None => {
                // The feed does not reach back so far: the store does.
                let (state, at) = (self.state.clone(), self.at.clone());
                let read = move || feed::from_store(&*state.parts.store, &at, AT_ONCE);
                actix_web::web::block(read).await??
            }
        };
        if !events.is_empty() {
            // Robots move to other facilities while it listens.
            let state = actix_web::web::Data::from(self.state.clone());
            self.filter.caller.look(&state).await?;
        }
        let mut text = String::new();
        let mut moved = self.at.clone();
        for event in &events {
            moved.set(event.partition, event.sequence);
            if self.filter.takes(event) {
                text.push_str(&format!(
                    "id: {moved}\nevent: {}\ndata: {}\n\n",
                    event.kind, event.data
                ));
            }
        }
        self.filter.caller.look_away();
        self.at = at;
        Ok(text)
    }
}
