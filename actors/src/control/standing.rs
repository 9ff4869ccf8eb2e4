//! The rules of a deployment: those of its configuration, and what changes have made of them.

use std::collections::BTreeSet;

use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::Datasets;

use super::change::{Approvals, is_known};
use super::known::{KnownRules, RefusedRule};
use super::{ChangeKind, RuleChange, Said};
use crate::position::{Positions, TopicIndex};
use crate::rules::RuleSpec;
use crate::state::StateError;
use crate::window::WindowPlan;

mod versions;

/// What the configuration of a deployment says about rules.
#[derive(Debug, Clone, Copy)]
pub struct RuleBase<'a> {
    /// The rules on which recorded changes stand.
    pub rules: &'a [RuleSpec],
    /// Changes that come now wait for another person's approval.
    pub needs_approval: bool,
    /// What rules may watch.
    pub datasets: &'a Datasets,
    /// The windows, where they are known: without them rules on windows are not compared with these.
    pub windows: Option<&'a WindowPlan>,
}

/// What has become of a change.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ChangeFate {
    /// It counts.
    Counts,
    /// It waits for another person's approval.
    Waiting,
    /// Another person did not want it.
    Rejected {
        /// Who.
        by: String,
        /// What they said.
        reason: Option<String>,
    },
    /// Who made it has taken it back before it counted.
    Withdrawn {
        /// What they said.
        reason: Option<String>,
    },
    /// It does not fit the configuration any more, and changes nothing.
    Refused {
        /// Why.
        why: String,
    },
}

impl std::fmt::Display for ChangeFate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let because = |reason: &Option<String>| match reason {
            Some(reason) => format!(": {reason}"),
            None => String::new(),
        };
        match self {
            Self::Counts => write!(formatter, "counts"),
            Self::Waiting => write!(formatter, "waiting"),
            Self::Rejected { by, reason } => {
                write!(formatter, "rejected by {by}{}", because(reason))
            }
            Self::Withdrawn { reason } => write!(formatter, "withdrawn{}", because(reason)),
            Self::Refused { why } => write!(formatter, "refused: {why}"),
        }
    }
}

/// The rules of a deployment as far as one partition has read their changes.
#[derive(Debug, Clone)]
pub struct StandingRules {
    base: Vec<RuleSpec>,
    needs_approval: bool,
    datasets: Datasets,
    windows: Option<WindowPlan>,
    known: KnownRules,
    approvals: Approvals,
    changes: Vec<RuleChange>,
    /// Changes that do not fit any more by their ids, and why.
    refused: Vec<(String, String)>,
    /// How far the partition had read.
    read: Positions,
}

impl StandingRules {
    /// The rules of the configuration, and the changes that the actor of a partition remembers, by its
    /// stored state.
    ///
    /// # Errors
    /// When the state is of an unknown version or damaged.
    pub fn read(base: RuleBase<'_>, state: Option<&[u8]>) -> Result<Self, StateError> {
        let mut standing = Self {
            base: base.rules.to_vec(),
            needs_approval: base.needs_approval,
            datasets: base.datasets.clone(),
            windows: base.windows.cloned(),
            known: KnownRules::of(base.rules),
            approvals: Approvals::default(),
            changes: Vec::new(),
            refused: Vec::new(),
            read: Positions::zero(),
        };
        let Some(state) = state else {
            return Ok(standing);
        };
        let (remembered, read) = crate::processor::control_state(state)?;
        standing.read = read;
        for record in remembered.records() {
            if let Said::Rule(change) = &record.said {
                standing.remember(change, record.needs_approval);
            }
        }
        Ok(standing)
    }

    /// Takes a change that was accepted when it came. Where the configuration is another one since, it
    /// may not fit any more: then it changes nothing, and a rule that it puts judges nothing, as in
    /// processors.
    fn remember(&mut self, change: &RuleChange, needs_approval: bool) {
        self.changes.push(change.clone());
        let Ok(Some(counts)) = self.approvals.meet(change, needs_approval) else {
            return;
        };
        let windows = self.windows.as_ref();
        let remembered = (self.known).remember(&counts, &self.datasets, windows);
        if let Ok(Some(why)) | Err(why) = remembered {
            self.refused.push((counts.change_id, why));
        }
    }

    /// How far the partition had read a topic.
    pub fn read_to(&self, topic: TopicIndex) -> u64 {
        self.read.get(topic)
    }

