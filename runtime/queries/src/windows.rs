//! Window aggregates.

use std::collections::BTreeMap;

use serde::Serialize;
use theatre_actors::outputs::OutputKind;
use theatre_actors::outputs::window::WindowSubject;
use theatre_actors::ports::{CheckpointStore, Error, OutputFilter, Result};
use theatre_actors::window::{WindowRow, merge_revisions};
use theatre_schemas::records::RobotSession;
use theatre_schemas::registry::Registry;

/// Which windows to read.
#[derive(Debug, Clone, Default)]
pub struct WindowQuery {
    /// The robot.
    pub robot_id: String,
    /// Only this window, such as `10s`.
    pub window: Option<String>,
    /// Only this signal.
    pub signal: Option<String>,
}

/// One signal's aggregate in one window, late corrections merged.
#[derive(Debug, Clone, Serialize)]
pub struct WindowAggregate {
    /// The window's name, such as `10s`.
    pub window: String,
    /// Event time at which it begins, microseconds UTC.
    pub start: i64,
    /// The highest revision that was merged.
    pub revision: u32,
    /// The signal.
    pub signal: String,
    /// Values aggregated; at least one.
    pub count: u64,
    /// Their mean, in the signal's unit.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// Window aggregates of a robot by dataset, window and start, as far back as the store keeps them.
/// `registry` names the signals.
///
/// # Errors
/// When the store cannot be read, or a window in it cannot be decoded.
pub fn windows(
    store: &dyn CheckpointStore,
    registry: &Registry,
    query: &WindowQuery,
) -> Result<Vec<WindowAggregate>> {
    let mut aggregates = Vec::new();
    for ((dataset, _, start), revisions) in window_revisions(store, query)? {
        let Some(merged) = merge_revisions(&revisions) else {
            continue;
        };
        let known = registry.datasets().find(&dataset);
        let known = known.map(|(_, dataset)| dataset.signals.as_slice());
        for (index, aggregate) in merged.signals.iter().enumerate() {
            // A schema that only another command was given is unknown here: then the signal is
            // named by its place.
            let name = known.unwrap_or_default().get(index);
            let name = name.map_or_else(|| format!("signal {index}"), |signal| signal.name.clone());
            let wanted = query.signal.as_ref().is_none_or(|wanted| *wanted == name);
            if aggregate.count == 0 || !wanted {
                continue;
            }
            aggregates.push(WindowAggregate {
                window: merged.window.clone(),
                start,
                revision: merged.revision,
                signal: name,
                count: aggregate.count,
                mean: aggregate.mean,
                min: aggregate.min,
                max: aggregate.max,
            });
        }
    }
    aggregates.extend(sessions(store, query)?);
    Ok(aggregates)
}

/// The sessions of a robot, of each its latest revision unless it is withdrawn.
fn sessions(store: &dyn CheckpointStore, query: &WindowQuery) -> Result<Vec<WindowAggregate>> {
    let filter = OutputFilter {
        kind: Some(OutputKind::Session),
        robot_id: Some(query.robot_id.clone()),
        ..OutputFilter::default()
    };
    let mut latest: BTreeMap<(String, i64, String), RobotSession> = BTreeMap::new();
    for stored in store.find_outputs(&filter)? {
        let session = RobotSession::decode(&stored.output.payload)
            .map_err(|error| Error::Refused(error.to_string()))?;
        let key = (
            session.window_name.clone(),
            session.began_at,
            session.dataset.clone(),
        );
        let is_newer = |known: &RobotSession| known.revision < session.revision;
        if latest.get(&key).is_none_or(is_newer) {
            latest.insert(key, session);
        }
    }
    let is_wanted =
        |name: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let mut aggregates = Vec::new();
    for session in latest.into_values().filter(|session| !session.is_withdrawn) {
        if !is_wanted(&session.window_name, &query.window) {
            continue;
        }
        for of in session.signals {
            if is_wanted(&of.name, &query.signal) {
                aggregates.push(WindowAggregate {
                    window: session.window_name.clone(),
                    start: session.began_at,
                    revision: u32::try_from(session.revision).unwrap_or(0),
                    signal: of.name,
                    count: u64::try_from(of.count).unwrap_or(0),
                    mean: of.mean.unwrap_or(f64::NAN),
                    min: of.min.unwrap_or(f64::NAN),
                    max: of.max.unwrap_or(f64::NAN),
                });
            }
        }
    }
    Ok(aggregates)
}

/// A window's dataset and name, and the event time at which it begins.
type WindowKey = (String, String, i64);

/// All revisions of each window that is asked for.
fn window_revisions(
    store: &dyn CheckpointStore,
    query: &WindowQuery,
) -> Result<BTreeMap<WindowKey, Vec<WindowRow>>> {
    let filter = OutputFilter {
        kind: Some(OutputKind::Window),
        robot_id: Some(query.robot_id.clone()),
        ..OutputFilter::default()
    };
    let mut revisions: BTreeMap<WindowKey, Vec<WindowRow>> = BTreeMap::new();
    for stored in store.find_outputs(&filter)? {
        let row = WindowRow::decode(&stored.output.payload)
            .map_err(|error| Error::Refused(error.to_string()))?;
        if query
            .window
            .as_ref()
            .is_none_or(|wanted| *wanted == row.window)
        {
            let dataset = WindowSubject::of(&stored.output).dataset.to_owned();
            revisions
                .entry((dataset, row.window.clone(), row.start_us))
                .or_default()
                .push(row);
        }
    }
    Ok(revisions)
}
