//! A site of tests: a log and a store in memory, in which records have died.

use std::cell::Cell;
use std::sync::Arc;

use theatre_actors::outputs::{DeadReason, DeadRow};
use theatre_actors::ports::{
    CheckpointStore, EventLog, NewRecord, PartitionCommit, PollLimit, ProcessorSave,
};
use theatre_actors::position::{Partition, Positions, TopicIndex};
use theatre_actors::time::LogTime;
use theatre_config::Config;
use theatre_config::inputs::NoSources;
use theatre_pipeline::PipelineParams;
use theatre_system::clock::SystemClock;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;

pub(crate) const PARTITIONS: u32 = 2;

pub(crate) struct Site {
    pub(crate) params: PipelineParams,
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryStore,
    saves: Cell<u64>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with_key([0; 32])
    }

    /// With another key of seals.
    pub(crate) fn with_key(key: [u8; 32]) -> Self {
        let config = Config {
            partitions: PARTITIONS,
            ..Config::default()
        };
        let clock: Arc<dyn theatre_actors::time::Clock> = Arc::new(SystemClock);
        let params = PipelineParams::from_config(&config, key, &NoSources, &clock).unwrap();
        let log = MemoryLog::new(clock);
        log.ensure_topics(&params.topics, PARTITIONS).unwrap();
        let store = MemoryStore::default();
        store.ensure_layout(&params.topics, PARTITIONS).unwrap();
        Self {
            params,
            log,
            store,
            saves: Cell::new(0),
        }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.params.topics[0]
    }

    /// Appends a record that cannot be read.
    pub(crate) fn append(&self, partition: Partition, value: &[u8]) -> u64 {
        let record = NewRecord {
            key: b"r".to_vec(),
            value: value.to_vec(),
            headers: Vec::new(),
        };
        self.log.append(self.topic(), partition, &[record]).unwrap()
    }

    /// Has the record at an offset die.
    pub(crate) fn bury(&self, partition: Partition, offset: u64) {
        let (key, value) = self.records(partition)[offset as usize].clone();
        assert_eq!(key, b"r");
        self.bury_as(partition, offset, &value, DeadReason::BadFrame);
    }

    pub(crate) fn bury_as(
        &self,
        partition: Partition,
        offset: u64,
        value: &[u8],
        reason: DeadReason,
    ) {
        self.bury_of(0, (partition, offset), value, reason);
    }

    /// Has a record of any input topic die.
    pub(crate) fn bury_of(
        &self,
        topic: TopicIndex,
        (partition, offset): (Partition, u64),
        value: &[u8],
        reason: DeadReason,
    ) {
        use sha2::Digest;
        self.saves.set(self.saves.get() + 1);
        let dead = DeadRow {
            topic,
            offset,
            append_time: 1_000 + offset as i64,
            reason,
            detail: "why".to_owned(),
            robot_id: None,
            schema_id: None,
            payload: self.params.pseudonyms.seal(value),
            sealed: true,
            size: value.len() as u64,
            sha256: format!("{:x}", sha2::Sha256::digest(value)),
        };
        let save = ProcessorSave {
            processor: String::new(),
            save_number: self.saves.get(),
            positions: Positions::zero(),
            state: Vec::new(),
            outputs: Vec::new(),
            dead: vec![dead],
        };
        let commit = PartitionCommit {
            partition,
            epoch: self.store.acquire(partition).unwrap(),
            processors: vec![save],
            floor: Positions::zero(),
        };
        self.store.commit(&[commit], LogTime(1)).unwrap();
    }

    /// Keys and values that the first topic has.
    pub(crate) fn records(&self, partition: Partition) -> Vec<(Vec<u8>, Vec<u8>)> {
        let start = self.log.range(self.topic(), partition).unwrap().start;
        let mut reader = self.log.reader(self.topic(), partition, start).unwrap();
        let limit = PollLimit {
            records: usize::MAX,
            bytes: usize::MAX,
        };
        let mut found = Vec::new();
        reader
            .poll(limit, &mut |record| {
                found.push((record.key.to_vec(), record.value.to_vec()));
            })
            .unwrap();
        found
    }
}
