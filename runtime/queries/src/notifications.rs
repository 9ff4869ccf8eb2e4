//! What could not be delivered to recipients.

use serde::Serialize;
use theatre_actors::ports::{CheckpointStore, Error, Result};
use theatre_actors::position::Partition;
use theatre_pipeline::outbox::RECIPIENT_PREFIX;
use theatre_schemas::records::Alert;

/// A transition that could not be delivered to a recipient.
#[derive(Debug, Clone, Serialize)]
pub struct UndeliveredNotification {
    /// The recipient, by its name in the configuration.
    pub recipient: String,
    /// The partition of the transition.
    pub partition: Partition,
    /// Its number among the partition's outputs.
    pub number: u64,
    /// When it was set aside, microseconds UTC.
    pub at: i64,
    /// Why.
    pub reason: String,
    /// The transition.
    pub alert: Alert,
}

/// What could not be delivered to a recipient, or to all of them, in order of recipient, partition
/// and number; at most `limit` (0 = all).
///
/// # Errors
/// When the store cannot be read.
pub fn undelivered_notifications(
    store: &dyn CheckpointStore,
    recipient: Option<&str>,
    limit: usize,
) -> Result<Vec<UndeliveredNotification>> {
    let consumer = recipient.map(|name| format!("{RECIPIENT_PREFIX}{name}"));
    let mut found = Vec::new();
    for stored in store.undelivered(consumer.as_deref(), limit)? {
        let Some(recipient) = stored.consumer.strip_prefix(RECIPIENT_PREFIX) else {
            continue;
        };
        let output = &stored.output;
        let alert = Alert::decode(&output.output.payload).map_err(|error| {
            Error::Refused(format!(
                "alert {} of partition {} cannot be read: {error}",
                output.sequence, output.partition
            ))
        })?;
        found.push(UndeliveredNotification {
            recipient: recipient.to_owned(),
            partition: output.partition,
            number: output.sequence,
            at: stored.at.0,
            reason: stored.reason,
            alert,
        });
    }
    Ok(found)
}
