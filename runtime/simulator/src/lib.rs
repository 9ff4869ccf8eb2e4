//! Simulated fleets: the same seed gives the same bytes, so a run that was killed goes on where it
//! stopped. [`world`] is a surgical fleet with sites, people, services and causes, [`fleet`] the
//! layout of the throughput benchmark, and [`Simulator`] a small fleet for a first look.
//!
//! The small fleet is pure: asked for a tick (100 ms of event time), it gives that tick's records. What a robot does
//! is a function of seed, robot and tick alone; there is no state to lose. Some robots wear out:
//! the actuator of joint 2 draws more current and runs hotter, until it fails and is replaced. What
//! the transport does to records is decided the same way ([`Faults`]); [`Simulator::truth`] lists
//! all of it.

mod faults;
pub mod fleet;
mod telemetry;
pub mod world;

use apache_avro::types::Value;
use fake::Fake;
use fake::faker::name::en::LastName;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use theatre_actors::ports::NewRecord;
use theatre_actors::position::TopicIndex;
use theatre_schemas::records::RecordWriter;
use theatre_schemas::registry::INPUT_SCHEMAS;

use faults::Fate;
pub use faults::Faults;
use theatre_config::ConfigError;

/// A rule file for the fleets of this crate, in which wear is announced by few conditions.
pub const RULES: &str = include_str!("../data/rules.toml");

/// Event time of a tick, microseconds.
pub const TICK_US: i64 = 100_000;
/// A procedure slot: so many ticks from one case's start to the next one's.
const SLOT_TICKS: u64 = 450;
/// A worn actuator's life, from sound to failed, ticks.
const WEAR_TICKS: u64 = 900;
/// Age at which it fails.
const FAILS_AT: u64 = 887;
/// Ticks after the next slot's begin at which a case's clinical result comes.
const RESULT_AFTER: u64 = 5;
/// Events of a case: scheduled, started, a phase each, ended.
const STEPS: i64 = 7;
const PHASES: [&str; 4] = ["docking", "dissection", "reconstruction", "closing"];
const CATEGORIES: [(&str, &str); 3] = [
    ("urological", "radical prostatectomy"),
    ("general", "hernia repair"),
    ("gynecological", "myomectomy"),
];

/// A record and where it goes: topic index, key, record.
pub type Produced = (TopicIndex, NewRecord);

/// A simulated fleet.
pub struct Simulator {
    seed: u64,
    robots: u64,
    start_us: i64,
    writers: Vec<RecordWriter>,
    faults: Faults,
}

/// A case on a robot: when it runs and how it ends.
struct Case {
    id: String,
    starts: u64,
    ends: u64,
    aborted: bool,
    kind: (&'static str, &'static str),
}

impl Case {
    /// False for a case that was nearly over when the fleet began: it leaves no records.
    fn is_visible(&self) -> bool {
        self.ends >= 2 * PHASES.len() as u64
    }
}

impl Simulator {
    /// A fleet of `robots` that begins at `start_us` (event time, microseconds UTC).
    ///
    /// # Errors
    /// Never for the shipped schemas.
    pub fn new(seed: u64, robots: u64, start_us: i64) -> Result<Self, ConfigError> {
        let writer = |index: usize| {
            RecordWriter::new(1001 + index as u32, INPUT_SCHEMAS[index].1)
                .map_err(|error| ConfigError(error.to_string()))
        };
        let writers: Result<Vec<_>, _> = (0..4).map(writer).collect();
        Ok(Self {
            seed,
            robots,
            start_us,
            writers: writers?,
            faults: Faults::default(),
        })
    }

    /// The same fleet over a transport with faults.
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// All records of a tick.
    ///
    /// # Errors
    /// Never for the shipped schemas.
    pub fn tick(&self, tick: u64) -> Result<Vec<Produced>, ConfigError> {
        let mut produced = Vec::new();
        for robot in 0..self.robots {
            let case = self.case(robot, tick);
            self.procedure_events(robot, tick, &case, &mut produced)?;
            self.result(robot, tick, &mut produced)?;
            self.robot_events(robot, tick, &mut produced)?;
            self.send(robot, tick, &mut produced)?;
        }
        Ok(produced)
    }

