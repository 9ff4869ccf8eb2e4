//! Whose turn it is to change rules: one at a time, in whichever process, so that all partitions have
//! all changes in one order.
//!
//! The turn is a request of the access store that is never answered. Its holder says again and again
//! that it is there, and keeps the change that it is appending in it. The turn of one that was killed
//! ends after [`LEASE_US`]; who has the next one first completes what that one had begun. What a holder
//! that has lost its turn without knowing it was still appending the log refuses, once the next one has
//! opened its appender.

use std::time::Duration;

use theatre_actors::control::RuleChange;
use theatre_actors::ports::{AccessStore, Appender, Begun, Error, Reservation};
use theatre_actors::time::LogTime;

use super::{Fault, Way, record};

/// A turn that was not prolonged for so long is over, microseconds.
const LEASE_US: i64 = 30_000_000;
/// A turn is prolonged when it is this old, microseconds. Between two looks at it is the append of one
/// record.
const RENEW_US: i64 = LEASE_US / 6;
/// Between two attempts at a turn that another has.
const PAUSE: Duration = Duration::from_millis(50);
const KEY: &str = "theatre/rule-changes";
/// Under this name changes are appended.
const APPENDER: &str = "rule-changes";

/// Ends the turn of a process that was killed: for who knows that no other process can change rules, by
/// the lock of an embedded log, before its own first change. What that process had begun is completed
/// with the next change.
///
/// # Errors
/// When the store does not answer.
pub fn end_turns(access: &dyn AccessStore) -> Result<(), Error> {
    match access.request(KEY)? {
        Some(Begun::Unanswered(known)) if known.held_at.0 != 0 => access
            .take_over_request(KEY, known.held_at, LogTime(0))
            .map(drop),
        _ => Ok(()),
    }
}

/// The right to change rules. It is given back when it is dropped.
pub(super) struct Turn<'a> {
    way: &'a Way<'a>,
    held_at: LogTime,
    /// `None` until it is needed: opening it ends what another one appends.
    appender: Option<Box<dyn Appender + 'a>>,
}

/// An attempt at a turn.
enum Attempt {
    /// It is held since then.
    Ours(LogTime),
    /// Another has it.
    Other(Reservation, LogTime),
}

impl<'a> Turn<'a> {
    /// Takes the turn for changes, and completes what another one has left undone.
    ///
    /// # Errors
    /// A conflict while another changes one of the same rules, or for too long another one; and where
    /// what is completed is about one of the same rules: it was not known to who made these changes.
    /// When store or log does not answer.
    pub(super) fn take(way: &'a Way<'a>, changes: &[RuleChange]) -> Result<Self, Fault> {
        let pauses = way.patience.as_millis() / PAUSE.as_millis();
        for pause in 0..=pauses {
            match attempt(way)? {
                Attempt::Ours(held_at) => {
                    let turn = Self {
                        way,
                        held_at,
                        appender: None,
                    };
                    return turn.completing(changes);
                }
                Attempt::Other(known, now) => {
                    let first = read(&known.ends).filter(|first| is_about_one_of(first, changes));
                    if first.is_some() || pause == pauses {
                        return Err(busy(first.as_ref(), now.0.saturating_sub(known.held_at.0)));
                    }
                }
            }
            std::thread::sleep(PAUSE);
        }
        Err(busy(None, 0))
    }

    /// Completes what was interrupted.
    fn completing(mut self, changes: &[RuleChange]) -> Result<Self, Fault> {
        // Not as it was known before the turn was had: another may have had one in between.
        let Some(Begun::Unanswered(held)) = self.way.access.request(KEY)? else {
            return Ok(self);
        };
        let Some(interrupted) = read(&held.ends) else {
            return Ok(self);
        };
        let is_same = |change: &RuleChange| change.change_id == interrupted.change_id;
        if changes.iter().any(is_same) {
            // They complete it themselves.
            return Ok(self);
        }
        match self.append(&interrupted) {
            Err(Fault::Port(Error::Refused(why))) => {
                tracing::error!(
                    change = interrupted.change_id,
                    "a change of rules that was interrupted may be in some partitions and is refused by others: {why}"
                );
                self.keep(None)?;
            }
            Err(other) => return Err(other),
            Ok(()) if is_about_one_of(&interrupted, changes) => {
                return Err(Fault::Conflict {
                    why: format!(
                        "the change '{}' of rule '{}' by {} was interrupted and is completed now: see what became of it in the history of changes, and repeat this if it is still wanted",
                        interrupted.change_id, interrupted.rule_id, interrupted.actor
                    ),
                    seconds: 1,
                });
            }
            Ok(()) => {}
        }
        Ok(self)
    }

