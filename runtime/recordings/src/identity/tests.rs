use super::*;

/// A robot's row: time in seconds, what it says.
type Row = (&'static str, i64, u64);

fn index() -> (tempfile::TempDir, RecordingIndex) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let index = RecordingIndex::open(&folder.path().join("recordings.sqlite"));
    (folder, index.expect("the index opens"))
}

fn keys(rows: &[Row]) -> Vec<RowKey<'_>> {
    rows.iter()
        .map(|(robot, time, content)| RowKey {
            robot,
            time: *time,
            content: *content,
            file: 0,
            counter: None,
        })
        .collect()
}

/// Brings a recording in and ends it.
fn bring(index: &mut RecordingIndex, name: Option<&str>, rows: &[RowKey<'_>]) -> Vec<Identity> {
    let from_zero = |_: &str| Ok(0);
    let mut numbering = index
        .begin("arm", name, &from_zero)
        .expect("the index is written");
    numbering.survey(rows).expect("the index is read");
    numbering.end_survey().expect("the index is read");
    let identities = numbering.number(rows).expect("the index is written");
    numbering.end().expect("the index is written");
    identities
}

use Identity::{Conflict, Known, New};

#[test]
fn the_same_recording_again_has_the_numbers_it_had() {
    let (_folder, mut index) = index();
    let rows = [("r1", 0, 1), ("r2", 0, 1), ("r1", 1, 1), ("r1", 1, 1)];
    let rows = keys(&rows);
    assert_eq!(
        bring(&mut index, None, &rows),
        [New(0), New(0), New(1), New(2)]
    );
    assert_eq!(
        bring(&mut index, None, &rows),
        [Known(0), Known(0), Known(1), Known(2)]
    );
}

#[test]
fn another_recording_is_new_rows_and_numbers_go_on() {
    let (_folder, mut index) = index();
    bring(&mut index, None, &keys(&[("r1", 0, 1), ("r1", 1, 1)]));
    let day_2 = keys(&[("r1", 100, 1), ("r1", 101, 1)]);
    assert_eq!(bring(&mut index, None, &day_2), [New(2), New(3)]);
    // An older one, too.
    let day_0 = keys(&[("r1", -100, 1), ("r1", -99, 1)]);
    assert_eq!(bring(&mut index, None, &day_0), [New(4), New(5)]);
}

#[test]
fn a_file_that_overlaps_brings_what_was_not_there() {
    let (_folder, mut index) = index();
    let day = keys(&[("r1", 0, 7), ("r1", 1, 7), ("r1", 2, 7)]);
    bring(&mut index, None, &day);
    let rotated = keys(&[("r1", 2, 7), ("r1", 3, 7)]);
    assert_eq!(bring(&mut index, None, &rotated), [Known(2), New(3)]);
}

#[test]
fn a_file_that_comes_twice_in_one_recording_is_there_once() {
    let (_folder, mut index) = index();
    let first = keys(&[("r1", 0, 7), ("r1", 0, 7), ("r1", 1, 7)]);
    let again: Vec<_> = first.iter().map(|row| RowKey { file: 1, ..*row }).collect();
    let both = [first.as_slice(), again.as_slice()].concat();
    let numbers = [New(0), New(1), New(2), Known(0), Known(1), Known(2)];
    assert_eq!(bring(&mut index, None, &both), numbers);
    // Of equal rows as many count as the file has that has most.
    let third = RowKey {
        file: 1,
        ..first[0]
    };
    assert_eq!(
        bring(&mut index, None, &[first[0], first[1], third, third, third]),
        [Known(0), Known(1), Known(0), Known(1), New(3)]
    );
}

#[test]
fn a_changed_row_in_two_files_is_one_conflict() {
    let (_folder, mut index) = index();
    bring(
        &mut index,
        None,
        &keys(&[("r1", 0, 1), ("r1", 0, 2), ("r1", 1, 3)]),
    );
    let changed = keys(&[("r1", 0, 1), ("r1", 0, 20), ("r1", 1, 3)]);
    let again = RowKey {
        file: 1,
        ..changed[1]
    };
    assert_eq!(
        bring(
            &mut index,
            None,
            &[changed[0], changed[1], again, changed[2]]
        ),
        [Known(0), Conflict, Conflict, Known(2)]
    );
}

#[test]
fn a_corrected_recording_brings_missing_rows_and_changed_ones_are_conflicts() {
    let (_folder, mut index) = index();
    bring(
        &mut index,
        None,
        &keys(&[("r1", 0, 1), ("r1", 2, 3), ("r1", 3, 4)]),
    );
    let corrected = keys(&[("r1", 0, 1), ("r1", 1, 2), ("r1", 2, 30), ("r1", 3, 4)]);
    assert_eq!(
        bring(&mut index, None, &corrected),
        [Known(0), New(3), Conflict, Known(2)]
    );
}

#[test]
fn rows_of_one_time_that_have_nothing_in_common_with_what_is_known_are_new() {
    let (_folder, mut index) = index();
    bring(&mut index, None, &keys(&[("r1", 5, 1), ("r1", 5, 2)]));
    // The second half of a second that was cut in two.
    let rest = keys(&[("r1", 5, 3), ("r1", 5, 4), ("r1", 6, 1)]);
    assert_eq!(bring(&mut index, None, &rest), [New(2), New(3), New(4)]);
}

#[test]
fn a_recording_with_a_name_is_corrected_however_much_of_it_has_changed() {
    let (_folder, mut index) = index();
    bring(
        &mut index,
        Some("case 7"),
        &keys(&[("r1", 0, 1), ("r1", 1, 1)]),
    );
    let corrected = keys(&[("r1", 0, 10), ("r1", 1, 10), ("r1", 2, 10)]);
    assert_eq!(
        bring(&mut index, Some("case 7"), &corrected),
        [Conflict, Conflict, New(2)]
    );
}

#[test]
fn one_content_in_two_datasets_is_two_rows_of_one_robot() {
    let (_folder, mut index) = index();
    let rows = keys(&[("r1", 0, 1)]);
    bring(&mut index, None, &rows);
    let from_zero = |_: &str| Ok(0);
    let mut numbering = index
        .begin("force", None, &from_zero)
        .expect("the index is written");
    numbering.survey(&rows).expect("the index is read");
    numbering.end_survey().expect("the index is read");
    let identities = numbering.number(&rows).expect("the index is written");
    assert_eq!(identities, [New(1)]);
}

#[test]
fn robots_that_the_index_does_not_know_begin_where_the_pipeline_says() {
    let (_folder, mut index) = index();
    let from = |robot: &str| Ok(if robot == "r1" { 500 } else { 0 });
    let rows = keys(&[("r1", 0, 1), ("r2", 0, 1)]);
    let mut numbering = index
        .begin("arm", None, &from)
        .expect("the index is written");
    let identities = numbering.number(&rows).expect("the index is written");
    assert_eq!(identities, [New(500), New(0)]);
}

#[test]
fn a_counter_with_a_hole_leaves_numbers_out_and_a_correction_fills_them() {
    let (_folder, mut index) = index();
    let row = |time, counter| RowKey {
        robot: "r1",
        time,
        content: time as u64,
        file: 0,
        counter: Some(counter),
    };
    let first = [row(0, 10), row(1, 11), row(4, 14)];
    assert_eq!(bring(&mut index, None, &first), [New(0), New(1), New(4)]);
    let corrected = [row(0, 10), row(1, 11), row(2, 12), row(3, 13), row(4, 14)];
    assert_eq!(
        bring(&mut index, None, &corrected),
        [Known(0), Known(1), New(2), New(3), Known(4)]
    );
    // A counter that began anew, or was set, is no hole.
    let next = [row(5, 0), row(6, 1), row(7, 1_000_000)];
    assert_eq!(bring(&mut index, None, &next), [New(5), New(6), New(7)]);
}

#[test]
fn a_recording_is_begun_and_ended_once_for_each_time_that_it_brings_something() {
    let (_folder, mut index) = index();
    let from_zero = |_: &str| Ok(0);
    let replay = |index: &mut RecordingIndex, rows: &[RowKey<'_>], is_killed: bool| {
        let mut numbering = index
            .begin("arm", None, &from_zero)
            .expect("the index is written");
        numbering.survey(rows).expect("the index is read");
        numbering.end_survey().expect("the index is read");
        let bounds = numbering.bounds("r1").expect("the index is read");
        numbering.number(rows).expect("the index is written");
        assert_eq!(numbering.bounds("r1").expect("the index is read"), bounds);
        if !is_killed {
            numbering.end().expect("the index is written");
        }
        (bounds.started, bounds.ended)
    };
    let short = keys(&[("r1", 0, 1)]);
    let long = keys(&[("r1", 0, 1), ("r1", 1, 1)]);
    assert_eq!(replay(&mut index, &short, true), (0, 1));
    assert_eq!(replay(&mut index, &short, false), (0, 1));
    assert_eq!(replay(&mut index, &short, false), (0, 1));
    assert_eq!(replay(&mut index, &long, false), (2, 3));
    assert_eq!(replay(&mut index, &long, false), (2, 3));
}
