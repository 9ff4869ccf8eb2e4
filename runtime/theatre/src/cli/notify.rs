//! `theatre notify`: recipients of what happens to conditions, and what could not be delivered.

mod resend;

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};
use theatre_actors::ports::{AccessStore, CheckpointStore, Error};
use theatre_actors::time::Clock;
use theatre_notify::{LeftOut, Recipient, consumer_name};
use theatre_pipeline::outbox::Receipt;
use theatre_system::clock::SystemClock;

use super::output::{if_json, rows, time, value, write};
use super::service::{Place, store};
use super::trail::{Trail, Who};
use super::{Common, Failure, Output};
use resend::{Aside, left_out, place_of, resend};
use theatre_queries::{self as queries, UndeliveredNotification};

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
        #[command(flatten)]
        who: Who,
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
        #[command(flatten)]
        who: Who,
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
                who,
            } => resend(common, recipient.as_deref(), limit, (force, dry_run), &who),
            Self::Discard {
                recipient,
                outdated,
                dry_run,
                who,
            } => discard(common, &recipient, (outdated, dry_run), &who),
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

/// The list that a command reads or changes, and the trail in which that is noted.
struct List<'a> {
    store: Arc<dyn CheckpointStore>,
    /// Only where it is changed.
    access: Option<Arc<dyn AccessStore>>,
    who: &'a Who,
}

impl<'a> List<'a> {
    /// The store is opened for reading first, which fails where there is none: opening it for
    /// writing would create one. The lock of the data directory is not taken, so that a running
    /// process can go on.
    fn open(place: &Place, dry_run: bool, who: &'a Who) -> Result<Self, Failure> {
        let store = place.look()?.store()?;
        if dry_run {
            let access = None;
            return Ok(Self { store, access, who });
        }
        let adapters = place.write()?;
        Ok(Self {
            store: adapters.store()?,
            access: Some(adapters.access()?),
            who,
        })
    }

    /// Notes what is about to be done, or was.
    fn note(&self, action: &str, recipient: Option<&str>, what: &Value) -> Result<(), Failure> {
        let target = recipient.unwrap_or("all recipients");
        match &self.access {
            Some(access) => Trail::of(&**access, self.who)?.note(action, target, what),
            None => Ok(()),
        }
    }
}

fn discard(
    common: &Common,
    recipient: &str,
    (outdated, dry_run): (bool, bool),
    who: &Who,
) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let recipients = recipients(&place);
    // What does not hold any more depends on what the recipient is sent.
    let only = match outdated {
        true => Some(named(&recipients, recipient)?),
        false => None,
    };
    let list = List::open(&place, dry_run, who)?;
    let (store, consumer) = (&*list.store, consumer_name(recipient));
    let mut listed = store.undelivered(Some(&consumer), 0)?;
    if let Some(sink) = only {
        let aside: BTreeSet<Aside> = listed.iter().map(place_of).collect();
        let mut over = Vec::new();
        for stored in listed {
            let why = left_out(store, &aside, sink, &stored)?;
            over.extend(matches!(why, Some(LeftOut::Outdated(_))).then_some(stored));
        }
        listed = over;
    }
    let what = json!({"outdated": outdated, "listed": listed.len()});
    list.note("notifications.discard", Some(recipient), &what)?;
    let mut discarded = 0;
    let done = listed.iter().try_for_each(|stored| {
        let (partition, number) = (stored.output.partition, stored.output.sequence);
        let is_gone = dry_run || store.settle_undelivered(partition, &consumer, number)?;
        discarded += u64::from(is_gone);
        Ok::<(), Error>(())
    });
    let failed = done.as_ref().err().map(ToString::to_string);
    let what = json!({"discarded": discarded, "failed": failed});
    list.note("notifications.discarded", Some(recipient), &what)?;
    done?;
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
