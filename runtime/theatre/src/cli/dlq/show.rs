//! `theatre dlq show`: one dead letter in full; who opens its seal stands in the audit trail.

use clap::Args;
use serde_json::{Value, json};
use theatre_actors::outputs::DeadRow;
use theatre_actors::ports::{DeadReplay, StoredDead};
use theatre_queries as queries;
use theatre_schemas::pseudonym::Pseudonyms;

use super::missing;
use crate::cli::output::{time, value};
use crate::cli::process::pseudonym_key;
use crate::cli::service::{Place, store};
use crate::cli::trail::{Trail, Who};
use crate::cli::{Common, Failure};

// Without a doc comment: the command's description is that of its row in the list of commands.
#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// Partition.
    partition: u32,
    /// Number within the partition.
    number: u64,
    /// Open the seal of a record that could not be decoded. It may name persons; who did it is kept
    /// in the audit trail.
    #[arg(long)]
    unseal: bool,
    #[command(flatten)]
    who: Who,
}

impl Show {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let store = store(common)?;
        let found = queries::dead_letter(&*store, self.partition, self.number)?;
        let stored = found.ok_or_else(|| missing(self.partition, self.number))?;
        let replays = store.dead_replays(&[(self.partition, self.number)])?;
        let payload = self.payload(common, &stored)?;
        let dead = stored.dead;
        value(&json!({
            "topic": dead.topic,
            "offset": dead.offset,
            "append_time": time(dead.append_time),
            "reason": dead.reason.as_str(),
            "detail": dead.detail,
            "robot_id": dead.robot_id,
            "schema_id": dead.schema_id,
            "size": dead.size,
            "sha256": dead.sha256,
            "payload": payload,
            "purged_at": stored.purged_at.map(|at| time(at.0)),
            "replay": replays.first().map(printed),
        }))
    }

    /// The payload as it is printed: columns as JSON, or the sealed bytes, opened on demand only.
    fn payload(&self, common: &Common, stored: &StoredDead) -> Result<Value, Failure> {
        let dead: &DeadRow = &stored.dead;
        if stored.purged_at.is_some() {
            return Ok(Value::Null);
        }
        if !dead.sealed {
            return Ok(serde_json::from_slice(&dead.payload).unwrap_or(Value::Null));
        }
        if !self.unseal {
            return Ok(json!(format!(
                "{} bytes, sealed (--unseal opens them)",
                dead.payload.len()
            )));
        }
        let place = Place::of(common)?;
        let pseudonyms = Pseudonyms::new(pseudonym_key(&place.config, &place.dir)?);
        let opened = queries::unsealed(&dead.payload, &pseudonyms);
        let opened = opened
            .ok_or_else(|| Failure::Failed("the seal was made with another key".to_owned()))?;
        // What is not in the trail is not shown.
        let access = place.write()?.access()?;
        let target = format!("{}/{}", self.partition, self.number);
        let what = json!({"sha256": dead.sha256});
        Trail::of(&*access, &self.who)?.note("dead_letter.unseal", &target, &what)?;
        Ok(json!(opened))
    }
}

fn printed(replay: &DeadReplay) -> Value {
    json!({
        "count": replay.count,
        "partition": replay.to,
        "offset": replay.offset,
        "begun_at": time(replay.begun_at.0),
    })
}
