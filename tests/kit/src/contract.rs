//! The contract of each port, as functions over the trait: what every adapter must do, without a
//! branch for any of them.

use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use theatre_actors::outputs::{DeadReason, DeadRow, OutputEvent, OutputKind};
use theatre_actors::ports::*;
use theatre_actors::position::Positions;
use theatre_actors::time::LogTime;
use theatre_parquet::file_schema;
use theatre_parquet::writer::FileWriter;

use crate::unique;

pub mod access;
mod dead_letters;
mod erasure;
mod outcomes;
mod pages;
mod repartition;
mod undelivered;
mod widening;

pub use dead_letters::store_keeps_what_is_done_about_dead_letters;
pub use erasure::{lake_replaces, store_revises_files, warehouse_erases};
pub use outcomes::warehouse_tells_cases_apart;
pub use pages::store_gives_pages;
pub use repartition::{log_grows_topics, store_repartitions};
pub use undelivered::store_keeps_what_was_not_delivered;
pub use widening::warehouse_widens;

const ALL: PollLimit = PollLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

fn record(text: &str) -> NewRecord {
    NewRecord {
        key: text.as_bytes().to_vec(),
        value: text.as_bytes().to_vec(),
        headers: vec![("name".to_owned(), text.to_owned())],
    }
}

fn values(log: &dyn EventLog, topic: &str, from: u64) -> Result<Vec<(u64, i64, String)>> {
    let mut seen = Vec::new();
    let mut reader = log.reader(topic, 0, from)?;
    loop {
        let end = reader.poll(ALL, &mut |record| {
            seen.push((
                record.offset,
                record.append_time.0,
                String::from_utf8_lossy(record.value).into_owned(),
            ))
        })?;
        if end.at_end {
            return Ok(seen);
        }
    }
}

/// The first poll that brings something; a log may fetch in the background.
fn poll_some(reader: &mut dyn LogReader, limit: PollLimit) -> Result<PollEnd> {
    for _ in 0..10_000 {
        let mut seen = 0;
        let end = reader.poll(limit, &mut |_| seen += 1)?;
        if seen > 0 {
            return Ok(end);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    anyhow::bail!("nothing comes, though there are records")
}

/// Topics, appends, readers, limits, trimming. The log may have been used before: topics have names
/// that no other test has.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn log_keeps_records(log: &dyn EventLog) -> Result<()> {
    let topics = ["a", "b"].map(unique);
    let [a, b] = topics.each_ref().map(String::as_str);
    log.ensure_topics(&topics, 2)?;
    log.ensure_topics(&topics, 2)?;
    ensure!(
        matches!(log.ensure_topics(&topics, 3), Err(Error::Refused(_))),
        "another partition count is refused"
    );
    let late = unique("late");
    ensure!(
        log.ensure_topics(&[late.clone(), a.to_owned()], 3).is_err()
            && log.partitions(&late)?.is_none(),
        "and nothing is made beside it"
    );
    ensure!(log.partitions(a)? == Some(2) && log.partitions(&unique("missing"))?.is_none());
    ensure!(
        matches!(log.append(a, 2, &[record("x")]), Err(Error::Refused(_))),
        "there is no such partition"
    );
    ensure!(log.append(a, 0, &[record("1"), record("2")])? == 0);
    ensure!(log.append(b, 0, &[record("other")])? == 0);
    ensure!(log.append(a, 0, &[record("3")])? == 2, "offsets go on");
    let seen = values(log, a, 0)?;
    ensure!(
        seen.iter()
            .map(|(offset, _, value)| (*offset, value.as_str()))
            .eq([(0, "1"), (1, "2"), (2, "3")]),
        "{seen:?}"
    );
    ensure!(
        seen.windows(2).all(|pair| pair[0].1 <= pair[1].1),
        "append times never descend"
    );
    ensure!(
        values(log, a, 2)?.len() == 1,
        "a reader begins where it is told"
    );

    let at_third = seen
        .iter()
        .find(|record| record.1 == seen[2].1)
        .map_or(2, |record| record.0);
    let (first, third) = (LogTime(seen[0].1), LogTime(seen[2].1));
    ensure!(
        log.offset_at(a, 0, first)? == 0 && log.offset_at(a, 0, third)? == at_third,
        "offsets are found by append time"
    );
    ensure!(
        log.offset_at(a, 0, LogTime(third.0 + 1))? == 3 && log.offset_at(b, 1, first)? == 0,
        "the end, when nothing came later"
    );
    let mut reader = log.reader(a, 0, 0)?;
    let one = PollLimit {
        records: 1,
        bytes: usize::MAX,
    };
    let end = poll_some(&mut *reader, one)?;
    ensure!(
        end.next_offset == 1 && !end.at_end && end.end_offset == 3,
        "{end:?}"
    );
    let tiny = PollLimit {
        records: 10,
        bytes: 1,
    };
    ensure!(
        poll_some(&mut *reader, tiny)?.next_offset == 2,
        "at least one record, however large"
    );
    poll_some(&mut *reader, ALL)?;
    while !reader.poll(ALL, &mut |_| {})?.at_end {}
    ensure!(
        reader.poll(ALL, &mut |_| {})?.at_end,
        "an empty poll is at the end"
    );
    log.append(
        a,
        0,
        &[
            NewRecord {
                value: vec![7; 10 << 20],
                ..NewRecord::default()
            },
            record("after"),
        ],
    )?;
    let mut sizes = Vec::new();
    while sizes.len() < 2 {
        reader.poll(ALL, &mut |record| sizes.push(record.value.len()))?;
    }
    ensure!(
        sizes == [10 << 20, 5],
        "a record of 10 MiB goes through: {sizes:?}"
    );

    log.trim(a, 0, 3)?;
    let range = log.range(a, 0)?;
    ensure!(range.start <= 3 && range.end == 5, "{range:?}");
    if range.start > 0 {
        let trimmed = log.reader(a, 0, 0)?.poll(ALL, &mut |_| {});
        ensure!(
            matches!(trimmed, Err(Error::Trimmed { .. })),
            "what was trimmed is not passed over in silence"
        );
    }
    Ok(())
}

/// Lanes: position and records together, one publisher at a time. Those of partition 0 were not
/// used before.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn log_fences_lanes(log: &dyn EventLog) -> Result<()> {
    let out = unique("out");
    log.ensure_topics(std::slice::from_ref(&out), 1)?;
    let outgoing = |text: &str| Outgoing {
        topic: out.clone(),
        partition: 0,
        record: record(text),
    };
    let mut first = log.open_lane(0, Lane::Results, 1)?;
    ensure!(first.position()? == 0);
    first.publish(&[outgoing("1"), outgoing("2")], 7)?;
    ensure!(first.position()? == 7);
    let missing = Outgoing {
        topic: unique("missing"),
        ..outgoing("3")
    };
    ensure!(
        first.publish(&[outgoing("3"), missing], 9).is_err() && first.position()? == 7,
        "both or neither"
    );
    ensure!(values(log, &out, 0)?.len() == 2, "both or neither");
    let mut second = log.open_lane(0, Lane::Results, 2)?;
    ensure!(second.position()? == 7, "the position stays");
    ensure!(
        matches!(
            first.publish(&[outgoing("x")], 8),
            Err(Error::StaleEpoch { .. })
        ),
        "the predecessor is fenced"
    );
    ensure!(
        matches!(
            log.open_lane(0, Lane::Results, 1),
            Err(Error::StaleEpoch { .. })
        ),
        "and cannot come back"
    );
    ensure!(
        log.open_lane(0, Lane::DeadLetters, 1)?.position()? == 0,
        "lanes are apart"
    );
    second.publish(&[outgoing("3")], 8)?;
    ensure!(values(log, &out, 0)?.len() == 3);
    Ok(())
}

