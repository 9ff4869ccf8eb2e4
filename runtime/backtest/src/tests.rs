//! The whole engine over a lake in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use theatre_actors::ports::{FileStage, LakeEntry, LakeFile, LakeUpload};
use theatre_actors::position::Positions;
use theatre_actors::rules::{Micros, RuleKind, RuleSet, RuleSpec};
use theatre_actors::time::TimePolicy;
use theatre_actors::window::{AggregateSet, WindowPlan};
use theatre_parquet::writer::FileWriter;
use theatre_parquet::{file_rows, file_schema, record_path, table_spec};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::Priority;
use theatre_schemas::registry::Registry;

use super::*;

const SECOND: i64 = 1_000_000;
/// When rows are appended that come live: the time they are measured at, and this.
const TRANSPORT: i64 = SECOND / 10;

const PROBE: &str = r#"{"type": "record", "name": "Probe", "theatre": {"id": 9100, "dataset": "probe", "kind": "telemetry", "version": 1}, "fields": [
    {"name": "robot_id", "type": "string"},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "sequence", "type": "long"},
    {"name": "heat", "type": ["null", "double"], "default": null},
    {"name": "cold", "type": ["null", "double"], "default": null}]}"#;

#[derive(Default)]
struct MemoryLake(BTreeMap<String, bytes::Bytes>);

impl Lake for MemoryLake {
    fn begin(&self, _: &str, _: &str) -> Result<Box<dyn LakeUpload>> {
        unreachable!("a back-test writes nothing")
    }

    fn complete(&self, _: &str, _: &str) -> Result<()> {
        unreachable!("a back-test writes nothing")
    }

    fn list(&self, _: &str) -> Result<Vec<LakeEntry>> {
        unreachable!("the register names the files")
    }

    fn read(&self, path: &str) -> Result<bytes::Bytes> {
        let gone = || Error::Gone(path.to_owned());
        self.0.get(path).cloned().ok_or_else(gone)
    }

    fn location(&self, _: &str) -> Option<String> {
        None
    }

    fn sweep(&self, _: Partition, _: u64, _: &[String]) -> Result<usize> {
        unreachable!("a back-test writes nothing")
    }
}

#[derive(Clone, Default)]
struct Upload(Arc<Mutex<Vec<u8>>>);

impl LakeUpload for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(())
    }

    fn seal(self: Box<Self>) -> Result<String> {
        Ok(String::new())
    }
}

