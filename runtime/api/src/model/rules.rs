//! Rules and changes of them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};
use theatre_actors::control::{ChangeFate, RuleChange};
use theatre_actors::rules::RuleSpec;

/// A rule. Its further fields are the keys of a rule file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Rule {
    /// Its id.
    pub(crate) id: String,
    /// Its version.
    pub(crate) version: i32,
    /// It runs in the shadow: what it raises is only compared.
    pub(crate) shadow: bool,
    /// Whether it judges.
    pub(crate) is_enabled: bool,
    /// Ids of changes of it that wait for another person.
    pub(crate) waiting: Vec<String>,
    /// Why it does not fit the configuration any more; absent: it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    #[serde(flatten)]
    pub(crate) rule: Map<String, Value>,
}

impl Rule {
    pub(crate) fn of(rule: &RuleSpec, is_enabled: bool, waiting: Vec<String>) -> Self {
        let mut fields = match json!(rule) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        for own in ["id", "version", "shadow"] {
            fields.remove(own);
        }
        Self {
            id: rule.id.clone(),
            version: rule.version,
            shadow: rule.shadow,
            is_enabled,
            waiting,
            refused: None,
            rule: fields,
        }
    }
}

/// A change of a rule, and what became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Change {
    /// Its id.
    pub(crate) change_id: String,
    /// `put`, `remove`, `enable`, `disable`, `approve` or `reject`.
    pub(crate) kind: Value,
    /// The rule.
    pub(crate) rule_id: String,
    /// The rule as JSON, of one that is put.
    pub(crate) rule: Option<String>,
    /// About the rule of this id that runs in the shadow.
    pub(crate) shadow: bool,
    /// When it was made, microseconds since 1970 in UTC.
    pub(crate) at: i64,
    /// Who made it.
    pub(crate) actor: String,
    /// The change that it approves.
    pub(crate) approves: Option<String>,
    /// What they said.
    pub(crate) comment: Option<String>,
    /// The change that it rejects.
    pub(crate) rejects: Option<String>,
    /// It waits for another person.
    pub(crate) is_waiting: bool,
    /// What became of it: `state` is `counts`, `waiting`, `rejected` (with `by` and `reason`),
    /// `withdrawn` (with `reason`) or `refused` (with `why`).
    #[schemars(schema_with = "fate")]
    pub(crate) fate: ChangeFate,
}

fn fate(_: &mut SchemaGenerator) -> Schema {
    let text = || json!({"type": ["string", "null"]});
    json_schema!({
        "type": "object",
        "required": ["state"],
        "properties": {
            "state": {"type": "string", "enum": ["counts", "waiting", "rejected", "withdrawn", "refused"]},
            "by": text(),
            "reason": text(),
            "why": text(),
        },
    })
}

impl Change {
    pub(crate) fn of(change: &RuleChange, fate: ChangeFate) -> Self {
        Self {
            change_id: change.change_id.clone(),
            kind: json!(change.kind),
            rule_id: change.rule_id.clone(),
            rule: change.rule.clone(),
            shadow: change.shadow,
            at: change.at,
            actor: change.actor.clone(),
            approves: change.approves.clone(),
            comment: change.comment.clone(),
            rejects: change.rejects.clone(),
            is_waiting: fate == ChangeFate::Waiting,
            fate,
        }
    }
}

/// What is answered to who asked for a change of rules.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ChangeAccepted {
    /// Id of the change.
    pub(crate) change_id: String,
    /// The rule.
    pub(crate) rule_id: String,
    /// It waits for another person; else it counts once the pipeline has read it.
    pub(crate) is_waiting: bool,
    /// What of a rule that is put is not wrong, and may not be meant so.
    pub(crate) warnings: Vec<String>,
}
