//! Session windows against a recomputation from their rows.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::support::*;
use crate::time::{EventTime, TimePolicy};
use crate::window::{AggregateSet, SessionRow, SessionSpec, Sessions};

const GAP: i64 = 10;
const LONGEST: i64 = 60;
const LATENESS: i64 = 100;

fn kind() -> SessionSpec {
    SessionSpec {
        name: "use".into(),
        active: Some(0),
        gap_us: GAP * SECOND,
        longest_us: LONGEST * SECOND,
        aggregates: AggregateSet::Full,
    }
}

fn policy() -> TimePolicy {
    TimePolicy {
        reorder_bound_us: 5 * SECOND,
        allowed_lateness_us: LATENESS * SECOND,
        ..TimePolicy::default()
    }
}

/// A row in order of arrival: event time in seconds, active, value.
type Row = (i64, bool, i8);

/// Rows within the lateness, in order of arrival.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let step = prop_oneof![8 => 0..9_i64, 2 => 9..14_i64, 1 => 14..200_i64];
    let delay = prop_oneof![6 => 0..5_i64, 2 => 0..LATENESS];
    let row = (step, delay, prop::bool::weighted(0.8), any::<i8>());
    proptest::collection::vec(row, 1..80).prop_map(|rows| {
        let (mut time, mut arrivals) = (0, Vec::new());
        for (at, (step, delay, is_active, value)) in rows.into_iter().enumerate() {
            time += step;
            arrivals.push((time + delay, at, (time, is_active, value)));
        }
        arrivals.sort_unstable();
        arrivals.into_iter().map(|(.., row)| row).collect()
    })
}

/// What is emitted of rows that come in calls cut at `cuts`, saved and restored at each; all is
/// flushed at the end.
fn emitted(rows: &[Row], cuts: &[usize]) -> (Vec<SessionRow>, Vec<u8>) {
    let samples: Vec<Sample> = rows
        .iter()
        .map(|(time, is_active, value)| Sample {
            time: time * SECOND,
            values: vec![
                Some(f64::from(u8::from(*is_active))),
                Some(f64::from(*value)),
            ],
        })
        .collect();
    let batch = batch(&samples);
    let mut clock = i64::MIN;
    let clocks: Vec<EventTime> = samples
        .iter()
        .map(|sample| {
            clock = clock.max(sample.time);
            EventTime(clock)
        })
        .collect();
    let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % (rows.len() + 1)).collect();
    bounds.extend([0, rows.len()]);
    bounds.sort_unstable();
    let mut sessions = Sessions::new(&kind());
    let mut out = Vec::new();
    for pair in bounds.windows(2) {
        let indices: Vec<u32> = (pair[0] as u32..pair[1] as u32).collect();
        let clocks = &clocks[pair[0]..pair[1]];
        let closed = sessions.apply(&kind(), &policy(), &batch, &indices, clocks);
        out.extend(closed.into_iter().map(|(_, row)| row));
        let stored = postcard::to_allocvec(&sessions).unwrap();
        sessions = postcard::from_bytes(&stored).unwrap();
    }
    let state = postcard::to_allocvec(&sessions).unwrap();
    out.extend(sessions.flush(&policy()));
    (out, state)
}

/// Start, end, whether it is cut, rows, sum, least, greatest.
type Session = (i64, i64, bool, u64, f64, f64, f64);

/// What counts in the end: of each time the highest revision, unless it is withdrawn.
fn latest(rows: &[SessionRow]) -> Vec<Session> {
    let mut by_start: BTreeMap<i64, &SessionRow> = BTreeMap::new();
    for row in rows {
        let known = by_start.insert(row.start_us, row);
        assert_eq!(row.revision, known.map_or(0, |known| known.revision + 1));
    }
    let present = by_start.values().filter(|row| !row.is_withdrawn);
    let session = |row: &&SessionRow| {
        let of = &row.signals[1];
        (
            row.start_us,
            row.end_us,
            row.is_cut,
            row.rows,
            of.sum,
            of.min,
            of.max,
        )
    };
    present.map(session).collect()
}

fn recomputed(rows: &[Row]) -> Vec<Session> {
    let mut active: Vec<(i64, i8)> = rows
        .iter()
        .filter(|(_, is_active, _)| *is_active)
        .map(|(time, _, value)| (*time, *value))
        .collect();
    active.sort_unstable();
    let mut chains: Vec<Vec<(i64, i8)>> = Vec::new();
    for row in active {
        match chains.last_mut() {
            Some(chain) if row.0 - chain[chain.len() - 1].0 <= GAP => chain.push(row),
            _ => chains.push(vec![row]),
        }
    }
    let mut sessions = Vec::new();
    for chain in chains {
        let is_cut = chain[chain.len() - 1].0 - chain[0].0 > LONGEST;
        let parts = chain.chunk_by(|one, other| !is_cut || one.0 / LONGEST == other.0 / LONGEST);
        for part in parts {
            let values = || part.iter().map(|(_, value)| f64::from(*value));
            sessions.push((
                part[0].0 * SECOND,
                part[part.len() - 1].0 * SECOND,
                is_cut,
                part.len() as u64,
                values().sum(),
                values().fold(f64::INFINITY, f64::min),
                values().fold(f64::NEG_INFINITY, f64::max),
            ));
        }
    }
    sessions
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn sessions_are_those_of_a_recomputation(rows in rows()) {
        prop_assert_eq!(latest(&emitted(&rows, &[]).0), recomputed(&rows));
    }

    #[test]
    fn cuts_and_saves_change_nothing(rows in rows(), cuts in proptest::collection::vec(any::<usize>(), 0..8)) {
        prop_assert_eq!(emitted(&rows, &[]), emitted(&rows, &cuts));
    }
}

#[test]
fn a_late_row_joins_two_sessions_and_the_later_one_is_withdrawn() {
    let active = |time: i64| (time, true, 1);
    let rows = [0, 5, 20, 25, 60, 12, 80].map(active);
    let revisions: Vec<_> = emitted(&rows, &[])
        .0
        .iter()
        .map(|row| {
            (
                row.start_us / SECOND,
                row.revision,
                row.is_withdrawn,
                row.rows,
            )
        })
        .collect();
    let expected = [
        (0, 0, false, 2),
        (20, 0, false, 2),
        (20, 1, true, 0),
        (0, 1, false, 5),
        (60, 0, false, 1),
        (80, 0, false, 1),
    ];
    assert_eq!(revisions, expected);
}

#[test]
fn many_sessions_stay_bounded() {
    let mut rows = Vec::new();
    for at in (0..400).rev() {
        rows.push((100_000 + at * 11, true, 1));
    }
    // Backwards: all are late but the first one.
    let kind = SessionSpec {
        gap_us: SECOND,
        ..kind()
    };
    let samples: Vec<Sample> = rows
        .iter()
        .map(|(time, ..): &Row| Sample {
            time: time * SECOND,
            values: vec![Some(1.0), Some(1.0)],
        })
        .collect();
    let batch = batch(&samples);
    let clocks = vec![EventTime(samples[0].time); samples.len()];
    let mut sessions = Sessions::new(&kind);
    let indices: Vec<u32> = (0..samples.len() as u32).collect();
    sessions.apply(&kind, &policy(), &batch, &indices, &clocks);
    let stored = postcard::to_allocvec(&sessions).unwrap();
    assert!(stored.len() < 32 * 1024, "{}", stored.len());
}
