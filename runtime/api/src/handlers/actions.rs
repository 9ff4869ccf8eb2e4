//! What callers do about conditions: acknowledged, assigned, closed, silenced.
//!
//! Who acts is the caller's token, never what a body says. The answer comes when the action is in the
//! log; it counts once the pipeline has read it.

use actix_web::web::{Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::Deserialize;
use theatre_actors::ports::Role;
use theatre_actors::processor::ProcessorView;
use theatre_actors::rules::RuleSpec;

use super::admin::address;
use super::{Known as Caller, Shared, fleet_of};
use crate::access;
use crate::actions::{Action, Deed, Known, Refusal, SilenceWish, new_id, text};
use crate::body::Object;
use crate::keyed::{Key, once};
use crate::model::{Acted, Page, Silence};
use crate::problem::{Answer, Problem};
use crate::server::State;

/// What may be said with an action.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Said {
    pub(super) comment: Option<String>,
}

/// The same, and to whom a condition is given.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Assignment {
    comment: Option<String>,
    assignee: Option<String>,
}

/// An action as a request asks for it.
struct Request {
    caller: access::Caller,
    /// Address that it came from.
    from: Option<String>,
    /// The caller's key.
    key: Option<Key>,
    comment: Option<String>,
}

type Meant = Result<(Option<String>, Deed), Refusal>;

/// The robot, what is done, and the facility that it is done for.
type Found = Result<(Option<String>, Deed, Option<String>), Refusal>;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing(why) => Self::new("not_found", why),
            Refusal::Wrong(why) => Self::bad(why),
        }
    }
}

impl Request {
    /// `asked` tells requests with one key apart: the same one again is the same action.
    fn of(http: &HttpRequest, caller: Caller, comment: Option<&str>, asked: &str) -> Answer<Self> {
        let caller = caller.into_inner();
        Ok(Self {
            key: Key::of(http, &caller, asked)?,
            from: address(http),
            comment: text("the comment", comment)?,
            caller,
        })
    }

