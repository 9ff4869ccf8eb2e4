//! What log and store must do when the partition count changes.

use anyhow::{Result, ensure};
use theatre_actors::ports::*;
use theatre_actors::position::Positions;
use theatre_actors::time::LogTime;

use super::log::values;
use super::{commit, record, save};
use crate::unique;

/// Topics grow, keep what they hold, and never shrink.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn log_grows_topics(log: &dyn EventLog) -> Result<()> {
    let (topics, missing, small) = (
        ["grown", "also"].map(unique),
        unique("missing"),
        unique("small"),
    );
    let [grown, also] = topics.each_ref().map(String::as_str);
    log.ensure_topics(&topics, 2)?;
    log.append(grown, 1, &[record("before")])?;
    let mut reader = log.reader(grown, 1, 0)?;
    ensure!(
        matches!(
            log.append(grown, 3, &[record("early")]),
            Err(Error::Refused(_))
        ),
        "there is no such partition yet"
    );
    let with_missing = [topics[0].clone(), topics[1].clone(), missing.clone()];
    log.grow_topics(&with_missing, 4)?;
    log.grow_topics(&with_missing, 4)?;
    ensure!(log.partitions(grown)? == Some(4) && log.partitions(also)? == Some(4));
    ensure!(
        log.partitions(&missing)?.is_none(),
        "what is missing is not made"
    );
    ensure!(
        matches!(log.grow_topics(&topics, 3), Err(Error::Refused(_))),
        "a log cannot take partitions back"
    );
    log.ensure_topics(std::slice::from_ref(&small), 1)?;
    ensure!(
        log.grow_topics(&[small.clone(), topics[0].clone()], 3)
            .is_err()
            && log.partitions(&small)? == Some(1),
        "all or none"
    );
    log.ensure_topics(&topics, 4)?;
    ensure!(log.ensure_topics(&topics, 2).is_err());
    ensure!(
        log.range(grown, 1)? == LogRange { start: 0, end: 1 }
            && log.range(grown, 3)? == LogRange { start: 0, end: 0 }
    );
    ensure!(
        log.append(grown, 3, &[record("after")])? == 0
            && log.append(grown, 1, &[record("after")])? == 1,
        "offsets go on"
    );
    ensure!(log.append(grown, 0, &[record("x")])? == 0 && values(log, grown, 0)?.len() == 1);
    let mut seen = 0;
    while seen < 2 {
        reader.poll(
            PollLimit {
                records: 10,
                bytes: usize::MAX,
            },
            &mut |_| seen += 1,
        )?;
    }
    let mut lane = log.open_lane(3, Lane::Results, 1)?;
    lane.publish(
        &[Outgoing {
            topic: also.to_owned(),
            partition: 3,
            record: record("told"),
        }],
        1,
    )?;
    ensure!(
        lane.position()? == 1,
        "a new partition has lanes of its own"
    );
    Ok(())
}

/// A store of two partitions: robots r and s in the first, t in the second, each with an intake
/// processor, and a home that was claimed for nothing.
fn two_partitions(store: &dyn CheckpointStore) -> Result<[Epoch; 2]> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    let (first, second) = (store.acquire(0)?, store.acquire(1)?);
    store.claim_homes(0, first, &["r", "s"])?;
    store.claim_homes(1, second, &["t", "ghost"])?;
    let in_first = commit(
        first,
        vec![
            save("", 3, &[]),
            save("r", 7, &[("r1", 0)]),
            save("s", 2, &[("s1", 0)]),
        ],
        40,
    );
    let mut in_second = commit(
        second,
        vec![save("", 1, &[]), save("t", 5, &[("t1", 0)])],
        50,
    );
    in_second.partition = 1;
    store.commit(&[in_first, in_second], LogTime(5))?;
    for (partition, epoch) in [(0, first), (1, second)] {
        let cut = LakeCut {
            cut_number: 1,
            positions: Positions::from(vec![40]),
            state: vec![partition as u8],
            files: Vec::new(),
        };
        store.commit_cut(partition, epoch, &cut)?;
    }
    Ok([first, second])
}

fn moving(robot: &str, from: u32, to: u32) -> ProcessorMove {
    ProcessorMove {
        robot: robot.to_owned(),
        from,
        to,
        positions: Positions::from(vec![u64::from(to)]),
        state: vec![77],
    }
}

fn change(epochs: [Epoch; 2]) -> Repartition {
    Repartition {
        ended: PastLayout {
            partitions: 2,
            ended_at: vec![Positions::from(vec![40]), Positions::from(vec![50])],
        },
        partitions: 4,
        epochs: epochs.to_vec(),
        moves: vec![moving("r", 0, 3), moving("t", 1, 0)],
        lake_states: vec![(0, vec![10]), (3, vec![13])],
    }
}

/// A partition's status, processors and lake state.
type Present = (PartitionStatus, Vec<StoredProcessor>, Vec<u8>);

/// All that a repartition may change.
fn present(store: &dyn CheckpointStore) -> Result<Vec<Present>> {
    (0..4)
        .map(|partition| {
            Ok((
                store.status(partition)?,
                store.processors(partition)?,
                store.lake_state(partition)?,
            ))
        })
        .collect()
}

