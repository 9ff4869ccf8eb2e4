//! The translation of a rule as written into what is judged and by what.

use super::cohort::CohortSpec;
use super::deviation::DeviationSpec;
use super::limits::{Limits, max_gap_us};
use super::measure::Measure;
use super::micros::Micros;
use super::spec::{RuleKind, RuleOrder, RuleSpec};
use super::{Limit, Predicate, Subject};

/// A rule's translation, before the datasets are known.
#[derive(Debug)]
pub(super) struct Compiled {
    /// Its signal, which may have wildcards.
    pub(super) signal: Option<String>,
    /// A text column that its measure needs.
    pub(super) by: Option<String>,
    /// Its measure asks of which model the robot is.
    pub(super) needs_model: bool,
    pub(super) predicate: Predicate,
    pub(super) measure: Option<Measure>,
    pub(super) subject: Subject,
    pub(super) unit: Unit,
}

/// The unit of what is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// That of the signal.
    Signal,
    /// That of the signal, per second.
    PerSecond,
    /// This one.
    Named(&'static str),
}

impl Unit {
    /// Its name, for a signal of a unit.
    pub(super) fn name(self, signal: Option<&str>) -> Option<String> {
        match self {
            Self::Signal => signal.map(str::to_owned),
            Self::PerSecond => Some(format!("{}/s", signal.unwrap_or("1"))),
            Self::Named(name) => Some(name.to_owned()),
        }
    }
}

impl Compiled {
    fn of_signal(signal: &str, predicate: Predicate) -> Self {
        Self {
            signal: Some(signal.to_owned()),
            by: None,
            needs_model: false,
            predicate,
            measure: None,
            subject: Subject::Rows,
            unit: Unit::Signal,
        }
    }

    fn measured(signal: &str, limit: Limit, measure: Measure, unit: Unit) -> Self {
        Self {
            measure: Some(measure),
            unit,
            ..Self::of_signal(signal, Predicate::Limit(limit))
        }
    }

    fn of_robot(predicate: Predicate, subject: Subject) -> Self {
        Self {
            signal: None,
            by: None,
            needs_model: false,
            predicate,
            measure: None,
            subject,
            unit: Unit::Signal,
        }
    }
}

impl RuleSpec {
    /// Translates the rule.
    ///
    /// # Errors
    /// Says what of it cannot be, and what to do.
    pub(super) fn compile(&self) -> Result<Compiled, String> {
        let compiled = self.translate()?;
        self.check_order(&compiled.subject)?;
        self.check_scope(&compiled)?;
        Ok(compiled)
    }

