//! Reading a topic partition up to an offset, and waiting until that can be read.

use std::collections::HashMap;
use std::time::Duration;

use theatre_actors::ports::{Error, EventLog, LogRange, LogReader, PollLimit, RecordView, Result};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::time::LogTime;
use theatre_pipeline::intake::IntakeParams;
use theatre_pipeline::intake::reread::{Reread, reread};

/// Pause before a log is polled again that brought nothing: one that is fetched from afar brings
/// nothing at first.
const FETCH_REST: Duration = Duration::from_millis(5);
/// Polls without a record after which a log is taken for away.
const FETCHES_MAX: u32 = 6_000;
/// Pause before it is asked again whether a transaction has ended.
const HELD_REST: Duration = Duration::from_millis(200);

/// A source of schemas that does not say what an id means is asked so often.
const ASKED_AGAIN: usize = 12;
const ASK_PAUSE: Duration = Duration::from_millis(250);

/// A record that lies no further ahead is read up to; one beyond is gone to.
const READ_ON: u64 = 2_000;

/// A topic and a partition of it.
pub(super) type TopicPartition<'a> = (&'a str, Partition);

/// Reads a topic partition forward.
pub(super) struct Forward {
    reader: Box<dyn LogReader>,
    next: u64,
}

impl Forward {
    pub(super) fn open(
        log: &dyn EventLog,
        (topic, partition): TopicPartition<'_>,
        from: u64,
    ) -> Result<Self> {
        Ok(Self {
            reader: log.reader(topic, partition, from)?,
            next: from,
        })
    }

    /// The offset that comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Visits the records below `end`, up to which the log can be read; stops early once `visit`
    /// wants no more, at the end of what came together. `hold` is called again and again meanwhile
    /// and ends the reading when it fails.
    ///
    /// # Errors
    /// When the log does not answer, and those of `hold`. It never ends before `end` otherwise: that a record is not
    /// there is known only once all was seen.
    pub(super) fn read_to(
        &mut self,
        end: u64,
        visit: &mut dyn FnMut(RecordView<'_>) -> bool,
        hold: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let (mut goes_on, mut in_vain) = (true, 0);
        while goes_on && self.next < end {
            hold()?;
            let left = usize::try_from(end - self.next).unwrap_or(usize::MAX);
            let limit = PollLimit {
                records: left.min(4_096),
                bytes: 2 << 20,
            };
            let polled = self.reader.poll(limit, &mut |record| {
                goes_on = goes_on && visit(record);
            })?;
            in_vain = match polled.next_offset == self.next {
                true => in_vain + 1,
                false => 0,
            };
            self.next = polled.next_offset;
            if in_vain > FETCHES_MAX {
                return Err(Error::Unavailable {
                    what: "event log",
                    why: format!("offset {} does not come, though it is there", self.next),
                });
            }
            if in_vain > 0 {
                std::thread::sleep(FETCH_REST);
            }
        }
        Ok(())
    }
}

/// Looks single records up, which are asked for roughly in the log's order.
pub(crate) struct Lookup<'a> {
    log: &'a dyn EventLog,
    at_hand: HashMap<(String, Partition), Forward>,
    /// What the log has, as it was when it was asked for; its beginning may have moved on.
    ranges: HashMap<(String, Partition), LogRange>,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(log: &'a dyn EventLog) -> Self {
        Self {
            log,
            at_hand: HashMap::new(),
            ranges: HashMap::new(),
        }
    }

