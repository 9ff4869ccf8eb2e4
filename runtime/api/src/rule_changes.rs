//! Changes of rules: checked as at a start, noted in the audit trail, and appended to every partition
//! of the topic that the pipeline reads. The handlers and the command line use the same.

mod turn;

use std::time::Duration;

use serde_json::{Map, Value, json};
use theatre_actors::control::{self, ChangeKind, RuleChange, StandingRules};
use theatre_actors::ports::{AccessStore, AuditEntry, Error, EventLog, NewRecord};
use theatre_actors::rules::RuleSpec;
use theatre_actors::time::{Clock, LogTime};
use theatre_schemas::encode::JsonEncoder;
use theatre_schemas::framing;
use theatre_schemas::registry::{INPUT_SCHEMAS, schema_id};

use self::turn::Turn;
pub use self::turn::end_turns;

use crate::tokens::hex;

/// The dataset of changes of rules.
pub const DATASET: &str = "rule_changes";

/// A new id of a change.
pub fn new_id() -> String {
    use rand::RngExt;
    format!("chg_{}", hex(&rand::rng().random::<[u8; 8]>()))
}

/// How long a change waits for its turn before it is refused, where nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// The rules that hold once all that is in the log is read.
pub trait ForeseenRules: Send + Sync {
    /// Reads what no partition has read yet.
    ///
    /// # Errors
    /// When store or log does not answer, or the stored state cannot be read.
    fn foreseen(&self) -> Result<StandingRules, Error>;

    /// The rules as far as a partition has read and saved, with all changes that it ever read: also
    /// those that it has forgotten, as far as the log has them.
    ///
    /// # Errors
    /// As [`Self::foreseen`].
    fn with_history(&self) -> Result<StandingRules, Error>;
}

/// By which way changes of rules come to the partitions.
pub struct Way<'a> {
    /// Where they are appended.
    pub log: &'a dyn EventLog,
    /// Keeps whose turn it is, and the audit trail.
    pub access: &'a dyn AccessStore,
    /// Against which a version is checked once no other person can change rules.
    pub rules: &'a dyn ForeseenRules,
    /// Wall clock.
    pub clock: &'a dyn Clock,
    /// The topic of changes.
    pub topic: &'a str,
    /// Its partitions.
    pub partitions: u32,
    /// How long to wait for another who changes another rule at the moment.
    pub patience: Duration,
}

/// Why changes were not appended, or not to all partitions.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Another person changes rules at the moment, or what another person has said is to be seen first.
    #[error("{why}")]
    Conflict {
        /// What happened and what to do.
        why: String,
        /// It may go through after so many seconds.
        seconds: u32,
    },
    /// Another change of the rule came first, which has its version by now.
    #[error("{0}")]
    Outdated(String),
    /// The access store or the log does not take it.
    #[error(transparent)]
    Port(#[from] Error),
}

/// Notes changes in the audit trail as `who`'s, from an address, and appends them to all partitions of
/// the topic, one after the other and no other person's between the partitions: all partitions have all
/// changes in one order. One that fails or is killed may be in some partitions only: the next change
/// of rules completes it, or the same change again.
///
/// # Errors
/// When the access store or the log does not take it; a conflict where another person is changing the
/// same rule, or takes longer than `patience` to change another one. Outdated, and nothing is
/// appended, where a version of a rule that is put or approved has another content by now.
pub fn append(
    changes: &[RuleChange],
    way: &Way<'_>,
    (who, from): (&str, Option<String>),
) -> Result<(), Fault> {
    let mut turn = Turn::take(way, changes)?;
    // What was appended a moment ago is known for certain only while the turn is held.
    let mut standing = way.rules.foreseen()?;
    check_versions(changes, &standing)?;
    for change in changes {
        way.access.note(&AuditEntry {
            at: LogTime(change.at),
            who: who.to_owned(),
            from: from.clone(),
            action: format!("rule.{}", change.kind.as_str()),
            target: change.rule_id.clone(),
            before: before(change, &standing),
            after: Some(Value::Object(fields(change)).to_string()),
        })?;
        turn.append(change)?;
        standing.meet(change.clone());
    }
    Ok(())
}

/// One version of a rule has one content. Who made a change has checked that against what a partition
/// had saved, which others may have changed since.
fn check_versions(changes: &[RuleChange], standing: &StandingRules) -> Result<(), Fault> {
    for change in changes {
        // One that was interrupted is appended again.
        let mut known = standing.changes().iter();
        if !known.any(|known| known.change_id == change.change_id) {
            standing.check_version(change).map_err(Fault::Outdated)?;
        }
    }
    Ok(())
}

/// The rule as it holds before a change, as JSON; `None` where there is none.
fn before(change: &RuleChange, standing: &StandingRules) -> Option<String> {
    let is_it =
        |(rule, _): &(&RuleSpec, bool)| rule.id == change.rule_id && rule.shadow == change.shadow;
    let (rule, is_enabled) = standing.known().find(is_it)?;
    Some(json!({"rule": rule, "is_enabled": is_enabled}).to_string())
}

/// The fields of its record but the key.
fn fields(change: &RuleChange) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("event_time", json!(change.at));
    put("change_id", json!(change.change_id));
    put("change", json!(change.kind.as_str()));
    put("rule_id", json!(change.rule_id));
    put("shadow", json!(change.shadow));
    put("actor", json!(change.actor));
    // The first version of the schema has no `rejects`.
    let rejects = (change.rejects.clone()).filter(|_| change.kind == ChangeKind::Reject);
    for (name, value) in [
        ("rule", &change.rule),
        ("approves", &change.approves),
        ("comment", &change.comment),
        ("rejects", &rejects),
    ] {
        if let Some(value) = value {
            put(name, json!(value));
        }
    }
    fields
}

