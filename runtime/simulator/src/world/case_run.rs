//! A case from its announcement to its end, on one robot or, where one breaks, on two.

use serde_json::json;

use super::calendar::{HOUR_US, MINUTE_US, SECOND_US};
use super::component::{self, CAMERA, CONTROL, GRIPPER, SENSOR, Wear};
use super::dice::{Dice, Purpose};
use super::leg::{self, Leg};
use super::outcome::{self, Causes, Reports};
use super::procedure::{self, Case, Fate, Step, Timed};
use super::records::{Content, Fact};
use super::robot::{Status, version};
use super::schedule::Demand;
use super::settings::Profile;
use super::telemetry::Label;
use super::{Action, World};

/// How long before an emergency it is known.
const EMERGENCY_NOTICE_US: i64 = 30 * MINUTE_US;
/// From one case of a robot to the next, where it works case after case.
pub(super) const PAUSE_US: i64 = 30 * MINUTE_US;
/// How long it takes to bring another robot.
const MOVE_US: i64 = 20 * MINUTE_US;

/// A leg that is to be run: robot, begin, end, and how it ends.
struct Run {
    robot: usize,
    span: (i64, i64),
    last: Option<&'static str>,
    /// By how much the case is behind its plan.
    delay: i64,
    pauses: bool,
    failure: Option<(i64, i32)>,
    wear: (Wear, Wear),
}

impl World {
    /// Announces a case that is booked.
    pub(super) fn announce(&mut self, time: i64, case: Case) {
        let known = if case.is_emergency {
            (case.start - EMERGENCY_NOTICE_US).max(time)
        } else {
            time
        };
        let step = self.step(&case, case.robot, (known, "scheduled", None));
        self.at(known, Action::Write(Box::new(step)));
        self.at(case.start, Action::Begin(Box::new(case)));
    }

    fn step(&self, case: &Case, robot: usize, (time, step, phase): Timed) -> Fact {
        let phase = phase.map(|phase| self.catalogue.phases[phase].name.clone());
        let category = &self.catalogue.categories[case.category];
        let second = time / SECOND_US;
        let detail = phase.as_deref().unwrap_or_default();
        Fact {
            time,
            key: self.robots[robot].id.clone(),
            event_id: format!("{}/{step}/{detail}/{second}", case.procedure_id),
            content: Content::Step(Step {
                procedure_id: case.procedure_id.clone(),
                step,
                phase,
                procedure_type: category.types[case.kind].clone(),
                category: category.name.clone(),
                surgeon_id: self.surgeons[case.surgeon].surgeon_id.clone(),
                patient: case.patient.clone(),
                complexity: case.complexity,
            }),
        }
    }

    /// Begins a case on its robot, or on another one where that is out of use, or calls it off.
    pub(super) fn begin(&mut self, time: i64, mut case: Case) {
        if case.fate == Fate::Cancelled {
            return self.call_off(time, &case);
        }
        if self.robots[case.robot].status != Status::Operational {
            let Some(other) = self.substitute(&case, (time, case.end())) else {
                return self.call_off(time, &case);
            };
            case.robot = other;
            self.robots[other].bookings.book(time, case.end());
            let step = self.step(&case, other, (time, "scheduled", None));
            self.facts.push(step);
        }
        self.run(case);
    }

    /// Another robot of the site that is free, in use, and made for the case.
    fn substitute(&self, case: &Case, (from, to): (i64, i64)) -> Option<usize> {
        let site = self.robots[case.robot].facility;
        let category = &self.catalogue.categories[case.category].name;
        let fits = |robot: &&super::Robot| {
            robot.facility == site
                && robot.index != case.robot
                && robot.status == Status::Operational
                && robot.bookings.is_free(from, to)
                && self.catalogue.models[robot.model]
                    .categories
                    .contains(category)
        };
        self.robots.iter().find(fits).map(|robot| robot.index)
    }

    fn call_off(&mut self, time: i64, case: &Case) {
        let step = self.step(case, case.robot, (time, "cancelled", None));
        self.facts.push(step);
        self.note_case(case, "cancelled", case.robot, 0.0);
        self.free(case, case.robot, time);
        let mut dice = Dice::new(self.settings.seed, Purpose::Result, case.number);
        let reports = outcome::cancelled(&case.procedure_id, time, &mut dice);
        self.report(case.robot, time, reports);
    }

    /// Gives robot and surgeon back, and lets a robot that works case after case take the next.
    fn free(&mut self, case: &Case, robot: usize, end: i64) {
        self.robots[robot].bookings.release(end, case.end());
        self.schedule.surgeons[case.surgeon].release(end, case.end());
        if !self.settings.has_days() {
            let next = end + PAUSE_US / self.settings.haste() / 4;
            self.at(next, Action::Next(robot));
        }
    }

