//! The transport: what may happen to a record between a robot and the log, decided for each sample
//! by its number, and for each robot by a stretch of time, so that what was sent before does not
//! matter.

use clap::Args;

use super::calendar::{DAY_US, HOUR_US, SECOND_US};
use super::dice::{Dice, Purpose};
use super::records::{Content, Fact};
use crate::faults::{Fate, Faults};

/// A tick of the faults' delays, microseconds.
const TICK_US: i64 = 100_000;
/// Longest delay of what comes days late.
const DAYS_LATE: i64 = 5;
/// Telemetry dated so far ahead was sent by a robot whose clock is wrong.
const FUTURE_US: i64 = 3_650 * DAY_US;
/// The id of a schema that is not registered.
const UNKNOWN_SCHEMA: u32 = 987;
/// Bytes of a frame before the datum.
const FRAME_BYTES: usize = 5;

/// More faults of the transport, for the fleets of the profiles `reference`, `degrading`, `demo`
/// and `stress`.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct Network {
    /// Share of records held back by one to five days.
    #[arg(long = "fault-days-late", default_value_t = 0.0, value_name = "SHARE")]
    pub days_late: f64,
    /// Share of records whose temperature is in degrees Fahrenheit.
    #[arg(long = "fault-unit", default_value_t = 0.0, value_name = "SHARE")]
    pub unit: f64,
    /// Share of robots whose clock is off, by up to two minutes.
    #[arg(long = "fault-skew", default_value_t = 0.0, value_name = "SHARE")]
    pub skew: f64,
    /// Share of robots whose clock runs off, by up to 200 parts in a million.
    #[arg(long = "fault-drift", default_value_t = 0.0, value_name = "SHARE")]
    pub drift: f64,
    /// Share of time in which a robot is offline: it keeps its records and sends them at once.
    #[arg(long = "fault-offline", default_value_t = 0.0, value_name = "SHARE")]
    pub offline: f64,
    /// Share of time in which a robot is silent: its samples are lost.
    #[arg(long = "fault-silent", default_value_t = 0.0, value_name = "SHARE")]
    pub silent: f64,
    /// Share of cases in which the controller restarts.
    #[arg(long = "fault-reboot", default_value_t = 0.0, value_name = "SHARE")]
    pub reboot: f64,
}

impl Network {
    /// A network with some of each fault, which `stress` has unless it is asked for others.
    pub fn bad() -> (Faults, Self) {
        let faults = Faults {
            duplicate: 0.002,
            gap: 0.002,
            reorder: 0.01,
            late: 0.002,
            truncated: 0.0005,
            unknown_schema: 0.0005,
            future: 0.0005,
            nan: 0.0005,
            late_ticks: 50,
        };
        let network = Self {
            days_late: 0.0,
            unit: 0.0005,
            skew: 0.1,
            drift: 0.1,
            offline: 0.02,
            silent: 0.01,
            reboot: 0.05,
        };
        (faults, network)
    }

    fn shares(&self) -> [f64; 7] {
        [
            self.days_late,
            self.unit,
            self.skew,
            self.drift,
            self.offline,
            self.silent,
            self.reboot,
        ]
    }

    /// True when nothing ever happens.
    pub fn is_none(&self) -> bool {
        self.shares().iter().all(|share| *share <= 0.0)
    }

