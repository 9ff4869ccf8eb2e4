use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use bytes::Bytes;
use theatre_actors::ports::{
    CheckpointStore, Epoch, FileStage, Lake, LakeBytes, LakeCut, LakeEntry, LakeUpload, LoadBatch,
    LoadReceipt, QueryResult, TableErasure, TableSpec, Warehouse,
};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::time::Clock;
use theatre_config::Config;
use theatre_config::inputs::NoSources;
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_parquet::file_schema;
use theatre_parquet::writer::FileWriter;
use theatre_system::clock::SystemClock;
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;

use super::*;

const TELEMETRY: &str = "robot_telemetry";
const SESSIONS: &str = "robot_sessions";

/// A lake and a warehouse that do what they are asked for, and may fail to say so.
struct Silent<T: ?Sized> {
    inner: Arc<T>,
    /// After so many changes one is made and not answered.
    answers: Arc<AtomicU64>,
}

impl<T: ?Sized> Silent<T> {
    fn answer<A>(&self, done: A) -> Result<A> {
        if self.answers.fetch_sub(1, Ordering::Relaxed) == 1 {
            return Err(Error::Unavailable {
                what: "test",
                why: "it does not answer".to_owned(),
            });
        }
        Ok(done)
    }
}

impl Lake for Silent<MemoryLake> {
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>> {
        self.inner.begin(path, attempt)
    }
    fn complete(&self, path: &str, upload: &str) -> Result<()> {
        self.inner.complete(path, upload)
    }
    fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.inner.replace(path, bytes)?;
        self.answer(())
    }
    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>> {
        self.inner.list(prefix)
    }
    fn read(&self, path: &str) -> Result<Bytes> {
        self.inner.read(path)
    }
    fn open_file(&self, path: &str) -> Result<Box<dyn LakeBytes>> {
        self.inner.open_file(path)
    }
    fn location(&self, path: &str) -> Option<String> {
        self.inner.location(path)
    }
    fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize> {
        self.inner.sweep(partition, epoch, keep)
    }
}

impl Warehouse for Silent<EmbeddedWarehouse> {
    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()> {
        self.inner.ensure_tables(tables)
    }
    fn load(&self, batch: &LoadBatch, lake: &dyn Lake) -> Result<LoadReceipt> {
        self.inner.load(batch, lake)
    }
    fn erase(&self, erasure: &TableErasure) -> Result<Option<u64>> {
        let done = self.inner.erase(erasure)?;
        self.answer(done)
    }
    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>> {
        self.inner.receipt(batch)
    }
    fn query(&self, sql: &str) -> Result<QueryResult> {
        self.inner.query(sql)
    }
}

