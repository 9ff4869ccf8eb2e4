//! What a rule says about the life of its conditions.

use serde::{Deserialize, Serialize};
use theatre_schemas::records::Priority;

use crate::rules::{Micros, RuleSet, RuleSpec};

/// Most turns that a rule may count.
const TURNS_MAX: u32 = 64;

/// From when on a condition is flapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlappingSpec {
    /// So many turns (raised or cleared)
    pub turns: u32,
    /// within this time make a condition flap, until it has not turned for as long; in event time.
    pub within: Micros,
}

/// What happens to a condition that is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unacknowledged {
    /// Passed on when it has been open for this long without being acknowledged, by the log's clock.
    pub after: Micros,
    /// The priority from there on. Absent: the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
}

/// What a rule says about the life of its conditions; nothing where the rule is not there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AlertPolicy<'a> {
    pub(crate) latch: bool,
    pub(crate) flapping: Option<FlappingSpec>,
    pub(crate) unacknowledged: &'a [Unacknowledged],
    /// What the condition means.
    pub(crate) description: &'a str,
    /// What its conditions are raised with at least, and the rule's version.
    pub(crate) raises_with: Option<(Priority, i32)>,
}

impl<'a> AlertPolicy<'a> {
    pub(crate) fn of(rules: &'a RuleSet, rule_id: &str) -> Self {
        let slot = rules.slot(rule_id);
        let spec = slot
            .and_then(|slot| rules.rules().get(slot))
            .map(|rule| &rule.spec);
        spec.map_or_else(Self::default, |spec| Self {
            latch: spec.latch,
            flapping: spec.flapping,
            unacknowledged: &spec.unacknowledged,
            description: &spec.description,
            raises_with: Some((spec.priority, spec.version)),
        })
    }
}

/// What is wrong with what a rule says about the life of its conditions.
///
/// # Errors
/// Names the key, and what is possible.
pub(crate) fn check(spec: &RuleSpec) -> Result<(), String> {
    if let Some(flapping) = spec.flapping {
        if !(3..=TURNS_MAX).contains(&flapping.turns) {
            return Err(format!(
                "flapping.turns is {}: write 3 to {TURNS_MAX} (raised, cleared and raised again are three turns)",
                flapping.turns
            ));
        }
        if flapping.within.0 <= 0 {
            return Err("flapping.within must be longer than nothing".to_owned());
        }
    }
    let mut before = Micros(0);
    for step in &spec.unacknowledged {
        if step.after <= before {
            return Err(format!(
                "unacknowledged: a step after {} does not come later than the one before it",
                step.after
            ));
        }
        before = step.after;
    }
    Ok(())
}