fn save(processor: &str, number: u64, outputs: &[(&str, u32)]) -> ProcessorSave {
    let output = |(id, revision): &(&str, u32)| OutputEvent {
        kind: OutputKind::Alert,
        robot_id: processor.to_owned(),
        id: (*id).to_owned(),
        subject: "rule".to_owned(),
        revision: *revision,
        event_time: 5,
        payload: vec![1],
    };
    ProcessorSave {
        processor: processor.to_owned(),
        save_number: number,
        positions: Positions::from(vec![number]),
        state: vec![number as u8],
        outputs: outputs.iter().map(output).collect(),
        dead: Vec::new(),
    }
}

fn commit(epoch: Epoch, processors: Vec<ProcessorSave>, floor: u64) -> PartitionCommit {
    PartitionCommit {
        partition: 0,
        epoch,
        processors,
        floor: Positions::from(vec![floor]),
    }
}

/// Epochs, saves and outputs.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_commits_once_and_fences(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    ensure!(
        store.ensure_layout(&["a".to_owned()], 3).is_err()
            && store.ensure_layout(&["b".to_owned()], 2).is_err(),
        "another layout is refused"
    );
    store.ensure_layout(&["a".to_owned(), "b".to_owned()], 2)?;
    let (first, other) = (store.acquire(0)?, store.acquire(1)?);
    let mut with_dead = save("r", 1, &[("c", 0), ("c", 1)]);
    with_dead.dead.push(DeadRow {
        topic: 0,
        offset: 4,
        append_time: 0,
        reason: DeadReason::Late,
        detail: String::new(),
        robot_id: None,
        schema_id: None,
        payload: vec![],
        sealed: false,
        size: 0,
        sha256: String::new(),
    });
    let once = commit(first, vec![with_dead], 3);
    let done = store.commit(std::slice::from_ref(&once), LogTime(9))?;
    ensure!(
        done == [CommitOutcome::Committed {
            last_output: 2,
            last_dead: 1
        }],
        "{done:?}"
    );
    ensure!(
        store.commit(&[once], LogTime(9))? == done,
        "a commit of unknown fate can be repeated"
    );
    let outputs = store.outputs_after(0, 0, 10)?;
    ensure!(
        outputs.iter().map(|output| output.sequence).eq([1, 2])
            && store.outputs_after(0, 1, 10)?.len() == 1,
        "numbers are dense"
    );
    ensure!(store.dead_after(0, 0, 10)?.len() == 1);
    store.commit(&[commit(first, vec![], 1)], LogTime(9))?;
    ensure!(
        store.status(0)?.floor.get(0) == 3,
        "the floor never moves back"
    );
    ensure!(
        store
            .commit(
                &[commit(first, vec![save("r", 2, &[("c", 1)])], 3)],
                LogTime(9)
            )
            .is_err(),
        "the same output twice is a bug that is reported"
    );
    ensure!(
        store
            .processor(0, "r")?
            .is_some_and(|processor| processor.save_number == 1),
        "and nothing of such a commit stays"
    );

    let second = store.acquire(0)?;
    ensure!(second > first);
    let mut elsewhere = commit(other, vec![save("s", 1, &[])], 1);
    elsewhere.partition = 1;
    let mixed = store.commit(
        &[commit(first, vec![save("r", 2, &[])], 9), elsewhere],
        LogTime(9),
    )?;
    ensure!(
        matches!(mixed[0], CommitOutcome::Stale { current } if current == second)
            && matches!(mixed[1], CommitOutcome::Committed { .. }),
        "{mixed:?}"
    );
    ensure!(
        store
            .processor(0, "r")?
            .is_some_and(|processor| processor.save_number == 1)
            && store.processor(1, "s")?.is_some(),
        "the stale part is left out, the rest is committed"
    );
    for stale in [
        store.advance_cursor(0, first, "relay", 2),
        store.mark_completed(0, first, &[1]),
        store.mark_loaded(0, first, "x"),
        store.plan_load(0, first, 1).map(drop),
    ] {
        ensure!(
            matches!(stale, Err(Error::StaleEpoch { .. })),
            "every write is fenced"
        );
    }
    store.advance_cursor(0, second, "relay", 2)?;
    store.advance_cursor(0, second, "relay", 1)?;
    ensure!(
        store.status(0)?.cursors.get("relay") == 2,
        "a consumer's position never moves back"
    );
    Ok(())
}