/// A robot and the time of a row.
type Row = (&'static str, i64);

struct Site {
    params: PipelineParams,
    ports: Ports,
    store: Arc<MemoryStore>,
    lake: Arc<MemoryLake>,
    answers: Arc<AtomicU64>,
    epoch: Epoch,
    cuts: Cell<u64>,
}

impl Site {
    fn new() -> Self {
        let config = Config {
            partitions: 1,
            ..Config::default()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let params = PipelineParams::from_config(&config, [0; 32], &NoSources, &clock).unwrap();
        let log = MemoryLog::new(clock.clone());
        let store = Arc::new(MemoryStore::default());
        store.ensure_layout(&params.topics, 1).unwrap();
        let epoch = store.acquire(0).unwrap();
        let lake = Arc::new(MemoryLake::default());
        let answers = Arc::new(AtomicU64::new(u64::MAX));
        let warehouse = Silent {
            inner: Arc::new(EmbeddedWarehouse::in_memory().unwrap()),
            answers: answers.clone(),
        };
        let tables = [TELEMETRY, SESSIONS].map(|name| table(&params, name).table);
        warehouse.ensure_tables(&tables).unwrap();
        let ports = Ports {
            log: Arc::new(log),
            store: store.clone(),
            lake: Arc::new(Silent {
                inner: lake.clone(),
                answers: answers.clone(),
            }),
            warehouse: Arc::new(warehouse),
            clock,
        };
        Self {
            params,
            ports,
            store,
            lake,
            answers,
            epoch,
            cuts: Cell::new(0),
        }
    }

    /// With files of two tables, all of them loaded.
    fn filled() -> Self {
        let site = Self::new();
        site.add(TELEMETRY, &[("a", 10), ("b", 20), ("a", 30)]);
        site.add(TELEMETRY, &[("a", 40), ("a", 50)]);
        site.add(TELEMETRY, &[("b", 60)]);
        site.add(SESSIONS, &[("a", 10), ("b", 20)]);
        site.add(SESSIONS, &[("c", 30)]);
        site.load();
        site
    }

    /// Registers a file and has it completed.
    fn add(&self, name: &str, rows: &[Row]) {
        self.register(name, rows);
        let numbers: Vec<u64> = self.registered().iter().map(|file| file.number).collect();
        for file in self.registered() {
            self.lake
                .complete(&file.file.path, &file.file.upload)
                .unwrap();
        }
        self.store.mark_completed(0, self.epoch, &numbers).unwrap();
    }

    fn registered(&self) -> Vec<RegisteredFile> {
        self.store.files(0, FileStage::Registered, 99).unwrap()
    }

    fn register(&self, name: &str, rows: &[Row]) {
        self.cuts.set(self.cuts.get() + 1);
        let target = table(&self.params, name);
        let folder = if target.kind.is_some() {
            "facts"
        } else {
            "data"
        };
        let number = self.cuts.get();
        let path = format!("{folder}/{name}/p0-from-{number}-e1-c{number}.parquet");
        let upload = self.lake.begin(&path, "p0-e1-x").unwrap();
        let batch = batch(&target, number as i64, rows);
        let mut writer = FileWriter::new(upload, &batch.schema(), path, name).unwrap();
        writer.write(batch, rows.iter().map(|row| row.1)).unwrap();
        let cut = LakeCut {
            cut_number: number,
            positions: Positions::zero(),
            state: Vec::new(),
            files: vec![writer.finish().unwrap()],
        };
        self.store.commit_cut(0, self.epoch, &cut).unwrap();
    }

    fn load(&self) {
        while let Some(batch) = self.store.plan_load(0, self.epoch, 1).unwrap() {
            self.ports.warehouse.load(&batch, &*self.lake).unwrap();
            self.store.mark_loaded(0, self.epoch, &batch.id).unwrap();
        }
    }

    /// Erases; ends before the step of this number.
    fn erase_until(&self, selection: &Selection, steps: u64) -> (Report, Result<()>) {
        let erasing = Erasing {
            params: &self.params,
            ports: &self.ports,
            selection,
            dry_run: false,
            pause: |_| (),
        };
        let (mut report, mut left) = (Report::default(), steps);
        let mut hold = || -> Result<()> {
            left = left
                .checked_sub(1)
                .ok_or(Error::Refused("killed".to_owned()))?;
            Ok(())
        };
        let done = erasing.run(&mut report, &mut hold, &mut |_| ());
        (report, done)
    }

    fn erase(&self, selection: &Selection) -> Report {
        let (report, done) = self.erase_until(selection, u64::MAX);
        done.unwrap();
        report
    }

    /// Rows of a table that who lists the lake meets, in order of time.
    fn in_lake(&self, name: &str) -> Vec<(String, i64)> {
        let target = table(&self.params, name);
        let mut rows = Vec::new();
        for entry in self.lake.list("").unwrap() {
            if !entry.path.contains(&format!("/{name}/")) {
                continue;
            }
            let bytes = self.lake.read(&entry.path).unwrap();
            for batch in theatre_parquet::read(&entry.path, bytes).unwrap() {
                let batch = batch.unwrap();
                let column = |of: &Option<String>| batch.column_by_name(of.as_ref().unwrap());
                let robots = column(&target.robot_column).unwrap().as_string::<i32>();
                let times = column(&target.time_column).unwrap();
                let times = times.as_primitive::<TimestampMicrosecondType>();
                rows.extend(
                    (0..batch.num_rows())
                        .map(|row| (robots.value(row).to_owned(), times.value(row))),
                );
            }
        }
        rows.sort_by_key(|row| row.1);
        rows
    }

    fn in_warehouse(&self, name: &str) -> Vec<(String, i64)> {
        let target = table(&self.params, name);
        let (robot, time) = (target.robot_column.unwrap(), target.time_column.unwrap());
        let sql = format!("SELECT {robot}, {time} FROM {name} ORDER BY 2");
        let rows = self.ports.warehouse.query(&sql).unwrap().rows;
        rows.iter()
            .map(|row| {
                (
                    row[0].as_str().unwrap().to_owned(),
                    row[1].as_i64().unwrap(),
                )
            })
            .collect()
    }

    /// By path: rows, and rows that are erased.
    fn register_says(&self) -> BTreeMap<String, (u64, u64)> {
        let files = self.store.all_files().unwrap().into_iter();
        files
            .map(|file| {
                assert!(file.file.erasing.is_empty(), "{file:?}");
                let bytes = self.lake.read(&file.file.path).map(|it| it.len() as u64);
                assert!(bytes.is_err() || bytes == Ok(file.file.bytes), "{file:?}");
                (
                    file.file.path.clone(),
                    (file.file.rows, file.file.erased_rows()),
                )
            })
            .collect()
    }
}

fn table(params: &PipelineParams, name: &str) -> Target {
    let all = targets::all(params).unwrap();
    all.into_iter()
        .find(|target| target.table.name == name)
        .unwrap()
}

/// Rows of which nothing is said but what tells them apart.
fn batch(target: &Target, number: i64, rows: &[Row]) -> RecordBatch {
    let schema = file_schema(&target.table);
    let texts = |text: &dyn Fn(&Row) -> String| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| Some(text(row)))
                .collect::<StringArray>(),
        )
    };
    let column = |field: &arrow_schema::FieldRef| -> ArrayRef {
        let name = Some(field.name());
        if name == target.robot_column.as_ref() {
            return texts(&|row| row.0.to_owned());
        }
        if name == target.time_column.as_ref() {
            let times = rows.iter().map(|row| row.1);
            let times = TimestampMicrosecondArray::from_iter_values(times);
            return Arc::new(times.with_timezone("UTC"));
        }
        match field.name().as_str() {
            "_topic" => texts(&|_| "surgical.robot.telemetry.v1".to_owned()),
            "_partition" => Arc::new(Int32Array::from_value(0, rows.len())),
            "_offset" => {
                let offsets = (0..rows.len() as i64).map(|row| number * 100 + row);
                Arc::new(Int64Array::from_iter_values(offsets))
            }
            "session_id" => texts(&|row| format!("{}/{}", row.0, row.1)),
            "revision" => Arc::new(Int32Array::from_value(0, rows.len())),
            _ => new_null_array(field.data_type(), rows.len()),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

fn robots(robots: &[&str]) -> Selection {
    Selection {
        robots: robots.iter().map(|robot| (*robot).to_owned()).collect(),
        ..Selection::default()
    }
}

fn before(before: i64) -> Selection {
    Selection {
        before: Some(before),
        ..Selection::default()
    }
}

fn owned(rows: &[Row]) -> Vec<(String, i64)> {
    rows.iter()
        .map(|(robot, time)| ((*robot).to_owned(), *time))
        .collect()
}

fn line(table: &str, files: u64, emptied: u64, rows: u64, warehouse_rows: u64) -> Line {
    Line {
        table: table.to_owned(),
        files,
        emptied,
        rows,
        warehouse_rows,
        table_rows: 0,
    }
}

fn of(report: &Report, table: &str) -> Line {
    report
        .lines
        .iter()
        .find(|line| line.table == table)
        .cloned()
        .unwrap()
}

#[test]
fn rows_of_a_robot_leave_lake_and_warehouse_and_the_register_counts_them() {
    let site = Site::filled();
    let selection = robots(&["a"]);
    let dry = Erasing {
        params: &site.params,
        ports: &site.ports,
        selection: &selection,
        dry_run: true,
        pause: |_| (),
    };
    let mut would = Report::default();
    dry.run(&mut would, &mut || Ok(()), &mut |_| ()).unwrap();
    assert_eq!(of(&would, TELEMETRY), line(TELEMETRY, 2, 1, 4, 0));
    assert_eq!(
        site.in_lake(TELEMETRY).len(),
        6,
        "a dry run has changed something"
    );

    let report = site.erase(&selection);
    assert_eq!(report.left, Vec::<String>::new());
    assert_eq!(of(&report, TELEMETRY), line(TELEMETRY, 2, 1, 4, 4));
    assert_eq!(of(&report, SESSIONS), line(SESSIONS, 1, 0, 1, 1));
    assert_eq!(site.in_lake(TELEMETRY), owned(&[("b", 20), ("b", 60)]));
    assert_eq!(site.in_warehouse(TELEMETRY), owned(&[("b", 20), ("b", 60)]));
    assert_eq!(site.in_warehouse(SESSIONS), owned(&[("b", 20), ("c", 30)]));
    let said: Vec<(u64, u64)> = site.register_says().into_values().collect();
    assert_eq!(said, [(1, 2), (0, 2), (1, 0), (1, 1), (1, 0)]);

    let again = site.erase(&selection);
    assert!(
        again
            .lines
            .iter()
            .all(|line| line.rows == 0 && line.files == 0)
    );
    assert_eq!(
        site.lake.list("").unwrap().len(),
        5,
        "a file without rows stays"
    );
}

#[test]
fn old_rows_leave_and_times_of_files_follow() {
    let site = Site::filled();
    let report = site.erase(&before(30));
    assert_eq!(of(&report, TELEMETRY), line(TELEMETRY, 1, 0, 2, 2));
    assert_eq!(
        site.in_lake(TELEMETRY),
        owned(&[("a", 30), ("a", 40), ("a", 50), ("b", 60)])
    );
    assert_eq!(site.in_warehouse(SESSIONS), owned(&[("c", 30)]));
    let first = &site.store.all_files().unwrap()[0].file;
    assert_eq!((first.event_time_min, first.event_time_max), (30, 30));
    let by = |file: &theatre_actors::ports::LakeFile| file.erased.clone();
    assert_eq!(by(first)[0].by, ErasedBy::Before(30));
    // More of the same files, for another reason.
    site.erase(&robots(&["a"]));
    site.erase(&before(61));
    assert_eq!(site.in_lake(TELEMETRY), owned(&[]));
    assert_eq!(site.in_warehouse(TELEMETRY), owned(&[]));
    let erased: u64 = site.register_says().values().map(|says| says.1).sum();
    assert_eq!(erased, 9);
}

#[test]
fn a_command_that_is_killed_at_any_step_and_repeated_comes_to_the_same() {
    let whole = Site::filled();
    whole.erase(&robots(&["a"]));
    let mut steps = 0;
    loop {
        let site = Site::filled();
        let (_, ended) = site.erase_until(&robots(&["a"]), steps);
        assert_others_are_there_once(&site);
        // Also when another erasure comes next.
        if steps % 2 == 0 {
            let other = site.erase(&robots(&["stranger"]));
            assert_eq!(other.left, Vec::<String>::new());
            assert_lake_and_warehouse_agree(&site);
        }
        let repeated = site.erase(&robots(&["a"]));
        assert_eq!(repeated.left, Vec::<String>::new());
        assert_same(&site, &whole, steps);
        if ended.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 10, "{steps} steps");
}

#[test]
fn what_was_done_and_not_answered_is_not_done_twice() {
    let whole = Site::filled();
    whole.erase(&before(45));
    let mut answers = 1;
    loop {
        let site = Site::filled();
        site.answers.store(answers, Ordering::Relaxed);
        let (_, ended) = site.erase_until(&before(45), u64::MAX);
        let is_whole = ended.is_ok();
        assert!(is_whole || matches!(ended, Err(Error::Unavailable { .. })));
        site.answers.store(u64::MAX, Ordering::Relaxed);
        site.erase(&before(45));
        assert_same(&site, &whole, answers);
        if is_whole {
            break;
        }
        answers += 1;
    }
    assert!(answers > 4, "{answers} changes");
}

fn assert_others_are_there_once(site: &Site) {
    let mut rows = site.in_lake(TELEMETRY);
    rows.retain(|row| row.0 != "a");
    assert_eq!(rows, owned(&[("b", 20), ("b", 60)]));
    let mut rows = site.in_lake(SESSIONS);
    rows.retain(|row| row.0 != "a");
    assert_eq!(rows, owned(&[("b", 20), ("c", 30)]));
}

fn assert_lake_and_warehouse_agree(site: &Site) {
    for name in [TELEMETRY, SESSIONS] {
        assert_eq!(site.in_lake(name), site.in_warehouse(name), "{name}");
    }
    site.register_says();
}

fn assert_same(site: &Site, whole: &Site, step: u64) {
    assert_lake_and_warehouse_agree(site);
    assert_eq!(site.register_says(), whole.register_says(), "step {step}");
    for entry in whole.lake.list("").unwrap() {
        let there = site.lake.read(&entry.path).unwrap();
        assert!(
            there == whole.lake.read(&entry.path).unwrap(),
            "step {step}: {}",
            entry.path
        );
    }
}

#[test]
fn what_is_not_loaded_or_not_completed_is_left_and_counted() {
    let site = Site::filled();
    site.add(TELEMETRY, &[("a", 70), ("b", 80)]);
    site.register(TELEMETRY, &[("a", 90)]);
    let report = site.erase(&robots(&["a"]));
    assert_eq!(of(&report, TELEMETRY).rows, 4);
    assert_eq!(report.left.len(), 2, "{:?}", report.left);
    assert!(report.left[0].contains("1 rows are in files that are not in the warehouse yet"));
    assert!(report.left[1].contains("1 files"), "{:?}", report.left);
    let old = site.erase(&before(60));
    assert_eq!(old.left, Vec::<String>::new(), "what is left is not old");
    // The load was not disturbed.
    site.load();
    let report = site.erase(&robots(&["a"]));
    assert_eq!(report.left.len(), 1, "{:?}", report.left);
    assert_eq!(site.in_lake(TELEMETRY), owned(&[("b", 60), ("b", 80)]));
    assert_eq!(site.in_warehouse(TELEMETRY), owned(&[("b", 60), ("b", 80)]));
}

#[test]
fn a_load_that_the_store_does_not_know_yet_keeps_the_rows_of_the_warehouse_until_it_does() {
    let site = Site::filled();
    site.add(TELEMETRY, &[("a", 70), ("b", 80)]);
    let batch = site.store.plan_load(0, site.epoch, 9).unwrap().unwrap();
    site.ports.warehouse.load(&batch, &*site.lake).unwrap();
    let report = site.erase(&robots(&["a"]));
    let says = |what: &str| report.left.iter().any(|left| left.contains(what));
    assert!(says("its ledger has other loads"), "{:?}", report.left);
    assert_eq!(site.in_warehouse(TELEMETRY).len(), 8);
    // The owner notes it, and any erasure finishes what was begun.
    site.store.mark_loaded(0, site.epoch, &batch.id).unwrap();
    let next = site.erase(&robots(&["stranger"]));
    assert_eq!(next.finished.len(), 1, "{next:?}");
    assert_eq!(next.left, Vec::<String>::new());
    assert_lake_and_warehouse_agree(&site);
    assert_eq!(
        site.in_lake(TELEMETRY),
        owned(&[("b", 20), ("b", 60), ("b", 80)])
    );
}
