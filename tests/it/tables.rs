//! The tables that people read in the store on a real PostgreSQL: the rows that were put out, each
//! once, under the same names as in the embedded warehouse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use theatre_actors::outputs::{ALL, OutputEvent, OutputKind, alert, window};
use theatre_actors::ports::{
    CheckpointStore, ColumnType, Epoch, Error, PartitionCommit, ProcessorSave, Warehouse,
};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::time::{Clock, LogTime};
use theatre_actors::window::{SignalAggregate, WindowRow};
use theatre_config::Config;
use theatre_config::inputs::NoSources;
use theatre_config::store::{KeptTables, StoreConfig};
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_pipeline::outbox::{OutboxConsumer, TABLES};
use theatre_pipeline::tables::Tables;
use theatre_pipeline::{PipelineParams, Ports, Step};
use theatre_schemas::records::{Alert, Priority, Transition};
use theatre_star::PEOPLE;
use theatre_system::blocking::IoRuntime;
use theatre_system::clock::SystemClock;
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_tests::deployment::{Deployment, PATIENCE};
use theatre_tests::{repository, servers, spawn};

mod erased;
mod of_before;
mod rights;

/// Views that the embedded warehouse has under these names in another form.
const OTHERWISE: [&str; 2] = ["maintenance_logs", "vw_robot_utilization"];

/// Everything that a query finds, as JSON.
fn found(url: &str, sql: &str) -> Result<Vec<Vec<Value>>> {
    let rows: Vec<(String,)> = IoRuntime::start()?.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        let rows = sqlx::query_as(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(rows)
    })?;
    rows.iter()
        .map(|(row,)| Ok(serde_json::from_str(row)?))
        .collect()
}

fn count(url: &str, sql: &str) -> Result<i64> {
    let rows = found(url, &format!("SELECT jsonb_build_array(({sql}))::text"))?;
    rows[0][0].as_i64().context("a number")
}

fn execute(url: &str, sql: &str) -> Result<()> {
    Ok(IoRuntime::start()?.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await
    })?)
}

/// Names and types of the columns of a table or a view, in order.
fn columns(url: &str, name: &str) -> Result<Vec<(String, String)>> {
    let sql = format!(
        "SELECT jsonb_build_array(column_name, data_type)::text FROM information_schema.columns
         WHERE table_schema = 'theatre' AND table_name = '{name}' AND column_name <> 'committed_at' ORDER BY ordinal_position"
    );
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = found(url, &sql)?;
    Ok(rows
        .iter()
        .map(|row| (text(&row[0]), text(&row[1])))
        .collect())
}

/// All rows of a table or a view, as the embedded warehouse holds such values.
fn rows_of(url: &str, name: &str, columns: &[(String, String)]) -> Result<Vec<Vec<Value>>> {
    let cell = |(name, kind): &(String, String)| match kind.as_str() {
        "timestamp with time zone" => {
            format!("(extract(epoch FROM \"{name}\") * 1000000)::bigint")
        }
        "date" => format!("(\"{name}\" - DATE '1970-01-01')"),
        "boolean" => format!("\"{name}\"::integer"),
        "numeric" => format!("\"{name}\"::double precision"),
        _ => format!("\"{name}\""),
    };
    let cells: Vec<String> = columns.iter().map(cell).collect();
    let sql = format!(
        "SELECT jsonb_build_array({})::text FROM theatre.\"{name}\"",
        cells.join(", ")
    );
    let mut rows = found(url, &sql)?;
    rows.sort_by_key(|row| order(row, columns));
    Ok(rows)
}

/// The same of the embedded warehouse.
fn embedded_rows(
    warehouse: &EmbeddedWarehouse,
    name: &str,
    columns: &[(String, String)],
) -> Result<Vec<Vec<Value>>> {
    let names: Vec<String> = columns
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let sql = format!("SELECT {} FROM \"{name}\"", names.join(", "));
    let mut rows = warehouse.query(&sql)?.rows;
    for row in &mut rows {
        for (value, (_, kind)) in row.iter_mut().zip(columns) {
            if let (Value::String(text), "jsonb") = (&*value, kind.as_str()) {
                *value = serde_json::from_str(text)?;
            }
        }
    }
    rows.sort_by_key(|row| order(row, columns));
    Ok(rows)
}