/// A row: robot, second at which it was measured, second at which it was appended, number, heat.
type Row = (&'static str, i64, i64, i64, f64);

/// A row that comes live.
fn live(robot: &'static str, second: i64, number: i64, heat: f64) -> Row {
    (robot, second, second, number, heat)
}

struct World {
    registry: Registry,
    lake: MemoryLake,
    files: Vec<RegisteredFile>,
    /// Next offset by partition.
    offsets: BTreeMap<Partition, u64>,
    past: Vec<PastLayout>,
    partitions: u32,
}

impl World {
    fn new() -> Self {
        let mut registry = Registry::builtin();
        registry.add(PROBE).unwrap();
        Self {
            registry,
            lake: MemoryLake::default(),
            files: Vec::new(),
            offsets: BTreeMap::new(),
            past: Vec::new(),
            partitions: 2,
        }
    }

    /// Writes a cut of a partition.
    fn cut(&mut self, partition: Partition, rows: &[Row]) {
        let (index, dataset) = self.registry.datasets().find("probe").unwrap();
        let from = self.offsets.get(&partition).copied().unwrap_or(0);
        let offsets: Vec<u64> = (from..from + rows.len() as u64).collect();
        self.offsets.insert(partition, from + rows.len() as u64);
        let times = |of: fn(&Row) -> i64| rows.iter().map(move |row| of(row) * SECOND);
        let event_times: Vec<i64> = times(|row| row.1).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()),
            Arc::new(TimestampMicrosecondArray::from(event_times.clone()).with_timezone("UTC")),
            Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.4)).collect::<Float64Array>()),
            Arc::new(Float64Array::new_null(rows.len())),
        ];
        let appended = times(|row| row.2).map(|at| at + TRANSPORT).collect();
        let batch = Batch::new(dataset.clone(), index, columns, offsets, appended);
        let schema = file_schema(&table_spec(dataset).unwrap());
        let cut = 1 + self.files.len() as u64;
        let path = record_path(dataset, 0, partition, &[0, from], 1, cut);
        let upload = Upload::default();
        let mut writer = FileWriter::new(Box::new(upload.clone()), &schema, path, "probe").unwrap();
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let rows = file_rows(&schema, "probes", partition, &batch, &all).unwrap();
        writer.write(rows, event_times.into_iter()).unwrap();
        let file: LakeFile = writer.finish().unwrap();
        let bytes = std::mem::take(&mut *lock(&upload.0));
        self.lake.0.insert(file.path.clone(), bytes.into());
        self.files.push(RegisteredFile {
            number: cut,
            partition,
            file,
            stage: FileStage::Loaded,
            batch: None,
            note: None,
        });
    }

    /// The partition count changes; what was written so far was processed under the old one.
    fn repartition(&mut self, partitions: u32) {
        let end = |partition| {
            Positions::from(vec![0, self.offsets.get(&partition).copied().unwrap_or(0)])
        };
        self.past.push(PastLayout {
            partitions: self.partitions,
            ended_at: (0..self.partitions).map(end).collect(),
        });
        self.partitions = partitions;
    }

    fn ask(&self, question: &Question) -> Result<Past> {
        let datasets = self.registry.datasets();
        let windows = WindowPlan::new(Vec::new(), AggregateSet::default()).unwrap();
        let rules = RuleSet::compile(&[rule("hot", "heat"), rule("frosty", "cold")], datasets);
        let config = ProcessorConfig::new(
            TimePolicy::default(),
            windows,
            rules.unwrap(),
            &[],
            datasets,
        );
        run(
            &Archive {
                lake: &self.lake,
                files: &self.files,
                topics: &["others".to_owned(), "probes".to_owned()],
                partitions: self.partitions,
                past: &self.past,
                home: &|_, among| among.last().copied(),
            },
            &Arc::new(config.unwrap()),
            datasets,
            question,
            2,
            &|_| {},
        )
    }

    /// Conditions by rule: robot, when raised, when cleared, in seconds.
    fn conditions(&self, question: &Question) -> Vec<(String, String, i64, Option<i64>)> {
        let past = self.ask(question).unwrap();
        let all = past.robots.values().flat_map(|robot| robot.conditions());
        all.map(|of| {
            (
                of.rule_id.clone(),
                of.robot_id.clone(),
                of.raised_at / SECOND,
                of.cleared_at.map(|at| at / SECOND),
            )
        })
        .collect()
    }
}

fn rule(id: &str, signal: &str) -> RuleSpec {
    let kind = RuleKind::Threshold {
        signal: signal.to_owned(),
        raise_above: Some(50.0),
        clear_below: None,
        raise_below: None,
        clear_above: None,
        hold: Micros(0),
        clear_after: Micros(0),
        escalate: Vec::new(),
        count: None,
    };
    RuleSpec::new(id, Priority::Medium, kind)
}

fn condition(
    rule: &str,
    robot: &str,
    from: i64,
    to: Option<i64>,
) -> (String, String, i64, Option<i64>) {
    (rule.to_owned(), robot.to_owned(), from, to)
}

#[test]
fn the_actors_raise_and_clear_over_cuts_and_partitions() {
    let mut world = World::new();
    world.cut(
        0,
        &[
            live("a", 1, 1, 40.0),
            live("b", 1, 1, 60.0),
            live("a", 2, 2, 60.0),
        ],
    );
    world.cut(
        0,
        &[
            live("a", 3, 3, 60.0),
            live("a", 4, 4, 40.0),
            live("b", 4, 2, 60.0),
        ],
    );
    world.cut(1, &[live("c", 2, 1, 60.0)]);
    assert_eq!(
        world.conditions(&Question::default()),
        [
            condition("hot", "a", 2, Some(4)),
            condition("hot", "b", 1, None),
            condition("hot", "c", 2, None)
        ]
    );
    let past = world.ask(&Question::default()).unwrap();
    assert_eq!((past.rows, past.period), (7, (SECOND, 4 * SECOND)));
    let unknown: Vec<&str> = past.unknown.iter().map(|unknown| unknown.what).collect();
    assert_eq!(unknown, ["end", "no_values", "not_in_lake", "silence"]);
}