    /// What happened in a tick and cannot be seen in it: faults of the transport, wear, failures,
    /// cases that were aborted. Lines for a file that detection is scored with, never for the log.
    pub fn truth(&self, tick: u64) -> Vec<serde_json::Value> {
        let mut happened = Vec::new();
        for robot in 0..self.robots {
            let mut note = |what: &str| {
                happened.push(serde_json::json!({"tick": tick, "event_time": self.time(tick), "robot_id": name(robot), "what": what}));
            };
            if let Some(fault) = self.fate(robot, tick).name() {
                note(fault);
            }
            match self.wear_age(robot, tick) {
                Some(0) => note("part_replaced"),
                Some(age) if age == WEAR_TICKS / 2 => note("wear_shows"),
                Some(FAILS_AT) => note("part_failed"),
                _ => {}
            }
            let case = self.case(robot, tick);
            if case.aborted && case.ends == tick {
                note("case_aborted");
            }
        }
        happened
    }

    fn fate(&self, robot: u64, tick: u64) -> Fate {
        if self.faults.is_none() {
            return Fate::Arrives;
        }
        let mut rng = self.rng(robot, 5, tick);
        self.faults.fate(rng.random::<f64>(), rng.random())
    }

    /// Sends what is due in a tick: its own sample, and those held back until now.
    fn send(&self, robot: u64, tick: u64, produced: &mut Vec<Produced>) -> Result<(), ConfigError> {
        if self.faults.is_none() {
            return self.telemetry(robot, tick, Fate::Arrives, produced);
        }
        for measured in self
            .faults
            .delays()
            .filter_map(|delay| tick.checked_sub(delay))
        {
            let fate = self.fate(robot, measured);
            if measured + fate.delay() == tick && fate != Fate::Lost {
                self.telemetry(robot, measured, fate, produced)?;
            }
        }
        Ok(())
    }

