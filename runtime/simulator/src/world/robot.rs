//! Robots: what they are, what they are fit for, what sits in them, and how they count their
//! records.

use std::collections::{BTreeSet, VecDeque};

use super::avro::Datum;
use super::calendar;
use super::catalogue::Catalogue;
use super::component::{ACTUATOR, GRIPPER, PARTS, Unit, Wear};
use super::dice::{Dice, Purpose};
use super::instrument::Tray;
use super::records::symbols;
use super::schedule::Bookings;

/// What a robot is fit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Operational,
    Maintenance,
    Retired,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::Maintenance => "maintenance",
            Self::Retired => "retired",
        }
    }
}

/// A robot.
#[derive(Debug)]
pub(super) struct Robot {
    pub(super) id: String,
    pub(super) index: usize,
    pub(super) serial_number: String,
    pub(super) model: usize,
    pub(super) facility: usize,
    pub(super) installed_on: i64,
    pub(super) hardware_revision: String,
    pub(super) software: [i64; 3],
    pub(super) firmware: [i64; 3],
    pub(super) status: Status,
    /// Status while it is not under service.
    pub(super) usual_status: Status,
    pub(super) decommissioned_on: Option<i64>,
    pub(super) units: Vec<Unit>,
    pub(super) tray: Tray,
    pub(super) bookings: Bookings,
    pub(super) next_service_on: i64,
    /// Units that were ever fitted; numbers serials.
    pub(super) fitted: u64,
    pub(super) counter: Counter,
}

/// How a robot numbers its samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter {
    pub(super) boot: i64,
    pub(super) booted_at: i64,
    pub(super) sequence: i64,
    restarts: VecDeque<i64>,
}

impl Counter {
    /// The controller starts anew at a moment; moments come in order.
    pub(super) fn restart(&mut self, at: i64) {
        self.restarts.push_back(at);
    }

    /// Start, number and uptime (microseconds) of the sample at a moment.
    pub(super) fn next(&mut self, time: i64) -> (i64, i64, i64) {
        while let Some(at) = self.restarts.front().copied().filter(|at| *at <= time) {
            self.restarts.pop_front();
            self.boot += 1;
            self.booted_at = at;
            self.sequence = 0;
        }
        self.sequence += 1;
        (self.boot, self.sequence - 1, time - self.booted_at)
    }
}

/// How a fleet of robots is made.
pub(super) struct Making {
    pub(super) seed: u64,
    pub(super) count: usize,
    /// Day of the fleet's beginning.
    pub(super) begin: i64,
    /// Some are in maintenance or retired for good.
    pub(super) has_idle: bool,
    /// Parts wear by their hazard.
    pub(super) wears: bool,
    /// Robots are called after their site.
    pub(super) named_by_site: bool,
}

/// All robots: facilities in turn, models balanced within and over facilities.
pub(super) fn fleet(catalogue: &Catalogue, making: &Making) -> Vec<Robot> {
    let statuses = statuses(making);
    let mut serials = BTreeSet::new();
    let robot = |index: usize| {
        let mut dice = Dice::new(making.seed, Purpose::Robot, index as u64);
        let facility = index % catalogue.facilities.len();
        let model = (index + index / catalogue.facilities.len() * 3) % catalogue.models.len();
        let maker = &catalogue.models[model].manufacturer;
        let prefix: String = maker.chars().take(3).collect::<String>().to_uppercase();
        let serial_number = loop {
            let number = format!("{prefix}-{}", dice.whole(10_000, 99_999));
            if serials.insert(number.clone()) {
                break number;
            }
        };
        let status = statuses[index];
        let tray = Tray::new(index, catalogue.models[model].instrument_lives, &mut dice);
        let mut robot = Robot {
            id: name(catalogue, making, index),
            index,
            serial_number,
            model,
            facility,
            installed_on: making.begin - dice.whole(730, 1_825),
            hardware_revision: format!("{}{}", dice.pick(&["A", "B", "C"]), dice.whole(1, 4)),
            software: [dice.whole(4, 7), dice.whole(0, 9), dice.whole(0, 9)],
            firmware: [dice.whole(2, 5), dice.whole(0, 9), dice.whole(0, 20)],
            status,
            usual_status: status,
            decommissioned_on: (status == Status::Retired)
                .then(|| making.begin - dice.whole(1, 90)),
            units: Vec::with_capacity(PARTS),
            tray,
            bookings: Bookings::default(),
            next_service_on: making.begin + dice.whole(1, 90),
            fitted: 0,
            counter: Counter {
                boot: 1,
                booted_at: making.begin * calendar::DAY_US,
                ..Counter::default()
            },
        };
        for part in 0..PARTS {
            let age = dice.uniform(0.0, 0.75) * catalogue.parts[part].life_hours;
            let unit = robot.new_unit(catalogue, making, part, age);
            robot.units.push(unit);
        }
        robot
    };
    (0..making.count).map(robot).collect()
}

