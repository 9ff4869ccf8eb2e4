use std::sync::Arc;

use serde_json::json;
use theatre_actors::ports::{Epoch, LakeCut, LogRange, NewRecord, PollLimit};
use theatre_actors::position::Positions;
use theatre_embedded::access::EmbeddedAccess;
use theatre_embedded::lake::DirectoryLake;
use theatre_parquet::writer::FileWriter;
use theatre_parquet::{file_rows, file_schema, record_path, table_spec};
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::encode::JsonEncoder;
use theatre_schemas::framing;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_system::clock::SystemClock;

use super::*;
use crate::deployed;

const TOPIC: &str = "records";
/// 2026-01-31.
const BEGIN: i64 = 1_769_817_600_000_000;

/// A deployment without a pipeline: what is in its lake the test puts there.
struct World {
    parts: Parts,
    lake: Arc<dyn Lake>,
    dataset: Arc<Dataset>,
    index: DatasetIndex,
    epoch: Epoch,
    cuts: u64,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let access = Arc::new(EmbeddedAccess::open(&folder.path().join("access")).unwrap());
        let lake: Arc<dyn Lake> =
            Arc::new(DirectoryLake::open(&folder.path().join("lake")).unwrap());
        let topic = ("fleet_telemetry".to_owned(), TOPIC.to_owned());
        let parts = Parts {
            lake: Some(lake.clone()),
            topics: BTreeMap::from([topic]),
            ..deployed::parts(folder.path(), access, Arc::new(SystemClock), 1)
        };
        let (index, dataset) = parts.registry.datasets().find("fleet_telemetry").unwrap();
        let dataset = dataset.clone();
        Self {
            epoch: parts.store.acquire(0).unwrap(),
            parts,
            lake,
            dataset,
            index,
            cuts: 0,
            _folder: folder,
        }
    }

    /// Appends records of a robot, each by its number: the row of that many seconds after [`BEGIN`].
    fn append(&self, robot: &str, numbers: &[i64]) {
        let writer = self.parts.registry.newest_writer(self.index).unwrap();
        let encoder = JsonEncoder::new(&writer.json).unwrap();
        let record = |number: &i64| {
            let mut record = json!({"robot_id": robot, "sequence": number, "event_time": BEGIN + number * 1_000_000});
            for signal in &self.dataset.signals {
                record[&self.dataset.columns[signal.column].name] = json!(*number as f64);
            }
            record["sequence"] = json!(number);
            let mut datum = Vec::new();
            encoder.encode(&record, &mut datum).unwrap();
            NewRecord {
                key: robot.as_bytes().to_vec(),
                value: framing::frame(writer.id.number().unwrap(), &datum),
                headers: Vec::new(),
            }
        };
        let records: Vec<NewRecord> = numbers.iter().map(record).collect();
        self.parts.log.append(TOPIC, 0, &records).unwrap();
    }

    /// Cuts the lake before an offset: rows from the last cut on, but for those at some offsets, are in
    /// a file, which is there or not.
    fn cut(&mut self, to: u64, duplicates: &[u64], is_there: bool) {
        let from = self.parts.store.status(0).unwrap().lake_positions.get(0);
        let pseudonyms = Arc::new(Pseudonyms::new([0; 32]));
        let mut builder = BatchBuilder::new(self.dataset.clone(), self.index, pseudonyms);
        let mut reader = self.parts.log.reader(TOPIC, 0, from).unwrap();
        let limit = PollLimit {
            records: (to - from) as usize,
            bytes: 1 << 20,
        };
        reader
            .poll(limit, &mut |record| {
                let (id, datum) = framing::parse(record.value).unwrap();
                let plan = &self.parts.registry.lookup(id).unwrap().plan;
                let pushed = builder.push(plan, datum, record.offset, record.append_time.0);
                pushed.unwrap();
            })
            .unwrap();
        let batch = builder.finish().unwrap();
        self.cuts += 1;
        let path = record_path(&self.dataset, 20_484, 0, &[from], self.epoch, self.cuts);
        let schema = file_schema(&table_spec(&self.dataset).unwrap());
        let upload = self
            .lake
            .begin(&path, &format!("p0-e{}-{}", self.epoch, self.cuts))
            .unwrap();
        let mut writer = FileWriter::new(upload, &schema, path, &self.dataset.name).unwrap();
        let is_new = |row: &u32| !duplicates.contains(&batch.offsets[*row as usize]);
        let rows: Vec<u32> = (0..batch.len() as u32).filter(is_new).collect();
        let times: Vec<i64> = rows
            .iter()
            .map(|row| batch.event_times()[*row as usize])
            .collect();
        let of_file = file_rows(&schema, TOPIC, 0, &batch, &rows).unwrap();
        writer.write(of_file, times.into_iter()).unwrap();
        let file = writer.finish().unwrap();
        if is_there {
            self.lake.complete(&file.path, &file.upload).unwrap();
        }
        let cut = LakeCut {
            cut_number: self.cuts,
            positions: Positions::from(vec![to]),
            state: Vec::new(),
            files: vec![file],
        };
        self.parts.store.commit_cut(0, self.epoch, &cut).unwrap();
    }

    fn ask(&self, after: Option<&str>, limit: usize) -> TelemetryRows {
        let at = |second: i64| Some(Time(BEGIN + second * 1_000_000));
        let text = |time: Option<Time>| json!(time).as_str().map(str::to_owned);
        let query = TelemetryQuery {
            dataset: None,
            from: text(at(0)),
            to: text(at(100)),
            after: after.map(str::to_owned),
            limit: Some(limit),
        };
        answer(
            &self.parts,
            question(&self.parts, &query, "r1", 0, BEGIN).unwrap(),
        )
        .unwrap()
    }

    /// Seconds and offsets of the rows, by pages of two.
    fn rows(&self) -> (Vec<(i64, u64)>, TelemetryRows) {
        let (mut rows, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.ask(after.as_deref(), 2);
            assert!(page.items.len() <= 2);
            let second = |row: &TelemetryRow| (row.event_time.0 - BEGIN) / 1_000_000;
            rows.extend(page.items.iter().map(|row| (second(row), row.offset)));
            match &page.next {
                Some(next) => after = Some(next.clone()),
                None => return (rows, page),
            }
        }
    }
}

