//! Versions of dimensions, from those that were accepted, against the plainest way to find them.

use std::collections::BTreeMap;

use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;
use rusqlite::{Connection, params};
use theatre_star::VIEWS;
use theatre_star::dialect::Dialect;

/// What is known of a moment: a name, a number of beds, and whether it was withdrawn again.
type Known = BTreeMap<i64, (u8, Option<i64>, bool)>;

/// A version: from when, until when, name, beds, and whether it is the last.
type Version = (i64, i64, String, Option<i64>, bool);

const FOREVER: i64 = 253_370_764_800_000_000;

fn of_the_view(known: &Known) -> Vec<Version> {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "CREATE TABLE robot_versions (robot_id TEXT, facility_id TEXT, is_withdrawn INTEGER);
             CREATE TABLE facility_versions (facility_id TEXT, valid_from INTEGER, is_withdrawn INTEGER, facility_name TEXT, city TEXT, state TEXT,
                country TEXT, facility_type TEXT, bed_count INTEGER, time_zone TEXT, is_closed INTEGER);",
        )
        .unwrap();
    let insert = "INSERT INTO facility_versions (facility_id, valid_from, is_withdrawn, facility_name, bed_count, is_closed)
        VALUES (?1, ?2, ?3, ?4, ?5, 0)";
    for (time, (name, beds, is_withdrawn)) in known {
        for facility in ["mine", "other"] {
            // The other one has the same versions an hour later, and shows where keys are mixed up.
            let shift = if facility == "mine" { 0 } else { 3_600_000_000 };
            let row = params![
                facility,
                time + shift,
                is_withdrawn,
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

fn plainly(known: &Known) -> Vec<Version> {
    let mut versions: Vec<Version> = Vec::new();
    for (time, (name, beds, is_withdrawn)) in known {
        let (time, name, beds) = (*time, format!("n{name}"), *beds);
        if *is_withdrawn {
            continue;
        }
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
        known in btree_map(0_i64..12, (0_u8..3, option::of(1_i64..3), any::<bool>()), 1..12)
    ) {
        prop_assert_eq!(of_the_view(&known), plainly(&known));
    }
}
