//! Rows taken out of completed files: the register, the lake and the warehouse.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use theatre_actors::ports::*;
use theatre_actors::position::Positions;
use theatre_parquet::{erase, file_schema};

use super::{batch, completed, file};

/// What the register says of a file changes only from what was looked at, all or none.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_revises_files(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let cut = LakeCut {
        cut_number: 1,
        positions: Positions::from(vec![5]),
        state: Vec::new(),
        files: vec![file("1", "t"), file("2", "t")],
    };
    store.commit_cut(0, epoch, &cut)?;
    let seen = store.all_files()?;
    let erasing = |seen: &RegisteredFile| FileRevision {
        file: LakeFile {
            erasing: vec![ErasedRows {
                by: ErasedBy::Robot("r-1".to_owned()),
                rows: 1,
            }],
            ..seen.file.clone()
        },
        seen: seen.clone(),
    };
    store.mark_completed(0, epoch, &[2])?;
    let both: Vec<FileRevision> = seen.iter().map(erasing).collect();
    ensure!(
        matches!(store.revise_files(&both), Err(Error::Unavailable { .. })),
        "one of them was completed meanwhile"
    );
    ensure!(
        store
            .all_files()?
            .iter()
            .all(|file| file.file.erasing.is_empty()),
        "all or none"
    );
    let seen = store.all_files()?;
    let both: Vec<FileRevision> = seen.iter().map(erasing).collect();
    store.revise_files(&both)?;
    ensure!(
        matches!(store.revise_files(&both), Err(Error::Unavailable { .. })),
        "they are not what was looked at any more"
    );
    // Owners go on: a stage is not what is revised.
    store.mark_completed(0, epoch, &[1])?;
    let planned = store
        .plan_load(0, epoch, 9)?
        .context("there are files to load")?;
    ensure!(planned.files.len() == 2, "{planned:?}");
    store.mark_loaded(0, epoch, &planned.id)?;
    let seen = store.all_files()?;
    ensure!(
        seen.iter()
            .all(|file| file.stage == FileStage::Loaded && file.file.erasing_rows() == 1),
        "{seen:?}"
    );
    let done = seen.iter().map(|seen| {
        let mut file = seen.file.clone();
        add_erased(&mut file.erased, &seen.file.erasing);
        (file.rows, file.bytes, file.erasing) = (0, 7, Vec::new());
        FileRevision {
            seen: seen.clone(),
            file,
        }
    });
    let done: Vec<FileRevision> = done.collect();
    store.revise_files(&done)?;
    let kept = store.all_files()?;
    ensure!(
        kept.iter()
            .zip(&done)
            .all(|(kept, done)| kept.file == done.file && kept.batch == done.seen.batch),
        "{kept:?}"
    );
    store.revise_files(&[])?;
    Ok(())
}

/// A file is replaced under its name, and no file is made so.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn lake_replaces(lake: &dyn Lake) -> Result<()> {
    let path = "d/r/1.parquet";
    let new = |text: &'static str| bytes::Bytes::from_static(text.as_bytes());
    ensure!(matches!(lake.replace(path, new("x")), Err(Error::Gone(_))));
    ensure!(lake.list("d/r")?.is_empty());
    let mut upload = lake.begin(path, "p0-e1-1")?;
    upload.write(b"one")?;
    let handle = upload.seal()?;
    ensure!(
        matches!(lake.replace(path, new("x")), Err(Error::Gone(_))),
        "it is not completed yet"
    );
    lake.complete(path, &handle)?;
    lake.replace(path, new("three"))?;
    lake.replace(path, new("three"))?;
    ensure!(lake.read(path)? == "three");
    ensure!(
        lake.list("d/r")?
            == [LakeEntry {
                path: path.to_owned(),
                bytes: 5
            }]
    );
    lake.complete(path, &handle)?;
    ensure!(lake.read(path)? == "three", "completed before");
    Ok(())
}

