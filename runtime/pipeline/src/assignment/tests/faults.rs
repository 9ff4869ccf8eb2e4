//! Lake and warehouse that are away, refuse, or have lost something: robots are heard, saved and
//! published all the same, readiness says why, and what was missed is made up for once they are
//! well.

use bytes::Bytes;
use theatre_actors::ports::{LakeCut, LakeEntry, LakeFile, LakeUpload};

use super::*;
use crate::completer::{Completed, Completer};
use crate::lake_gap;

/// A lake whose calls fail when a test says so.
#[derive(Default)]
pub(super) struct Faulty {
    inner: MemoryLake,
    /// What beginning a file fails with.
    beginning: Mutex<Option<Error>>,
    /// What completing a file fails with, if its path contains the word.
    completing: Mutex<Option<(&'static str, Error)>>,
    /// What ending the upload of a file fails with.
    sealing: Arc<Mutex<Option<Error>>>,
}

struct FaultyUpload {
    inner: Box<dyn LakeUpload>,
    sealing: Arc<Mutex<Option<Error>>>,
}

impl LakeUpload for FaultyUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write(bytes)
    }

    fn seal(self: Box<Self>) -> Result<String> {
        let fault = self.sealing.lock().unwrap().clone();
        fault.map_or_else(|| self.inner.seal(), Err)
    }
}

impl Faulty {
    fn begin_with(&self, fault: Option<Error>) {
        *self.beginning.lock().unwrap() = fault;
    }

    fn complete_with(&self, fault: Option<(&'static str, Error)>) {
        *self.completing.lock().unwrap() = fault;
    }
}

impl Lake for Faulty {
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>> {
        if let Some(fault) = self.beginning.lock().unwrap().clone() {
            return Err(fault);
        }
        let (inner, sealing) = (self.inner.begin(path, attempt)?, self.sealing.clone());
        Ok(Box::new(FaultyUpload { inner, sealing }))
    }

