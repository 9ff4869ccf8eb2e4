//! Services: when work is due on a robot, what it does to it, and what is reported of it.

use serde_json::json;

use super::calendar::{self, DAY_US, HOUR_US};
use super::component::ACTUATOR;
use super::dice::{Dice, Purpose};
use super::records::{Content, Fact};
use super::robot::Status;
use super::service::{self, Kind, Log, Order, Replaced};
use super::settings::{Profile, REFERENCE_DAYS, REFERENCE_SERVICES};
use super::{Action, World};

/// Local hour at which planned work begins.
const SERVICE_HOUR: i64 = 6;
/// How worn a part is that a technician finds.
const FOUND_FROM: f64 = 0.3;

impl World {
    fn service_dice(&mut self) -> Dice {
        self.orders += 1;
        Dice::new(self.settings.seed, Purpose::Service, self.orders)
    }

    /// Deals the services of the reference fleet: as many of each kind, any robot, any day.
    pub(super) fn deal_services(&mut self) {
        let mut kinds: Vec<Kind> = (0..REFERENCE_SERVICES)
            .map(|number| Kind::ALL[number % Kind::ALL.len()])
            .collect();
        Dice::new(self.settings.seed, Purpose::Deck, 2).shuffle(&mut kinds);
        for kind in kinds {
            let mut dice = self.service_dice();
            let parts = service::usual_parts(kind, &mut dice);
            let order = loop {
                let robot = dice.index(self.robots.len());
                let day = self.settings.begin() + dice.whole(0, REFERENCE_DAYS - 1);
                let start = day * DAY_US + dice.whole(0, 23) * HOUR_US;
                // What is retired is checked, and neither fails nor is made better.
                let is_retired = self.robots[robot].status == Status::Retired;
                if is_retired && matches!(kind, Kind::Emergency | Kind::Upgrade) {
                    continue;
                }
                let parts = parts.clone();
                let order = service::order(self.catalogue, (robot, kind), start, parts, &mut dice);
                let bookings = &mut self.robots[robot].bookings;
                if bookings.is_free(start - HOUR_US, order.end + HOUR_US) {
                    bookings.book(start, order.end);
                    break order;
                }
            };
            for (part, has_failed) in order.parts.clone() {
                let shows = order.start - dice.whole(20, 60) * DAY_US;
                let rest = if has_failed { 0 } else { 40 * DAY_US };
                let wear = Action::Wear(order.robot, part, order.start + rest);
                self.at(shows.max(self.settings.start_us), wear);
            }
            self.at(order.start, Action::Serve(Box::new(order)));
        }
    }

    /// A part begins to wear on a course that was laid down.
    pub(super) fn wear(&mut self, time: i64, robot: usize, part: usize, complete: i64) {
        self.robots[robot].units[part].plan(time, complete);
        let onset = self.truth_of(time, robot, part, "onset");
        self.truth.push(onset);
    }

    /// The story of the demo: an actuator of the first robot wears within minutes.
    pub(super) fn tell_story(&mut self) {
        let start = self.settings.start_us;
        let complete = start + 7 * calendar::MINUTE_US;
        let wear = Action::Wear(0, ACTUATOR, complete);
        self.at(start + calendar::MINUTE_US, wear);
    }

    /// Plans the work that is due on a day, for robots that are free; the others wait a day.
    pub(super) fn plan_services(&mut self, day: i64) {
        if calendar::weekday(day) >= 5 || calendar::is_holiday(day) {
            return;
        }
        for robot in 0..self.robots.len() {
            let of = &self.robots[robot];
            let offset = self.catalogue.facilities[of.facility].utc_offset_hours;
            let start = day * DAY_US + (SERVICE_HOUR - offset) * HOUR_US;
            if of.next_service_on > day
                || of.status != Status::Operational
                || !of.bookings.is_free(start, start + 12 * HOUR_US)
            {
                continue;
            }
            let wear = of.wear(self.catalogue, start);
            let mut dice = self.service_dice();
            let kinds = [Kind::Routine, Kind::Calibration, Kind::Upgrade];
            let kind = kinds[dice.weighted(&[0.75, 0.15, 0.1])];
            let found = wear
                .iter()
                .enumerate()
                .filter(|(_, wear)| **wear > FOUND_FROM);
            let found = found.filter(|_| kind == Kind::Routine && dice.chance(0.85));
            let parts: Vec<(usize, bool)> = found.map(|(part, _)| (part, false)).take(4).collect();
            let order = service::order(self.catalogue, (robot, kind), start, parts, &mut dice);
            self.robots[robot].bookings.book(start, order.end);
            // Until then it is not planned again.
            self.robots[robot].next_service_on = day + 1;
            let planned = self.log(&order, day * DAY_US, "planned", Vec::new());
            self.facts.push(planned);
            self.at(start, Action::Serve(Box::new(order)));
        }
    }

    /// A robot of which a part has failed is out of use, and a technician is on the way.
    pub(super) fn take_down(&mut self, time: i64, robot: usize) {
        self.robots[robot].status = Status::Maintenance;
        self.registration(time, robot);
        let units = self.robots[robot].units.iter().enumerate();
        let failed = units.filter(|(_, unit)| unit.has_failed());
        let parts: Vec<(usize, bool)> = failed.map(|(part, _)| (part, true)).take(4).collect();
        let mut dice = self.service_dice();
        let haste = self.settings.service_haste();
        let travel = (dice.uniform(0.5, 3.0) * HOUR_US as f64) as i64 / haste;
        let start = time + travel;
        let what = (robot, Kind::Emergency);
        let mut order = service::order(self.catalogue, what, start, parts, &mut dice);
        order.end = start + (order.end - start) / haste;
        self.robots[robot].bookings.book(time, order.end);
        self.at(start, Action::Serve(Box::new(order)));
    }

