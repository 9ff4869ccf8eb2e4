//! Records of dead letters, sent again.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use theatre_actors::ports::{AuditEntry, Error};

use super::admin::address;
use super::{Known, Shared, ask};
use crate::LetterReport;
use crate::body::Object;
use crate::problem::{Answer, Problem};

/// Most dead letters of a request.
const LETTERS_MAX: usize = 100;

/// Which dead letters are meant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayWish {
    #[schemars(with = "Vec<LetterPlace>")]
    letters: Vec<Object<LetterPlace>>,
    #[serde(default)]
    dry_run: bool,
}

/// A dead letter.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LetterPlace {
    partition: u32,
    number: u64,
}

/// What was done, or would be.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Replayed {
    /// Nothing was changed.
    dry_run: bool,
    #[serde(flatten)]
    report: LetterReport,
}

pub(crate) async fn replay(
    wish: Json<Object<ReplayWish>>,
    request: HttpRequest,
    caller: Known,
    state: Shared,
) -> Answer<Json<Replayed>> {
    let ReplayWish { letters, dry_run } = wish.into_inner().0;
    if letters.is_empty() || letters.len() > LETTERS_MAX {
        return Err(Problem::bad(format!(
            "letters: 1 to {LETTERS_MAX} of them, as GET /api/v1/dead-letters names them by partition and number"
        )));
    }
    let Some(replays) = state.parts.letters.clone() else {
        return Err(Problem::new(
            "unavailable",
            "this process cannot read what is in dead letters, since it has no pseudonym_key_file: set it, or ask a process of the pipeline",
        ));
    };
    let letters: Vec<LetterPlace> = letters.iter().map(|it| it.0).collect();
    let chosen: Vec<(u32, u64)> = letters.iter().map(|it| (it.partition, it.number)).collect();
    let permit = state.letters.take(&caller.id).map_err(|_| {
        let why = "records of dead letters are sent again by another request at the moment";
        Problem::new("busy", why).after(5)
    })?;
    let (who, from) = (caller.id.clone(), address(&request));
    let report = ask(&state, move |parts| {
        let _permit = permit;
        let replays: Arc<dyn crate::LetterReplays> = replays;
        if dry_run {
            return replays.look(&chosen).map_err(of_replay);
        }
        let entry = |action: &str, after: serde_json::Value| AuditEntry {
            at: parts.clock.now(),
            who: who.clone(),
            from: from.clone(),
            action: action.to_owned(),
            target: "dead letters".to_owned(),
            before: None,
            after: Some(after.to_string()),
        };
        parts
            .access
            .note(&entry("dead_letters.replay", json!({"letters": letters})))?;
        let (report, done) = replays.send(&chosen);
        theatre_telemetry::http::letters_replayed(report.sent);
        let failed = done.as_ref().err().map(ToString::to_string);
        let after = json!({"letters": letters, "counts": report, "failed": failed});
        parts.access.note(&entry("dead_letters.replayed", after))?;
        done.map_err(of_replay)?;
        Ok(report)
    });
    Ok(Json(Replayed {
        report: report.await?,
        dry_run,
    }))
}

/// Another one works on dead letters, or the work was given up: it can be repeated.
fn of_replay(error: Error) -> Problem {
    match error {
        Error::Refused(why) => Problem::new("conflict", why).after(30),
        other => other.into(),
    }
}