    /// Appends a change to all partitions.
    ///
    /// # Errors
    /// When store or log does not take it, or the turn is another's by now, which completes it.
    pub(super) fn append(&mut self, change: &RuleChange) -> Result<(), Fault> {
        self.keep(Some(change))?;
        for partition in 0..self.way.partitions {
            self.append_to(change, partition)?;
        }
        self.keep(None)
    }

    fn append_to(&mut self, change: &RuleChange, partition: u32) -> Result<(), Fault> {
        self.hold(RENEW_US)?;
        let record = record(change, partition)?;
        let mut appender = match self.appender.take() {
            Some(appender) => appender,
            None => self.way.log.open_appender(APPENDER)?,
        };
        let appended = appender.append(self.way.topic, partition, &[record]);
        if let Err(error) = appended {
            // One that has failed is opened anew, which decides what became of the record.
            drop(appender);
            self.hold(0)?;
            return Err(error.into());
        }
        self.appender = Some(appender);
        Ok(())
    }

    /// Keeps what is being appended, for who comes next.
    fn keep(&mut self, change: Option<&RuleChange>) -> Result<(), Fault> {
        let kept = match change {
            Some(change) => serde_json::to_vec(change)
                .map_err(|error| Error::Refused(format!("the change cannot be kept: {error}")))?,
            None => Vec::new(),
        };
        match (self.way.access).keep_in_request(KEY, self.held_at, &kept)? {
            true => Ok(()),
            false => Err(lost()),
        }
    }

    /// Makes sure that it is still held; it is prolonged when it is older than so many microseconds.
    fn hold(&mut self, age_us: i64) -> Result<(), Fault> {
        let now = self.way.clock.now();
        if now.0.saturating_sub(self.held_at.0) < age_us {
            return Ok(());
        }
        // A clock that stands still, or goes back, is no reason to hold it since the same moment.
        let now = LogTime(now.0.max(self.held_at.0.saturating_add(1)));
        let access = self.way.access;
        if !access.take_over_request(KEY, self.held_at, now)? {
            return Err(lost());
        }
        self.held_at = now;
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let access = self.way.access;
        let given_back = access.take_over_request(KEY, self.held_at, LogTime(0));
        if let Err(error) = given_back {
            tracing::warn!(%error, "the turn to change rules is not given back: it ends by itself");
        }
    }
}

fn attempt(way: &Way<'_>) -> Result<Attempt, Error> {
    let now = way.clock.now();
    let begun = way.access.begin_request(&Reservation {
        key: KEY.to_owned(),
        // The store knows by this that it is no request to forget or to release.
        fingerprint: String::new(),
        ends: Vec::new(),
        begun_at: now,
        held_at: now,
    })?;
    match begun {
        Begun::New => Ok(Attempt::Ours(now)),
        Begun::Unanswered(known) => {
            let since = now.0.saturating_sub(known.held_at.0);
            let is_free = known.held_at.0 == 0 || since > LEASE_US;
            match is_free && (way.access).take_over_request(KEY, known.held_at, now)? {
                true => Ok(Attempt::Ours(now)),
                false => Ok(Attempt::Other(known, now)),
            }
        }
        Begun::Answered { .. } => Err(Error::Refused(format!(
            "the request '{KEY}' was answered, which no build of Theatre does"
        ))),
    }
}

/// The change that is kept in a turn.
fn read(kept: &[u8]) -> Option<RuleChange> {
    if kept.is_empty() {
        return None;
    }
    let change = serde_json::from_slice(kept);
    if let Err(error) = &change {
        tracing::error!(%error, "a change of rules that was interrupted cannot be read: partitions may go by different rules");
    }
    change.ok()
}

/// Whether a change is about one of the rules that others change.
fn is_about_one_of(change: &RuleChange, others: &[RuleChange]) -> bool {
    let about = (&change.rule_id, change.shadow);
    others
        .iter()
        .any(|other| (&other.rule_id, other.shadow) == about)
}

fn busy(first: Option<&RuleChange>, silent_us: i64) -> Fault {
    let seconds = (LEASE_US - silent_us).clamp(0, LEASE_US) / 1_000_000 + 1;
    let who = match first {
        Some(first) => format!(
            "{} changes the rule '{}' at the moment (change '{}')",
            first.actor, first.rule_id, first.change_id
        ),
        None => "another person changes rules at the moment".to_owned(),
    };
    Fault::Conflict {
        why: format!(
            "{who}, or was interrupted; its turn was last prolonged {} s ago: see what became of it in the history of changes, and repeat this if it is still wanted, in {seconds} s at the latest",
            silent_us.max(0) / 1_000_000
        ),
        seconds: u32::try_from(seconds).unwrap_or(1),
    }
}

fn lost() -> Fault {
    Fault::Conflict {
        why: "another person changes rules by now, since this took too long; what was under way is completed by that: see what became of it in the history of changes"
            .to_owned(),
        seconds: 1,
    }
}

#[cfg(test)]
mod tests;