fn table(name: &str, mode: LoadMode) -> TableSpec {
    let columns = [
        ("robot_id", ColumnType::Utf8),
        ("event_time", ColumnType::TimestampMicros),
        ("revision", ColumnType::Int32),
    ];
    TableSpec {
        name: name.to_owned(),
        columns: columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        mode,
    }
}

fn rows(table: &TableSpec, rows: &[(&str, i64, i32)]) -> Result<RecordBatch> {
    let robots: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(robots),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    Ok(RecordBatch::try_new(file_schema(table), columns)?)
}

/// Rows leave a table unless its ledger has a load that is not known, and leave it once.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn warehouse_erases(warehouse: &dyn Warehouse, lake: &dyn Lake) -> Result<()> {
    let appended = table("erased_rows", LoadMode::Append);
    let merged = table("erased_robots", LoadMode::by_revision("robot_id"));
    warehouse.ensure_tables(&[appended.clone(), merged.clone()])?;
    let chosen = |table: &TableSpec, robots: &[&str], before, loads| TableErasure {
        table: table.clone(),
        rows: RowSelection {
            robot_column: Some("robot_id".to_owned()),
            time_column: Some("event_time".to_owned()),
            robots: robots.iter().map(|robot| (*robot).to_owned()).collect(),
            before,
        },
        loads,
    };
    ensure!(
        warehouse.erase(&chosen(&appended, &["a"], None, 0))? == Some(0),
        "nothing was loaded"
    );
    for (number, table) in [&appended, &merged].into_iter().enumerate() {
        let number = number as u64 * 10;
        let of = [
            ("a'1", 1_000_001, 0),
            ("b", 2_000_000, 0),
            ("c", 3_000_000, 0),
        ];
        let first = completed(lake, table, number + 1, rows(table, &of)?)?;
        let second = completed(
            lake,
            table,
            number + 2,
            rows(table, &[("a'1", 4_000_000, 1)])?,
        )?;
        let count = || -> Result<u64> {
            let found = warehouse.query(&format!("SELECT count(*) FROM {}", table.name))?;
            found.rows[0][0].as_u64().context("no number")
        };
        warehouse.load(&batch(table, &format!("{}-1", table.name), &[&first]), lake)?;
        warehouse.load(
            &batch(table, &format!("{}-2", table.name), &[&second]),
            lake,
        )?;
        let all = count()?;
        for loads in [0, 1, 3] {
            let erased = warehouse.erase(&chosen(table, &["a'1"], None, loads))?;
            ensure!(
                erased.is_none() && count()? == all,
                "{loads} loads: {erased:?}"
            );
        }
        let of_robot = chosen(table, &["a'1", "z"], None, 2);
        // Of the merged table the later revision is there.
        ensure!(
            warehouse.erase(&of_robot)? == Some(all - 2),
            "{}",
            table.name
        );
        ensure!(count()? == 2 && warehouse.erase(&of_robot)? == Some(0));
        let old = chosen(table, &[], Some(3_000_000), 2);
        ensure!(warehouse.erase(&old)? == Some(1) && count()? == 1);
        let left = warehouse.query(&format!("SELECT robot_id FROM {}", table.name))?;
        ensure!(left.rows == [["c"]], "{left:?}");
        ensure!(
            warehouse
                .receipt(&format!("{}-1", table.name))?
                .is_some_and(|it| it.rows == 3),
            "the ledger says what was loaded"
        );
        // A file without rows is loaded as any other.
        let bytes = lake.read(&second.file.path)?;
        let rest = erase::without(&second.file.path, bytes, &of_robot.rows)?;
        ensure!(rest.rows == 0);
        lake.replace(&second.file.path, rest.bytes.clone())?;
        let mut empty = second.clone();
        (empty.file.rows, empty.file.bytes) = (0, rest.bytes.len() as u64);
        let receipt =
            warehouse.load(&batch(table, &format!("{}-3", table.name), &[&empty]), lake)?;
        ensure!(receipt.rows == 0 && count()? == 1);
        ensure!(warehouse.erase(&chosen(table, &["c"], None, 3))? == Some(1) && count()? == 0);
    }
    Ok(())
}
