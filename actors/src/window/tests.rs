//! Windows as sentences; see `properties` for what holds of any rows.

mod properties;
mod sessions;
mod support;

use support::*;

use super::*;
use crate::time::{EventTime, MICROS_PER_SECOND};

const BOUND: i64 = 5 * SECOND;

fn tumbling() -> Robot {
    Robot::new(
        plan(&[spec("10s", 10 * SECOND, 10 * SECOND)], AggregateSet::Full),
        BOUND,
        1,
    )
}

fn seconds(times: &[i64]) -> Vec<Sample> {
    times
        .iter()
        .map(|time| sample(time * SECOND, *time as f64))
        .collect()
}

fn expected_row(window: &str, start: i64, revision: u32, rows: u64) -> (String, i64, u32, u64) {
    (window.into(), start, revision, rows)
}

#[test]
fn a_window_closes_when_the_clock_has_passed_its_end_by_the_reorder_bound() {
    let mut robot = tumbling();
    robot.rows(&[
        sample(0, 1.0),
        sample(9_999_999, 3.0),
        sample(10_000_000, 7.0),
        sample(14_999_999, 7.0),
    ]);
    assert_eq!(robot.take_rows(), []);
    robot.rows(&[sample(15_000_000, 7.0)]);
    let row = robot.out[0].clone();
    assert_eq!(robot.take_rows(), [expected_row("10s", 0, 0, 2)]);
    let signal = &row.signals[0];
    assert_eq!(
        (signal.count, signal.sum, signal.mean, signal.variance()),
        (2, 4.0, 2.0, Some(2.0))
    );
    assert_eq!(
        (
            signal.first,
            signal.first_time,
            signal.last,
            signal.last_time
        ),
        (1.0, 0, 3.0, 9_999_999)
    );
    assert_eq!(robot.windows.open_panes(), 1);
}

#[test]
fn windows_of_one_end_are_told_in_the_order_of_their_specs() {
    let specs = [
        spec("20s", 20 * SECOND, 20 * SECOND),
        spec("10s", 10 * SECOND, 10 * SECOND),
    ];
    let mut robot = Robot::new(plan(&specs, AggregateSet::Basic), BOUND, 1);
    robot.rows(&seconds(&[3, 13]));
    robot.advance(25 * SECOND);
    assert_eq!(
        robot.take_rows(),
        [
            expected_row("10s", 0, 0, 1),
            expected_row("20s", 0, 0, 2),
            expected_row("10s", 10, 0, 1)
        ]
    );
}

#[test]
fn a_row_behind_the_clock_but_within_the_bound_joins_its_window() {
    let mut robot = tumbling();
    robot.rows(&seconds(&[14, 8, 15]));
    assert_eq!(robot.take_rows(), [expected_row("10s", 0, 0, 1)]);
}

#[test]
fn late_rows_are_told_as_the_next_revision_when_their_fragment_is_due() {
    let mut robot = tumbling();
    robot.rows(&seconds(&[3, 20]));
    assert_eq!(robot.take_rows(), [expected_row("10s", 0, 0, 1)]);
    // Opened at clock 20, due at 30: the pane's width is more than the bound.
    robot.rows(&seconds(&[4, 5, 29]));
    assert_eq!(
        (robot.take_rows(), robot.windows.open_fragments()),
        (vec![], 1)
    );
    robot.rows(&seconds(&[30, 6]));
    assert_eq!(robot.take_rows(), [expected_row("10s", 0, 1, 2)]);
    robot.advance(40 * SECOND);
    assert_eq!(
        robot.take_rows(),
        [expected_row("10s", 20, 0, 2), expected_row("10s", 0, 2, 1)]
    );
}

#[test]
fn a_long_bound_keeps_a_fragment_open_as_long() {
    let mut robot = Robot::new(
        plan(&[spec("1s", SECOND, SECOND)], AggregateSet::Basic),
        30 * SECOND,
        1,
    );
    robot.rows(&seconds(&[0, 100, 1]));
    robot.advance(129 * SECOND);
    assert_eq!(robot.take_rows(), [expected_row("1s", 0, 0, 1)]);
    robot.advance(130 * SECOND);
    assert_eq!(robot.take_rows(), [expected_row("1s", 1, 1, 1)]);
}

