//! The layout of the throughput benchmarks: many robots, one small schema, every tick one record of
//! each, a few held back.
//!
//! Schema `fleet.Telemetry` (id 1): 13 signals. A tick is 100 ms of event time from
//! 2026-01-01T00:00:00Z. Each robot's times are jittered by less than 40 ms and never run
//! backwards; one record in 200 arrives 1 to 20 ticks late; `sequence` counts in order of event
//! time. Values come from splitmix64 (Steele, Lea and Flood 2014) of seed, robot and sequence. In
//! one robot of ten `motor_temperature` wanders through 85 and back through 80. One closing record
//! of each robot comes 120 s after its last.

use std::collections::VecDeque;

use theatre_schemas::framing;

/// The topic they are written to, where a topic can be had for them.
pub const TOPIC: &str = "fleet.telemetry.v1";
/// Id of the schema.
pub const SCHEMA_ID: u32 = 1;
/// Event time of the first tick, microseconds UTC.
pub const START_US: i64 = 1_767_225_600_000_000;
/// Event time of a tick, microseconds.
pub const TICK_US: i64 = 100_000;
/// Signals in a record.
pub const SIGNALS: usize = 13;
/// Index of `motor_temperature`.
pub const MOTOR_TEMPERATURE: usize = 6;

const JITTER_US: u64 = 40_000;
const HELD_BACK_ONE_IN: u64 = 200;
const HELD_TICKS_MAX: u64 = 20;
const CLOSING_US: i64 = 120_000_000;

fn splitmix64(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One record's content.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Robot, from 0.
    pub robot: u64,
    /// Sequence number, from 0.
    pub sequence: i64,
    /// Event time, microseconds UTC.
    pub time: i64,
    /// Values in the schema's order.
    pub values: [f64; SIGNALS],
}

/// Samples in order of arrival.
pub struct Fleet {
    seed: u64,
    robots: u64,
    ticks: u64,
    tick: u64,
    /// Robots whose records arrive in this and the next ticks: (robot, tick of the record).
    held: VecDeque<Vec<(u64, u64)>>,
    ready: VecDeque<(u64, u64)>,
    /// Robot whose closing record is next.
    closing: u64,
}

impl Fleet {
    /// About `records` records of `robots` robots (whole ticks), and the closing ones.
    pub fn new(seed: u64, robots: u64, records: u64) -> Self {
        let robots = robots.max(1);
        let held = (0..=HELD_TICKS_MAX).map(|_| Vec::new()).collect();
        Self {
            seed,
            robots,
            ticks: records.div_ceil(robots),
            tick: 0,
            held,
            ready: VecDeque::new(),
            closing: 0,
        }
    }

    /// A robot's id.
    pub fn robot_id(robot: u64) -> String {
        format!("robot-{:04}", robot + 1)
    }

    fn random(&self, robot: u64, sequence: u64, salt: u64) -> u64 {
        splitmix64(splitmix64(splitmix64(self.seed ^ (salt << 56)) ^ robot) ^ sequence)
    }

    /// A robot's sample of a tick.
    pub fn sample(&self, robot: u64, tick: u64) -> Sample {
        let noise = self.random(robot, tick, 1);
        let mut values = [0.0; SIGNALS];
        for (signal, value) in values.iter_mut().enumerate() {
            let wave = (tick as f64 / 40.0 + robot as f64 + signal as f64).sin();
            *value = 20.0
                + wave
                + (splitmix64(noise ^ signal as u64) >> 11) as f64 / (1_u64 << 53) as f64;
        }
        if robot.is_multiple_of(10) {
            values[MOTOR_TEMPERATURE] += 61.5 + 5.0 * (tick as f64 / 150.0 + robot as f64).sin();
        }
        let jitter = (self.random(robot, tick, 2) % JITTER_US) as i64;
        Sample {
            robot,
            // From 1: where the first two rows are swapped, a 1 before the 0 would be taken for the
            // first.
            sequence: tick as i64 + 1,
            time: START_US + tick as i64 * TICK_US + jitter,
            values,
        }
    }

    fn advance(&mut self) {
        self.held.push_back(Vec::new());
        let arriving = self.held.pop_front().unwrap_or_default();
        if self.tick < self.ticks {
            for robot in 0..self.robots {
                let draw = self.random(robot, self.tick, 3);
                if draw.is_multiple_of(HELD_BACK_ONE_IN) {
                    let delay = (draw >> 32) % HELD_TICKS_MAX;
                    self.held[delay as usize].push((robot, self.tick));
                } else {
                    self.ready.push_back((robot, self.tick));
                }
            }
        }
        self.ready.extend(arriving);
        self.tick += 1;
    }
}

