//! Rules: which hold, how they came to be, and changes of them.

use actix_web::web::{Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use theatre_actors::control::{ChangeKind, RuleBase, RuleChange, StandingRules};
use theatre_actors::rules::RuleSpec;

use super::actions::Said;
use super::admin::address;
use super::pages::now;
use super::{Known, Shared, ask};
use crate::actions::text;
use crate::body::Object;
use crate::keyed::{Key, once};
use crate::model::{Change, ChangeAccepted, Page, Rule};
use crate::problem::{Answer, Problem};
use crate::rule_changes::{self, DATASET, Fault, Way};
use crate::wished::rule_of;
use crate::{Parts, access};

/// A change of the rule that runs in the shadow.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OfShadow {
    shadow: bool,
}

/// Which rule of an id is removed, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Removal {
    shadow: bool,
    comment: Option<String>,
}

/// Why a change is rejected.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Because {
    reason: String,
}

/// A rule that is put.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleWish {
    rule: Value,
    #[serde(default)]
    comment: Option<String>,
}

pub(super) fn standing(parts: &Parts) -> Answer<StandingRules> {
    let base = RuleBase {
        rules: &parts.rules,
        needs_approval: parts.rules_approval,
        datasets: parts.registry.datasets(),
        windows: parts.windows.as_deref(),
    };
    Ok(theatre_queries::standing_rules(&*parts.store, base)?)
}

pub(crate) async fn rules(state: Shared) -> Answer<Json<Page<Rule>>> {
    let (as_of, standing) = ask(&state, |parts| Ok((now(parts)?, standing(parts)?))).await?;
    let shown = |rule: &RuleSpec, is_enabled: bool| {
        let waits =
            |change: &&RuleChange| (&change.rule_id, change.shadow) == (&rule.id, rule.shadow);
        let waiting = standing.waiting().iter().filter(waits);
        let waiting = waiting.map(|change| change.change_id.clone());
        Rule::of(rule, is_enabled, waiting.collect())
    };
    let known = standing.known();
    let known = known.map(|(rule, is_enabled)| shown(rule, is_enabled));
    let refused = standing.refused();
    let refused = refused.iter().map(|it| Rule {
        refused: Some(it.why.clone()),
        ..shown(&it.spec, false)
    });
    Ok(Json(Page {
        items: known.chain(refused).collect(),
        next: None,
        as_of,
    }))
}

pub(crate) async fn changes(state: Shared) -> Answer<Json<Page<Change>>> {
    let (as_of, standing) = ask(&state, |parts| {
        Ok((now(parts)?, parts.foreseen.with_history()?))
    })
    .await?;
    let shown = |change: &RuleChange| Change::of(change, standing.fate(change));
    Ok(Json(Page {
        items: standing.changes().iter().rev().map(shown).collect(),
        next: None,
        as_of,
    }))
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Conflict { why, seconds } => Self::new("conflict", why).after(seconds),
            Fault::Outdated(why) => Self::new("conflict", why),
            Fault::Port(error) => error.into(),
        }
    }
}

/// Checks a change against the rules that hold, and appends it: `wanted` says which one that is.
async fn change(
    wanted: impl FnOnce(&mut StandingRules) -> Answer<RuleChange> + Send + 'static,
    asked: &str,
    http: &HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let caller: access::Caller = caller.into_inner();
    if caller.is_limited() {
        return Err(Problem::new(
            "forbidden",
            "the token is limited to robots: rules are for all of them",
        ));
    }
    let (key, from) = (Key::of(http, &caller, asked)?, address(http));
    let answer = ask(&state, move |parts| {
        let topic = parts.topics.get(DATASET);
        let topic = topic.ok_or_else(|| Problem::missing("topic of", DATASET))?;
        let prepare = || {
            // Also upon what was accepted a moment ago, and no partition has saved yet.
            let mut standing = parts.foreseen.foreseen()?;
            let change = RuleChange {
                change_id: rule_changes::new_id(),
                at: parts.clock.now().0,
                actor: caller.actor().to_owned(),
                ..wanted(&mut standing)?
            };
            let versions = standing.check_version(&change);
            versions.map_err(|why| Problem::new("conflict", why))?;
            standing.check(&change).map_err(Problem::bad)?;
            Ok(change)
        };
        let act = |change: &RuleChange| {
            let way = Way {
                log: &*parts.log,
                access: &*parts.access,
                rules: &*parts.foreseen,
                clock: &*parts.clock,
                topic,
                partitions: parts.partitions,
                patience: rule_changes::PATIENCE,
            };
            let who = (&*caller.id, from.clone());
            let warnings = warnings(parts, change)?;
            rule_changes::append(std::slice::from_ref(change), &way, who)?;
            Ok(ChangeAccepted {
                change_id: change.change_id.clone(),
                rule_id: change.rule_id.clone(),
                is_waiting: parts.rules_approval && !change.is_answer(),
                warnings,
            })
        };
        once(parts, key.as_ref(), prepare, act)
    })
    .await?;
    Ok(HttpResponse::Accepted()
        .content_type("application/json")
        .body(answer))
}

