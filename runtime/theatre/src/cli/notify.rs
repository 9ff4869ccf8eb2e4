//! `theatre notify`: recipients of what happens to conditions, and what could not be delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};
use theatre_actors::ports::{CheckpointStore, Error, StoredOutput, StoredUndelivered};
use theatre_actors::time::Clock;
use theatre_notify::{LeftOut, Recipient, consumer_name};
use theatre_pipeline::outbox::Receipt;
use theatre_system::clock::SystemClock;

use super::output::{if_json, rows, time, value, write};
use super::service::{Place, store};
use super::{Common, Failure, Output};
use theatre_queries::{self as queries, UndeliveredNotification};

/// After so many answers one after the other that say "not now" a recipient is asked no more.
const NOES_MAX: u32 = 3;

/// Looks at what could not be delivered, and sends it again.
#[derive(Debug, Subcommand)]
pub(super) enum Notify {
    /// What could not be delivered, and why.
    #[command(after_help = "Example: theatre notify list --recipient pager --output json")]
    List {
        /// Only of this recipient.
        #[arg(long)]
        recipient: Option<String>,
        /// At most so many; 0 = all.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Sends again what could not be delivered, with the same ids, once what was wrong is put right;
    /// but not what does not hold any more, or is silenced. Theatre may be running.
    #[command(
        after_help = "Example: theatre notify resend --dry-run --config theatre.toml (what would be sent), then\n         \
                            theatre notify resend --recipient pager --config theatre.toml"
    )]
    Resend {
        /// Only to this recipient.
        #[arg(long)]
        recipient: Option<String>,
        /// Try to send at most so many, what is left out not counted; 0 = all.
        #[arg(long, default_value_t = 0)]
        limit: usize,
        /// Send also what does not hold any more, such as that a condition was raised which is cleared
        /// since; it says so (`now`). And what is silenced.
        #[arg(long)]
        force: bool,
        /// Only say what would be sent.
        #[arg(long)]
        dry_run: bool,
    },
    /// Takes what could not be delivered to a recipient off the list. The transitions themselves
    /// stay: `theatre alerts history` has them.
    #[command(
        after_help = "Example: theatre notify discard pager --outdated --dry-run --config theatre.toml"
    )]
    Discard {
        /// The recipient, which need not be in the configuration any more.
        recipient: String,
        /// Only what `resend` leaves out because it does not hold any more.
        #[arg(long)]
        outdated: bool,
        /// Only say how many there are.
        #[arg(long)]
        dry_run: bool,
    },
    /// Sends a recipient of the configuration a message that says that it is a test.
    #[command(after_help = "Example: theatre notify test pager --config theatre.toml")]
    Test {
        /// The recipient.
        recipient: String,
    },
}

impl Notify {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::List { recipient, limit } => list(common, recipient.as_deref(), limit),
            Self::Resend {
                recipient,
                limit,
                force,
                dry_run,
            } => resend(common, recipient.as_deref(), limit, (force, dry_run)),
            Self::Discard {
                recipient,
                outdated,
                dry_run,
            } => discard(common, &recipient, outdated, dry_run),
            Self::Test { recipient } => test(common, &recipient),
        }
    }
}

fn list(common: &Common, recipient: Option<&str>, limit: usize) -> Result<(), Failure> {
    let line = |found: UndeliveredNotification| {
        vec![
            json!(found.recipient),
            json!(found.partition),
            json!(found.number),
            time(found.at),
            json!(found.alert.robot_id),
            json!(found.alert.rule_id),
            json!(found.alert.transition),
            json!(found.reason),
        ]
    };
    let found = queries::undelivered_notifications(&*store(common)?, recipient, limit)?;
    rows(
        common.output,
        &[
            "recipient",
            "partition",
            "number",
            "set_aside_at",
            "robot_id",
            "rule_id",
            "transition",
            "reason",
        ],
        &found.into_iter().map(line).collect::<Vec<_>>(),
    )
}

/// The recipients of the configuration.
fn recipients(place: &Place) -> Vec<Arc<Recipient>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    theatre_notify::recipients(&place.config.notify, &clock)
}

/// The store of a command that changes the list. It is opened for reading first, which fails where
/// there is none: opening it for writing would create one. The lock of the data directory is not
/// taken, so that a running process can go on.
fn writable(place: &Place) -> Result<Arc<dyn CheckpointStore>, Failure> {
    place.look()?.store()?;
    Ok(place.write()?.store()?)
}

