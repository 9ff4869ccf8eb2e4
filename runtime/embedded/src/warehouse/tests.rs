//! Tables over files: what a query finds is what rows would have given, however it looks.

mod versions;

use std::path::Path;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use theatre_actors::ports::{ColumnType, FileStage, RegisteredFile};
use theatre_parquet::file_schema;
use theatre_parquet::writer::FileWriter;

use super::super::lake::DirectoryLake;
use super::super::open;
use super::*;

fn spec(columns: &[(&str, ColumnType)]) -> TableSpec {
    TableSpec {
        name: "samples".to_owned(),
        columns: columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind))
            .collect(),
        mode: LoadMode::Append,
    }
}

fn samples() -> TableSpec {
    spec(&[
        ("robot", ColumnType::Utf8),
        ("at", ColumnType::Int64),
        ("value", ColumnType::Float64),
    ])
}

/// Rows `from..to`: every third has no robot, and the value is half of the time.
fn file(lake: &DirectoryLake, table: &TableSpec, from: i64, to: i64) -> RegisteredFile {
    let path = format!("data/{}/{from}.parquet", table.name);
    let schema = file_schema(table);
    let upload = lake.begin(&path, &format!("p0-e1-{from}")).unwrap();
    let mut writer = FileWriter::new(upload, &schema, path.clone(), &table.name).unwrap();
    let robots = (from..to).map(|at| (at % 3 > 0).then(|| format!("r-{}", at % 7)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(robots.collect::<StringArray>()),
        Arc::new((from..to).map(Some).collect::<Int64Array>()),
        Arc::new(
            (from..to)
                .map(|at| Some(at as f64 / 2.0))
                .collect::<Float64Array>(),
        ),
    ];
    let rows = RecordBatch::try_new(schema, columns).unwrap();
    writer.write(rows, from..to).unwrap();
    let file = writer.finish().unwrap();
    lake.complete(&path, &file.upload).unwrap();
    RegisteredFile {
        number: from as u64,
        partition: 0,
        file,
        stage: FileStage::Completed,
        batch: None,
        note: None,
    }
}

fn batch(file: RegisteredFile) -> LoadBatch {
    LoadBatch {
        id: format!("samples-{}", file.number),
        dataset: "samples".to_owned(),
        partition: 0,
        files: vec![file],
    }
}

/// A warehouse with three files of a hundred rows.
fn filled(folder: &Path) -> EmbeddedWarehouse {
    let warehouse = EmbeddedWarehouse::open(&folder.join("warehouse")).unwrap();
    let lake = DirectoryLake::open(&folder.join("lake")).unwrap();
    warehouse.ensure_tables(&[samples()]).unwrap();
    for from in [0, 100, 200] {
        let file = file(&lake, &samples(), from, from + 100);
        warehouse.load(&batch(file), &lake).unwrap();
    }
    warehouse
}

fn one(warehouse: &EmbeddedWarehouse, sql: &str) -> Vec<Value> {
    let rows = warehouse.query(sql).unwrap().rows;
    assert_eq!(rows.len(), 1, "{sql}");
    rows.into_iter().next().unwrap()
}

#[test]
fn what_a_condition_leaves_out_is_what_it_would_leave_out_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = filled(folder.path());
    for condition in [
        "at = 150",
        "at = 100",
        "at = 199",
        "at <= 200 AND at >= 200",
        "at >= 299",
        "at >= 199 AND at < 201",
        "at > 298.5",
        "at < '5'",
        "at = '150'",
        "at BETWEEN 90 AND 110",
        "robot = 'r-3'",
        "robot > 'r-5'",
        "robot = 'R-3' COLLATE NOCASE",
        "robot IS NULL",
        "robot = NULL",
        "robot = 3",
        "value = 75",
        "value > 149.4",
        "at IN (5, 105, 205, 305)",
        "robot = 'r-2' AND at > 250",
        "rowid = rowid",
    ] {
        let found = one(
            &warehouse,
            &format!("SELECT count(*), sum(at) FROM samples WHERE {condition}"),
        );
        // The same condition where no table over files sees it.
        let all = "(SELECT CAST(robot AS TEXT) AS robot, CAST(at AS INTEGER) AS at, CAST(value AS REAL) AS value, 1 AS rowid FROM samples LIMIT -1)";
        let expected = one(
            &warehouse,
            &format!("SELECT count(*), sum(at) FROM {all} WHERE {condition}"),
        );
        assert_eq!(found, expected, "{condition}");
    }
    assert_eq!(
        one(
            &warehouse,
            "SELECT count(*), count(DISTINCT rowid) FROM samples"
        ),
        [300, 300]
    );
}

#[test]
fn a_join_finds_every_pair_and_no_row_for_null() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = filled(folder.path());
    let pairs =
        "SELECT count(*), sum(a.at * b.at) FROM samples a JOIN samples b ON a.robot = b.robot";
    let plain = "WITH plain AS MATERIALIZED (SELECT robot || '' AS robot, at FROM samples) SELECT count(*), sum(a.at * b.at) FROM plain a, plain b WHERE a.robot = b.robot";
    let found = one(&warehouse, pairs);
    assert_eq!(found, one(&warehouse, plain));
    assert!(found[0].as_i64() > Some(5000), "{found:?}");
    let left = "SELECT count(*), count(b.at) FROM samples a LEFT JOIN samples b ON a.robot = b.robot AND a.at = b.at";
    assert_eq!(one(&warehouse, left), [300, 200]);
    let begun = std::time::Instant::now();
    one(
        &warehouse,
        "SELECT count(*) FROM samples a JOIN samples b ON a.at = b.at JOIN samples c ON c.at = b.at",
    );
    assert!(
        begun.elapsed().as_secs() < 5,
        "a join looks keys up in an index"
    );
}