fn reasons(page: &TelemetryRows) -> Vec<&str> {
    page.missing
        .iter()
        .map(|missing| missing.why.as_str())
        .collect()
}

#[test]
fn rows_are_of_the_lake_and_of_the_log_behind_it_each_once() {
    let mut world = World::new();
    world.append("r1", &[1, 2]);
    world.append("r2", &[1, 2, 3]);
    // A producer that repeats itself: the lake does not take the second.
    world.append("r1", &[2, 3]);
    let all = vec![(1, 0), (2, 1), (3, 6)];
    let (rows, page) = world.rows();
    assert_eq!(rows, all, "nothing is in the lake");
    assert!(
        page.complete_until.is_none() && page.missing.is_empty(),
        "{page:?}"
    );

    world.cut(6, &[5], true);
    assert_eq!(world.rows().0, all, "one is not");
    // One that says what the lake has, one beyond the range, one that comes late, one of another robot.
    world.append("r1", &[3, 100, 0, 4]);
    world.append("r11", &[5]);
    let (rows, page) = world.rows();
    let all = vec![(0, 9), (1, 0), (2, 1), (3, 6), (4, 10)];
    assert_eq!(rows, all);
    assert!(
        page.complete_until.is_none() && page.missing.is_empty(),
        "{page:?}"
    );
    world.cut(12, &[7], true);
    assert_eq!(world.rows().0, all, "all are in the lake");
    let shown = &world.ask(None, 9).items[4].values;
    assert_eq!(
        (&shown["sequence"], &shown["grip_force"]),
        (&json!(4), &json!(4.0))
    );
}

#[test]
fn rows_of_a_file_that_is_not_there_yet_come_from_the_log() {
    let mut world = World::new();
    world.append("r1", &[1, 2]);
    world.cut(2, &[], true);
    world.append("r1", &[2, 3]);
    world.cut(4, &[2], false);
    world.append("r1", &[4]);
    let (rows, page) = world.rows();
    assert_eq!(rows, [(1, 0), (2, 1), (3, 3), (4, 4)]);
    assert!(
        page.complete_until.is_none() && page.missing.is_empty(),
        "{page:?}"
    );
}

#[test]
fn without_a_lake_rows_come_from_the_log_as_far_as_it_reaches_back() {
    let mut world = World::new();
    world.parts.lake = None;
    world.append("r1", &[1, 2]);
    world.append("r1", &[3]);
    let (rows, page) = world.rows();
    assert_eq!(rows, [(1, 0), (2, 1), (3, 2)]);
    assert!(reasons(&page).is_empty());
    world.parts.log.trim(TOPIC, 0, 2).unwrap();
    assert_eq!(
        world.parts.log.range(TOPIC, 0).unwrap(),
        LogRange { start: 2, end: 3 }
    );
    let (rows, page) = world.rows();
    assert_eq!((rows, reasons(&page)), (vec![(3, 2)], vec!["lake_off"]));
}

#[test]
fn records_of_a_schema_that_is_not_known_are_said_to_be_missing() {
    let world = World::new();
    world.append("r1", &[1]);
    let record = |robot: &str, value: Vec<u8>| NewRecord {
        key: robot.as_bytes().to_vec(),
        value,
        headers: Vec::new(),
    };
    let unknown = framing::frame(77_777, b"x");
    let records = [
        record("r1", unknown.clone()),
        record("\"r1\"", unknown.clone()),
        record("", unknown.clone()),
        record("r2", unknown),
        // Dead letters, which are no rows.
        record("r1", b"nonsense".to_vec()),
        record("r1", Vec::new()),
    ];
    world.parts.log.append(TOPIC, 0, &records).unwrap();
    let (rows, page) = world.rows();
    assert_eq!(
        (rows, reasons(&page)),
        (vec![(1, 0)], vec!["unknown_schema"])
    );
    assert_eq!((page.missing[0].files, page.missing[0].rows), (0, 3));
}