#[test]
fn a_window_whose_rows_were_all_late_begins_at_revision_one() {
    let mut robot = tumbling();
    robot.rows(&seconds(&[20, 4]));
    robot.flush();
    assert_eq!(
        robot.take_rows(),
        [expected_row("10s", 20, 0, 1), expected_row("10s", 0, 1, 1)]
    );
}

#[test]
fn an_open_hopping_window_absorbs_a_row_that_is_late_for_closed_ones() {
    let mut robot = Robot::new(
        plan(&[spec("30s", 30 * SECOND, 10 * SECOND)], AggregateSet::Full),
        0,
        1,
    );
    robot.rows(&seconds(&[5, 22]));
    assert_eq!(
        robot.take_rows(),
        [
            expected_row("30s", -20, 0, 1),
            expected_row("30s", -10, 0, 1)
        ]
    );
    robot.rows(&seconds(&[6]));
    assert_eq!(
        (robot.windows.open_panes(), robot.windows.open_fragments()),
        (2, 1)
    );
    // The window from 0 holds it at revision 0; those before get it by the fragment, due at 32.
    robot.advance(32 * SECOND);
    assert_eq!(
        robot.take_rows(),
        [
            expected_row("30s", 0, 0, 3),
            expected_row("30s", -20, 1, 1),
            expected_row("30s", -10, 1, 1)
        ]
    );
}

#[test]
fn a_row_that_finds_more_windows_closed_opens_a_fragment_of_its_own() {
    let mut robot = Robot::new(
        plan(
            &[spec("30s", 30 * SECOND, 10 * SECOND)],
            AggregateSet::Basic,
        ),
        0,
        1,
    );
    robot.rows(&seconds(&[5, 22, 6, 31, 7]));
    assert_eq!(robot.windows.open_fragments(), 2);
    robot.take_rows();
    robot.flush();
    let late: Vec<_> = robot
        .take_rows()
        .into_iter()
        .filter(|(_, _, revision, _)| *revision > 0)
        .collect();
    // 6 for the windows from -20 and -10, then 7 for those and the one from 0.
    let expected = [(-20, 1), (-10, 1), (-20, 2), (-10, 2), (0, 1)];
    assert_eq!(
        late,
        expected.map(|(start, revision)| expected_row("30s", start, revision, 1))
    );
}

#[test]
fn a_pane_that_ended_but_whose_window_is_open_makes_no_fragment() {
    let specs = [
        spec("60s", 60 * SECOND, 60 * SECOND),
        spec("15s-by-5", 15 * SECOND, 5 * SECOND),
    ];
    let mut robot = Robot::new(plan(&specs[..1], AggregateSet::Basic), 0, 1);
    robot.rows(&seconds(&[50, 1, 60]));
    assert_eq!(
        (robot.take_rows(), robot.windows.open_fragments()),
        (vec![expected_row("60s", 0, 0, 2)], 0)
    );
    let mut robot = Robot::new(plan(&specs, AggregateSet::Basic), 0, 1);
    robot.rows(&seconds(&[50, 1, 60]));
    let told_60s: Vec<_> = robot
        .take_rows()
        .into_iter()
        .filter(|(window, ..)| window == "60s")
        .collect();
    assert_eq!(told_60s, [expected_row("60s", 0, 0, 2)]);
}

#[test]
fn after_a_flush_rows_of_flushed_windows_are_late_and_others_are_not() {
    let specs = [
        spec("10s", 10 * SECOND, 10 * SECOND),
        spec("60s", 60 * SECOND, 60 * SECOND),
    ];
    let mut robot = Robot::new(plan(&specs, AggregateSet::Basic), BOUND, 1);
    robot.rows(&seconds(&[3]));
    robot.flush();
    assert_eq!(
        robot.take_rows(),
        [expected_row("10s", 0, 0, 1), expected_row("60s", 0, 0, 1)]
    );
    robot.save_and_restore();
    robot.rows(&seconds(&[4, 12]));
    robot.flush();
    // The fragment of pane 0 speaks for both windows, that of pane 10 for the long one only.
    assert_eq!(
        robot.take_rows(),
        [
            expected_row("10s", 10, 0, 1),
            expected_row("10s", 0, 1, 1),
            expected_row("60s", 0, 1, 1),
            expected_row("60s", 0, 2, 1)
        ]
    );
}

