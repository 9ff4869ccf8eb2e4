//! The warehouse on the Redshift Data API, as redshift-local speaks it over a real PostgreSQL and a
//! real object store.

mod odd_values;
mod refusals;
mod users;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use redshift_local::{Options, RedshiftLocal};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use theatre_actors::ports::{
    CheckpointStore, ColumnType, Error, FileStage, Lake, LakeCut, LakeFile, LoadBatch, LoadMode,
    LoadReceipt, RegisteredFile, TableSpec, Warehouse,
};
use theatre_actors::position::Positions;
use theatre_actors::rules::Micros;
use theatre_config::lake::LakeConfig;
use theatre_config::warehouse::WarehouseConfig;
use theatre_dev::object_store::ObjectStore;
use theatre_dev::postgres::{Durability, Postgres};
use theatre_parquet::file_schema;
use theatre_parquet::writer::FileWriter;
use theatre_pipeline::loader::Loader;
use theatre_pipeline::{Ports, Step};
use theatre_redshift::RedshiftWarehouse;
use theatre_s3::S3Lake;
use theatre_system::blocking::IoRuntime;
use theatre_system::clock::SystemClock;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;
use theatre_tests::servers::redshift_options;

const URL: &str = "redshift://local/warehouse";

/// PostgreSQL, an object store, and the stand-in over both.
struct Servers {
    redshift: Option<RedshiftLocal>,
    options: Options,
    objects: ObjectStore,
    io: IoRuntime,
    // Dropped last: the others stand on them.
    postgres: Postgres,
    _folder: tempfile::TempDir,
}

impl Servers {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let postgres = Postgres::start(&folder.path().join("postgres"), Durability::Fast)?;
        let root = folder.path().join("objects");
        std::fs::create_dir(&root)?;
        let objects = ObjectStore::start(&root, "127.0.0.1:0")?;
        objects.create_bucket("lake")?;
        let mut options = Options {
            page_rows: 2,
            ..redshift_options(postgres.url("postgres"), &objects, "warehouse")
        };
        let redshift = RedshiftLocal::start(options.clone())?;
        options.listen = redshift.endpoint().trim_start_matches("http://").parse()?;
        Ok(Self {
            redshift: Some(redshift),
            options,
            objects,
            io: IoRuntime::start()?,
            postgres,
            _folder: folder,
        })
    }

    fn config(&self) -> WarehouseConfig {
        let millis = |millis: i64| Micros(millis * 1000);
        WarehouseConfig {
            endpoint: Some(format!("http://{}", self.options.listen)),
            poll_first: millis(10),
            poll_min: millis(10),
            poll_max: millis(100),
            ..WarehouseConfig::default()
        }
    }

    fn warehouse(&self, config: &WarehouseConfig) -> Result<RedshiftWarehouse> {
        Ok(RedshiftWarehouse::open(
            URL,
            config,
            Some(ObjectStore::credentials()),
            &self.io,
        )?)
    }

    fn migrated(&self) -> Result<RedshiftWarehouse> {
        let warehouse = self.warehouse(&self.config())?;
        warehouse.migrate()?;
        Ok(warehouse)
    }

    /// Runs SQL in the warehouse's database as its owner, beside the Data API.
    fn execute(&self, sql: &str) -> Result<()> {
        let url = self.postgres.url("warehouse");
        let run = async {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut PgConnection::connect(&url).await?)
                .await
        };
        Ok(self.io.block_on(run).map(drop)?)
    }

    fn lake(&self) -> Result<S3Lake> {
        let config = LakeConfig {
            endpoint: Some(self.objects.endpoint()),
            path_style: true,
            ..LakeConfig::default()
        };
        Ok(S3Lake::open(
            "s3://lake/theatre",
            &config,
            Some(ObjectStore::credentials()),
            &self.io,
        )?)
    }
}

fn table(name: &str, mode: LoadMode) -> TableSpec {
    let columns = [("id", ColumnType::Utf8), ("revision", ColumnType::Int32)];
    TableSpec {
        name: name.to_owned(),
        columns: columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        mode,
    }
}

