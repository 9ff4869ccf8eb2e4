//! A connection that listens: what it is sent next, and when it is cut off.
//!
//! The connection asks for the next piece once the one before has gone to the socket. So what waits
//! for a listener is one piece, and how long it takes says how fast the listener reads. One whose
//! socket takes nothing at all is ended by the system ([`crate::sockets`]).

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::{Instant, sleep, timeout};
use actix_web::web::{Bytes, Data, block};
use serde_json::json;
use theatre_actors::time::LogTime;
use theatre_schemas::records::Priority;
use theatre_telemetry::http::Listening;
use tokio::sync::watch;

use super::event::{Event, EventKind, Said};
use super::feed::{Follower, OfRobots, Taken, from_store};
use super::position::Position;
use crate::access::Caller;
use crate::handlers::fleet_of;
use crate::permits::Permit;
use crate::problem::Problem;
use crate::server::State;
use crate::snapshot::Fleet;

/// A listener that needs longer for a piece is cut off.
const PIECE_WITHIN: Duration = Duration::from_secs(10);
/// So is one that needs longer for a piece when the events that it wants next are not in memory any
/// more.
const BEHIND_WITHIN: Duration = Duration::from_secs(1);
/// Text after which a piece is sent, bytes.
const PIECE: usize = 32 << 10;
/// How often it is looked whether the token still holds.
const LOOK: Duration = Duration::from_secs(1);
/// A comment is sent after so long without an event, so that connections stay open.
const QUIET: Duration = Duration::from_secs(15);
/// How often it is looked whether robots were read again, and how long.
const FLEET_EVERY: Duration = Duration::from_millis(50);
const FLEET_LOOKS: u32 = 100;

/// What a listener wants to hear of.
pub(super) struct Filter {
    pub(super) kinds: Vec<EventKind>,
    pub(super) robot: Option<String>,
    pub(super) facility: Option<String>,
    pub(super) priority: Option<Priority>,
    pub(super) caller: Caller,
}

impl Filter {
    pub(super) fn takes_kind(&self, kind: EventKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether an event may be wanted, as far as that is known of it by itself.
    fn may_take(&self, event: &Event) -> bool {
        let robot = self.robot.as_ref();
        self.takes_kind(event.kind) && robot.is_none_or(|wanted| *wanted == event.robot)
    }

    /// Whether it must be known where robots stand.
    fn needs_fleet(&self) -> bool {
        self.facility.is_some() || self.caller.limits().need_fleet()
    }

    fn takes(&self, event: &Event, said: &Said, fleet: Option<&Fleet>) -> bool {
        let priority = self.priority;
        let stands_at = |facility: &String| {
            let view = fleet.and_then(|fleet| fleet.robot(&event.robot));
            view.and_then(|view| view.record.facility_id.as_ref()) == Some(facility)
        };
        priority.is_none_or(|wanted| said.priority == Some(wanted))
            && self.facility.as_ref().is_none_or(stands_at)
            && self.caller.may(&event.robot)
    }
}

/// Why a connection ends.
#[derive(Debug)]
enum Closing {
    TooSlow,
    TokenEnded,
    Stopping,
    Unavailable(Problem),
}

impl From<Problem> for Closing {
    fn from(problem: Problem) -> Self {
        Self::Unavailable(problem)
    }
}

impl Closing {
    /// A stable name, and what happened and what to do.
    fn words(&self) -> (&'static str, String) {
        const GO_ON: &str = "listen again with this event's id as Last-Event-ID";
        match self {
            Self::TooSlow => (
                "too_slow",
                format!(
                    "events waited too long for this connection; {GO_ON}, read faster, or ask for fewer (kinds, robot, facility, priority)"
                ),
            ),
            Self::TokenEnded => (
                "token_ended",
                format!("the token has expired or was revoked; with another one {GO_ON}"),
            ),
            Self::Stopping => ("stopping", format!("the server stops; {GO_ON}")),
            Self::Unavailable(problem) => (
                "unavailable",
                format!("{}; {GO_ON} in a moment", problem.detail),
            ),
        }
    }
}

/// Where a listener is.
enum Standing {
    Following(Follower),
    /// Farther back than events are kept: it reads the store.
    Behind(Position),
}

impl Standing {
    fn id(&self) -> Arc<str> {
        match self {
            Self::Following(follower) => follower.id.clone(),
            Self::Behind(at) => at.to_string().into(),
        }
    }
}

/// A connection that listens.
pub(super) struct Listener {
    state: Arc<State>,
    filter: Filter,
    standing: Standing,
    /// The id behind what was written last. What was taken may be further, and is lost where it cannot
    /// be written.
    written: Arc<str>,
    arrivals: watch::Receiver<u64>,
    /// Since when the piece before is on its way.
    sent_at: Instant,
    has_greeted: bool,
    has_ended: bool,
    _of_robots: Option<OfRobots>,
    /// Counts the connection until it ends, against the bound and for who watches.
    _permit: Permit,
    _counted: Listening,
}

impl Listener {
    /// One that receives what comes after a position, or from now on.
    pub(super) fn new(
        state: Arc<State>,
        filter: Filter,
        at: Option<Position>,
        permit: Permit,
    ) -> Self {
        let wants_robots = filter.takes_kind(EventKind::Robot);
        let standing = match at {
            Some(at) => Standing::Behind(at),
            None => Standing::Following(state.feed.end()),
        };
        Self {
            _of_robots: wants_robots.then(|| OfRobots::wanted(&state)),
            written: standing.id(),
            standing,
            arrivals: state.feed.arrivals(),
            state,
            filter,
            sent_at: Instant::now(),
            has_greeted: false,
            has_ended: false,
            _permit: permit,
            _counted: Listening::begin(),
        }
    }