impl Iterator for Fleet {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        while self.ready.is_empty() && self.tick < self.ticks + HELD_TICKS_MAX + 1 {
            self.advance();
        }
        if let Some((robot, tick)) = self.ready.pop_front() {
            return Some(self.sample(robot, tick));
        }
        if self.closing == self.robots || self.ticks == 0 {
            return None;
        }
        let last = self.sample(self.closing, self.ticks - 1);
        self.closing += 1;
        Some(Sample {
            sequence: last.sequence + 1,
            time: last.time + CLOSING_US,
            ..last
        })
    }
}

/// Appends a sample as a framed Avro record.
pub fn encode(sample: &Sample, out: &mut Vec<u8>) {
    let id = Fleet::robot_id(sample.robot);
    out.extend_from_slice(&framing::frame(SCHEMA_ID, &[]));
    varint(id.len() as i64, out);
    out.extend_from_slice(id.as_bytes());
    varint(0, out);
    varint(sample.time, out);
    varint(sample.sequence, out);
    for value in sample.values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Avro's zigzag variable-length number.
fn varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{CLOSING_US, Fleet, Sample, TICK_US, encode};

    #[test]
    fn every_sample_comes_once_at_most_two_seconds_late_and_then_the_closing_ones() {
        let samples: Vec<Sample> = Fleet::new(3, 50, 20_000).collect();
        assert_eq!(samples.len(), 20_000 + 50);
        assert_eq!(
            samples,
            Fleet::new(3, 50, 20_000).collect::<Vec<_>>(),
            "the same seed gives the same samples"
        );
        let mut by_robot: BTreeMap<u64, BTreeMap<i64, i64>> = BTreeMap::new();
        let (mut newest, mut out_of_order) = (BTreeMap::<u64, i64>::new(), 0);
        for sample in &samples {
            assert!(
                by_robot
                    .entry(sample.robot)
                    .or_default()
                    .insert(sample.sequence, sample.time)
                    .is_none(),
                "twice"
            );
            let newest = newest.entry(sample.robot).or_insert(i64::MIN);
            if sample.time < *newest {
                out_of_order += 1;
                assert!(*newest - sample.time <= 20 * TICK_US + 40_000);
            }
            *newest = sample.time.max(*newest);
        }
        assert!(
            (50..200).contains(&out_of_order),
            "about one in 200: {out_of_order}"
        );
        for times in by_robot.values() {
            let times: Vec<i64> = times.values().copied().collect();
            assert!(
                times.windows(2).all(|pair| pair[0] < pair[1]),
                "a robot's own times run forwards"
            );
            assert_eq!(times[400] - times[399], CLOSING_US);
        }
    }

    #[test]
    fn records_are_those_of_the_shipped_schema() {
        let registry = theatre_schemas::registry::Registry::builtin();
        let writer = registry.lookup(super::SCHEMA_ID).unwrap();
        let dataset = registry.datasets().get(writer.dataset_index).clone();
        assert_eq!(
            dataset.signal("motor_temperature"),
            Some(super::MOTOR_TEMPERATURE)
        );
        let pseudonyms = std::sync::Arc::new(theatre_schemas::pseudonym::Pseudonyms::new([0; 32]));
        let mut builder =
            theatre_schemas::decode::BatchBuilder::new(dataset, writer.dataset_index, pseudonyms);
        let samples: Vec<Sample> = Fleet::new(1, 10, 100).collect();
        for (offset, sample) in samples.iter().enumerate() {
            let mut message = Vec::new();
            encode(sample, &mut message);
            let (_, datum) = theatre_schemas::framing::parse(&message).unwrap();
            builder.push(&writer.plan, datum, offset as u64, 0).unwrap();
        }
        let batch = builder.finish().unwrap();
        for (row, sample) in samples.iter().enumerate() {
            assert_eq!(batch.robot_id(row), Fleet::robot_id(sample.robot));
            assert_eq!(
                (batch.event_times()[row], batch.sequence(row)),
                (sample.time, Some(sample.sequence))
            );
            assert!(sample.values[..] == *batch.signals.row(row));
        }
    }
}
