//! A change of rules, and the rules that a base and changes make.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;

use super::remembered::RECORDS_MAX;
use super::{ControlRecord, Said};
use crate::registry::Cells;
use crate::rules::RuleSpec;

/// What a change does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Adds a rule, or another version of it.
    #[default]
    Put,
    /// Removes it.
    Remove,
    /// Has it judge again.
    Enable,
    /// Has it judge nothing; it stays known.
    Disable,
    /// Lets a change of another person count, where two are needed.
    Approve,
    /// Ends the wait of a change: another person rejects it, or who made it withdraws it.
    Reject,
}

impl ChangeKind {
    /// Its name, as in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Remove => "remove",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// A change of one rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleChange {
    /// Its own id.
    pub change_id: String,
    /// What it does.
    pub kind: ChangeKind,
    /// The rule.
    pub rule_id: String,
    /// The rule as JSON, of one that is put.
    pub rule: Option<String>,
    /// About the rule that runs in the shadow, of this id.
    pub shadow: bool,
    /// When it was made, microseconds UTC.
    pub at: i64,
    /// Who made it.
    pub actor: String,
    /// The change that it approves, by its id.
    pub approves: Option<String>,
    /// What they said.
    pub comment: Option<String>,
    /// The change that it rejects, by its id.
    pub rejects: Option<String>,
}

/// As version 4 of the processor stored it.
#[derive(Debug, Deserialize)]
pub(super) struct RuleChangeV4 {
    change_id: String,
    kind: ChangeKind,
    rule_id: String,
    rule: Option<String>,
    shadow: bool,
    at: i64,
    actor: String,
    approves: Option<String>,
    comment: Option<String>,
}

impl From<RuleChangeV4> for RuleChange {
    fn from(stored: RuleChangeV4) -> Self {
        Self {
            change_id: stored.change_id,
            kind: stored.kind,
            rule_id: stored.rule_id,
            rule: stored.rule,
            shadow: stored.shadow,
            at: stored.at,
            actor: stored.actor,
            approves: stored.approves,
            comment: stored.comment,
            rejects: None,
        }
    }
}

impl RuleChange {
    /// Reads the record of a change.
    ///
    /// # Errors
    /// Names what is missing or wrong.
    pub(super) fn read(batch: &Batch, row: usize) -> Result<Self, String> {
        let cells = Cells::of(batch, row);
        let said = |name: &str| cells.owned(name).filter(|text| !text.is_empty());
        let kind = match cells.text("change") {
            Some("put") => ChangeKind::Put,
            Some("remove") => ChangeKind::Remove,
            Some("enable") => ChangeKind::Enable,
            Some("disable") => ChangeKind::Disable,
            Some("approve") => ChangeKind::Approve,
            Some("reject") => ChangeKind::Reject,
            _ => {
                return Err(
                    "the change is not known: it is put, remove, enable, disable, approve or reject"
                        .to_owned(),
                );
            }
        };
        let change = Self {
            change_id: said("change_id").ok_or("the change has no change_id")?,
            kind,
            rule_id: said("rule_id").ok_or("the change names no rule")?,
            rule: said("rule"),
            shadow: cells.flag("shadow"),
            at: cells.time(),
            actor: said("actor").ok_or("the change names no actor")?,
            approves: said("approves").filter(|_| kind == ChangeKind::Approve),
            comment: said("comment"),
            rejects: said("rejects").filter(|_| kind == ChangeKind::Reject),
        };
        if kind == ChangeKind::Put {
            change.spec()?;
        }
        Ok(change)
    }

    /// The answer to a change that waits: an approval or a rejection. Its id, time and actor are yet to
    /// be said.
    pub fn answering(waits: &Self, kind: ChangeKind, comment: Option<String>) -> Self {
        let of = |wanted| (kind == wanted).then(|| waits.change_id.clone());
        Self {
            kind,
            rule_id: waits.rule_id.clone(),
            shadow: waits.shadow,
            approves: of(ChangeKind::Approve),
            rejects: of(ChangeKind::Reject),
            comment,
            ..Self::default()
        }
    }

    /// Whether it is about another change, and not about a rule itself.
    pub fn is_answer(&self) -> bool {
        matches!(self.kind, ChangeKind::Approve | ChangeKind::Reject)
    }

    /// The rule that is put.
    ///
    /// # Errors
    /// When there is none, or its JSON is no rule of this id.
    pub fn spec(&self) -> Result<RuleSpec, String> {
        let json = self.rule.as_deref().ok_or("a rule that is put is needed")?;
        let mut spec: RuleSpec =
            serde_json::from_str(json).map_err(|error| format!("the rule: {error}"))?;
        if spec.id != self.rule_id {
            return Err(format!(
                "the rule's id is '{}', the change is about '{}'",
                spec.id, self.rule_id
            ));
        }
        spec.shadow = self.shadow;
        Ok(spec)
    }
}

/// Whether a change that comes has come before, by its id, and no other one of its rule was accepted
/// since; `accepted` are those that were, in order. Otherwise it acts once more: a partition that got
/// only the repetition then goes by the same rules as one that got both.
pub(super) fn is_known<'a>(
    accepted: impl DoubleEndedIterator<Item = &'a RuleChange>,
    change: &RuleChange,
) -> bool {
    let is_same = |known: &RuleChange| known.change_id == change.change_id;
    let is_about =
        |known: &RuleChange| (&known.rule_id, known.shadow) == (&change.rule_id, change.shadow);
    let mut latest = accepted.rev();
    latest
        .find(|known| is_same(known) || is_about(known))
        .is_some_and(is_same)
}

