//! Phases of cases against a recomputation from raw rows and events.

use theatre_schemas::records::ProcedurePhase;

use super::*;

/// A row: event time in seconds, temperature (the position on one axis), whether it names the case.
type Row = (i64, f64, bool);

/// Rows in order of event time with their arrival's delay; events likewise. Times are distinct.
#[derive(Debug, Clone)]
struct Case {
    rows: Vec<Row>,
    steps: Vec<(i64, &'static str, Option<&'static str>)>,
    /// What arrives: `(true, index)` a row, `(false, index)` a step.
    arrivals: Vec<(bool, usize)>,
    cuts: Vec<bool>,
}

const LATENESS: i64 = 200;
const REORDER: i64 = 5;

fn phase_config() -> Arc<ProcessorConfig> {
    let mut config = Arc::unwrap_or_clone(config(None));
    config.time.allowed_lateness_us = LATENESS * S;
    config.time.reorder_bound_us = REORDER * S;
    config.procedures_max = 8;
    Arc::new(config)
}

/// Rows may come up to 60 s late, steps within the reorder bound.
fn case() -> impl Strategy<Value = Case> {
    let row = (
        1..4_i64,
        -9..9_i8,
        any::<bool>(),
        prop_oneof![6 => 0..REORDER, 1 => 0..60_i64],
    );
    let steps = proptest::collection::vec(0..100_i64, 2..7);
    let rows = proptest::collection::vec(row, 5..60);
    (
        rows,
        steps,
        proptest::collection::vec(0..REORDER, 8),
        proptest::collection::vec(any::<bool>(), 80),
    )
        .prop_map(|(rows, mut at, delays, cuts)| {
            at.sort_unstable();
            let names = ["docking", "dissection", "docking", "closing", "suture"];
            let mut steps = vec![(at[0], "started", None)];
            let inner = &at[1..at.len() - 1];
            steps.extend(
                inner
                    .iter()
                    .zip(names)
                    .map(|(at, name)| (*at, "phase_started", Some(name))),
            );
            steps.push((at[at.len() - 1], "completed", None));
            let mut time = 0;
            let mut arrivals = Vec::new();
            let mut of_case = Vec::new();
            for (index, (step, value, is_case, delay)) in rows.into_iter().enumerate() {
                time += step;
                of_case.push((time, f64::from(value), is_case));
                arrivals.push((time + delay, true, index));
            }
            for (index, ((time, ..), delay)) in steps.iter().zip(delays).enumerate() {
                arrivals.push((time + delay, false, index));
            }
            arrivals.sort_unstable();
            let arrivals = arrivals
                .into_iter()
                .map(|(_, is_row, index)| (is_row, index))
                .collect();
            Case {
                rows: of_case,
                steps,
                arrivals,
                cuts,
            }
        })
}

/// Applies what arrives, saved and restored at the cuts; ends with a row far in the future.
fn applied(case: &Case) -> Vec<ProcedurePhase> {
    let config = phase_config();
    let mut processor = Processor::new("r", config.clone());
    let mut outputs = Outputs::default();
    let samples: Vec<Sample> = case
        .arrivals
        .iter()
        .filter(|(is_row, _)| *is_row)
        .map(|(_, index)| {
            let (time, value, is_case) = case.rows[*index];
            (time, *index as i64, value, is_case.then_some(1))
        })
        .chain([(1_200, 10_000, 0.0, None)])
        .collect();
    let batch = telemetry(&samples);
    let mut next = 0;
    for ((is_row, index), cut) in case.arrivals.iter().zip(case.cuts.iter().cycle()) {
        if *is_row {
            processor.apply(0, &batch, &[next], &mut outputs);
            next += 1;
        } else {
            let (time, name, phase) = case.steps[*index];
            let fields = [
                ("event_id", text(&format!("e{index}"))),
                ("procedure_id", text("p1")),
                ("step", text(name)),
            ];
            let phase = phase.map(|phase| ("phase", text(phase)));
            let fields: Vec<_> = fields.into_iter().chain(phase).collect();
            let event = record("procedure_events", *index as u64, NOW + time * S, &fields);
            processor.state.positions = Positions::from(vec![u64::from(next), 0, 0]);
            processor.apply(2, &event, &[0], &mut outputs);
        }
        if *cut {
            processor = Processor::restore("r", &processor.snapshot(), config.clone()).unwrap();
        }
    }
    processor.apply(0, &batch, &[next], &mut outputs);
    latest(&outputs)
}