#[test]
fn a_period_and_robots_leave_out_the_rest() {
    let mut world = World::new();
    // Rows of a robot that is first seen in the middle wait for those before them, for 30 s.
    let of = |robot| (1..10).map(move |number| live(robot, 20 * number, number, 60.0));
    let rows: Vec<Row> = of("a").chain(of("b")).collect();
    world.cut(0, &rows);
    let question = Question {
        from: Some(60 * SECOND),
        to: Some(160 * SECOND),
        robots: BTreeSet::from(["a".to_owned(), "y".to_owned()]),
    };
    assert_eq!(
        world.conditions(&question),
        [condition("hot", "a", 60, None)]
    );
    let past = world.ask(&question).unwrap();
    assert_eq!((past.rows, past.period), (5, (60 * SECOND, 140 * SECOND)));
    assert!(
        past.unknown
            .iter()
            .any(|unknown| unknown.what == "rows_before")
    );
    let no_rows = past
        .unknown
        .iter()
        .find(|of| of.what == "robots_without_rows");
    assert!(no_rows.unwrap().text.ends_with("is of y"));
    let absent = Question {
        robots: BTreeSet::from(["z".to_owned()]),
        ..Question::default()
    };
    let later = Question {
        from: Some(600 * SECOND),
        ..Question::default()
    };
    for (question, word) in [(absent, " of z "), (later, "1970-01-01T00:03:00Z")] {
        let refused = world.ask(&question).unwrap_err().to_string();
        assert!(
            refused.contains("no telemetry") && refused.contains(word),
            "{refused}"
        );
    }
}

#[test]
fn a_robot_was_silent_where_its_rows_were_appended_late_after_each_other() {
    let mut world = World::new();
    // `a` is silent from second 1 to 300; `b` only has its rows appended long after.
    world.cut(0, &[live("a", 1, 1, 40.0), ("b", 1, 20_000, 1, 40.0)]);
    world.cut(0, &[live("a", 300, 2, 40.0), ("b", 2, 21_000, 2, 40.0)]);
    assert_eq!(
        world.conditions(&Question::default()),
        // Not heard again at the end, when the last row of `b` is appended.
        [
            condition("robot_silent", "a", 61, Some(300)),
            condition("robot_silent", "a", 360, None)
        ]
    );
}

#[test]
fn a_condition_goes_on_where_its_robot_has_moved() {
    let mut world = World::new();
    world.partitions = 1;
    world.cut(0, &[live("a", 1, 1, 60.0), live("b", 1, 1, 60.0)]);
    world.repartition(2);
    world.cut(1, &[live("a", 2, 2, 60.0), live("a", 3, 3, 40.0)]);
    world.cut(0, &[live("b", 2, 2, 60.0), live("b", 3, 3, 40.0)]);
    assert_eq!(
        world.conditions(&Question::default()),
        [
            condition("hot", "a", 1, Some(3)),
            condition("hot", "b", 1, Some(3))
        ]
    );
}

#[test]
fn of_a_robot_in_two_partitions_the_one_counts_where_it_is_at_home() {
    let mut world = World::new();
    world.cut(0, &[live("a", 1, 1, 60.0), live("a", 2, 2, 60.0)]);
    world.cut(1, &[live("a", 5, 1, 60.0)]);
    assert_eq!(
        world.conditions(&Question::default()),
        [condition("hot", "a", 5, None)]
    );
    let past = world.ask(&Question::default()).unwrap();
    let elsewhere = past.unknown.iter().find(|of| of.what == "wrong_partition");
    assert!(
        elsewhere
            .unwrap()
            .text
            .starts_with("2 rows of 1 robots (a)")
    );
}

#[test]
fn a_file_that_was_deleted_is_said_and_one_that_is_damaged_is_refused() {
    let mut world = World::new();
    world.cut(0, &[live("a", 1, 1, 60.0)]);
    world.cut(0, &[live("a", 2, 2, 60.0), live("a", 50, 3, 60.0)]);
    let path = world.files[0].file.path.clone();
    world.lake.0.remove(&path);
    assert_eq!(
        world.conditions(&Question::default()),
        [condition("hot", "a", 2, None)]
    );
    let past = world.ask(&Question::default()).unwrap();
    assert!(
        past.unknown
            .iter()
            .any(|unknown| unknown.what == "files_gone")
    );
    world
        .lake
        .0
        .insert(path.clone(), bytes::Bytes::from_static(b"PAR1 and no more"));
    let refused = world.ask(&Question::default()).unwrap_err().to_string();
    assert!(refused.contains(&path), "{refused}");
}