fn by_revision() -> LoadMode {
    LoadMode::MergeByRevision {
        key: vec!["id".to_owned()],
        revision: "revision".to_owned(),
    }
}

fn file(
    lake: &dyn Lake,
    table: &TableSpec,
    number: u64,
    rows: &[(&str, i32)],
) -> Result<RegisteredFile> {
    let schema = file_schema(table);
    let (ids, revisions): (Vec<&str>, Vec<i32>) = rows.iter().copied().unzip();
    let path = format!("data/{}/{number}.parquet", table.name);
    let mut writer = FileWriter::new(
        lake.begin(&path, &format!("p0-e1-{number}"))?,
        &schema,
        path.clone(),
        &table.name,
    )?;
    let batch = RecordBatch::try_new(
        schema,
        vec![
            Arc::new(StringArray::from(ids)),
            Arc::new(Int32Array::from(revisions)),
        ],
    )?;
    writer.write(batch, rows.iter().map(|_| 0))?;
    let file = writer.finish()?;
    lake.complete(&path, &file.upload)?;
    Ok(RegisteredFile {
        number,
        partition: 0,
        file,
        stage: FileStage::Completed,
        batch: None,
        note: None,
    })
}

fn batch(table: &TableSpec, id: &str, files: &[&RegisteredFile]) -> LoadBatch {
    LoadBatch {
        id: id.to_owned(),
        dataset: table.name.clone(),
        partition: 0,
        files: files.iter().map(|file| (*file).clone()).collect(),
    }
}

#[test]
fn a_warehouse_migrated_by_several_at_once_is_migrated_once() -> Result<()> {
    let servers = Servers::start()?;
    let together: Vec<Result<Vec<String>>> = thread::scope(|scope| {
        let migrate = || Ok(servers.warehouse(&servers.config())?.migrate()?);
        let threads = [(); 3].map(|()| scope.spawn(migrate));
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    });
    let mut applied: Vec<_> = together
        .into_iter()
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    applied.sort();
    ensure!(
        applied
            == [
                "0001_ledger",
                "0002_calendar",
                "0003_views",
                "0004_outcome_id",
                "0005_outcomes_by_id",
                format!("star_{}", theatre_star::fingerprint()).as_str(),
            ],
        "each by one of them: {applied:?}"
    );
    Ok(())
}

#[test]
fn a_warehouse_that_was_not_migrated_names_the_command() -> Result<()> {
    let servers = Servers::start()?;
    let warehouse = servers.warehouse(&servers.config())?;
    let refused = warehouse.ensure_tables(&[table("t", LoadMode::Append)]);
    ensure!(
        matches!(&refused, Err(Error::Refused(why)) if why.contains("theatre migrate --warehouse")),
        "{refused:?}"
    );
    ensure!(
        warehouse.migrate()?.len() == 6 && warehouse.migrate()?.is_empty(),
        "each is applied once"
    );
    warehouse.ensure_tables(&[table("t", LoadMode::Append)])?;
    let count =
        |sql: &str| -> Result<serde_json::Value> { Ok(warehouse.query(sql)?.rows[0][0].clone()) };
    ensure!(
        count("SELECT count(*) FROM dim_date")? == 7305
            && count("SELECT count(*) FROM dim_time")? == 1440
    );
    ensure!(count("SELECT day_name FROM dim_date WHERE date_key = 20261124")? == "Tuesday");
    ensure!(count("SELECT count(*) FROM dim_date WHERE is_holiday AND year = 2026")? == 4);
    for view in [
        "fact_procedures",
        "fact_alerts",
        "fact_maintenance",
        "fact_robot_window",
        "dim_rules",
        "dim_robots",
        "dim_surgeons",
    ] {
        ensure!(
            count(&format!("SELECT count(*) FROM {view}"))? == 0,
            "{view}"
        );
    }
    Ok(())
}

