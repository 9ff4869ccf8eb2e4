//! Properties that hold for any rows, clocks, flushes, cuts and saves.

use proptest::prelude::*;

use super::support::*;
use crate::window::{AggregateSet, WindowSpec, merge_revisions};

const SIGNALS: usize = 6;

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        1 => Just(None),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)].prop_map(Some),
        2 => prop_oneof![Just(0.0), Just(1.0), Just(-1.0)].prop_map(Some),
        8 => (-1e3..1e3).prop_map(Some),
    ]
}

/// The first signals are always there and finite, so that the fast way is taken too.
fn values() -> impl Strategy<Value = Vec<Option<f64>>> {
    (prop::array::uniform4(-1e3..1e3_f64), value(), value())
        .prop_map(|(whole, left, right)| whole.into_iter().map(Some).chain([left, right]).collect())
}

/// Rows that mostly go forward, some late, some far ahead, with clock moves and flushes in between.
fn inputs(rows: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Input>> {
    let step = prop_oneof![
        20 => (0..3 * SECOND, 0..4 * SECOND, values()).prop_map(|(ahead, back, values)| (ahead, back, Some(values))),
        4 => (0..SECOND, 0..90 * SECOND, values()).prop_map(|(ahead, back, values)| (ahead, back, Some(values))),
        1 => (0..900 * SECOND, 0..SECOND, values()).prop_map(|(ahead, back, values)| (ahead, back, Some(values))),
        1 => (0..40 * SECOND).prop_map(|ahead| (ahead, 0, None)),
        1 => Just((-1, 0, None)),
    ];
    (
        -100 * SECOND..100 * SECOND,
        prop::collection::vec(step, rows),
    )
        .prop_map(|(start, steps)| {
            let mut front = start;
            let input = |(ahead, back, values): (i64, i64, Option<Vec<Option<f64>>>)| {
                front += ahead.max(0);
                match values {
                    // Whole milliseconds, so that times are equal now and then.
                    Some(values) => Input::Row(Sample {
                        time: (front - back).div_euclid(1_000) * 1_000,
                        values,
                    }),
                    None if ahead < 0 => Input::Flush,
                    None => Input::Clock(front),
                }
            };
            steps.into_iter().map(input).collect()
        })
}

fn specs() -> impl Strategy<Value = Vec<WindowSpec>> {
    prop::sample::select(vec![
        vec![spec("10s", 10 * SECOND, 10 * SECOND)],
        vec![
            spec("10s", 10 * SECOND, 10 * SECOND),
            spec("60s", 60 * SECOND, 60 * SECOND),
        ],
        vec![spec("30s", 30 * SECOND, 5 * SECOND)],
        vec![
            spec("60s-by-10", 60 * SECOND, 10 * SECOND),
            spec("4s", 4 * SECOND, 4 * SECOND),
        ],
        vec![
            spec("9s-by-3", 9 * SECOND, 3 * SECOND),
            spec("7s", 7 * SECOND, 7 * SECOND),
            spec("2s", 2 * SECOND, SECOND),
        ],
    ])
}

fn sets() -> impl Strategy<Value = AggregateSet> {
    prop::sample::select(vec![
        AggregateSet::Basic,
        AggregateSet::Full,
        AggregateSet::Sketch,
    ])
}

fn bounds() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 1, 3 * SECOND, 30 * SECOND])
}