#[test]
fn a_file_that_is_damaged_is_refused_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = filled(folder.path());
    let lake = DirectoryLake::open(&folder.path().join("lake")).unwrap();
    let path = |file: &RegisteredFile| folder.path().join("lake").join(&file.file.path);
    // Its end, which a load reads.
    let broken = file(&lake, &samples(), 300, 400);
    let mut bytes = std::fs::read(path(&broken)).unwrap();
    let end = bytes.len();
    for at in [end - 1..end, end - 6..end - 5, end - 200..end - 100] {
        let mut damaged = bytes.clone();
        damaged[at.clone()].fill(0xee);
        std::fs::write(path(&broken), &damaged).unwrap();
        let refused = warehouse.load(&batch(broken.clone()), &lake);
        assert!(
            matches!(&refused, Err(Error::BadFile(why)) if why.contains("300.parquet")),
            "{at:?}: {refused:?}"
        );
    }
    assert_eq!(one(&warehouse, "SELECT count(*) FROM samples"), [300]);
    // Its values, which a query reads: an error that names the file, and the process goes on.
    bytes[4..40].fill(0xff);
    std::fs::write(path(&broken), &bytes).unwrap();
    warehouse.load(&batch(broken), &lake).unwrap();
    let refused = warehouse
        .query("SELECT count(robot), sum(at), sum(value) FROM samples")
        .unwrap_err();
    assert!(refused.to_string().contains("300.parquet"), "{refused}");
    assert_eq!(one(&warehouse, "SELECT count(*) FROM samples"), [400]);
}

#[test]
fn what_was_loaded_stays_when_the_lake_loses_it() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = filled(folder.path());
    std::fs::remove_dir_all(folder.path().join("lake")).unwrap();
    assert_eq!(
        one(&warehouse, "SELECT sum(at), max(value) FROM samples"),
        [json!(44850), json!(149.5)]
    );
}

#[test]
fn rows_of_an_earlier_build_become_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("warehouse");
    let earlier = open(&path, WHAT, SCHEMA).unwrap();
    earlier
        .execute_batch(
            "CREATE TABLE samples (robot TEXT, at INTEGER, value INTEGER);
             CREATE VIEW mine AS SELECT at FROM samples;
             INSERT INTO samples VALUES ('r-1', 7, 3), (NULL, 8, NULL);
             INSERT INTO load_ledger VALUES ('samples-0', 'samples', 2, 1);",
        )
        .unwrap();
    drop(earlier);
    let warehouse = EmbeddedWarehouse::open(&path).unwrap();
    let lake = DirectoryLake::open(&folder.path().join("lake")).unwrap();
    // The column is wider in this build, and there is one more.
    let wider = spec(&[
        ("robot", ColumnType::Utf8),
        ("at", ColumnType::Int64),
        ("value", ColumnType::Float64),
        ("note", ColumnType::Utf8),
    ]);
    for _ in 0..2 {
        warehouse
            .ensure_tables(std::slice::from_ref(&wider))
            .unwrap();
        let rows = warehouse
            .query("SELECT robot, at, value, note FROM samples ORDER BY at")
            .unwrap()
            .rows;
        let expected = [
            [json!("r-1"), json!(7), json!(3.0), Value::Null],
            [Value::Null, json!(8), Value::Null, Value::Null],
        ];
        assert_eq!(rows, expected);
    }
    assert_eq!(one(&warehouse, "SELECT count(*) FROM mine"), [2]);
    warehouse
        .load(&batch(file(&lake, &samples(), 100, 110)), &lake)
        .unwrap();
    assert_eq!(
        one(&warehouse, "SELECT count(*), max(value) FROM samples"),
        [json!(12), json!(54.5)]
    );
    assert!(warehouse.receipt("samples-0").unwrap().is_some());
}

#[test]
fn the_star_is_made_anew_by_a_build_with_other_views() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("warehouse");
    let warehouse = EmbeddedWarehouse::open(&path).unwrap();
    warehouse.ensure_tables(&theatre_star::tables()).unwrap();
    let other = open(&path, WHAT, "").unwrap();
    other
        .execute_batch("DROP VIEW dim_rules; CREATE VIEW dim_rules AS SELECT 1; UPDATE star_version SET fingerprint = 'other';")
        .unwrap();
    warehouse.ensure_tables(&theatre_star::tables()).unwrap();
    let rules = warehouse.query("SELECT * FROM dim_rules").unwrap();
    assert_eq!(rules.columns[0], "rule_id");
    // All of the SQL is valid on the tables that are there.
    for view in theatre_star::VIEWS {
        warehouse
            .query(&format!("SELECT * FROM {} LIMIT 1", view.name))
            .unwrap();
    }
    for report in theatre_star::report::REPORTS {
        let found = warehouse
            .query(&report.query(&theatre_star::dialect::Dialect::Sqlite))
            .unwrap();
        let named: Vec<&str> = report.columns().iter().map(|(name, _)| *name).collect();
        assert_eq!(found.columns, named, "{}", report.name);
    }
}