    /// Work begins.
    pub(super) fn serve(&mut self, time: i64, order: Order) {
        let robot = order.robot;
        let is_dealt = self.settings.profile == Profile::Reference;
        if !is_dealt && order.kind != Kind::Emergency {
            // It broke in between: the planned work waits for the next day in use.
            if self.robots[robot].status != Status::Operational {
                let called_off = self.log(&order, time, "cancelled", Vec::new());
                self.facts.push(called_off);
                return;
            }
        }
        if is_dealt && order.kind == Kind::Emergency {
            self.report_failures(time, &order);
        }
        if self.robots[robot].usual_status == Status::Operational {
            let was = self.robots[robot].status;
            self.robots[robot].status = Status::Maintenance;
            if was != Status::Maintenance {
                self.registration(time, robot);
            }
        }
        self.event(
            time,
            robot,
            "maintenance_started",
            None,
            Some(self.kind(&order)),
        );
        if !is_dealt {
            let started = self.log(&order, time, "started", Vec::new());
            self.facts.push(started);
        }
        self.note_service(time, &order);
        self.at(order.end, Action::Served(Box::new(order)));
    }

    /// Failures of the reference fleet come with the service that they cause.
    fn report_failures(&mut self, time: i64, order: &Order) {
        for (part, _) in &order.parts {
            let failure = self.truth_of(time, order.robot, *part, "failure");
            self.truth.push(failure);
            let part = &self.catalogue.parts[*part];
            let code = Some(part.error_code.to_string());
            self.event(
                time,
                order.robot,
                "fault",
                Some(part.component.clone()),
                code,
            );
        }
    }

    fn note_service(&mut self, time: i64, order: &Order) {
        let part = |(part, has_failed): &(usize, bool)| {
            let (of, unit) = (
                &self.catalogue.parts[*part],
                &self.robots[order.robot].units[*part],
            );
            json!({
                "part": of.part,
                "serial": unit.serial,
                "failed": has_failed,
                "wear": unit.wear(of, time),
            })
        };
        let parts: Vec<serde_json::Value> = order.parts.iter().map(part).collect();
        let note = json!({
            "what": "service",
            "event_time": time,
            "robot_id": self.robots[order.robot].id,
            "maintenance_id": order.maintenance_id,
            "type": self.kind(order),
            "parts": parts,
            "cause": if order.kind == Kind::Emergency { "failure" } else { "date" },
            "until": order.end,
        });
        self.truth.push(note);
    }

    fn kind(&self, order: &Order) -> String {
        self.catalogue.work(order.kind).kind.clone()
    }

    /// Work ends: parts are new, and the robot is in use again.
    pub(super) fn served(&mut self, time: i64, order: Order) {
        let robot = order.robot;
        let making = self.making();
        let mut replaced: Vec<Replaced> = Vec::new();
        for (part, _) in &order.parts {
            let unit = self.robots[robot].new_unit(self.catalogue, &making, *part, 0.0);
            let serial = unit.serial.clone();
            let old = std::mem::replace(&mut self.robots[robot].units[*part], unit);
            let of = &self.catalogue.parts[*part];
            replaced.push([of.part.clone(), of.component.clone(), old.serial, serial]);
            let code = Some(of.part.clone());
            self.event(
                time,
                robot,
                "part_replaced",
                Some(of.component.clone()),
                code,
            );
        }
        self.renew_software(&order);
        let of = &mut self.robots[robot];
        of.status = of.usual_status;
        of.next_service_on = calendar::day_of(time) + order.next_in_days;
        of.counter.restart(time);
        self.registration(time, robot);
        self.event(
            time,
            robot,
            "maintenance_completed",
            None,
            Some(self.kind(&order)),
        );
        self.event(time, robot, "started", None, None);
        let completed = self.log(&order, time, "completed", replaced);
        self.facts.push(completed);
        if !self.settings.has_days() {
            self.at(time, Action::Next(robot));
        }
    }

    /// Upgrades bring software, and routine services at times firmware.
    fn renew_software(&mut self, order: &Order) {
        let robot = &mut self.robots[order.robot];
        let did = |code: &str| order.actions.iter().any(|action| action.code == code);
        if did("firmware_update") || order.kind == Kind::Upgrade {
            robot.firmware[2] += 1;
        }
        if did("software_upgrade") {
            robot.software = [robot.software[0], robot.software[1] + 1, 0];
        }
    }

    fn log(&self, order: &Order, time: i64, status: &'static str, parts: Vec<Replaced>) -> Fact {
        let is_done = status == "completed";
        Fact {
            time,
            key: self.robots[order.robot].id.clone(),
            event_id: format!("{}/{status}", order.maintenance_id),
            content: Content::Log(Log {
                maintenance_id: order.maintenance_id.clone(),
                kind: order.kind,
                status,
                started_at: order.start,
                ended_at: is_done.then_some(order.end),
                technician: service::technician(self.catalogue, order.technician),
                issue: order.issue.clone(),
                actions: if is_done {
                    order.actions.clone()
                } else {
                    Vec::new()
                },
                parts,
                cost_cents: is_done.then_some(order.cost_cents),
                next_on: is_done.then(|| calendar::day_of(order.end) + order.next_in_days),
            }),
        }
    }
}
