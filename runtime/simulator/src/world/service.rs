//! Services: what a technician does to a robot, why, with which parts and at what cost.

use super::avro::Datum;
use super::calendar::HOUR_US;
use super::catalogue::{Catalogue, Entry};
use super::component::PARTS;
use super::dice::Dice;
use super::records::symbols;

/// Kind of work, in the order of the service catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Routine,
    Emergency,
    Upgrade,
    Calibration,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [
        Self::Routine,
        Self::Emergency,
        Self::Upgrade,
        Self::Calibration,
    ];
}

/// Work that is due on a robot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) maintenance_id: String,
    pub(super) robot: usize,
    pub(super) kind: Kind,
    pub(super) start: i64,
    pub(super) end: i64,
    /// Parts to be replaced, and whether each has failed.
    pub(super) parts: Vec<(usize, bool)>,
    pub(super) technician: usize,
    pub(super) cost_cents: i64,
    pub(super) issue: Entry,
    pub(super) actions: Vec<Entry>,
    /// Days until the next service.
    pub(super) next_in_days: i64,
}

/// Plans work that begins at `start`; `parts` are to be replaced.
pub(super) fn order(
    catalogue: &Catalogue,
    (robot, kind): (usize, Kind),
    start: i64,
    parts: Vec<(usize, bool)>,
    dice: &mut Dice,
) -> Order {
    let work = catalogue.work(kind);
    // In whole minutes.
    let hours = dice.uniform(work.downtime_hours[0], work.downtime_hours[1]);
    let downtime = (hours * 60.0).round() as i64 * (HOUR_US / 60);
    let mut cost = dice.uniform(work.cost[0], work.cost[1]);
    let mut actions = Vec::new();
    let mut issue = None;
    for (part, has_failed) in &parts {
        cost += dice.uniform(2_000.0, 15_000.0);
        let part = &catalogue.parts[*part];
        let finding = if *has_failed {
            &part.failure
        } else {
            &part.wear
        };
        let entry = |code: &String, text: &String| Entry {
            code: code.clone(),
            text: text.clone(),
        };
        issue.get_or_insert_with(|| entry(&finding.issue, &finding.text));
        if actions.len() < 2 {
            actions.push(entry(&finding.action, &finding.action_text));
        }
    }
    let more = if parts.is_empty() { 1 } else { 0 };
    let mut usual: Vec<Entry> = work.actions.clone();
    dice.shuffle(&mut usual);
    usual.truncate((more + dice.index(3)).min(3 - actions.len()).max(more));
    actions.extend(usual);
    let found = |dice: &mut Dice| dice.pick(&work.issues).clone();
    Order {
        maintenance_id: dice.uuid(),
        robot,
        kind,
        start,
        end: start + downtime,
        issue: match issue {
            Some(issue) => issue,
            None => found(dice),
        },
        parts,
        technician: dice.index(20),
        cost_cents: (cost * 100.0).round() as i64,
        actions,
        next_in_days: dice.whole(30, 90),
    }
}

/// Which parts the emergencies and routine services of the reference fleet replace: always one of
/// seven, or one of seven in seven of eight cases out of three in ten.
pub(super) fn usual_parts(kind: Kind, dice: &mut Dice) -> Vec<(usize, bool)> {
    match kind {
        Kind::Emergency => vec![(dice.index(PARTS), true)],
        Kind::Routine if dice.chance(0.3 * 7.0 / 8.0) => vec![(dice.index(PARTS), false)],
        _ => Vec::new(),
    }
}

/// A part that came out and the one that went in: part, place, old and new serial number.
pub(super) type Replaced = [String; 4];

/// A report of work, as a record has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Log {
    pub(super) maintenance_id: String,
    pub(super) kind: Kind,
    pub(super) status: &'static str,
    pub(super) started_at: i64,
    pub(super) ended_at: Option<i64>,
    pub(super) technician: (String, String),
    pub(super) issue: Entry,
    pub(super) actions: Vec<Entry>,
    pub(super) parts: Vec<Replaced>,
    pub(super) cost_cents: Option<i64>,
    pub(super) next_on: Option<i64>,
}

/// A technician's id and name.
pub(super) fn technician(catalogue: &Catalogue, number: usize) -> (String, String) {
    let (first, last) = (
        &catalogue.staff.technicians_first,
        &catalogue.staff.technicians_last,
    );
    let name = format!(
        "{} {}",
        first[number % first.len()],
        last[(number / first.len() * 3 + number) % last.len()]
    );
    (format!("TECH-{number:04}"), name)
}

impl Log {
    /// Writes its fields.
    pub(super) fn encode(&self, datum: &mut Datum) {
        let words = |entries: &[Entry]| {
            let words: Vec<&str> = entries.iter().map(|entry| entry.text.as_str()).collect();
            words.join("; ")
        };
        let is_done = self.ended_at.is_some();
        let downtime = self
            .ended_at
            .map(|ended| (ended - self.started_at) as f64 / HOUR_US as f64);
        datum
            .text(&self.maintenance_id)
            .whole(self.kind as i64 + 1)
            .symbol(&symbols::PROGRESS, self.status)
            .optional_whole(Some(self.started_at))
            .optional_whole(self.ended_at)
            .optional_text(Some(&self.technician.0))
            .optional_text(Some(&self.technician.1))
            .optional_text(Some(&self.issue.code))
            .optional_text(Some(&self.issue.text))
            .array(&self.actions, |datum, entry| {
                datum.text(&entry.code);
            })
            .optional_text(is_done.then(|| words(&self.actions)).as_deref())
            .array(&self.parts, |datum, [part, component, old, new]| {
                datum
                    .text(part)
                    .optional_text(Some(component))
                    .optional_text(Some(old))
                    .optional_text(Some(new));
            })
            .optional_double(downtime)
            .optional_decimal(self.cost_cents)
            .text("USD")
            .optional_whole(self.next_on)
            .optional_text(None)
            .optional_text(None);
    }
}