    /// Visits the record at an offset, if the log still has it.
    ///
    /// # Errors
    /// When the log does not answer.
    pub(crate) fn visit(
        &mut self,
        (topic, partition): (&str, Partition),
        offset: u64,
        visit: &mut dyn FnMut(RecordView<'_>),
    ) -> Result<()> {
        let key = (topic.to_owned(), partition);
        let range = match self.ranges.get(&key) {
            Some(range) if offset < range.end => *range,
            _ => self.log.range(topic, partition)?,
        };
        self.ranges.insert(key, range);
        if !(range.start..range.end).contains(&offset) {
            return Ok(());
        }
        match self.read((topic, partition), offset, visit) {
            // It was deleted since.
            Err(_) if self.log.range(topic, partition)?.start > offset => Ok(()),
            read => read,
        }
    }

    fn read(
        &mut self,
        (topic, partition): TopicPartition<'_>,
        offset: u64,
        visit: &mut dyn FnMut(RecordView<'_>),
    ) -> Result<()> {
        let key = (topic.to_owned(), partition);
        let near = offset.saturating_sub(READ_ON)..=offset;
        let at_hand = self.at_hand.remove(&key);
        let mut forward = match at_hand.filter(|it| near.contains(&it.next())) {
            Some(at_hand) => at_hand,
            None => Forward::open(self.log, (topic, partition), offset)?,
        };
        let mut see = |record: RecordView<'_>| {
            if record.offset == offset {
                visit(record);
            }
            true
        };
        // It is near: the lease of a command does not run out by it.
        forward.read_to(offset + 1, &mut see, &mut || Ok(()))?;
        self.at_hand.insert(key, forward);
        Ok(())
    }
}

/// Reads a record again as intake does. A source of schemas that does not say what an id means is
/// asked for a few seconds.
///
/// # Errors
/// `Unavailable` when it does not say it then either.
pub(crate) fn reread_patiently(
    params: &IntakeParams,
    topic: TopicIndex,
    value: &[u8],
    now: LogTime,
) -> Result<Reread> {
    for _ in 1..ASKED_AGAIN {
        match reread(params, topic, value, now) {
            Err(Error::Unavailable { .. }) => std::thread::sleep(ASK_PAUSE),
            read => return read,
        }
    }
    reread(params, topic, value, now)
}

/// The present end of a topic partition, as soon as everything below it can be read. Where a
/// transaction is open it is waited for so long; `hold` is called meanwhile and ends the wait when
/// it fails.
///
/// # Errors
/// `Refused` when the transaction stays open, with what to do; those of the log and of `hold`.
pub(super) fn settled_end(
    log: &dyn EventLog,
    (topic, partition): TopicPartition<'_>,
    patience: Duration,
    hold: &mut dyn FnMut() -> Result<()>,
) -> Result<u64> {
    let end = log.written_end(topic, partition)?;
    let mut left = patience;
    loop {
        let readable = log.range(topic, partition)?.end;
        if readable >= end {
            return Ok(end);
        }
        if left.is_zero() {
            return Err(Error::Refused(format!(
                "another producer's transaction has been open in topic '{topic}' partition {partition} since offset {readable}, for more than {} s: what follows it cannot be read, so it cannot be known which copies are there. Have that producer commit or abort it, or end it (kafka-transactions.sh --bootstrap-server HOST:PORT abort --topic {topic} --partition {partition} --start-offset {readable}), then repeat this: nothing is sent twice",
                patience.as_secs()
            )));
        }
        hold()?;
        let rest = HELD_REST.min(left);
        std::thread::sleep(rest);
        left -= rest;
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_site::Site;
    use super::*;

    #[test]
    fn what_can_be_read_is_read_to_the_offset_and_no_further() {
        let site = Site::new();
        for number in 0..5_u8 {
            site.append(0, &[number]);
        }
        let mut forward = Forward::open(&site.log, (site.topic(), 0), 1).unwrap();
        let mut seen = Vec::new();
        let mut read = |forward: &mut Forward, end| {
            let mut note = |record: RecordView<'_>| {
                seen.push(record.value[0]);
                true
            };
            forward.read_to(end, &mut note, &mut || Ok(())).unwrap();
            std::mem::take(&mut seen)
        };
        assert_eq!(read(&mut forward, 3), [1, 2]);
        assert!(read(&mut forward, 3).is_empty());
        assert_eq!(read(&mut forward, 5), [3, 4]);
        assert_eq!(forward.next(), 5);

        let mut from_the_start = Forward::open(&site.log, (site.topic(), 0), 0).unwrap();
        let mut lost = || Err(Error::Refused("lost".to_owned()));
        let ended = from_the_start.read_to(5, &mut |_| true, &mut lost);
        assert_eq!(ended, lost(), "who has lost the lease reads no further");
    }

    #[test]
    fn a_transaction_is_waited_for_and_named_where_it_does_not_end() {
        let site = Site::new();
        let place = (site.topic(), 0);
        site.append(0, b"?a");
        site.log.begin_transaction(place.0, place.1).unwrap();
        let settled = |patience, hold: &mut dyn FnMut() -> Result<()>| {
            settled_end(&site.log, place, patience, hold)
        };
        let nothing_written = settled(Duration::ZERO, &mut || Ok(()));
        assert_eq!(nothing_written, Ok(1));
        site.append(0, b"?b");
        let refused = settled(Duration::from_millis(1), &mut || Ok(()));
        let said = refused.unwrap_err().to_string();
        let offset = "partition 0 since offset 1,";
        assert!(said.contains(place.0) && said.contains(offset), "{said}");
        let lost = settled(Duration::from_secs(9), &mut || {
            Err(Error::Refused("lost".to_owned()))
        });
        assert_eq!(lost, Err(Error::Refused("lost".to_owned())));
        let mut asked = 0;
        let ended = settled(Duration::from_secs(9), &mut || {
            asked += 1;
            site.log.end_transaction(place.0, place.1)
        });
        assert_eq!((ended, asked), (Ok(2), 1));
    }
}
