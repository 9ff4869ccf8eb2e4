use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use theatre_schemas::batch::Batch;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::Registry;

use super::*;

const S: i64 = 1_000_000;

const SCHEMA: &str = r#"{"type":"record","name":"Try","theatre":{"id":9000,"dataset":"try","kind":"telemetry"},"fields":[
  {"name":"robot_id","type":"string"},{"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
  {"name":"speed","type":["null","double"],"default":null}]}"#;

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn batch(rows: &[(i64, Option<f64>)]) -> Batch {
    let mut registry = Registry::default();
    let index = registry.add(SCHEMA).unwrap();
    let mut builder = BatchBuilder::new(registry.datasets().get(index).clone(), index, Arc::new(Pseudonyms::new([0; 32])));
    for (offset, (time, value)) in rows.iter().enumerate() {
        let mut datum = vec![2, b'r'];
        varint(*time, &mut datum);
        match value {
            None => datum.push(0),
            Some(value) => {
                datum.push(2);
                datum.extend_from_slice(&value.to_le_bytes());
            }
        }
        builder.push(&registry.lookup(9000).unwrap().plan, &datum, offset as u64, 0).unwrap();
    }
    builder.finish().unwrap()
}

fn plan() -> WindowPlan {
    let spec = |name: &str, size, hop| WindowSpec { name: name.into(), size_us: size * S, hop_us: hop * S };
    WindowPlan::new(vec![spec("10s", 10, 10), spec("60s", 60, 60), spec("30s/10s", 30, 10)], AggregateSet::Full).unwrap()
}

fn policy() -> TimePolicy {
    TimePolicy { reorder_bound_us: 5 * S, ..TimePolicy::default() }
}

fn clocks(rows: &[(i64, Option<f64>)]) -> Vec<EventTime> {
    let mut clock = i64::MIN;
    rows.iter()
        .map(|(time, _)| {
            clock = clock.max(*time);
            EventTime(clock)
        })
        .collect()
}

/// Applies rows cut at `cuts`, with the state written and read back at each cut; flushes at the end.
fn run(rows: &[(i64, Option<f64>)], cuts: &[usize]) -> (Vec<WindowRow>, Vec<u8>) {
    let (plan, policy, batch, clocks) = (plan(), policy(), batch(rows), clocks(rows));
    let mut windows = Windows::new(1);
    let mut out = Vec::new();
    let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % (rows.len() + 1)).chain([0, rows.len()]).collect();
    bounds.sort_unstable();
    for pair in bounds.windows(2) {
        let indices: Vec<u32> = (pair[0] as u32..pair[1] as u32).collect();
        windows.apply(&plan, &policy, &batch, &indices, &clocks[pair[0]..pair[1]], &mut out);
        windows = crate::state::decode(&crate::state::encode(&windows)).unwrap();
    }
    let state = crate::state::encode(&windows);
    windows.flush(&plan, &mut out);
    (out, state)
}

/// What every window must hold, straight from the rows.
fn oracle(rows: &[(i64, Option<f64>)]) -> BTreeMap<(String, i64), (u64, Vec<f64>)> {
    let mut all: BTreeMap<(String, i64), (u64, Vec<f64>)> = BTreeMap::new();
    for (time, value) in rows {
        for spec in plan().specs() {
            let mut start = time.div_euclid(spec.hop_us) * spec.hop_us;
            while start + spec.size_us > *time {
                let window = all.entry((spec.name.clone(), start)).or_default();
                window.0 += 1;
                window.1.extend(value.filter(|value| value.is_finite()));
                start -= spec.hop_us;
            }
        }
    }
    all
}

fn check(rows: &[(i64, Option<f64>)], told: &[WindowRow]) {
    let mut by_window: BTreeMap<(String, i64), Vec<WindowRow>> = BTreeMap::new();
    for row in told {
        by_window.entry((row.window.clone(), row.start_us)).or_default().push(row.clone());
    }
    let expected = oracle(rows);
    assert_eq!(by_window.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, revisions) in by_window {
        let merged = merge_revisions(&revisions).unwrap();
        let (count, values) = &expected[&key];
        let signal = &merged.signals[0];
        assert_eq!((merged.rows, signal.count), (*count, values.len() as u64), "{key:?}");
        if values.is_empty() {
            continue;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let near = |left: f64, right: f64| (left - right).abs() <= 1e-9 * right.abs().max(1.0);
        assert!(near(signal.mean, mean), "{key:?}: mean {} is not {mean}", signal.mean);
        assert!(near(signal.variance().unwrap(), variance), "{key:?}: variance {:?} is not {variance}", signal.variance());
        assert_eq!(signal.min, values.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(signal.max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    }
}

fn rows() -> impl Strategy<Value = Vec<(i64, Option<f64>)>> {
    let step = prop_oneof![8 => -4 * S..6 * S, 1 => -60 * S..0, 1 => 0..400 * S];
    let value = prop_oneof![8 => (-1e3..1e3).prop_map(Some), 1 => Just(None), 1 => Just(Some(f64::NAN))];
    proptest::collection::vec((step, value), 1..120).prop_map(|steps| {
        let mut time = 1_000 * S;
        steps
            .into_iter()
            .map(|(step, value)| {
                time += step;
                (time, value)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn windows_equal_a_recomputation_from_the_rows(rows in rows()) {
        check(&rows, &run(&rows, &[]).0);
    }

    #[test]
    fn cuts_and_saves_change_no_byte(rows in rows(), cuts in proptest::collection::vec(any::<usize>(), 0..12)) {
        prop_assert_eq!(run(&rows, &[]), run(&rows, &cuts));
    }
}

#[test]
fn an_extreme_time_does_no_harm() {
    for time in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
        let told = run(&[(time, Some(1.0)), (0, Some(2.0))], &[]).0;
        assert!(!told.is_empty());
    }
}

#[test]
fn a_late_row_gives_a_revision_with_itself_only() {
    let rows = [(5 * S, Some(1.0)), (40 * S, Some(2.0)), (6 * S, Some(9.0)), (80 * S, None)];
    let told = run(&rows, &[]).0;
    let first: Vec<(u32, u64)> = told.iter().filter(|row| row.window == "10s" && row.start_us == 0).map(|row| (row.revision, row.rows)).collect();
    assert_eq!(first, [(0, 1), (1, 1)]);
    // Open when the late row came, so it is right from the start.
    let minute: Vec<(u32, u64)> = told.iter().filter(|row| row.window == "60s" && row.start_us == 0).map(|row| (row.revision, row.rows)).collect();
    assert_eq!(minute, [(0, 3)]);
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let spec = |size, hop| WindowSpec { name: "w".into(), size_us: size, hop_us: hop };
    assert!(WindowPlan::new(vec![spec(10, 3)], AggregateSet::Full).is_err());
    assert!(WindowPlan::new(vec![spec(0, 0)], AggregateSet::Full).is_err());
    assert!(WindowPlan::new(vec![spec(10, 10), spec(20, 20)], AggregateSet::Full).is_err());
    assert!(WindowPlan::new(vec![], AggregateSet::Full).is_err());
}
