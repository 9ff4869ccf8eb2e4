//! Work on a robot: its latest report by each, with the condition that it answered.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use theatre_schemas::records::{DecimalUnits, MaintenanceRecord, PartReplacement};

use super::cells::{Cells, Rank};
use super::raised::RaisedConditions;

/// Works that are remembered; the earliest reported ones make room.
const WORKS_MAX: usize = 64;
/// Works that made room and are still known, so that they are not put out from revision 0 again.
const FORGOTTEN_MAX: usize = 256;

const HOUR_US: f64 = 3.6e9;

/// A work as it was put out last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Work {
    /// Moment and rank of the report that counts.
    seen: (i64, Rank),
    /// A report said that it was planned.
    was_announced: bool,
    record: MaintenanceRecord,
}

/// The works on a robot, in the order in which they were first reported.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Works {
    works: Vec<Work>,
    forgotten: Vec<u64>,
}

impl Works {
    /// Takes a report; returns the record of the work if it has changed.
    ///
    /// # Errors
    /// When the work is not remembered any more.
    pub(crate) fn take(
        &mut self,
        cells: Cells<'_>,
        robot_id: &str,
        raised: &RaisedConditions,
    ) -> Result<Option<MaintenanceRecord>, String> {
        let id = cells.text("maintenance_id").filter(|id| !id.is_empty());
        let id = id.ok_or("the report names no maintenance_id")?;
        if self.forgotten.contains(&digest(id)) {
            return Err("the work is not remembered any more: its record cannot change".to_owned());
        }
        let seen = (cells.time(), cells.rank());
        let is_plan = cells.text("status") == Some("planned");
        let known = self
            .works
            .iter()
            .position(|work| work.record.maintenance_id == id);
        let Some(at) = known else {
            let record = record(cells, id, robot_id, is_plan, raised);
            self.works.push(Work {
                seen,
                was_announced: is_plan,
                record: record.clone(),
            });
            return Ok(Some(record));
        };
        let work = &mut self.works[at];
        work.was_announced |= is_plan;
        let mut now = if seen > work.seen {
            work.seen = seen;
            let mut now = record(cells, id, robot_id, work.was_announced, raised);
            // The list of conditions is short: what was found once stays.
            let is_same = now.condition_id == work.record.condition_id;
            if now.first_alert_at.is_none() && is_same {
                now.first_alert_at = work.record.first_alert_at;
            }
            now
        } else {
            work.record.clone()
        };
        now.is_planned = is_planned(&now.maintenance_type, work.was_announced);
        now.lead_time_s = lead_time_s(&now);
        now.revision = work.record.revision;
        if now == work.record {
            return Ok(None);
        }
        now.revision += 1;
        work.record = now.clone();
        Ok(Some(now))
    }

    /// Keeps the bound; returns up to which moment works were forgotten, if any was.
    pub(crate) fn bound(&mut self) -> Option<i64> {
        let mut until = None;
        while self.works.len() > WORKS_MAX {
            let earliest = self
                .works
                .iter()
                .enumerate()
                .min_by_key(|(_, work)| &work.seen);
            let Some((at, _)) = earliest else { break };
            let work = self.works.remove(at);
            if self.forgotten.len() >= FORGOTTEN_MAX {
                self.forgotten.remove(0);
            }
            self.forgotten.push(digest(&work.record.maintenance_id));
            let (start, end) = interval(&work.record).unwrap_or((work.seen.0, work.seen.0));
            let last = if end == i64::MAX { start } else { end };
            until = until.max(Some(last));
        }
        until
    }

    /// When the robot was in service, by works that began: from, and the moment after.
    pub(crate) fn intervals(&self) -> impl Iterator<Item = (i64, i64)> {
        self.works.iter().filter_map(|work| interval(&work.record))
    }

