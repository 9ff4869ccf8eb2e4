//! What a robot is beside its telemetry: registry, services, operating hours, cases.

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::{Alert, InstalledComponent, PartReplacement, RobotVersion};

use super::cells::Cells;
use super::entities::SETTLED;
use super::history::{History, Inserted, Version};
use super::maintenance::Works;
use super::raised::RaisedConditions;
use crate::outputs::{Outputs, maintenance, robot_version};
use crate::time::EventTime;

/// A longer time between two samples is no operation, microseconds.
const OPERATING_GAP_US: i64 = 60_000_000;
/// Beginnings and ends of service, as the robot itself says them, that are remembered.
const MARKS_MAX: usize = 64;

/// The status of a robot that is in service.
const IN_SERVICE: &str = "maintenance";
const RETIRED: &str = "retired";

/// A robot's part of the processor's state that is not made of telemetry alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RobotRecord {
    /// Time between consecutive samples of the robot's clock, microseconds; long gaps left out.
    operating_us: i64,
    last_clock: Option<i64>,
    /// Cases whose first outcome was put out, but the cancelled ones.
    cases: u64,
    raised: RaisedConditions,
    /// Of robots of which a registry or a service was reported.
    file: Option<Box<File>>,
}

/// What was reported of a robot by people and their systems. What a version says beside its
/// attributes is left empty in the history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct File {
    history: History<RobotVersion>,
    works: Works,
    /// Moments at which the robot said that a service began (true) or ended.
    marks: Vec<(i64, bool)>,
}

/// A robot's record for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct RobotRecordView {
    /// operational, maintenance, retired or unknown.
    pub status: String,
    pub serial_number: Option<String>,
    pub robot_model: Option<String>,
    pub manufacturer: Option<String>,
    pub facility_id: Option<String>,
    pub hardware_revision: Option<String>,
    pub software_version: Option<String>,
    pub firmware_version: Option<String>,
    /// Versions that may still change.
    pub versions: usize,
    pub operating_hours: f64,
    pub cases: u64,
    /// End of the last completed service, microseconds UTC.
    pub last_service: Option<i64>,
    /// When the next one is due, days since 1970-01-01.
    pub next_service: Option<i32>,
}

impl RobotRecord {
    /// Adds the time between applied samples; `clocks` are the robot's clock after each.
    pub(crate) fn operate(&mut self, clocks: &[EventTime]) {
        let mut last = self
            .last_clock
            .or_else(|| clocks.first().map(|clock| clock.0));
        for clock in clocks {
            let gap = clock.0.saturating_sub(last.unwrap_or(clock.0));
            if gap <= OPERATING_GAP_US {
                self.operating_us += gap.max(0);
            }
            last = Some(clock.0);
        }
        self.last_clock = last;
    }

    /// The robot's clock has ended; the next one has nothing to do with it.
    pub(crate) fn end_clock(&mut self) {
        self.last_clock = None;
    }

    pub(crate) fn count_case(&mut self) {
        self.cases += 1;
    }

    pub(crate) fn note_alert(&mut self, alert: &Alert) {
        self.raised.note(alert);
    }

    /// The robot says that a service begins or ends.
    pub(crate) fn note_service(
        &mut self,
        robot_id: &str,
        time: i64,
        begins: bool,
        outputs: &mut Outputs,
    ) {
        let file = self.file.get_or_insert_default();
        let mark = (time, begins);
        if let Err(at) = file.marks.binary_search(&mark) {
            file.marks.insert(at, mark);
        }
        file.publish(robot_id, outputs);
        if file.marks.len() > MARKS_MAX {
            file.marks.remove(0);
            file.history.settle(file.marks[0].0);
        }
    }

    /// Takes an entry of the registry; returns the components that it lists.
    ///
    /// # Errors
    /// When nothing can be said any more of its moment.
    pub(crate) fn register(
        &mut self,
        robot_id: &str,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) -> Result<Vec<InstalledComponent>, String> {
        let cells = Cells::of(batch, row);
        let file = self.file.get_or_insert_default();
        let (time, rank, said) = (cells.time(), cells.rank(), attributes(cells));
        let components = said.components.clone();
        if file.history.insert(time, rank, said) == Inserted::Settled {
            return Err(SETTLED.to_owned());
        }
        file.publish(robot_id, outputs);
        Ok(components)
    }

    /// Takes a report of a service; returns the parts that were replaced.
    ///
    /// # Errors
    /// When it names no work, or one that is not remembered any more.
    pub(crate) fn serve(
        &mut self,
        robot_id: &str,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) -> Result<Option<Replaced>, String> {
        let file = self.file.get_or_insert_default();
        let changed = file
            .works
            .take(Cells::of(batch, row), robot_id, &self.raised)?;
        let Some(record) = changed else {
            return Ok(None);
        };
        outputs.events.push(maintenance::output(robot_id, &record));
        file.publish(robot_id, outputs);
        if let Some(until) = file.works.bound() {
            file.history.settle(until);
        }
        if record.status != "completed" {
            return Ok(None);
        }
        Ok(Some(Replaced {
            at: record.ended_at.unwrap_or(record.reported_at),
            parts: record.parts,
        }))
    }