/// 42 of 50 robots are operational, 6 in maintenance, 2 retired, in random order.
fn statuses(making: &Making) -> Vec<Status> {
    let share = |share: f64| match making.has_idle {
        true => (making.count as f64 * share).round() as usize,
        false => 0,
    };
    let (maintenance, retired) = (share(0.12), share(0.03));
    let mut statuses = vec![Status::Operational; making.count];
    statuses[..maintenance].fill(Status::Maintenance);
    statuses[maintenance..maintenance + retired].fill(Status::Retired);
    Dice::new(making.seed, Purpose::Deck, 0).shuffle(&mut statuses);
    statuses
}

fn name(catalogue: &Catalogue, making: &Making, index: usize) -> String {
    let facilities = &catalogue.facilities;
    if making.named_by_site {
        let site = &facilities[index % facilities.len()].short;
        return format!("{site}-{}", index / facilities.len() + 1);
    }
    format!("robot-{index:04}")
}

impl Robot {
    /// A new unit of a part, with a serial number of its own and so many hours behind it.
    pub(super) fn new_unit(
        &mut self,
        catalogue: &Catalogue,
        making: &Making,
        part: usize,
        hours: f64,
    ) -> Unit {
        let number = self.fitted;
        self.fitted += 1;
        let part = &catalogue.parts[part];
        let initials: String = part
            .part
            .split('_')
            .filter_map(|word| word.chars().next())
            .collect();
        let serial = format!("{}-{:04}-{number:04}", initials.to_uppercase(), self.index);
        if !making.wears {
            return Unit::sound(serial);
        }
        let number = (self.index as u64) << 20 | number;
        let mut dice = Dice::new(making.seed, Purpose::Unit, number);
        Unit::wearing(serial, part, hours, &mut dice)
    }

    /// How worn its parts are.
    pub(super) fn wear(&self, catalogue: &Catalogue, time: i64) -> Wear {
        std::array::from_fn(|part| self.units[part].wear(&catalogue.parts[part], time))
    }

    /// Its whole entry in the registry, as it is now.
    pub(super) fn entry(&self, catalogue: &Catalogue) -> Entry {
        let model = &catalogue.models[self.model];
        let followed = catalogue.parts.iter().zip(&self.units).map(|(part, unit)| {
            [
                part.component.clone(),
                part.part.clone(),
                unit.serial.clone(),
            ]
        });
        let mut components: Vec<[String; 3]> = followed.collect();
        // The other joints and grippers are followed by serial number, too; they last.
        for arm in 0..model.arms {
            for joint in 0..model.joints_per_arm {
                let component = format!("arms[{arm}].joints[{joint}]");
                if component != catalogue.parts[ACTUATOR].component {
                    let serial = format!("AA-{:04}-{arm}{joint}", self.index);
                    components.push([component, catalogue.parts[ACTUATOR].part.clone(), serial]);
                }
            }
        }
        debug_assert_eq!(catalogue.parts[GRIPPER].component, "arms[0].gripper");
        Entry {
            serial_number: self.serial_number.clone(),
            model: model.name.clone(),
            manufacturer: model.manufacturer.clone(),
            facility_id: catalogue.facilities[self.facility].facility_id.clone(),
            installed_on: self.installed_on,
            hardware_revision: self.hardware_revision.clone(),
            software_version: version(self.software),
            firmware_version: version(self.firmware),
            status: self.status.name(),
            decommissioned_on: self.decommissioned_on,
            components,
        }
    }
}

/// A version as text.
pub(super) fn version([major, minor, patch]: [i64; 3]) -> String {
    format!("{major}.{minor}.{patch}")
}

/// A robot's entry in the registry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) serial_number: String,
    pub(super) model: String,
    pub(super) manufacturer: String,
    pub(super) facility_id: String,
    pub(super) installed_on: i64,
    pub(super) hardware_revision: String,
    pub(super) software_version: String,
    pub(super) firmware_version: String,
    pub(super) status: &'static str,
    pub(super) decommissioned_on: Option<i64>,
    /// Place, part and serial number.
    pub(super) components: Vec<[String; 3]>,
}

impl Entry {
    /// Writes the fields of the registration.
    pub(super) fn encode(&self, datum: &mut Datum) {
        datum
            .text(&self.serial_number)
            .optional_text(Some(&self.model))
            .optional_text(Some(&self.manufacturer))
            .optional_text(Some(&self.facility_id))
            .optional_whole(Some(self.installed_on))
            .optional_text(Some(&self.hardware_revision))
            .optional_text(Some(&self.software_version))
            .optional_text(Some(&self.firmware_version))
            .symbol(&symbols::STATUS, self.status)
            .optional_whole(self.decommissioned_on)
            .array(&self.components, |datum, [component, part, serial]| {
                datum.text(component).text(part).text(serial);
            });
    }
}