fn record(change: &RuleChange, partition: u32) -> Result<NewRecord, Error> {
    let broken =
        |error: &dyn std::fmt::Display| Error::Refused(format!("the schema of {DATASET}: {error}"));
    let mut shipped = INPUT_SCHEMAS.iter().filter(|(name, _)| *name == DATASET);
    // A process of a version before rejections reads no other version than the first: in a rolling
    // upgrade it is to go by the same rules.
    let found = match change.kind {
        ChangeKind::Reject => shipped.next_back(),
        _ => shipped.next(),
    };
    let (_, schema) = found.ok_or_else(|| broken(&"it is not shipped"))?;
    let encoder = JsonEncoder::new(schema).map_err(|error| broken(&error))?;
    let mut fields = fields(change);
    fields.insert("robot_id".to_owned(), json!(control::name(partition)));
    let id = schema_id(schema).map_err(|error| broken(&error))?;
    let mut value = framing::frame(id, &[]);
    encoder
        .encode(&Value::Object(fields), &mut value)
        .map_err(|faults| {
            Error::Refused(format!("the change does not fit its schema: {faults:?}"))
        })?;
    Ok(NewRecord {
        // Of a compacted topic, which keeps every change for ever by this.
        key: change.change_id.clone().into_bytes(),
        value,
        headers: Vec::new(),
    })
}

/// A part of a path or of a query.
pub(crate) fn encoded(part: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    part.as_bytes()
        .iter()
        .map(|byte| match plain(byte) {
            true => char::from(*byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// The method, path and body by which a process is asked for a change over HTTP.
pub fn request(change: &RuleChange) -> (&'static str, String, Value) {
    let rule = encoded(&change.rule_id);
    let shadow = if change.shadow { "?shadow=true" } else { "" };
    let comment = change.comment.as_deref().unwrap_or_default();
    match change.kind {
        ChangeKind::Put => {
            let json = change.rule.as_deref().unwrap_or("null");
            let rule_json: Value = serde_json::from_str(json).unwrap_or_default();
            let body = json!({"rule": rule_json, "comment": comment});
            ("PUT", format!("/api/v1/rules/{rule}{shadow}"), body)
        }
        ChangeKind::Remove => {
            // A request that deletes has no body.
            let sign = if change.shadow { '&' } else { '?' };
            let why = (change.comment.as_deref())
                .map(|comment| format!("{sign}comment={}", encoded(comment)));
            let why = why.unwrap_or_default();
            let path = format!("/api/v1/rules/{rule}{shadow}{why}");
            ("DELETE", path, Value::Null)
        }
        ChangeKind::Approve => {
            let id = encoded(change.approves.as_deref().unwrap_or_default());
            let path = format!("/api/v1/rules/changes/{id}/approve");
            ("POST", path, json!({"comment": comment}))
        }
        ChangeKind::Reject => {
            let id = encoded(change.rejects.as_deref().unwrap_or_default());
            let path = format!("/api/v1/rules/changes/{id}/reject");
            ("POST", path, json!({"reason": comment}))
        }
        ChangeKind::Enable | ChangeKind::Disable => {
            let path = format!("/api/v1/rules/{rule}/{}{shadow}", change.kind.as_str());
            ("POST", path, json!({"comment": comment}))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_it_was_made() {
        let change = RuleChange {
            change_id: new_id(),
            kind: ChangeKind::Approve,
            rule_id: "a/b".to_owned(),
            at: 5,
            actor: "dana".to_owned(),
            approves: Some("chg_1".to_owned()),
            ..RuleChange::default()
        };
        let record = record(&change, 3).unwrap();
        assert_eq!(record.key, change.change_id.as_bytes());
        // Schema 1 of changes, which processes from before rejections read.
        assert_eq!(framing::parse(&record.value).unwrap().0, 1012);
        let (method, path, _) = request(&change);
        assert_eq!(
            (method, path.as_str()),
            ("POST", "/api/v1/rules/changes/chg_1/approve")
        );
        let waits = RuleChange {
            change_id: "chg_2".to_owned(),
            ..change.clone()
        };
        let rejection = RuleChange::answering(&waits, ChangeKind::Reject, Some("no".to_owned()));
        let rejected = super::record(&rejection, 3).unwrap();
        assert_eq!(framing::parse(&rejected.value).unwrap().0, 1016);
        assert_eq!(
            super::request(&rejection),
            (
                "POST",
                "/api/v1/rules/changes/chg_2/reject".to_owned(),
                json!({"reason": "no"})
            )
        );
        let removed = RuleChange {
            kind: ChangeKind::Remove,
            shadow: true,
            ..change
        };
        assert_eq!(request(&removed).1, "/api/v1/rules/a%2Fb?shadow=true");
        for (shadow, of) in [(true, "?shadow=true&"), (false, "?")] {
            let why = RuleChange {
                shadow,
                comment: Some("so & so".to_owned()),
                ..removed.clone()
            };
            let path = format!("/api/v1/rules/a%2Fb{of}comment=so%20%26%20so");
            assert_eq!(request(&why).1, path);
        }
    }
}
