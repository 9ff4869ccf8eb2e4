//! The audit trail of what is done about dead letters and undelivered notifications.

use clap::Args;
use serde_json::{Value, json};
use theatre_actors::ports::{AccessStore, AuditEntry};
use theatre_actors::time::Clock;
use theatre_api::actions::text;
use theatre_system::clock::SystemClock;

use super::Failure;
use super::alerts::refused;
use super::door::actor;
use super::token::WHO;

/// Who does something, and why.
#[derive(Debug, Args)]
pub(super) struct Who {
    /// Who does it, for the audit trail; default: the user's name.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why, without personal data.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

impl Who {
    /// One whose words another command asks for under names of its own.
    pub(super) fn new(by: Option<String>, comment: Option<String>) -> Self {
        Self { by, comment }
    }
}

/// The trail, in which one person notes what they do.
pub(super) struct Trail<'a> {
    access: &'a dyn AccessStore,
    by: String,
    comment: Option<String>,
}

impl<'a> Trail<'a> {
    /// Of the one who acts.
    pub(super) fn of(access: &'a dyn AccessStore, who: &Who) -> Result<Self, Failure> {
        Ok(Self {
            access,
            by: actor(who.by.as_deref(), |name| std::env::var(name).ok())?,
            comment: text("the comment", who.comment.as_deref()).map_err(refused)?,
        })
    }

    /// Adds an entry.
    pub(super) fn note(&self, action: &str, target: &str, what: &Value) -> Result<(), Failure> {
        let after = json!({"by": self.by, "comment": self.comment, "what": what});
        self.access.note(&AuditEntry {
            at: SystemClock.now(),
            who: WHO.to_owned(),
            from: None,
            action: action.to_owned(),
            target: target.to_owned(),
            before: None,
            after: Some(after.to_string()),
        })?;
        Ok(())
    }
}