    /// Runs a case: how it goes follows from what it is, and from the health of the robot.
    fn run(&mut self, case: Case) {
        let mut dice = Dice::new(self.settings.seed, Purpose::Run, case.number);
        let before = self.robots[case.robot].wear(self.catalogue, case.start);
        let worst = before.iter().copied().fold(0.0, f64::max);
        let is_dealt = matches!(self.schedule.demand, Demand::Fixed { .. });
        let gives_up = !is_dealt && dice.chance(0.08 * worst * worst);
        let (mut end, mut last) = match case.fate {
            Fate::Completed if !gives_up => (case.end(), Some("completed")),
            Fate::InProgress => (case.end(), None),
            _ => {
                let share = dice.uniform(0.15, 0.85);
                let length = (case.duration as f64 * share) as i64 / SECOND_US * SECOND_US;
                (case.start + length.max(SECOND_US), Some("aborted"))
            }
        };
        let broken = self.work(&case, case.robot, (case.start, end), &before);
        let mut pauses = dice.chance(0.05 + 0.15 * worst);
        let mut moved = None;
        if let Some((at, part)) = broken {
            let delay = MOVE_US / self.settings.haste();
            let chance = dice.uniform(0.0, 1.0);
            let other = self.substitute(&case, (at, case.end() + delay));
            if let Some(other) = other.filter(|_| chance < 0.3 && last == Some("completed")) {
                moved = Some((other, at + delay, delay));
                (end, last, pauses) = (at, Some("paused"), false);
            } else if [GRIPPER, CAMERA, SENSOR].contains(&part) && chance < 0.75 {
                pauses = true;
            } else {
                let grace = (case.duration / 20).max(SECOND_US);
                (end, last) = ((at + grace).min(end), Some("aborted"));
            }
        }
        let failure = broken.map(|(at, part)| (at, self.catalogue.parts[part].error_code));
        let after = self.robots[case.robot].wear(self.catalogue, end);
        let mut robot = case.robot;
        self.leg(
            &case,
            Run {
                robot,
                span: (case.start, end),
                last,
                delay: 0,
                pauses,
                failure,
                wear: (before, after),
            },
            &mut dice,
        );
        if broken.is_some() {
            self.at(end, Action::Down(case.robot));
        }
        self.free(&case, case.robot, end);
        if let Some((other, from, delay)) = moved {
            (robot, end, last) = (other, case.end() + delay, Some("completed"));
            self.go_on(&case, other, (from, end), delay, &mut dice);
        }
        self.finish(&case, robot, end, last, &before);
    }

    /// The rest of a case that moved to another robot.
    fn go_on(&mut self, case: &Case, robot: usize, span: (i64, i64), delay: i64, dice: &mut Dice) {
        let before = self.robots[robot].wear(self.catalogue, span.0);
        let broken = self.work(case, robot, span, &before);
        let after = self.robots[robot].wear(self.catalogue, span.1);
        self.robots[robot].bookings.book(span.0, span.1);
        self.schedule.surgeons[case.surgeon].book(span.0, span.1);
        let failure = broken.map(|(at, part)| (at, self.catalogue.parts[part].error_code));
        let last = Some("completed");
        let wear = (before, after);
        self.leg(
            case,
            Run {
                robot,
                span,
                last,
                delay,
                pauses: false,
                failure,
                wear,
            },
            dice,
        );
        if broken.is_some() {
            self.at(span.1, Action::Down(robot));
        }
    }

    /// Lets the parts of a robot work. Returns when the first of them fails, if one does.
    fn work(
        &mut self,
        case: &Case,
        robot: usize,
        span: (i64, i64),
        before: &Wear,
    ) -> Option<(i64, usize)> {
        let hours = (span.1 - span.0) as f64 / HOUR_US as f64 * self.settings.haste() as f64;
        // Heat follows power, and power follows force and a worn actuator.
        let temperature = 24.0 + 1.5 * (case.complexity - 3.0) + 3.0 * before[component::ACTUATOR];
        let (mut changes, mut first) = (Vec::new(), None::<(i64, usize)>);
        for (index, part) in self.catalogue.parts.iter().enumerate() {
            let stress = component::stress(part, case.load(), temperature);
            let worked = self.robots[robot].units[index].work(part, hours, stress, span);
            let moment = |share: f64| span.0 + ((span.1 - span.0) as f64 * share) as i64;
            let is_planned = self.robots[robot].units[index].is_planned();
            if let Some(share) = worked.onset.filter(|_| !is_planned) {
                changes.push((moment(share), index, "onset"));
            }
            if let Some(share) = worked.failure {
                let at = moment(share);
                changes.push((at, index, "failure"));
                if first.is_none_or(|(earliest, _)| at < earliest) {
                    first = Some((at, index));
                }
            }
        }
        // What follows a failure is counted to it: the service that it leads to may begin before
        // the planned end of the case, and finds every part of it broken.
        let stopped = first.map_or(span.1, |(at, _)| at);
        for (moment, index, what) in changes {
            let at = moment.min(stopped);
            let note = self.truth_of(at, robot, index, what);
            self.at(at, Action::Note(note));
        }
        let (at, part) = first?;
        let (component, code) = {
            let part = &self.catalogue.parts[part];
            (part.component.clone(), part.error_code.to_string())
        };
        let fault = self.event_fact(at, robot, "fault", Some(component), Some(code));
        self.at(at, Action::Write(Box::new(fault)));
        Some((at, part))
    }

