//! The stream of records: steps of the world, numbered, encoded, and sent over the transport.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use theatre_actors::ports::NewRecord;
use theatre_config::ConfigError;

use super::records::{Content, Fact};
use super::settings::Settings;
use super::transport::{Delivery, Network, Transport};
use super::{Topic, World};
use crate::faults::Faults;

/// What is sent during a step.
#[derive(Debug, Default, PartialEq)]
pub struct Chunk {
    /// Records in the order in which they are sent.
    pub records: Vec<(Topic, NewRecord)>,
    /// Lines of the ground truth.
    pub truth: Vec<Value>,
    /// Event time up to which everything has happened.
    pub until_us: i64,
}

/// All records of a fleet, step by step.
#[derive(Debug)]
pub struct Stream {
    world: World,
    transport: Transport,
    settings: Settings,
    /// Robots by their ids.
    robots: HashMap<String, usize>,
    /// The next number of each key's records of a topic; telemetry has its own.
    numbers: HashMap<(Topic, String), i64>,
    /// Records that are still on their way, by when they are sent.
    held: BTreeMap<(i64, u64), (Topic, NewRecord)>,
    sent: u64,
    step: u64,
}

impl Stream {
    /// The fleet of some settings over a transport with faults.
    ///
    /// # Errors
    /// When settings or faults make no sense.
    pub fn new(settings: &Settings, faults: Faults, network: Network) -> Result<Self, ConfigError> {
        let settings = Settings {
            reboots: settings.reboots.max(network.reboot),
            ..settings.clone()
        };
        let (seed, start) = (settings.seed, settings.start_us);
        let transport =
            Transport::new(seed, start, settings.haste(), faults, network).map_err(ConfigError)?;
        let world = World::new(&settings)?;
        let robots = world.robots.iter().enumerate();
        Ok(Self {
            robots: robots
                .map(|(index, robot)| (robot.id.clone(), index))
                .collect(),
            world,
            transport,
            settings,
            numbers: HashMap::new(),
            held: BTreeMap::new(),
            sent: 0,
            step: 0,
        })
    }

    /// The step that comes next.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Event time of the fleet's beginning.
    pub fn start_us(&self) -> i64 {
        self.settings.start_us
    }

    /// Event time up to which the steps before the next one go.
    pub fn until_us(&self) -> i64 {
        self.settings.start_us + self.step as i64 * self.settings.step_us()
    }

    /// Event time up to which the next step goes.
    pub fn next_until_us(&self) -> i64 {
        self.until_us() + self.settings.step_us()
    }

    /// True when all is sent.
    pub fn is_over(&self) -> bool {
        let is_past = self.until_us() >= self.settings.end();
        let is_cut = is_past && !self.settings.has_days();
        is_cut || (is_past && self.world.is_over() && self.held.is_empty())
    }

    /// The next step.
    ///
    /// # Panics
    /// Never.
    pub fn advance(&mut self) -> Chunk {
        self.move_on(true)
    }

    /// Goes on from a step that was reached before: nothing before it is sent again.
    pub fn go_to(&mut self, step: u64) {
        // What was measured longer ago has arrived.
        let back = self.transport.longest() / self.settings.step_us() + 1;
        while self.step < step {
            let has_arrived = self.step + (back as u64) < step;
            self.move_on(!has_arrived);
        }
    }

    fn move_on(&mut self, with_samples: bool) -> Chunk {
        let begin = self.until_us();
        self.step += 1;
        let until = self.until_us();
        let (facts, mut truth) = self.world.advance(until, with_samples);
        if self.step == 1 {
            self.note_clocks(&mut truth);
        }
        for fact in facts {
            self.send(fact, with_samples, &mut truth);
        }
        let later = self.held.split_off(&(until, 0));
        let due = std::mem::replace(&mut self.held, later);
        truth.sort_by_key(|note| note["event_time"].as_i64());
        debug_assert!(begin < until);
        Chunk {
            records: due.into_values().collect(),
            truth,
            until_us: until,
        }
    }

    /// Sends a record of the world; without samples it is only counted.
    fn send(&mut self, mut fact: Fact, with_samples: bool, truth: &mut Vec<Value>) {
        let topic = fact.topic();
        let number = match &fact.content {
            Content::Telemetry(sample) => sample.sequence,
            _ => {
                let next = self.numbers.entry((topic, fact.key.clone())).or_default();
                *next += 1;
                *next - 1
            }
        };
        if !with_samples {
            return;
        }
        let delivery = match self.robots.get(&fact.key) {
            Some(robot) => self.transport.send(*robot, &mut fact),
            None => Delivery {
                copies: 1,
                at: fact.time,
                ..Delivery::default()
            },
        };
        note_faults(&fact, number, &delivery, truth);
        if delivery.copies == 0 {
            return;
        }
        let value = delivery.damage(fact.encode(self.world.catalogue, number));
        for _ in 0..delivery.copies {
            let record = NewRecord {
                key: fact.key.clone().into_bytes(),
                value: value.clone(),
                headers: Vec::new(),
            };
            self.sent += 1;
            self.held.insert((delivery.at, self.sent), (topic, record));
        }
    }

    /// Clocks that are wrong from the beginning.
    fn note_clocks(&self, truth: &mut Vec<Value>) {
        for robot in &self.world.robots {
            let (offset, rate) = self.transport.clock(robot.index);
            if offset != 0 || rate != 0.0 {
                truth.push(json!({
                    "what": "fault",
                    "fault": "clock",
                    "event_time": self.settings.start_us,
                    "robot_id": robot.id,
                    "offset_us": offset,
                    "drift_ppm": rate * 1e6,
                }));
            }
        }
    }
}

/// Writes down what the transport does to a record, by the record's id.
fn note_faults(fact: &Fact, number: i64, delivery: &Delivery, truth: &mut Vec<Value>) {
    for fault in &delivery.faults {
        let event_id = match &fact.content {
            Content::Telemetry(sample) => format!("{}/{}/{number}", fact.key, sample.boot),
            _ => fact.event_id.clone(),
        };
        truth.push(json!({
            "what": "fault",
            "fault": fault,
            "event_time": fact.time,
            "robot_id": fact.key,
            "topic": fact.topic().name(),
            "event_id": event_id,
            "sent_at": delivery.at,
        }));
    }
}