/// Each consumer of the outbox has a position of its own in each partition, whatever its name.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_keeps_a_position_for_each_consumer(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    let epochs = [store.acquire(0)?, store.acquire(1)?];
    ensure!(
        store.status(0)?.cursors == Cursors::default(),
        "no consumer has delivered anything"
    );
    // More than there is: the store does not ask what a position means.
    for (partition, consumer, position) in [
        (0, "relay", 3),
        (0, "webhook of a customer", 5),
        (1, "relay", 7),
        (0, "search", 0),
    ] {
        store.advance_cursor(partition, epochs[partition as usize], consumer, position)?;
    }
    let export = |consumer: &str, after: u64, up_to: u64| Export {
        consumer: consumer.to_owned(),
        after,
        up_to,
        files: Vec::new(),
    };
    store.commit_export(0, epochs[0], &export("copy", 0, 4))?;
    store.commit_export(0, epochs[0], &export("copy", 4, 6))?;
    store.commit_export(0, epochs[0], &export("search", 0, 1))?;
    for overtaken in [
        export("copy", 4, 7),
        export("other", 1, 2),
        export("relay", 0, 4),
    ] {
        ensure!(
            matches!(
                store.commit_export(0, epochs[0], &overtaken),
                Err(Error::Unavailable { .. })
            ),
            "{overtaken:?}"
        );
    }
    let positions = |partition| -> Result<Vec<(String, u64)>> {
        let cursors = store.status(partition)?.cursors;
        Ok(cursors
            .iter()
            .map(|(name, at)| (name.to_owned(), at))
            .collect())
    };
    let named = |positions: &[(&str, u64)]| -> Vec<(String, u64)> {
        positions
            .iter()
            .map(|(name, at)| ((*name).to_owned(), *at))
            .collect()
    };
    let there = [
        ("copy", 6),
        ("relay", 3),
        ("search", 1),
        ("webhook of a customer", 5),
    ];
    ensure!(positions(0)? == named(&there), "{:?}", positions(0)?);
    ensure!(
        positions(1)? == named(&[("relay", 7)]),
        "{:?}",
        positions(1)?
    );
    ensure!(
        store.acquire(0)? > epochs[0] && positions(0)? == named(&there),
        "they outlive an owner"
    );
    ensure!(matches!(
        store.advance_cursor(0, epochs[0], "relay", 9),
        Err(Error::StaleEpoch { .. })
    ));
    ensure!(matches!(
        store.commit_export(0, epochs[0], &export("copy", 6, 9)),
        Err(Error::StaleEpoch { .. })
    ));
    ensure!(
        positions(0)? == named(&there),
        "a former owner moves nothing"
    );
    Ok(())
}

/// Homes of robots.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_keeps_homes(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    let (first, second) = (store.acquire(0)?, store.acquire(1)?);
    ensure!(store.claim_homes(0, first, &[])?.is_empty());
    ensure!(
        store.claim_homes(0, first, &["b", "a"])? == [0, 0],
        "the partition that asks first is the home"
    );
    ensure!(
        store.claim_homes(0, first, &["a", "b"])? == [0, 0],
        "a claim can be repeated"
    );
    ensure!(
        store.claim_homes(1, second, &["c", "a", "d", "c", "b"])? == [1, 0, 1, 1, 0],
        "a home never changes, and answers keep the order"
    );
    let third = store.acquire(0)?;
    ensure!(
        matches!(store.claim_homes(0, first, &["e"]), Err(Error::StaleEpoch { partition: 0, ours, current }) if (ours, current) == (first, third))
    );
    ensure!(
        store.claim_homes(1, second, &["e"])? == [1],
        "a stale claim left nothing"
    );
    ensure!(
        store.claim_homes(0, third, &["c", "b"])? == [1, 0],
        "a new owner finds the same homes"
    );
    Ok(())
}

/// Names come from outside: any characters, read back as they were, in order of their bytes.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_takes_any_name(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let names = [
        "",
        "\0",
        "\u{1}",
        "\u{1}0",
        "A",
        "a",
        "a\0b",
        "a\u{1}0b",
        "a b'\"\\{},NULL",
        "ä",
        "\u{1F916}",
    ];
    let saves = names
        .iter()
        .rev()
        .map(|name| save(name, 1, &[(name, 0)]))
        .collect();
    store.commit(&[commit(epoch, saves, 1)], LogTime(9))?;
    ensure!(
        store
            .processors(0)?
            .iter()
            .map(|processor| processor.processor.as_str())
            .eq(names),
        "processors in order of their bytes"
    );
    let mut numbers = store.save_numbers(0)?;
    numbers.sort();
    ensure!(
        numbers.iter().map(|(name, _)| name.as_str()).eq(names)
            && numbers.iter().all(|(_, number)| *number == 1),
        "{numbers:?}"
    );
    let asked = ["a\u{1}0b", "no such", "ä", ""];
    let mut found = store.processors_named(0, &asked)?;
    found.sort_by(|left, right| left.processor.cmp(&right.processor));
    let found_names = found.iter().map(|processor| processor.processor.as_str());
    ensure!(found_names.eq(["", "a\u{1}0b", "ä"]), "{found:?}");
    ensure!(
        found.iter().all(|one| store
            .processor(0, &one.processor)
            .is_ok_and(|it| it.as_ref() == Some(one))),
        "{found:?}"
    );
    for name in names {
        ensure!(
            store
                .processor(0, name)?
                .is_some_and(|processor| processor.processor == name),
            "{name:?}"
        );
        let found = store.find_outputs(&OutputFilter {
            robot_id: Some(name.to_owned()),
            ..OutputFilter::default()
        })?;
        ensure!(
            found.len() == 1 && found[0].output.robot_id == name && found[0].output.id == name,
            "{name:?}: {found:?}"
        );
    }
    ensure!(store.claim_homes(0, epoch, &names)? == [0; 11]);
    Ok(())
}