/// The highest revision of each phase, by its number.
fn latest(outputs: &Outputs) -> Vec<ProcedurePhase> {
    let mut by_index = BTreeMap::new();
    for output in by_kind(outputs, OutputKind::Phase) {
        let phase = ProcedurePhase::decode(&output.payload).unwrap();
        let known: Option<ProcedurePhase> = by_index.insert(phase.phase_index, phase.clone());
        let expected = known.map_or(0, |known| known.revision + 1);
        assert_eq!(phase.revision, expected, "revisions follow each other");
    }
    by_index.into_values().collect()
}

/// (count, sum, min, max, path) of the rows of the case from one second up to another.
fn expected(case: &Case, from: i64, to: i64) -> (i64, f64, Option<f64>, Option<f64>) {
    let rows: Vec<f64> = case
        .rows
        .iter()
        .filter(|(time, _, is_case)| *is_case && (from..to).contains(time))
        .map(|(_, value, _)| *value)
        .collect();
    let least = rows.iter().copied().reduce(f64::min);
    let greatest = rows.iter().copied().reduce(f64::max);
    (rows.len() as i64, rows.iter().sum(), least, greatest)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn phases_are_those_of_a_recomputation(case in case()) {
        let phases = applied(&case);
        let began = case.steps[0].0;
        let ended = case.steps.last().unwrap().0;
        let mut parts = vec![(None, began, ended)];
        let of_phases: Vec<_> = case.steps.iter().filter(|(at, name, _)| *name == "phase_started" && *at < ended).collect();
        for (at, (from, _, name)) in of_phases.iter().enumerate() {
            let to = of_phases.get(at + 1).map_or(ended, |(next, ..)| *next);
            parts.push((*name, *from, to));
        }
        if case.rows.iter().all(|(.., is_case)| !is_case) {
            prop_assert!(phases.is_empty());
            return Ok(());
        }
        prop_assert_eq!(phases.len(), parts.len());
        for (phase, (name, from, to)) in phases.iter().zip(parts) {
            prop_assert_eq!(phase.phase.as_deref(), name);
            prop_assert_eq!((phase.began_at, phase.ended_at), (Some(NOW + from * S), NOW + to * S));
            let (count, sum, least, greatest) = expected(&case, from, to);
            prop_assert!(phase.is_exact);
            prop_assert_eq!(phase.row_count, count);
            let signal = &phase.signals[0];
            prop_assert_eq!((signal.count, signal.sum, signal.min, signal.max), (count, sum, least, greatest));
            if phase.late_rows == 0 {
                let values = case.rows.iter().filter(|(time, _, is_case)| *is_case && (from..to).contains(time));
                let values: Vec<f64> = values.map(|(_, value, _)| *value).collect();
                let path: f64 = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
                prop_assert_eq!(phase.path_length, (count > 0).then_some(path));
            }
        }
    }

    #[test]
    fn rows_and_steps_within_the_bound_give_the_same_in_any_order(case in case()) {
        let mut in_order = case.clone();
        in_order.arrivals.sort_by_key(|(is_row, index)| if *is_row { (case.rows[*index].0, 1) } else { (case.steps[*index].0, 0) });
        let (one, other) = (applied(&case), applied(&in_order));
        for (one, other) in one.iter().zip(&other) {
            if one.late_rows == 0 {
                prop_assert_eq!(&ProcedurePhase { revision: 0, ..one.clone() }, &ProcedurePhase { revision: 0, ..other.clone() });
            }
        }
    }
}

#[test]
fn a_step_that_comes_after_the_bound_says_where_it_is_not_exact() {
    let mut case = Case {
        rows: (0..60).map(|at| (at, at as f64, true)).collect(),
        steps: vec![
            (0, "started", None),
            (10, "phase_started", Some("docking")),
            (20, "phase_started", Some("dissection")),
            (50, "completed", None),
        ],
        arrivals: (0..60).map(|at| (true, at)).collect(),
        cuts: vec![false],
    };
    // The second phase is heard of after 40 s, when the rows from 20 s on have been folded.
    case.arrivals.insert(0, (false, 0));
    case.arrivals.insert(1, (false, 1));
    case.arrivals.insert(42, (false, 2));
    case.arrivals.insert(55, (false, 3));
    let phases = applied(&case);
    let exact: Vec<_> = phases
        .iter()
        .map(|phase| (phase.phase.as_deref(), phase.is_exact))
        .collect();
    assert_eq!(
        exact,
        [
            (None, true),
            (Some("docking"), false),
            (Some("dissection"), false)
        ]
    );
    assert_eq!(phases[0].row_count, 50, "the case as a whole is exact");
}
