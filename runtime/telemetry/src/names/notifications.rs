//! What is emitted of notifications, by recipient.

use super::{
    NOTIFICATIONS_DELIVERED, NOTIFICATIONS_FAILED, NOTIFICATIONS_UNDELIVERED, NOTIFICATIONS_WAIT,
};

/// A recipient is notified from now on: its counters begin at 0, likewise.
pub fn notifications_begin(recipient: &str) {
    for counter in [
        NOTIFICATIONS_DELIVERED,
        NOTIFICATIONS_FAILED,
        NOTIFICATIONS_UNDELIVERED,
    ] {
        counter.increment([recipient.to_owned().into()], 0);
    }
}

/// A recipient has taken a transition.
pub fn notification_delivered(recipient: &str) {
    NOTIFICATIONS_DELIVERED.increment([recipient.to_owned().into()], 1);
}

/// A delivery failed and is tried again.
pub fn notification_failed(recipient: &str) {
    NOTIFICATIONS_FAILED.increment([recipient.to_owned().into()], 1);
}

/// A transition was set aside.
pub fn notification_undelivered(recipient: &str) {
    NOTIFICATIONS_UNDELIVERED.increment([recipient.to_owned().into()], 1);
}

/// The oldest transition that a recipient was offered in vain was saved then, Unix time in seconds;
/// 0: there is none.
pub fn notifications_wait(partition: u32, recipient: &str, since: f64) {
    let labels = [partition.to_string().into(), recipient.to_owned().into()];
    NOTIFICATIONS_WAIT.set(labels, since);
}
