//! Profiles: what kind of fleet it is, and what follows from it.

use serde::Serialize;

use super::calendar::{self, DAY_US, HOUR_US, MINUTE_US, SECOND_US};

/// A kind of fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The fleet of the reference platform: two years, 5,000 cases, fixed shares.
    Reference,
    /// Parts wear out, fail and are replaced over months.
    Degrading,
    /// Cases last minutes, robots are called after their sites, and one robot has a story.
    Demo,
    /// Many samples a second over a bad network.
    Stress,
}

/// When samples are taken during a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// So many, evenly over the case.
    PerCase(i64),
    /// One in so many microseconds.
    Every(i64),
}

/// What a fleet is made from; the same settings give the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Kind of fleet.
    pub profile: Profile,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Robots.
    pub robots: usize,
    /// Event time of the beginning, microseconds UTC.
    pub start_us: i64,
    /// How long the fleet works, microseconds.
    pub span_us: i64,
    /// When samples are taken.
    pub sampling: Sampling,
    /// Facilities, models and surgeons are registered 30 days after the facts that name them.
    pub late_registries: bool,
    /// Share of cases in which the controller restarts.
    pub reboots: f64,
}

/// Cases, surgeons and services of the reference fleet.
pub const REFERENCE_CASES: usize = 5_000;
/// Services of the reference fleet.
pub const REFERENCE_SERVICES: usize = 200;
/// Surgeons of a fleet, five for each facility.
pub const SURGEONS: usize = 50;
/// Days of the reference fleet: 2023 and 2024.
pub const REFERENCE_DAYS: i64 = 731;

impl Settings {
    /// The usual settings of a profile; demo and stress begin at 2026-01-01, as other fleets do.
    pub fn of(profile: Profile, seed: u64) -> Self {
        let (begin, span_us, sampling) = match profile {
            Profile::Reference => (
                calendar::day(2023, 1, 1),
                REFERENCE_DAYS * DAY_US,
                Sampling::PerCase(100),
            ),
            Profile::Degrading => (
                calendar::day(2025, 1, 1),
                180 * DAY_US,
                Sampling::Every(MINUTE_US),
            ),
            Profile::Demo => (
                calendar::day(2026, 1, 1),
                HOUR_US,
                Sampling::Every(SECOND_US),
            ),
            Profile::Stress => (
                calendar::day(2026, 1, 1),
                MINUTE_US,
                Sampling::Every(SECOND_US / 100),
            ),
        };
        Self {
            profile,
            seed,
            robots: 50,
            start_us: begin * DAY_US,
            span_us,
            sampling,
            late_registries: false,
            reboots: if profile == Profile::Stress {
                0.05
            } else {
                0.0
            },
        }
    }

    /// Checks what the parts rely on.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=10_000).contains(&self.robots) {
            return Err("a fleet of this kind has 1 to 10,000 robots".to_owned());
        }
        if self.profile == Profile::Reference && self.robots != 50 {
            return Err("the reference fleet has 50 robots".to_owned());
        }
        if !(0.0..=1.0).contains(&self.reboots) {
            return Err("a share lies between 0 and 1".to_owned());
        }
        match self.sampling {
            Sampling::PerCase(1..=10_000) => {}
            Sampling::Every(interval) if (1_000..=DAY_US).contains(&interval) => {}
            _ => return Err("samples are 1 ms (1,000 Hz) to one day apart".to_owned()),
        }
        if self.span_us <= 0 {
            return Err("a fleet works for some time".to_owned());
        }
        Ok(())
    }

    /// How many times as fast as in life cases, services and reports follow each other.
    pub(super) fn haste(&self) -> i64 {
        match self.profile {
            Profile::Reference | Profile::Degrading => 1,
            Profile::Demo => 60,
            Profile::Stress => 600,
        }
    }

    /// How many times as fast as in life services are done: a newcomer waits minutes for one.
    pub(super) fn service_haste(&self) -> i64 {
        match self.profile {
            Profile::Demo => 4 * self.haste(),
            _ => self.haste(),
        }
    }

    /// True when a day has a schedule; otherwise robots work case after case.
    pub fn has_days(&self) -> bool {
        self.haste() == 1
    }

    /// True when parts wear by their hazard.
    pub(super) fn wears(&self) -> bool {
        self.profile != Profile::Reference
    }

    /// Event time that is written at once, microseconds.
    pub fn step_us(&self) -> i64 {
        match self.profile {
            Profile::Reference => 7 * DAY_US,
            Profile::Degrading => DAY_US,
            Profile::Demo => SECOND_US,
            Profile::Stress => SECOND_US / 2,
        }
    }

    /// The end of the last day.
    pub(super) fn end(&self) -> i64 {
        self.start_us + self.span_us
    }

    /// The first day.
    pub(super) fn begin(&self) -> i64 {
        calendar::day_of(self.start_us)
    }
}
