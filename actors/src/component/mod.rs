//! The components of a robot: by where they sit and by serial number, how long each has worked, under
//! which load, and since when.
//!
//! Nothing is computed row by row: hours and load come from the closed windows of the shortest
//! tumbling kind, which hold sums and squares of their signals. Load is the integral over time of
//! the square of a signal, such as a motor's current, which is what heats and wears it: the mean
//! square of all values times the hours. A revision of a window adds its own rows. A gap of more
//! than [`GAP_US`] between windows is no operation.
//!
//! Components are known by the registry's list, or else by the signals that say their load. A
//! replacement ends one and begins the next at the same place; what is measured before its moment
//! and comes later still goes to the old one. Bounded: [`COMPONENTS_MAX`] places a robot.

mod spec;

use serde::{Deserialize, Serialize};
use theatre_schemas::records::ComponentUse;

use crate::name_map::NameMap;
use crate::outputs::fingerprint;
use crate::processor::without_slash;
use crate::window::{SignalAggregate, WindowRow};

pub use spec::{ComponentColumns, ComponentSpec};

/// Most places of components that are followed on a robot.
const COMPONENTS_MAX: usize = 64;
/// A longer time without rows than this is no operation, microseconds.
const GAP_US: i64 = 600 * 1_000_000;
/// Microseconds of a day.
const DAY_US: i64 = 86_400 * 1_000_000;
/// Microseconds of an hour.
const HOUR: f64 = 3.6e9;

/// A component as a registry or a service names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    /// Where it sits: `arms[0].joints[2]`.
    pub(crate) component: &'a str,
    pub(crate) part: Option<&'a str>,
    pub(crate) serial: Option<&'a str>,
}

/// The components of a robot. Times are event times, microseconds UTC.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Components {
    places: NameMap<Place>,
    /// Up to where operation is counted, since the clock began.
    operated_to: Option<i64>,
    /// The day of the last daily publication, in days since 1970.
    day: Option<i64>,
}

/// What sits at a place, and what sat there before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Place {
    present: Component,
    /// The one before, for windows of its time that close late.
    past: Option<Box<Component>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Component {
    part: Option<String>,
    serial: Option<String>,
    installation: i32,
    since: i64,
    removed_at: Option<i64>,
    as_of: i64,
    operated_us: i64,
    values: u64,
    squares: f64,
    peak: f64,
    unit: Option<String>,
    published: Option<(i32, u64)>,
}

impl Component {
    fn new(named: Named<'_>, installation: i32, since: i64) -> Self {
        Self {
            part: named.part.map(str::to_owned),
            serial: named.serial.map(str::to_owned),
            installation,
            since,
            removed_at: None,
            as_of: since,
            operated_us: 0,
            values: 0,
            squares: 0.0,
            peak: 0.0,
            unit: None,
            published: None,
        }
    }

    fn add_load(&mut self, of: &SignalAggregate, unit: Option<&str>) {
        let count = of.count as f64;
        let around_mean = if of.m2.is_nan() { 0.0 } else { of.m2 };
        self.squares += around_mean + count * of.mean * of.mean;
        self.values = self.values.saturating_add(of.count);
        self.peak = self.peak.max(of.min.abs()).max(of.max.abs());
        if self.unit.as_deref() != unit {
            self.unit = unit.map(str::to_owned);
        }
    }

    fn revise(&mut self, robot_id: &str, place: &str) -> Option<ComponentUse> {
        let mut record = self.record(robot_id, place);
        let content = fingerprint(&record.encode());
        record.revision = match self.published {
            Some((_, known)) if known == content => return None,
            Some((revision, _)) => revision + 1,
            None => 0,
        };
        self.published = Some((record.revision, content));
        Some(record)
    }

    fn record(&self, robot_id: &str, place: &str) -> ComponentUse {
        let hours = self.operated_us as f64 / HOUR;
        let mean_square = (self.values > 0).then(|| self.squares / self.values as f64);
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let as_of = self.removed_at.unwrap_or(self.as_of);
        ComponentUse {
            component_id: format!(
                "{}/{}/{}",
                without_slash(robot_id),
                without_slash(place),
                self.installation
            ),
            robot_id: robot_id.to_owned(),
            component: place.to_owned(),
            part: self.part.clone(),
            serial: self.serial.clone(),
            installation: self.installation,
            revision: 0,
            since: self.since,
            removed_at: self.removed_at,
            as_of,
            operating_hours: hours,
            age_days: as_of.saturating_sub(self.since).max(0) as f64 / DAY_US as f64,
            load: finite(mean_square.map(|mean| mean * hours)).unwrap_or(0.0),
            load_mean_square: finite(mean_square),
            load_peak: finite((self.values > 0).then_some(self.peak)),
            load_unit: self.unit.as_ref().map(|unit| format!("{unit}^2.h")),
            value_count: self.values as i64,
        }
    }
}

impl Place {
    fn new(present: Component) -> Self {
        Self {
            present,
            past: None,
        }
    }

    /// The component that was there at a moment.
    fn at(&mut self, time: i64) -> &mut Component {
        match &mut self.past {
            Some(past) if time < self.present.since => past,
            _ => &mut self.present,
        }
    }

    fn revise(&mut self, robot_id: &str, place: &str) -> Vec<ComponentUse> {
        let past = self.past.as_mut();
        let past = past.and_then(|past| past.revise(robot_id, place));
        past.into_iter()
            .chain(self.present.revise(robot_id, place))
            .collect()
    }
}

