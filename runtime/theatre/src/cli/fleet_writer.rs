//! Writing a simulated fleet into the event log: shared by `demo` and `simulate`; `replay` appends
//! its rows the same way.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{self, EventLog, LogReader, NewRecord, PollLimit};
use theatre_actors::position::Partition;

use super::Failure;
use theatre_config::INPUT_TOPICS;
use theatre_simulator::{Faults, Produced, Simulator, TICK_US};

/// Where the simulator notes how far it came, in the log itself.
pub(super) const PROGRESS_TOPIC: &str = "theatre.simulator.progress.v1";
/// Between two looks at a note that is still being fetched.
const FETCH_REST: Duration = Duration::from_millis(10);

/// A fleet and the log it writes to.
pub(super) struct FleetWriter<'a> {
    simulator: Simulator,
    log: &'a dyn EventLog,
    partitions: u32,
    seed: u64,
    robots: u64,
    start_us: i64,
    /// The next tick to write.
    pub(super) next: u64,
    /// Where the ground truth goes, a JSON object a line.
    pub(super) truth: Option<std::fs::File>,
}

impl<'a> FleetWriter<'a> {
    /// Goes on after the tick that the note in the log names; a new fleet begins at `start_us`.
    pub(super) fn open(
        log: &'a dyn EventLog,
        partitions: u32,
        seed: u64,
        robots: u64,
        faults: &Faults,
        start_us: i64,
    ) -> Result<Self, Failure> {
        faults.check().map_err(Failure::Usage)?;
        // The note holds four numbers: seed, robots, start, next tick.
        let note = last_note(log)?;
        let numbers: Vec<i64> = note
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let (start_us, next) = match numbers.as_slice() {
            [known_seed, known_robots, start, next]
                if *known_seed == seed as i64 && *known_robots == robots as i64 =>
            {
                (*start, *next as u64)
            }
            [known_seed, known_robots, ..] => {
                return Err(Failure::Usage(format!(
                    "this data directory holds the fleet of --seed {known_seed} --robots {known_robots}: go on with these, or give another one with --data"
                )));
            }
            _ if !note.is_empty() => {
                return Err(Failure::Usage(format!(
                    "this data directory holds another fleet, {note}: give another one with --data"
                )));
            }
            _ => (start_us, 0),
        };
        let simulator = Simulator::new(seed, robots, start_us)?.with_faults(faults.clone());
        let writer = Self {
            simulator,
            log,
            partitions,
            seed,
            robots,
            start_us,
            next,
            truth: None,
        };
        if numbers.is_empty() {
            writer.note()?;
        }
        Ok(writer)
    }

    /// Appends how far the fleet is written.
    fn note(&self) -> Result<(), Failure> {
        let value = format!(
            "{} {} {} {}",
            self.seed, self.robots, self.start_us, self.next
        )
        .into_bytes();
        self.log.append(
            PROGRESS_TOPIC,
            0,
            &[NewRecord {
                value,
                ..NewRecord::default()
            }],
        )?;
        Ok(())
    }

    /// The tick that is due at a moment (microseconds UTC), if the fleet is to be as late as the
    /// clock on the wall.
    pub(super) fn due(&self, now_us: i64) -> u64 {
        u64::try_from((now_us - self.start_us) / TICK_US).unwrap_or_default()
    }

    /// Writes ticks up to `until`. A crash between the records and the note writes a tick again:
    /// its sequence numbers say so.
    pub(super) fn advance(&mut self, until: u64) -> Result<(), Failure> {
        while self.next < until {
            let upto = until.min(self.next + 10);
            let mut produced: Vec<Produced> = Vec::new();
            for tick in self.next..upto {
                produced.extend(self.simulator.tick(tick)?);
                if let Some(truth) = &mut self.truth {
                    for happened in self.simulator.truth(tick) {
                        writeln!(truth, "{happened}")?;
                    }
                }
            }
            append(self.log, self.partitions, produced)?;
            self.next = upto;
            self.note()?;
        }
        Ok(())
    }
}

