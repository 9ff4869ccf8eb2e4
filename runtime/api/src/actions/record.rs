//! Actions as records: encoded by the shipped schema, as a robot's are, and appended.

use serde_json::{Map, Value, json};
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{Error, EventLog, NewRecord, Result};
use theatre_schemas::encode::JsonEncoder;
use theatre_schemas::framing;
use theatre_schemas::registry::{INPUT_SCHEMAS, schema_id};

use super::{Action, Deed, Placed};

impl Action {
    /// The fields of its record but the robot.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("event_time", json!(self.at.0));
        put("action_id", json!(self.id));
        put("action", json!(self.deed.name()));
        put("actor", json!(self.actor));
        let mut optional = |name: &str, value: Option<&String>| {
            if let Some(value) = value {
                put(name, json!(value));
            }
        };
        optional("comment", self.comment.as_ref());
        match &self.deed {
            Deed::Acknowledge { condition }
            | Deed::Unacknowledge { condition }
            | Deed::Close { condition } => optional("condition_id", Some(condition)),
            Deed::Assign {
                condition,
                assignee,
            } => {
                optional("condition_id", Some(condition));
                optional("assignee", assignee.as_ref());
            }
            Deed::Silence(scope) => {
                optional("condition_id", scope.condition.as_ref());
                optional("rule_id", scope.rule.as_ref());
                optional("facility_id", scope.facility.as_ref());
                optional("robot_model", scope.model.as_ref());
                put("until", json!(scope.until.0));
                put("hides_high", json!(scope.hides_high));
            }
            Deed::Unsilence { silence } => optional("silence_id", Some(silence)),
        }
        fields
    }
}

/// Appends an action where it is read.
pub(super) fn append(
    action: &Action,
    log: &dyn EventLog,
    (topic, partitions): (&str, u32),
) -> Result<Vec<Placed>> {
    let placed = records(action, partitions)?
        .into_iter()
        .map(|(partition, record)| {
            Ok(Placed {
                topic: topic.to_owned(),
                partition,
                offset: log.append(topic, partition, &[record])?,
            })
        });
    placed.collect()
}

/// The record of an action for its robot's partition, or one for every partition, under a key of its
/// own.
pub(super) fn records(action: &Action, partitions: u32) -> Result<Vec<(u32, NewRecord)>> {
    let keys: Vec<(u32, String)> = match &action.robot {
        Some(robot) => vec![(partition_of(robot.as_bytes(), partitions), robot.clone())],
        None => (0..partitions)
            .map(|partition| (partition, format!("@partition/{partition}")))
            .collect(),
    };
    let encoder = Encoder::new()?;
    let record = |(partition, key)| Ok((partition, encoder.record(action, key)?));
    keys.into_iter().map(record).collect()
}

struct Encoder {
    id: u32,
    json: JsonEncoder,
}

impl Encoder {
    /// By the newest shipped schema.
    fn new() -> Result<Self> {
        let broken = |error: &dyn std::fmt::Display| {
            Error::Refused(format!("the schema of alert_actions: {error}"))
        };
        // Later versions of a schema come after earlier ones.
        let mut shipped = INPUT_SCHEMAS.iter();
        let found = shipped.rfind(|(name, _)| *name == "alert_actions");
        let (_, json) = found.ok_or_else(|| broken(&"it is not shipped"))?;
        Ok(Self {
            id: schema_id(json).map_err(|error| broken(&error))?,
            json: JsonEncoder::new(json).map_err(|error| broken(&error))?,
        })
    }

    fn record(&self, action: &Action, key: String) -> Result<NewRecord> {
        let mut fields = action.fields();
        fields.insert("robot_id".to_owned(), json!(key));
        let mut value = framing::frame(self.id, &[]);
        self.json
            .encode(&Value::Object(fields), &mut value)
            .map_err(|faults| {
                Error::Refused(format!("the action does not fit its schema: {faults:?}"))
            })?;
        Ok(NewRecord {
            key: key.into_bytes(),
            value,
            headers: Vec::new(),
        })
    }
}
