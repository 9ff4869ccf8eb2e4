//! What processors concluded, of each thing what holds now: outcomes, work on robots, instruments and
//! components by their last revision, sites, people and models by their last version.

use std::collections::BTreeMap;

use actix_web::web::{Json, Query};
use serde::Deserialize;
use serde_json::Value;
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::{Error, StoredOutput};
use theatre_schemas::records::{Outcome, SuccessStatus};

use super::pages::{Kept, Wanted, now};
use super::windows::moment;
use super::{Known, Shared, ask, limited};
use crate::access::Caller;
use crate::cursor;
use crate::model::Page;
use crate::problem::Answer;
use crate::rows;

/// Which of them are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutputQuery {
    robot: Option<String>,
    from: Option<String>,
    until: Option<String>,
    changed_after: Option<String>,
    /// Of outcomes only.
    success_status: Option<SuccessStatus>,
    after: Option<String>,
    limit: Option<usize>,
}

/// Which of what there is by name is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionQuery {
    after: Option<String>,
    limit: Option<usize>,
}

impl OutputQuery {
    pub(crate) fn wanted(self, list: &'static str, kind: OutputKind) -> Answer<Wanted> {
        let limit = limited(self.limit)?;
        Ok(Wanted {
            robot: self.robot,
            from: given("from", self.from.as_deref())?,
            until: given("until", self.until.as_deref())?,
            changed_after: given("changed_after", self.changed_after.as_deref())?,
            also: self
                .success_status
                .map_or_else(String::new, |it| format!("{it:?}")),
            after: self.after,
            ..Wanted::latest(list, kind, limit)
        })
    }
}

/// A moment, where one is given.
pub(super) fn given(name: &str, text: Option<&str>) -> Answer<Option<i64>> {
    text.map(|text| moment(name, Some(text), 0)).transpose()
}

/// Outputs of a kind by their last revision, the latest first, or by commit where changes are asked.
async fn latest(
    kind: OutputKind,
    query: Query<OutputQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Value>>> {
    let query = query.into_inner();
    let success = query.success_status;
    let wanted = query.wanted(kind.spec().name, kind)?;
    let caller: Caller = caller.into_inner();
    let page = ask(&state, move |parts| {
        let is_kept = |stored: &StoredOutput| -> Answer<bool> {
            let outcome = Outcome::decode(&stored.output.payload);
            let outcome = outcome.map_err(|error| Error::Refused(error.to_string()))?;
            Ok(outcome.result.map(|result| result.success_status) == success)
        };
        let kept: Option<Kept<'_>> = if success.is_some() {
            Some(&is_kept)
        } else {
            None
        };
        let found = wanted.gather(parts, &caller, kept)?;
        let outputs: Vec<&OutputEvent> = found.outputs.iter().map(|it| &it.output).collect();
        Ok(Page {
            items: rows::items(kind, &outputs)?,
            next: found.next,
            as_of: found.as_of,
        })
    });
    Ok(Json(page.await?))
}

fn last_revisions(outputs: impl Iterator<Item = OutputEvent>) -> Vec<OutputEvent> {
    let mut last: BTreeMap<(String, String), OutputEvent> = BTreeMap::new();
    for output in outputs {
        let key = (output.robot_id.clone(), output.id.clone());
        let is_newer = |known: &OutputEvent| known.revision < output.revision;
        if last.get(&key).is_none_or(is_newer) {
            last.insert(key, output);
        }
    }
    last.into_values().collect()
}

/// What things of a kind are now, by their names.
async fn versions(
    kind: OutputKind,
    query: Query<VersionQuery>,
    state: Shared,
) -> Answer<Json<Page<Value>>> {
    let VersionQuery { after, limit } = query.into_inner();
    let limit = limited(limit)?;
    let list = kind.spec().name;
    let after: Option<String> = match after {
        Some(text) => Some(cursor::open(list, &text)?),
        None => None,
    };
    let page = ask(&state, move |parts| {
        let as_of = now(parts)?;
        // One more than are wanted: whether there is another page.
        let stored = parts.store.of_subjects(kind, after.as_deref(), limit + 1)?;
        let outputs = last_revisions(stored.into_iter().map(|stored| stored.output));
        let mut names: Vec<&str> = outputs.iter().map(|output| &*output.subject).collect();
        names.sort_unstable();
        names.dedup();
        let has_more = names.len() > limit;
        names.truncate(limit);
        let mut current: BTreeMap<&str, &OutputEvent> = BTreeMap::new();
        for output in &outputs {
            let is_later = |known: &&OutputEvent| known.event_time < output.event_time;
            let is_to_come = output.event_time > as_of.0;
            let is_listed = names.last().is_some_and(|last| *output.subject <= **last);
            if is_to_come || !is_listed || is_withdrawn(kind, output)? {
                continue;
            }
            if current.get(&*output.subject).is_none_or(is_later) {
                current.insert(&output.subject, output);
            }
        }
        let shown: Vec<&OutputEvent> = current.into_values().collect();
        let next = names.last().filter(|_| has_more);
        Ok(Page {
            next: next.map(|last| cursor::seal(list, last)),
            items: rows::items(kind, &shown)?,
            as_of,
        })
    });
    Ok(Json(page.await?))
}

/// Whether a version never was, as a report said that came later.
fn is_withdrawn(kind: OutputKind, output: &OutputEvent) -> Answer<bool> {
    let items = rows::items(kind, &[output])?;
    Ok(items.iter().any(|item| item["is_withdrawn"] == true))
}

/// Makes the handlers of kinds.
macro_rules! asked {
    ($($handler:ident: $kind:ident by $how:ident($query:ident $(, $caller:ident)?),)+) => {
        $(pub(crate) async fn $handler(
            query: Query<$query>,
            $($caller: Known,)?
            state: Shared,
        ) -> Answer<Json<Page<Value>>> {
            $how(OutputKind::$kind, query, $($caller,)? state).await
        })+
    };
}

asked! {
    outcomes: Outcome by latest(OutputQuery, caller),
    maintenance: Maintenance by latest(OutputQuery, caller),
    instruments: Instrument by latest(OutputQuery, caller),
    components: Component by latest(OutputQuery, caller),
    facilities: FacilityVersion by versions(VersionQuery),
    surgeons: SurgeonVersion by versions(VersionQuery),
    models: ModelVersion by versions(VersionQuery),
}