#[test]
fn whoever_may_not_create_schemas_migrates_in_one_that_was_made_for_him() -> Result<()> {
    let mut servers = Servers::start()?;
    let config = WarehouseConfig {
        schema: "made".to_owned(),
        ..servers.config()
    };
    // The stand-in makes its own schema when it is asked first.
    servers.execute("CREATE ROLE loader LOGIN; GRANT CREATE ON DATABASE warehouse TO loader")?;
    let (account, database) = servers
        .options
        .postgres
        .split_once('@')
        .context("no account")?;
    let loader = format!(
        "{}loader@{database}",
        account.trim_end_matches(|letter| letter != '/')
    );
    drop(servers.redshift.take());
    servers.redshift = Some(RedshiftLocal::start(Options {
        postgres: loader,
        ..servers.options.clone()
    })?);
    let warehouse = servers.warehouse(&config)?;
    ensure!(warehouse.query("SELECT 1").is_ok());
    servers.execute(
        "CREATE SCHEMA made AUTHORIZATION loader; REVOKE CREATE ON DATABASE warehouse FROM loader",
    )?;
    ensure!(warehouse.migrate()?.len() == 6 && warehouse.migrate()?.is_empty());
    warehouse.ensure_tables(&[table("t", LoadMode::Append)])?;
    let elsewhere = servers
        .warehouse(&WarehouseConfig {
            schema: "other".to_owned(),
            ..config
        })?
        .migrate();
    ensure!(
        matches!(&elsewhere, Err(Error::Refused(why)) if why.contains("permission denied")),
        "{elsewhere:?}"
    );
    let folded = servers
        .warehouse(&WarehouseConfig {
            schema: "Made".to_owned(),
            ..servers.config()
        })
        .map(drop)
        .map_err(|error| error.to_string());
    ensure!(
        folded
            .as_ref()
            .is_err_and(|why| why.contains("[warehouse] schema \"Made\": lower-case letters")),
        "{folded:?}"
    );
    Ok(())
}

#[test]
fn a_case_with_two_outcomes_is_one_row_and_each_outcome_a_leg() -> Result<()> {
    let servers = Servers::start()?;
    let warehouse = servers.migrated()?;
    let outcome = |procedure: &str, robot: &str| {
        format!(
            "INSERT INTO procedure_outcomes (outcome_id, procedure_id, robot_id, surgeon_id, revision, started_at, ended_at, duration_s) \
             VALUES ('{procedure}/{robot}', '{procedure}', '{robot}', 's', 1, '2026-11-24 10:30:00', '2026-11-24 11:00:00', 1800)"
        )
    };
    servers.execute(
        &[
            outcome("p1", "r1"),
            outcome("p1", "r2"),
            outcome("p2", "r1"),
        ]
        .join("; "),
    )?;
    let rows = |sql: &str| -> Result<serde_json::Value> {
        Ok(serde_json::json!(warehouse.query(sql)?.rows))
    };
    let loaded = rows(
        "SELECT procedure_key, legs, start_date_key, start_time_key, end_time_key FROM fact_procedures ORDER BY 1",
    )?;
    let keys = |id: &str, legs: i64| serde_json::json!([id, legs, 20_261_124, 103_000, 110_000]);
    ensure!(
        loaded == serde_json::json!([keys("p1", 2), keys("p2", 1)]),
        "{loaded}"
    );
    let legs = rows("SELECT leg_id FROM fact_procedure_legs ORDER BY 1")?;
    ensure!(
        legs == serde_json::json!([["p1/r1"], ["p1/r2"], ["p2/r1"]]),
        "{legs}"
    );
    let surgeons = rows("SELECT surgeon_id, cases, outcomes FROM dim_surgeons")?;
    ensure!(surgeons == serde_json::json!([["s", 2, 3]]), "{surgeons}");
    Ok(())
}

