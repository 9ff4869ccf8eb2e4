//! Reading a topic by itself: to count what is in it, and to see what reading alone costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use theatre_actors::ports::{EventLog, LogReader, PollLimit, RecordView};
use theatre_actors::position::Partition;

use super::Failure;
use super::measure::Mark;
use theatre_pipeline::queue::Notifier;

/// How long a reader may be silent before its end.
const PATIENCE: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_millis(10);

/// Records that a topic holds, by its offsets: markers of transactions count as well.
pub(super) fn extent(log: &dyn EventLog, topic: &str, partitions: u32) -> Result<u64, Failure> {
    let ranges: Result<Vec<_>, _> = (0..partitions)
        .map(|partition| log.range(topic, partition))
        .collect();
    Ok(ranges?.iter().map(|range| range.end - range.start).sum())
}

/// Reads one partition to its end.
pub(super) fn visit_batches(
    log: &dyn EventLog,
    topic: &str,
    partition: Partition,
    limit: PollLimit,
    mut visit: impl FnMut(RecordView<'_>),
) -> Result<(), Failure> {
    let start = log.range(topic, partition)?.start;
    let mut reader = log.reader(topic, partition, start)?;
    let (bell, mut seen) = listen(&mut *reader);
    let mut last_record = Instant::now();
    loop {
        let mut records = 0;
        let end = reader.poll(limit, &mut |record| {
            records += 1;
            visit(record);
        })?;
        if records > 0 {
            last_record = Instant::now();
        } else if end.at_end {
            return Ok(());
        } else if last_record.elapsed() > PATIENCE {
            return Err(Failure::Unreachable(format!(
                "topic {topic} partition {partition}: nothing came for {PATIENCE:?}"
            )));
        } else {
            seen = bell.wait(seen, REST);
        }
    }
}

fn listen(reader: &mut dyn LogReader) -> (Arc<Notifier>, u64) {
    let bell = Arc::new(Notifier::default());
    let ring = bell.clone();
    reader.on_news(Arc::new(move || ring.ring()));
    (bell, 0)
}

/// Reads all partitions side by side on one thread and does nothing with the records; marks as of
/// the service's run.
pub(super) fn drain(
    log: &dyn EventLog,
    topic: &str,
    partitions: u32,
    limit: PollLimit,
) -> Result<[Mark; 4], Failure> {
    let extent = extent(log, topic, partitions)?;
    let begun = Mark::now(0, &[])?;
    let bell = Arc::new(Notifier::default());
    let mut readers = Vec::new();
    for partition in 0..partitions {
        let mut reader = log.reader(topic, partition, log.range(topic, partition)?.start)?;
        let ring = bell.clone();
        reader.on_news(Arc::new(move || ring.ring()));
        readers.push(reader);
    }
    let (mut records, mut bytes, mut seen) = (0, 0, 0);
    let (mut early, mut late) = (begun.clone(), begun.clone());
    while !readers.is_empty() {
        let before = records;
        let mut failed = None;
        readers.retain_mut(|reader| {
            let polled = reader.poll(limit, &mut |record| {
                records += 1;
                bytes += record.value.len();
            });
            match polled {
                Ok(end) => !end.at_end,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        for (share, mark) in [(0.2, &mut early), (0.95, &mut late)] {
            if mark.records == 0 && records as f64 >= share * extent as f64 {
                *mark = Mark::now(records, &[])?;
            }
        }
        if records == before {
            seen = bell.wait(seen, REST);
        }
    }
    std::hint::black_box(bytes);
    Ok([begun, early, late, Mark::now(records, &[])?])
}