/// What of a rule that is put may not be meant so.
fn warnings(parts: &Parts, change: &RuleChange) -> Answer<Vec<String>> {
    if change.kind != ChangeKind::Put {
        return Ok(Vec::new());
    }
    let rule = change.spec().map_err(Problem::bad)?;
    // They stand in the states of all robots.
    let known = match rule.names_what_is_known() {
        true => Some(theatre_queries::known_names(&*parts.store)?),
        false => None,
    };
    Ok(rule.doubts(parts.registry.datasets(), known.as_ref()))
}

pub(crate) async fn put(
    rule: Path<String>,
    of: Query<OfShadow>,
    wish: Json<Object<RuleWish>>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let wish = wish.into_inner().0;
    rule_of(&wish.rule).map_err(Problem::bad)?;
    let put = RuleChange {
        kind: ChangeKind::Put,
        rule_id: rule.into_inner(),
        rule: Some(wish.rule.to_string()),
        shadow: of.shadow,
        comment: text("the comment", wish.comment.as_deref())?,
        ..RuleChange::default()
    };
    put.spec().map_err(Problem::bad)?;
    let asked = format!("{:?} {:?}", put.rule, put.comment);
    change(move |_| Ok(put), &asked, &http, caller, state).await
}

/// A change of a rule that has to be there.
fn of_rule(change: RuleChange) -> impl FnOnce(&mut StandingRules) -> Answer<RuleChange> {
    move |standing: &mut StandingRules| {
        let is_it = |rule: &RuleSpec| rule.id == change.rule_id && rule.shadow == change.shadow;
        let is_there = standing.known().any(|(rule, _)| is_it(rule))
            || standing
                .refused()
                .iter()
                .any(|refused| is_it(&refused.spec));
        // The change itself is yet to be checked, upon the rules as they are.
        match standing.clone().check(&change) {
            // It says which rules have a name that is like it.
            Err(why) if !is_there => Err(Problem::new("not_found", why)),
            _ => Ok(change),
        }
    }
}

pub(crate) async fn remove(
    rule: Path<String>,
    of: Query<Removal>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let removed = RuleChange {
        kind: ChangeKind::Remove,
        rule_id: rule.into_inner(),
        shadow: of.shadow,
        comment: text("the comment", of.comment.as_deref())?,
        ..RuleChange::default()
    };
    change(of_rule(removed), "", &http, caller, state).await
}

/// Has a rule judge again, or rest.
macro_rules! to_rule {
    ($handler:ident, $kind:ident) => {
        pub(crate) async fn $handler(
            rule: Path<String>,
            of: Query<OfShadow>,
            said: Json<Object<Said>>,
            http: HttpRequest,
            caller: Known,
            state: Shared,
        ) -> Answer<HttpResponse> {
            let turned = RuleChange {
                kind: ChangeKind::$kind,
                rule_id: rule.into_inner(),
                shadow: of.shadow,
                comment: text("the comment", said.comment.as_deref())?,
                ..RuleChange::default()
            };
            let asked = format!("{:?}", turned.comment);
            change(of_rule(turned), &asked, &http, caller, state).await
        }
    };
}

to_rule!(enable, Enable);
to_rule!(disable, Disable);

/// Answers a change that waits: with what, and what is said.
async fn answer(
    kind: ChangeKind,
    id: String,
    comment: Option<String>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let asked = format!("{comment:?}");
    let wanted = move |standing: &mut StandingRules| {
        let mut waiting = standing.waiting().iter();
        let found = waiting.find(|change| change.change_id == id);
        let found = found.ok_or_else(|| Problem::missing("change that waits", &id))?;
        Ok(RuleChange::answering(found, kind, comment))
    };
    change(wanted, &asked, &http, caller, state).await
}

pub(crate) async fn approve(
    id: Path<String>,
    said: Json<Object<Said>>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let comment = text("the comment", said.comment.as_deref())?;
    answer(
        ChangeKind::Approve,
        id.into_inner(),
        comment,
        http,
        caller,
        state,
    )
    .await
}

pub(crate) async fn reject(
    id: Path<String>,
    because: Json<Object<Because>>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let reason = text("the reason", Some(&because.reason))?;
    if reason.is_none() {
        return Err(Problem::bad("a rejection needs a reason"));
    }
    answer(
        ChangeKind::Reject,
        id.into_inner(),
        reason,
        http,
        caller,
        state,
    )
    .await
}