    /// The next piece of the answer; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        let mut text = String::new();
        if !self.has_greeted {
            self.has_greeted = true;
            text = format!("retry: 2000\nid: {}\n: theatre\n\n", self.written);
        } else if let Err(closing) = self.piece(&mut text).await {
            // What is written by then is sent before it.
            text.push_str(&self.close(&closing));
        }
        self.sent_at = Instant::now();
        Some(Bytes::from(text))
    }

    /// The last event; its id lies behind all that was written, and behind nothing else.
    fn close(&mut self, closing: &Closing) -> String {
        self.has_ended = true;
        let (reason, detail) = closing.words();
        if !matches!(closing, Closing::Stopping) {
            let caller = &self.filter.caller.id;
            tracing::info!(caller, reason, "a listener of events is cut off");
        }
        let id: &str = &self.written;
        let said = json!({"reason": reason, "detail": detail, "last_event_id": id});
        format!("id: {id}\nevent: closed\ndata: {said}\n\n")
    }

    /// Writes the next piece; where it fails, what was written before is to be sent all the same.
    async fn piece(&mut self, text: &mut String) -> Result<(), Closing> {
        let took = self.sent_at.elapsed();
        if took > PIECE_WITHIN {
            return Err(Closing::TooSlow);
        }
        let quiet_since = Instant::now();
        let mut looked_at: Option<Instant> = None;
        loop {
            if self.state.is_stopping() {
                return Err(Closing::Stopping);
            }
            if looked_at.is_none_or(|at| at.elapsed() >= LOOK) {
                looked_at = Some(Instant::now());
                let state = Data::from(self.state.clone());
                if self.filter.caller.has_ended(&state).await? {
                    return Err(Closing::TokenEnded);
                }
            }
            // Seen before it is looked for events, so that none comes between.
            self.arrivals.borrow_and_update();
            let taken = self.take(took).await?;
            self.write(&taken, text).await?;
            self.written = self.standing.id();
            if text.len() >= PIECE || (taken.is_all && !text.is_empty()) {
                return Ok(());
            }
            if !taken.is_all {
                // Who passes over many leaves room for others.
                sleep(Duration::ZERO).await;
                continue;
            }
            if quiet_since.elapsed() >= QUIET {
                // The id moves on also where nothing passes the filter.
                *text = format!("id: {}\n: quiet\n\n", self.written);
                return Ok(());
            }
            drop(timeout(LOOK, self.arrivals.changed()).await);
        }
    }