/// An approval that was accepted.
#[derive(Debug)]
struct Approved {
    approval_id: String,
    change: RuleChange,
}

/// Which changes count. One that needs it waits until another person approves it.
#[derive(Debug, Clone, Default)]
pub(super) struct Approvals {
    waiting: Vec<RuleChange>,
    /// The latest approvals, for one that comes again.
    approved: Vec<Arc<Approved>>,
}

impl Approvals {
    /// A change has come, and needs approval or not; returns the one that counts from here on, if one
    /// does. What was approved counts once more where its approval comes again after other changes.
    ///
    /// # Errors
    /// When it answers nothing that waits, or approves a change of the same person.
    pub(super) fn meet(
        &mut self,
        change: &RuleChange,
        needs_approval: bool,
    ) -> Result<Option<RuleChange>, String> {
        match change.kind {
            ChangeKind::Approve => {
                let at = match self.find(change.approves.as_deref(), "approved") {
                    Ok(at) => at,
                    Err(why) => return self.approved_before(change).map(Some).ok_or(why),
                };
                if self.waiting[at].actor == change.actor {
                    return Err(format!(
                        "the change is {}'s own: another person approves it",
                        change.actor
                    ));
                }
                let approved = self.waiting.remove(at);
                self.note_approval(change, &approved);
                Ok(Some(approved))
            }
            ChangeKind::Reject => {
                let at = self.find(change.rejects.as_deref(), "rejected")?;
                self.waiting.remove(at);
                Ok(None)
            }
            _ if needs_approval => {
                self.waiting
                    .retain(|waits| waits.change_id != change.change_id);
                self.waiting.push(change.clone());
                Ok(None)
            }
            _ => Ok(Some(change.clone())),
        }
    }

    fn note_approval(&mut self, approval: &RuleChange, change: &RuleChange) {
        self.approved.push(Arc::new(Approved {
            approval_id: approval.change_id.clone(),
            change: change.clone(),
        }));
        if self.approved.len() > RECORDS_MAX {
            self.approved.remove(0);
        }
    }

    /// What an approval has approved when it came before.
    fn approved_before(&self, approval: &RuleChange) -> Option<RuleChange> {
        let mut latest = self.approved.iter().rev();
        let known = latest.find(|known| known.approval_id == approval.change_id)?;
        Some(known.change.clone())
    }

    fn find(&self, id: Option<&str>, what: &str) -> Result<usize, String> {
        let id = id.unwrap_or_default();
        let found = self.waiting.iter().position(|waits| waits.change_id == id);
        found.ok_or_else(|| {
            let ids: Vec<&str> = (self.waiting.iter())
                .map(|waits| waits.change_id.as_str())
                .collect();
            let hint = match ids.as_slice() {
                [] => "none waits".to_owned(),
                ids => crate::rules::did_you_mean(id, ids),
            };
            format!("no change '{id}' waits to be {what}: {hint}")
        })
    }

    /// The changes that wait.
    pub(super) fn waiting(&self) -> &[RuleChange] {
        &self.waiting
    }
}

/// Forgets the oldest changes that a later one of the same rule has replaced. The first one that puts a
/// rule stays: others that came before the later one may follow it. So does what needed approval: an
/// approval may come at any time, unless it was rejected.
pub(super) fn forget_replaced(records: &mut Vec<ControlRecord>) {
    let half = records.len() / 2;
    let puts = |record: &ControlRecord, old: &RuleChange| match &record.said {
        Said::Rule(new) => {
            (&new.rule_id, new.shadow) == (&old.rule_id, old.shadow)
                && new.kind == ChangeKind::Put
                && !record.needs_approval
        }
        Said::Action(_) => false,
    };
    // The kind of an answer to a change.
    let answers = |record: &ControlRecord, id: &str| match &record.said {
        Said::Rule(answer) => {
            let of = answer.approves.as_ref().or(answer.rejects.as_ref());
            (of.is_some_and(|of| of == id)).then_some(answer.kind)
        }
        Said::Action(_) => None,
    };
    let replaced = |at: usize| {
        let record = &records[at];
        let Said::Rule(old) = &record.said else {
            return false;
        };
        let mut later = records[at + 1..half].iter();
        let answer = later.find_map(|it| answers(it, &old.change_id));
        if [Some(old.kind), answer].contains(&Some(ChangeKind::Reject)) {
            return true;
        }
        if record.needs_approval || old.is_answer() {
            return false;
        }
        let is_first = || !records[..at].iter().any(|earlier| puts(earlier, old));
        if old.kind == ChangeKind::Put && is_first() {
            return false;
        }
        records[at + 1..half].iter().any(|later| puts(later, old))
    };
    let gone: Vec<bool> = (0..records.len())
        .map(|at| at < half && replaced(at))
        .collect();
    let mut at = 0;
    records.retain(|_| {
        at += 1;
        !gone[at - 1]
    });
}