#[test]
fn a_process_loads_files_with_columns_that_only_a_newer_one_knows() -> Result<()> {
    let servers = Servers::start()?;
    let (old, lake) = (servers.migrated()?, servers.lake()?);
    let narrow = TableSpec {
        columns: vec![("id".to_owned(), ColumnType::Utf8)],
        ..table("rolling", LoadMode::Append)
    };
    let wide = table("rolling", LoadMode::Append);
    old.ensure_tables(std::slice::from_ref(&narrow))?;
    servers
        .warehouse(&servers.config())?
        .ensure_tables(std::slice::from_ref(&wide))?;
    // Written by the newer one, which left before it was loaded.
    let file = file(&lake, &wide, 1, &[("a", 7)])?;
    ensure!(old.load(&batch(&narrow, "r1", &[&file]), &lake)?.rows == 1);
    let rows = old.query("SELECT id, revision FROM rolling")?.rows;
    ensure!(
        rows == [vec![serde_json::json!("a"), serde_json::json!(7)]],
        "{rows:?}"
    );
    Ok(())
}

#[test]
fn one_row_for_each_key_survives_a_batch() -> Result<()> {
    let servers = Servers::start()?;
    let (warehouse, lake) = (servers.migrated()?, servers.lake()?);
    let merged = table("merged", by_revision());
    warehouse.ensure_tables(std::slice::from_ref(&merged))?;
    let one = file(&lake, &merged, 1, &[("a", 2), ("a", 5), ("a", 3), ("b", 1)])?;
    let two = file(&lake, &merged, 2, &[("a", 4), ("b", 2), ("c", 0)])?;
    ensure!(
        warehouse
            .load(&batch(&merged, "m1", &[&one, &two]), &lake)?
            .rows
            == 7
    );
    let three = file(&lake, &merged, 3, &[("a", 5), ("b", 3), ("c", 0)])?;
    warehouse.load(&batch(&merged, "m2", &[&three]), &lake)?;
    let rows = warehouse
        .query("SELECT id, revision FROM merged ORDER BY id")?
        .rows;
    let expected = [("a", 5), ("b", 3), ("c", 0)]
        .map(|(id, revision)| vec![serde_json::json!(id), serde_json::json!(revision)]);
    ensure!(rows == expected, "{rows:?}");
    Ok(())
}

#[test]
fn rows_without_their_key_are_refused_and_not_taken_for_one() -> Result<()> {
    let servers = Servers::start()?;
    let (warehouse, lake) = (servers.migrated()?, servers.lake()?);
    let mode = LoadMode::MergeByRevision {
        key: vec!["id".to_owned()],
        revision: "revision".to_owned(),
    };
    let columns = ["revision", "id"].map(|name| {
        (
            name.to_owned(),
            if name == "id" {
                ColumnType::Utf8
            } else {
                ColumnType::Int32
            },
        )
    });
    let keyed = TableSpec {
        name: "keyed".to_owned(),
        columns: columns.to_vec(),
        mode,
    };
    warehouse.ensure_tables(std::slice::from_ref(&keyed))?;
    // As files are that were written before the table had its key.
    let old = TableSpec {
        columns: columns[..1].to_vec(),
        ..keyed.clone()
    };
    let old = odd_file(&lake, &old, vec![Arc::new(Int32Array::from(vec![1, 2, 3]))])?;
    let old = RegisteredFile {
        number: 1,
        partition: 0,
        file: old,
        stage: FileStage::Completed,
        batch: None,
        note: None,
    };
    let refused = warehouse
        .load(&batch(&keyed, "old", &[&old]), &lake)
        .map_err(|error| error.to_string());
    ensure!(
        refused
            .as_ref()
            .is_err_and(|why| why.contains("without a value in a column that tells rows apart")),
        "{refused:?}"
    );
    ensure!(warehouse.query("SELECT count(*) FROM keyed")?.rows == [[0]]);
    Ok(())
}

