//! Recipients of what happens to conditions: webhooks, Alertmanager and AWS SNS, as output sinks.
//!
//! A [`Recipient`] gets the committed transitions of each partition from the pipeline's notifiers,
//! one at a time and in order; what keeps its place, tries again and sets aside is there
//! ([`theatre_pipeline::notifier`]). Here is which transitions are sent ([`route`]) and how one is
//! handed over.
//!
//! **What must hold:** a recipient can recognise a transition that comes again: its id goes with it,
//! the same each time. A secret is in no message, no error and no log.

mod alertmanager;
mod http;
mod message;
mod open;
mod route;
mod sns;
mod webhook;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, Error, Result, StoredOutput};
use theatre_actors::position::Partition;
use theatre_actors::time::Clock;
use theatre_config::notify::{NotifyConfig, NotifyKind};
use theatre_pipeline::outbox::{Consumer, OutputSink, RECIPIENT_PREFIX, Receipt, Stream};
use theatre_schemas::records::{Alert, Priority, Transition};

use alertmanager::Alertmanager;
pub use message::facility;
use message::{Notification, Standing};
use open::OpenConditions;
use route::Route;
use sns::Sns;
use webhook::Webhook;

/// A recipient of transitions.
pub struct Recipient {
    name: String,
    route: Route,
    patience: Duration,
    repeats_every: Option<Duration>,
    wire: Wire,
    clock: Arc<dyn Clock>,
    open: OpenConditions,
}

/// How it is reached.
enum Wire {
    Webhook(Webhook),
    Alertmanager(Alertmanager),
    Sns(Box<Sns>),
}

/// Why a transition that was set aside is not sent again, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// It does not hold any more: the condition is over, or has another priority, and what says so
    /// does not come behind it, because it was delivered before or is not for this recipient.
    Outdated(String),
    /// Its condition is open and silenced at the moment.
    Silenced(String),
}

impl LeftOut {
    /// The reason, and what can be done.
    pub fn words(&self) -> &str {
        match self {
            Self::Outdated(why) | Self::Silenced(why) => why,
        }
    }
}

/// The recipients of a configuration. Nothing is opened: that they are named does not hinder a
/// command that sends nothing.
pub fn recipients(sections: &[NotifyConfig], clock: &Arc<dyn Clock>) -> Vec<Arc<Recipient>> {
    let recipient = |section| Arc::new(Recipient::new(section, clock.clone()));
    sections.iter().map(recipient).collect()
}

/// The name under which the store keeps the positions of a recipient, and what it could not be
/// delivered.
pub fn consumer_name(recipient: &str) -> String {
    format!("{RECIPIENT_PREFIX}{recipient}")
}

/// Whether a recipient could be reached, without asking it: its secret and its certificates.
///
/// # Errors
/// Names the section, the key, and what is wrong.
pub fn check(section: &NotifyConfig) -> Result<()> {
    match section.kind {
        NotifyKind::Webhook => webhook::check(section),
        NotifyKind::Alertmanager | NotifyKind::Sns => http::Client::of(section).check(),
    }
}