proptest! {
    #[test]
    fn windows_equal_a_recomputation_from_their_rows(
        inputs in inputs(0..120), specs in specs(), set in sets(), bound in bounds(),
    ) {
        let mut robot = Robot::new(plan(&specs, set), bound, SIGNALS);
        robot.feed(&inputs);
        robot.flush();
        let inputs: Vec<Input> = inputs.into_iter().chain([Input::Flush]).collect();
        Oracle::of(&specs, bound, &inputs).check(&specs, set, &robot.out);
        prop_assert_eq!(robot.windows.open_panes() + robot.windows.open_fragments(), 0);
    }

    #[test]
    fn cuts_saves_and_repeated_clocks_change_no_byte(
        inputs in inputs(1..80), specs in specs(), set in sets(), bound in bounds(),
        cuts in prop::collection::vec((1_usize..12, any::<bool>(), any::<bool>()), 80),
        lateness in prop::sample::select(vec![100 * SECOND, 3_600 * SECOND]),
    ) {
        let plan = plan(&specs, set).with_allowed_lateness(lateness);
        let mut whole = Robot::new(plan.clone(), bound, SIGNALS);
        whole.feed(&inputs);
        let mut cut = Robot::new(plan, bound, SIGNALS);
        let mut rest = &inputs[..];
        for (length, save, advance) in cuts {
            let (now, later) = rest.split_at(length.min(rest.len()));
            cut.feed(now);
            if save {
                cut.save_and_restore();
            }
            if advance {
                cut.advance(cut.clock);
            }
            rest = later;
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(whole.save(), cut.save());
        prop_assert_eq!(&whole.windows, &cut.windows);
        prop_assert_eq!(&whole.out, &cut.out);
    }

    #[test]
    fn a_shuffle_within_the_reorder_bound_gives_the_same_windows(
        steps in prop::collection::vec((1..2 * SECOND, values(), 0..3 * SECOND), 1..150),
        specs in specs(), set in sets(),
    ) {
        let bound = 3 * SECOND;
        let mut time = 0;
        let mut samples: Vec<(i64, Sample)> = steps
            .into_iter()
            .map(|(ahead, values, delay)| {
                time += ahead;
                (time + delay, Sample { time, values })
            })
            .collect();
        let mut robots = [(); 2].map(|()| Robot::new(plan(&specs, set), bound, SIGNALS));
        for robot in &mut robots {
            robot.rows(&samples.iter().map(|(_, sample)| sample.clone()).collect::<Vec<_>>());
            robot.flush();
            samples.sort_by_key(|(arrival, _)| *arrival);
        }
        let [sorted, shuffled] = robots;
        prop_assert_eq!(sorted.out.len(), shuffled.out.len());
        let inputs: Vec<Input> = samples.iter().map(|(_, sample)| Input::Row(sample.clone())).chain([Input::Flush]).collect();
        let oracle = Oracle::of(&specs, bound, &inputs);
        for (left, right) in sorted.out.iter().zip(&shuffled.out) {
            prop_assert_eq!((&left.window, left.start_us, left.revision), (&right.window, right.start_us, right.revision));
            prop_assert_eq!(left.revision, 0);
            for (left, right) in left.signals.iter().zip(&right.signals) {
                prop_assert_eq!(&left.sketch, &right.sketch);
            }
        }
        oracle.check(&specs, set, &sorted.out);
        oracle.check(&specs, set, &shuffled.out);
    }

    #[test]
    fn what_falls_due_is_told_in_the_same_order_however_the_clock_gets_there(
        inputs in inputs(1..60), specs in specs(), bound in bounds(), stops in prop::collection::vec(0..400 * SECOND, 0..6),
    ) {
        let mut at_once = Robot::new(plan(&specs, AggregateSet::Basic), bound, SIGNALS);
        at_once.feed(&inputs);
        let mut in_steps = at_once.clone();
        let last = at_once.clock.max(0) + 400 * SECOND;
        for stop in stops {
            in_steps.advance(in_steps.clock.max(0) + stop.min(60 * SECOND));
        }
        in_steps.advance(last);
        at_once.advance(last);
        prop_assert_eq!(in_steps.save(), at_once.save());
        prop_assert_eq!(in_steps.out, at_once.out);
    }

    #[test]
    fn revisions_put_together_equal_one_telling_and_survive_encoding(
        samples in prop::collection::vec((0..10 * SECOND, values()), 1..60), set in sets(), late in 1_usize..60,
    ) {
        let samples: Vec<Sample> = samples.into_iter().map(|(time, values)| Sample { time, values }).collect();
        let (in_time, late) = samples.split_at(late.min(samples.len()));
        let mut robot = Robot::new(plan(&[spec("10s", 10 * SECOND, 10 * SECOND)], set), 0, SIGNALS);
        robot.rows(in_time);
        robot.flush();
        for late in late.chunks(7) {
            robot.rows(late);
            robot.flush();
        }
        for row in &robot.out {
            prop_assert_eq!(row, &super::super::WindowRow::decode(&row.encode()).unwrap());
        }
        robot.out.reverse();
        check_row(&merge_revisions(&robot.out).unwrap(), &samples, set);
    }

    #[test]
    fn no_time_clock_or_bound_panics(
        inputs in prop::collection::vec((any::<i64>(), any::<bool>(), prop::num::f64::ANY), 0..20), bound in any::<i64>(),
        specs in specs(), set in sets(),
    ) {
        let edges = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
        let mut robot = Robot::new(plan(&specs, set), bound, 1);
        let mut rows = 0;
        for (index, (time, edge, value)) in inputs.into_iter().enumerate() {
            let time = if edge { edges[index % edges.len()] } else { time };
            rows += 1;
            robot.rows(&[sample(time, value)]);
            robot.save_and_restore();
        }
        robot.flush();
        let first = &specs[0].name;
        let hops = (specs[0].size_us / specs[0].hop_us) as u64;
        let emitted: u64 = robot.out.iter().filter(|row| &row.window == first).map(|row| row.rows).sum();
        prop_assert_eq!(emitted, rows * hops, "every row is emitted once per window it is in");
    }
}