#[test]
fn a_load_of_unknown_fate_is_found_in_the_ledger() -> Result<()> {
    let mut servers = Servers::start()?;
    let (warehouse, lake) = (servers.migrated()?, servers.lake()?);
    let appended = table("appended", LoadMode::Append);
    let one = file(&lake, &appended, 1, &[("a", 0), ("b", 0)])?;
    warehouse.ensure_tables(std::slice::from_ref(&appended))?;
    // This one asks so late that the server commits, and dies, before it has the answer.
    let slow = servers.warehouse(&WarehouseConfig {
        poll_first: Micros(3_000_000),
        ..servers.config()
    })?;
    slow.ensure_tables(std::slice::from_ref(&appended))?;
    let load = batch(&appended, "lost", &[&one]);
    let receipt = LoadReceipt {
        batch: "lost".to_owned(),
        rows: 2,
    };
    std::thread::scope(|scope| -> Result<()> {
        let lost = scope.spawn(|| slow.load(&load, &lake));
        let patience = Instant::now() + Duration::from_secs(20);
        while warehouse.receipt("lost")?.is_none() {
            ensure!(Instant::now() < patience, "the load did not commit");
        }
        drop(servers.redshift.take());
        servers.redshift = Some(RedshiftLocal::start(servers.options.clone())?);
        let outcome = lost.join().ok().context("the load panicked")?;
        ensure!(
            outcome == Ok(receipt.clone()),
            "the ledger knows what the server forgot: {outcome:?}"
        );
        Ok(())
    })?;
    ensure!(warehouse.load(&load, &lake)? == receipt);
    ensure!(
        warehouse.query("SELECT count(*) FROM appended")?.rows == [[2]],
        "loaded once"
    );
    Ok(())
}

#[test]
fn a_set_up_that_is_wrong_is_no_files_fault() -> Result<()> {
    let mut servers = Servers::start()?;
    let (warehouse, lake) = (servers.migrated()?, servers.lake()?);
    let appended = table("appended", LoadMode::Append);
    warehouse.ensure_tables(std::slice::from_ref(&appended))?;
    let load = batch(
        &appended,
        "one",
        &[&file(&lake, &appended, 1, &[("a", 0)])?],
    );
    let keys = servers
        .options
        .s3
        .keys
        .replace(("nobody".to_owned(), "nothing".to_owned()));
    drop(servers.redshift.take());
    servers.redshift = Some(RedshiftLocal::start(servers.options.clone())?);
    let refused = warehouse.load(&load, &lake);
    ensure!(
        matches!(&refused, Err(Error::Unavailable { .. })),
        "what the server may not read is not the file's fault: {refused:?}"
    );
    servers.options.s3.keys = keys;
    drop(servers.redshift.take());
    servers.redshift = Some(RedshiftLocal::start(servers.options.clone())?);
    ensure!(
        warehouse.load(&load, &lake)?.rows == 1,
        "put right, it loads"
    );
    Ok(())
}

#[test]
fn a_bad_file_is_found_by_halving_and_the_others_load() -> Result<()> {
    let servers = Servers::start()?;
    let (warehouse, lake) = (Arc::new(servers.migrated()?), Arc::new(servers.lake()?));
    let appended = table("appended", LoadMode::Append);
    warehouse.ensure_tables(std::slice::from_ref(&appended))?;
    let narrow = TableSpec {
        columns: vec![
            ("id".to_owned(), ColumnType::Utf8),
            ("revision".to_owned(), ColumnType::Int64),
        ],
        ..appended.clone()
    };
    let mut files = Vec::new();
    for number in 1..=5 {
        files.push(file(&*lake, &appended, number, &[("row", 0)])?.file);
    }
    files[2] = odd_file(
        &*lake,
        &narrow,
        vec![
            Arc::new(StringArray::from(vec!["row"])),
            Arc::new(Int64Array::from(vec![0])),
        ],
    )?;
    let clock = Arc::new(SystemClock);
    let store = Arc::new(MemoryStore::default());
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    store.commit_cut(
        0,
        epoch,
        &LakeCut {
            cut_number: 1,
            positions: Positions::from(vec![5]),
            state: Vec::new(),
            files,
        },
    )?;
    store.mark_completed(0, epoch, &[1, 2, 3, 4, 5])?;
    let ports = Ports {
        log: Arc::new(MemoryLog::new(clock.clone())),
        store: store.clone(),
        lake,
        warehouse: warehouse.clone(),
        clock,
    };
    let mut loader = Loader::new(0, epoch, ports, 10);
    while loader.step()?.0 == Step::Worked {}
    let stages: Vec<FileStage> = store.all_files()?.iter().map(|file| file.stage).collect();
    let mut expected = [FileStage::Loaded; 5];
    expected[2] = FileStage::Quarantined;
    ensure!(stages == expected, "{stages:?}");
    let note = store.all_files()?[2].note.clone().unwrap_or_default();
    ensure!(
        note.contains("data/appended/odd.parquet") && note.contains("revision"),
        "{note}"
    );
    ensure!(warehouse.query("SELECT count(*) FROM appended")?.rows == [[4]]);
    Ok(())
}