#[test]
fn a_clock_that_jumps_by_millennia_tells_only_windows_with_rows() {
    let mut robot = Robot::new(
        plan(&[spec("hop", SECOND, 1_000)], AggregateSet::Basic),
        BOUND,
        1,
    );
    robot.rows(&[
        sample(0, 1.0),
        sample(5_000 * 365 * 86_400 * MICROS_PER_SECOND, 1.0),
    ]);
    assert_eq!(robot.take_rows().len(), 1_000);
}

#[test]
fn revision_numbers_are_forgotten_with_the_lateness_and_never_repeat() {
    let specs = [spec("10s", 10 * SECOND, 10 * SECOND)];
    let plan = plan(&specs, AggregateSet::Basic).with_allowed_lateness(60 * SECOND);
    let mut robot = Robot::new(plan, 0, 1);
    robot.rows(&seconds(&[0]));
    for round in 0..200 {
        let now = 20 + 20 * round;
        robot.rows(&seconds(&[now, now - 15]));
    }
    assert!(robot.save().len() < 300, "{} bytes", robot.save().len());
    // Long beyond the lateness the caller promised: numbers may skip, but none is given twice.
    robot.flush();
    robot.rows(&seconds(&[3, 5]));
    robot.flush();
    robot.rows(&seconds(&[3]));
    robot.flush();
    let rows = robot.take_rows();
    let mut ids: Vec<_> = rows
        .iter()
        .map(|(_, start, revision, _)| (*start, *revision))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows.len());
}

#[test]
fn a_changed_plan_closes_what_the_old_one_had_open() {
    let mut robot = Robot::new(
        plan(
            &[spec("10s", 10 * SECOND, 10 * SECOND)],
            AggregateSet::Basic,
        ),
        BOUND,
        1,
    );
    robot.rows(&seconds(&[3]));
    let specs = [
        spec("4s", 4 * SECOND, 4 * SECOND),
        spec("10s", 10 * SECOND, 10 * SECOND),
    ];
    robot.plan = plan(&specs, AggregateSet::Full);
    robot.rows(&seconds(&[5]));
    assert_eq!(robot.take_rows(), [expected_row("10s", 0, 0, 1)]);
    robot.flush();
    assert_eq!(
        robot.take_rows(),
        [expected_row("4s", 4, 0, 1), expected_row("10s", 0, 1, 1)]
    );
}

#[test]
fn a_plan_without_windows_tells_nothing() {
    let mut robot = Robot::new(plan(&[], AggregateSet::Full), BOUND, 1);
    robot.rows(&seconds(&[3, 300]));
    robot.flush();
    assert_eq!((robot.take_rows(), robot.windows.open_panes()), (vec![], 0));
}

#[test]
fn a_dataset_that_gains_a_signal_keeps_its_open_windows() {
    let mut robot = tumbling();
    robot.rows(&seconds(&[1]));
    robot.save_and_restore();
    robot.rows(&[Sample {
        time: 2 * SECOND,
        values: vec![Some(5.0), Some(6.0)],
    }]);
    robot.flush();
    let counts: Vec<u64> = robot.out[0]
        .signals
        .iter()
        .map(|signal| signal.count)
        .collect();
    assert_eq!(counts, [2, 1]);
}

#[test]
fn variance_of_values_far_from_zero_keeps_its_digits() {
    let offset = 1e9;
    let noise: Vec<f64> = (0..1_000)
        .map(|index| f64::from((index * 7_919) % 1_024) / 1_024.0)
        .collect();
    let mean = noise.iter().sum::<f64>() / 1_000.0;
    let expected = noise
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / 999.0;
    let mut robot = Robot::new(
        plan(
            &[spec("60s-by-10", 60 * SECOND, 10 * SECOND)],
            AggregateSet::Full,
        ),
        0,
        1,
    );
    let samples: Vec<Sample> = noise
        .iter()
        .zip(0..)
        .map(|(value, at)| sample(at * 59_000, offset + value))
        .collect();
    robot.rows(&samples);
    robot.flush();
    let whole = robot.out.iter().find(|row| row.start_us == 0).unwrap();
    let variance = whole.signals[0].variance().unwrap();
    assert!(
        (variance / expected - 1.0).abs() < 1e-7,
        "{variance} is not {expected}"
    );
}

