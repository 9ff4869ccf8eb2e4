//! Lists of outputs by pages: what held when the first page was asked for, from the latest to the
//! beginning of what the store keeps, or what was committed since another answer.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{OutputPlace, PageFilter, StoredOutput};
use theatre_actors::time::LogTime;

use super::LIMIT_MAX;
use crate::Parts;
use crate::access::Caller;
use crate::cursor;
use crate::model::Time;
use crate::problem::Answer;

/// Outputs that are looked at for a page, at most.
const LOOKED_AT: usize = 20_000;
/// Outputs that the first question looks at, for each that is wanted. Each further one looks at so
/// many times more than the one before: a page of a token that may see half of the robots costs
/// little, and one of a token that may see hardly any takes few questions.
const LOOKED_AT_FIRST: usize = 4;
const MORE: usize = 4;
/// What was committed so long before a moment counts as after it: processes whose clocks differ, and
/// transactions that take a while, leave no hole. Microseconds.
const OVERLAP_US: i64 = 60_000_000;

/// The moment from which on changes are shown to who has an answer as of `moment`.
pub(crate) fn since(moment: i64) -> LogTime {
    LogTime(moment.saturating_sub(OVERLAP_US))
}

/// What a list is to show.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Wanted {
    /// Name of the list.
    pub(crate) list: &'static str,
    #[serde(skip)]
    pub(crate) kind: OutputKind,
    /// Each revision, and not only the last one.
    #[serde(skip)]
    pub(crate) every_revision: bool,
    pub(crate) robot: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) from: Option<i64>,
    pub(crate) until: Option<i64>,
    pub(crate) changed_after: Option<i64>,
    /// What else it is asked by, so that a place is of these filters only.
    pub(crate) also: String,
    /// Only of these robots, where some are left out by what is asked.
    #[serde(skip)]
    pub(crate) robots: Option<Vec<String>>,
    #[serde(skip)]
    pub(crate) after: Option<String>,
    #[serde(skip)]
    pub(crate) limit: usize,
}

/// The place of a page in its list.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    as_of: i64,
    seen: Vec<u64>,
    time: i64,
    id: String,
    revision: u32,
}

/// A page of outputs.
pub(crate) struct Gathered {
    pub(crate) outputs: Vec<StoredOutput>,
    pub(crate) next: Option<String>,
    pub(crate) as_of: Time,
    /// Outputs up to these numbers were looked at, by partition.
    pub(crate) seen: Vec<u64>,
}

/// What it is by the store's clock.
pub(crate) fn now(parts: &Parts) -> Answer<Time> {
    let time = parts.store.time()?;
    Ok(time.unwrap_or_else(|| parts.clock.now()).into())
}

impl Wanted {
    /// The latest of a kind; the name of the list is that of its path.
    pub(crate) fn latest(list: &'static str, kind: OutputKind, limit: usize) -> Self {
        Self {
            list,
            kind,
            every_revision: false,
            robot: None,
            subject: None,
            from: None,
            until: None,
            changed_after: None,
            also: String::new(),
            robots: None,
            after: None,
            limit,
        }
    }

    /// The robots that the list is of, for this caller; `None`: all.
    fn of_robots(&self, caller: &Caller) -> Option<Vec<String>> {
        let asked = match (&self.robot, &self.robots) {
            (None, asked) => asked.clone(),
            (Some(robot), None) => Some(vec![robot.clone()]),
            (Some(robot), Some(robots)) => Some(
                (robots.iter())
                    .filter(|one| *one == robot)
                    .cloned()
                    .collect(),
            ),
        };
        match asked {
            Some(mut robots) => {
                robots.retain(|robot| caller.may(robot));
                Some(robots)
            }
            None => caller.limits().robots(),
        }
    }

    /// Reads the page: of what the caller may see, what is `kept`.
    pub(crate) fn gather(
        self,
        parts: &Parts,
        caller: &Caller,
        kept: Option<Kept<'_>>,
    ) -> Answer<Gathered> {
        let list = serde_json::json!(self).to_string();
        let place = self.after.as_deref();
        let place: Option<Place> = place.map(|text| cursor::open(&list, text)).transpose()?;
        let (as_of, seen, after) = match place {
            Some(place) => {
                let after = OutputPlace {
                    time: place.time,
                    id: place.id,
                    revision: place.revision,
                };
                (Time(place.as_of), place.seen, Some(after))
            }
            // The time is asked first: what is committed after it counts as a change.
            None => (now(parts)?, parts.store.last_outputs()?, None),
        };
        let robots = self.of_robots(caller);
        let filter = PageFilter {
            every_revision: self.every_revision,
            subject: self.subject.clone(),
            from: self.from,
            until: self.until,
            changed_since: self.changed_after.map(since),
            after,
            look_at: kept.map_or(self.limit, |_| LIMIT_MAX) * LOOKED_AT_FIRST,
            limit: kept.map_or(self.limit, |_| LIMIT_MAX),
            robots,
            ..PageFilter::latest(self.kind, seen, self.limit)
        };
        let (outputs, next) = match filter.robots.as_deref() {
            Some([]) => (Vec::new(), None),
            _ => read(parts, filter.clone(), self.limit, kept)?,
        };
        let seen = filter.seen;
        let sealed = next.map(|place| {
            let place = Place {
                as_of: as_of.0,
                seen: seen.clone(),
                time: place.time,
                id: place.id,
                revision: place.revision,
            };
            cursor::seal(&list, &place)
        });
        Ok(Gathered {
            outputs,
            next: sealed,
            as_of,
            seen,
        })
    }
}

/// Whether an output is one of those that are asked for.
pub(crate) type Kept<'a> = &'a dyn Fn(&StoredOutput) -> Answer<bool>;

/// Reads until there are enough, or enough was looked at.
fn read(
    parts: &Parts,
    mut filter: PageFilter,
    limit: usize,
    kept: Option<Kept<'_>>,
) -> Answer<(Vec<StoredOutput>, Option<OutputPlace>)> {
    let mut found: Vec<StoredOutput> = Vec::new();
    let mut left = LOOKED_AT;
    while left > 0 {
        filter.look_at = filter.look_at.min(left);
        left -= filter.look_at;
        let page = parts.store.output_page(&filter)?;
        let mut outputs = page.outputs.into_iter();
        while let Some(stored) = outputs.next() {
            if !kept.map_or(Ok(true), |kept| kept(&stored))? {
                continue;
            }
            let place = filter.place(&stored);
            found.push(stored);
            if found.len() == limit {
                let is_last = outputs.next().is_none() && page.next.is_none();
                return Ok((found, (!is_last).then_some(place)));
            }
        }
        match page.next {
            Some(next) => filter.after = Some(next),
            None => return Ok((found, None)),
        }
        if kept.is_none() {
            filter.look_at *= MORE;
            filter.limit = limit - found.len();
        }
    }
    let next = filter.after.take();
    Ok((found, next))
}
