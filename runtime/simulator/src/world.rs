//! A surgical fleet in which faults have causes: sites, robots, surgeons and patients, a schedule,
//! parts that wear, and services that put them right.
//!
//! The world is a discrete simulation: an agenda of what happens when, of which each entry may
//! write facts of its own moment and put further entries into the agenda. Samples are taken by the
//! legs of cases that are under way. All random numbers are drawn by what they decide ([`dice`]),
//! so the same settings give the same facts in the same order, and nothing of it depends on how far
//! the world is moved at once. A run that was killed moves a new world, without taking samples, to
//! where the old one was written, which takes a moment for months: nothing has to be stored but
//! that position.

mod avro;
mod calendar;
mod case_run;
mod catalogue;
mod component;
mod dice;
mod instrument;
mod leg;
mod outcome;
mod patient;
mod procedure;
mod records;
mod robot;
mod schedule;
mod service;
mod settings;
mod signature;
mod stream;
mod surgeon;
mod telemetry;
mod transport;
mod turns;
mod upkeep;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use theatre_config::ConfigError;

pub use calendar::DAY_US;
use catalogue::Catalogue;
use leg::Leg;
use procedure::Case;
pub use records::Topic;
use records::{Content, Fact, RobotEvent};
use robot::{Making, Robot, Status};
use schedule::{Bookings, Demand, Schedule};
use service::Order;
pub use settings::{Profile, Sampling, Settings};
pub use stream::{Chunk, Stream};
use surgeon::Surgeon;
pub use transport::Network;

/// Cases of a robot on an ordinary day, where days have no fixed number.
const CASES_A_DAY: f64 = 1.3;
/// How long reference data stays away when it is to come after facts.
const REGISTRIES_LATE_US: i64 = 30 * DAY_US;

/// What is to happen.
#[derive(Debug)]
enum Action {
    /// Services and cases of a day are planned.
    Plan(i64),
    /// A robot that works case after case takes the next.
    Next(usize),
    /// A case begins, or is called off.
    Begin(Box<Case>),
    /// A robot is out of use.
    Down(usize),
    /// Work begins, and ends.
    Serve(Box<Order>),
    Served(Box<Order>),
    /// A part begins to wear on a course that was laid down: robot, part, complete at.
    Wear(usize, usize, i64),
    /// A record is written.
    Write(Box<Fact>),
    /// The ground truth is written.
    Note(Value),
    /// The recordings of all robots end.
    Close,
}

/// A fleet at a moment.
#[derive(Debug)]
struct World {
    settings: Settings,
    catalogue: &'static Catalogue,
    robots: Vec<Robot>,
    surgeons: Vec<Surgeon>,
    /// Of each surgeon, beside the others.
    experience: Vec<f64>,
    schedule: Schedule,
    agenda: BTreeMap<(i64, u64), Action>,
    /// Entries that were ever put into the agenda; orders those of the same moment.
    entries: u64,
    legs: Vec<Leg>,
    /// Services that were ever ordered.
    orders: u64,
    /// Written since the world was moved last.
    facts: Vec<Fact>,
    truth: Vec<Value>,
}

impl World {
    /// A fleet at its beginning.
    fn new(settings: &Settings) -> Result<Self, ConfigError> {
        settings.check().map_err(ConfigError)?;
        let catalogue = Catalogue::shipped()?;
        let (seed, begin) = (settings.seed, settings.begin());
        let surgeons = surgeon::staff(catalogue, seed, settings::SURGEONS, begin);
        let demand = match settings.profile {
            Profile::Reference => Demand::fixed(
                seed,
                begin,
                settings::REFERENCE_DAYS as usize,
                settings::REFERENCE_CASES,
            ),
            _ => Demand::PerRobot(CASES_A_DAY),
        };
        let schedule = Schedule {
            seed,
            begin,
            demand,
            surgeons_stay: settings.profile != Profile::Reference,
            surgeons: vec![Bookings::default(); surgeons.len()],
            categories: vec![0; catalogue.categories.len()],
            cases: 0,
        };
        let mut world = Self {
            settings: settings.clone(),
            catalogue,
            robots: Vec::new(),
            experience: surgeon::experience(&surgeons),
            surgeons,
            schedule,
            agenda: BTreeMap::new(),
            entries: 0,
            legs: Vec::new(),
            orders: 0,
            facts: Vec::new(),
            truth: Vec::new(),
        };
        world.robots = robot::fleet(catalogue, &world.making());
        world.register();
        world.open();
        Ok(world)
    }

    fn making(&self) -> Making {
        Making {
            seed: self.settings.seed,
            count: self.settings.robots,
            begin: self.settings.begin(),
            has_idle: self.settings.profile == Profile::Reference,
            wears: self.settings.wears(),
            named_by_site: self.settings.profile == Profile::Demo,
        }
    }

    /// Puts an entry into the agenda.
    fn at(&mut self, time: i64, action: Action) {
        self.entries += 1;
        self.agenda.insert((time, self.entries), action);
    }

    /// Registers facilities, models, surgeons and robots.
    fn register(&mut self) {
        let since = surgeon::registered_on() * DAY_US;
        let mut entries: Vec<(String, Content)> = Vec::new();
        for (index, facility) in self.catalogue.facilities.iter().enumerate() {
            entries.push((facility.facility_id.clone(), Content::Facility(index)));
        }
        for (index, model) in self.catalogue.models.iter().enumerate() {
            entries.push((model.name.clone(), Content::Model(index)));
        }
        for surgeon in &self.surgeons {
            entries.push((
                surgeon.surgeon_id.clone(),
                Content::Surgeon(surgeon.clone()),
            ));
        }
        let late = if self.settings.late_registries {
            REGISTRIES_LATE_US
        } else {
            0
        };
        for (key, content) in entries {
            let fact = Fact {
                time: since,
                event_id: format!("{key}/registration"),
                key,
                content,
            };
            self.at(self.settings.start_us + late, Action::Write(Box::new(fact)));
        }
        for robot in &self.robots {
            // A retired robot was in use first.
            let mut entry = robot.entry(self.catalogue);
            if robot.status != Status::Operational {
                entry.status = Status::Operational.name();
                entry.decommissioned_on = None;
            }
            self.facts.push(Fact {
                time: robot.installed_on * DAY_US,
                key: robot.id.clone(),
                event_id: format!("{}/registration/installed", robot.id),
                content: Content::Robot(entry),
            });
        }
    }

