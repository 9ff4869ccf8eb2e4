//! The star schema and the reports: the same on both warehouses, and as a program recomputes them
//! that reads the lake's files with DuckDB and shares no line with the SQL.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use theatre_actors::ports::{QueryResult, Warehouse};
use theatre_embedded::lake::DirectoryLake;
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_star::VIEWS;
use theatre_star::dialect::Dialect;
use theatre_star::report::REPORTS;
use theatre_tests::star::{BEGIN, Fleet};
use theatre_tests::{repository, row, run, servers};

use super::api::{Served, token};

const DAY: i64 = 86_400_000_000;

pub(super) fn small() -> Fleet {
    Fleet::made(13, 400, 6, 7)
}

pub(super) fn loaded(folder: &Path, fleet: &Fleet) -> Result<EmbeddedWarehouse> {
    let warehouse = EmbeddedWarehouse::open(&folder.join("warehouse.sqlite"))?;
    fleet.load(&DirectoryLake::open(&folder.join("lake"))?, &warehouse)?;
    Ok(warehouse)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A time or a date of Redshift as SQLite has it.
fn moment(value: &Value) -> Option<f64> {
    let text = value.as_str()?.replace(' ', "T");
    if text.len() == 10 {
        let date: jiff::civil::Date = text.parse().ok()?;
        let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        return Some((zoned.timestamp().as_second() / 86_400) as f64);
    }
    let time: jiff::civil::DateTime = text.parse().ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_microsecond() as f64)
}

fn same(left: &Value, right: &Value) -> bool {
    let near = |left: f64, right: f64| (left - right).abs() <= 1e-6 * right.abs().max(1.0);
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::String(left), Value::String(right)) if left == right => true,
        (Value::Number(left), Value::String(_)) if moment(right).is_some() => left
            .as_f64()
            .zip(moment(right))
            .is_some_and(|(left, right)| near(left, right)),
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => near(left, right),
            _ => false,
        },
    }
}

fn compare(what: &str, left: &QueryResult, right: &QueryResult) -> Result<()> {
    ensure!(
        left.columns == right.columns,
        "{what}: {:?} and {:?}",
        left.columns,
        right.columns
    );
    ensure!(
        left.rows.len() == right.rows.len(),
        "{what}: {} and {} rows",
        left.rows.len(),
        right.rows.len()
    );
    for (one, other) in left.rows.iter().zip(&right.rows) {
        for ((name, one), other) in left.columns.iter().zip(one).zip(other) {
            ensure!(same(one, other), "{what}.{name}: {one} and {other}");
        }
    }
    Ok(())
}

#[test]
fn both_warehouses_say_the_same_in_every_view_and_report() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fleet = small();
    let embedded = loaded(folder.path(), &fleet)?;
    let servers::Warehouse {
        warehouse: redshift,
        lake,
        ..
    } = &servers::warehouse()?;
    fleet.load(lake, redshift)?;
    let many = |warehouse: &dyn Warehouse, sql: &str| -> Result<i64> {
        let rows = warehouse.query(sql)?.rows;
        rows[0][0].as_i64().context("a count")
    };
    for table in ["dim_date", "dim_time"] {
        let sql = format!("SELECT * FROM {table} ORDER BY 1");
        compare(table, &embedded.query(&sql)?, &redshift.query(&sql)?)?;
    }
    for view in VIEWS {
        let name = view.name;
        let count = format!("SELECT count(*) FROM {name}");
        let (here, there) = (many(&embedded, &count)?, many(redshift, &count)?);
        ensure!(here == there && here > 0, "{name}: {here} and {there} rows");
        let first = &embedded
            .query(&format!("SELECT * FROM {name} LIMIT 1"))?
            .columns;
        let order: Vec<String> = (1..=first.len().min(8))
            .map(|at| format!("{at} NULLS FIRST"))
            .collect();
        let sql = format!(
            "SELECT * FROM {name} ORDER BY {} LIMIT 300",
            order.join(", ")
        );
        compare(name, &embedded.query(&sql)?, &redshift.query(&sql)?)?;
    }
    for report in REPORTS {
        let here = embedded.query(&report.query(&Dialect::Sqlite))?;
        let schema = format!("\"{}\"", redshift_schema(redshift)?);
        let there = redshift.query(&report.query(&Dialect::Redshift(&schema)))?;
        compare(report.name, &here, &there)?;
        let named: Vec<&str> = report.columns().iter().map(|(name, _)| *name).collect();
        ensure!(here.columns == named, "{}: {:?}", report.name, here.columns);
    }
    Ok(())
}

