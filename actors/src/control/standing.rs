//! Which rules hold, and which changes made them, for people: read from what the actor of a partition
//! remembers.

use theatre_schemas::dataset::Datasets;

use super::change::{Approvals, fold};
use super::{RuleChange, Said};
use crate::rules::{RuleSet, RuleSpec};
use crate::state::StateError;

/// The rules of a deployment as far as one partition has read their changes.
#[derive(Debug, Default)]
pub struct StandingRules {
    base: Vec<RuleSpec>,
    approvals: Approvals,
    accepted: Vec<RuleChange>,
    changes: Vec<RuleChange>,
}

impl StandingRules {
    /// The rules of the configuration, and the changes that the actor of a partition remembers, by its
    /// stored state.
    ///
    /// # Errors
    /// When the state is of an unknown version or damaged.
    pub fn read(
        base: &[RuleSpec],
        needs_approval: bool,
        state: Option<&[u8]>,
    ) -> Result<Self, StateError> {
        let mut standing = Self {
            base: base.to_vec(),
            approvals: Approvals::new(needs_approval),
            ..Self::default()
        };
        let Some(state) = state else {
            return Ok(standing);
        };
        for record in crate::processor::control_state(state)?.0.records() {
            if let Said::Rule(change) = &record.said {
                standing.changes.push(change.clone());
                // What is remembered was accepted when it came.
                if let Ok(Some(counts)) = standing.approvals.meet(change) {
                    standing.accepted.push(counts);
                }
            }
        }
        Ok(standing)
    }

    /// The rules that hold, in the order in which they judge; those in the shadow too.
    ///
    /// # Errors
    /// When the changes do not fit the rules of the configuration any more.
    pub fn rules(&self) -> Result<Vec<RuleSpec>, String> {
        fold(&self.base, self.accepted.iter())
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
        let counts = match self.approvals.meet(change)? {
            Some(counts) => counts,
            None => change.clone(),
        };
        let rules = fold(&self.base, self.accepted.iter().chain([&counts]))?;
        RuleSet::compile(&rules, datasets).map_err(|error| error.to_string())?;
        self.accepted.push(counts);
        Ok(())
    }
}
