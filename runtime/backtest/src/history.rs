//! What became of a robot: its conditions, faults and services, gathered from what its processor
//! put out and from its events.

use std::collections::BTreeMap;

use serde::Serialize;
use theatre_actors::outputs::{OutputEvent, OutputKind, Outputs};
use theatre_actors::ports::{Error, Result};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::records::{Alert, MaintenanceRecord, Priority, Transition};

/// The robot event that reports a fault.
const FAULT: &str = "fault";

/// A condition from its beginning to its end. Event times in microseconds UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConditionSpan {
    /// Its id, which its alerts in lake and warehouse carry.
    pub condition_id: String,
    /// Robot.
    pub robot_id: String,
    /// Rule that raised it.
    pub rule_id: String,
    /// Version of the rule.
    pub rule_version: i32,
    /// The highest priority that it had.
    pub priority: Priority,
    /// When it began.
    pub raised_at: i64,
    /// When it ended; `None` while it is open.
    pub cleared_at: Option<i64>,
    /// Its alerts: one for each transition.
    pub alerts: u32,
}

/// Something that rules are to announce, or that keeps a robot from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happening {
    /// When, event time in microseconds UTC.
    pub at: i64,
    /// What, in a word or two: code of the fault, kind of the service.
    pub what: String,
}

/// Work on a robot by its latest report.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Work {
    revision: i32,
    has_begun: bool,
    is_planned: bool,
    at: i64,
    what: String,
}

/// What became of a robot within the period. Event times in microseconds UTC.
#[derive(Debug, Clone, Default)]
pub struct RobotHistory {
    /// First and last telemetry row.
    pub telemetry: Option<(i64, i64)>,
    /// Rows that were applied, of all kinds.
    pub rows: u64,
    conditions: Vec<ConditionSpan>,
    /// Place in `conditions` by id.
    by_id: BTreeMap<String, usize>,
    faults: Vec<Happening>,
    works: BTreeMap<String, Work>,
    /// Records that were refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

impl RobotHistory {
    /// Notes rows before the processor gets them; `from` is where the period begins.
    pub(crate) fn note_rows(&mut self, batch: &Batch, rows: &[u32], from: i64) {
        self.rows += rows.len() as u64;
        let times = batch.event_times();
        match batch.dataset.kind {
            DatasetKind::Telemetry => {
                for row in rows {
                    let time = times[*row as usize].min(batch.append_times[*row as usize]);
                    let (first, last) = self.telemetry.unwrap_or((time, time));
                    self.telemetry = Some((first.min(time), last.max(time)));
                }
            }
            DatasetKind::RobotEvents => {
                let column = |name: &str| batch.dataset.column(name);
                let Some(kind) = column("event_type") else {
                    return;
                };
                for row in rows.iter().map(|row| *row as usize) {
                    if batch.text(kind, row) == Some(FAULT) && times[row] >= from {
                        let text = |name| column(name).and_then(|at| batch.text(at, row));
                        let what = [Some(FAULT), text("code"), text("component")];
                        let what: Vec<&str> = what.into_iter().flatten().collect();
                        self.faults.push(Happening {
                            at: times[row],
                            what: what.join(" "),
                        });
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes what the processor put out.
    ///
    /// # Errors
    /// When an output cannot be read, which would be a bug.
    pub(crate) fn take(&mut self, outputs: Outputs) -> Result<()> {
        for dead in &outputs.dead {
            *self.refused.entry(dead.reason.as_str()).or_default() += 1;
        }
        for event in &outputs.events {
            match event.kind {
                OutputKind::Alert => {
                    let alert =
                        Alert::decode(&event.payload).map_err(|why| unreadable(event, &why))?;
                    self.note_alert(alert);
                }
                OutputKind::Maintenance => {
                    let record = MaintenanceRecord::decode(&event.payload)
                        .map_err(|why| unreadable(event, &why))?;
                    self.note_work(&record);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn note_alert(&mut self, alert: Alert) {
        let at = match self.by_id.get(&alert.condition_id) {
            Some(at) => *at,
            None => {
                let at = self.conditions.len();
                self.by_id.insert(alert.condition_id.clone(), at);
                self.conditions.push(ConditionSpan {
                    condition_id: alert.condition_id,
                    robot_id: alert.robot_id,
                    rule_id: alert.rule_id,
                    rule_version: alert.rule_version,
                    priority: alert.priority,
                    raised_at: alert.raised_at,
                    cleared_at: None,
                    alerts: 0,
                });
                at
            }
        };
        let condition = &mut self.conditions[at];
        condition.alerts += 1;
        condition.priority = condition.priority.min(alert.priority);
        if alert.transition == Transition::Cleared {
            condition.cleared_at = Some(alert.event_time);
        }
    }

    fn note_work(&mut self, record: &MaintenanceRecord) {
        let work = Work {
            revision: record.revision,
            has_begun: ["started", "completed"].contains(&record.status.as_str()),
            is_planned: record.is_planned,
            at: record.started_at.unwrap_or(record.reported_at),
            what: format!("{} service", record.maintenance_type),
        };
        let known = self.works.get(&record.maintenance_id);
        if known.is_none_or(|known| known.revision <= work.revision) {
            self.works.insert(record.maintenance_id.clone(), work);
        }
    }

    /// Its conditions, in the order in which they were raised by the actors.
    pub fn conditions(&self) -> &[ConditionSpan] {
        &self.conditions
    }

    /// Faults that its events report.
    pub fn faults(&self) -> &[Happening] {
        &self.faults
    }

    /// Services that began at or after `from`, those that were planned or those that were not.
    pub fn services(&self, is_planned: bool, from: i64) -> Vec<Happening> {
        let wanted = self
            .works
            .values()
            .filter(|work| work.has_begun && work.is_planned == is_planned && work.at >= from);
        let mut services: Vec<Happening> = wanted
            .map(|work| Happening {
                at: work.at,
                what: work.what.clone(),
            })
            .collect();
        services.sort_by_key(|service| service.at);
        services
    }
}

fn unreadable(event: &OutputEvent, why: &dyn std::fmt::Display) -> Error {
    Error::Refused(format!(
        "an output of robot '{}' cannot be read: {why}",
        event.robot_id
    ))
}
