//! Signals over time.

use std::collections::BTreeMap;

use actix_web::web::{Json, Path, Query};
use serde::Deserialize;
use theatre_actors::outputs::OutputKind;
use theatre_actors::outputs::window::WindowSubject;
use theatre_actors::ports::OutputFilter;
use theatre_actors::window::{WindowRow, merge_revisions};
use theatre_schemas::dataset::Dataset;

use super::{Known, Shared, ask, fleet_of};
use crate::Parts;
use crate::model::{Point, Series, Time};
use crate::problem::{Answer, Problem};

const POINTS: usize = 500;
/// Most points of an answer.
pub(crate) const POINTS_MAX: usize = 5000;
/// How far back a question without a beginning looks, microseconds.
const SPAN_US: i64 = 15 * 60 * 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeriesQuery {
    signal: String,
    dataset: Option<String>,
    from: Option<String>,
    until: Option<String>,
    points: Option<usize>,
}

/// A question that makes sense.
struct Question {
    robot: String,
    dataset: String,
    signal: usize,
    name: String,
    unit: Option<String>,
    from: i64,
    until: i64,
    points: usize,
}

pub(crate) async fn series(
    robot: Path<String>,
    query: Query<SeriesQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Series>> {
    let fleet = fleet_of(&state).await?;
    let view = fleet.robot(&robot).filter(|_| caller.may(&robot));
    let view = view.ok_or_else(|| Problem::missing("robot", &robot))?;
    let clock = view.clock.unwrap_or(fleet.as_of.0);
    let question = question(&state.parts, robot.into_inner(), &query, clock)?;
    let as_of = state.parts.clock.now();
    let series = ask(&state, move |parts| answer(parts, question, as_of.into()));
    Ok(Json(series.await?))
}

fn question(parts: &Parts, robot: String, query: &SeriesQuery, clock: i64) -> Answer<Question> {
    let points = query.points.unwrap_or(POINTS);
    if !(1..=POINTS_MAX).contains(&points) {
        return Err(Problem::bad(format!(
            "points {points} is not within 1 to {POINTS_MAX}"
        )));
    }
    let until = moment("until", query.until.as_deref(), clock.saturating_add(1))?;
    let from = moment("from", query.from.as_deref(), until.saturating_sub(SPAN_US))?;
    if from >= until {
        return Err(Problem::bad("from is not before until"));
    }
    let dataset = dataset(parts, query)?;
    let signal = dataset
        .signal(&query.signal)
        .ok_or_else(|| Problem::missing("signal", &query.signal))?;
    Ok(Question {
        robot,
        dataset: dataset.name.clone(),
        signal,
        name: query.signal.clone(),
        unit: dataset.signals[signal].unit.clone(),
        from,
        until,
        points,
    })
}

fn dataset<'a>(parts: &'a Parts, query: &SeriesQuery) -> Answer<&'a Dataset> {
    let all = parts
        .registry
        .datasets()
        .iter()
        .map(|(_, dataset)| &**dataset);
    let with_topic = |dataset: &&Dataset| parts.topics.contains_key(&dataset.name);
    match &query.dataset {
        Some(name) => {
            let mut named = all.filter(|dataset| dataset.name == *name);
            named
                .next()
                .ok_or_else(|| Problem::missing("dataset", name))
        }
        None => {
            let mut having = all
                .filter(with_topic)
                .filter(|dataset| dataset.signal(&query.signal).is_some());
            match (having.next(), having.next()) {
                (Some(only), None) => Ok(only),
                (Some(first), Some(second)) => Err(Problem::bad(format!(
                    "the datasets '{}' and '{}' have this signal: say which with `dataset`",
                    first.name, second.name
                ))),
                _ => Err(Problem::missing("signal", &query.signal)),
            }
        }
    }
}

pub(super) fn moment(name: &str, text: Option<&str>, default: i64) -> Answer<i64> {
    let Some(text) = text else {
        return Ok(default);
    };
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        Problem::bad(format!(
            "{name} '{text}' is no time such as 2026-01-31T12:00:00Z"
        ))
    })?;
    Ok(time.as_microsecond())
}