    fn translate(&self) -> Result<Compiled, String> {
        let limit = |limits: Limits<'_>, least_gap_us: i64| {
            limits.compile(self.priority, self.max_gap, least_gap_us)
        };
        match &self.kind {
            RuleKind::Threshold { .. } => self.threshold(),
            RuleKind::Boolean { .. } => self.boolean(),
            RuleKind::MissingData { signal, after } => self.missing(signal.as_deref(), *after),
            RuleKind::Rate(spec) => {
                let rate = spec.measure()?;
                let limit = limit(spec.limits(), rate.grid.width_us().saturating_mul(2))?;
                let measure = Measure::Rate(rate);
                Ok(Compiled::measured(
                    &spec.signal,
                    limit,
                    measure,
                    Unit::PerSecond,
                ))
            }
            RuleKind::Deviation(spec) => self.deviation(spec),
            RuleKind::Cohort(spec) => self.cohort(spec),
            RuleKind::Trend(spec) => {
                let trend = spec.measure()?;
                let limit = spec.time_limit(&trend, self.max_gap)?;
                let measure = Measure::Trend(trend);
                Ok(Compiled::measured(
                    &spec.signal,
                    limit,
                    measure,
                    Unit::Named("s"),
                ))
            }
            RuleKind::Aggregate(spec) => Ok(Compiled {
                subject: Subject::Window,
                unit: spec.aggregate.unit(),
                ..Compiled::of_signal(&spec.signal, Predicate::Limit(limit(spec.limits(), 0)?))
            }),
            RuleKind::Usage(spec) => {
                let limit = limit(spec.limits(), 3_600_000_000)?;
                let unit = Unit::Named(spec.counter.unit());
                Ok(Compiled {
                    unit,
                    ..Compiled::of_robot(Predicate::Limit(limit), Subject::Usage)
                })
            }
            RuleKind::Sequence(spec) => {
                spec.check()?;
                self.refuse_max_gap("a sequence has none")?;
                Ok(Compiled::of_robot(Predicate::Told, Subject::Sequence))
            }
            RuleKind::Combination(spec) => {
                spec.check()?;
                self.refuse_max_gap("a combination has none: conditions stay open over a gap")?;
                let predicate = Predicate::Limit(flag(true, spec.hold.0));
                Ok(Compiled::of_robot(predicate, Subject::Combination))
            }
            RuleKind::BuiltIn {} => {
                Err("built-in conditions cannot be written in a rule file".to_owned())
            }
        }
    }

    fn deviation(&self, spec: &DeviationSpec) -> Result<Compiled, String> {
        let limit = spec.limits().compile(self.priority, self.max_gap, 0)?;
        let measure = spec.measure()?;
        Ok(Compiled {
            by: spec.by.clone(),
            ..Compiled::measured(&spec.signal, limit, measure, Unit::Named("1"))
        })
    }

    fn cohort(&self, spec: &CohortSpec) -> Result<Compiled, String> {
        let cohort = spec.measure()?;
        let (limits, least_gap_us) = (spec.limits(), cohort.least_gap_us());
        let limit = limits.compile(self.priority, self.max_gap, least_gap_us)?;
        let measure = Measure::Cohort(cohort);
        Ok(Compiled {
            by: spec.by.clone(),
            needs_model: true,
            ..Compiled::measured(&spec.signal, limit, measure, Unit::Named("1"))
        })
    }

    fn threshold(&self) -> Result<Compiled, String> {
        let RuleKind::Threshold {
            signal,
            raise_above,
            clear_below,
            raise_below,
            clear_above,
            hold,
            clear_after,
            escalate,
            count,
        } = &self.kind
        else {
            return Err("it has no limits".to_owned());
        };
        let limits = Limits {
            raise_above: *raise_above,
            clear_below: *clear_below,
            raise_below: *raise_below,
            clear_above: *clear_above,
            hold: *hold,
            clear_after: *clear_after,
            escalate,
        };
        let limit = limits.compile(self.priority, self.max_gap, 0)?;
        let measure = count.map(|count| count.measure(limit.sign, limit.max_gap_us));
        let measure = measure.transpose()?.map(Measure::Count);
        Ok(Compiled {
            measure,
            ..Compiled::of_signal(signal, Predicate::Limit(limit))
        })
    }

    fn boolean(&self) -> Result<Compiled, String> {
        let RuleKind::Boolean {
            signal,
            when,
            hold,
            clear_after,
        } = &self.kind
        else {
            return Err("it is of no flag".to_owned());
        };
        let limit = Limit {
            clear_after_us: clear_after.0,
            max_gap_us: max_gap_us(self.max_gap, hold.0.max(clear_after.0))?,
            ..flag(*when, hold.0)
        };
        Ok(Compiled::of_signal(signal, Predicate::Limit(limit)))
    }

    fn missing(&self, signal: Option<&str>, after: Micros) -> Result<Compiled, String> {
        if after.0 <= 0 {
            return Err("after must be longer than nothing".to_owned());
        }
        self.refuse_max_gap("missing_data has not")?;
        let after_us = after.0;
        match signal {
            Some(signal) => Ok(Compiled::of_signal(signal, Predicate::Missing { after_us })),
            None => Ok(Compiled::of_robot(
                Predicate::Silence {
                    after_us: Some(after_us),
                },
                Subject::Robot,
            )),
        }
    }

    fn refuse_max_gap(&self, why: &str) -> Result<(), String> {
        match self.max_gap {
            Some(_) => Err(format!(
                "max_gap goes with hold and clear_after, which {why}"
            )),
            None => Ok(()),
        }
    }

    fn check_order(&self, subject: &Subject) -> Result<(), String> {
        if self.order != RuleOrder::Arrival || *subject == Subject::Rows {
            return Ok(());
        }
        Err(match subject {
            Subject::Robot => "without a signal it judges no rows: leave out order",
            _ => "it judges no rows: leave out order",
        }
        .to_owned())
    }

    fn check_scope(&self, compiled: &Compiled) -> Result<(), String> {
        if let Some(warm_up) = self.warm_up {
            if warm_up.0 <= 0 {
                return Err("warm_up must be longer than nothing".to_owned());
            }
            if !matches!(compiled.subject, Subject::Rows | Subject::Window) {
                return Err(
                    "warm_up goes with rules on a signal: give it to those that this one follows"
                        .to_owned(),
                );
            }
        }
        let Some(only) = &self.only else {
            return Ok(());
        };
        if only.is_empty() {
            return Err(
                "only must name models, facilities, states, phases or tools, or be left out"
                    .to_owned(),
            );
        }
        if compiled.subject == Subject::Robot {
            return Err("without a signal it holds everywhere: leave out only".to_owned());
        }
        if only.is_of_rows() && compiled.subject != Subject::Rows {
            return Err(
                "states, phases and tools are of rows, which it does not judge: limit it to models or facilities"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// The limit of what is true (or, with `when` false, of what is not) for so long.
fn flag(when: bool, hold_us: i64) -> Limit {
    let sign = if when { 1.0 } else { -1.0 };
    Limit {
        sign,
        raise: sign * 0.5,
        clear: sign * 0.5,
        hold_us,
        clear_after_us: 0,
        max_gap_us: i64::MAX,
        escalate: Vec::new(),
    }
}
