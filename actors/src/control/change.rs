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
            _ => {
                return Err(
                    "the change is not known: it is put, remove, enable, disable or approve"
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
        };
        if kind == ChangeKind::Put {
            change.spec()?;
        }
        Ok(change)
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
#[derive(Debug, Default)]
pub(super) struct Approvals {
    waiting: Vec<RuleChange>,
}

impl Approvals {
    /// A change has come, and needs approval or not; returns the one that counts from here on, if one
    /// does.
    ///
    /// # Errors
    /// When it approves nothing that waits, or a change of the same person.
    pub(super) fn meet(
        &mut self,
        change: &RuleChange,
        needs_approval: bool,
    ) -> Result<Option<RuleChange>, String> {
        if change.kind != ChangeKind::Approve {
            if needs_approval {
                self.waiting.push(change.clone());
                return Ok(None);
            }
            return Ok(Some(change.clone()));
        }
        let id = change.approves.as_deref().unwrap_or_default();
        let waits = self.waiting.iter().position(|waits| waits.change_id == id);
        let Some(at) = waits else {
            return Err(format!("no change '{id}' waits to be approved"));
        };
        if self.waiting[at].actor == change.actor {
            return Err(format!(
                "the change is {}'s own: another person approves it",
                change.actor
            ));
        }
        Ok(Some(self.waiting.remove(at)))
    }

    /// The changes that wait.
    pub(super) fn waiting(&self) -> &[RuleChange] {
        &self.waiting
    }
}

/// Forgets the oldest changes that a later one of the same rule has replaced. The first one that puts a
/// rule stays: others that came before the later one may follow it. So does what needed approval: an
/// approval may come at any time.
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
    let replaced = |at: usize| {
        let record = &records[at];
        let Said::Rule(old) = &record.said else {
            return false;
        };
        if record.needs_approval || old.kind == ChangeKind::Approve {
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
