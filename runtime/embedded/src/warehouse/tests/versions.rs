//! Versions of dimensions, from entries in any order, against the plainest way to find them.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use rusqlite::{Connection, params};
use theatre_star::VIEWS;
use theatre_star::dialect::Dialect;

/// An entry: from when it holds, a name, and whether the facility has a number of beds.
type Entry = (i64, u8, Option<i64>);

/// A version: from when, until when, name, beds, and whether it is the last.
type Version = (i64, i64, String, Option<i64>, bool);

const FOREVER: i64 = 253_370_764_800_000_000;

fn of_the_view(entries: &[Entry]) -> Vec<Version> {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "CREATE TABLE robot_registry (robot_id TEXT, facility_id TEXT);
             CREATE TABLE facility_registry (_partition INTEGER, _offset INTEGER, _append_time INTEGER, facility_id TEXT, event_time INTEGER,
                facility_name TEXT, city TEXT, state TEXT, country TEXT, facility_type TEXT, bed_count INTEGER, time_zone TEXT, is_closed INTEGER);",
        )
        .unwrap();
    let insert = "INSERT INTO facility_registry (_partition, _offset, _append_time, facility_id, event_time, facility_name, bed_count, is_closed)
        VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, 0)";
    for (offset, (time, name, beds)) in entries.iter().enumerate() {
        for facility in ["mine", "other"] {
            // The other one has the same entries an hour later, and shows where keys are mixed up.
            let shift = if facility == "mine" { 0 } else { 3_600_000_000 };
            // Some are appended at the same time: then the offset says which is later.
            let appended = offset as i64 / 2;
            let row = params![
                offset as i64,
                appended,
                facility,
                time + shift,
                format!("n{name}"),
                beds
            ];
            connection.execute(insert, row).unwrap();
        }
    }
    let view = VIEWS
        .iter()
        .find(|view| view.name == "dim_facilities")
        .unwrap();
    let sql = format!(
        "SELECT effective_date, expiration_date, facility_name, bed_count, is_current FROM ({}) WHERE facility_id = 'mine' ORDER BY 1",
        view.query(&Dialect::Sqlite)
    );
    let mut statement = connection.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
        ))
    });
    rows.unwrap().map(|row| row.unwrap()).collect()
}

fn plainly(entries: &[Entry]) -> Vec<Version> {
    let mut by_time = BTreeMap::new();
    for (time, name, beds) in entries {
        by_time.insert(*time, (format!("n{name}"), *beds));
    }
    let mut versions: Vec<Version> = Vec::new();
    for (time, (name, beds)) in by_time {
        match versions.last_mut() {
            Some(last) if last.2 == name && last.3 == beds => continue,
            Some(last) => (last.1, last.4) = (time, false),
            None => {}
        }
        versions.push((time, FOREVER, name, beds, true));
    }
    versions
}

proptest! {
    #[test]
    fn versions_are_the_states_that_differ_from_the_one_before(
        entries in vec((0_i64..8, 0_u8..3, proptest::option::of(1_i64..3)), 1..12)
    ) {
        prop_assert_eq!(of_the_view(&entries), plainly(&entries));
    }
}