/// Commits that repeat a processor, come again in part, or are not in order; and finding what they
/// left.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_numbers_densely(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 3)?;
    let (zero, two) = (store.acquire(0)?, store.acquire(2)?);
    let mut later = commit(
        two,
        vec![
            save("z", 1, &[("z1", 0)]),
            save("y", 1, &[("y1", 0), ("y2", 0)]),
        ],
        4,
    );
    later.partition = 2;
    let earlier = commit(
        zero,
        vec![
            save("r", 1, &[("r1", 0)]),
            save("s", 1, &[]),
            save("r", 2, &[("r2", 0)]),
            save("r", 1, &[("r9", 0)]),
        ],
        4,
    );
    let done = store.commit(&[later.clone(), earlier], LogTime(5))?;
    ensure!(
        done == [
            CommitOutcome::Committed {
                last_output: 3,
                last_dead: 0
            },
            CommitOutcome::Committed {
                last_output: 2,
                last_dead: 0
            }
        ],
        "{done:?}"
    );
    let ids = |partition| -> Result<Vec<String>> {
        Ok(store
            .outputs_after(partition, 0, 99)?
            .into_iter()
            .map(|output| output.output.id)
            .collect())
    };
    ensure!(
        ids(0)? == ["r1", "r2"] && ids(2)? == ["z1", "y1", "y2"],
        "outputs in the order given, those of an older save left out"
    );
    ensure!(
        store
            .processor(0, "r")?
            .is_some_and(|processor| processor.save_number == 2 && processor.state == [2])
    );
    later.processors[1] = save("y", 2, &[("y3", 0)]);
    ensure!(
        store.commit(&[later], LogTime(6))?
            == [CommitOutcome::Committed {
                last_output: 4,
                last_dead: 0
            }],
        "what is new in a commit that is there in part"
    );
    ensure!(ids(2)? == ["z1", "y1", "y2", "y3"]);
    let twice = store.commit(
        &[commit(zero, vec![save("t", 1, &[("t1", 0), ("t1", 0)])], 4)],
        LogTime(7),
    );
    ensure!(
        matches!(&twice, Err(Error::Refused(why)) if why.contains("'t1'") && why.contains("is there already")),
        "{twice:?}"
    );
    let unknown = store.commit(
        &[PartitionCommit {
            partition: 1,
            ..commit(7, vec![save("u", 1, &[])], 4)
        }],
        LogTime(7),
    )?;
    ensure!(
        unknown == [CommitOutcome::Stale { current: 0 }],
        "a partition that was never acquired: {unknown:?}"
    );
    let newest = store.find_outputs(&OutputFilter {
        limit: 2,
        ..OutputFilter::default()
    })?;
    ensure!(
        newest
            .iter()
            .map(|output| output.output.id.as_str())
            .eq(["r2", "y3"]),
        "the newest by commit, in order: {newest:?}"
    );
    ensure!(
        store
            .find_outputs(&OutputFilter {
                kind: Some(OutputKind::Window),
                ..OutputFilter::default()
            })?
            .is_empty()
    );
    for (id, there) in [("y3", true), ("none", false)] {
        let found = store.find_outputs(&OutputFilter {
            id: Some(id.to_owned()),
            ..OutputFilter::default()
        })?;
        ensure!(
            found.is_empty() != there && found.iter().all(|found| found.output.id == id),
            "{id}: {found:?}"
        );
    }
    ensure!(
        store
            .find_outputs(&OutputFilter {
                from: Some(5),
                until: Some(6),
                subject: Some("rule".to_owned()),
                ..OutputFilter::default()
            })?
            .len()
            == 6
    );
    ensure!(
        store
            .find_outputs(&OutputFilter {
                until: Some(5),
                ..OutputFilter::default()
            })?
            .is_empty(),
        "before, not at"
    );
    Ok(())
}

