//! Rules: which hold, how they came to be, and changes of them.

use actix_web::web::{Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use theatre_actors::control::{ChangeKind, RuleChange, StandingRules};
use theatre_actors::rules::RuleSpec;

use super::admin::address;
use super::{Known, Shared, ask};
use crate::actions::text;
use crate::model::Page;
use crate::problem::{Answer, Problem};
use crate::rule_changes::{self, DATASET};
use crate::{Parts, access};

/// A change of the rule that runs in the shadow.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OfShadow {
    shadow: bool,
}

/// What may be said with a change.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Said {
    comment: Option<String>,
}

/// A rule that is put.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    rule: Value,
    #[serde(default)]
    comment: Option<String>,
}

pub(super) fn standing(parts: &Parts) -> Answer<StandingRules> {
    Ok(theatre_queries::standing_rules(
        &*parts.store,
        &parts.rules,
        parts.rules_approval,
    )?)
}

pub(crate) async fn rules(state: Shared) -> Answer<Json<Page<Value>>> {
    let as_of = state.parts.clock.now();
    let standing = ask(&state, standing).await?;
    let shown = |(rule, is_enabled): (&RuleSpec, bool)| {
        let mut shown = json!(rule);
        shown["is_enabled"] = json!(is_enabled);
        shown
    };
    Ok(Json(Page {
        items: standing.known().map(shown).collect(),
        next: None,
        as_of: as_of.into(),
    }))
}

pub(crate) async fn changes(state: Shared) -> Answer<Json<Page<Value>>> {
    let as_of = state.parts.clock.now();
    let standing = ask(&state, standing).await?;
    let waiting = standing.waiting();
    let shown = |change: &RuleChange| {
        let mut shown = json!(change);
        shown["is_waiting"] = json!(waiting.contains(change));
        shown
    };
    Ok(Json(Page {
        items: standing.changes().iter().rev().map(shown).collect(),
        next: None,
        as_of: as_of.into(),
    }))
}

/// Checks a change against the rules that hold, and appends it.
async fn change(
    change: RuleChange,
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
    let from = address(http);
    let (change, waits) = ask(&state, move |parts| {
        let mut standing = standing(parts)?;
        let change = RuleChange {
            change_id: rule_changes::new_id(),
            at: parts.clock.now().0,
            actor: caller.actor().to_owned(),
            ..change
        };
        let datasets = parts.registry.datasets();
        standing.check(&change, datasets).map_err(Problem::bad)?;
        let topic = parts.topics.get(DATASET);
        let topic = topic.ok_or_else(|| Problem::missing("topic of", DATASET))?;
        let to = (topic.as_str(), parts.partitions);
        rule_changes::append(&change, &*parts.log, &*parts.access, to, (&caller.id, from))?;
        let waits = parts.rules_approval && change.kind != ChangeKind::Approve;
        Ok((change, waits))
    })
    .await?;
    Ok(HttpResponse::Accepted().json(json!({
        "change_id": change.change_id,
        "rule_id": change.rule_id,
        "is_waiting": waits,
    })))
}

pub(crate) async fn put(
    rule: Path<String>,
    of: Query<OfShadow>,
    wish: Json<Wish>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let wish = wish.into_inner();
    let put = RuleChange {
        kind: ChangeKind::Put,
        rule_id: rule.into_inner(),
        rule: Some(wish.rule.to_string()),
        shadow: of.shadow,
        comment: text("the comment", wish.comment.as_deref())?,
        ..RuleChange::default()
    };
    put.spec().map_err(Problem::bad)?;
    change(put, &http, caller, state).await
}

pub(crate) async fn remove(
    rule: Path<String>,
    of: Query<OfShadow>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let removed = RuleChange {
        kind: ChangeKind::Remove,
        rule_id: rule.into_inner(),
        shadow: of.shadow,
        ..RuleChange::default()
    };
    change(removed, &http, caller, state).await
}

/// Has a rule judge again, or rest.
macro_rules! to_rule {
    ($handler:ident, $kind:ident) => {
        pub(crate) async fn $handler(
            rule: Path<String>,
            of: Query<OfShadow>,
            said: Json<Said>,
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
            change(turned, &http, caller, state).await
        }
    };
}

to_rule!(enable, Enable);
to_rule!(disable, Disable);

pub(crate) async fn approve(
    id: Path<String>,
    said: Json<Said>,
    http: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<HttpResponse> {
    let id = id.into_inner();
    let wanted = id.clone();
    let rule = ask(&state, move |parts| {
        let standing = standing(parts)?;
        let mut waiting = standing.waiting().iter();
        let found = waiting.find(|change| change.change_id == wanted);
        let found = found.map(|change| change.rule_id.clone());
        found.ok_or_else(|| Problem::missing("change that waits", &wanted))
    });
    let approval = RuleChange {
        kind: ChangeKind::Approve,
        rule_id: rule.await?,
        approves: Some(id),
        comment: text("the comment", said.comment.as_deref())?,
        ..RuleChange::default()
    };
    change(approval, &http, caller, state).await
}
