//! How well conditions announced what happened: a function of conditions, faults and services.
//!
//! An *incident* is a fault or an unplanned service; what comes within a day of an incident's first
//! moment is the same incident. A condition is *followed* when an incident begins at or after it
//! was raised and within the horizon; from it to the incident is its lead time. An incident is
//! *seen* when a condition was raised at or before it and within the horizon.
//!
//! The data ends, and so does what can be said: a condition whose horizon goes beyond the end and
//! that was not followed by then is undecided, and so is an unseen incident whose horizon begins
//! before the data. Precision and recall are of those alone whose whole horizon is inside: what
//! happened early in a horizon that is cut off would count, what did not happen would not.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::history::{ConditionSpan, Happening};

/// Faults and services within this of an incident's first moment belong to it, microseconds.
pub const SAME_INCIDENT_US: i64 = 86_400_000_000;

/// The month in which alerts are counted: 30 days, microseconds.
const MONTH_US: f64 = 30.0 * 86_400e6;

/// What is known of a robot. Event times in microseconds UTC.
#[derive(Debug, Clone, Default)]
pub struct RobotRecord {
    /// Its id.
    pub robot_id: String,
    /// First and last telemetry row.
    pub observed: Option<(i64, i64)>,
    /// Its conditions, in any order.
    pub conditions: Vec<ConditionSpan>,
    /// Its faults and unplanned services, in any order.
    pub unplanned: Vec<Happening>,
    /// Its planned services.
    pub planned: Vec<Happening>,
}

/// Which conditions count as those of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoredRule {
    /// Its id.
    pub rule_id: String,
    /// Raised by Theatre itself: no rule of the file, so it announces nothing.
    pub is_built_in: bool,
}

/// Durations in seconds: the value that a quarter, a half and three quarters are below, between two
/// values in proportion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quartiles {
    /// A quarter is below.
    pub p25: f64,
    /// The median.
    pub median: f64,
    /// Three quarters are below.
    pub p75: f64,
}

/// How a rule did, or all rules of the file together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RuleScore {
    /// Its id; `all` for the rules of the file together.
    pub rule_id: String,
    /// Raised by Theatre itself.
    pub is_built_in: bool,
    /// Conditions.
    pub conditions: u64,
    /// Robots that had any.
    pub robots: u64,
    /// Share of the observed time of all robots during which one was open.
    pub open_share: Option<f64>,
    /// Conditions that an incident followed within the horizon.
    pub followed: u64,
    /// Conditions that none followed.
    pub not_followed: u64,
    /// Of these, those after which a planned service began within the horizon: it may have kept a
    /// fault away.
    pub serviced: u64,
    /// Conditions of which it is not known: their horizon goes beyond the end of the data.
    pub undecided: u64,
    /// Share of the conditions, of those whose horizon is inside the data, that were followed.
    pub precision: Option<f64>,
    /// From condition to incident, of those that were followed, seconds.
    pub lead_time_s: Option<Quartiles>,
    /// Incidents before which a condition was raised.
    pub incidents_seen: u64,
    /// Share of the incidents, of those whose horizon is inside the data, that were seen.
    pub recall: Option<f64>,
    /// Alerts, which are transitions.
    pub alerts: u64,
    /// Alerts a robot had in 30 days of observed time.
    pub alerts_per_robot_month: Option<f64>,
}

/// A fault or service, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// Robot.
    pub robot_id: String,
    /// Its first moment, event time in microseconds UTC.
    pub at: i64,
    /// What it was, by the first report.
    pub what: String,
}

/// How all rules did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// By rule, in the order of the file; built-in ones that raised something after them.
    pub rules: Vec<RuleScore>,
    /// The rules of the file together.
    pub all: RuleScore,
    /// Incidents of the period.
    pub incidents: u64,
    /// Incidents that no rule of the file saw.
    pub unseen: Vec<Incident>,
    /// Unseen incidents so early that nothing can be said.
    pub too_early: u64,
}

/// Scores conditions. `period` is from the first to the last moment of the data, `horizon_us` how
/// long before an incident a condition may be raised to announce it.
pub fn score(
    robots: &[RobotRecord],
    rules: &[ScoredRule],
    period: (i64, i64),
    horizon_us: i64,
) -> Score {
    let scale = Scale { period, horizon_us };
    let incidents: Vec<Vec<Incident>> = robots.iter().map(incidents).collect();
    let of = |wanted: &dyn Fn(&ConditionSpan) -> bool| {
        let mut tally = RuleTally::default();
        for (robot, incidents) in robots.iter().zip(&incidents) {
            tally.add(robot, incidents, wanted, &scale);
        }
        tally
    };
    let scored = |rule: &ScoredRule| RuleScore {
        rule_id: rule.rule_id.clone(),
        is_built_in: rule.is_built_in,
        ..of(&|condition| condition.rule_id == rule.rule_id).score()
    };
    let in_file: BTreeSet<&str> = rules
        .iter()
        .filter(|rule| !rule.is_built_in)
        .map(|rule| rule.rule_id.as_str())
        .collect();
    let all = of(&|condition| in_file.contains(condition.rule_id.as_str()));
    let (too_early, unseen): (Vec<Incident>, Vec<Incident>) = all
        .unseen
        .iter()
        .cloned()
        .partition(|incident| !scale.is_judged(incident));
    Score {
        rules: rules
            .iter()
            .map(scored)
            .filter(|score| !score.is_built_in || score.conditions > 0)
            .collect(),
        all: RuleScore {
            rule_id: "all".to_owned(),
            ..all.score()
        },
        incidents: incidents.iter().map(|of| of.len() as u64).sum(),
        unseen,
        too_early: too_early.len() as u64,
    }
}