    /// Writes the steps of a leg and lets its samples be taken.
    fn leg(&mut self, case: &Case, run: Run, dice: &mut Dice) {
        let (robot, span, delay) = (run.robot, run.span, run.delay);
        let shifted = Case {
            start: case.start + delay,
            ..case.clone()
        };
        let mut steps =
            procedure::course(self.catalogue, &shifted, span, run.last, run.pauses, dice);
        if delay > 0 {
            steps.insert(0, (span.0, "resumed", None));
        }
        for step in steps {
            let fact = self.step(case, robot, step);
            self.at(step.0, Action::Write(Box::new(fact)));
        }
        self.restarts(case, robot, span, run.wear.0[CONTROL], dice);
        let mounts = self.robots[robot].tray.mounts(case.changes, dice);
        let measures = self.settings.profile != Profile::Reference || case.fate == Fate::Completed;
        if !measures {
            return;
        }
        let of = &self.robots[robot];
        let label = Label {
            robot_id: of.id.clone(),
            procedure_id: case.procedure_id.clone(),
            facility_id: self.catalogue.facilities[of.facility].facility_id.clone(),
            model: self.catalogue.models[of.model].name.clone(),
            firmware: version(of.firmware),
            complexity: case.complexity,
            mounts,
        };
        let course = leg::Course {
            case: (shifted.start, case.duration),
            span,
            wear: run.wear,
            failure: run.failure,
        };
        let number = case.number * 2 + u64::from(delay > 0);
        let signals = Dice::new(self.settings.seed, Purpose::Signals, number);
        self.legs.push(Leg::new(
            robot,
            label,
            course,
            self.settings.sampling,
            signals,
        ));
    }

    /// Restarts of the controller in mid-case: a worn board's, and those that were asked for.
    fn restarts(
        &mut self,
        case: &Case,
        robot: usize,
        span: (i64, i64),
        worn: f64,
        dice: &mut Dice,
    ) {
        let is_worn = dice.chance(0.5 * worn);
        let is_asked_for = dice.chance(self.settings.reboots);
        if !is_worn && !is_asked_for {
            return;
        }
        let at = span.0 + ((span.1 - span.0) as f64 * dice.uniform(0.1, 0.9)) as i64;
        self.robots[robot].counter.restart(at);
        let code = if is_worn { "watchdog" } else { "reboot" };
        let started = self.event_fact(at, robot, "started", None, Some(code.to_owned()));
        self.at(at, Action::Write(Box::new(started)));
        let note = json!({
            "what": "reboot",
            "event_time": at,
            "robot_id": self.robots[robot].id,
            "procedure_id": case.procedure_id,
            "cause": code,
        });
        self.at(at, Action::Note(note));
    }

    /// Writes what the hospital reports of a case that ended.
    fn finish(
        &mut self,
        case: &Case,
        robot: usize,
        end: i64,
        last: Option<&'static str>,
        wear: &Wear,
    ) {
        let worst = wear.iter().copied().fold(0.0, f64::max);
        self.note_case(case, last.unwrap_or("in_progress"), robot, worst);
        let Some(last) = last else { return };
        let causes = Causes {
            complexity: case.complexity,
            experience: self.experience[case.surgeon],
            age: case.patient.age,
            wear: *wear,
            is_aborted: last == "aborted",
        };
        let mut dice = Dice::new(self.settings.seed, Purpose::Result, case.number);
        let reports = outcome::reports(&case.procedure_id, end, &causes, &mut dice);
        self.report(robot, end, reports);
    }

    fn report(&mut self, robot: usize, end: i64, reports: Reports) {
        let haste = self.settings.haste();
        for (number, (time, result)) in [Some(reports.first), reports.correction]
            .into_iter()
            .flatten()
            .enumerate()
        {
            let time = end + (time - end) / haste;
            let fact = Fact {
                time,
                key: self.robots[robot].id.clone(),
                event_id: format!("{}/result/{}", result.procedure_id, number + 1),
                content: Content::Result(result),
            };
            self.at(time, Action::Write(Box::new(fact)));
        }
    }

    /// What is true of a case and stands in no record.
    fn note_case(&mut self, case: &Case, end: &str, robot: usize, worst: f64) {
        let note = json!({
            "what": "case",
            "event_time": case.start,
            "robot_id": self.robots[robot].id,
            "procedure_id": case.procedure_id,
            "ends": end,
            "age": case.patient.age,
            "age_band": case.patient.band(),
            "gender": case.patient.gender,
            "emergency": case.is_emergency,
            "wear": worst,
        });
        self.truth.push(note);
    }
}
