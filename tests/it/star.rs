//! The star schema and the reports: the same on both warehouses, and as a program recomputes them
//! that reads the lake's files with DuckDB and shares no line with the SQL.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use theatre_actors::ports::{QueryResult, Warehouse};
use theatre_embedded::lake::DirectoryLake;
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_star::VIEWS;
use theatre_star::dialect::Dialect;
use theatre_star::report::REPORTS;
use theatre_tests::star::{BEGIN, Case, Fleet, Leg};
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
        let sql = everything_of(&embedded, name)?;
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

/// All rows of a view in an order that both warehouses have.
fn everything_of(warehouse: &dyn Warehouse, view: &str) -> Result<String> {
    let first = warehouse.query(&format!("SELECT * FROM {view} LIMIT 1"))?;
    let order: Vec<String> = (1..=first.columns.len().min(8))
        .map(|at| format!("{at} NULLS FIRST"))
        .collect();
    Ok(format!(
        "SELECT * FROM {view} ORDER BY {}",
        order.join(", ")
    ))
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
fn every_dimension_fact_view_and_report_is_as_recomputed_from_the_files_of_the_lake() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let embedded = loaded(folder.path(), &small())?;
    let recomputed = recomputed(&folder.path().join("lake"))?;
    let reports = REPORTS
        .iter()
        .map(|report| (report.name, report.query(&Dialect::Sqlite)));
    // Those of `star_` are steps on the way to the others.
    let views = VIEWS.iter().filter(|view| !view.name.starts_with("star_"));
    let views =
        views.map(|view| -> Result<_> { Ok((view.name, everything_of(&embedded, view.name)?)) });
    for (name, sql) in reports.map(Ok).chain(views).collect::<Result<Vec<_>>>()? {
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
fn what_was_refused_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut fleet = small();
    let loaded_as = |name: &str, fleet: &Fleet| -> Result<EmbeddedWarehouse> {
        std::fs::create_dir(folder.path().join(name))?;
        loaded(&folder.path().join(name), fleet)
    };
    let before = loaded_as("before", &fleet)?;
    // Dated years ahead: the lake keeps such records, no actor takes them.
    let at = BEGIN + 4_000 * DAY;
    let id = "refused";
    for (table, row) in [
        (
            "robot_registry",
            row! { robot_id: "r-1", event_time: at, event_id: id, serial_number: "FUT-1", facility_id: "FAC-999",
            robot_model: "None", status: "retired", components_0_component: "camera", components_0_part: "camera_unit", components_0_serial: "C9" },
        ),
        (
            "facility_registry",
            row! { facility_id: "FAC-001", event_time: at, event_id: id, facility_name: "None", facility_type: "private", is_closed: true },
        ),
        (
            "surgeon_registry",
            row! { surgeon_id: "s-1", event_time: at, event_id: id, surgeon_name: "None", is_retired: true },
        ),
        (
            "model_registry",
            row! { robot_model: "Alpha", event_time: at, event_id: id, manufacturer: "None", is_discontinued: true },
        ),
        (
            "maintenance_logs",
            row! { robot_id: "r-1", event_time: at, event_id: id, maintenance_id: "m-1", maintenance_type: "upgrade", status: "cancelled" },
        ),
        (
            "procedure_events",
            row! { robot_id: "r-0", event_time: at, event_id: id, procedure_id: "case-000000", step: "started", patient_age: 120 },
        ),
    ] {
        fleet.record(table, BEGIN + 700 * DAY, row);
    }
    let after = loaded_as("after", &fleet)?;
    for view in VIEWS {
        let sql = everything_of(&before, view.name)?;
        compare(view.name, &after.query(&sql)?, &before.query(&sql)?)?;
    }
    Ok(())
}

#[test]
fn samples_stay_on_the_version_of_their_time_when_a_registry_changes_in_mid_case() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut fleet = small();
    let moved = BEGIN + 300 * DAY;
    let hour = DAY / 24;
    let case = Case {
        procedure: "across".to_owned(),
        surgeon: "s-1".to_owned(),
        kind: ["general", "hernia repair"],
        status: "completed",
        legs: vec![Leg {
            id: "across/r-1".to_owned(),
            robot: "r-1".to_owned(),
            from: moved - 2 * hour,
            to: moved + 2 * hour,
            started_at: Some(moved - 2 * hour),
        }],
    };
    fleet.case(&case, 4, &mut ChaCha8Rng::seed_from_u64(1));
    let warehouse = loaded(folder.path(), &fleet)?;
    let rows = |sql: &str| -> Result<Value> { Ok(serde_json::json!(warehouse.query(sql)?.rows)) };
    let samples = rows(
        "SELECT sample_timestamp, facility_id, substr(robot_key, 1, 12), substr(facility_key, 1, 7), procedure_key \
         FROM fact_procedure_telemetry WHERE procedure_id = 'across' ORDER BY 1",
    )?;
    let expected: Vec<Value> = [-2, -1, 0, 1]
        .map(|at| {
            let (site, robot) = if at < 0 {
                ("FAC-001", "r-1/20230720")
            } else {
                ("FAC-002", "r-1/20231028")
            };
            serde_json::json!([moved + at * hour, site, robot, site, "across"])
        })
        .into();
    ensure!(samples == Value::Array(expected), "{samples}");
    let fact = rows(
        "SELECT facility_id, substr(robot_key, 1, 12) FROM fact_procedures WHERE procedure_id = 'across'",
    )?;
    ensure!(
        fact == serde_json::json!([["FAC-001", "r-1/20230720"]]),
        "{fact}"
    );
    Ok(())
}

