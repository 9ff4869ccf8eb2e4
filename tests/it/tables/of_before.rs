//! Windows that a build of before has kept as single rows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{Connection, PgConnection};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, RowSelection};
use theatre_actors::time::LogTime;
use theatre_config::store::{KeptTables, StoreConfig};
use theatre_pipeline::Step;
use theatre_system::blocking::IoRuntime;

use super::{columns, commit, compare, consumer, count, execute, rows_of, store, windows};

type Columns = Vec<(String, String)>;

/// A store with the four rows of [`windows`], and what a build of this version has of them.
fn filled() -> Result<(String, Arc<dyn CheckpointStore>, Columns)> {
    let (url, store) = store(KeptTables::All)?;
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    commit(&*store, epoch, 1, windows())?;
    ensure!(consumer(&store, epoch, KeptTables::All)?.step(true)? == Step::Worked);
    let columns = columns(&url, "robot_windows")?;
    Ok((url, store, columns))
}

/// Leaves the rows as a build of before would have written them.
fn become_single(url: &str) -> Result<()> {
    execute(
        url,
        "CREATE TABLE theatre.of_before AS SELECT * FROM theatre.robot_windows;
         DROP VIEW theatre.robot_windows; DROP TABLE theatre.robot_window_arrays;
         ALTER TABLE theatre.of_before RENAME TO robot_windows;
         DELETE FROM theatre.tables_made",
    )
}

fn migrate(url: &str) -> Result<()> {
    theatre_postgres::migrate(url, &StoreConfig::default(), &IoRuntime::start()?)?;
    Ok(())
}

#[test]
fn single_rows_of_windows_become_groups() -> Result<()> {
    let (url, store, columns) = filled()?;
    let before = rows_of(&url, "robot_windows", &columns)?;
    ensure!(before.len() == 4, "a row for each signal: {before:?}");
    ensure!(store.row_count(OutputKind::Window)? == before.len() as u64);
    become_single(&url)?;
    migrate(&url)?;
    compare(
        "robot_windows",
        &rows_of(&url, "robot_windows", &columns)?,
        &before,
    )?;
    ensure!(store.row_count(OutputKind::Window)? == before.len() as u64);
    // Every moment of them is long past.
    ensure!(store.expire_rows(LogTime(i64::MAX / 2), 1_000)? > 0);
    ensure!(rows_of(&url, "robot_windows", &columns)?.is_empty());
    Ok(())
}

#[test]
fn rows_that_a_build_of_before_is_writing_are_among_them() -> Result<()> {
    let (url, store, _) = filled()?;
    become_single(&url)?;
    let io = IoRuntime::start()?;
    let mut writer = io.block_on(PgConnection::connect(&url))?;
    // The same rows a day earlier, in a transaction that is not at its end.
    let write = "BEGIN;
         INSERT INTO theatre.robot_windows
             SELECT (jsonb_populate_record(held, jsonb_build_object('window_start', held.window_start - interval '1 day'))).*
             FROM theatre.robot_windows AS held";
    io.block_on(sqlx::raw_sql(write).execute(&mut writer))?;
    let migrating = thread::spawn({
        let url = url.clone();
        move || migrate(&url)
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND relation = 'theatre.robot_windows'::regclass";
    while count(&url, waits)? == 0 {
        ensure!(!migrating.is_finished(), "it does not wait for the writer");
        thread::sleep(Duration::from_millis(20));
    }
    io.block_on(sqlx::raw_sql("COMMIT").execute(&mut writer))?;
    migrating.join().expect("it does not panic")?;
    ensure!(store.row_count(OutputKind::Window)? == 8);
    let days = "SELECT count(DISTINCT window_start) FROM theatre.robot_windows";
    ensure!(
        count(&url, days)? == 4,
        "both days of two windows are there"
    );
    Ok(())
}

#[test]
fn an_erasure_finds_them_where_tables_were_turned_off_before_they_became_groups() -> Result<()> {
    let (url, store, _) = filled()?;
    become_single(&url)?;
    let rows = RowSelection {
        robot_column: Some("robot_id".to_owned()),
        time_column: None,
        robots: BTreeSet::from(["r0".to_owned()]),
        before: None,
    };
    let of_robot = "SELECT count(*) FROM theatre.robot_windows WHERE robot_id = 'r0'";
    let meant = count(&url, of_robot)?;
    ensure!(meant > 0 && store.meant_rows(OutputKind::Window, &rows)? == meant as u64);
    ensure!(store.erase_rows(OutputKind::Window, &rows)? == meant as u64);
    ensure!(count(&url, of_robot)? == 0);
    ensure!(store.erase_rows(OutputKind::Window, &rows)? == 0);
    Ok(())
}