    /// What the registry says of the robot as of an event time, microseconds UTC.
    pub(crate) fn registered_at(&self, time: i64) -> Option<&RobotVersion> {
        self.file.as_deref()?.history.at(time)
    }

    /// Time in operation, microseconds, and cases.
    pub(crate) fn used(&self) -> (i64, u64) {
        (self.operating_us, self.cases)
    }

    /// When the last service ended, by a report or by the robot itself; event time in microseconds
    /// UTC.
    pub(crate) fn served_at(&self) -> Option<i64> {
        let file = self.file.as_deref()?;
        let reported = file.works.last_service().map(|(ended, _)| ended);
        let said = file.marks.iter().rfind(|(_, begins)| !begins);
        reported.max(said.map(|(ended, _)| *ended))
    }

    pub(crate) fn view(&self) -> RobotRecordView {
        let file = self.file.as_deref();
        let latest = file.and_then(|file| {
            let said = file.history.latest()?;
            Some(file.composed(i64::MAX - 1, said))
        });
        let status = match (&latest, file) {
            (Some(latest), _) => latest.status.clone(),
            (None, Some(file)) if file.is_in_service(i64::MAX - 1) => IN_SERVICE.to_owned(),
            _ => "unknown".to_owned(),
        };
        let service = file.and_then(|file| file.works.last_service());
        let said = |of: fn(&RobotVersion) -> &Option<String>| {
            latest.as_ref().and_then(|it| of(it).clone())
        };
        RobotRecordView {
            status,
            serial_number: latest.as_ref().map(|latest| latest.serial_number.clone()),
            robot_model: said(|it| &it.robot_model),
            manufacturer: said(|it| &it.manufacturer),
            facility_id: said(|it| &it.facility_id),
            hardware_revision: said(|it| &it.hardware_revision),
            software_version: said(|it| &it.software_version),
            firmware_version: said(|it| &it.firmware_version),
            versions: file.map_or(0, |file| file.history.count()),
            operating_hours: self.operating_us as f64 / 3.6e9,
            cases: self.cases,
            last_service: service.map(|(ended, _)| ended),
            next_service: service.and_then(|(_, next)| next),
        }
    }
}

/// What a completed service made new.
pub(crate) struct Replaced {
    /// When it ended, microseconds UTC.
    pub(crate) at: i64,
    pub(crate) parts: Vec<PartReplacement>,
}

impl File {
    fn is_in_service(&self, moment: i64) -> bool {
        let after = self.marks.partition_point(|(time, _)| *time <= moment);
        let says_so = after.checked_sub(1).is_some_and(|at| self.marks[at].1);
        says_so
            || self
                .works
                .intervals()
                .any(|(from, to)| (from..to).contains(&moment))
    }

    /// What holds at a moment: what the registry said, and whether a service was under way.
    fn composed(&self, moment: i64, said: &RobotVersion) -> RobotVersion {
        let mut version = said.clone();
        if version.status != RETIRED && self.is_in_service(moment) {
            IN_SERVICE.clone_into(&mut version.status);
        }
        version
    }

    fn publish(&mut self, robot_id: &str, outputs: &mut Outputs) {
        let mut edges: Vec<i64> = self.marks.iter().map(|(time, _)| *time).collect();
        edges.extend(self.works.intervals().flat_map(|(from, to)| [from, to]));
        edges.retain(|edge| *edge != i64::MAX);
        let mut history = std::mem::take(&mut self.history);
        let changed = history.publish(&edges, |moment, said| self.composed(moment, said));
        self.history = history;
        let output = |of: Version<RobotVersion>| {
            let version = RobotVersion {
                robot_id: robot_id.to_owned(),
                valid_from: of.from,
                revision: of.revision,
                is_withdrawn: of.is_withdrawn,
                ..of.attributes
            };
            robot_version::output(robot_id, &version)
        };
        outputs.events.extend(changed.into_iter().map(output));
    }
}

fn attributes(cells: Cells<'_>) -> RobotVersion {
    RobotVersion {
        robot_id: String::new(),
        valid_from: 0,
        revision: 0,
        is_withdrawn: false,
        serial_number: cells.owned("serial_number").unwrap_or_default(),
        robot_model: cells.owned("robot_model"),
        manufacturer: cells.owned("manufacturer"),
        facility_id: cells.owned("facility_id"),
        installation_date: cells.date("installation_date"),
        hardware_revision: cells.owned("hardware_revision"),
        software_version: cells.owned("software_version"),
        firmware_version: cells.owned("firmware_version"),
        status: cells.symbol("status"),
        decommission_date: cells.date("decommission_date"),
        components: cells.elements("components", |name| {
            let owned = |field: &str| cells.owned(&format!("{name}.{field}"));
            Some(InstalledComponent {
                component: owned("component")?,
                part: owned("part").unwrap_or_default(),
                serial: owned("serial").unwrap_or_default(),
            })
        }),
    }
}
