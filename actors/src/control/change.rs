//! A change of rules, and the rules that a base and changes make.

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;

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
            approves: said("approves"),
            comment: said("comment"),
            rejects: said("rejects"),
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

/// Which changes count. One that needs it waits until another person approves it.
#[derive(Debug, Clone, Default)]
pub(super) struct Approvals {
    waiting: Vec<RuleChange>,
}

impl Approvals {
    /// A change has come, and needs approval or not; returns the one that counts from here on, if one
    /// does.
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
                let at = self.find(change.approves.as_deref(), "approved")?;
                if self.waiting[at].actor == change.actor {
                    return Err(format!(
                        "the change is {}'s own: another person approves it",
                        change.actor
                    ));
                }
                Ok(Some(self.waiting.remove(at)))
            }
            ChangeKind::Reject => {
                let at = self.find(change.rejects.as_deref(), "rejected")?;
                self.waiting.remove(at);
                Ok(None)
            }
            _ if needs_approval => {
                self.waiting.push(change.clone());
                Ok(None)
            }
            _ => Ok(Some(change.clone())),
        }
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
    let rejected: Vec<&str> = (records[..half].iter())
        .filter_map(|record| match &record.said {
            Said::Rule(change) => change.rejects.as_deref(),
            Said::Action(_) => None,
        })
        .collect();
    let replaced = |at: usize| {
        let record = &records[at];
        let Said::Rule(old) = &record.said else {
            return false;
        };
        let id = match old.kind {
            ChangeKind::Reject => old.rejects.as_deref(),
            _ => Some(old.change_id.as_str()),
        };
        if id.is_some_and(|id| rejected.contains(&id)) {
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
