//! What people do about conditions: checked against what is open, noted in the audit trail, and
//! appended to the topic that the pipeline reads. The handlers and the command line use the same.
//!
//! An action counts once the pipeline has read it; so what was said while no process ran counts at the
//! next start, and a replay of the log says the same again.

mod known;
mod record;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use theatre_actors::ports::{AccessStore, AuditEntry, EventLog, Result};
use theatre_actors::time::LogTime;

pub use known::Known;
pub use theatre_queries::WIDE;

use crate::model::Position;
use crate::rule_changes::encoded;
use crate::tokens::hex;

/// Longest comment, reason or name, characters.
pub const TEXT_MAX: usize = 500;
/// Longest silence, microseconds: 90 days.
pub const SILENCE_MAX_US: i64 = 90 * 86_400 * 1_000_000;

/// Why an action means nothing; nothing was written then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// What it names is not there.
    Missing(String),
    /// It cannot be meant so.
    Wrong(String),
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// A person sees to the condition.
    Acknowledge {
        /// Its id.
        condition: String,
    },
    /// No one does any more.
    Unacknowledge {
        /// Its id.
        condition: String,
    },
    /// The condition is given to a person.
    Assign {
        /// Its id.
        condition: String,
        /// To whom; `None`: to no one.
        assignee: Option<String>,
    },
    /// A condition that latches is closed.
    Close {
        /// Its id.
        condition: String,
    },
    /// No one is notified of some conditions for a while.
    Silence(Scope),
    /// That is taken back.
    Unsilence {
        /// Id of the silence.
        silence: String,
    },
}

/// Which conditions a silence is about, and until when. What is absent does not narrow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// One condition.
    pub condition: Option<String>,
    /// Those of a rule.
    pub rule: Option<String>,
    /// Those of robots of a facility.
    pub facility: Option<String>,
    /// Those of robots of a model.
    pub model: Option<String>,
    /// Its end.
    pub until: LogTime,
    /// Conditions of high priority, too.
    pub hides_high: bool,
}

/// An action that can be appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Its own id; a second one with the same id changes nothing.
    pub id: String,
    /// When it is done.
    pub at: LogTime,
    /// Who does it.
    pub actor: String,
    /// On which robot; `None`: on all, so every partition reads it.
    pub robot: Option<String>,
    /// What is done.
    pub deed: Deed,
    /// What they say.
    pub comment: Option<String>,
}

/// A silence that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SilenceWish {
    /// Of this robot only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robot: Option<String>,
    /// Of this rule only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// This condition only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Of robots of this facility only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facility: Option<String>,
    /// Of robots of this model only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its end, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How long it lasts, such as `2h`, in place of its end.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Why.
    pub reason: String,
    /// Conditions of high priority, too.
    pub hides_high: bool,
}

/// A new id.
pub fn new_id(is_wide: bool) -> String {
    use rand::RngExt;
    let prefix = if is_wide { WIDE } else { "act_" };
    format!("{prefix}{}", hex(&rand::rng().random::<[u8; 16]>()))
}

/// What a person wrote; `None` where there is none.
///
/// # Errors
/// When it is too long.
pub fn text(what: &str, text: Option<&str>) -> std::result::Result<Option<String>, Refusal> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    match text {
        Some(text) if text.chars().count() > TEXT_MAX => Err(Refusal::Wrong(format!(
            "{what} is longer than {TEXT_MAX} characters"
        ))),
        other => Ok(other.map(str::to_owned)),
    }
}

impl Action {
    /// Notes it in the audit trail as `who`'s, from an address, with what was there before
    /// ([`Known::before`]), and appends it; returns where it is. One
    /// for all robots that fails may be in some partitions: the same action again completes it.
    ///
    /// # Errors
    /// When the access store or the log does not take it.
    pub fn append(
        &self,
        log: &dyn EventLog,
        access: &dyn AccessStore,
        to: (&str, u32),
        who: &str,
        from: Option<String>,
        before: Option<String>,
    ) -> Result<Vec<Placed>> {
        access.note(&AuditEntry {
            at: self.at,
            who: who.to_owned(),
            from,
            action: format!("alert.{}", self.deed.name()),
            target: self.target(),
            before,
            after: Some(Value::Object(self.fields()).to_string()),
        })?;
        record::append(self, log, to)
    }

    /// What it is about, in a word.
    fn target(&self) -> String {
        let of_deed = match &self.deed {
            Deed::Acknowledge { condition }
            | Deed::Unacknowledge { condition }
            | Deed::Assign { condition, .. }
            | Deed::Close { condition } => Some(condition),
            Deed::Silence(scope) => scope.condition.as_ref(),
            Deed::Unsilence { silence } => Some(silence),
        };
        let target = of_deed.or(self.robot.as_ref());
        target.map_or_else(|| "all robots".to_owned(), Clone::clone)
    }

    /// The request of the HTTP interface that asks for the same: method, path and body.
    pub fn request(&self) -> (&'static str, String, Value) {
        let comment = self.comment.as_deref();
        let on = |condition: &str, what: &str| format!("/api/v1/alerts/{condition}/{what}");
        match &self.deed {
            Deed::Acknowledge { condition }
            | Deed::Unacknowledge { condition }
            | Deed::Close { condition } => (
                "POST",
                on(condition, self.deed.name()),
                json!({"comment": comment}),
            ),
            Deed::Assign {
                condition,
                assignee,
            } => (
                "POST",
                on(condition, "assign"),
                json!({"comment": comment, "assignee": assignee}),
            ),
            Deed::Silence(scope) => {
                let until = jiff::Timestamp::from_microsecond(scope.until.0);
                let wish = SilenceWish {
                    robot: self.robot.clone(),
                    rule: scope.rule.clone(),
                    condition: scope.condition.clone(),
                    facility: scope.facility.clone(),
                    model: scope.model.clone(),
                    until: until.ok().map(|until| until.to_string()),
                    lasts: None,
                    reason: comment.unwrap_or_default().to_owned(),
                    hides_high: scope.hides_high,
                };
                ("POST", "/api/v1/silences".to_owned(), json!(wish))
            }
            Deed::Unsilence { silence } => {
                // A request that deletes has no body.
                let why = comment.map(|comment| format!("?comment={}", encoded(comment)));
                let path = format!("/api/v1/silences/{silence}{}", why.unwrap_or_default());
                ("DELETE", path, Value::Null)
            }
        }
    }
}

impl Deed {
    /// As it is called in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Acknowledge { .. } => "acknowledge",
            Self::Unacknowledge { .. } => "unacknowledge",
            Self::Assign { .. } => "assign",
            Self::Close { .. } => "close",
            Self::Silence(_) => "silence",
            Self::Unsilence { .. } => "unsilence",
        }
    }
}

/// A record of an action in the log: topic, partition and offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
}

impl From<Placed> for Position {
    fn from(placed: Placed) -> Self {
        Self {
            topic: placed.topic,
            partition: placed.partition,
            first_offset: placed.offset,
            records: 1,
        }
    }
}
