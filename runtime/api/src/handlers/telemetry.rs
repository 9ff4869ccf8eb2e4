//! Rows of a robot's telemetry of a short range, from the files of the lake and, as far as it does not
//! have them yet, from the log.
//!
//! The answer says from which moment on rows may be missing, and which files could not be read.

mod found;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::{Json, Path, Query};
use serde::Deserialize;
use theatre_actors::ports::{Error, FileFilter, FileStage, Lake, RegisteredFile};
use theatre_actors::position::Partition;
use theatre_parquet::records::RecordPlace;
use theatre_schemas::dataset::{Dataset, DatasetIndex, DatasetKind};

use self::found::Found;
use super::pages::now;
use super::windows::moment;
use super::{Known, Shared, ask, fleet_of};
use crate::Parts;
use crate::cursor;
use crate::model::{MissingRows, TelemetryRow, TelemetryRows, Time};
use crate::problem::{Answer, Problem};

/// Longest range, microseconds.
const RANGE_MAX_US: i64 = 600_000_000;
/// How long a range is where its end is not given, microseconds.
const RANGE_US: i64 = 60_000_000;
/// Most rows of an answer.
pub(crate) const ROWS_MAX: usize = 2_000;
const ROWS: usize = 500;
/// Rows of files that are looked at for an answer, at most.
const LOOKED_AT: u64 = 2_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetryQuery {
    dataset: Option<String>,
    from: Option<String>,
    to: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// The place of a row: event time, topic, partition, offset. No other row has it.
type Place = (i64, String, Partition, u64);

/// A question that makes sense.
struct Question {
    robot: String,
    /// Where the robot is at home.
    home: Partition,
    dataset: Arc<Dataset>,
    index: DatasetIndex,
    from: i64,
    to: i64,
    after: Option<Place>,
    list: String,
    limit: usize,
    /// What is read of the log has no pseudonyms of persons: this process cannot make them.
    hides_persons: bool,
}

pub(crate) async fn rows(
    robot: Path<String>,
    query: Query<TelemetryQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<TelemetryRows>> {
    let fleet = fleet_of(&state).await?;
    let is_it = |saved: &crate::snapshot::Saved<'_>| saved.view.robot_id == *robot;
    let found = fleet.saved().filter(|_| caller.may(&robot)).find(is_it);
    let saved = found.ok_or_else(|| Problem::missing("robot", &robot))?;
    let clock = saved.view.clock.unwrap_or(fleet.as_of.0);
    let question = question(&state.parts, &query, &robot, saved.partition, clock)?;
    let permit = state.telemetry.take(&caller.id).map_err(|_| {
        let why = "rows of telemetry are read for others at the moment; try again";
        Problem::new("busy", why).after(1)
    })?;
    let answer = ask(&state, move |parts| {
        let _permit = permit;
        answer(parts, question)
    });
    Ok(Json(answer.await?))
}

fn question(
    parts: &Parts,
    query: &TelemetryQuery,
    robot: &str,
    home: Partition,
    clock: i64,
) -> Answer<Question> {
    let (index, dataset) = dataset(parts, query.dataset.as_deref())?;
    let begin = clock.saturating_sub(RANGE_US);
    let from = moment("from", query.from.as_deref(), begin)?;
    let to = moment("to", query.to.as_deref(), from.saturating_add(RANGE_US))?;
    if from >= to || to.saturating_sub(from) > RANGE_MAX_US {
        return Err(Problem::bad(
            "from is before to, and at most ten minutes: windows show longer stretches",
        ));
    }
    let limit = query.limit.unwrap_or(ROWS);
    if !(1..=ROWS_MAX).contains(&limit) {
        return Err(Problem::bad(format!(
            "limit {limit} is not within 1 to {ROWS_MAX}"
        )));
    }
    let list = format!(
        "telemetry {robot:?} {} {:?} {:?}",
        dataset.name, query.from, query.to
    );
    // A page after the first has to be of the same stretch: without its bounds it would move on.
    if query.after.is_some() && (query.from.is_none() || query.to.is_none()) {
        return Err(Problem::bad("with after, from and to are given, too"));
    }
    let after = query.after.as_deref();
    Ok(Question {
        robot: robot.to_owned(),
        home,
        after: after.map(|text| cursor::open(&list, text)).transpose()?,
        dataset,
        index,
        from,
        to,
        list,
        limit,
        hides_persons: parts.pseudonyms.is_none(),
    })
}

/// The dataset of the question; where there is one of telemetry only, that one.
fn dataset(parts: &Parts, name: Option<&str>) -> Answer<(DatasetIndex, Arc<Dataset>)> {
    let all = parts.registry.datasets();
    if let Some(name) = name {
        let found = all.find(name);
        let found = found.filter(|(_, dataset)| dataset.kind == DatasetKind::Telemetry);
        let found = found.ok_or_else(|| Problem::missing("dataset of telemetry", name))?;
        return Ok((found.0, found.1.clone()));
    }
    let mut fed = all.iter().filter(|(_, dataset)| {
        dataset.kind == DatasetKind::Telemetry && parts.topics.contains_key(&dataset.name)
    });
    match (fed.next(), fed.next()) {
        (Some((index, dataset)), None) => Ok((index, dataset.clone())),
        (Some((_, first)), Some((_, second))) => Err(Problem::bad(format!(
            "there is telemetry in '{}' and '{}': say which with `dataset`",
            first.name, second.name
        ))),
        _ => Err(Problem::bad("no dataset has telemetry")),
    }
}

/// Files or rows that are not in an answer, by the reason.
#[derive(Default)]
struct Missing(BTreeMap<&'static str, MissingRows>);

impl Missing {
    fn note(&mut self, why: &'static str, files: u64, rows: u64) {
        let of_reason = self.0.entry(why).or_insert_with(|| MissingRows {
            why: why.to_owned(),
            files: 0,
            rows: 0,
        });
        of_reason.files += files;
        of_reason.rows += rows;
    }
}

fn answer(parts: &Parts, question: Question) -> Answer<TelemetryRows> {
    let as_of = now(parts)?;
    let (mut found, mut missing) = (Found::default(), Missing::default());
    // Where the log goes on is asked first: files that come meanwhile have rows that it has, too.
    let lake = match &parts.lake {
        None => None,
        Some(lake) => {
            let reached = reached(parts, &question)?;
            let unread = read_files(parts, &**lake, &question, &mut found, &mut missing)?;
            Some(unread.map_or(reached, |unread| reached.min(unread)))
        }
    };
    let complete_until = match parts.topics.get(&question.dataset.name) {
        None if lake.is_none() => {
            missing.note("lake_off", 0, 0);
            Some(question.from)
        }
        None => None,
        Some(topic) => {
            let tail = tail::read(parts, &question, topic, lake, &mut found)?;
            if tail.unknown > 0 {
                missing.note("unknown_schema", 0, tail.unknown);
            }
            match tail.begins_late {
                true if lake.is_none() => missing.note("lake_off", 0, 0),
                true => missing.note("log_trimmed", 0, 0),
                false => {}
            }
            tail.read_until
        }
    };
    let has_more = found.rows.len() > question.limit;
    let rows = found.rows.into_iter().take(question.limit);
    let mut last = None;
    let items: Vec<TelemetryRow> = rows
        .map(|(place, row)| {
            last = Some(place);
            row
        })
        .collect();
    let next = last.filter(|_| has_more);
    Ok(TelemetryRows {
        robot_id: question.robot,
        dataset: question.dataset.name.clone(),
        from: Time(question.from),
        to: Time(question.to),
        items,
        next: next.map(|place| cursor::seal(&question.list, &place)),
        complete_until: complete_until.map(Time),
        missing: missing.0.into_values().collect(),
        as_of,
    })
}

/// Reads the files that may have rows of the range; returns from which offset on the log has to be
/// read for those that are not there yet.
fn read_files(
    parts: &Parts,
    lake: &dyn Lake,
    question: &Question,
    found: &mut Found,
    missing: &mut Missing,
) -> Answer<Option<u64>> {
    let topic = topic_index(parts, question)?;
    let (mut unread, mut looked_at) = (None::<u64>, 0);
    for (file, place) in files(parts, question)? {
        let rows = file.file.rows;
        looked_at += rows;
        match file.stage {
            FileStage::Lost => missing.note("lost", 1, rows),
            _ if looked_at > LOOKED_AT => missing.note("too_many_rows", 1, rows),
            stage => match (found.read(lake, &file, question), topic) {
                (Ok(()), _) => {}
                (Err(Error::Gone(_)), Some(topic))
                    if stage == FileStage::Registered && file.partition == question.home =>
                {
                    let from = place.from.get(topic);
                    unread = Some(unread.map_or(from, |unread| unread.min(from)));
                }
                (Err(Error::Gone(_)), _) if stage == FileStage::Registered => {
                    missing.note("not_complete_yet", 1, rows);
                }
                (Err(Error::Gone(_)), _) => missing.note("gone", 1, rows),
                (Err(error), _) => return Err(error.into()),
            },
        }
    }
    Ok(unread)
}

/// Files of the register that may have rows of the range.
fn files(parts: &Parts, question: &Question) -> Answer<Vec<(RegisteredFile, RecordPlace)>> {
    // Before a change of the partition count a robot may have been at home elsewhere.
    let has_moved = !parts.store.past_layouts()?.is_empty();
    let files = parts.store.find_files(&FileFilter {
        dataset: question.dataset.name.clone(),
        partition: (!has_moved).then_some(question.home),
        from: question.from,
        until: question.to,
    })?;
    let of_records = |file: RegisteredFile| {
        let is_of_records = file.file.path.starts_with("data/");
        let place = RecordPlace::of(&file.file.path).filter(|_| is_of_records)?;
        Some((file, place))
    };
    let mut files: Vec<_> = files.into_iter().filter_map(of_records).collect();
    files.sort_by_key(|(file, _)| (file.file.event_time_min, file.partition, file.number));
    Ok(files)
}

/// The topic of the question, by which positions count it.
fn topic_index(parts: &Parts, question: &Question) -> Answer<Option<usize>> {
    let (topics, _) = parts.store.layout()?.unwrap_or_default();
    let topic = parts.topics.get(&question.dataset.name);
    Ok(topic.and_then(|topic| topics.iter().position(|known| known == topic)))
}

/// Where in the log the lake has reached: what lies below is in its files.
fn reached(parts: &Parts, question: &Question) -> Answer<u64> {
    let index = topic_index(parts, question)?;
    let positions = parts.store.status(question.home)?.lake_positions;
    Ok(index.map_or(0, |index| positions.get(index)))
}