/// The schema in which the views of a warehouse are.
fn redshift_schema(warehouse: &dyn Warehouse) -> Result<String> {
    let found = warehouse.query("SELECT current_schema()")?;
    let name = found.rows.first().and_then(|row| row[0].as_str());
    Ok(name.context("a schema")?.to_owned())
}

/// What the program says that recomputes everything from the lake's files.
fn recomputed(lake: &Path) -> Result<BTreeMap<String, Vec<Vec<Value>>>> {
    let python = std::env::var("THEATRE_PYTHON")
        .context("THEATRE_PYTHON names no interpreter with duckdb: run the tests with tests/run")?;
    let output = std::process::Command::new(python)
        .arg(repository().join("tests/it/star_recomputed.py"))
        .arg(lake)
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn every_report_and_roll_up_is_as_recomputed_from_the_files_of_the_lake() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let embedded = loaded(folder.path(), &small())?;
    let recomputed = recomputed(&folder.path().join("lake"))?;
    let reports = REPORTS
        .iter()
        .map(|report| (report.name, report.query(&Dialect::Sqlite)));
    let rollups = VIEWS.iter().filter(|view| view.name.starts_with("rollup_"));
    let rollups = rollups.map(|view| {
        let columns = if view.name.starts_with("rollup_fleet") {
            4
        } else {
            5
        };
        let order: Vec<String> = (1..=columns).map(|at| at.to_string()).collect();
        let sql = format!("SELECT * FROM {} ORDER BY {}", view.name, order.join(", "));
        (view.name, sql)
    });
    for (name, sql) in reports.chain(rollups) {
        let here = embedded.query(&sql)?;
        let rows = recomputed
            .get(name)
            .with_context(|| format!("{name} is not recomputed"))?;
        let there = QueryResult {
            columns: here.columns.clone(),
            rows: rows.clone(),
        };
        ensure!(!rows.is_empty(), "{name} shows nothing");
        compare(name, &here, &there)?;
    }
    Ok(())
}

#[test]
fn versions_begin_where_an_attribute_changed_and_facts_stay_on_theirs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let warehouse = loaded(folder.path(), &small())?;
    let rows = |sql: &str| -> Result<Vec<Vec<Value>>> { Ok(warehouse.query(sql)?.rows) };
    let versions = rows(
        "SELECT effective_date, software_version, facility_id, is_current FROM dim_robots WHERE robot_id = 'r-1' ORDER BY 1",
    )?;
    // The late entry is where it belongs, the one that says nothing new is not there; the entry of
    // the move did not know of the newer software, and says so.
    let expected = serde_json::json!([
        [BEGIN, "1.0.0", "FAC-001", 0],
        [BEGIN + 200 * DAY, "1.1.0", "FAC-001", 0],
        [BEGIN + 300 * DAY, "1.0.0", "FAC-002", 1]
    ]);
    ensure!(serde_json::to_value(&versions)? == expected, "{versions:?}");
    for (view, id) in [
        ("dim_robots", "robot_id"),
        ("dim_facilities", "facility_id"),
        ("dim_surgeons", "surgeon_id"),
        ("dim_models", "robot_model"),
    ] {
        let overlaps = format!(
            "SELECT count(*) FROM {view} a JOIN {view} b ON a.{id} = b.{id} AND a.effective_date < b.effective_date AND a.expiration_date > b.effective_date"
        );
        let open = format!(
            "SELECT count(*) FROM (SELECT {id} FROM {view} GROUP BY 1 HAVING sum(is_current) <> 1) odd"
        );
        ensure!(rows(&overlaps)? == [[0]] && rows(&open)? == [[0]], "{view}");
    }
    let sites = rows(
        "SELECT DISTINCT facility_id FROM fact_procedures WHERE robot_id = 'r-1' AND started_at < 1698451200000000 ORDER BY 1",
    )?;
    ensure!(sites == [["FAC-001"]], "{sites:?}");
    let unknown = rows(
        "SELECT count(*) FROM fact_procedures WHERE robot_key IS NULL OR surgeon_key IS NULL",
    )?;
    ensure!(unknown == [[0]], "{unknown:?}");
    let cameras = rows(
        "SELECT serial, is_current FROM dim_components WHERE robot_id = 'r-1' ORDER BY effective_date",
    )?;
    ensure!(cameras.len() == 3 && cameras[1][0] == "C2", "{cameras:?}");
    Ok(())
}

