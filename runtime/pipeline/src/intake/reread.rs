//! Records of dead letters: their bytes, and what they would be if they came now.

use std::collections::VecDeque;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use theatre_actors::control;
use theatre_actors::outputs::{DeadReason, DeadRow};
use theatre_actors::ports::{RecordView, Result};
use theatre_actors::position::TopicIndex;
use theatre_actors::time::LogTime;
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::EntityKind;
use theatre_schemas::pseudonym::Pseudonyms;

use super::decoder::Decoder;
use super::{Entry, IntakeParams};

/// What a record would become.
#[derive(Debug)]
pub enum Reread {
    /// The only row of this batch.
    Row(Arc<Batch>),
    /// A dead letter again, for this reason.
    Dead(DeadReason, String),
}

/// Reads a record by the present schemas and bounds, as if it were appended at `now`.
///
/// # Errors
/// `Unavailable` while a source of schemas does not say what its id means.
pub fn reread(
    params: &IntakeParams,
    topic: TopicIndex,
    value: &[u8],
    now: LogTime,
) -> Result<Reread> {
    let (mut at_hand, mut builders) = (Vec::new(), Vec::new());
    let (mut pending, mut dead) = (VecDeque::new(), Vec::new());
    let mut decoder = Decoder {
        params,
        topic,
        at_hand: &mut at_hand,
        builders: &mut builders,
        open: Vec::new(),
        pending: &mut pending,
        dead: &mut dead,
        stopped: None,
    };
    decoder.take(RecordView {
        offset: 0,
        append_time: now,
        key: &[],
        value,
    });
    if let Some(error) = decoder.stopped.take() {
        return Err(error);
    }
    let batch = decoder.finish().into_iter().next();
    let is_row = matches!(pending.front(), Some(head) if matches!(head.entry, Entry::Row { .. }));
    match (batch.filter(|_| is_row), dead.pop()) {
        (Some(batch), _) => Ok(Reread::Row(batch)),
        (None, Some(dead)) => Ok(Reread::Dead(dead.reason, dead.detail)),
        (None, None) => Ok(Reread::Dead(DeadReason::Undecodable, String::new())),
    }
}

/// The actor of the row of a batch of one.
pub fn actor(batch: &Batch) -> &str {
    batch.robot_id(0)
}

/// The key under which producers write about an actor, where its name tells it: that of a person
/// is a pseudonym, so the log alone knows the key.
pub fn key_of(actor: &str) -> Option<Vec<u8>> {
    if control::partition_of(actor).is_some() {
        return None;
    }
    match EntityKind::of_key(actor) {
        None => Some(actor.as_bytes().to_vec()),
        Some((EntityKind::Surgeon, _)) => None,
        Some((_, id)) => Some(id.as_bytes().to_vec()),
    }
}

/// Whether a record of the log is the one that a dead letter is about: by its hash, or, where only
/// columns were at hand, by when it was appended.
pub fn is_record_of(dead: &DeadRow, append_time: LogTime, value: &[u8]) -> bool {
    if dead.sha256.is_empty() {
        append_time.0 == dead.append_time
    } else {
        hash(value) == dead.sha256
    }
}

/// The record's bytes from the seal of its dead letter; `None` where it holds columns, where the
/// seal was made with another key, and where the record was too long to be kept whole.
pub fn sealed_record(dead: &DeadRow, pseudonyms: &Pseudonyms) -> Option<Vec<u8>> {
    let opened = dead.sealed.then(|| pseudonyms.unseal(&dead.payload))??;
    (hash(&opened) == dead.sha256).then_some(opened)
}

fn hash(value: &[u8]) -> String {
    format!("{:x}", Sha256::digest(value))
}

#[cfg(test)]
mod tests {
    use theatre_config::Config;

    use super::*;

    fn sealed(value: &[u8], pseudonyms: &Pseudonyms) -> DeadRow {
        DeadRow {
            topic: 0,
            offset: 1,
            append_time: 5,
            reason: DeadReason::BadFrame,
            detail: String::new(),
            robot_id: None,
            schema_id: None,
            payload: pseudonyms.seal(value),
            sealed: true,
            size: value.len() as u64,
            sha256: hash(value),
        }
    }

    #[test]
    fn a_seal_gives_the_whole_record_or_nothing() {
        let pseudonyms = Pseudonyms::new([3; 32]);
        let dead = sealed(b"a record", &pseudonyms);
        let opened = sealed_record(&dead, &pseudonyms);
        assert_eq!(opened.as_deref(), Some(b"a record".as_slice()));
        assert_eq!(sealed_record(&dead, &Pseudonyms::new([4; 32])), None);
        let cut = DeadRow {
            payload: pseudonyms.seal(b"a rec"),
            ..dead.clone()
        };
        assert_eq!(sealed_record(&cut, &pseudonyms), None);
        let columns = DeadRow {
            sealed: false,
            ..dead.clone()
        };
        assert_eq!(sealed_record(&columns, &pseudonyms), None);
        assert_eq!(sealed_record(&dead.erased(), &pseudonyms), None);
    }

    #[test]
    fn a_record_is_known_by_its_hash_or_by_its_moment() {
        let dead = sealed(b"a record", &Pseudonyms::new([3; 32]));
        assert!(is_record_of(&dead, LogTime(9), b"a record"));
        assert!(!is_record_of(&dead, LogTime(5), b"another"));
        let sha256 = String::new();
        let columns = DeadRow { sha256, ..dead };
        assert!(is_record_of(&columns, LogTime(5), b"whatever"));
        assert!(!is_record_of(&columns, LogTime(6), b"whatever"));
    }

    #[test]
    fn keys_are_those_of_producers_where_the_name_tells_them() {
        let key = |actor: &str| key_of(actor).map(|key| String::from_utf8(key).unwrap());
        assert_eq!(key("robot-1").as_deref(), Some("robot-1"));
        assert_eq!(key("@facility/FAC-1").as_deref(), Some("FAC-1"));
        assert_eq!(key("@surgeon/surgeon-0a"), None);
        assert_eq!(key("@partition/3"), None);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let params = crate::params::without_sources(&Config::default()).unwrap();
        for (value, wanted) in [
            (b"".as_slice(), DeadReason::BadFrame),
            (b"?", DeadReason::BadFrame),
            (&[0, 0, 0, 250, 250, 1], DeadReason::UnknownSchema),
        ] {
            let found = reread(&params.intake(), 0, value, LogTime(1)).unwrap();
            assert!(
                matches!(&found, Reread::Dead(reason, _) if *reason == wanted),
                "{value:?}: {found:?}"
            );
        }
    }
}
