//! Components that wear: their latent health, from new to failed.
//!
//! A unit has a hazard that grows with its operating hours. Cumulative hazard of wear-out is
//! `frailty x (hours / life)^shape` (Weibull); a unit with a defect of manufacture has `3 x
//! sqrt(hours / 100)` more, which is steep at first (infant mortality). Load and temperature make
//! an hour count for more. A unit fails when its cumulative hazard reaches a limit drawn from the
//! exponential distribution, so failures follow the hazard exactly. What is left to that limit is
//! its health: wear shows from a share of the limit on (`onset`) and grows to 1 at failure.

use super::catalogue::Part;
use super::dice::Dice;

/// Parts that wear, in the order of the service catalogue.
pub const PARTS: usize = 7;
pub(super) const ACTUATOR: usize = 0;
pub(super) const SENSOR: usize = 1;
pub(super) const CAMERA: usize = 2;
pub(super) const SEAL: usize = 3;
pub(super) const CONTROL: usize = 4;
pub(super) const SUPPLY: usize = 5;
pub(super) const GRIPPER: usize = 6;

/// How worn each part is: 0 sound, 1 failed.
pub type Wear = [f64; PARTS];

/// Hours after which hardly any defect of manufacture is left.
const INFANT_HOURS: f64 = 100.0;
/// How steep the hazard of a defect is.
const INFANT_HAZARD: f64 = 3.0;

/// What drives a unit to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Course {
    /// It stays as it is: the fleet's kind has no wear of its own.
    Sound,
    /// Its hazard.
    Hazard,
    /// A course that was laid down: wear begins and is complete at given moments.
    Planned { onset: i64, complete: i64 },
}

/// One component with a serial number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit {
    pub(super) serial: String,
    /// Operating hours since it was new.
    pub(super) hours: f64,
    course: Course,
    frailty: f64,
    has_defect: bool,
    hazard: f64,
    limit: f64,
    onset: f64,
    has_failed: bool,
}

/// What happened to a unit during some work, each as a share of the work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Worked {
    pub(super) onset: Option<f64>,
    pub(super) failure: Option<f64>,
}

impl Unit {
    /// A unit that has no wear.
    pub(super) fn sound(serial: String) -> Self {
        Self {
            serial,
            hours: 0.0,
            course: Course::Sound,
            frailty: 1.0,
            has_defect: false,
            hazard: 0.0,
            limit: f64::INFINITY,
            onset: 0.5,
            has_failed: false,
        }
    }

    /// A unit that wears, with so many hours behind it.
    pub(super) fn wearing(serial: String, part: &Part, hours: f64, dice: &mut Dice) -> Self {
        // Gamma with mean 1 and shape 4: the weakest of ten wears about twice as fast as the mean.
        let frailty = (0..4).map(|_| dice.exponential()).sum::<f64>() / 4.0;
        let has_defect = dice.chance(part.infant) && hours < INFANT_HOURS;
        let mut unit = Self {
            hours,
            course: Course::Hazard,
            frailty,
            has_defect,
            onset: dice.uniform(0.4, 0.65),
            ..Self::sound(serial)
        };
        unit.hazard = unit.cumulative(part, hours);
        // It has survived until now, and the exponential distribution has no memory.
        unit.limit = unit.hazard + dice.exponential();
        unit
    }

    /// Lays its course down: wear begins and is complete at these moments.
    pub(super) fn plan(&mut self, onset: i64, complete: i64) {
        self.course = Course::Planned { onset, complete };
    }

    fn cumulative(&self, part: &Part, hours: f64) -> f64 {
        let defect = if self.has_defect {
            INFANT_HAZARD * (hours / INFANT_HOURS).sqrt()
        } else {
            0.0
        };
        self.frailty * (hours / part.life_hours).powf(part.shape) + defect
    }

    /// How worn it is at a moment.
    pub(super) fn wear(&self, part: &Part, time: i64) -> f64 {
        let course = match self.course {
            _ if self.has_failed => return 1.0,
            Course::Sound => return 0.0,
            Course::Hazard => (self.hazard / self.limit - self.onset) / (1.0 - self.onset),
            Course::Planned { onset, complete } => {
                (time - onset) as f64 / (complete - onset).max(1) as f64
            }
        };
        course.clamp(0.0, 1.0).powf(part.growth)
    }