/// Joins what belongs together.
fn incidents(robot: &RobotRecord) -> Vec<Incident> {
    let mut reports: Vec<&Happening> = robot.unplanned.iter().collect();
    reports.sort_by_key(|report| report.at);
    let mut incidents: Vec<Incident> = Vec::new();
    for report in reports {
        let is_known = incidents
            .last()
            .is_some_and(|last| report.at.saturating_sub(last.at) <= SAME_INCIDENT_US);
        if !is_known {
            incidents.push(Incident {
                robot_id: robot.robot_id.clone(),
                at: report.at,
                what: report.what.clone(),
            });
        }
    }
    incidents
}

/// By what is measured.
struct Scale {
    period: (i64, i64),
    horizon_us: i64,
}

impl Scale {
    /// Whether the whole horizon after a condition is inside the data.
    fn is_decided(&self, condition: &ConditionSpan) -> bool {
        condition.raised_at.saturating_add(self.horizon_us) <= self.period.1
    }

    /// Whether the whole horizon before an incident is inside the data.
    fn is_judged(&self, incident: &Incident) -> bool {
        incident.at.saturating_sub(self.horizon_us) >= self.period.0
    }

    /// Whether something at `at` lies in the horizon of what was raised.
    fn reaches(&self, raised_at: i64, at: i64) -> bool {
        raised_at <= at && at.saturating_sub(raised_at) <= self.horizon_us
    }
}

/// What is counted of a rule.
#[derive(Default)]
struct RuleTally {
    score: RuleScore,
    leads: Vec<i64>,
    /// Followed, and all, of those whose horizon is inside the data.
    decided: (u64, u64),
    /// Seen, and all, of those whose horizon is inside the data.
    judged: (u64, u64),
    unseen: Vec<Incident>,
    open_us: i64,
    observed_us: i64,
}

impl RuleTally {
    fn add(
        &mut self,
        robot: &RobotRecord,
        incidents: &[Incident],
        wanted: &dyn Fn(&ConditionSpan) -> bool,
        scale: &Scale,
    ) {
        let conditions: Vec<&ConditionSpan> = robot
            .conditions
            .iter()
            .filter(|condition| wanted(condition))
            .collect();
        self.score.robots += u64::from(!conditions.is_empty());
        for condition in &conditions {
            self.add_condition(condition, robot, incidents, scale);
        }
        for incident in incidents {
            let is_seen = conditions
                .iter()
                .any(|condition| scale.reaches(condition.raised_at, incident.at));
            self.score.incidents_seen += u64::from(is_seen);
            if scale.is_judged(incident) {
                self.judged.0 += u64::from(is_seen);
                self.judged.1 += 1;
            }
            if !is_seen {
                self.unseen.push(incident.clone());
            }
        }
        let observed = robot.observed.unwrap_or_default();
        self.observed_us += observed.1 - observed.0;
        self.open_us += open_us(&conditions, observed, scale.period.1);
    }

    fn add_condition(
        &mut self,
        condition: &ConditionSpan,
        robot: &RobotRecord,
        incidents: &[Incident],
        scale: &Scale,
    ) {
        let raised_at = condition.raised_at;
        self.score.conditions += 1;
        self.score.alerts += u64::from(condition.alerts);
        let next = incidents
            .iter()
            .map(|incident| incident.at)
            .filter(|at| scale.reaches(raised_at, *at))
            .min();
        let is_decided = scale.is_decided(condition);
        match next {
            Some(at) => {
                self.score.followed += 1;
                self.leads.push(at - raised_at);
            }
            None if is_decided => {
                self.score.not_followed += 1;
                let mut planned = robot.planned.iter();
                let serviced = planned.any(|service| scale.reaches(raised_at, service.at));
                self.score.serviced += u64::from(serviced);
            }
            None => self.score.undecided += 1,
        }
        if is_decided {
            self.decided.0 += u64::from(next.is_some());
            self.decided.1 += 1;
        }
    }

    fn score(&self) -> RuleScore {
        let share = |(part, of): (u64, u64)| (of > 0).then(|| part as f64 / of as f64);
        let observed = self.observed_us as f64;
        let per_observed = |amount: f64| (self.observed_us > 0).then(|| amount / observed);
        RuleScore {
            open_share: per_observed(self.open_us as f64),
            precision: share(self.decided),
            recall: share(self.judged),
            lead_time_s: quartiles(&self.leads),
            alerts_per_robot_month: per_observed(self.score.alerts as f64 * MONTH_US),
            ..self.score.clone()
        }
    }
}

/// Time within `observed` during which at least one of the conditions of a robot was open,
/// microseconds; one that is not cleared is open until `end`.
fn open_us(conditions: &[&ConditionSpan], observed: (i64, i64), end: i64) -> i64 {
    let mut spans = BTreeMap::new();
    for condition in conditions {
        let from = condition.raised_at.max(observed.0);
        let to = condition.cleared_at.unwrap_or(end).min(observed.1);
        let known = spans.entry(from).or_insert(to);
        *known = to.max(*known);
    }
    let (mut open, mut until) = (0, i64::MIN);
    for (from, to) in spans {
        open += (to - from.max(until)).max(0);
        until = until.max(to);
    }
    open
}

/// The quartiles of durations in microseconds; `None` of none.
fn quartiles(durations: &[i64]) -> Option<Quartiles> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    let at = |share: f64| {
        let place = share * last as f64;
        let below = place.floor() as usize;
        let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
        (low as f64 + (high - low) as f64 * place.fract()) / 1e6
    };
    Some(Quartiles {
        p25: at(0.25),
        median: at(0.5),
        p75: at(0.75),
    })
}