#[test]
fn of_equal_times_the_first_come_is_first_and_the_last_come_is_last() {
    let mut robot = tumbling();
    robot.rows(&[sample(SECOND, 1.0), sample(SECOND, 2.0)]);
    robot.rows(&[sample(SECOND, 3.0)]);
    robot.flush();
    robot.rows(&[sample(SECOND, 4.0)]);
    robot.flush();
    assert_eq!(robot.out[0].signals[0].last, 3.0);
    let signal = merge_revisions(&robot.out).unwrap().signals.remove(0);
    assert_eq!((signal.count, signal.first, signal.last), (4, 1.0, 4.0));
}

#[test]
fn huge_values_overflow_to_infinity_and_leave_count_and_ends_right() {
    let mut robot = tumbling();
    robot.rows(&[
        sample(0, f64::MAX),
        sample(1, f64::MAX),
        sample(2, -f64::MAX),
        sample(3, f64::NAN),
    ]);
    robot.flush();
    let signal = &robot.out[0].signals[0];
    assert_eq!(
        (signal.count, signal.min, signal.max, signal.last),
        (3, -f64::MAX, f64::MAX, -f64::MAX)
    );
}

#[test]
fn basic_state_is_much_smaller_than_full_and_both_are_small() {
    let size = |set| {
        let mut robot = Robot::new(plan(&[spec("10s", 10 * SECOND, 10 * SECOND)], set), 0, 13);
        let values = |at: i64| {
            (0..13)
                .map(|signal| Some((at * signal) as f64 / 7.0))
                .collect()
        };
        let base = 1_767_225_600 * SECOND;
        robot.rows(
            &(0..90)
                .map(|at| Sample {
                    time: base + at * 100_000,
                    values: values(at),
                })
                .collect::<Vec<_>>(),
        );
        robot.save().len()
    };
    assert!(
        size(AggregateSet::Basic) < 420,
        "{}",
        size(AggregateSet::Basic)
    );
    assert!(
        size(AggregateSet::Full) < 1_000,
        "{}",
        size(AggregateSet::Full)
    );
}