/// Revisions of one window, by its name and start.
type Revisions = BTreeMap<(String, i64), Vec<WindowRow>>;

fn answer(parts: &Parts, question: Question, as_of: Time) -> Answer<Series> {
    let filter = OutputFilter {
        kind: Some(OutputKind::Window),
        robot_id: Some(question.robot.clone()),
        from: Some(question.from),
        until: Some(question.until),
        ..OutputFilter::default()
    };
    let mut revisions = Revisions::new();
    let mut sizes: BTreeMap<String, i64> = BTreeMap::new();
    for stored in parts.store.find_outputs(&filter)? {
        if WindowSubject::of(&stored.output).dataset != question.dataset {
            continue;
        }
        let row = WindowRow::decode(&stored.output.payload)
            .map_err(|error| theatre_actors::ports::Error::Refused(error.to_string()))?;
        // Hopping windows overlap: a value would be in several points.
        if row.start_us.rem_euclid(row.size_us.max(1)) == 0 {
            sizes.insert(row.window.clone(), row.size_us);
            revisions
                .entry((row.window.clone(), row.start_us))
                .or_default()
                .push(row);
        }
    }
    let (window, size) = resolution(&sizes, &question);
    let points = points(&revisions, &window, size, &question);
    let merged = points.merged();
    Ok(Series {
        robot_id: question.robot,
        dataset: question.dataset,
        signal: question.name,
        unit: question.unit,
        window,
        resolution_s: merged.0 as f64 / 1e6,
        points: merged.1,
        as_of,
    })
}

/// The window with the shortest length of which no more fit than points are wanted; else the
/// longest.
fn resolution(sizes: &BTreeMap<String, i64>, question: &Question) -> (String, i64) {
    let span = question.until.saturating_sub(question.from);
    let mut by_size: Vec<(i64, &String)> = sizes.iter().map(|(name, size)| (*size, name)).collect();
    by_size.sort();
    let fits = |size: i64| span / size.max(1) <= question.points as i64;
    let found = by_size
        .iter()
        .find(|(size, _)| fits(*size))
        .or(by_size.last());
    found.map_or((String::new(), 0), |(size, name)| ((*name).clone(), *size))
}

struct Points {
    size: i64,
    most: usize,
    points: Vec<Point>,
}

fn points(revisions: &Revisions, window: &str, size: i64, question: &Question) -> Points {
    let of_window = revisions.iter().filter(|((name, _), _)| name == window);
    let point = |((_, start), rows): (&(String, i64), &Vec<WindowRow>)| {
        let merged = merge_revisions(rows)?;
        let signal = merged.signals.get(question.signal)?;
        (signal.count > 0).then_some(Point {
            start: Time(*start),
            count: signal.count,
            mean: signal.mean,
            min: signal.min,
            max: signal.max,
        })
    };
    Points {
        size,
        most: question.points,
        points: of_window.filter_map(point).collect(),
    }
}

impl Points {
    /// Neighbours put together until there are no more than wanted; with their length.
    fn merged(self) -> (i64, Vec<Point>) {
        let together = self.points.len().div_ceil(self.most.max(1)).max(1) as i64;
        if together == 1 {
            return (self.size, self.points);
        }
        let size = self.size.saturating_mul(together);
        let mut merged: Vec<Point> = Vec::new();
        for point in self.points {
            let start = Time(point.start.0.div_euclid(size) * size);
            match merged.last_mut().filter(|last| last.start == start) {
                Some(last) => {
                    let count = last.count + point.count;
                    let share = point.count as f64 / count as f64;
                    last.mean += (point.mean - last.mean) * share;
                    last.count = count;
                    last.min = last.min.min(point.min);
                    last.max = last.max.max(point.max);
                }
                None => merged.push(Point { start, ..point }),
            }
        }
        (size, merged)
    }
}
