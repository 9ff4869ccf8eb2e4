//! One version of a rule has one content: what is refused where a change is made. Partitions take
//! what was appended without looking at versions, as they always did.

use super::{ChangeFate, ChangeKind, RuleChange, StandingRules};
use crate::rules::RuleSpec;

/// A version of a rule that is known.
struct Recorded {
    spec: RuleSpec,
    /// The change that puts it, where that waits to be approved.
    waits: Option<String>,
}

impl StandingRules {
    /// The rules of the configuration, on which all changes stand.
    pub fn base(&self) -> &[RuleSpec] {
        &self.base
    }

    /// Whether the version of a rule that is put is 1 or higher, and that of one that is put, or
    /// whose change is approved, higher than those that are known. The newest may be put once more
    /// as it is. A rule in the shadow has versions of its own.
    ///
    /// # Errors
    /// Says which version is there, and what to do.
    pub fn check_version(&self, change: &RuleChange) -> Result<(), String> {
        let id = change.approves.as_deref().unwrap_or_default();
        let approved = self.waiting().iter().find(|waits| waits.change_id == id);
        let put = approved.unwrap_or(change);
        if put.kind != ChangeKind::Put || change.kind == ChangeKind::Reject {
            return Ok(());
        }
        let wanted = put.spec()?;
        if approved.is_none() {
            wanted.check_version()?;
        }
        let mut known = self.recorded(put);
        if approved.is_some() {
            known.retain(|known| known.waits.is_none());
        }
        let Some(newest) = known.iter().max_by_key(|known| known.spec.version) else {
            return Ok(());
        };
        let newest_version = newest.spec.version;
        let mut same = known.iter().filter(|it| it.spec.version == newest_version);
        let is_same = wanted.version == newest_version && same.all(|it| it.spec == wanted);
        if wanted.version > newest_version || is_same {
            return Ok(());
        }
        Err(refusal(&wanted, newest, approved.is_some()))
    }

    /// The version that a rule gets which is put without a new one of its own: the next one. `None`
    /// where its own will do.
    ///
    /// # Errors
    /// When the change puts no rule, or there is no higher version.
    pub fn version_instead(&self, change: &RuleChange) -> Result<Option<i32>, String> {
        if change.kind != ChangeKind::Put {
            return Ok(None);
        }
        let Err(why) = self.check_version(change) else {
            return Ok(None);
        };
        let known = self.recorded(change);
        let newest = known.iter().map(|known| known.spec.version).max();
        let next = newest.and_then(next_after);
        next.map(Some).ok_or(why)
    }

    /// The versions of the rule of a change that are known beside its own: that of the
    /// configuration, and those that were put. What was rejected or withdrawn never judged: its
    /// version is free.
    fn recorded(&self, change: &RuleChange) -> Vec<Recorded> {
        let is = |spec: &&RuleSpec| (&spec.id, spec.shadow) == (&change.rule_id, change.shadow);
        let of_base = self.base.iter().filter(is).map(|spec| Recorded {
            spec: spec.clone(),
            waits: None,
        });
        let puts = |known: &&RuleChange| {
            known.kind == ChangeKind::Put
                && known.change_id != change.change_id
                && (&known.rule_id, known.shadow) == (&change.rule_id, change.shadow)
        };
        let put = self.changes.iter().filter(puts).filter_map(|known| {
            let waits = match self.fate(known) {
                ChangeFate::Rejected { .. } | ChangeFate::Withdrawn { .. } => return None,
                ChangeFate::Waiting => Some(known.change_id.clone()),
                ChangeFate::Counts | ChangeFate::Refused { .. } => None,
            };
            let spec = known.spec().ok()?;
            Some(Recorded { spec, waits })
        });
        of_base.chain(put).collect()
    }
}

/// The version after one; the first is 1.
fn next_after(version: i32) -> Option<i32> {
    version.checked_add(1).map(|next| next.max(1))
}

fn refusal(wanted: &RuleSpec, newest: &Recorded, is_approval: bool) -> String {
    let (id, version, known) = (&wanted.id, wanted.version, newest.spec.version);
    let next = match next_after(known) {
        Some(next) => format!("version {next} or higher"),
        None => "another id: there is no higher version".to_owned(),
    };
    let shadow = if wanted.shadow { " in the shadow" } else { "" };
    let place = match &newest.waits {
        Some(change) => format!("waits to be approved as {change}"),
        None if is_approval => "counts by now".to_owned(),
        None => "is recorded".to_owned(),
    };
    let about = format!("rule '{id}'{shadow}: its version");
    let what = if version == known {
        format!("{about} {version} {place}, with another content")
    } else {
        format!("{about} {version} is not higher than {known}, which {place}")
    };
    let see = format!("`theatre rules history --rule {id}` shows each version");
    if is_approval {
        format!("{what}: reject the change, and add the rule again as {next}; {see}")
    } else {
        format!("{what}: give it {next}, also to go back to what it said before; {see}")
    }
}