#[test]
fn a_correction_that_comes_late_moves_the_facts_that_it_concerns() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut fleet = small();
    let site =
        "SELECT DISTINCT facility_id FROM fact_procedures WHERE robot_id = 'r-12' ORDER BY 1";
    for name in ["before", "after"] {
        std::fs::create_dir(folder.path().join(name))?;
    }
    let before = loaded(&folder.path().join("before"), &fleet)?;
    let unregistered = before.query(site)?.rows;
    ensure!(unregistered == [[Value::Null]], "{unregistered:?}");
    let entry = row! { robot_id: "r-12", event_time: BEGIN + 365 * DAY, event_id: "late", serial_number: "SN", facility_id: "FAC-003", status: "operational" };
    fleet.record("robot_registry", BEGIN + 900 * DAY, entry);
    let after = loaded(&folder.path().join("after"), &fleet)?;
    // What is known first holds for the time before it, too: reference data may come after facts.
    ensure!(after.query(site)?.rows == [["FAC-003"]]);
    Ok(())
}

#[test]
fn the_interface_gives_every_report_as_the_command_does() -> Result<()> {
    let folder = tempfile::tempdir()?;
    drop(loaded(folder.path(), &small())?);
    let viewer = token(folder.path(), &["--role", "viewer"])?;
    let served = Served::start(folder.path(), "127.0.0.1:0", &["run"])?;
    let printed = |name: &str, format: &str| -> Result<String> {
        let ended = run(folder.path(), &["report", name, "--output", format])?;
        Ok(String::from_utf8(ended.stdout)?)
    };
    for report in REPORTS {
        let asked = |what: &str| {
            let path = format!("/api/v1/reports/{}{what}", report.name);
            served.get(&path, Some(&viewer))
        };
        let rows = asked("")?;
        let wanted: Value = serde_json::from_str(&printed(report.name, "json")?)?;
        ensure!(
            rows.status == 200 && rows.json()["rows"] == wanted,
            "{rows:?}"
        );
        let table = asked("/csv")?;
        ensure!(table.body == printed(report.name, "csv")?, "{table:?}");
        let picture = asked("/picture")?;
        if report.picture().is_some() {
            ensure!(picture.body == printed(report.name, "svg")?, "{picture:?}");
        } else {
            ensure!(picture.status == 404, "{picture:?}");
        }
    }
    Ok(())
}

#[test]
fn the_command_prints_every_report_in_every_format() -> Result<()> {
    let folder = tempfile::tempdir()?;
    drop(loaded(folder.path(), &small())?);
    let printed = |arguments: &[&str]| -> Result<String> {
        Ok(String::from_utf8(run(folder.path(), arguments)?.stdout)?)
    };
    let list = printed(&["report", "list"])?;
    for report in REPORTS {
        ensure!(list.contains(report.title()), "{list}");
        let json = printed(&["--output", "json", "report", report.name])?;
        let rows: Vec<Value> = serde_json::from_str(&json)?;
        let csv = printed(&["report", report.name, "--output", "csv"])?;
        ensure!(csv.lines().count() == rows.len() + 1, "{csv}");
        let table = printed(&["report", report.name])?;
        ensure!(table.lines().count() == rows.len() + 1, "{table}");
        let Some(picture) = report.picture() else {
            continue;
        };
        let out = folder.path().join("picture.svg");
        let path = out.to_string_lossy().into_owned();
        printed(&["report", report.name, "--output", "svg", "--out", &path])?;
        let drawn = std::fs::read_to_string(&out)?;
        let marks = if picture.is_line { "<circle" } else { "<rect" };
        ensure!(
            drawn.starts_with("<svg") && drawn.matches(marks).count() == rows.len(),
            "{drawn}"
        );
    }
    let unknown = run(folder.path(), &["report", "nothing"]);
    ensure!(unknown.is_err());
    let elsewhere = run(folder.path(), &["--output", "csv", "robots", "list"]);
    ensure!(elsewhere.is_err(), "only reports are printed as CSV");
    Ok(())
}