    fn complete(&self, path: &str, upload: &str) -> Result<()> {
        match self.completing.lock().unwrap().clone() {
            Some((word, fault)) if path.contains(word) => Err(fault),
            _ => self.inner.complete(path, upload),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>> {
        self.inner.list(prefix)
    }

    fn read(&self, path: &str) -> Result<Bytes> {
        self.inner.read(path)
    }

    fn location(&self, path: &str) -> Option<String> {
        self.inner.location(path)
    }

    fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize> {
        self.inner.sweep(partition, epoch, keep)
    }
}

fn away() -> Error {
    Error::Unavailable {
        what: "test",
        why: "it is away".to_owned(),
    }
}

fn refusal() -> Error {
    Error::Refused("test: the right is missing".to_owned())
}

impl World {
    fn taken() -> Self {
        let world = Self::open();
        world.warehouse.hangs.store(false, Ordering::Release);
        world
    }

    fn progress(&self) -> &Progress {
        &self.context.progress
    }

    /// Robots go on, chunk by chunk, and everything of them is saved and published.
    fn must_tell(&self, ticks: std::ops::Range<u64>) {
        for tick in ticks {
            self.produce(tick..tick + 1);
            let end = self.log.range(INPUT_TOPICS[0], 0).unwrap().end;
            let is_published = || {
                let status = self.store.status(0).unwrap();
                status.floor.get(0) == end && status.cursors.get("relay") == status.last_output
            };
            eventually("what robots said is saved and published", is_published);
        }
    }

    /// All is well again: every row is in lake and warehouse once.
    fn must_be_whole(self) {
        eventually("everything is loaded", || self.is_drained());
        assert_eq!(
            (self.progress().troubles(), self.progress().failures()),
            (Vec::new(), Vec::new())
        );
        assert_eq!(
            self.number("SELECT count(*) FROM robot_telemetry"),
            self.log.range(INPUT_TOPICS[0], 0).unwrap().end
        );
        assert_eq!(
            self.number("SELECT count(DISTINCT _offset) FROM robot_telemetry"),
            self.number("SELECT count(*) FROM robot_telemetry")
        );
        self.end();
    }

    fn end(self) {
        assert!(soon("stopping", || self
            .assignment
            .close(Instant::now() + PATIENCE)));
        self.saved.store(true, Ordering::Release);
        self.checkpointer.join().unwrap();
    }

    fn is_named(&self, component: &str, why: &str) -> bool {
        self.progress()
            .troubles()
            .iter()
            .any(|trouble| trouble.starts_with(component) && trouble.contains(why))
    }
}

#[test]
fn a_warehouse_that_is_away_or_refuses_at_the_start_holds_up_nothing_but_its_loads() {
    let world = World::taken();
    *world.warehouse.fault.lock().unwrap() = Some(away());
    world.assignment.assigned(&[0]);
    world.must_tell(0..10);
    eventually("it is named", || world.is_named("loader 0", "away"));
    assert_eq!(
        world.progress().failures(),
        Vec::<String>::new(),
        "that passes"
    );
    *world.warehouse.fault.lock().unwrap() = Some(refusal());
    eventually("it is named", || {
        world.is_named("loader 0", "right is missing")
    });
    assert_eq!(
        world.progress().failures(),
        ["loader 0 is refused: test: the right is missing"],
        "a command that waits for the loads gets its answer"
    );
    world.must_tell(10..20);
    assert!(!world.is_drained());
    *world.warehouse.fault.lock().unwrap() = None;
    world.must_be_whole();
}

#[test]
fn a_lake_that_is_away_or_refuses_for_long_keeps_nobody_from_reading() {
    let world = World::taken();
    world.assignment.assigned(&[0]);
    let mut ticks = (0..).step_by(10);
    for fault in [away(), refusal()] {
        world.lake.begin_with(Some(fault.clone()));
        let from = ticks.next().unwrap();
        world.must_tell(from..from + 10);
        eventually("it is named", || {
            world.is_named("lake writer 0", &fault.to_string())
        });
        world.lake.begin_with(None);
        let from = ticks.next().unwrap();
        world.must_tell(from..from + 10);
        eventually("it has made up for what it missed", || world.is_drained());
    }
    world.must_be_whole();
}

#[test]
fn what_a_failed_cut_lost_is_written_though_no_record_follows() {
    let world = World::taken();
    *world.lake.sealing.lock().unwrap() = Some(away());
    world.assignment.assigned(&[0]);
    world.must_tell(0..10);
    eventually("it is named", || world.is_named("lake writer 0", "away"));
    assert!(!world.is_drained());
    *world.lake.sealing.lock().unwrap() = None;
    world.must_be_whole();
}

#[test]
fn files_that_cannot_be_completed_hold_up_no_other_and_are_completed_later() {
    let world = World::taken();
    world
        .lake
        .complete_with(Some(("robot_telemetry", refusal())));
    world.assignment.assigned(&[0]);
    world.must_tell(0..20);
    eventually("it is named", || {
        world.is_named("publisher 0", "right is missing")
    });
    eventually("other files are loaded", || {
        world
            .store
            .all_files()
            .unwrap()
            .iter()
            .any(|file| file.stage == FileStage::Loaded)
    });
    assert_eq!(world.number("SELECT count(*) FROM robot_telemetry"), 0);
    world.lake.complete_with(None);
    world.must_be_whole();
}

#[test]
fn a_partition_is_left_soon_though_its_lake_is_away_or_refuses_and_its_next_owner_goes_on() {
    let world = World::taken();
    let mut ticks = (0..).step_by(10);
    for fault in [refusal(), away()] {
        world.lake.begin_with(Some(fault.clone()));
        world.lake.complete_with(Some(("", fault.clone())));
        world.assignment.assigned(&[0]);
        let from = ticks.next().unwrap();
        world.must_tell(from..from + 10);
        eventually("it is named", || {
            world.is_named("lake writer 0", &fault.to_string())
        });
        soon("handing over", || world.assignment.revoked(&[0]));
        assert_eq!(
            world.assignment.left(),
            [(0, world.store.status(0).unwrap().floor)],
            "it was left in order"
        );
        assert_eq!(
            (world.progress().troubles(), world.progress().failures()),
            (Vec::new(), Vec::new()),
            "what troubled it is another's to say"
        );
    }
    world.lake.begin_with(None);
    world.lake.complete_with(None);
    world.assignment.assigned(&[0]);
    let from = ticks.next().unwrap();
    world.must_tell(from..from + 10);
    world.must_be_whole();
}

#[test]
fn records_that_the_log_lost_before_the_lake_had_them_are_named_until_somebody_lets_it_go_on() {
    for works_at_first in [true, false] {
        let world = World::taken();
        let refused = || world.lake.begin_with(Some(refusal()));
        if !works_at_first {
            refused();
        }
        world.assignment.assigned(&[0]);
        world.must_tell(0..10);
        if works_at_first {
            eventually("it works", || world.is_drained());
            refused();
        }
        world.must_tell(10..20);
        eventually("it is named", || {
            world.is_named("lake writer 0", "right is missing")
        });
        let gone = world.store.status(0).unwrap().lake_positions.get(0)
            ..world.log.range(INPUT_TOPICS[0], 0).unwrap().end;
        assert_eq!(gone.start > 0, works_at_first);
        world.log.trim(INPUT_TOPICS[0], 0, gone.end).unwrap();
        world.lake.begin_with(None);
        world.must_tell(20..30);
        let why = format!(
            "records from offset {} to before {} are gone from the log and were never in the lake",
            gone.start, gone.end
        );
        eventually("it is named", || world.is_named("lake writer 0", &why));

        let topics: Vec<String> = INPUT_TOPICS
            .iter()
            .map(|topic| (*topic).to_owned())
            .collect();
        let skipped = vec![lake_gap::LogGap {
            topic: topics[0].clone(),
            partition: 0,
            from: gone.start,
            to: gone.end,
        }];
        assert_eq!(
            lake_gap::skip(&*world.log, &*world.store, &topics, 0).unwrap(),
            skipped
        );
        assert_eq!(
            lake_gap::skip(&*world.log, &*world.store, &topics, 0).unwrap(),
            Vec::new()
        );
        world.must_tell(30..40);
        eventually("it goes on", || world.is_drained());
        assert_eq!(
            (world.progress().troubles(), world.progress().failures()),
            (Vec::new(), Vec::new())
        );
        let rows = world.log.range(INPUT_TOPICS[0], 0).unwrap().end - (gone.end - gone.start);
        assert_eq!(world.number("SELECT count(*) FROM robot_telemetry"), rows);
        assert_eq!(
            world.number("SELECT count(DISTINCT _offset) FROM robot_telemetry"),
            rows
        );
        world.end();
    }
}

#[test]
fn more_refused_files_than_a_step_takes_hold_up_no_other() {
    let (store, lake, clock) = (
        Arc::new(MemoryStore::default()),
        Arc::new(Faulty::default()),
        Arc::new(SystemClock),
    );
    store.ensure_layout(&["a".to_owned()], 1).unwrap();
    let epoch = store.acquire(0).unwrap();
    let file = |path: String| {
        let upload = lake
            .begin(&path, &format!("p0-e{epoch}-{path}"))
            .and_then(LakeUpload::seal)
            .unwrap();
        LakeFile {
            path,
            upload,
            dataset: "t".to_owned(),
            rows: 1,
            bytes: 0,
            event_time_min: 0,
            event_time_max: 0,
            erased: Vec::new(),
            erasing: Vec::new(),
        }
    };
    let files = (0..100)
        .map(|number| format!("bad-{number}"))
        .chain(["good".to_owned()])
        .map(file)
        .collect();
    store
        .commit_cut(
            0,
            epoch,
            &LakeCut {
                cut_number: 1,
                positions: Positions::from(vec![5]),
                state: Vec::new(),
                files,
            },
        )
        .unwrap();
    let warehouse = Arc::new(EmbeddedWarehouse::in_memory().unwrap());
    let ports = Ports {
        log: Arc::new(MemoryLog::new(clock.clone())),
        store: store.clone(),
        lake: lake.clone(),
        warehouse,
        clock,
    };
    let mut completer = Completer::new(0, epoch, ports);
    lake.complete_with(Some(("bad", refusal())));
    assert_eq!(completer.step(), Err(refusal()));
    assert_eq!(
        completer.step(),
        Ok(Completed { files: 1, lost: 0 }),
        "the one that can be completed"
    );
    assert_eq!(completer.step(), Err(refusal()));
    lake.complete_with(None);
    assert_eq!(
        completer.step(),
        Ok(Completed {
            files: 100,
            lost: 0
        })
    );
    assert_eq!(completer.step(), Ok(Completed::default()));
}

#[test]
fn a_file_whose_upload_is_gone_is_set_aside_and_said_so_and_stops_nothing() {
    let world = World::taken();
    world.lake.complete_with(Some((
        "robot_telemetry",
        Error::Gone("the upload is gone".to_owned()),
    )));
    world.assignment.assigned(&[0]);
    world.must_tell(0..10);
    let lost = || {
        world
            .store
            .all_files()
            .unwrap()
            .into_iter()
            .filter(|file| file.stage == FileStage::Lost)
            .collect::<Vec<_>>()
    };
    eventually("a file is set aside", || !lost().is_empty());
    world.lake.complete_with(None);
    world.must_tell(10..20);
    eventually("the others are loaded", || world.is_drained());
    assert!(
        lost()
            .iter()
            .all(|file| file.note.as_deref() == Some("the upload is gone")),
        "{:?}",
        lost()
    );
    assert_eq!(
        (world.progress().troubles(), world.progress().failures()),
        (Vec::new(), Vec::new())
    );
    assert!(world.progress().notices().iter().any(
        |notice| notice.starts_with("lake partition 0") && notice.contains("theatre lake list")
    ));
    let missing: u64 = lost().iter().map(|file| file.file.rows).sum();
    let end = world.log.range(INPUT_TOPICS[0], 0).unwrap().end;
    assert_eq!(
        world.number("SELECT count(*) FROM robot_telemetry") + missing,
        end
    );
    // Here the parts are there after all, as where a lake was looked for at the wrong place: once
    // put back, the file is completed and loaded. The next owner says of it too, and aborts
    // nothing.
    soon("handing over", || world.assignment.revoked(&[0]));
    world.assignment.assigned(&[0]);
    let files = lost().len() as u64;
    let said = || {
        world
            .progress()
            .notices()
            .iter()
            .any(|notice| notice.contains(&format!("{files} files are set aside")))
    };
    eventually("the next owner says so", said);
    world.must_tell(20..21);
    eventually(
        "uploads of no registered file are swept, and it works",
        || world.is_drained(),
    );
    let end = world.log.range(INPUT_TOPICS[0], 0).unwrap().end;
    assert_eq!(world.store.requeue_quarantined().unwrap(), files);
    eventually("what was put back is loaded", || {
        world.number("SELECT count(*) FROM robot_telemetry") == end
    });
    assert_eq!(world.progress().notices(), Vec::<String>::new());
    world.end();
}

#[test]
fn duplicates_alone_move_the_position_of_the_lake() {
    let world = World::taken();
    world.context.flush.store(false, Ordering::Release);
    world.assignment.assigned(&[0]);
    world.must_tell(0..10);
    let lake_is_even = || {
        let status = world.store.status(0).unwrap();
        status.lake_positions.get(0) == world.log.range(INPUT_TOPICS[0], 0).unwrap().end
    };
    eventually("rows are cut when they are old enough", lake_is_even);
    let files = world.store.all_files().unwrap().len();
    world.produce(0..10);
    eventually("duplicates are, too", lake_is_even);
    assert!(
        world
            .store
            .all_files()
            .unwrap()
            .iter()
            .skip(files)
            .all(|file| !file.file.path.starts_with("data/")),
        "without a file"
    );
    world.context.flush.store(true, Ordering::Release);
    world.end();
}

#[test]
fn a_store_that_is_younger_than_the_log_is_refused_and_no_alert_counts_as_published() {
    let world = World::taken();
    world.assignment.assigned(&[0]);
    world.produce(0..3000);
    world.must_tell(3000..3001);
    world.assignment.revoked(&[0]);
    world.assignment.assigned(&[0]);
    world.must_tell(3001..3002);
    let log = world.log.clone();
    assert!(
        log.range(OUTCOME_TOPIC, 0).unwrap().end > 0,
        "something was published"
    );
    world.end();

    let anew = World::open_on(log);
    anew.warehouse.hangs.store(false, Ordering::Release);
    // The log knows the second epoch, this store gives the first one; later what was published is
    // more than what was committed.
    for known in ["has epoch 2", "were published", "were published"] {
        anew.assignment.assigned(&[0]);
        eventually("it is named", || {
            anew.is_named("relay 0", known)
                && anew.is_named("relay 0", "it was made anew, or restored from a backup")
        });
        let status = anew.store.status(0).unwrap();
        assert_eq!(
            (
                status.last_output,
                status.cursors.get("relay"),
                status.floor
            ),
            (0, 0, Positions::zero()),
            "nothing is saved on the way to the refusal"
        );
        assert!(!anew.progress().failures().is_empty());
        assert!(
            anew.progress()
                .unready()
                .iter()
                .any(|why| why.contains("a log of its own"))
        );
        anew.assignment.lost(&[0]);
    }
    anew.assignment.close(Instant::now() + PATIENCE);
    anew.saved.store(true, Ordering::Release);
    anew.checkpointer.join().unwrap();
}

#[test]
fn before_the_lane_is_open_much_is_read_and_nothing_saved_and_a_partition_can_be_left() {
    let world = World::taken();
    world.lanes.away.store(true, Ordering::Release);
    world.produce(0..10);
    for _ in 0..2 {
        let read = world.progress().records_in.load(Ordering::Relaxed);
        world.assignment.assigned(&[0]);
        eventually("it is named", || {
            world.is_named("relay 0", "the lane is away")
        });
        eventually("it is read", || {
            world.progress().records_in.load(Ordering::Relaxed) >= read + 30
        });
        // Longer than saves and cuts wait.
        std::thread::sleep(Duration::from_millis(500));
        let status = world.store.status(0).unwrap();
        assert_eq!((status.last_output, status.floor), (0, Positions::zero()));
        assert!(
            status
                .lake_positions
                .as_slice()
                .iter()
                .all(|position| *position == 0),
            "{:?}",
            status.lake_positions
        );
        assert_eq!(
            world.store.all_files().unwrap(),
            [],
            "the lake has begun, with an empty cut, and goes no further"
        );
        soon("handing over", || world.assignment.revoked(&[0]));
        assert_eq!(
            world.assignment.left(),
            [(0, Positions::zero())],
            "it was left in order"
        );
    }
    world.assignment.assigned(&[0]);
    eventually("it is named", || {
        world.is_named("relay 0", "the lane is away")
    });
    world.lanes.away.store(false, Ordering::Release);
    world.must_tell(10..20);
    world.must_be_whole();
}

#[test]
fn a_component_that_stopped_for_good_makes_its_process_unready() {
    let progress = Progress::default();
    progress.set_failed("partition 3", "a thread cannot be started");
    assert!(
        progress
            .unready()
            .iter()
            .any(|why| why == "partition 3: a thread cannot be started"),
        "{:?}",
        progress.unready()
    );
    assert_eq!(
        progress.failures(),
        ["partition 3 stopped: a thread cannot be started"]
    );
}