/// Window revisions that are old enough go; what they are numbered by, and everything else, stays.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_expires_windows(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    for number in 1..=4 {
        let (window, alert) = (format!("w{number}"), format!("a{number}"));
        let mut save = save("r", number, &[(&window, 0), (&alert, 0)]);
        save.outputs[0].kind = OutputKind::Window;
        store.commit(&[commit(epoch, vec![save], 9)], LogTime(number as i64 * 10))?;
    }
    let left = || -> Result<Vec<String>> {
        Ok(store
            .outputs_after(0, 0, 99)?
            .into_iter()
            .map(|stored| stored.output.id)
            .collect())
    };
    let expiry = Expiry {
        before: LogTime(30),
        after: 0,
        up_to: 8,
        limit: 99,
    };
    ensure!(matches!(
        store.expire_outputs(0, epoch + 1, expiry),
        Err(Error::StaleEpoch { .. })
    ));
    ensure!(
        store.expire_outputs(0, epoch, Expiry { up_to: 0, ..expiry })? == 0
            && store.expire_outputs(
                0,
                epoch,
                Expiry {
                    before: LogTime(10),
                    ..expiry
                }
            )? == 0
    );
    ensure!(left()?.len() == 8, "nothing was old enough, or looked at");
    ensure!(
        store.expire_outputs(0, epoch, Expiry { limit: 2, ..expiry })? == 2
            && left()? == ["a1", "w2", "a2", "w3", "a3", "w4", "a4"]
    );
    ensure!(
        store.expire_outputs(
            0,
            epoch,
            Expiry {
                after: 2,
                up_to: 3,
                ..expiry
            }
        )? == 3
            && left()? == ["a1", "a2", "w3", "a3", "w4", "a4"]
    );
    ensure!(
        store.expire_outputs(0, epoch, Expiry { after: 3, ..expiry })? == 4,
        "an alert of that age is passed over"
    );
    ensure!(
        store.expire_outputs(0, epoch, Expiry { after: 4, ..expiry })? == 4 && left()?.len() == 6,
        "what is younger stays"
    );
    let done = store.commit(
        &[commit(epoch, vec![save("r", 5, &[("a5", 0)])], 9)],
        LogTime(50),
    )?;
    ensure!(
        done == [CommitOutcome::Committed {
            last_output: 9,
            last_dead: 0
        }],
        "numbers go on: {done:?}"
    );
    ensure!(
        store
            .outputs_after(0, 4, 2)?
            .iter()
            .map(|stored| stored.sequence)
            .eq([5, 6])
            && store.outputs_after(0, 8, 9)?.len() == 1
    );
    Ok(())
}

fn file(name: &str, dataset: &str) -> LakeFile {
    LakeFile {
        path: name.to_owned(),
        upload: format!("up-{name}"),
        dataset: dataset.to_owned(),
        rows: 1,
        bytes: 1,
        event_time_min: 0,
        event_time_max: 0,
        erased: Vec::new(),
        erasing: Vec::new(),
    }
}

/// Exports follow each other without gap and overlap.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_exports_each_output_once(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let export = |after: u64, up_to: u64| Export {
        consumer: "exporter".to_owned(),
        after,
        up_to,
        files: vec![file(&format!("{after}-{up_to}"), "t")],
    };
    store.commit_export(0, epoch, &export(0, 40))?;
    for overtaken in [export(0, 40), export(0, 50), export(30, 50), export(41, 50)] {
        ensure!(
            matches!(
                store.commit_export(0, epoch, &overtaken),
                Err(Error::Unavailable { .. })
            ),
            "{overtaken:?}"
        );
    }
    ensure!(matches!(
        store.commit_export(0, epoch + 1, &export(40, 50)),
        Err(Error::StaleEpoch { .. })
    ));
    store.commit_export(0, epoch, &export(40, 50))?;
    let paths: Vec<String> = store
        .all_files()?
        .into_iter()
        .map(|file| file.file.path)
        .collect();
    ensure!(
        paths == ["0-40", "40-50"] && store.status(0)?.cursors.get("exporter") == 50,
        "{paths:?}"
    );
    Ok(())
}

/// Files are found by dataset, partition and event times.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_finds_files(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    let dated = |name: &str, dataset: &str, first: i64, last: i64| LakeFile {
        event_time_min: first,
        event_time_max: last,
        ..file(name, dataset)
    };
    for partition in 0..2 {
        let epoch = store.acquire(partition)?;
        let files = [
            dated("early", "t", i64::MIN, -5),
            dated("wide", "t", -7, 20),
            dated("late", "t", 10, i64::MAX),
            dated("other", "u", 0, 9),
        ];
        let cut = LakeCut {
            cut_number: 1,
            positions: Positions::from(vec![5]),
            state: Vec::new(),
            files: files.to_vec(),
        };
        store.commit_cut(partition, epoch, &cut)?;
    }
    let found = |partition, from, until| -> Result<Vec<(u32, String)>> {
        let filter = FileFilter {
            dataset: "t".to_owned(),
            partition,
            from,
            until,
        };
        let files = store.find_files(&filter)?.into_iter();
        Ok(files.map(|it| (it.partition, it.file.path)).collect())
    };
    let expected = |partitions: &[u32], paths: &[&str]| -> Vec<(u32, String)> {
        let of = |partition: &u32| {
            let partition = *partition;
            paths
                .iter()
                .map(move |path| (partition, (*path).to_owned()))
        };
        partitions.iter().flat_map(of).collect()
    };
    for (partition, from, until, paths) in [
        (Some(1), i64::MIN, i64::MAX, &["early", "wide", "late"][..]),
        (Some(1), -5, -4, &["early", "wide"]),
        (Some(0), -4, 10, &["wide"]),
        (None, 20, 21, &["wide", "late"]),
        (None, 21, 30, &["late"]),
        (Some(2), i64::MIN, i64::MAX, &[]),
    ] {
        let partitions = partition.map_or(vec![0, 1], |partition| vec![partition]);
        let (found, expected) = (found(partition, from, until)?, expected(&partitions, paths));
        ensure!(found == expected, "{partition:?} {from} {until}: {found:?}");
    }
    Ok(())
}