    /// Refuses shares that make no sense.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let shares = self.shares();
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        if !shares.iter().all(is_share) || self.offline + self.silent > 1.0 {
            return Err(
                "each --fault share lies between 0 and 1, and so do offline and silent together"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// The transport of a fleet.
#[derive(Debug)]
pub(super) struct Transport {
    seed: u64,
    start: i64,
    faults: Faults,
    network: Network,
    /// How long a robot is offline or silent.
    outage: i64,
}

/// What becomes of a record: when it is sent, how often, and what was done to it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Delivery {
    pub(super) copies: usize,
    pub(super) at: i64,
    pub(super) faults: Vec<&'static str>,
    pub(super) is_truncated: bool,
    pub(super) has_unknown_schema: bool,
}

impl Transport {
    /// A transport with faults, of a fleet that lives so many times as fast.
    pub(super) fn new(
        seed: u64,
        start: i64,
        haste: i64,
        faults: Faults,
        network: Network,
    ) -> Result<Self, String> {
        faults.check()?;
        network.check()?;
        Ok(Self {
            seed,
            start,
            outage: (HOUR_US / haste).max(SECOND_US),
            faults,
            network,
        })
    }

    /// The longest time between measuring and sending.
    pub(super) fn longest(&self) -> i64 {
        let days = if self.network.days_late > 0.0 {
            DAYS_LATE * DAY_US
        } else {
            0
        };
        let ticks = self.faults.delays().max().unwrap_or_default() as i64 * TICK_US;
        days.max(ticks) + self.outage
    }

    /// Decides what becomes of a record of the robot with an index, and changes what it says.
    pub(super) fn send(&self, robot: usize, fact: &mut Fact) -> Delivery {
        let mut delivery = Delivery {
            copies: 1,
            at: fact.time,
            ..Delivery::default()
        };
        let measured = fact.time;
        let is_clocked = matches!(
            fact.content,
            Content::Telemetry(_) | Content::RobotEvent(_) | Content::Step(_)
        );
        self.outages(
            robot,
            measured,
            matches!(fact.content, Content::Telemetry(_)),
            &mut delivery,
        );
        if let Content::Telemetry(sample) = &mut fact.content
            && self.harms_samples()
        {
            let number = (robot as u64) << 44 ^ (sample.boot as u64) << 34 ^ sample.sequence as u64;
            let mut dice = Dice::new(self.seed, Purpose::Transport, number);
            let fate = self.faults.fate(dice.uniform(0.0, 1.0), dice.bits());
            fact.time += self.apply(fate, &mut sample.temperature, &mut delivery);
            if dice.chance(self.network.unit) {
                sample.temperature = sample.temperature * 1.8 + 32.0;
                delivery.faults.push("unit");
            }
            if dice.chance(self.network.days_late) {
                delivery.at += dice.whole(DAY_US, DAYS_LATE * DAY_US);
                delivery.faults.push("days_late");
            }
        }
        if is_clocked {
            fact.time += self.clock_error(robot, measured);
        }
        delivery
    }

    /// True when something may happen to single samples.
    fn harms_samples(&self) -> bool {
        !self.faults.is_none() || self.network.days_late + self.network.unit > 0.0
    }

    /// Applies a fate. Returns by how much the record is dated ahead.
    fn apply(&self, fate: Fate, temperature: &mut f64, delivery: &mut Delivery) -> i64 {
        delivery.faults.extend(fate.name());
        delivery.at += fate.delay() as i64 * TICK_US;
        match fate {
            Fate::Twice => delivery.copies *= 2,
            Fate::Lost => delivery.copies = 0,
            Fate::Truncated => delivery.is_truncated = true,
            Fate::UnknownSchema => delivery.has_unknown_schema = true,
            Fate::NotANumber => *temperature = f64::NAN,
            Fate::Future => return FUTURE_US,
            Fate::Arrives | Fate::HeldBack { .. } => {}
        }
        0
    }

    /// A robot that is offline sends at the end of the outage; one that is silent loses its
    /// samples.
    fn outages(&self, robot: usize, time: i64, is_sample: bool, delivery: &mut Delivery) {
        if self.network.offline + self.network.silent <= 0.0 {
            return;
        }
        let slot = time.div_euclid(self.outage);
        let number = (robot as u64) << 40 ^ slot as u64;
        let chance = Dice::new(self.seed, Purpose::Outage, number).uniform(0.0, 1.0);
        if chance < self.network.offline {
            delivery.at = (slot + 1) * self.outage;
            delivery.faults.push("offline");
        } else if chance < self.network.offline + self.network.silent && is_sample {
            delivery.copies = 0;
            delivery.faults.push("silent");
        }
    }

    /// By how much a robot's clock is wrong at a moment.
    fn clock_error(&self, robot: usize, time: i64) -> i64 {
        if self.network.skew + self.network.drift <= 0.0 {
            return 0;
        }
        let (offset, rate) = self.clock(robot);
        offset + ((time - self.start) as f64 * rate) as i64
    }

    /// By how much a robot's clock was wrong at the beginning, and by which rate it runs off.
    pub(super) fn clock(&self, robot: usize) -> (i64, f64) {
        let mut dice = Dice::new(self.seed, Purpose::Clock, robot as u64);
        let (is_skewed, offset) = (
            dice.chance(self.network.skew),
            dice.whole(-120 * SECOND_US, 120 * SECOND_US),
        );
        let (drifts, rate) = (dice.chance(self.network.drift), dice.uniform(-2e-4, 2e-4));
        (
            if is_skewed { offset } else { 0 },
            if drifts { rate } else { 0.0 },
        )
    }
}

impl Delivery {
    /// Damages the bytes of a record on their way.
    pub(super) fn damage(&self, bytes: Vec<u8>) -> Vec<u8> {
        let mut bytes = bytes;
        if self.is_truncated {
            bytes.truncate(bytes.len() / 2);
        }
        if self.has_unknown_schema {
            return theatre_schemas::framing::frame(UNKNOWN_SCHEMA, &bytes[FRAME_BYTES..]);
        }
        bytes
    }
}
