//! What a load that fails holds up, on the ports' twins.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use theatre_actors::ports::{
    CheckpointStore, FileStage, Lake, LakeCut, LakeFile, QueryResult, TableSpec, Warehouse,
};
use theatre_actors::position::Positions;

use super::*;
use theatre_system::clock::SystemClock;
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;

/// Fails whatever holds one of these files, for no reason that anybody knows.
#[derive(Default)]
struct Moody {
    odd: Mutex<HashSet<String>>,
    /// The files of all batches in the order in which they were tried.
    tried: Mutex<Vec<Vec<String>>>,
    /// More rows that its ledger tells of each batch.
    others: AtomicU64,
}

impl Warehouse for Moody {
    fn ensure_tables(&self, _: &[TableSpec]) -> Result<()> {
        Ok(())
    }

    fn load(&self, batch: &LoadBatch, _: &dyn Lake) -> Result<LoadReceipt> {
        let paths: Vec<String> = batch
            .files
            .iter()
            .map(|file| file.file.path.clone())
            .collect();
        let odd = paths
            .iter()
            .any(|path| self.odd.lock().unwrap().contains(path));
        self.tried.lock().unwrap().push(paths);
        if odd {
            Err(Error::Unavailable {
                what: "warehouse",
                why: "code 1000".to_owned(),
            })
        } else {
            Ok(LoadReceipt {
                batch: batch.id.clone(),
                rows: batch.files.len() as u64 + self.others.load(Ordering::Acquire),
            })
        }
    }

    fn receipt(&self, _: &str) -> Result<Option<LoadReceipt>> {
        Ok(None)
    }

    fn query(&self, _: &str) -> Result<QueryResult> {
        Err(Error::Refused("nothing to see".to_owned()))
    }
}

struct World {
    store: Arc<MemoryStore>,
    warehouse: Arc<Moody>,
    loader: Loader,
    epoch: Epoch,
    cuts: u64,
}

impl World {
    /// A partition with these files, named by dataset and number (`t1`); batches have two files at
    /// most.
    fn new(files: &[&str], odd: &[&str]) -> Self {
        let (store, warehouse) = (Arc::new(MemoryStore::default()), Arc::new(Moody::default()));
        store.ensure_layout(&["a".to_owned()], 1).unwrap();
        let epoch = store.acquire(0).unwrap();
        let clock = Arc::new(SystemClock);
        let log = Arc::new(MemoryLog::new(clock.clone()));
        let ports = Ports {
            log,
            store: store.clone(),
            lake: Arc::new(MemoryLake::default()),
            warehouse: warehouse.clone(),
            clock,
        };
        let mut world = Self {
            store,
            warehouse,
            loader: Loader::new(0, epoch, ports, 2),
            epoch,
            cuts: 0,
        };
        world
            .warehouse
            .odd
            .lock()
            .unwrap()
            .extend(odd.iter().map(|path| (*path).to_owned()));
        world.add(files);
        world
    }

    fn add(&mut self, paths: &[&str]) {
        self.cuts += 1;
        let file = |path: &&str| LakeFile {
            path: (*path).to_owned(),
            upload: String::new(),
            dataset: path[..1].to_owned(),
            rows: 1,
            bytes: 1,
            event_time_min: 0,
            event_time_max: 0,
            erased: Vec::new(),
            erasing: Vec::new(),
        };
        let cut = LakeCut {
            cut_number: self.cuts,
            positions: Positions::zero(),
            state: Vec::new(),
            files: paths.iter().map(file).collect(),
        };
        self.store.commit_cut(0, self.epoch, &cut).unwrap();
        let all: Vec<u64> = self
            .store
            .all_files()
            .unwrap()
            .iter()
            .map(|file| file.number)
            .collect();
        self.store.mark_completed(0, self.epoch, &all).unwrap();
    }

