//! Phases of a case with what was measured in them, as they are published.

use theatre_schemas::records::{Indicator, ProcedurePhase, SignalSummary};

use super::course::{Course, Measured, Stretch};
use super::indicators::IndicatorColumns;
use super::measures::{Aggregate, Measures};
use super::{ProcedureEvent, ProcedureStep};
use crate::outputs::fingerprint;

/// What a phase's record says of its case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg<'a> {
    pub(crate) procedure_id: &'a str,
    pub(crate) robot_id: &'a str,
    /// Id of the outcome.
    pub(crate) id: &'a str,
}

/// A part of a case.
#[derive(Debug, Clone, PartialEq)]
struct Part<'a> {
    name: Option<&'a str>,
    /// `None` where the start of the case is not known.
    from: Option<i64>,
    to: i64,
}

/// The case as a whole and its phases in order of time, each up to the next.
fn parts<'a>(
    events: &[&'a ProcedureEvent],
    started_at: Option<i64>,
    ended_at: i64,
) -> Vec<Part<'a>> {
    let starts: Vec<(&str, i64)> = events
        .iter()
        .filter(|event| event.step == ProcedureStep::PhaseStarted && event.time < ended_at)
        .filter_map(|event| Some((event.phase.as_deref()?, event.time)))
        .collect();
    let mut parts = vec![Part {
        name: None,
        from: started_at,
        to: ended_at,
    }];
    for (at, (name, from)) in starts.iter().enumerate() {
        let to = starts.get(at + 1).map_or(ended_at, |(_, next)| *next);
        parts.push(Part {
            name: Some(name),
            from: Some(*from),
            to,
        });
    }
    parts
}

/// The phases that differ from what was published last, each under its next revision.
pub(super) fn changed(
    course: &mut Course,
    leg: Leg<'_>,
    events: &[&ProcedureEvent],
    started_at: Option<i64>,
    ended_at: i64,
) -> Vec<ProcedurePhase> {
    let Some(measured) = course.measured().cloned() else {
        return Vec::new();
    };
    let mut changed = Vec::new();
    for (index, part) in parts(events, started_at, ended_at).iter().enumerate() {
        let stretch = course.stretch(part.from.unwrap_or(i64::MIN), part.to);
        let mut phase = record(leg, index, part, &measured, &stretch);
        if let Some(revision) = course.revise(index, fingerprint(&phase.encode())) {
            phase.revision = revision;
            changed.push(phase);
        }
    }
    changed
}

fn record(
    leg: Leg<'_>,
    index: usize,
    part: &Part<'_>,
    measured: &Measured,
    Stretch { measures, is_exact }: &Stretch,
) -> ProcedurePhase {
    let values = Values::of(measures, part.from.map(|from| part.to.saturating_sub(from)));
    ProcedurePhase {
        phase_id: format!("{}/{index}", leg.id),
        procedure_id: leg.procedure_id.to_owned(),
        robot_id: leg.robot_id.to_owned(),
        leg_id: leg.id.to_owned(),
        revision: 0,
        phase_index: i32::try_from(index).unwrap_or(i32::MAX),
        phase: part.name.map(str::to_owned),
        began_at: part.from,
        ended_at: part.to,
        is_exact: *is_exact,
        row_count: measures.rows as i64,
        late_rows: measures.late_rows as i64,
        path_length: values.path_length,
        economy_of_motion: values.economy_of_motion,
        idle_time_s: values.idle_time,
        mean_speed: values.mean_speed,
        smoothness: values.smoothness,
        mean_squared_jerk: values.mean_squared_jerk,
        mean_force: values.mean_force,
        peak_force: values.peak_force,
        tool_changes: values.tool_changes,
        camera_moves: values.camera_moves,
        position_unit: measured.position_unit.clone(),
        force_unit: measured.force_unit.clone(),
        signals: summaries(&measured.names, &measures.signals),
    }
}

fn summaries(names: &[String], signals: &[Aggregate]) -> Vec<SignalSummary> {
    let none = Aggregate::default();
    let summary = |(at, name): (usize, &String)| {
        let of = signals.get(at).unwrap_or(&none);
        let known = |value: f64| (of.count > 0).then_some(value);
        SignalSummary {
            name: name.clone(),
            count: of.count as i64,
            sum: of.sum,
            min: known(of.min),
            max: known(of.max),
            mean: known(of.sum / of.count as f64),
        }
    };
    names.iter().enumerate().map(summary).collect()
}

/// The indicators of a stretch; `None` where there is no data.
#[derive(Debug, Clone, Default, PartialEq)]
struct Values {
    path_length: Option<f64>,
    economy_of_motion: Option<f64>,
    idle_time: Option<f64>,
    mean_speed: Option<f64>,
    mean_squared_jerk: Option<f64>,
    smoothness: Option<f64>,
    peak_force: Option<f64>,
    mean_force: Option<f64>,
    tool_changes: Option<f64>,
    camera_moves: Option<f64>,
}

impl Values {
    fn of(measures: &Measures, duration_us: Option<i64>) -> Self {
        let motion = &measures.motion;
        let moving = |value: f64| (motion.samples() > 0).then_some(value);
        let duration_s = duration_us.map(|us| us as f64 / 1e6);
        let force = &measures.force;
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        Self {
            path_length: finite(moving(motion.path_length())),
            economy_of_motion: finite(motion.economy()),
            idle_time: finite(moving(motion.idle_s())),
            mean_speed: finite(
                duration_s
                    .filter(|seconds| *seconds > 0.0)
                    .and_then(|seconds| moving(motion.path_length() / seconds)),
            ),
            mean_squared_jerk: finite(motion.mean_squared_jerk()),
            smoothness: finite(motion.smoothness()),
            peak_force: finite((force.count > 0).then_some(force.max)),
            mean_force: finite((force.count > 0).then(|| force.sum / force.count as f64)),
            tool_changes: measures.tool_changes(),
            camera_moves: measures.camera_moves(),
        }
    }
}

/// The indicators of a case for its outcome, of all of its rows.
pub(super) fn indicators(
    course: &Course,
    columns: Option<&IndicatorColumns>,
    duration_us: Option<i64>,
) -> Vec<Indicator> {
    if let Some(closed) = course.closed() {
        return closed.clone();
    }
    let Some(measured) = course.measured() else {
        return Vec::new();
    };
    let values = Values::of(&course.whole(columns), duration_us);
    let length = measured.position_unit.as_deref().unwrap_or("1");
    let force = measured.force_unit.as_deref().unwrap_or("1");
    let speed = format!("{length}/s");
    let jerk = format!("{length}^2/s^6");
    let all = [
        ("path_length", values.path_length, length),
        ("economy_of_motion", values.economy_of_motion, "1"),
        ("idle_time", values.idle_time, "s"),
        ("mean_speed", values.mean_speed, &speed),
        ("mean_squared_jerk", values.mean_squared_jerk, &jerk),
        ("smoothness", values.smoothness, "1"),
        ("peak_force", values.peak_force, force),
        ("mean_force", values.mean_force, force),
        ("tool_changes", values.tool_changes, "1"),
        ("camera_moves", values.camera_moves, "1"),
    ];
    let known = all.into_iter().filter_map(|(name, value, unit)| {
        Some(Indicator {
            name: name.to_owned(),
            value: value?,
            unit: unit.to_owned(),
        })
    });
    known.collect()
}