impl Components {
    /// Adds a closed window of a dataset. Returns what is to be published: once a day of event time.
    pub(crate) fn on_window(
        &mut self,
        robot_id: &str,
        columns: &ComponentColumns,
        row: &WindowRow,
    ) -> Vec<ComponentUse> {
        let mut published = Vec::new();
        if row.window != columns.window() {
            return published;
        }
        let day = row.start_us.div_euclid(DAY_US);
        if self.day.is_some_and(|known| known < day) {
            published.extend(self.revise(robot_id));
        }
        let is_first = self.day.is_none();
        self.day = self.day.max(Some(day));
        self.add(columns, row);
        if is_first {
            published.extend(self.revise(robot_id));
        }
        published
    }

    fn add(&mut self, columns: &ComponentColumns, row: &WindowRow) {
        let (from, to) = span(row);
        let operated = self.operate(from, to);
        for load in columns.loads() {
            let Some(of) = row.signals.get(load.signal).filter(|of| of.count > 0) else {
                continue;
            };
            let Some(name) = columns.place(load, row) else {
                continue;
            };
            let named = Named {
                component: &name,
                part: None,
                serial: None,
            };
            if let Some(place) = self.place(named, from) {
                place.at(row.start_us).add_load(of, load.unit.as_deref());
            }
        }
        for place in self.places.values_mut() {
            let component = place.at(row.start_us);
            component.operated_us = component.operated_us.saturating_add(operated);
            component.as_of = component.as_of.max(to);
        }
    }

    /// Counts the time of a window that is not counted yet, and that since the window before.
    fn operate(&mut self, from: i64, to: i64) -> i64 {
        let Some(before) = self.operated_to else {
            self.operated_to = Some(to);
            return to.saturating_sub(from).max(0);
        };
        self.operated_to = Some(before.max(to));
        let is_gap = from.saturating_sub(before) > GAP_US;
        let begin = if is_gap { from } else { before };
        to.saturating_sub(begin).max(0)
    }

    /// The place of a component, which is made if it is not there; `None` if there are too many.
    fn place(&mut self, named: Named<'_>, since: i64) -> Option<&mut Place> {
        if !self.places.contains(named.component) && self.places.len() >= COMPONENTS_MAX {
            return None;
        }
        let fresh = || Place::new(Component::new(named, 0, since));
        Some(self.places.get_or_insert_with(named.component, fresh))
    }

    /// The registry lists the components of the robot, at a moment. Another serial number at a
    /// place is a replacement.
    pub(crate) fn registered<'a>(
        &mut self,
        robot_id: &str,
        list: impl IntoIterator<Item = Named<'a>>,
        time: i64,
    ) -> Vec<ComponentUse> {
        let mut published = Vec::new();
        for named in list {
            let Some(place) = self.place(named, time) else {
                continue;
            };
            let present = &mut place.present;
            let is_other = present.serial.is_some()
                && named.serial.is_some()
                && present.serial.as_deref() != named.serial;
            if is_other {
                published.extend(self.replaced(robot_id, named, time));
                continue;
            }
            if present.serial.is_none() {
                present.serial = named.serial.map(str::to_owned);
            }
            if named.part.is_some() && present.part.as_deref() != named.part {
                present.part = named.part.map(str::to_owned);
            }
            published.extend(place.revise(robot_id, named.component));
        }
        published
    }

    /// A component was replaced at a moment: the next one begins new. One that is named again, such
    /// as by the robot and by the report of the service, is replaced once.
    pub(crate) fn replaced(
        &mut self,
        robot_id: &str,
        named: Named<'_>,
        time: i64,
    ) -> Vec<ComponentUse> {
        let is_new = !self.places.contains(named.component);
        let Some(place) = self.place(named, time) else {
            return Vec::new();
        };
        if is_new {
            return place.revise(robot_id, named.component);
        }
        let present = &mut place.present;
        let is_known = named.serial.is_some() && present.serial.as_deref() == named.serial;
        if is_known || time <= present.since {
            return Vec::new();
        }
        // A replacement without a serial number is the one that was reported before within a day.
        let is_repeated = present.installation > 0
            && (named.serial.is_none() || present.serial.is_none())
            && time.saturating_sub(present.since) < DAY_US;
        if is_repeated {
            if present.serial.is_none() {
                present.serial = named.serial.map(str::to_owned);
            }
            return place.revise(robot_id, named.component);
        }
        let part = named.part.or(present.part.as_deref()).map(str::to_owned);
        let next = Named {
            part: part.as_deref(),
            ..named
        };
        let next = Component::new(next, present.installation + 1, time);
        let mut past = std::mem::replace(present, next);
        past.removed_at = Some(time);
        // What was there before that is final.
        let mut published: Vec<ComponentUse> = (place.past.take())
            .and_then(|mut before| before.revise(robot_id, named.component))
            .into_iter()
            .collect();
        place.past = Some(Box::new(past));
        published.extend(place.revise(robot_id, named.component));
        published
    }

    /// What differs from what was published last.
    pub(crate) fn revise(&mut self, robot_id: &str) -> Vec<ComponentUse> {
        let places = self.places.iter_mut();
        places
            .flat_map(|(name, place)| place.revise(robot_id, name))
            .collect()
    }

    /// The robot's clock begins anew: no time passes from one recording to the next.
    pub(crate) fn begin_anew(&mut self) {
        self.operated_to = None;
    }
}

/// From the first to the last value of a window; the window itself where its aggregates do not know
/// them.
fn span(row: &WindowRow) -> (i64, i64) {
    let full = row.signals.iter().filter(|of| of.count > 0 && of.is_full());
    let times = full.map(|of| (of.first_time, of.last_time));
    let widest = times.reduce(|(from, to), (first, last)| (from.min(first), to.max(last)));
    widest.unwrap_or((row.start_us, row.start_us.saturating_add(row.size_us)))
}