/// Rows are ordered by all that is exact.
fn order(row: &[Value], columns: &[(String, String)]) -> String {
    let exact = row.iter().zip(columns);
    let exact = exact.filter(|(_, (_, kind))| !["double precision", "numeric"].contains(&&**kind));
    exact.map(|(value, _)| format!("{value} ")).collect()
}

/// Equal; numbers to the last bit but where they are sums in another order.
fn same(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => (left - right).abs() <= 1e-9 * right.abs().max(1.0),
        _ => left == right,
    }
}

fn compare(name: &str, ours: &[Vec<Value>], theirs: &[Vec<Value>]) -> Result<()> {
    ensure!(
        ours.len() == theirs.len(),
        "{name}: {} rows, the warehouse has {}",
        ours.len(),
        theirs.len()
    );
    for (ours, theirs) in ours.iter().zip(theirs) {
        let equal = ours
            .iter()
            .zip(theirs)
            .all(|(left, right)| same(left, right));
        ensure!(equal, "{name}: {ours:?}\nthe warehouse has {theirs:?}");
    }
    Ok(())
}

const SETTINGS: &str =
    "partitions = 3\nsave_interval = \"200ms\"\n[[windows]]\nname = \"1h\"\nsize = \"1h\"\n";

fn deployment(url: &str, tables: &str) -> Result<Deployment> {
    let store = format!("[store]\nurl = \"{url}\"\ntables = \"{tables}\"\n");
    let rules =
        std::fs::read_to_string(repository().join("runtime/config/src/default_rules.toml"))?;
    Deployment::new(&format!("{SETTINGS}{store}"), &rules)
}

#[test]
fn the_tables_of_a_fleet_that_is_killed_are_those_of_the_warehouse() -> Result<()> {
    let url = servers::database()?;
    let deployment = deployment(&url, "all")?;
    deployment.run("one", &["migrate"])?;
    let simulate = [
        "simulate",
        "--profile",
        "degrading",
        "--days",
        "12",
        "--interval",
        "120s",
        "--fault-days-late",
        "0.01",
    ];
    deployment.run("one", &simulate)?;
    let config = deployment
        .path("theatre.toml")
        .to_string_lossy()
        .into_owned();
    // Each owner ends somewhere between a commit of outputs and that of their rows.
    let rows = "SELECT coalesce(sum(position), 0) FROM theatre.cursor WHERE consumer = 'tables'";
    let mut before = 0;
    for _ in 0..3 {
        let mut child = spawn(
            &deployment.path("one"),
            &["run", "--config", config.as_str()],
        )?;
        let begun = Instant::now();
        while count(&url, rows)? <= before && begun.elapsed() < PATIENCE {
            ensure!(child.try_wait()?.is_none(), "the process has ended");
            thread::sleep(Duration::from_millis(20));
        }
        before = count(&url, rows)?;
        child.kill()?;
        child.wait()?;
    }
    ensure!(before > 0, "nothing was written before a kill");
    deployment.run("one", &["run", "--until-drained"])?;
    deployment.run("one", &["reconcile"])?;
    let warehouse =
        EmbeddedWarehouse::open_read_only(&deployment.path("one").join("warehouse.sqlite"))?;
    let mut filled = BTreeMap::new();
    for spec in ALL {
        let name = spec.table.name;
        let columns = columns(&url, name)?;
        let wanted: Vec<String> = spec
            .kind
            .table()
            .columns
            .into_iter()
            .map(|of| of.0)
            .collect();
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        ensure!(names == wanted, "{name}: {names:?}");
        let ours = rows_of(&url, name, &columns)?;
        compare(name, &ours, &embedded_rows(&warehouse, name, &columns)?)?;
        filled.insert(name, ours.len());
    }
    // Those that this fleet and these settings do not fill.
    for empty in [
        "shadow_alerts",
        "robot_sessions",
        "components",
        "instruments",
    ] {
        filled.remove(empty);
    }
    ensure!(filled.values().all(|rows| *rows > 0), "{filled:?}");
    for view in PEOPLE.iter().filter(|view| !OTHERWISE.contains(&view.name)) {
        let columns = columns(&url, view.name)?;
        let ours = rows_of(&url, view.name, &columns)?;
        ensure!(!ours.is_empty(), "{} is empty", view.name);
        compare(
            view.name,
            &ours,
            &embedded_rows(&warehouse, view.name, &columns)?,
        )?;
    }
    star_agrees(&url, &warehouse)?;
    execute(
        &url,
        "DELETE FROM theatre.procedures WHERE ctid = (SELECT min(ctid) FROM theatre.procedures)",
    )?;
    let gap = deployment.output("one", &["reconcile"])?;
    let said =
        String::from_utf8_lossy(&gap.stderr).into_owned() + &String::from_utf8_lossy(&gap.stdout);
    ensure!(
        !gap.status.success() && said.contains("table procedures in the store"),
        "a row that is gone is seen: {said}"
    );
    Ok(())
}

