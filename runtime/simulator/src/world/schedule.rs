//! The schedule: which robot and which surgeon are free when, and the cases of a day.

use super::calendar::{self, DAY_US, HOUR_US, MINUTE_US};
use super::catalogue::Catalogue;
use super::dice::{Dice, Purpose};
use super::procedure::{self, Case, Fate};
use super::robot::{Robot, Status};
use super::surgeon::Surgeon;

/// Between two cases on a robot.
const TURNAROUND_US: i64 = 20 * MINUTE_US;
/// How often another robot, surgeon and time are tried for a case.
const TRIES: usize = 400;
/// Share of cases that are emergencies, at any hour of the day.
const EMERGENCIES: f64 = 0.06;

/// When a robot or a surgeon is taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Bookings(Vec<(i64, i64)>);

impl Bookings {
    /// True when nothing is booked between two moments.
    pub(super) fn is_free(&self, from: i64, to: i64) -> bool {
        self.0
            .iter()
            .all(|(begin, end)| to <= *begin || *end <= from)
    }

    /// Books a stretch.
    pub(super) fn book(&mut self, from: i64, to: i64) {
        self.0.push((from, to));
    }

    /// Gives back what is booked from a moment on, as of a case that ended early.
    pub(super) fn release(&mut self, from: i64, to: i64) {
        for (begin, end) in &mut self.0 {
            if (*begin..*end).contains(&from) && *end == to {
                *end = from;
            }
        }
    }

    /// Forgets what is over.
    pub(super) fn forget(&mut self, before: i64) {
        self.0.retain(|(_, end)| *end >= before);
    }
}

/// How many cases a fleet has and how they are to end.
#[derive(Debug)]
pub(super) enum Demand {
    /// A fixed number: cases of each day, and how each case ends.
    Fixed { days: Vec<usize>, fates: Vec<Fate> },
    /// So many a robot and ordinary day.
    PerRobot(f64),
}

impl Demand {
    /// `cases` over `days` days from `begin` on.
    pub(super) fn fixed(seed: u64, begin: i64, days: usize, cases: usize) -> Self {
        let mut dice = Dice::new(seed, Purpose::Deck, 1);
        let weights: Vec<f64> = (0..days as i64)
            .map(|day| calendar::busyness(begin + day))
            .collect();
        let mut counts = vec![0; days];
        for _ in 0..cases {
            counts[dice.weighted(&weights)] += 1;
        }
        let share = |percent: usize| cases * percent / 100;
        let mut fates = vec![Fate::Completed; cases];
        let (lost, aborted, cancelled) = (share(2), share(3), share(3));
        fates[..lost].fill(Fate::InProgress);
        fates[lost..lost + aborted].fill(Fate::Aborted);
        fates[lost + aborted..lost + aborted + cancelled].fill(Fate::Cancelled);
        dice.shuffle(&mut fates);
        Self::Fixed {
            days: counts,
            fates,
        }
    }
}

/// The schedule of a fleet.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    /// The first day.
    pub(super) begin: i64,
    pub(super) demand: Demand,
    /// Surgeons operate at their own site only.
    pub(super) surgeons_stay: bool,
    pub(super) surgeons: Vec<Bookings>,
    /// Cases of each category so far.
    pub(super) categories: Vec<usize>,
    /// Cases so far.
    pub(super) cases: u64,
}

impl Schedule {
    /// How many cases a day is to have.
    fn count(&self, day: i64, robots: &[Robot], dice: &mut Dice) -> usize {
        match &self.demand {
            Demand::Fixed { days, .. } => days
                .get((day - self.begin) as usize)
                .copied()
                .unwrap_or_default(),
            Demand::PerRobot(rate) => {
                let ready = |robot: &&Robot| robot.status == Status::Operational;
                let robots = robots.iter().filter(ready).count() as f64;
                (robots * rate * calendar::busyness(day) + dice.uniform(0.0, 1.0)) as usize
            }
        }
    }

