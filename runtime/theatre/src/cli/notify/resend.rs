//! `theatre notify resend`: what could not be delivered is sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use theatre_actors::ports::{CheckpointStore, Error, StoredOutput, StoredUndelivered};
use theatre_notify::{LeftOut, Recipient, consumer_name};
use theatre_pipeline::outbox::Receipt;

use super::{List, named, recipients};
use crate::cli::output::rows;
use crate::cli::service::Place;
use crate::cli::trail::Who;
use crate::cli::{Common, Failure};

/// After so many answers one after the other that say "not now" a recipient is asked no more.
const NOES_MAX: u32 = 3;

pub(super) fn resend(
    common: &Common,
    recipient: Option<&str>,
    limit: usize,
    (by_force, dry_run): (bool, bool),
    who: &Who,
) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let recipients = recipients(&place);
    if let Some(name) = recipient {
        named(&recipients, name)?;
    }
    let list = List::open(&place, dry_run, who)?;
    let consumer = recipient.map(consumer_name);
    let aside = list.store.undelivered(consumer.as_deref(), 0)?;
    let what = json!({"listed": aside.len(), "limit": limit, "force": by_force});
    list.note("notifications.resend", recipient, &what)?;
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut again = Again::new(&*list.store, (by_force, dry_run), &aside);
    let (mut lines, mut left, mut failed) = (Vec::new(), 0, None);
    for stored in &aside {
        if again.tried >= limit {
            break;
        }
        match again.next(recipient_of(&recipients, stored), stored) {
            Ok(outcome) => {
                left += usize::from(matches!(outcome, Outcome::NotTried(_) | Outcome::Failed(_)));
                lines.push(line(stored, outcome));
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let what = json!({"sent": again.sent, "tried": again.tried, "failed": failed.as_ref().map(ToString::to_string)});
    let noted = list.note("notifications.resent", recipient, &what);
    let done = if dry_run { "would_send" } else { "delivered" };
    rows(
        common.output,
        &["recipient", "partition", "number", done, "reason"],
        &lines,
    )?;
    noted?;
    match (failed, left) {
        (Some(error), _) => Err(error.into()),
        (None, left) if left > 0 && !dry_run => Err(Failure::Failed(format!(
            "{left} notifications are still not delivered; `theatre notify list` names them"
        ))),
        _ => Ok(()),
    }
}

fn recipient_of<'a>(
    recipients: &'a [Arc<Recipient>],
    stored: &StoredUndelivered,
) -> Option<&'a Recipient> {
    let is_of = |recipient: &&Arc<Recipient>| consumer_name(recipient.name()) == stored.consumer;
    recipients.iter().find(is_of).map(Arc::as_ref)
}

/// What became of one that was to be sent again; if it is still on the list, why.
enum Outcome {
    Sent,
    /// It was not to be sent, as it stands.
    LeftOut(String),
    /// It was to be sent, and could not be tried.
    NotTried(String),
    Failed(String),
}

/// What was set aside, and where: recipient, partition and number.
pub(super) type Aside = (String, u32, u64);

pub(super) fn place_of(stored: &StoredUndelivered) -> Aside {
    let output = &stored.output;
    (stored.consumer.clone(), output.partition, output.sequence)
}

/// The recipient and the condition.
fn condition_of(stored: &StoredUndelivered) -> (String, String) {
    (stored.consumer.clone(), stored.output.output.id.clone())
}

fn line(stored: &StoredUndelivered, outcome: Outcome) -> Vec<Value> {
    let why = match outcome {
        Outcome::Sent => None,
        Outcome::LeftOut(why) | Outcome::NotTried(why) | Outcome::Failed(why) => Some(why),
    };
    vec![
        json!(stored.consumer.trim_start_matches(&consumer_name(""))),
        json!(stored.output.partition),
        json!(stored.output.sequence),
        json!(why.is_none()),
        json!(why),
    ]
}

/// What is sent again.
struct Again<'a> {
    store: &'a dyn CheckpointStore,
    by_force: bool,
    /// Only says what would be sent.
    dry_run: bool,
    /// What is set aside: it is sent in this order, by this command or the next one.
    aside: BTreeSet<Aside>,
    /// Recipients that do not answer, or take nothing.
    away: BTreeSet<String>,
    /// Conditions, by recipient, of which one was answered with a no that may pass.
    put_off: BTreeSet<(String, String)>,
    /// How many such answers a recipient has given one after the other.
    noes: BTreeMap<String, u32>,
    tried: usize,
    sent: usize,
}

impl<'a> Again<'a> {
    fn new(
        store: &'a dyn CheckpointStore,
        (by_force, dry_run): (bool, bool),
        aside: &[StoredUndelivered],
    ) -> Self {
        Self {
            store,
            by_force,
            dry_run,
            aside: aside.iter().map(place_of).collect(),
            away: BTreeSet::new(),
            put_off: BTreeSet::new(),
            noes: BTreeMap::new(),
            tried: 0,
            sent: 0,
        }
    }

    /// Sends the next one again, if it can be tried, and counts it.
    fn next(
        &mut self,
        sink: Option<&Recipient>,
        stored: &StoredUndelivered,
    ) -> Result<Outcome, Error> {
        let outcome = match sink {
            None => Outcome::NotTried("it is not in the configuration".to_owned()),
            Some(_) if self.is_held_up(stored) => Outcome::NotTried("not tried".to_owned()),
            Some(sink) => self.send(sink, stored)?,
        };
        self.tried += usize::from(matches!(outcome, Outcome::Sent | Outcome::Failed(_)));
        self.sent += usize::from(matches!(outcome, Outcome::Sent));
        Ok(outcome)
    }

    /// Whether one is not tried because of what came before it: it is not to overtake that.
    fn is_held_up(&self, stored: &StoredUndelivered) -> bool {
        self.away.contains(&stored.consumer) || self.put_off.contains(&condition_of(stored))
    }

    /// Sends one again and takes it off the list, or says why it is still there.
    fn send(&mut self, sink: &Recipient, stored: &StoredUndelivered) -> Result<Outcome, Error> {
        let consumer = &stored.consumer;
        if !self.by_force
            && let Some(why) = left_out(self.store, &self.aside, sink, stored)?
        {
            return Ok(Outcome::LeftOut(why.words().to_owned()));
        }
        if self.dry_run {
            return Ok(Outcome::Sent);
        }
        Ok(match sink.resend(&stored.output, self.store) {
            Ok(Receipt::Taken) => {
                let (_, partition, number) = place_of(stored);
                self.store.settle_undelivered(partition, consumer, number)?;
                self.noes.remove(consumer);
                Outcome::Sent
            }
            Ok(Receipt::Refused(why)) => Outcome::Failed(why),
            Ok(Receipt::NotNow(why)) => {
                self.put_off.insert(condition_of(stored));
                let noes = self.noes.entry(consumer.clone()).or_default();
                *noes += 1;
                if *noes >= NOES_MAX {
                    self.away.insert(consumer.clone());
                }
                Outcome::Failed(why)
            }
            Err(error) => {
                self.away.insert(consumer.clone());
                Outcome::Failed(error.to_string())
            }
        })
    }
}

/// Why one is not sent again unless by force.
pub(super) fn left_out(
    store: &dyn CheckpointStore,
    aside: &BTreeSet<Aside>,
    sink: &Recipient,
    stored: &StoredUndelivered,
) -> Result<Option<LeftOut>, Error> {
    let comes_behind = |output: &StoredOutput| {
        aside.contains(&(stored.consumer.clone(), output.partition, output.sequence))
    };
    sink.left_out(&stored.output, store, &comes_behind)
}