/// What the views say is what the star schema says, which others recompute.
fn star_agrees(url: &str, warehouse: &EmbeddedWarehouse) -> Result<()> {
    let number = |sql: &str| -> Result<f64> {
        let rows = warehouse.query(sql)?.rows;
        rows[0][0].as_f64().context("a number")
    };
    let ours = |sql: &str| -> Result<f64> {
        let rows = found(url, &format!("SELECT jsonb_build_array(({sql}))::text"))?;
        rows[0][0].as_f64().context("a number")
    };
    for (here, there) in [
        (
            "SELECT sum(cases) FROM theatre.vw_robot_utilization",
            "SELECT sum(cases) FROM vw_robot_utilization",
        ),
        (
            "SELECT sum(hours) FROM theatre.vw_robot_utilization",
            "SELECT sum(hours) FROM vw_robot_utilization",
        ),
        (
            "SELECT count(*) FROM theatre.vw_procedure_outcomes_summary WHERE success_status = 'successful'",
            "SELECT count(*) FROM fact_procedures WHERE status = 'completed' AND success_status = 'successful'",
        ),
        (
            "SELECT count(*) FROM theatre.robots WHERE is_registered",
            "SELECT count(*) FROM dim_robots WHERE is_current AND is_registered",
        ),
        (
            "SELECT count(*) FROM theatre.alerts WHERE NOT is_open",
            "SELECT count(*) FROM fact_conditions WHERE cleared_at IS NOT NULL",
        ),
        (
            "SELECT sum(cost)::float8 FROM theatre.maintenance_logs",
            "SELECT sum(cost) FROM fact_maintenance",
        ),
    ] {
        let (here_is, there_is) = (ours(here)?, number(there)?);
        ensure!(
            (here_is - there_is).abs() <= 1e-6 * there_is.abs().max(1.0),
            "{here}: {here_is}, {there}: {there_is}"
        );
    }
    Ok(())
}

/// An empty store on its own database.
fn store(tables: KeptTables) -> Result<(String, Arc<dyn CheckpointStore>)> {
    let (url, io) = (servers::database()?, IoRuntime::start()?);
    let config = StoreConfig {
        tables,
        ..StoreConfig::default()
    };
    theatre_postgres::migrate(&url, &config, &io)?;
    Ok((url.clone(), theatre_postgres::open(&url, &config, &io)?))
}

fn consumer(store: &Arc<dyn CheckpointStore>, epoch: Epoch, kept: KeptTables) -> Result<Tables> {
    consumer_of(0, store, epoch, kept)
}

fn consumer_of(
    partition: Partition,
    store: &Arc<dyn CheckpointStore>,
    epoch: Epoch,
    kept: KeptTables,
) -> Result<Tables> {
    let clock = Arc::new(SystemClock);
    let (config, system): (_, Arc<dyn Clock>) = (Config::default(), clock.clone());
    let mut params = PipelineParams::from_config(&config, [0; 32], &NoSources, &system)?;
    params.tables = kept;
    let ports = Ports {
        log: Arc::new(MemoryLog::new(clock.clone())),
        store: store.clone(),
        lake: Arc::new(MemoryLake::default()),
        warehouse: Arc::new(EmbeddedWarehouse::in_memory()?),
        clock,
    };
    Ok(Tables::new(partition, epoch, Arc::new(params), ports))
}

fn transition(condition: &str, revision: i32, priority: Priority) -> OutputEvent {
    let moved = Alert {
        alert_id: format!("{condition}/{revision}"),
        condition_id: condition.to_owned(),
        robot_id: "r\0 1".to_owned(),
        rule_id: "hot".to_owned(),
        rule_version: 1,
        transition: if revision == 0 {
            Transition::Raised
        } else {
            Transition::Cleared
        },
        revision,
        priority,
        event_time: 253_402_300_799_999_999,
        raised_at: -62_135_596_800_000_000,
        value: Some(f64::NAN),
        limit: Some(0.1),
        message: "it's \"hot\" \0".to_owned(),
        ..Alert::default()
    };
    alert::output("r\0 1", &moved)
}