    /// Books the cases of a day, in order of their starts.
    pub(super) fn plan_day(
        &mut self,
        catalogue: &Catalogue,
        day: i64,
        robots: &mut [Robot],
        surgeons: &[Surgeon],
    ) -> Vec<Case> {
        let midnight = day * DAY_US;
        for bookings in robots.iter_mut().map(|robot| &mut robot.bookings) {
            bookings.forget(midnight - DAY_US);
        }
        for bookings in &mut self.surgeons {
            bookings.forget(midnight - DAY_US);
        }
        let mut dice = Dice::new(self.seed, Purpose::Day, day as u64);
        let count = self.count(day, robots, &mut dice);
        let mut cases: Vec<Case> = (0..count)
            .filter_map(|_| self.book(catalogue, day, robots, surgeons))
            .collect();
        cases.sort_by_key(|case| case.start);
        cases
    }

    /// Finds a robot, a surgeon and a time for one more case of a day.
    fn book(
        &mut self,
        catalogue: &Catalogue,
        day: i64,
        robots: &mut [Robot],
        surgeons: &[Surgeon],
    ) -> Option<Case> {
        let number = self.cases;
        self.cases += 1;
        let mut dice = Dice::new(self.seed, Purpose::Case, number);
        let draft = procedure::draft(&mut dice);
        let is_emergency = dice.chance(EMERGENCIES);
        for _ in 0..TRIES {
            let robot = &mut robots[dice.index(robots.len())];
            if robot.status != Status::Operational {
                continue;
            }
            let hour = if is_emergency {
                dice.whole(0, 23)
            } else {
                dice.whole(7, 17)
            };
            let offset = catalogue.facilities[robot.facility].utc_offset_hours;
            let start = day * DAY_US + (hour - offset) * HOUR_US + dice.whole(0, 59) * MINUTE_US;
            let end = start + draft.duration;
            let surgeon = self.surgeon(robot.facility, surgeons, &mut dice);
            if start < day * DAY_US
                || !robot
                    .bookings
                    .is_free(start - TURNAROUND_US, end + TURNAROUND_US)
                || !self.surgeons[surgeon].is_free(start - TURNAROUND_US, end + TURNAROUND_US)
            {
                continue;
            }
            robot.bookings.book(start, end);
            self.surgeons[surgeon].book(start, end);
            let category = self.category(catalogue, robot.model, &mut dice);
            return Some(Case {
                number,
                robot: robot.index,
                surgeon,
                category,
                kind: procedure::kind(catalogue, category, &mut dice),
                start,
                fate: self.fate(number, &mut dice),
                is_emergency,
                procedure_id: draft.procedure_id,
                patient: draft.patient,
                complexity: draft.complexity,
                duration: draft.duration,
                changes: draft.changes,
            });
        }
        None
    }

    /// A surgeon for a case at a site.
    pub(super) fn surgeon(&self, site: usize, surgeons: &[Surgeon], dice: &mut Dice) -> usize {
        if !self.surgeons_stay {
            return dice.index(surgeons.len());
        }
        let here = |(_, surgeon): &(usize, &Surgeon)| surgeon.facility == site;
        let staff: Vec<usize> = surgeons
            .iter()
            .enumerate()
            .filter(here)
            .map(|(index, _)| index)
            .collect();
        if staff.is_empty() {
            return dice.index(surgeons.len());
        }
        *dice.pick(&staff)
    }

    /// A category that a model is made for; those that had fewer cases come more often, so that all
    /// are equally frequent in the long run.
    pub(super) fn category(
        &mut self,
        catalogue: &Catalogue,
        model: usize,
        dice: &mut Dice,
    ) -> usize {
        let able: Vec<usize> = catalogue.models[model]
            .categories
            .iter()
            .map(|name| catalogue.category(name))
            .collect();
        let target = self.categories.iter().sum::<usize>() as f64 / 6.0 + 6.0;
        let weight = |category: &usize| (target - self.categories[*category] as f64).max(0.02);
        let weights: Vec<f64> = able.iter().map(weight).collect();
        let category = able[dice.weighted(&weights)];
        self.categories[category] += 1;
        category
    }

    /// How a case is to end.
    pub(super) fn fate(&self, number: u64, dice: &mut Dice) -> Fate {
        match &self.demand {
            Demand::Fixed { fates, .. } => fates
                .get(number as usize)
                .copied()
                .unwrap_or(Fate::Completed),
            // What is aborted for the robot's sake comes on top.
            Demand::PerRobot(_) => {
                let fates = [
                    Fate::Completed,
                    Fate::InProgress,
                    Fate::Aborted,
                    Fate::Cancelled,
                ];
                fates[dice.weighted(&[0.948, 0.002, 0.02, 0.03])]
            }
        }
    }
}
