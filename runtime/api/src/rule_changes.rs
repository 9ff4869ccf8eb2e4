//! Changes of rules: checked as at a start, noted in the audit trail, and appended to every partition
//! of the topic that the pipeline reads. The handlers and the command line use the same.

use serde_json::{Map, Value, json};
use theatre_actors::control::{self, ChangeKind, RuleChange};
use theatre_actors::ports::{
    AccessStore, AuditEntry, Begun, Error, EventLog, NewRecord, Reservation, Result,
};
use theatre_actors::time::LogTime;
use theatre_schemas::encode::JsonEncoder;
use theatre_schemas::framing;
use theatre_schemas::registry::{INPUT_SCHEMAS, schema_id};

use crate::tokens::hex;

/// The dataset of changes of rules.
pub const DATASET: &str = "rule_changes";

/// A new id of a change.
pub fn new_id() -> String {
    use rand::RngExt;
    format!("chg_{}", hex(&rand::rng().random::<[u8; 8]>()))
}

/// An answer that was begun and has made no progress for so long is given up, microseconds: what was
/// being appended, a broker has by then or never (librdkafka gives a record up after five minutes).
const ANSWERING_US: i64 = 360_000_000;

/// Lets no other person answer a change meanwhile: partitions might take two answers in different orders.
/// Returns what gives that up again, once the answer is in all partitions.
fn begin_to_answer(change: &RuleChange, access: &dyn AccessStore) -> Result<Option<String>> {
    let Some(of) = change.approves.as_ref().or(change.rejects.as_ref()) else {
        return Ok(None);
    };
    let (key, now) = (format!("theatre/answer/{of}"), LogTime(change.at));
    let begun = access.begin_request(&Reservation {
        key: key.clone(),
        fingerprint: change.change_id.clone(),
        ends: Vec::new(),
        begun_at: now,
        held_at: now,
    })?;
    let is_ours = match begun {
        Begun::New => true,
        Begun::Unanswered(known) => {
            let since = now.0.saturating_sub(known.held_at.0);
            let is_free = known.held_at.0 == 0 || since > ANSWERING_US;
            // The same answer once more completes what was interrupted.
            known.fingerprint == change.change_id
                || is_free && access.take_over_request(&key, known.held_at, now)?
        }
        Begun::Answered { .. } => false,
    };
    match is_ours {
        true => Ok(Some(key)),
        false => Err(Error::Refused(format!(
            "another person answers the change '{of}' at the moment: see what became of it in the history of changes, and repeat this after {} s if it still waits",
            ANSWERING_US / 1_000_000
        ))),
    }
}

/// Notes a change in the audit trail as `who`'s, from an address, and appends it to all partitions of
/// the topic. One that fails may be in some of them: the same change again completes it.
///
/// # Errors
/// When the access store or the log does not take it; refused where another person is answering the
/// same change.
pub fn append(
    change: &RuleChange,
    log: &dyn EventLog,
    access: &dyn AccessStore,
    (topic, partitions): (&str, u32),
    (who, from): (&str, Option<String>),
) -> Result<()> {
    let answering = begin_to_answer(change, access)?;
    access.note(&AuditEntry {
        at: LogTime(change.at),
        who: who.to_owned(),
        from,
        action: format!("rule.{}", change.kind.as_str()),
        target: change.rule_id.clone(),
        before: None,
        after: Some(Value::Object(fields(change)).to_string()),
    })?;
    for partition in 0..partitions {
        let record = record(change, partition)?;
        log.append(topic, partition, &[record])?;
    }
    if let Some(key) = answering {
        // Where another has taken it over after a long time, it is theirs.
        access.take_over_request(&key, LogTime(change.at), LogTime(0))?;
    }
    Ok(())
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

fn record(change: &RuleChange, partition: u32) -> Result<NewRecord> {
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

/// A part of a path.
fn encoded(part: &str) -> String {
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
        ChangeKind::Remove => (
            "DELETE",
            format!("/api/v1/rules/{rule}{shadow}"),
            Value::Null,
        ),
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
    }
}