/// Cuts, exports, stages, loads and bisection.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_plans_loads(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let cut = LakeCut {
        cut_number: 1,
        positions: Positions::from(vec![5]),
        state: vec![1, 2],
        files: vec![
            file("1", "t"),
            file("2", "t"),
            file("3", "t"),
            file("4", "u"),
        ],
    };
    store.commit_cut(0, epoch, &cut)?;
    // Made by a writer that looked before it was in, and from more of the log: refused, so that it
    // is made anew from where that one ends.
    let later = LakeCut {
        positions: Positions::from(vec![9]),
        files: vec![file("5", "t")],
        ..cut.clone()
    };
    for overtaken in [
        &cut,
        &later,
        &LakeCut {
            cut_number: 3,
            ..later.clone()
        },
    ] {
        ensure!(
            matches!(
                store.commit_cut(0, epoch, overtaken),
                Err(Error::Unavailable { .. })
            ),
            "{overtaken:?}"
        );
    }
    ensure!(
        store.all_files()?.len() == 4 && store.lake_state(0)? == [1, 2],
        "a cut is registered once"
    );
    ensure!(store.status(0)?.lake_positions == cut.positions && store.status(0)?.lake_cuts == 1);
    ensure!(matches!(
        store.commit_cut(0, epoch + 1, &cut),
        Err(Error::StaleEpoch { .. })
    ));
    ensure!(
        store.plan_load(0, epoch, 10)?.is_none(),
        "what is not completed is not loaded"
    );
    store.mark_completed(0, epoch, &[1, 2, 3, 4])?;
    let numbers = |batch: &LoadBatch| {
        batch
            .files
            .iter()
            .map(|file| file.number)
            .collect::<Vec<_>>()
    };
    let batch = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("nothing to load"))?;
    ensure!(
        batch.dataset == "t" && numbers(&batch) == [1, 2, 3],
        "one table at a time: {batch:?}"
    );
    ensure!(
        store.plan_load(0, epoch, 10)?.as_ref() == Some(&batch),
        "a batch stays planned until it is settled"
    );
    store.split_load(0, epoch, &batch.id, &[])?;
    let half = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("no half"))?;
    ensure!(numbers(&half) == [1] && half.id != batch.id, "{half:?}");
    store.split_load(0, epoch, &half.id, &[(1, "bad".to_owned())])?;
    let rest = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("no rest"))?;
    ensure!(numbers(&rest) == [2, 3], "{rest:?}");
    store.mark_loaded(0, epoch, &rest.id)?;
    let last = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("no last"))?;
    ensure!(last.dataset == "u");
    store.mark_loaded(0, epoch, &last.id)?;
    ensure!(store.plan_load(0, epoch, 10)?.is_none());
    let stages: Vec<FileStage> = store.all_files()?.iter().map(|file| file.stage).collect();
    ensure!(
        stages
            == [
                FileStage::Quarantined,
                FileStage::Loaded,
                FileStage::Loaded,
                FileStage::Loaded
            ],
        "{stages:?}"
    );
    ensure!(store.all_files()?[0].note.as_deref() == Some("bad"));
    ensure!(
        store.requeue_quarantined()? == 1 && store.requeue_quarantined()? == 0,
        "what is set aside is put back once"
    );
    let first = &store.all_files()?[0];
    ensure!(
        (first.stage, &first.batch, &first.note) == (FileStage::Completed, &None, &None),
        "{first:?}"
    );
    let again = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("not put back"))?;
    ensure!(
        numbers(&again) == [1],
        "nothing else is loaded again: {again:?}"
    );
    store.mark_loaded(0, epoch, &again.id)?;
    ensure!(store.requeue_quarantined()? == 0 && store.plan_load(0, epoch, 10)?.is_none());
    sets_lost_files_aside(store, epoch)
}

/// A file whose upload is gone is neither completed nor loaded until an operator puts it back.
fn sets_lost_files_aside(store: &dyn CheckpointStore, epoch: Epoch) -> Result<()> {
    store.commit_export(
        0,
        epoch,
        &Export {
            consumer: "exporter".to_owned(),
            after: 0,
            up_to: 1,
            files: vec![file("5", "t")],
        },
    )?;
    ensure!(matches!(
        store.mark_lost(0, epoch + 1, 5, "gone"),
        Err(Error::StaleEpoch { .. })
    ));
    store.mark_lost(0, epoch, 5, "gone")?;
    store.mark_lost(0, epoch, 4, "it is loaded already")?;
    store.mark_completed(0, epoch, &[5])?;
    let stage_and_note = |number: usize| -> Result<(FileStage, Option<String>)> {
        Ok(store.all_files()?.remove(number - 1)).map(|file| (file.stage, file.note))
    };
    ensure!(
        stage_and_note(5)? == (FileStage::Lost, Some("gone".to_owned()))
            && stage_and_note(4)? == (FileStage::Loaded, None)
    );
    ensure!(
        store.files(0, FileStage::Registered, 10)?.is_empty()
            && store.plan_load(0, epoch, 10)?.is_none()
    );
    ensure!(
        store.requeue_quarantined()? == 1 && stage_and_note(5)? == (FileStage::Registered, None),
        "it is looked for once more"
    );
    store.mark_completed(0, epoch, &[5])?;
    ensure!(
        store
            .plan_load(0, epoch, 10)?
            .is_some_and(|batch| batch.files.len() == 1)
    );
    Ok(())
}

