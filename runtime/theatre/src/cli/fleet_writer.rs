//! Writing a simulated fleet into the event log: shared by `demo` and `simulate`; `replay` appends
//! its rows the same way.

use std::collections::BTreeMap;
use std::io::Write;

use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{EventLog, NewRecord, PollLimit};
use theatre_actors::position::Partition;

use super::Failure;
use theatre_config::INPUT_TOPICS;
use theatre_simulator::{Faults, Produced, Simulator, TICK_US};

/// Where the simulator notes how far it came, in the log itself.
pub(super) const PROGRESS_TOPIC: &str = "theatre.simulator.progress.v1";
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
    let end = log.range(PROGRESS_TOPIC, 0)?.end;
    let mut noted = Vec::new();
    if end > 0 {
        log.reader(PROGRESS_TOPIC, 0, end - 1)?.poll(
            PollLimit {
                records: 1,
                bytes: 1 << 10,
            },
            &mut |record| noted = record.value.to_vec(),
        )?;
    }
    Ok(String::from_utf8_lossy(&noted).into_owned())
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