#[test]
fn a_batch_that_fails_for_no_known_reason_holds_up_nothing_else_and_keeps_its_files() -> Result<()>
{
    let servers = Servers::start()?;
    let (warehouse, lake) = (Arc::new(servers.migrated()?), Arc::new(servers.lake()?));
    let (appended, raw) = (
        table("appended", LoadMode::Append),
        table("raw", LoadMode::Append),
    );
    warehouse.ensure_tables(&[appended.clone(), raw.clone()])?;
    // Its row is longer than COPY takes, of which the loader knows nothing.
    let long = odd_file(
        &*lake,
        &raw,
        vec![
            Arc::new(StringArray::from(vec!["x".repeat((4 << 20) + 1)])),
            Arc::new(Int32Array::from(vec![0])),
        ],
    )?;
    let (good, later) = (
        file(&*lake, &appended, 1, &[("a", 0)])?.file,
        file(&*lake, &raw, 1, &[("b", 0)])?.file,
    );
    let clock = Arc::new(SystemClock);
    let store = Arc::new(MemoryStore::default());
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    store.commit_cut(
        0,
        epoch,
        &LakeCut {
            cut_number: 1,
            positions: Positions::from(vec![5]),
            state: Vec::new(),
            files: vec![long, good, later],
        },
    )?;
    store.mark_completed(0, epoch, &[1, 2, 3])?;
    let ports = Ports {
        log: Arc::new(MemoryLog::new(clock.clone())),
        store: store.clone(),
        lake,
        warehouse: warehouse.clone(),
        clock,
    };
    let mut loader = Loader::new(0, epoch, ports, 1);
    for _ in 0..4 {
        let stepped = loader.step();
        ensure!(
            matches!(
                stepped,
                Ok((Step::Worked, 1)) | Err(Error::Unavailable { .. })
            ),
            "{stepped:?}"
        );
    }
    let stages: Vec<FileStage> = store.all_files()?.iter().map(|file| file.stage).collect();
    ensure!(
        stages == [FileStage::Completed, FileStage::Loaded, FileStage::Loaded],
        "{stages:?}"
    );
    ensure!(
        loader
            .stuck()
            .is_some_and(|said| said.contains("of raw") && said.contains("has a row of")),
        "{:?}",
        loader.stuck()
    );
    ensure!(
        warehouse
            .query("SELECT (SELECT count(*) FROM appended), (SELECT count(*) FROM raw)")?
            .rows
            == [[1, 1]]
    );
    Ok(())
}

/// A file of these columns.
fn odd_file(lake: &dyn Lake, table: &TableSpec, columns: Vec<ArrayRef>) -> Result<LakeFile> {
    let (schema, path) = (
        file_schema(table),
        format!("data/{}/odd.parquet", table.name),
    );
    let mut writer = FileWriter::new(
        lake.begin(&path, "p0-e1-odd")?,
        &schema,
        path.clone(),
        &table.name,
    )?;
    writer.write(RecordBatch::try_new(schema, columns)?, std::iter::once(0))?;
    let file = writer.finish()?;
    lake.complete(&path, &file.upload)?;
    Ok(file)
}