    fn rng(&self, robot: u64, what: u64, number: u64) -> ChaCha8Rng {
        let mixed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (robot << 40)
            ^ (what << 32)
            ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03);
        ChaCha8Rng::seed_from_u64(mixed)
    }

    /// Every seventh robot wears; each with its own offset, again and again. Ticks since its part
    /// was new.
    fn wear_age(&self, robot: u64, tick: u64) -> Option<u64> {
        (robot % 7 == 3).then(|| (tick + robot * 37) % WEAR_TICKS)
    }

    /// From 0, sound, to 1.
    fn wear(&self, robot: u64, tick: u64) -> f64 {
        self.wear_age(robot, tick)
            .map_or(0.0, |age| (age as f64 / WEAR_TICKS as f64).powi(2))
    }

    fn case(&self, robot: u64, tick: u64) -> Case {
        // Robots begin their cases at different moments.
        let shifted = tick + robot * 29;
        let slot = shifted / SLOT_TICKS;
        let mut rng = self.rng(robot, 1, slot);
        let start = slot * SLOT_TICKS + rng.random_range(10..60);
        let length = rng.random_range(200..360);
        Case {
            id: format!("case-{robot:04}-{slot:06}"),
            starts: start.saturating_sub(robot * 29),
            ends: (start + length).saturating_sub(robot * 29),
            aborted: rng.random_range(0..100) < 5,
            kind: CATEGORIES[rng.random_range(0..CATEGORIES.len())],
        }
    }

    fn time(&self, tick: u64) -> i64 {
        self.start_us + tick as i64 * TICK_US
    }

    fn head(&self, robot: u64, tick: u64, time_offset: i64) -> Vec<(String, Value)> {
        vec![
            ("robot_id".to_owned(), Value::String(name(robot))),
            (
                "event_time".to_owned(),
                Value::TimestampMicros(self.time(tick) + time_offset),
            ),
        ]
    }

    fn push(
        &self,
        topic: TopicIndex,
        robot: u64,
        fields: Vec<(String, Value)>,
        produced: &mut Vec<Produced>,
    ) -> Result<(), ConfigError> {
        let value = self.writers[topic]
            .encode(Value::Record(fields))
            .map_err(|error| ConfigError(error.to_string()))?;
        produced.push((
            topic,
            NewRecord {
                key: name(robot).into_bytes(),
                value,
                headers: Vec::new(),
            },
        ));
        Ok(())
    }

    fn procedure_events(
        &self,
        robot: u64,
        tick: u64,
        case: &Case,
        produced: &mut Vec<Produced>,
    ) -> Result<(), ConfigError> {
        if !case.is_visible() {
            return Ok(());
        }
        let length = case
            .ends
            .saturating_sub(case.starts)
            .max(PHASES.len() as u64);
        // Numbered within the case, so that all of a robot's events are numbered densely.
        let mut steps: Vec<(i64, &str, Option<&str>)> = Vec::new();
        if tick == case.starts {
            steps.extend([(0, "scheduled", None), (1, "started", None)]);
        }
        for (index, phase) in PHASES.iter().enumerate() {
            if tick == case.starts + length * index as u64 / PHASES.len() as u64 {
                steps.push((2 + index as i64, "phase_started", Some(phase)));
            }
        }
        if tick == case.ends {
            steps.push((
                STEPS - 1,
                if case.aborted { "aborted" } else { "completed" },
                None,
            ));
        }
        let surgeon: String = LastName().fake_with_rng(&mut self.rng(robot % 10, 2, 0));
        let first = (tick + robot * 29) as i64 / SLOT_TICKS as i64 * STEPS;
        for (number, step, phase) in steps {
            let mut fields = self.head(robot, tick, 0);
            fields.extend([
                (
                    "sequence".to_owned(),
                    Value::Union(1, Box::new(Value::Long(first + number))),
                ),
                (
                    "event_id".to_owned(),
                    text(&format!("{}/{step}/{}", case.id, phase.unwrap_or(""))),
                ),
                ("procedure_id".to_owned(), text(&case.id)),
                ("step".to_owned(), text(step)),
                ("phase".to_owned(), phase.map_or(Value::Null, text)),
                ("category".to_owned(), text(case.kind.0)),
                ("procedure_type".to_owned(), text(case.kind.1)),
                ("surgeon_id".to_owned(), text(&format!("SURG-{surgeon}"))),
                (
                    "patient_id".to_owned(),
                    text(&format!(
                        "PAT-{}",
                        self.rng(robot, 3, case.starts)
                            .random_range(100_000..1_000_000)
                    )),
                ),
            ]);
            self.push(2, robot, fields, produced)?;
        }
        Ok(())
    }

    /// The clinical result of the case before, sent in the next slot.
    fn result(
        &self,
        robot: u64,
        tick: u64,
        produced: &mut Vec<Produced>,
    ) -> Result<(), ConfigError> {
        let shifted = tick + robot * 29;
        let Some(slot) = (shifted / SLOT_TICKS)
            .checked_sub(1)
            .filter(|_| shifted % SLOT_TICKS == RESULT_AFTER)
        else {
            return Ok(());
        };
        let Some(before) = tick.checked_sub(RESULT_AFTER + 1) else {
            return Ok(());
        };
        let case = self.case(robot, before);
        if !case.is_visible() {
            return Ok(());
        }
        let mut rng = self.rng(robot, 6, slot);
        let status = if case.aborted { "failed" } else { "successful" };
        let mut fields = self.head(robot, tick, 0);
        fields.extend([
            (
                "sequence".to_owned(),
                Value::Union(1, Box::new(Value::Long(slot as i64))),
            ),
            (
                "event_id".to_owned(),
                Value::String(format!("{}/result", case.id)),
            ),
            ("procedure_id".to_owned(), Value::String(case.id)),
            (
                "success_status".to_owned(),
                Value::String(status.to_owned()),
            ),
            (
                "blood_loss_ml".to_owned(),
                Value::Union(1, Box::new(Value::Int(rng.random_range(20..400)))),
            ),
            (
                "hospital_stay_days".to_owned(),
                Value::Union(1, Box::new(Value::Int(rng.random_range(1..6)))),
            ),
        ]);
        self.push(3, robot, fields, produced)
    }

    /// A part failed, or was replaced.
    fn robot_events(
        &self,
        robot: u64,
        tick: u64,
        produced: &mut Vec<Produced>,
    ) -> Result<(), ConfigError> {
        let (number, event_type) = match self.wear_age(robot, tick) {
            Some(0) => (0, "part_replaced"),
            Some(FAILS_AT) => (1, "fault"),
            _ => return Ok(()),
        };
        let sequence = (tick + robot * 37) as i64 / WEAR_TICKS as i64 * 2 + number;
        let text = |text: &str| Value::Union(1, Box::new(Value::String(text.to_owned())));
        let mut fields = self.head(robot, tick, 0);
        fields.extend([
            (
                "sequence".to_owned(),
                Value::Union(1, Box::new(Value::Long(sequence))),
            ),
            (
                "event_id".to_owned(),
                Value::String(format!("{}/{event_type}/{sequence}", name(robot))),
            ),
            (
                "event_type".to_owned(),
                Value::String(event_type.to_owned()),
            ),
            ("component".to_owned(), text("joints[2]")),
            ("code".to_owned(), text("17")),
        ]);
        self.push(1, robot, fields, produced)
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// A robot's id.
fn name(robot: u64) -> String {
    format!("robot-{robot:04}")
}

#[cfg(test)]
mod tests {
    use super::{Faults, Simulator};

    #[test]
    fn faults_are_as_many_as_asked_for_and_distinct() {
        let faults = Faults {
            duplicate: 0.02,
            gap: 0.02,
            reorder: 0.02,
            late: 0.02,
            truncated: 0.02,
            late_ticks: 50,
            ..Faults::default()
        };
        let simulator = Simulator::new(1, 20, 0).unwrap().with_faults(faults);
        let ticks = 400;
        let sent = (0..ticks + 50)
            .flat_map(|tick| simulator.tick(tick).unwrap())
            .filter(|(topic, _)| *topic == 0)
            .count();
        let truth: Vec<String> = (0..ticks + 50)
            .flat_map(|tick| simulator.truth(tick))
            .map(|event| event["what"].as_str().unwrap().to_owned())
            .collect();
        let count = |what: &str| truth.iter().filter(|event| *event == what).count();
        for what in ["duplicate", "gap", "reorder", "late", "truncated"] {
            assert!((100..260).contains(&count(what)), "{what}: {}", count(what));
        }
        // What is still held back at the end is not sent yet.
        let held = 20 * (ticks + 50) as usize + count("duplicate") - count("gap") - sent;
        assert!(held < 60, "{held}");
    }

    #[test]
    fn events_and_results_are_numbered_densely() {
        let simulator = Simulator::new(1, 12, 0).unwrap();
        let produced: Vec<_> = (0..4000)
            .flat_map(|tick| simulator.tick(tick).unwrap())
            .collect();
        let registry = theatre_schemas::registry::Registry::builtin();
        let pseudonyms = std::sync::Arc::new(theatre_schemas::pseudonym::Pseudonyms::new([0; 32]));
        for topic in 1..4 {
            let writer = registry.lookup(1001 + topic as u32).unwrap();
            let dataset = registry.datasets().get(writer.dataset_index).clone();
            let mut builder = theatre_schemas::decode::BatchBuilder::new(
                dataset,
                writer.dataset_index,
                pseudonyms.clone(),
            );
            for (_, record) in produced.iter().filter(|(of, _)| *of == topic) {
                builder
                    .push(
                        &writer.plan,
                        theatre_schemas::framing::parse(&record.value).unwrap().1,
                        0,
                        0,
                    )
                    .unwrap();
            }
            let batch = builder.finish().unwrap();
            let mut last = std::collections::BTreeMap::new();
            for row in 0..batch.len() {
                let sequence = batch.sequence(row).unwrap();
                if let Some(before) = last.insert(batch.robot_id(row).to_owned(), sequence) {
                    assert_eq!(sequence, before + 1, "topic {topic}");
                }
            }
            assert!(batch.len() > 10, "topic {topic}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
        let run = |seed: u64| {
            (0..30)
                .map(|tick| Simulator::new(seed, 5, 0).unwrap().tick(tick).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn a_tick_brings_one_sample_of_each_robot() {
        let produced = Simulator::new(1, 12, 0).unwrap().tick(5).unwrap();
        assert_eq!(produced.iter().filter(|(topic, _)| *topic == 0).count(), 12);
    }
}