    /// Fills the agenda of the beginning.
    fn open(&mut self) {
        let start = self.settings.start_us;
        for robot in 0..self.robots.len() {
            match self.robots[robot].status {
                Status::Operational => self.event(start, robot, "started", None, None),
                _ => self.registration(start, robot),
            }
            // Wear that was there before the beginning.
            let wear = self.robots[robot].wear(self.catalogue, start);
            for part in (0..wear.len()).filter(|part| wear[*part] > 0.0) {
                let onset = self.truth_of(start, robot, part, "onset");
                self.truth.push(onset);
            }
        }
        if self.settings.has_days() {
            self.at(start, Action::Plan(self.settings.begin()));
        }
        match self.settings.profile {
            Profile::Reference => self.deal_services(),
            Profile::Degrading => {}
            Profile::Demo | Profile::Stress => self.start_working(),
        }
        if self.settings.profile == Profile::Demo {
            self.tell_story();
        }
    }

    /// Moves the world: all that happens before `until`. Without samples it only counts them.
    fn advance(&mut self, until: i64, with_samples: bool) -> (Vec<Fact>, Vec<Value>) {
        while let Some(entry) = self
            .agenda
            .first_entry()
            .filter(|next| next.key().0 < until)
        {
            let ((time, _), action) = entry.remove_entry();
            self.act(time, action);
        }
        for leg in &mut self.legs {
            let counter = &mut self.robots[leg.robot].counter;
            leg.sample(counter, until, with_samples.then_some(&mut self.facts));
        }
        self.legs.retain(|leg| !leg.is_over());
        let mut facts = std::mem::take(&mut self.facts);
        facts.sort_by_key(|fact| fact.time);
        (facts, std::mem::take(&mut self.truth))
    }

    /// True when nothing happens any more.
    fn is_over(&self) -> bool {
        self.agenda.is_empty() && self.legs.is_empty()
    }

    fn act(&mut self, time: i64, action: Action) {
        match action {
            Action::Plan(day) => self.plan(time, day),
            Action::Next(robot) => self.next_case(time, robot),
            Action::Begin(case) => self.begin(time, *case),
            Action::Down(robot) => self.take_down(time, robot),
            Action::Serve(order) => self.serve(time, *order),
            Action::Served(order) => self.served(time, *order),
            Action::Wear(robot, part, complete) => self.wear(time, robot, part, complete),
            Action::Write(fact) => self.facts.push(*fact),
            Action::Note(truth) => self.truth.push(truth),
            Action::Close => self.close(time),
        }
    }

    /// Plans the services and the cases of a day, and the planning of the next one.
    fn plan(&mut self, time: i64, day: i64) {
        if self.settings.profile == Profile::Degrading {
            self.plan_services(day);
        }
        let cases = self
            .schedule
            .plan_day(self.catalogue, day, &mut self.robots, &self.surgeons);
        for case in cases {
            self.announce(time, case);
        }
        if time + DAY_US < self.settings.end() {
            self.at(time + DAY_US, Action::Plan(day + 1));
        } else {
            self.at(time + 90 * DAY_US, Action::Close);
        }
    }

    /// Ends the recording of each robot, so that nothing waits for samples that never come.
    fn close(&mut self, time: i64) {
        for robot in 0..self.robots.len() {
            self.event(time, robot, "recording_ended", None, None);
        }
    }

    /// Writes a robot event.
    fn event(
        &mut self,
        time: i64,
        robot: usize,
        event_type: &'static str,
        component: Option<String>,
        code: Option<String>,
    ) {
        let fact = self.event_fact(time, robot, event_type, component, code);
        self.facts.push(fact);
    }

    /// A robot event.
    fn event_fact(
        &self,
        time: i64,
        robot: usize,
        event_type: &'static str,
        component: Option<String>,
        code: Option<String>,
    ) -> Fact {
        let robot = &self.robots[robot];
        let place = component.as_deref().unwrap_or_default();
        Fact {
            time,
            key: robot.id.clone(),
            event_id: format!("{}/{event_type}/{place}/{time}", robot.id),
            content: Content::RobotEvent(RobotEvent {
                event_type,
                component,
                code,
                detail: None,
                facility_id: self.catalogue.facilities[robot.facility]
                    .facility_id
                    .clone(),
            }),
        }
    }

    /// Writes a robot's entry in the registry, as it is now.
    fn registration(&mut self, time: i64, robot: usize) {
        let robot = &self.robots[robot];
        self.facts.push(Fact {
            time,
            key: robot.id.clone(),
            event_id: format!("{}/registration/{time}", robot.id),
            content: Content::Robot(robot.entry(self.catalogue)),
        });
    }

    /// A line of the ground truth on a robot's part.
    fn truth_of(&self, time: i64, robot: usize, part: usize, what: &str) -> Value {
        let (part, unit) = (&self.catalogue.parts[part], &self.robots[robot].units[part]);
        json!({
            "what": what,
            "event_time": time,
            "robot_id": self.robots[robot].id,
            "part": part.part,
            "component": part.component,
            "serial": unit.serial,
        })
    }
}