#[test]
fn state_and_rows_written_before_read_as_they_were() {
    let mut robot = tumbling();
    robot.rows(&seconds(&[3, 20, 4]));
    let golden = "010180dac409010331307380dac40980dac4090000008087a70e0180b48913010101010000000000003440000000000000000000000000000000000000000000003440000000000000344000000000000034400000000000000034400001808ece1c0101000101010100000000000010400000000000000000000000000000000000000000000010400000000000001040000000000000104080a4e803000000000000104080a4e803";
    let mut before = robot.clone();
    before.windows = postcard::from_bytes::<WindowsV1>(&bytes(golden))
        .unwrap()
        .into();
    let golden = "010180dac409010331307380dac40980dac4090000000180dac40980dac409008087a70e0180b48913010101010000000000003440000000000000000000000000000000000000000000003440000000000000344000000000000034400000000000000034400001808ece1c0101000101010100000000000010400000000000000000000000000000000000000000000010400000000000001040000000000000104080a4e803000000000000104080a4e803";
    assert_eq!(hex(&robot.save()), golden);
    assert_eq!(
        postcard::from_bytes::<Windows>(&bytes(golden)).unwrap(),
        robot.windows
    );
    robot.flush();
    before.flush();
    assert_eq!(before.out, robot.out, "those of version 1 go on alike");
    let golden = "010331307380dac40980b4891300010102010000000000003440000000000000344000000000000000000000000000003440000000000000344000000000000034400000000000000034400000";
    assert_eq!(hex(&robot.out[1].encode()), golden);
    assert_eq!(WindowRow::decode(&bytes(golden)).unwrap(), robot.out[1]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn an_encoded_row_reads_back_and_no_prefix_or_extension_does() {
    let mut robot = tumbling();
    robot.rows(&seconds(&[3, 4]));
    robot.flush();
    let row = robot.out.remove(0);
    let bytes = row.encode();
    assert_eq!(WindowRow::decode(&bytes).unwrap(), row);
    for length in 0..bytes.len() {
        assert!(WindowRow::decode(&bytes[..length]).is_err());
    }
    assert!(matches!(
        WindowRow::decode(&[&bytes[..], &[0]].concat()),
        Err(RowDecodeError::Trailing(1))
    ));
    assert!(matches!(
        WindowRow::decode(&[9]),
        Err(RowDecodeError::Version(9))
    ));
}

#[test]
fn json_shows_what_is_not_known_as_null_and_reads_it_back() {
    let mut robot = Robot::new(
        plan(
            &[spec("10s", 10 * SECOND, 10 * SECOND)],
            AggregateSet::Basic,
        ),
        0,
        1,
    );
    robot.rows(&[sample(SECOND, 2.5)]);
    robot.flush();
    let json = serde_json::to_value(&robot.out[0]).unwrap();
    assert_eq!(json["signals"][0]["mean"], 2.5);
    assert!(json["signals"][0]["first"].is_null());
    assert_eq!(
        serde_json::from_value::<WindowRow>(json).unwrap(),
        robot.out[0]
    );
}

#[test]
fn impossible_windows_are_refused() {
    let refuse =
        |specs: &[WindowSpec]| WindowPlan::new(specs.to_vec(), AggregateSet::Basic).unwrap_err();
    assert!(matches!(refuse(&[spec("", 10, 10)]), WindowError::Name(_)));
    assert!(matches!(
        refuse(&[spec("a/b", 10, 10)]),
        WindowError::Name(_)
    ));
    assert!(matches!(
        refuse(&[spec("a", 10, 10), spec("a", 20, 20)]),
        WindowError::Twice(_)
    ));
    assert!(matches!(
        refuse(&[spec("a", 0, 1)]),
        WindowError::Size { .. }
    ));
    assert!(matches!(
        refuse(&[spec("a", i64::MAX, i64::MAX)]),
        WindowError::Size { .. }
    ));
    assert!(matches!(
        refuse(&[spec("a", 10, 0)]),
        WindowError::Hop { .. }
    ));
    assert!(matches!(
        refuse(&[spec("a", 10, 3)]),
        WindowError::Hop { .. }
    ));
    assert!(matches!(
        refuse(&[spec("a", 10 * SECOND, SECOND), spec("b", 7, 7)]),
        WindowError::Panes { .. }
    ));
}

#[test]
fn quantiles_are_within_one_percent_and_need_no_order() {
    let mapping = Sketch::mapping();
    let mut forwards = Sketch::default();
    let mut backwards = Sketch::default();
    for value in -500..=500 {
        forwards.add([f64::from(value)].into_iter(), &mapping);
    }
    backwards.add((-500..=500).rev().map(f64::from), &mapping);
    assert_eq!(forwards, backwards);
    for (quantile, expected) in [
        (0.0, -500.0),
        (0.25, -250.0),
        (0.5, 0.0),
        (0.75, 250.0),
        (1.0, 500.0),
    ] {
        let found = forwards.quantile(quantile).unwrap();
        assert!(
            (found - expected).abs() <= 0.0101 * expected.abs(),
            "{found} is not {expected}"
        );
    }
    assert_eq!(
        (Sketch::default().quantile(0.5), forwards.quantile(1.5)),
        (None, None)
    );
}

#[test]
fn a_sketch_is_bounded_and_still_needs_no_order() {
    let mapping = Sketch::mapping();
    let values: Vec<f64> = (0..5_000)
        .map(|step| 1e-8 * 1.021_f64.powi(step))
        .filter(|value| value.is_finite())
        .collect();
    let sketch = |values: &mut dyn Iterator<Item = &f64>| {
        let mut sketch = Sketch::default();
        sketch.add(values.copied(), &mapping);
        sketch
    };
    let rising = sketch(&mut values.iter());
    assert_eq!(rising, sketch(&mut values.iter().rev()));
    let mut merged = sketch(&mut values.iter().step_by(2));
    merged.merge(&sketch(&mut values.iter().skip(1).step_by(2)));
    assert_eq!(rising, merged);
    assert!(postcard::to_stdvec(&rising).unwrap().len() < 12_000);
    assert_eq!(rising.count(), values.len() as u64);
}

#[test]
fn the_clock_may_move_by_other_datasets_between_rows() {
    let mut robot = tumbling();
    let samples = seconds(&[3, 4]);
    let clocks = [EventTime(3 * SECOND), EventTime(30 * SECOND)];
    robot.windows.apply(
        &robot.plan,
        &batch(&samples),
        &[0, 1],
        &clocks,
        BOUND,
        &mut robot.out,
    );
    assert_eq!(
        (robot.take_rows(), robot.windows.open_fragments()),
        (vec![expected_row("10s", 0, 0, 1)], 1)
    );
}