    /// The next events, wherever they are.
    async fn take(&mut self, took: Duration) -> Result<Taken, Closing> {
        match &mut self.standing {
            Standing::Following(follower) => match self.state.feed.take(follower) {
                Some(taken) => Ok(taken),
                None if took > BEHIND_WITHIN => Err(Closing::TooSlow),
                // More came at once than is kept.
                None => {
                    let at = Position::parse(&follower.id).unwrap_or_default();
                    self.standing = Standing::Behind(at);
                    Ok(Taken::default())
                }
            },
            Standing::Behind(at) => {
                if let Some(follower) = self.state.feed.join(at) {
                    self.standing = Standing::Following(follower);
                    return Ok(Taken::default());
                }
                let (state, from) = (self.state.clone(), at.clone());
                let _permit = self.state.feed.may_read_store().await;
                let read = move || from_store(&*state.parts.store, &from, &*state.parts.clock);
                let (taken, moved) = block(read)
                    .await
                    .map_err(Problem::from)?
                    .map_err(Problem::from)?;
                *at = moved;
                Ok(taken)
            }
        }
    }

    /// Writes the events that are wanted: all of them, or none where it fails.
    async fn write(&mut self, taken: &Taken, text: &mut String) -> Result<(), Closing> {
        let wanted: Vec<&(Arc<Event>, Arc<str>)> = taken
            .events
            .iter()
            .filter(|(event, _)| self.filter.may_take(event))
            .collect();
        self.settle(&wanted).await?;
        let known_at = wanted.iter().filter_map(|(event, _)| event.known_at());
        let Some(known_at) = known_at.max() else {
            return Ok(());
        };
        let fleet = match self.filter.needs_fleet() {
            true => Some(fleet_since(&self.state, known_at).await?),
            false => None,
        };
        if let Some(fleet) = &fleet {
            // Robots move to other facilities while it listens.
            self.filter.caller.see(fleet.clone());
        }
        for (event, id) in wanted {
            let said = event.said();
            if let Some(said) = said.filter(|said| self.filter.takes(event, said, fleet.as_deref()))
            {
                text.push_str("id: ");
                text.push_str(id);
                text.push('\n');
                text.push_str(&said.text);
            }
        }
        self.filter.caller.look_away();
        Ok(())
    }

    /// Looks how robots stand, where that is to be sent and no one has looked.
    async fn settle(&self, wanted: &[&(Arc<Event>, Arc<str>)]) -> Result<(), Closing> {
        let unsettled: Vec<Arc<Event>> = wanted
            .iter()
            .filter(|(event, _)| !event.is_settled())
            .map(|(event, _)| event.clone())
            .collect();
        if unsettled.is_empty() {
            return Ok(());
        }
        let _permit = self.state.feed.may_read_store().await;
        let state = self.state.clone();
        let look = move || {
            let mut unsettled = unsettled.iter();
            unsettled.try_for_each(|event| event.settle(&*state.parts.store, &*state.parts.clock))
        };
        block(look)
            .await
            .map_err(Problem::from)?
            .map_err(Problem::from)?;
        Ok(())
    }
}

/// Robots, read after a moment: where one stood before is no answer to where it stands.
async fn fleet_since(state: &Arc<State>, at: LogTime) -> Result<Arc<Fleet>, Closing> {
    let since = || state.snapshot.since(at, state.parts.clock.now());
    for _ in 0..FLEET_LOOKS {
        if let Some(fleet) = since() {
            return Ok(fleet);
        }
        sleep(FLEET_EVERY).await;
    }
    // The thread that reads them is late: who asks finds out why.
    fleet_of(&Data::from(state.clone())).await?;
    let slow = "robots cannot be read in time";
    since().ok_or_else(|| Closing::Unavailable(Problem::new("unavailable", slow)))
}