    /// End and announced next date of the completed work that ended last.
    pub(crate) fn last_service(&self) -> Option<(i64, Option<i32>)> {
        let completed = self.works.iter().map(|work| &work.record);
        let completed = completed.filter(|record| record.status == "completed");
        completed
            .map(|record| {
                let ended = record.ended_at.unwrap_or(record.reported_at);
                (ended, record.next_maintenance_date)
            })
            .max()
    }
}

fn digest(id: &str) -> u64 {
    let digest = Sha256::digest(id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

fn is_planned(kind: &str, was_announced: bool) -> bool {
    was_announced || kind != "emergency"
}

fn lead_time_s(record: &MaintenanceRecord) -> Option<f64> {
    let begun = record.started_at.unwrap_or(record.reported_at);
    let first = record.first_alert_at?;
    Some(begun.saturating_sub(first) as f64 / 1e6)
}

/// From when to when the robot was out of use; to the end of time while it is.
fn interval(record: &MaintenanceRecord) -> Option<(i64, i64)> {
    let downtime = (record.downtime_hours).map(|hours| (hours.clamp(0.0, 1e6) * HOUR_US) as i64);
    let (from, to) = match record.status.as_str() {
        "started" => (record.started_at.unwrap_or(record.reported_at), i64::MAX),
        "completed" => {
            let ended = record.ended_at.unwrap_or(record.reported_at);
            let started = (record.started_at)
                .or_else(|| downtime.map(|downtime| ended.saturating_sub(downtime)));
            (started?, ended)
        }
        _ => return None,
    };
    (from < to).then_some((from, to))
}

fn record(
    cells: Cells<'_>,
    id: &str,
    robot_id: &str,
    was_announced: bool,
    raised: &RaisedConditions,
) -> MaintenanceRecord {
    let (condition, alert) = (cells.text("condition_id"), cells.text("alert_id"));
    let (started_at, ended_at) = (cells.long("started_at"), cells.long("ended_at"));
    let status = cells.symbol("status");
    let is_named = condition.or(alert).is_some();
    let has_begun = ["started", "completed"].contains(&status.as_str());
    let answered = if is_named {
        raised.named(condition, alert)
    } else if has_begun {
        raised.open_at(started_at.unwrap_or(cells.time()))
    } else {
        None
    };
    let measured = |(from, to): (i64, i64)| to.saturating_sub(from) as f64 / HOUR_US;
    let maintenance_type = cells.symbol("maintenance_type");
    let mut record = MaintenanceRecord {
        maintenance_id: id.to_owned(),
        robot_id: robot_id.to_owned(),
        revision: 0,
        reported_at: cells.time(),
        is_planned: is_planned(&maintenance_type, was_announced),
        maintenance_type,
        status,
        started_at,
        ended_at,
        downtime_hours: (cells.number("downtime_hours"))
            .or_else(|| started_at.zip(ended_at).map(measured)),
        technician_id: cells.owned("technician_id"),
        technician_name: cells.owned("technician_name"),
        issue_code: cells.owned("issue_code"),
        issues_found: cells.owned("issues_found"),
        actions: cells.elements("actions", |name| cells.owned(name)),
        actions_taken: cells.owned("actions_taken"),
        parts: cells.elements("parts", |name| {
            let owned = |field: &str| cells.owned(&format!("{name}.{field}"));
            Some(PartReplacement {
                part: owned("part")?,
                component: owned("component"),
                old_serial: owned("old_serial"),
                new_serial: owned("new_serial"),
            })
        }),
        cost: cells.decimal("cost").map(DecimalUnits),
        currency: cells.symbol("currency"),
        next_maintenance_date: cells.date("next_maintenance_date"),
        first_alert_at: answered.as_ref().map(|answered| answered.raised_at),
        condition_id: (answered.map(|answered| answered.condition_id))
            .or_else(|| condition.map(str::to_owned)),
        is_condition_reported: is_named,
        lead_time_s: None,
    };
    record.lead_time_s = lead_time_s(&record);
    record
}