fn commit(
    store: &dyn CheckpointStore,
    epoch: Epoch,
    number: u64,
    outputs: Vec<OutputEvent>,
) -> Result<()> {
    let positions = Positions::from(vec![number]);
    let save = ProcessorSave {
        processor: "r".to_owned(),
        save_number: number,
        positions: positions.clone(),
        state: Vec::new(),
        outputs,
        dead: Vec::new(),
    };
    let commit = PartitionCommit {
        partition: 0,
        epoch,
        processors: vec![save],
        floor: positions,
    };
    store.commit(&[commit], LogTime(1_700_000_000_000_000))?;
    Ok(())
}

#[test]
fn an_output_takes_effect_once_and_under_the_epoch_only() -> Result<()> {
    let (url, store) = store(KeptTables::WithoutWindows)?;
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let first = [
        transition("a", 0, Priority::High),
        transition("a", 1, Priority::High),
        transition("b", 0, Priority::Low),
    ];
    commit(&*store, epoch, 1, first.to_vec())?;
    let mut old = consumer(&store, epoch, KeptTables::WithoutWindows)?;
    ensure!(old.consumer() == TABLES && old.step(true)? == Step::Worked);
    ensure!(store.status(0)?.cursors.get("tables") == 3);
    ensure!(old.step(true)? == Step::Idle, "there is nothing left");
    let rows = "SELECT count(*) FROM theatre.maintenance_alerts";
    ensure!(count(&url, rows)? == 3);
    let exact = "SELECT count(*) FROM theatre.alerts WHERE condition_id = 'a' AND NOT is_open AND revision = 1
        AND value IS NULL AND \"limit\" = 0.1 AND robot_id = 'r' || chr(26) || ' 1'
        AND raised_at = '0001-01-01 00:00:00+00' AND changed_at = '9999-12-31 23:59:59.999999+00'";
    ensure!(
        count(&url, exact)? == 1,
        "{:?}",
        found(
            &url,
            "SELECT jsonb_build_array(to_jsonb(a))::text FROM theatre.alerts a"
        )?
    );
    let committed = "SELECT count(*) FROM theatre.maintenance_alerts WHERE committed_at = '2023-11-14 22:13:20+00'";
    ensure!(count(&url, committed)? == 3);
    // The next owner goes on; what the old one still writes is undone, its rows too.
    commit(&*store, epoch, 2, vec![transition("b", 1, Priority::Low)])?;
    let next = store.acquire(0)?;
    let refused = old.step(true);
    ensure!(
        matches!(refused, Err(Error::StaleEpoch { .. })),
        "{refused:?}"
    );
    ensure!(count(&url, rows)? == 3 && store.status(0)?.cursors.get("tables") == 3);
    let mut new = consumer(&store, next, KeptTables::WithoutWindows)?;
    ensure!(new.step(true)? == Step::Worked && count(&url, rows)? == 4);
    // A row that is there already, as in tables that were restored without their position.
    execute(&url, "DELETE FROM theatre.cursor WHERE consumer = 'tables'")?;
    ensure!(new.step(true)? == Step::Worked && count(&url, rows)? == 4);
    Ok(())
}

#[test]
fn windows_are_kept_where_they_are_asked_for_and_go_with_their_age() -> Result<()> {
    let (url, store) = store(KeptTables::All)?;
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let shadow = |revision| OutputEvent {
        kind: OutputKind::ShadowAlert,
        ..transition("s", revision, Priority::Low)
    };
    commit(
        &*store,
        epoch,
        1,
        vec![shadow(0), transition("a", 0, Priority::High)],
    )?;
    ensure!(consumer(&store, epoch, KeptTables::All)?.step(true)? == Step::Worked);
    let rows = |table: &str| count(&url, &format!("SELECT count(*) FROM theatre.{table}"));
    ensure!(rows("shadow_alerts")? == 1 && rows("maintenance_alerts")? == 1);
    ensure!(store.expire_rows(LogTime(1_700_000_000_000_000), 10)? == 0);
    ensure!(store.expire_rows(LogTime(1_700_000_000_000_001), 10)? == 1);
    ensure!(
        rows("shadow_alerts")? == 0 && rows("maintenance_alerts")? == 1,
        "alerts stay"
    );
    Ok(())
}

