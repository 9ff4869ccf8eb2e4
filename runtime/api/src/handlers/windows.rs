//! Signals over time.

use std::collections::BTreeMap;

use actix_web::web::{Json, Path, Query};
use serde::Deserialize;
use theatre_actors::outputs::OutputKind;
use theatre_actors::outputs::window::WindowSubject;
use theatre_actors::ports::OutputFilter;
use theatre_actors::window::{WindowRow, merge_revisions};
use theatre_schemas::dataset::Dataset;

use super::pages::now;
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
    let series = ask(&state, move |parts| {
        let as_of = now(parts)?;
        answer(parts, question, as_of)
    });
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
    let points = points(&revisions, &window, &question);
    let span = Span {
        from: question.from,
        until: question.until,
    };
    let merged = span.merged(points, size, question.points);
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

fn points(revisions: &Revisions, window: &str, question: &Question) -> Vec<Point> {
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
    of_window.filter_map(point).collect()
}

/// The stretch of time that is asked for.
struct Span {
    from: i64,
    until: i64,
}

impl Span {
    /// Points that begin within it, of windows of this length, `most` of them at most: with more,
    /// those of each so many windows are put together. With the length of what each stands for.
    fn merged(&self, points: Vec<Point>, window: i64, most: usize) -> (i64, Vec<Point>) {
        if points.len() <= most {
            return (window, points);
        }
        let (window, most) = (window.max(1), most.max(1) as i64);
        // It is the time that is divided, not the points: where some are missing, those that are
        // there would fall into more stretches than are wanted.
        let first = self.from.div_euclid(window) * window;
        let last = self.until.saturating_sub(1);
        let windows = last.saturating_sub(first).div_euclid(window) + 1;
        // Rounded up.
        let size = window.saturating_mul((windows - 1).div_euclid(most) + 1);
        let mut merged: Vec<Point> = Vec::new();
        for point in points {
            let stretch = point.start.0.saturating_sub(first).div_euclid(size);
            let start = Time(first + stretch * size);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(start: i64) -> Point {
        Point {
            start: Time(start),
            count: 1,
            mean: start as f64,
            min: start as f64,
            max: start as f64,
        }
    }

    #[test]
    fn a_sample_each_twenty_minutes_gives_no_more_points_than_are_wanted() {
        let (minute, hours) = (60_000_000, 10 * 3_600_000_000);
        let span = Span {
            from: 0,
            until: hours,
        };
        for most in [1, 2, 5, 8, 29] {
            let points = (0..30).map(|at| point(at * 20 * minute)).collect();
            let (size, merged) = span.merged(points, 10_000_000, most);
            assert!(
                merged.len() <= most && merged.len() > most / 2,
                "{most}: {}",
                merged.len()
            );
            assert!(size * most as i64 >= hours, "{most}: {size}");
        }
    }

    proptest! {
        #[test]
        fn points_are_never_more_than_wanted_and_hold_every_value(
            from in -1_000_000_i64..1_000_000,
            length in 1_i64..100_000,
            window in 1_i64..1000,
            most in 1_usize..50,
            gaps in proptest::collection::vec(1_i64..40, 0..200),
        ) {
            let span = Span { from, until: from + length };
            // Windows begin at multiples of their length, some of them are missing.
            let first = from.div_euclid(window) + i64::from(from.rem_euclid(window) > 0);
            let starts: Vec<i64> = gaps
                .iter()
                .scan(first - 1, |at, gap| {
                    *at += gap;
                    Some(*at * window)
                })
                .filter(|start| *start < span.until)
                .collect();
            let points: Vec<Point> = starts.iter().copied().map(point).collect();
            let (size, merged) = span.merged(points, window, most);
            prop_assert!(merged.len() <= most, "{} of {most}", merged.len());
            prop_assert_eq!(size % window, 0);
            let held: u64 = merged.iter().map(|point| point.count).sum();
            prop_assert_eq!(held, starts.len() as u64);
            for pair in merged.windows(2) {
                prop_assert!(pair[0].start.0 + size <= pair[1].start.0, "they do not overlap");
            }
            for point in &merged {
                let within = point.start.0 as f64..(point.start.0 + size) as f64;
                prop_assert!(within.contains(&point.min) && within.contains(&point.max));
                prop_assert!((point.min..=point.max).contains(&point.mean));
            }
        }
    }
}