    /// Works from `from` to `to`; `hours` count for `stress` times as many. A unit that fails stays
    /// as it is then.
    pub(super) fn work(
        &mut self,
        part: &Part,
        hours: f64,
        stress: f64,
        span: (i64, i64),
    ) -> Worked {
        let before = self.hours;
        self.hours += hours;
        let share = |value: f64, low: f64, high: f64| {
            (low < value && value <= high).then(|| (value - low) / (high - low))
        };
        let worked = match self.course {
            _ if self.has_failed => Worked::default(),
            Course::Sound => Worked::default(),
            Course::Hazard => {
                let low = self.hazard;
                let step = self.cumulative(part, self.hours) - self.cumulative(part, before);
                self.hazard += step * stress;
                Worked {
                    onset: share(self.onset * self.limit, low, self.hazard),
                    failure: share(self.limit, low, self.hazard),
                }
            }
            Course::Planned { onset, complete } => {
                let (low, high) = (span.0 as f64, span.1 as f64);
                // What was complete while it did not work shows at once.
                Worked {
                    onset: share(onset as f64, low, high),
                    failure: (complete <= span.1)
                        .then(|| ((complete as f64 - low) / (high - low).max(1.0)).max(0.0)),
                }
            }
        };
        self.has_failed |= worked.failure.is_some();
        worked
    }

    /// True when its course was laid down.
    pub(super) fn is_planned(&self) -> bool {
        matches!(self.course, Course::Planned { .. })
    }

    /// True once it has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }
}

/// How much faster a part ages under a load (1 is usual) and above 24 degrees Celsius.
pub(super) fn stress(part: &Part, load: f64, temperature: f64) -> f64 {
    load.powf(part.load) * (part.heat * (temperature - 24.0)).exp()
}

#[cfg(test)]
mod tests {
    use super::{INFANT_HOURS, Unit, stress};
    use crate::world::catalogue::Catalogue;
    use crate::world::dice::{Dice, Purpose};

    fn lives(part: usize, load: f64) -> Vec<f64> {
        let part = &Catalogue::shipped().unwrap().parts[part];
        let life = |number| {
            let mut dice = Dice::new(1, Purpose::Unit, number);
            let mut unit = Unit::wearing(String::new(), part, 0.0, &mut dice);
            let stress = stress(part, load, 24.0);
            let (mut last, mut shown) = (0.0, false);
            while !unit.has_failed() && unit.hours < 40_000.0 {
                let worked = unit.work(part, 5.0, stress, (0, 1));
                shown |= worked.onset.is_some();
                let wear = unit.wear(part, 0);
                assert!(wear >= last, "wear only grows");
                assert!(wear == 0.0 || shown, "and not before its onset");
                last = wear;
            }
            assert_eq!(last, 1.0);
            unit.hours
        };
        let mut lives: Vec<f64> = (0..2_000).map(life).collect();
        lives.sort_by(f64::total_cmp);
        lives
    }

    #[test]
    fn some_die_as_infants_and_most_wear_out() {
        let lives = lives(0, 1.0);
        let infants = lives.iter().filter(|life| **life < INFANT_HOURS).count();
        assert!((40..110).contains(&infants), "5 % have a defect: {infants}");
        let (tenth, middle) = (lives[400], lives[1_000]);
        assert!((1_800.0..3_200.0).contains(&middle), "{middle}");
        assert!(
            tenth > middle * 0.5,
            "wear-out is late: {tenth} of {middle}"
        );
    }

    #[test]
    fn load_and_heat_shorten_a_life() {
        assert!(lives(0, 1.5)[1_000] < lives(0, 1.0)[1_000] * 0.95);
        let part = &Catalogue::shipped().unwrap().parts[5];
        assert!(stress(part, 1.0, 34.0) > 1.5);
    }

    #[test]
    fn a_planned_course_is_kept() {
        let part = &Catalogue::shipped().unwrap().parts[3];
        let mut unit = Unit::sound("A".to_owned());
        unit.plan(100, 200);
        assert_eq!((unit.wear(part, 100), unit.wear(part, 150)), (0.0, 0.5));
        assert_eq!(unit.work(part, 1.0, 1.0, (50, 150)).onset, Some(0.5));
        assert_eq!(unit.work(part, 1.0, 1.0, (150, 250)).failure, Some(0.5));
        assert!(unit.has_failed());
    }
}