#[test]
fn tables_of_another_build_are_refused_until_the_command_has_made_them() -> Result<()> {
    let (url, _) = store(KeptTables::All)?;
    let (config, io) = (StoreConfig::default(), IoRuntime::start()?);
    execute(
        &url,
        "UPDATE theatre.tables_made SET fingerprint = 'of before';
         DROP VIEW theatre.vw_maintenance_costs;
         ALTER TABLE theatre.maintenance_alerts DROP CONSTRAINT maintenance_alerts_priority_check;
         ALTER TABLE theatre.robot_sessions DROP COLUMN row_count",
    )?;
    let refused = theatre_postgres::open(&url, &config, &io).err();
    ensure!(
        matches!(&refused, Some(Error::Refused(why)) if why.contains("another build") && why.contains("`theatre migrate`")),
        "{refused:?}"
    );
    let off = StoreConfig {
        tables: KeptTables::Off,
        ..StoreConfig::default()
    };
    theatre_postgres::open(&url, &off, &io)?;
    ensure!(theatre_postgres::migrate(&url, &config, &io)? == ["tables"]);
    ensure!(theatre_postgres::migrate(&url, &config, &io)?.is_empty());
    theatre_postgres::open(&url, &config, &io)?;
    execute(
        &url,
        "SELECT row_count FROM theatre.robot_sessions; SELECT * FROM theatre.vw_maintenance_costs;
         COMMENT ON CONSTRAINT maintenance_alerts_priority_check ON theatre.maintenance_alerts IS 'there'",
    )?;
    // A build of before that is started again has made them, too.
    let made = "SELECT count(*) FROM theatre.tables_made";
    ensure!(count(&url, made)? == 2);
    Ok(())
}

/// A store of an earlier version, migrated, with the rows that it still has.
fn store_of_before() -> Result<(String, StoreConfig, Arc<dyn CheckpointStore>)> {
    let (url, io) = (servers::database()?, IoRuntime::start()?);
    let kept = repository().join("tests/data/stores/postgres-0002.sql");
    execute(&url, &std::fs::read_to_string(kept)?)?;
    let config = StoreConfig::default();
    theatre_postgres::migrate(&url, &config, &io)?;
    let store = theatre_postgres::open(&url, &config, &io)?;
    for partition in 0..2 {
        let epoch = store.acquire(partition)?;
        let mut consumer = consumer_of(partition, &store, epoch, config.tables)?;
        ensure!(consumer.step(false)? == Step::Worked);
        let status = store.status(partition)?;
        ensure!(status.cursors.get("tables") == status.last_output);
    }
    Ok((url, config, store))
}

#[test]
fn a_store_of_before_gets_the_rows_that_it_still_has() -> Result<()> {
    let (url, _, _) = store_of_before()?;
    let rows = |of: &str| count(&url, &format!("SELECT count(*) FROM theatre.{of}"));
    ensure!(rows("maintenance_alerts")? == 2 && rows("procedure_outcomes")? == 2);
    ensure!(rows("procedure_outcomes WHERE procedure_id = 'p-7' AND telemetry_rows = 3600")? == 1);
    let windows = "robot_windows";
    ensure!(rows(windows)? == 0, "no window of the fixture has a value");
    Ok(())
}

/// Revisions of windows: of one signal and of two, with all aggregates and without most of them.
fn windows() -> Vec<OutputEvent> {
    let full = SignalAggregate {
        count: 2,
        sum: 0.3,
        mean: 0.15,
        m2: 0.005,
        min: 0.1,
        max: 0.2,
        first: 0.1,
        first_time: 1_700_000_000_000_001,
        last: 0.2,
        last_time: 1_700_000_000_000_002,
        sketch: None,
    };
    let basic = SignalAggregate {
        count: 1,
        sum: -1.5,
        min: -1.5,
        max: -1.5,
        ..SignalAggregate::empty()
    };
    let revisions = [
        (0, vec![full.clone()]),
        (0, vec![SignalAggregate::empty(), basic.clone()]),
        (1, vec![full, basic]),
    ];
    let windows = revisions.into_iter().enumerate().map(|(at, of)| {
        let (revision, signals) = of;
        let row = WindowRow {
            window: "1h".to_owned(),
            size_us: 3_600_000_000,
            start_us: 1_700_000_000_000_000 - 3_600_000_000 * (at as i64 / 2),
            revision,
            rows: 3,
            signals,
        };
        window::output(&format!("r{}", at % 2), "robot_telemetry", &row)
    });
    windows.collect()
}