/// A repartition moves processors, homes and lake states, fences everybody, and is all or nothing.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_repartitions(store: &dyn CheckpointStore) -> Result<()> {
    let epochs = two_partitions(store)?;
    let good = change(epochs);
    let before = present(store)?;
    let stale = store.repartition(&change([epochs[0], epochs[1] + 1]));
    ensure!(
        matches!(stale, Err(Error::StaleEpoch { partition: 1, .. })),
        "what was read under another epoch is refused: {stale:?}"
    );
    let without = |robot: &str, from, to| Repartition {
        moves: vec![moving("t", 1, 0), moving(robot, from, to)],
        ..good.clone()
    };
    for bad in [
        without("missing", 0, 3),
        without("r", 1, 3),
        without("", 0, 1),
        Repartition {
            partitions: 1,
            ..good.clone()
        },
    ] {
        ensure!(
            matches!(store.repartition(&bad), Err(Error::Refused(_))),
            "{bad:?}"
        );
    }
    let other = Repartition {
        ended: PastLayout {
            partitions: 3,
            ..good.ended.clone()
        },
        ..good.clone()
    };
    ensure!(
        matches!(store.repartition(&other), Err(Error::Refused(_))),
        "another count than the store's"
    );
    ensure!(
        present(store)? == before && store.past_layouts()?.is_empty(),
        "a refused change leaves nothing"
    );
    ensure!(store.layout()? == Some((vec!["a".to_owned()], 2)));

    store.repartition(&good)?;
    let after = present(store)?;
    store.repartition(&good)?;
    ensure!(
        present(store)? == after,
        "a change of unknown fate can be repeated"
    );
    ensure!(
        store.layout()? == Some((vec!["a".to_owned()], 4))
            && store.past_layouts()? == [good.ended.clone()]
    );
    ensure!(store.ensure_layout(&["a".to_owned()], 2).is_err());
    store.ensure_layout(&["a".to_owned()], 4)?;
    for (partition, (status, processors, _)) in (0..).zip(&after) {
        let known = epochs.get(partition).copied().unwrap_or(0);
        ensure!(
            status.epoch > known,
            "partition {partition} is fenced: {status:?}"
        );
        let names: Vec<&str> = processors
            .iter()
            .map(|processor| processor.processor.as_str())
            .collect();
        let expected: &[&str] = [["", "s", "t"].as_slice(), &[""], &[], &["r"]][partition];
        ensure!(names == expected, "partition {partition}: {names:?}");
    }
    let stored = |processor: &str, save_number, to| StoredProcessor {
        processor: processor.to_owned(),
        save_number,
        positions: Positions::from(vec![to]),
        state: vec![77],
        saved_at: LogTime(5),
    };
    ensure!(
        store.processor(3, "r")? == Some(stored("r", 7, 3))
            && store.processor(0, "t")? == Some(stored("t", 5, 0)),
        "save numbers are kept"
    );
    ensure!(
        after
            .iter()
            .map(|(.., lake)| lake.as_slice())
            .eq([[10].as_slice(), &[1], &[], &[13]]),
        "lake states"
    );
    ensure!(
        after[0].0.floor.get(0) == 40
            && after[3].0
                == PartitionStatus {
                    epoch: after[3].0.epoch,
                    ..PartitionStatus::default()
                }
    );
    ensure!(
        store.outputs_after(0, 0, 9)?.len() == 2 && store.outputs_after(3, 0, 9)?.is_empty(),
        "outputs stay where they are"
    );
    goes_on(store, epochs, after[3].0.epoch, after[0].0.epoch)
}

/// What comes after a repartition.
fn goes_on(
    store: &dyn CheckpointStore,
    old: [Epoch; 2],
    in_fourth: Epoch,
    in_first: Epoch,
) -> Result<()> {
    let late = store.commit(&[commit(old[0], vec![save("s", 3, &[])], 41)], LogTime(6))?;
    ensure!(
        matches!(late[0], CommitOutcome::Stale { .. }),
        "an owner from before is fenced"
    );
    ensure!(
        store.claim_homes(3, in_fourth, &["r", "s", "t"])? == [3, 0, 0],
        "homes moved with their robots"
    );
    ensure!(
        store.claim_homes(3, in_fourth, &["ghost"])? == [3],
        "a claim without a processor is forgotten"
    );
    let mut news = commit(
        in_fourth,
        vec![save("r", 7, &[("old", 0)]), save("r", 8, &[("r2", 0)])],
        1,
    );
    news.partition = 3;
    let done = store.commit(&[news], LogTime(7))?;
    ensure!(
        done == [CommitOutcome::Committed {
            last_output: 1,
            last_dead: 0
        }],
        "a new partition numbers from 1, a save that is there is skipped: {done:?}"
    );
    let found = store.find_outputs(&OutputFilter {
        robot_id: Some("r".to_owned()),
        ..OutputFilter::default()
    })?;
    ensure!(
        found
            .iter()
            .map(|output| (output.partition, output.output.id.as_str()))
            .eq([(0, "r1"), (3, "r2")]),
        "a robot's outputs, old and new: {found:?}"
    );
    let epochs = vec![
        in_first,
        store.status(1)?.epoch,
        store.acquire(2)?,
        in_fourth,
    ];
    let again = Repartition {
        ended: PastLayout {
            partitions: 4,
            ended_at: vec![Positions::zero(); 4],
        },
        partitions: 5,
        epochs,
        moves: vec![moving("r", 3, 4)],
        lake_states: Vec::new(),
    };
    store.repartition(&again)?;
    ensure!(
        store
            .past_layouts()?
            .iter()
            .map(|layout| layout.partitions)
            .eq([2, 4])
            && store
                .processor(4, "r")?
                .is_some_and(|processor| processor.save_number == 8)
    );
    Ok(())
}