/// What a simulator noted last in the log about how far it came; empty if none wrote there.
pub(super) fn last_note(log: &dyn EventLog) -> Result<String, Failure> {
    log.ensure_topics(&[PROGRESS_TOPIC.to_owned()], 1)?;
    let range = log.range(PROGRESS_TOPIC, 0)?;
    let Some(last) = range.end.checked_sub(1) else {
        return Ok(String::new());
    };
    let mut note = None;
    if range.start <= last {
        note = next_value(&mut *log.reader(PROGRESS_TOPIC, 0, last)?)?;
    }
    // Without its note a fleet would begin anew under the names and numbers that were sent.
    let note = note.ok_or_else(|| {
        Failure::Failed(format!(
            "topic {PROGRESS_TOPIC} has no note at offset {last}, its last one: repeat the command. If it stays so, the topic's retention deleted the note; a new fleet begins once the topic is deleted"
        ))
    })?;
    Ok(String::from_utf8_lossy(&note).into_owned())
}

/// The value of a reader's next record, or none at the end of the log. A poll that gives nothing
/// does not mean the end: readers of a server fetch in the background, and fail by themselves where
/// nothing comes.
fn next_value(reader: &mut dyn LogReader) -> ports::Result<Option<Vec<u8>>> {
    let limit = PollLimit {
        records: 1,
        bytes: usize::MAX,
    };
    loop {
        let mut value = None;
        let end = reader.poll(limit, &mut |record| value = Some(record.value.to_vec()))?;
        if value.is_some() || end.at_end {
            return Ok(value);
        }
        std::thread::sleep(FETCH_REST);
    }
}

/// Appends records by topic and partition, in order.
pub(super) fn append(
    log: &dyn EventLog,
    partitions: u32,
    produced: Vec<Produced>,
) -> Result<(), Failure> {
    let mut batches: BTreeMap<(usize, Partition), Vec<NewRecord>> = BTreeMap::new();
    for (topic, record) in produced {
        batches
            .entry((topic, partition_of(&record.key, partitions)))
            .or_default()
            .push(record);
    }
    // In reverse order of topics, events before telemetry: a sample then finds its procedure
    // known.
    for ((topic, partition), records) in batches.into_iter().rev() {
        log.append(INPUT_TOPICS[topic], partition, &records)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::next_value;
    use theatre_actors::ports::{LogReader, PollEnd, PollLimit, RecordView, Result};
    use theatre_actors::time::LogTime;

    /// A reader that gives nothing for so many polls, then its records one by one.
    struct Fetching {
        in_vain: usize,
        values: Vec<&'static [u8]>,
    }

    impl LogReader for Fetching {
        fn poll(&mut self, _: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
            let mut end = PollEnd {
                next_offset: 7,
                end_offset: 8,
                at_end: false,
            };
            if self.in_vain > 0 {
                self.in_vain -= 1;
                return Ok(end);
            }
            if let Some(value) = self.values.pop() {
                visit(RecordView {
                    offset: 7,
                    append_time: LogTime(0),
                    key: b"",
                    value,
                });
                end.next_offset = 8;
            }
            end.at_end = self.values.is_empty();
            Ok(end)
        }
    }

    #[test]
    fn a_note_that_is_still_being_fetched_is_waited_for() {
        for in_vain in [0, 1, 3] {
            let mut reader = Fetching {
                in_vain,
                values: vec![&b"0 100 5 1370"[..]],
            };
            let note = next_value(&mut reader).unwrap();
            assert_eq!(
                note.as_deref(),
                Some(&b"0 100 5 1370"[..]),
                "after {in_vain} polls in vain"
            );
        }
    }

    #[test]
    fn a_log_without_a_record_at_its_end_has_no_note() {
        let mut reader = Fetching {
            in_vain: 2,
            values: Vec::new(),
        };
        assert_eq!(next_value(&mut reader).unwrap(), None);
    }
}
