//! The checkpointer: what one partition cannot have stored does not keep the others from being
//! saved.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::{
    CheckpointStore, CommitOutcome, Error, PartitionCommit, ProcessorSave,
};
use theatre_actors::position::{Partition, Positions};
use theatre_config::Config;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_pipeline::checkpointer::Checkpointer;
use theatre_pipeline::commit_feed::CommitFeed;
use theatre_pipeline::queue::{CommitQueue, Urgency};
use theatre_pipeline::{Ports, Progress, Step};
use theatre_system::clock::SystemClock;
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;

fn commit(partition: Partition, epoch: u64, number: u64, output: &str) -> PartitionCommit {
    let output = OutputEvent {
        kind: OutputKind::Alert,
        robot_id: "r".to_owned(),
        id: output.to_owned(),
        subject: "rule".to_owned(),
        revision: 0,
        event_time: 0,
        payload: vec![1],
    };
    let save = ProcessorSave {
        processor: format!("r{partition}"),
        save_number: number,
        positions: Positions::from(vec![number]),
        state: vec![1],
        outputs: vec![output],
        dead: Vec::new(),
    };
    PartitionCommit {
        partition,
        epoch,
        processors: vec![save],
        floor: Positions::from(vec![number]),
    }
}

#[test]
fn a_commit_that_is_refused_stops_its_own_partition_only() -> Result<()> {
    let (folder, clock, store) = (
        tempfile::tempdir()?,
        Arc::new(SystemClock),
        Arc::new(MemoryStore::default()),
    );
    let params = theatre::adapters::params(&Config::default(), &DataDir::new("unused"), [0; 32])?;
    let ports = Ports {
        log: Arc::new(MemoryLog::new(clock.clone())),
        store: store.clone(),
        lake: Arc::new(MemoryLake::default()),
        warehouse: Arc::new(EmbeddedWarehouse::open(&folder.path().join("warehouse"))?),
        clock,
    };
    store.ensure_layout(&params.topics, params.partitions)?;
    let epochs = [store.acquire(0)?, store.acquire(1)?, store.acquire(2)?];
    let queue = Arc::new(CommitQueue::default());
    let mut checkpointer = Checkpointer::new(
        &params,
        ports,
        queue.clone(),
        Arc::new(CommitFeed::default()),
        Arc::new(Progress::default()),
    );
    queue.submit(commit(0, epochs[0], 1, "published"), Urgency::Routine);
    while checkpointer.step()? == Step::Worked {}
    ensure!(matches!(
        queue.outcome(0),
        Some(Ok(CommitOutcome::Committed { last_output: 1, .. }))
    ));

    queue.submit(commit(1, epochs[1], 1, "one"), Urgency::Routine);
    queue.submit(commit(0, epochs[0], 2, "published"), Urgency::Routine);
    queue.submit(commit(2, epochs[2], 1, "two"), Urgency::Routine);
    while checkpointer.step()? == Step::Worked {}
    let refused = queue.outcome(0).context("it is answered")?;
    ensure!(
        matches!(&refused, Err(Error::Refused(why)) if why.contains("published")),
        "{refused:?}"
    );
    for partition in [1, 2] {
        let saved = queue.outcome(partition).context("it is answered")?;
        ensure!(
            matches!(saved, Ok(CommitOutcome::Committed { last_output: 1, .. })),
            "partition {partition}: {saved:?}"
        );
    }
    ensure!(
        store
            .processor(0, "r0")?
            .is_some_and(|processor| processor.save_number == 1),
        "nothing of the refused commit stays"
    );
    Ok(())
}
