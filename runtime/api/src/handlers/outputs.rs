//! What processors concluded, of each thing what holds now: outcomes, work on robots, instruments and
//! components by their last revision, sites, people and models by their last version.

use std::collections::BTreeMap;

use actix_web::web::{Json, Query};
use serde::Deserialize;
use serde_json::Value;
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::OutputFilter;

use super::windows::moment;
use super::{Known, LOOKED_AT, Shared, ask, limited};
use crate::access::Caller;
use crate::model::Page;
use crate::problem::{Answer, Problem};
use crate::rows;

/// Which of them are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutputQuery {
    robot: Option<String>,
    from: Option<String>,
    until: Option<String>,
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
    fn filter(&self, kind: OutputKind) -> OutputFilter {
        OutputFilter {
            kind: Some(kind),
            robot_id: self.robot.clone(),
            limit: LOOKED_AT,
            ..OutputFilter::default()
        }
    }

    /// Of what holds now: what was at another time before may be in the stretch now, or not any more.
    fn stretch(&self) -> Answer<std::ops::Range<i64>> {
        let from = moment("from", self.from.as_deref(), i64::MIN)?;
        Ok(from..moment("until", self.until.as_deref(), i64::MAX)?)
    }
}

/// Outputs of a kind by their last revision, the latest first.
async fn latest(
    kind: OutputKind,
    query: Query<OutputQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Value>>> {
    let (filter, stretch) = (query.filter(kind), query.stretch()?);
    let limit = limited(query.limit)?;
    let after = query.after.as_deref().map(place).transpose()?;
    let as_of = state.parts.clock.now();
    let caller: Caller = caller.into_inner();
    let page = ask(&state, move |parts| {
        let stored = parts.store.find_outputs(&filter)?;
        let outputs = stored.into_iter().map(|stored| stored.output);
        let mut found = last_revisions(outputs.filter(|output| caller.may(&output.robot_id)));
        found.retain(|output| stretch.contains(&output.event_time));
        found.sort_by(|left, right| order(left).cmp(&order(right)));
        let rest = found.iter().skip_while(|output| {
            let passed = |(time, id): &(i64, String)| order(output) <= (time.saturating_neg(), id);
            after.as_ref().is_some_and(passed)
        });
        let mut rest = rest.peekable();
        let shown: Vec<&OutputEvent> = rest.by_ref().take(limit).collect();
        let next = shown.last().filter(|_| rest.peek().is_some());
        Ok(Page {
            next: next.map(|last| format!("{}/{}", last.event_time, last.id)),
            items: rows::items(kind, &shown)?,
            as_of: as_of.into(),
        })
    });
    Ok(Json(page.await?))
}

/// The latest come first; of one moment, by id.
fn order(output: &OutputEvent) -> (i64, &str) {
    (output.event_time.saturating_neg(), &output.id)
}

/// Where the page before ended.
fn place(after: &str) -> Answer<(i64, String)> {
    let parsed = after.split_once('/').and_then(|(time, id)| {
        let time: i64 = time.parse().ok()?;
        Some((time, id.to_owned()))
    });
    parsed.ok_or_else(|| Problem::bad("after: give the `next` of the page before"))
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
    let as_of = state.parts.clock.now();
    let page = ask(&state, move |parts| {
        let filter = OutputFilter {
            kind: Some(kind),
            until: Some(as_of.0.saturating_add(1)),
            ..OutputFilter::default()
        };
        let stored = parts.store.find_outputs(&filter)?;
        let outputs = last_revisions(stored.into_iter().map(|stored| stored.output));
        let mut now: BTreeMap<&str, &OutputEvent> = BTreeMap::new();
        for output in &outputs {
            let is_later = |known: &&OutputEvent| known.event_time < output.event_time;
            if is_withdrawn(kind, output)? {
                continue;
            }
            if now.get(&*output.subject).is_none_or(is_later) {
                now.insert(&output.subject, output);
            }
        }
        let rest = now.into_values().filter(|output| {
            let passed = |after: &String| output.subject <= *after;
            !after.as_ref().is_some_and(passed)
        });
        let mut rest = rest.peekable();
        let shown: Vec<&OutputEvent> = rest.by_ref().take(limit).collect();
        let next = shown.last().filter(|_| rest.peek().is_some());
        Ok(Page {
            next: next.map(|last| last.subject.clone()),
            items: rows::items(kind, &shown)?,
            as_of: as_of.into(),
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