fn resend(
    common: &Common,
    recipient: Option<&str>,
    limit: usize,
    (by_force, dry_run): (bool, bool),
) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let recipients = recipients(&place);
    if let Some(name) = recipient {
        named(&recipients, name)?;
    }
    let store = match dry_run {
        true => place.look()?.store()?,
        false => writable(&place)?,
    };
    let consumer = recipient.map(consumer_name);
    let aside = store.undelivered(consumer.as_deref(), 0)?;
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut again = Again {
        store: &*store,
        by_force,
        dry_run,
        aside: aside.iter().map(place_of).collect(),
        away: BTreeSet::new(),
        put_off: BTreeSet::new(),
        noes: BTreeMap::new(),
    };
    let (mut lines, mut tried, mut left) = (Vec::new(), 0, 0);
    for stored in &aside {
        if tried >= limit {
            break;
        }
        let outcome = match recipient_of(&recipients, stored) {
            None => Outcome::NotTried("it is not in the configuration".to_owned()),
            Some(_) if again.is_held_up(stored) => Outcome::NotTried("not tried".to_owned()),
            Some(sink) => again.send(sink, stored)?,
        };
        tried += usize::from(matches!(outcome, Outcome::Sent | Outcome::Failed(_)));
        left += usize::from(matches!(outcome, Outcome::NotTried(_) | Outcome::Failed(_)));
        lines.push(line(stored, outcome));
    }
    let done = if dry_run { "would_send" } else { "delivered" };
    rows(
        common.output,
        &["recipient", "partition", "number", done, "reason"],
        &lines,
    )?;
    match left {
        _ if dry_run => Ok(()),
        0 => Ok(()),
        left => Err(Failure::Failed(format!(
            "{left} notifications are still not delivered; `theatre notify list` names them"
        ))),
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
type Aside = (String, u32, u64);

fn place_of(stored: &StoredUndelivered) -> Aside {
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
}

impl Again<'_> {
    /// Whether one is not tried because of what came before it: it is not to overtake that.
    fn is_held_up(&self, stored: &StoredUndelivered) -> bool {
        self.away.contains(&stored.consumer) || self.put_off.contains(&condition_of(stored))
    }

    /// Sends one again and takes it off the list, or says why it is still there.
    fn send(&mut self, sink: &Recipient, stored: &StoredUndelivered) -> Result<Outcome, Failure> {
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
fn left_out(
    store: &dyn CheckpointStore,
    aside: &BTreeSet<Aside>,
    sink: &Recipient,
    stored: &StoredUndelivered,
) -> Result<Option<LeftOut>, Failure> {
    let comes_behind = |output: &StoredOutput| {
        aside.contains(&(stored.consumer.clone(), output.partition, output.sequence))
    };
    Ok(sink.left_out(&stored.output, store, &comes_behind)?)
}

fn discard(common: &Common, recipient: &str, outdated: bool, dry_run: bool) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let recipients = recipients(&place);
    // What does not hold any more depends on what the recipient is sent.
    let only = match outdated {
        true => Some(named(&recipients, recipient)?),
        false => None,
    };
    let store = if dry_run {
        place.look()?.store()?
    } else {
        writable(&place)?
    };
    let consumer = consumer_name(recipient);
    let mut listed = store.undelivered(Some(&consumer), 0)?;
    if let Some(sink) = only {
        let aside: BTreeSet<Aside> = listed.iter().map(place_of).collect();
        let mut over = Vec::new();
        for stored in listed {
            let why = left_out(&*store, &aside, sink, &stored)?;
            over.extend(matches!(why, Some(LeftOut::Outdated(_))).then_some(stored));
        }
        listed = over;
    }
    let mut discarded = 0;
    for stored in listed {
        let (partition, number) = (stored.output.partition, stored.output.sequence);
        let is_gone = dry_run || store.settle_undelivered(partition, &consumer, number)?;
        discarded += u64::from(is_gone);
    }
    let verb = if dry_run { "would be" } else { "are" };
    match common.output {
        Output::Json => value(&json!({ "recipient": recipient, "discarded": discarded })),
        Output::Table => write(&format!("{discarded} notifications {verb} discarded\n")),
    }
}

/// The recipient of this name.
fn named<'a>(recipients: &'a [Arc<Recipient>], name: &str) -> Result<&'a Recipient, Failure> {
    let found = recipients.iter().find(|recipient| recipient.name() == name);
    let known: Vec<&str> = recipients
        .iter()
        .map(|recipient| recipient.name())
        .collect();
    let there_are = if known.is_empty() {
        "the configuration has no [[notify]]".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    match found {
        Some(recipient) => Ok(recipient),
        None => Err(Failure::Usage(format!(
            "there is no recipient \"{name}\"; {there_are}"
        ))),
    }
}

fn test(common: &Common, name: &str) -> Result<(), Failure> {
    let place = Place::of(common)?;
    place.config.check()?;
    let recipients = recipients(&place);
    let recipient = named(&recipients, name)?;
    let id = format!("test-{}", SystemClock.now().0);
    let why = match recipient.test(&id) {
        Ok(Receipt::Taken) => {
            eprintln!("{name} has taken the message {id}");
            return if_json(
                common.output,
                &json!({"recipient": name, "id": id, "delivered": true}),
            );
        }
        Ok(Receipt::Refused(why)) => why,
        Ok(Receipt::NotNow(why)) | Err(Error::Unavailable { why, .. }) => {
            return Err(Failure::Unreachable(format!("{name}: {why}")));
        }
        Err(error) => return Err(error.into()),
    };
    Err(Failure::Failed(format!("{name} refused it: {why}")))
}