    /// Finds what is meant among what the caller may see, and appends it.
    async fn act(
        self,
        state: Shared,
        meant: impl Fn(&Known<'_>) -> Meant + Send + 'static,
    ) -> Answer<HttpResponse> {
        let acted = actix_web::web::block(move || self.append(&state, meant)).await??;
        Ok(HttpResponse::Accepted()
            .content_type("application/json")
            .body(acted))
    }

    fn append(&self, state: &State, meant: impl Fn(&Known<'_>) -> Meant) -> Answer<Vec<u8>> {
        let parts = &state.parts;
        let topic = parts.topics.get("alert_actions");
        let topic = topic.ok_or_else(|| Problem::missing("topic of", "alert_actions"))?;
        let act = |action: &Action| {
            let fleet = state.snapshot.fleet(&*parts.store, &*parts.clock)?;
            let before = Known::new(fleet.robots.iter(), &[]).before(&action.deed);
            let placed = action.append(
                &*parts.log,
                &*parts.access,
                (topic, parts.partitions),
                &self.caller.id,
                self.from.clone(),
                before,
            )?;
            Ok(Acted::of(action.clone(), placed))
        };
        once(parts, self.key.as_ref(), || self.action(state, meant), act)
    }

    /// The action that is asked for, by what is known now.
    fn action(&self, state: &State, meant: impl Fn(&Known<'_>) -> Meant) -> Answer<Action> {
        let parts = &state.parts;
        let fleet = state.snapshot.fleet(&*parts.store, &*parts.clock)?;
        let rules = super::rules::standing(parts)?.rules();
        let mut found = self.find(&fleet.robots, &rules, &meant);
        if matches!(found, Err(Refusal::Missing(_))) {
            // It may have come since the fleet was read.
            let robots = theatre_queries::robots(&*parts.store)?;
            found = self.find(&robots, &rules, &meant);
        }
        let (robot, deed, facility) = found?;
        let limits = self.caller.limits();
        let is_within = facility.is_some_and(|facility| limits.allow_facility(&facility));
        if robot.is_none() && limits.are_set() && !is_within {
            return Err(Problem::new(
                "forbidden",
                "the token is limited to robots or facilities: it silences no others; name a robot, a condition, or a facility that is its own",
            ));
        }
        Ok(Action {
            id: new_id(robot.is_none()),
            at: parts.clock.now(),
            actor: self.caller.actor().to_owned(),
            robot,
            deed,
            comment: self.comment.clone(),
        })
    }

    fn find(
        &self,
        robots: &[ProcessorView],
        rules: &[RuleSpec],
        meant: impl Fn(&Known<'_>) -> Meant,
    ) -> Found {
        let seen = robots.iter().filter(|view| self.caller.may(&view.robot_id));
        let known = Known::new(seen, rules);
        let (robot, deed) = meant(&known)?;
        let facility = match &deed {
            Deed::Silence(scope) => scope.facility.clone(),
            Deed::Unsilence { silence } => {
                let mut silences = known.silences().into_iter();
                let one = silences.find(|known| known.silence.silence_id == *silence);
                one.and_then(|known| known.silence.facility_id)
            }
            _ => None,
        };
        Ok((robot, deed, facility))
    }
}

/// Does something to the condition of the path.
macro_rules! to_condition {
    ($(#[$attribute:meta])* $handler:ident, $deed:ident) => {
        $(#[$attribute])*
        pub(crate) async fn $handler(
            condition: Path<String>,
            said: Json<Object<Said>>,
            http: HttpRequest,
            caller: Caller,
            state: Shared,
        ) -> Answer<HttpResponse> {
            let comment = said.comment.as_deref();
            let request = Request::of(&http, caller, comment, comment.unwrap_or_default())?;
            let meant = move |known: &Known<'_>| {
                exact(known, &condition)?;
                known.to_condition(&condition, |condition| Deed::$deed { condition })
            };
            request.act(state, meant).await
        }
    };
}

to_condition!(acknowledge, Acknowledge);
to_condition!(unacknowledge, Unacknowledge);
to_condition!(close, Close);

pub(crate) async fn assign(
    condition: Path<String>,
    assignment: Json<Object<Assignment>>,
    http: HttpRequest,
    caller: Caller,
    state: Shared,
) -> Answer<HttpResponse> {
    let assignee = text("the assignee", assignment.assignee.as_deref())?;
    let asked = format!("{assignee:?} {:?}", assignment.comment);
    let request = Request::of(&http, caller, assignment.comment.as_deref(), &asked)?;
    let meant = move |known: &Known<'_>| {
        exact(known, &condition)?;
        let assignee = assignee.clone();
        known.to_condition(&condition, |condition| Deed::Assign {
            condition,
            assignee,
        })
    };
    request.act(state, meant).await
}

/// People shorten ids on a command line; a program gives all of it.
fn exact(known: &Known<'_>, id: &str) -> Result<(), Refusal> {
    let (_, condition) = known.condition(id)?;
    match condition.condition_id.as_deref() {
        Some(whole) if whole != id => Err(Refusal::Missing(format!(
            "no open condition has the id '{id}'; did you mean {whole}?"
        ))),
        _ => Ok(()),
    }
}

pub(crate) async fn silence(
    wish: Json<Object<SilenceWish>>,
    http: HttpRequest,
    caller: Caller,
    state: Shared,
) -> Answer<HttpResponse> {
    let wish = wish.into_inner().0;
    if wish.hides_high && caller.role < Role::Engineer {
        return Err(Problem::new(
            "forbidden",
            "hides_high needs the role engineer: without it the silence leaves conditions of high priority alone",
        ));
    }
    let asked = serde_json::json!(wish).to_string();
    let request = Request::of(&http, caller, Some(&wish.reason), &asked)?;
    let now = state.parts.clock.now();
    let meant = move |known: &Known<'_>| known.silence(&wish, now);
    request.act(state, meant).await
}

pub(crate) async fn unsilence(
    silence: Path<String>,
    said: Query<Said>,
    http: HttpRequest,
    caller: Caller,
    state: Shared,
) -> Answer<HttpResponse> {
    let request = Request::of(&http, caller, said.comment.as_deref(), "")?;
    let meant = move |known: &Known<'_>| {
        let (robot, deed) = known.unsilence(&silence)?;
        match &deed {
            Deed::Unsilence { silence: whole } if *whole != *silence => Err(Refusal::Missing(
                format!("there is no silence '{silence}'; did you mean {whole}?"),
            )),
            _ => Ok((robot, deed)),
        }
    };
    request.act(state, meant).await
}

pub(crate) async fn silences(caller: Caller, state: Shared) -> Answer<Json<Page<Silence>>> {
    let fleet = fleet_of(&state).await?;
    let seen = (fleet.robots.iter()).filter(|view| caller.may(&view.robot_id));
    let mut standing = theatre_queries::standing_silences(seen);
    // Every robot knows of a silence of a facility.
    standing.retain(|known| {
        let facility = known.silence.facility_id.as_deref();
        caller.limits().concern(facility)
    });
    Ok(Json(Page {
        items: standing.into_iter().map(Silence::from).collect(),
        next: None,
        as_of: fleet.as_of.into(),
    }))
}
