//! The limits of a rule: where a value raises its condition and where it clears it.

use theatre_schemas::records::Priority;

use super::Limit;
use super::micros::Micros;
use super::spec::Escalation;

/// Least default of a rule's longest gap, microseconds.
pub(super) const MAX_GAP_US: i64 = 60_000_000;

/// Limits as a rule writes them, in the unit of what is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) raise_above: Option<f64>,
    pub(super) clear_below: Option<f64>,
    pub(super) raise_below: Option<f64>,
    pub(super) clear_above: Option<f64>,
    pub(super) hold: Micros,
    pub(super) clear_after: Micros,
    pub(super) escalate: &'a [Escalation],
}

/// A rule's kind that judges a value by limits, with what it has besides them.
macro_rules! limited_kind {
    ($(#[$doc:meta])* $name:ident { $($(#[$of_field:meta])* $vis:vis $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        ///
        /// As a rule file has it, with the limits of a threshold.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$of_field])* $vis $field: $type,)*
            /// Raise above this.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub raise_above: Option<f64>,
            /// Clear below this; default: the raising limit.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub clear_below: Option<f64>,
            /// Raise below this.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub raise_below: Option<f64>,
            /// Clear above this; default: the raising limit.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub clear_above: Option<f64>,
            /// The limit must be exceeded without a break for this long, in event time.
            #[serde(default)]
            pub hold: $crate::rules::Micros,
            /// It must be back within the clearing limit without a break for this long before it
            /// clears, in event time.
            #[serde(default, skip_serializing_if = "crate::rules::Micros::is_nothing")]
            pub clear_after: $crate::rules::Micros,
            /// Higher limits with other priorities.
            #[serde(default)]
            pub escalate: Vec<$crate::rules::Escalation>,
        }

        impl $name {
            pub(super) fn limits(&self) -> $crate::rules::limits::Limits<'_> {
                $crate::rules::limits::Limits {
                    raise_above: self.raise_above,
                    clear_below: self.clear_below,
                    raise_below: self.raise_below,
                    clear_above: self.clear_above,
                    hold: self.hold,
                    clear_after: self.clear_after,
                    escalate: &self.escalate,
                }
            }
        }
    };
}
pub(super) use limited_kind;

impl Limits<'_> {
    /// The limits, ready to be compared with; `priority` is that of the rule, `max_gap` its longest
    /// gap if it names one, and `least_gap_us` the least default of it.
    ///
    /// # Errors
    /// Says which limits do not go together.
    pub(super) fn compile(
        &self,
        priority: Priority,
        max_gap: Option<Micros>,
        least_gap_us: i64,
    ) -> Result<Limit, String> {
        let (sign, raise, clear) = self.direction()?;
        let longest_us = self.hold.0.max(self.clear_after.0);
        Ok(Limit {
            sign,
            raise: sign * raise,
            clear: sign * clear,
            hold_us: self.hold.0,
            clear_after_us: self.clear_after.0,
            max_gap_us: max_gap_us(max_gap, longest_us.max(least_gap_us))?,
            escalate: self.steps(priority, sign, raise)?,
        })
    }

    /// The sign (1 for a limit above, -1 for one below), where it raises and where it clears.
    fn direction(&self) -> Result<(f64, f64, f64), String> {
        let (sign, raise, clear) = match (self.raise_above, self.raise_below) {
            (Some(raise), None) => (1.0, raise, self.clear_below.unwrap_or(raise)),
            (None, Some(raise)) => (-1.0, raise, self.clear_above.unwrap_or(raise)),
            _ => return Err("give exactly one of raise_above and raise_below".to_owned()),
        };
        let is_crossed = (sign > 0.0 && self.clear_above.is_some())
            || (sign < 0.0 && self.clear_below.is_some());
        if is_crossed {
            return Err(
                "raise_above goes with clear_below, raise_below with clear_above".to_owned(),
            );
        }
        let mut all = [raise, clear]
            .into_iter()
            .chain(self.escalate.iter().map(|step| step.at));
        if all.any(|limit| !limit.is_finite()) {
            return Err("a limit must be a finite number".to_owned());
        }
        if sign * clear > sign * raise {
            return Err(format!(
                "it would clear at {clear} while still raised at {raise}"
            ));
        }
        Ok((sign, raise, clear))
    }

    /// The escalations in ascending order, multiplied by the sign.
    fn steps(
        &self,
        priority: Priority,
        sign: f64,
        raise: f64,
    ) -> Result<Vec<(f64, Priority)>, String> {
        let mut steps: Vec<(f64, Priority)> = self
            .escalate
            .iter()
            .map(|step| (sign * step.at, step.priority))
            .collect();
        steps.sort_by(|left, right| left.0.total_cmp(&right.0));
        if steps.first().is_some_and(|first| first.0 <= sign * raise) {
            return Err(format!(
                "an escalation must lie beyond the raising limit {raise}"
            ));
        }
        // Each step must be more urgent than the one before it; `Priority` orders the most urgent
        // first.
        let mut below = priority;
        for (at, priority) in &steps {
            if *priority >= below {
                return Err(format!(
                    "the escalation at {} must have a higher priority than what it follows",
                    sign * at
                ));
            }
            below = *priority;
        }
        Ok(steps)
    }
}

/// The longest gap that a rule names, or the longer of a minute and `least_us`.
pub(super) fn max_gap_us(max_gap: Option<Micros>, least_us: i64) -> Result<i64, String> {
    match max_gap {
        Some(gap) if gap.0 <= 0 => Err("max_gap must be longer than nothing".to_owned()),
        Some(gap) => Ok(gap.0),
        None => Ok(MAX_GAP_US.max(least_us)),
    }
}

/// A span that must be longer than nothing and at most `longest`.
pub(super) fn span_us(name: &str, span: Micros, longest: Micros) -> Result<i64, String> {
    if span.0 <= 0 || span > longest {
        return Err(format!(
            "{name} must be longer than nothing and at most {longest}, not {span}"
        ));
    }
    Ok(span.0)
}
