//! Who does a work at the moment of which there may be one at a time, whichever machine it is on.
//!
//! The lease is a request of the access store that is never answered. A holder says again and again
//! that it is there; one that was killed is waited for until [`LEASE_US`] has passed, unless
//! something proves that it lives no more. What it was doing meanwhile is not what the lease is for:
//! the log refuses what it appends once the next one has opened its appender, and the register of
//! the lake what it notes once the next one has noted its own.

use theatre_actors::ports::{AccessStore, Begun, Error, Reservation, Result};
use theatre_actors::time::{Clock, LogTime};

/// A holder that has not renewed its lease for so long is gone, microseconds.
pub const LEASE_US: i64 = 30_000_000;
/// The lease is renewed when it is this old, microseconds. Between two renewals is the append of
/// one batch.
const RENEW_US: i64 = LEASE_US / 6;

/// A work of which there may be one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Names it in the access store.
    key: &'static str,
    /// What a command does that does it, for messages.
    does: &'static str,
    /// What it is about, for messages.
    about: &'static str,
}

/// What is done about dead letters.
pub const DEAD_LETTERS: Work = Work {
    key: "theatre/dead-letters",
    does: "replays or purges dead letters",
    about: "dead letters",
};

/// The erasure of rows.
pub const ERASURE: Work = Work {
    key: "theatre/erasure",
    does: "erases rows of the lake",
    about: "the erasure of rows",
};

/// The right to do a work. It is given back when it is dropped.
pub struct Lease<'a> {
    work: Work,
    access: &'a dyn AccessStore,
    clock: &'a dyn Clock,
    held_at: LogTime,
}

impl<'a> Lease<'a> {
    /// Takes the lease. `is_alone`: it is known that no other holder lives, as by a lock that the
    /// operating system gives back when a process ends, however it ends.
    ///
    /// # Errors
    /// Refused while another holds it; when the store does not answer.
    pub fn take(
        work: Work,
        access: &'a dyn AccessStore,
        clock: &'a dyn Clock,
        is_alone: bool,
    ) -> Result<Self> {
        let now = clock.now();
        let reservation = Reservation {
            key: work.key.to_owned(),
            // The store knows by this that it is no request to forget or to release.
            fingerprint: String::new(),
            ends: Vec::new(),
            begun_at: now,
            held_at: now,
        };
        let lease = Self {
            work,
            access,
            clock,
            held_at: now,
        };
        match access.begin_request(&reservation)? {
            Begun::New => Ok(lease),
            Begun::Unanswered(known) => {
                let since = now.0.saturating_sub(known.held_at.0);
                let is_free = is_alone || known.held_at.0 == 0 || since > LEASE_US;
                if is_free && access.take_over_request(work.key, known.held_at, now)? {
                    return Ok(lease);
                }
                Err(Error::Refused(format!(
                    "another command {}, or was killed; it was heard {} s ago: let it end, or repeat this in {} s",
                    work.does,
                    since / 1_000_000,
                    (LEASE_US - since).max(0) / 1_000_000 + 1
                )))
            }
            Begun::Answered { .. } => Err(Error::Refused(format!(
                "the request '{}' was answered, which no build of Theatre does",
                work.key
            ))),
        }
    }

    /// Makes sure that it is still held. To be called before each step that must not be done twice.
    ///
    /// # Errors
    /// Refused when another has taken it meanwhile.
    pub fn hold(&mut self) -> Result<()> {
        let now = self.clock.now();
        if now.0.saturating_sub(self.held_at.0) < RENEW_US {
            return Ok(());
        }
        if !(self.access).take_over_request(self.work.key, self.held_at, now)? {
            return Err(Error::Refused(format!(
                "another command has taken over the work on {}: repeat this when it has ended",
                self.work.about
            )));
        }
        self.held_at = now;
        Ok(())
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let (held_at, key) = (self.held_at, self.work.key);
        if let Err(error) = self.access.take_over_request(key, held_at, LogTime(0)) {
            tracing::warn!(%error, key, "a lease is not given back: it runs out by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use theatre_embedded::access::EmbeddedAccess;

    use super::*;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> LogTime {
            LogTime(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn one_holds_it_until_it_is_given_back_or_runs_out() {
        let folder = tempfile::tempdir().unwrap();
        let access = EmbeddedAccess::open(&folder.path().join("access")).unwrap();
        let clock = Hand(AtomicI64::new(1_000));
        let pass = |micros| clock.0.fetch_add(micros, Ordering::Relaxed);
        let take = || Lease::take(DEAD_LETTERS, &access, &clock, false);
        let mut first = take().unwrap();
        pass(RENEW_US);
        first.hold().unwrap();
        pass(LEASE_US);
        first.hold().unwrap();
        drop(Lease::take(ERASURE, &access, &clock, false).unwrap());
        let refused = take().err().unwrap().to_string();
        assert!(
            refused.contains("0 s ago") && refused.contains("in 31 s"),
            "{refused}"
        );
        drop(first);
        let mut killed = take().unwrap();
        pass(LEASE_US + 1);
        let successor = take().unwrap();
        assert!(killed.hold().is_err(), "another has it");
        drop(killed);
        assert!(take().is_err(), "who has lost it gives nothing back");
        drop(successor);
        take().unwrap();
    }

    #[test]
    fn one_that_is_known_to_live_no_more_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let access = EmbeddedAccess::open(&folder.path().join("access")).unwrap();
        let clock = Hand(AtomicI64::new(1_000));
        let mut killed = Lease::take(DEAD_LETTERS, &access, &clock, true).unwrap();
        clock.0.fetch_add(1, Ordering::Relaxed);
        assert!(Lease::take(DEAD_LETTERS, &access, &clock, false).is_err());
        let next = Lease::take(DEAD_LETTERS, &access, &clock, true).unwrap();
        clock.0.fetch_add(RENEW_US, Ordering::Relaxed);
        assert!(killed.hold().is_err(), "another has it");
        drop(next);
    }
}