    /// Takes a record that the partition has not read yet as it will take it; one that it will refuse
    /// changes nothing.
    pub fn foresee(&mut self, batch: &Batch, row: usize) {
        if let Ok(change) = RuleChange::read(batch, row) {
            self.meet(change);
        }
    }

    /// Puts changes that the partition has forgotten back among the others, for who looks at what
    /// was: `recorded` are those that it has read, in the order of its topic. Which rules hold is as
    /// before.
    pub fn recall(&mut self, recorded: &[Batch]) {
        let read = recorded.iter();
        self.recall_all(read.filter_map(|batch| RuleChange::read(batch, 0).ok()));
    }

    pub(super) fn recall_all(&mut self, read: impl Iterator<Item = RuleChange>) {
        let mut all: Vec<RuleChange> = Vec::new();
        let mut ids = BTreeSet::new();
        for change in read {
            if ids.insert(change.change_id.clone()) {
                all.push(change);
            }
        }
        // The topic may have lost what the partition remembers.
        let mut lost = std::mem::take(&mut self.changes);
        lost.retain(|change| !ids.contains(&change.change_id));
        self.changes = lost.into_iter().chain(all).collect();
    }

    /// Takes a change as a partition takes it; one that it refuses changes nothing.
    pub fn meet(&mut self, change: RuleChange) {
        if is_known(self.changes.iter(), &change) {
            return;
        }
        let before = self.approvals.clone();
        let Ok(counts) = self.approvals.meet(&change, self.needs_approval) else {
            return;
        };
        let changed = counts.map(|counts| self.changed(&counts)).transpose();
        match changed {
            Ok(changed) => {
                self.known = changed.unwrap_or_else(|| self.known.clone());
                self.changes.push(change);
            }
            Err(_) => self.approvals = before,
        }
    }

    fn changed(&self, change: &RuleChange) -> Result<KnownRules, String> {
        let windows = self.windows.as_ref();
        self.known.changed(change, &self.datasets, windows)
    }

    /// The rules that hold, in the order in which they judge; those in the shadow too.
    pub fn rules(&self) -> Vec<RuleSpec> {
        self.known.enabled().cloned().collect()
    }

    /// The same and those that are disabled, each with whether it judges.
    pub fn known(&self) -> impl Iterator<Item = (&RuleSpec, bool)> {
        self.known.all()
    }

    /// The rules that do not fit the configuration any more, and those that follow them: they judge
    /// nothing.
    pub fn refused(&self) -> Vec<RefusedRule> {
        self.known.refused()
    }

    /// Whether a rule is known and not refused, be it disabled; `shadow`: the one of this id that runs
    /// in the shadow.
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

    /// What has become of a change that was accepted.
    pub fn fate(&self, change: &RuleChange) -> ChangeFate {
        let id = change.change_id.as_str();
        let waits = |known: &RuleChange| known.change_id == id;
        if self.waiting().iter().any(waits) {
            return ChangeFate::Waiting;
        }
        let answers = |known: &&RuleChange| {
            let of = known.approves.as_deref().or(known.rejects.as_deref());
            of == Some(id)
        };
        let latest = self.changes.iter().rev().find(answers);
        if let Some(rejection) = latest.filter(|answer| answer.kind == ChangeKind::Reject) {
            let (by, reason) = (rejection.actor.clone(), rejection.comment.clone());
            return match by == change.actor {
                true => ChangeFate::Withdrawn { reason },
                false => ChangeFate::Rejected { by, reason },
            };
        }
        let refused = self.refused.iter().find(|(refused, _)| refused == id);
        let refused = refused.map(|(_, why)| why.as_str());
        match refused.or_else(|| self.known.refusal(change)) {
            Some(why) => ChangeFate::Refused {
                why: why.to_owned(),
            },
            None => ChangeFate::Counts,
        }
    }

    /// Whether a change would be accepted now; it counts for those that are checked after it.
    ///
    /// # Errors
    /// Says why not, and what may have been meant.
    pub fn check(&mut self, change: &RuleChange) -> Result<(), String> {
        let before = self.approvals.clone();
        let counts = match self.approvals.meet(change, self.needs_approval)? {
            Some(counts) => counts,
            // One that waits is tried as if it were approved.
            None => change.clone(),
        };
        match self.changed(&counts) {
            Ok(changed) => {
                self.known = changed;
                self.changes.push(change.clone());
                Ok(())
            }
            Err(why) => {
                self.approvals = before;
                Err(self.known.followed(&counts).unwrap_or(why))
            }
        }
    }
}