/// Plans beside batches that cannot be loaded for now: they stay as they are.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_plans_beside_what_is_stuck(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let files = [
        ("1", "t"),
        ("2", "t"),
        ("3", "t"),
        ("4", "u"),
        ("5", "t"),
        ("6", "v"),
    ]
    .map(|(name, dataset)| file(name, dataset))
    .to_vec();
    store.commit_cut(
        0,
        epoch,
        &LakeCut {
            cut_number: 1,
            positions: Positions::from(vec![5]),
            state: Vec::new(),
            files,
        },
    )?;
    store.mark_completed(0, epoch, &[1, 2, 3, 4, 5, 6])?;
    let passed = |batches: &[&LoadBatch], datasets: &[&str]| DeferredBatches {
        batches: batches.iter().map(|batch| batch.id.clone()).collect(),
        datasets: datasets.iter().map(|name| (*name).to_owned()).collect(),
    };
    let plan = |passed: &DeferredBatches| -> Result<Option<LoadBatch>> {
        Ok(store.plan_load_beside(0, epoch, 2, passed)?)
    };
    let planned = |passed: &DeferredBatches| -> Result<LoadBatch> {
        plan(passed)?.ok_or_else(|| anyhow::anyhow!("nothing is planned beside {passed:?}"))
    };
    let numbers = |batch: &LoadBatch| {
        batch
            .files
            .iter()
            .map(|file| file.number)
            .collect::<Vec<_>>()
    };
    ensure!(matches!(
        store.plan_load_beside(0, epoch + 1, 2, &passed(&[], &[])),
        Err(Error::StaleEpoch { .. })
    ));
    let first = planned(&passed(&[], &[]))?;
    ensure!(numbers(&first) == [1, 2], "{first:?}");
    ensure!(
        plan(&passed(&[], &["t"]))?.as_ref() == Some(&first),
        "of a dataset that is passed over, what is planned is still returned"
    );
    let other = planned(&passed(&[&first], &["t"]))?;
    ensure!(other.dataset == "u" && numbers(&other) == [4], "{other:?}");
    let second = planned(&passed(&[&first, &other], &[]))?;
    ensure!(
        numbers(&second) == [3, 5],
        "what is in a batch is in no other: {second:?}"
    );
    ensure!(plan(&passed(&[&first, &other, &second], &["t", "u", "v"]))?.is_none());
    ensure!(
        planned(&passed(&[], &[]))? == first,
        "what was passed over is as it was"
    );
    store.mark_loaded(0, epoch, &first.id)?;
    ensure!(
        planned(&passed(&[], &[]))? == second,
        "the earliest of what is planned"
    );
    store.split_load(0, epoch, &second.id, &[])?;
    let half = planned(&passed(&[&second], &[]))?;
    ensure!(numbers(&half) == [3], "{half:?}");
    Ok(())
}

/// Uploads, completion, listing, sweeping.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn lake_completes_once(lake: &dyn Lake) -> Result<()> {
    let put = |path: &str, attempt: &str, bytes: &[u8]| -> Result<String> {
        let mut upload = lake.begin(path, attempt)?;
        upload.write(bytes)?;
        Ok(upload.seal()?)
    };
    let upload = put("d/x/1.parquet", "p0-e1-1", b"one")?;
    ensure!(
        lake.list("")?.is_empty() && lake.read("d/x/1.parquet").is_err(),
        "a sealed file is not visible"
    );
    lake.complete("d/x/1.parquet", &upload)?;
    lake.complete("d/x/1.parquet", &upload)?;
    ensure!(&lake.read("d/x/1.parquet")?[..] == b"one");
    let opened = lake.open_file("d/x/1.parquet")?;
    ensure!(opened.size() == 3 && &opened.read(1..3)?[..] == b"ne");
    ensure!(
        matches!(opened.read(1..4), Err(Error::Refused(_)))
            && matches!(lake.open_file("d/x/0"), Err(Error::Gone(_))),
        "bytes that are not there are not made up"
    );
    let again = put("d/x/1.parquet", "p0-e2-1", b"two")?;
    lake.complete("d/x/1.parquet", &again)?;
    ensure!(
        &lake.read("d/x/1.parquet")?[..] == b"one",
        "a name, once taken, keeps its bytes"
    );
    let kept = put("d/y/2.parquet", "p0-e2-2", b"three")?;
    put("d/y/3.parquet", "p1-e1-1", b"four")?;
    lake.sweep(0, 3, std::slice::from_ref(&kept))?;
    lake.complete("d/y/2.parquet", &kept)?;
    ensure!(
        lake.list("d/y")?
            == [LakeEntry {
                path: "d/y/2.parquet".to_owned(),
                bytes: 5
            }]
    );
    ensure!(
        lake.sweep(1, 2, &[])? == 1,
        "another partition's upload was left alone, and is swept with its own"
    );
    // An owner that hung before it swept has lost the partition meanwhile: it knows nothing of what
    // its successor registered.
    let successors = put("d/y/5.parquet", "p0-e10-1", b"five")?;
    ensure!(
        lake.sweep(0, 9, &[])? == 0,
        "what was begun under a later epoch is swept under no earlier one"
    );
    lake.complete("d/y/5.parquet", &successors)?;
    let (own, manifest) = (
        put("d/y/6.parquet", "p0-e10-2", b"six")?,
        put("d/y/7.json", "p0-load-0f", b"seven")?,
    );
    ensure!(
        lake.sweep(0, 10, &[])? == 1,
        "of what is its own only that goes which is under no epoch"
    );
    ensure!(
        matches!(lake.complete("d/y/7.json", &manifest), Err(Error::Gone(_)))
            && lake.complete("d/y/6.parquet", &own).is_ok()
    );
    ensure!(
        matches!(lake.complete("d/z/9.parquet", "never"), Err(Error::Gone(_))),
        "neither parts nor file"
    );
    Ok(())
}

fn table(name: &str, mode: LoadMode) -> TableSpec {
    let columns = [("id", ColumnType::Utf8), ("revision", ColumnType::Int32)];
    TableSpec {
        name: name.to_owned(),
        columns: columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        mode,
    }
}