    /// Steps so often; says what was tried.
    fn steps(&mut self, count: usize) -> Vec<String> {
        self.warehouse.tried.lock().unwrap().clear();
        for _ in 0..count {
            match self.loader.step() {
                Ok(_) | Err(Error::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.warehouse
            .tried
            .lock()
            .unwrap()
            .iter()
            .map(|files| files.join(" "))
            .collect()
    }

    fn unloaded(&self) -> Vec<String> {
        let left = self
            .store
            .all_files()
            .unwrap()
            .into_iter()
            .filter(|file| file.stage != FileStage::Loaded);
        left.map(|file| file.file.path).collect()
    }
}

#[test]
fn other_datasets_and_batches_go_ahead_of_one_that_cannot_be_loaded() {
    let mut world = World::new(&["t1", "t2", "t3", "u1", "t4", "v1"], &["t2"]);
    assert_eq!(
        world.steps(4),
        ["t1 t2", "u1", "v1", "t3 t4"],
        "others first, then its own dataset"
    );
    let said = world.loader.stuck().expect("it says so");
    assert!(
        said.contains("t-p0-1-2x2") && said.contains("code 1000"),
        "{said}"
    );
    assert_eq!(
        world.steps(3),
        ["t1 t2"; 3],
        "it is tried again, with the same files"
    );
    assert_eq!(
        world
            .loader
            .step()
            .err()
            .map(|error| error.to_string())
            .as_deref(),
        Some("warehouse is unavailable: code 1000")
    );
    assert_eq!(world.unloaded(), ["t1", "t2"]);
    world.add(&["t5", "u2"]);
    assert_eq!(world.steps(3), ["u2", "t5", "t1 t2"]);
    world.warehouse.odd.lock().unwrap().clear();
    assert_eq!(world.steps(2), ["t1 t2"], "put right, it is loaded");
    assert_eq!((world.unloaded(), world.loader.stuck()), (Vec::new(), None));
    assert_eq!(world.loader.step(), Ok((Step::Idle, 0)));
}

#[test]
fn a_dataset_that_fails_as_a_whole_is_not_cut_into_ever_more_batches() {
    let names: Vec<String> = (1..=9)
        .flat_map(|number| [format!("t{number}"), format!("t{number}b")])
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names, &names);
    world.add(&["u1"]);
    assert_eq!(
        world.steps(6),
        ["t1 t1b", "u1", "t2 t2b", "t3 t3b", "t4 t4b", "t1 t1b"]
    );
    assert_eq!(
        world.steps(4),
        ["t2 t2b", "t3 t3b", "t4 t4b", "t1 t1b"],
        "each has its turn"
    );
    world.warehouse.odd.lock().unwrap().clear();
    assert_eq!(world.steps(30).len(), 9, "each once");
    assert_eq!(world.unloaded(), Vec::<String>::new());
}

#[test]
fn what_is_stuck_has_its_turn_however_much_there_is_to_load() {
    let names: Vec<String> = (0..200).map(|number| format!("u{number}")).collect();
    let mut world = World::new(&["t1"], &["t1"]);
    world.add(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let tried = world.steps(60);
    let turns: Vec<usize> = tried
        .iter()
        .enumerate()
        .filter(|(_, files)| *files == "t1")
        .map(|(at, _)| at)
        .collect();
    // After 4 others, then 8, then 16 and no more.
    assert_eq!(turns, [0, 5, 14, 31, 48]);
}

#[test]
fn a_batch_of_another_store_with_the_same_id_is_not_taken_for_ours() {
    let mut world = World::new(&["a1", "a2"], &[]);
    world.warehouse.others.store(5, Ordering::Release);
    let error = world.loader.step().unwrap_err().to_string();
    assert!(
        error.contains("with 7 rows, the batch's files have 2"),
        "{error}"
    );
    assert!(
        world
            .store
            .all_files()
            .unwrap()
            .iter()
            .all(|file| file.stage == FileStage::Completed),
        "nothing is loaded"
    );
    world.warehouse.others.store(0, Ordering::Release);
    assert_eq!(world.loader.step(), Ok((Step::Worked, 2)));
}
