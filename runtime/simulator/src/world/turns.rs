//! Robots that work case after case, without days: those of the demo and of the stress profile.

use super::case_run::PAUSE_US;
use super::dice::{Dice, Purpose};
use super::procedure::{self, Case};
use super::robot::Status;
use super::{Action, World};

impl World {
    /// Lets all robots begin to work case after case, each at its own moment.
    pub(super) fn start_working(&mut self) {
        let start = self.settings.start_us;
        let within = (2 * PAUSE_US) / self.settings.haste();
        for robot in 0..self.robots.len() {
            let mut dice = Dice::new(self.settings.seed, Purpose::Day, robot as u64);
            let first = start + dice.whole(0, within);
            self.at(first, Action::Next(robot));
        }
    }

    /// Books the next case of a robot that works case after case.
    pub(super) fn next_case(&mut self, time: i64, robot: usize) {
        if time >= self.settings.end() || self.robots[robot].status != Status::Operational {
            return;
        }
        let haste = self.settings.haste();
        let number = self.schedule.cases;
        self.schedule.cases += 1;
        let mut dice = Dice::new(self.settings.seed, Purpose::Case, number);
        let draft = procedure::draft(&mut dice);
        let (site, model) = (self.robots[robot].facility, self.robots[robot].model);
        let (start, duration) = (time + PAUSE_US / haste, draft.duration / haste);
        self.robots[robot].bookings.forget(time);
        let tried = (0..20).map(|_| self.schedule.surgeon(site, &self.surgeons, &mut dice));
        let tried: Vec<usize> = tried.collect();
        let Some(surgeon) = tried.into_iter().find(|surgeon| {
            let bookings = &mut self.schedule.surgeons[*surgeon];
            bookings.forget(time);
            bookings.is_free(start, start + duration)
        }) else {
            return self.at(time + PAUSE_US / haste, Action::Next(robot));
        };
        // A case that was moved here may be under way.
        if !self.robots[robot].bookings.is_free(start, start + duration) {
            return self.at(time + PAUSE_US / haste, Action::Next(robot));
        }
        self.schedule.surgeons[surgeon].book(start, start + duration);
        self.robots[robot].bookings.book(start, start + duration);
        let category = self.schedule.category(self.catalogue, model, &mut dice);
        let case = Case {
            number,
            robot,
            surgeon,
            category,
            kind: procedure::kind(self.catalogue, category, &mut dice),
            start,
            duration,
            fate: self.schedule.fate(number, &mut dice),
            is_emergency: false,
            procedure_id: draft.procedure_id,
            patient: draft.patient,
            complexity: draft.complexity,
            changes: draft.changes,
        };
        self.announce(time, case);
    }
}