/// A completed Parquet file of a table, as a registered one.
fn loaded_file(
    lake: &dyn Lake,
    table: &TableSpec,
    number: u64,
    rows: &[(&str, i32)],
) -> Result<RegisteredFile> {
    let schema = file_schema(table);
    let (ids, revisions): (Vec<&str>, Vec<i32>) = rows.iter().copied().unzip();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(ids)),
        Arc::new(Int32Array::from(revisions)),
    ];
    completed(lake, table, number, RecordBatch::try_new(schema, columns)?)
}

fn completed(
    lake: &dyn Lake,
    table: &TableSpec,
    number: u64,
    rows: RecordBatch,
) -> Result<RegisteredFile> {
    let path = format!("data/{}/{number}.parquet", table.name);
    let mut writer = FileWriter::new(
        lake.begin(&path, &format!("p0-e1-{number}"))?,
        &file_schema(table),
        path.clone(),
        &table.name,
    )?;
    let times = vec![0; rows.num_rows()];
    writer.write(rows, times.into_iter())?;
    let file = writer.finish()?;
    lake.complete(&path, &file.upload)?;
    Ok(RegisteredFile {
        number,
        partition: 0,
        file,
        stage: FileStage::Completed,
        batch: None,
        note: None,
    })
}

fn batch(table: &TableSpec, id: &str, files: &[&RegisteredFile]) -> LoadBatch {
    LoadBatch {
        id: id.to_owned(),
        dataset: table.name.clone(),
        partition: 0,
        files: files.iter().map(|file| (*file).clone()).collect(),
    }
}

/// Tables, loads, ledger, merging, refusals, read-only queries.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn warehouse_loads_once(warehouse: &dyn Warehouse, lake: &dyn Lake) -> Result<()> {
    let appended = table("appended", LoadMode::Append);
    let merged = table(
        "merged",
        LoadMode::MergeByRevision {
            key: vec!["id".to_owned()],
            revision: "revision".to_owned(),
        },
    );
    let tables = [appended.clone(), merged.clone()];
    warehouse.ensure_tables(&tables)?;
    warehouse.ensure_tables(&tables)?;
    let rows =
        |sql: &str| -> Result<Vec<Vec<serde_json::Value>>> { Ok(warehouse.query(sql)?.rows) };
    let one = loaded_file(lake, &appended, 1, &[("a", 0), ("b", 0)])?;
    let two = loaded_file(lake, &appended, 2, &[("c", 1)])?;
    ensure!(warehouse.receipt("first")?.is_none());
    let first = batch(&appended, "first", &[&one, &two]);
    let receipt = warehouse.load(&first, lake)?;
    ensure!(
        receipt
            == LoadReceipt {
                batch: "first".to_owned(),
                rows: 3
            },
        "{receipt:?}"
    );
    ensure!(
        warehouse.load(&first, lake)? == receipt && warehouse.receipt("first")? == Some(receipt),
        "a batch in the ledger changes nothing"
    );
    ensure!(
        rows("SELECT id FROM appended ORDER BY id")? == [["a"], ["b"], ["c"]],
        "every row is there once"
    );

    let newer = loaded_file(lake, &merged, 3, &[("x", 2), ("y", 0)])?;
    let older = loaded_file(lake, &merged, 4, &[("x", 1), ("y", 1)])?;
    warehouse.load(&batch(&merged, "newer", &[&newer]), lake)?;
    warehouse.load(&batch(&merged, "older", &[&older]), lake)?;
    let got = rows("SELECT id, revision FROM merged ORDER BY id")?;
    ensure!(
        got == [
            [serde_json::json!("x"), 2.into()],
            [serde_json::json!("y"), 1.into()]
        ],
        "the highest revision stays: {got:?}"
    );

    let mut short = loaded_file(lake, &appended, 5, &[("d", 0)])?;
    short.file.rows = 2;
    let good = loaded_file(lake, &appended, 6, &[("e", 0)])?;
    let refused = warehouse.load(&batch(&appended, "bad", &[&good, &short]), lake);
    ensure!(
        matches!(&refused, Err(Error::BadFile(why)) if why.contains(&short.file.path)),
        "the file at fault is named: {refused:?}"
    );
    ensure!(
        rows("SELECT count(*) FROM appended")? == [[3]] && warehouse.receipt("bad")?.is_none(),
        "all of a batch or nothing"
    );
    ensure!(
        matches!(
            warehouse.query("DELETE FROM appended"),
            Err(Error::Refused(_))
        ) && rows("SELECT count(*) FROM appended")? == [[3]],
        "queries only read"
    );
    ensure!(matches!(warehouse.query("SELEC"), Err(Error::Refused(_))));

    let unknown = loaded_file(lake, &table("unknown", LoadMode::Append), 7, &[("f", 0)])?;
    let away = warehouse.load(
        &batch(&table("unknown", LoadMode::Append), "unknown", &[&unknown]),
        lake,
    );
    ensure!(
        matches!(&away, Err(Error::Refused(why)) if why.contains("no table 'unknown'")),
        "no file is at fault for a table that is missing: {away:?}"
    );

    let mut wider = appended.clone();
    wider.columns.push(("note".to_owned(), ColumnType::Utf8));
    warehouse.ensure_tables(&[wider.clone()])?;
    warehouse.load(&batch(&wider, "narrow", &[&good]), lake)?;
    ensure!(
        rows("SELECT count(*) FROM appended WHERE note IS NULL")? == [[4]],
        "an older file fits a table that has gained a column"
    );
    wider.columns.swap(0, 1);
    let check = warehouse.check_tables(std::slice::from_ref(&wider));
    ensure!(
        matches!(check, Err(Error::Refused(_))),
        "what would be refused is known before: {check:?}"
    );
    ensure!(
        matches!(warehouse.ensure_tables(&[wider]), Err(Error::Refused(_))),
        "columns are only ever added at the end"
    );
    Ok(())
}