impl Recipient {
    /// As a section says.
    pub fn new(section: &NotifyConfig, clock: Arc<dyn Clock>) -> Self {
        let wire = match section.kind {
            NotifyKind::Webhook => Wire::Webhook(Webhook::new(section, clock.clone())),
            NotifyKind::Alertmanager => {
                Wire::Alertmanager(Alertmanager::new(section, clock.clone()))
            }
            NotifyKind::Sns => Wire::Sns(Box::new(Sns::new(section, clock.clone()))),
        };
        Self {
            name: section.name.clone(),
            route: Route::of(section),
            patience: Duration::from_micros(section.give_up_after.0.unsigned_abs()),
            repeats_every: section
                .repeat()
                .map(|every| Duration::from_micros(every.0.unsigned_abs())),
            wire,
            clock,
            open: OpenConditions::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a message that says that it is a test, whatever the filters. `id` tells it from others.
    ///
    /// # Errors
    /// When it could not be delivered; a recipient that refuses it is no error.
    pub fn test(&self, id: &str) -> Result<Receipt> {
        let now = self.clock.now().0;
        let alert = Alert {
            alert_id: id.to_owned(),
            condition_id: id.to_owned(),
            robot_id: "test".to_owned(),
            rule_id: "theatre_notify_test".to_owned(),
            transition: Transition::Raised,
            priority: Priority::Low,
            event_time: now,
            raised_at: now,
            message: format!("A test of the recipient {}: nothing is wrong.", self.name),
            ..Alert::default()
        };
        let notification = Notification {
            alert: &alert,
            facility_id: None,
            now: None,
            is_test: true,
        };
        self.send(&notification)
    }

    /// Why a transition that was set aside is not to be sent again, unless by force; `None` if it
    /// is. `comes_behind` says of an output whether it is sent again as well, after this one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn left_out(
        &self,
        output: &StoredOutput,
        store: &dyn CheckpointStore,
        comes_behind: &dyn Fn(&StoredOutput) -> bool,
    ) -> Result<Option<LeftOut>> {
        // What cannot be read is refused when it is sent.
        let Ok(alert) = read(output) else {
            return Ok(None);
        };
        let since = self.route.since(&alert, output, store)?;
        let until = since.silenced_until(&alert, self.clock.now().0);
        if since.is_outdated(&alert, comes_behind)
            && let Some(newest) = since.newest
        {
            return Ok(Some(LeftOut::Outdated(format!(
                "the condition was {} at {}, so this does not hold any more: --force sends it all the same, `theatre notify discard {} --outdated` takes it off the list",
                newest.transition.as_str(),
                message::time(newest.event_time),
                self.name
            ))));
        }
        Ok(until.map(|until| {
            LeftOut::Silenced(format!(
                "the condition is silenced until {}: repeat this then, or send it all the same (--force)",
                message::time(until)
            ))
        }))
    }

    /// Sends again what was set aside. If the condition has moved on, the message says how it stands
    /// now.
    ///
    /// # Errors
    /// When it could not be delivered, or the store does not answer.
    pub fn resend(&self, output: &StoredOutput, store: &dyn CheckpointStore) -> Result<Receipt> {
        let alert = match read(output) {
            Ok(alert) => alert,
            Err(error) => return Ok(Receipt::Refused(error.to_string())),
        };
        let newest = self.route.since(&alert, output, store)?.newest;
        self.deliver(&alert, store, newest.as_ref().map(Standing::of))
    }

    fn deliver(
        &self,
        alert: &Alert,
        store: &dyn CheckpointStore,
        now: Option<Standing>,
    ) -> Result<Receipt> {
        self.send(&Notification {
            facility_id: facility(&alert.robot_id, alert.event_time, store)?,
            alert,
            now,
            is_test: false,
        })
    }

    fn send(&self, notification: &Notification<'_>) -> Result<Receipt> {
        match &self.wire {
            Wire::Webhook(webhook) => webhook.send(notification),
            Wire::Alertmanager(alertmanager) => alertmanager.send(notification),
            Wire::Sns(sns) => sns.send(notification),
        }
    }
}

fn read(output: &StoredOutput) -> Result<Alert> {
    Alert::decode(&output.output.payload).map_err(|error| {
        Error::Refused(format!(
            "alert {} of partition {} cannot be read: {error}",
            output.sequence, output.partition
        ))
    })
}

impl OutputSink for Recipient {
    fn consumer(&self) -> Consumer {
        Consumer {
            name: Cow::Owned(consumer_name(&self.name)),
            stream: Stream::OutputsOf(OutputKind::Alert),
            backlog: Cow::Owned(format!("outputs are not looked at for {}", self.name)),
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn wants(&self, output: &StoredOutput, store: &dyn CheckpointStore) -> Result<bool> {
        match read(output) {
            Ok(alert) => self.route.passes(&alert, output, store),
            // Set aside by `take`: it will never be read, and holds up nothing.
            Err(_) => Ok(true),
        }
    }

    fn take(&self, output: &StoredOutput, store: &dyn CheckpointStore) -> Result<Receipt> {
        let alert = match read(output) {
            Ok(alert) => alert,
            Err(error) => return Ok(Receipt::Refused(error.to_string())),
        };
        self.deliver(&alert, store, None)
    }

    fn repeats_every(&self) -> Option<Duration> {
        self.repeats_every
    }

    fn repeat(
        &self,
        partition: Partition,
        is_known: &dyn Fn(&StoredOutput) -> bool,
        is_owner: &dyn Fn() -> Result<()>,
        store: &dyn CheckpointStore,
    ) -> Result<Receipt> {
        let Wire::Alertmanager(alertmanager) = &self.wire else {
            return Ok(Receipt::Taken);
        };
        let now = self.clock.now().0;
        let mut standing = Vec::new();
        for (condition, robot) in self.open.of(partition, store)? {
            let of = (&*robot, &*condition);
            if let Some(alert) = self.route.stands(of, now, is_known, store)? {
                let facility_id = facility(&alert.robot_id, alert.event_time, store)?;
                standing.push((alert, facility_id));
            }
        }
        let notifications: Vec<Notification<'_>> = standing
            .iter()
            .map(|(alert, facility_id)| Notification {
                alert,
                facility_id: facility_id.clone(),
                now: None,
                is_test: false,
            })
            .collect();
        alertmanager.repeat(&notifications, is_owner)
    }
}
