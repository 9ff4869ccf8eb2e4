//! Which rules hold, and which changes made them, for people: read from what the actor of a partition
//! remembers.

use theatre_schemas::dataset::Datasets;

use super::change::Approvals;
use super::known::KnownRules;
use super::{RuleChange, Said};
use crate::rules::RuleSpec;
use crate::state::StateError;

/// The rules of a deployment as far as one partition has read their changes.
#[derive(Debug, Default)]
pub struct StandingRules {
    known: KnownRules,
    approvals: Approvals,
    needs_approval: bool,
    changes: Vec<RuleChange>,
}

impl StandingRules {
    /// The rules of the configuration, and the changes that the actor of a partition remembers, by its
    /// stored state. `needs_approval`: changes that come now wait for another person's approval.
    ///
    /// # Errors
    /// When the state is of an unknown version or damaged.
    pub fn read(
        base: &[RuleSpec],
        needs_approval: bool,
        state: Option<&[u8]>,
    ) -> Result<Self, StateError> {
        let mut standing = Self {
            known: KnownRules::of(base),
            needs_approval,
            ..Self::default()
        };
        let Some(state) = state else {
            return Ok(standing);
        };
        for record in crate::processor::control_state(state)?.0.records() {
            if let Said::Rule(change) = &record.said {
                standing.changes.push(change.clone());
                // What is remembered was accepted when it came. Where the configuration is another one
                // since, it may be about a rule that is gone: then it changes nothing, as in processors.
                if let Ok(Some(counts)) = standing.approvals.meet(change, record.needs_approval) {
                    drop(standing.known.apply(&counts));
                }
            }
        }
        Ok(standing)
    }

    /// The rules that hold, in the order in which they judge; those in the shadow too.
    pub fn rules(&self) -> Vec<RuleSpec> {
        self.known.enabled().cloned().collect()
    }

    /// The same and those that are disabled, each with whether it judges.
    pub fn known(&self) -> impl Iterator<Item = (&RuleSpec, bool)> {
        self.known.all()
    }

    /// Whether a rule is known, be it disabled; `shadow`: the one of this id that runs in the shadow.
    pub fn has(&self, rule_id: &str, shadow: bool) -> bool {
        self.known.has(rule_id, shadow)
    }

    /// All changes that were accepted, in order.
    pub fn changes(&self) -> &[RuleChange] {
        &self.changes
    }

    /// The changes that wait to be approved.
    pub fn waiting(&self) -> &[RuleChange] {
        self.approvals.waiting()
    }

    /// Whether a change would be accepted now, by the datasets; it counts for those that are checked
    /// after it.
    ///
    /// # Errors
    /// Says why not, and what may have been meant.
    pub fn check(&mut self, change: &RuleChange, datasets: &Datasets) -> Result<(), String> {
        // A change that waits is tried as if it were approved.
        let counts = match self.approvals.meet(change, self.needs_approval)? {
            Some(counts) => counts,
            None => change.clone(),
        };
        self.known = self.known.changed(&counts, datasets, None)?;
        Ok(())
    }
}
