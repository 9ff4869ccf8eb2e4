//! The log: records of topics, and lanes.

use anyhow::{Result, ensure};
use theatre_actors::ports::*;
use theatre_actors::time::LogTime;

use super::record;
use crate::unique;

const ALL: PollLimit = PollLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

/// What a topic has in partition 0 from an offset on: offset, append time and value.
pub(super) fn values(
    log: &dyn EventLog,
    topic: &str,
    from: u64,
) -> Result<Vec<(u64, i64, String)>> {
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