#[test]
fn a_check_is_made_anew_only_where_it_says_something_else() -> Result<()> {
    let (url, config, _) = store_of_before()?;
    let checks = |of: &str| {
        let sql = format!(
            "SELECT jsonb_build_array(conname, oid::bigint, convalidated)::text FROM pg_constraint
             WHERE connamespace = 'theatre'::regnamespace AND contype = 'c' AND conname LIKE '{of}' ORDER BY conname"
        );
        found(&url, &sql)
    };
    let (priority, others) = ("maintenance\\_alerts\\_priority\\_check", "procedure%");
    let (before, others_before) = (checks(priority)?, checks(others)?);
    ensure!(before.len() == 1 && before[0][2] == true && others_before.len() > 3);
    execute(
        &url,
        "COMMENT ON CONSTRAINT maintenance_alerts_priority_check ON theatre.maintenance_alerts IS 'priority IN (''high'')';
         DELETE FROM theatre.tables_made",
    )?;
    theatre_postgres::migrate(&url, &config, &IoRuntime::start()?)?;
    let after = checks(priority)?;
    ensure!(
        after.len() == 1 && after[0][1] != before[0][1] && after[0][2] == false,
        "made anew, and its rows are not looked at: {before:?} {after:?}"
    );
    ensure!(checks(others)? == others_before, "the others stay");
    let wrong = "UPDATE theatre.maintenance_alerts SET priority = 'none of these'";
    ensure!(execute(&url, wrong).is_err(), "what comes is looked at");
    Ok(())
}

#[test]
fn types_are_those_of_the_specification() -> Result<()> {
    let (url, _) = store(KeptTables::All)?;
    for spec in ALL {
        let there = columns(&url, spec.table.name)?;
        let wanted = spec.kind.description().columns.into_iter().map(|column| {
            let kind = match column.column_type {
                _ if column.is_nested => "jsonb",
                ColumnType::Boolean => "boolean",
                ColumnType::Int32 => "integer",
                ColumnType::Int64 => "bigint",
                ColumnType::Float64 => "double precision",
                ColumnType::TimestampMicros => "timestamp with time zone",
                ColumnType::Date => "date",
                ColumnType::Decimal { .. } => "numeric",
                ColumnType::Utf8 => "text",
                ColumnType::Float32 | ColumnType::Binary => "none of these",
            };
            (column.name, kind.to_owned())
        });
        let wanted: Vec<(String, String)> = wanted.collect();
        ensure!(there == wanted, "{}: {there:?}", spec.table.name);
    }
    Ok(())
}

#[test]
fn who_makes_the_tables_waits_for_a_reader_and_holds_up_no_one_meanwhile() -> Result<()> {
    let (url, _) = store(KeptTables::All)?;
    execute(
        &url,
        "UPDATE theatre.tables_made SET fingerprint = 'of before';
         ALTER TABLE theatre.robot_sessions DROP COLUMN row_count",
    )?;
    // A backup, or a report that takes long.
    let io = IoRuntime::start()?;
    let mut reader = io.block_on(PgConnection::connect(&url))?;
    let look = "BEGIN; SELECT count(*) FROM theatre.robot_sessions";
    io.block_on(sqlx::raw_sql(look).execute(&mut reader))?;
    let making = thread::spawn({
        let url = url.clone();
        move || theatre_postgres::migrate(&url, &StoreConfig::default(), &IoRuntime::start()?)
    });
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(6) {
        let asked = Instant::now();
        execute(&url, "DELETE FROM theatre.robot_sessions WHERE false")?;
        longest = longest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    // The lock that is waited for is given up after 2 s; without that, all would wait for the reader.
    ensure!(
        longest < Duration::from_secs(5),
        "a writer waited {longest:?}"
    );
    ensure!(!making.is_finished(), "the reader holds it up");
    io.block_on(sqlx::raw_sql("COMMIT").execute(&mut reader))?;
    let made = making.join().expect("it does not panic")?;
    ensure!(made == ["tables"], "{made:?}");
    execute(&url, "SELECT row_count FROM theatre.robot_sessions")
}