#[test]
fn a_case_that_moves_is_one_row_from_its_start_to_its_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let warehouse = loaded(folder.path(), &small())?;
    let rows = |sql: &str| -> Result<Value> { Ok(serde_json::json!(warehouse.query(sql)?.rows)) };
    // It began on r-6, was left at half its time, and went on ten minutes later on r-5.
    let legs = rows(
        "SELECT leg_number, robot_id, CASE WHEN leg_number = 1 THEN status END, is_latest FROM fact_procedure_legs WHERE procedure_id = 'case-000005' ORDER BY 1",
    )?;
    ensure!(
        legs == serde_json::json!([[1, "r-6", "moved", 0], [2, "r-5", null, 1]]),
        "{legs}"
    );
    let case = rows(
        "SELECT f.robot_id, f.legs, f.paused_minutes, f.started_at - MIN(e.event_time), ROUND(f.duration_minutes * 60000000 - (f.ended_at - f.started_at)) \
         FROM fact_procedures f JOIN procedure_events e ON e.procedure_id = f.procedure_id WHERE f.procedure_id = 'case-000005' GROUP BY 1, 2, 3",
    )?;
    ensure!(
        case == serde_json::json!([["r-5", 2, 10.0, 0, 0.0]]),
        "{case}"
    );
    // The number that was given anew is another case, and each sample is in the case of its time.
    let namesakes = rows(
        "SELECT f.procedure_key, count(*) FROM fact_procedure_telemetry t JOIN fact_procedures f ON f.procedure_key = t.procedure_key \
         AND t.sample_timestamp >= f.started_at AND t.sample_timestamp <= f.ended_at WHERE t.procedure_id = 'case-000008' GROUP BY 1 ORDER BY 1",
    )?;
    ensure!(
        namesakes == serde_json::json!([["case-000008", 6], ["case-000008/1", 6]]),
        "{namesakes}"
    );
    let under_way = rows(
        "SELECT count(*) > 0, count(ended_at), count(start_date_key) > 0 FROM fact_procedures WHERE status = 'under_way'",
    )?;
    ensure!(under_way == serde_json::json!([[1, 0, 1]]), "{under_way}");
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
    fleet.entry("robot_registry", BEGIN + 900 * DAY, entry);
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

/// What Python's own SQLite finds in a file, by question.
fn found_by_python(file: &Path, questions: &[String]) -> Result<Vec<Vec<Vec<Value>>>> {
    let program = "import json, sqlite3, sys
file = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)
print(json.dumps([[list(row) for row in file.execute(sql)] for sql in json.load(sys.stdin)]))";
    let mut python = std::process::Command::new("python3")
        .args(["-c", program])
        .arg(file)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let questions = serde_json::to_vec(questions)?;
    let mut stdin = python.stdin.take().context("it has a standard input")?;
    std::io::Write::write_all(&mut stdin, &questions)?;
    drop(stdin);
    let output = python.wait_with_output()?;
    ensure!(output.status.success(), "python3: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_copy_of_the_warehouse_is_read_by_any_sqlite() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let warehouse = loaded(folder.path(), &small())?;
    let to = folder.path().join("copy.sqlite");
    // What a copy that was killed has left.
    std::fs::write(folder.path().join("copy.sqlite.part"), "half")?;
    let path = to.to_string_lossy().into_owned();
    let copy = ["--output", "json", "warehouse", "copy", &path];
    let printed: Vec<Value> = serde_json::from_slice(&run(folder.path(), &copy)?.stdout)?;
    let rows = |table: &str| {
        let mut lines = printed.iter().filter(|line| line["table"] == table);
        lines.next().and_then(|line| line["rows"].as_i64())
    };
    ensure!(rows("loaded_files").is_none() && rows("dim_time") == Some(1_440));
    // Ordered by all columns: rows that do not differ may stand in any order.
    let everything = |name: &str| -> Result<String> {
        let first = warehouse.query(&format!("SELECT * FROM {name} LIMIT 1"))?;
        let order: Vec<String> = (1..=first.columns.len()).map(|at| at.to_string()).collect();
        Ok(format!(
            "SELECT * FROM {name} ORDER BY {}",
            order.join(", ")
        ))
    };
    let mut questions = Vec::new();
    for table in theatre_star::tables() {
        let name = table.name;
        ensure!(rows(&name).is_some(), "{name} is not among them");
        questions.push(everything(&name)?);
    }
    for view in VIEWS.iter().chain(theatre_star::PEOPLE) {
        questions.push(everything(view.name)?);
    }
    questions.extend(REPORTS.iter().map(|of| of.query(&Dialect::Sqlite)));
    let found = found_by_python(&to, &questions)?;
    let mut many = 0;
    for (sql, rows) in questions.iter().zip(found) {
        let expected = warehouse.query(sql)?;
        many += rows.len();
        let columns = expected.columns.clone();
        compare(sql, &QueryResult { columns, rows }, &expected)?;
    }
    ensure!(many > 1_000, "{many} rows");
    ensure!(run(folder.path(), &copy).is_err(), "a file is not replaced");
    ensure!(!folder.path().join("copy.sqlite.part").exists());
    Ok(())
}
