//! Requests with a key: repeated as often as one likes, they append their records once.
//!
//! Before anything is appended, the request is reserved with the log's ends. The repetition
//! of a request that was never answered looks from those ends on for its records, and appends those
//! that are not there. Records are known by their bytes: one that says the same of the same robot is the
//! same record.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};

use sha2::{Digest, Sha256};
use theatre_actors::ports::{Begun, Error, NewRecord, PollLimit, Reservation};
use theatre_actors::time::LogTime;

use super::{ByPartition, append_all, append_in_parts, encoded, unreadable};
use crate::Parts;
use crate::model::{Accepted, Position};
use crate::problem::{Answer, Problem};
use crate::tokens::hex;

/// A request that was not answered for so long is taken over, microseconds: longer than [`RENEWED_US`]
/// and an append together, so that nothing is on its way any more when another looks for it.
const LEASE_US: i64 = 60_000_000;
/// An append is not begun with a lease that is older than this, microseconds.
const RENEWED_US: i64 = 10_000_000;
/// What may be taken over at once.
const GIVEN_UP: LogTime = LogTime(0);
/// How much is looked through at a time.
const LOOK: PollLimit = PollLimit {
    records: 4096,
    bytes: 2 << 20,
};

/// What a request asks for.
pub(crate) fn fingerprint(dataset: &str, body: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update((dataset.len() as u64).to_be_bytes());
    digest.update(dataset);
    digest.update(body);
    hex(&digest.finalize())
}

/// Log ends by partition.
type Ends = BTreeMap<u32, u64>;

pub(super) fn append(
    parts: &Parts,
    topic: &str,
    records: &ByPartition,
    key: String,
    fingerprint: String,
    answer: impl FnOnce(Vec<Position>) -> Accepted,
) -> Answer<Vec<u8>> {
    let now = parts.clock.now();
    let end = |partition: &u32| Ok((*partition, parts.log.range(topic, *partition)?.end));
    let ends: Ends = records.keys().map(end).collect::<Result<_, Error>>()?;
    let reservation = Reservation {
        key: key.clone(),
        fingerprint: fingerprint.clone(),
        ends: encoded(&ends)?,
        begun_at: now,
        held_at: now,
    };
    let begun = match parts.access.begin_request(&reservation)? {
        Begun::Answered {
            fingerprint: of, ..
        } if of != fingerprint => return Err(other_request()),
        Begun::Answered { answer, .. } => return Ok(answer),
        Begun::Unanswered(known) if known.fingerprint != fingerprint => return Err(other_request()),
        Begun::Unanswered(known) => {
            take_over(parts, &known, now)?;
            Some(known)
        }
        Begun::New => None,
    };
    let lease = Lease::new(parts, &key, now);
    let done = match begun {
        Some(known) => finish(topic, records, &known, &lease),
        None => append_all(parts, topic, records, &|| lease.renew()),
    };
    let positions = lease.ended(done)?;
    let answer = encoded(&answer(positions))?;
    parts.access.finish_request(&key, &answer)?;
    Ok(answer)
}

/// The key is that of a request that asked for something else.
pub(crate) fn other_request() -> Problem {
    Problem::new("conflict", "Idempotency-Key was used for another request")
}

/// Becomes the one that goes on with a request.
pub(crate) fn take_over(parts: &Parts, known: &Reservation, now: LogTime) -> Answer<()> {
    // A clock that was ahead holds no request for longer than a lease.
    let held_at = known.held_at.0.min(now.0);
    let free_in = held_at.saturating_add(LEASE_US).saturating_sub(now.0);
    if known.held_at != GIVEN_UP && free_in > 0 {
        return Err(under_way(free_in / 1_000_000));
    }
    if parts
        .access
        .take_over_request(&known.key, known.held_at, now)?
    {
        Ok(())
    } else {
        Err(under_way(1))
    }
}

fn under_way(seconds: i64) -> Problem {
    Problem::new(
        "conflict",
        "the request is under way, or what became of it is not known yet; ask again for its answer",
    )
    .after(u32::try_from(seconds).unwrap_or(1).max(1))
}

/// What makes this process the only one that appends for a request.
struct Lease<'a> {
    parts: &'a Parts,
    key: &'a str,
    held: Cell<LogTime>,
    has_appended: Cell<bool>,
}

impl<'a> Lease<'a> {
    fn new(parts: &'a Parts, key: &'a str, held: LogTime) -> Self {
        Self {
            parts,
            key,
            held: Cell::new(held),
            has_appended: Cell::new(false),
        }
    }

    /// Before each append: makes sure that the lease outlasts it, however long the renewal takes.
    fn renew(&self) -> Answer<()> {
        loop {
            let (held, now) = (self.held.get(), self.parts.clock.now());
            if (0..RENEWED_US).contains(&now.0.saturating_sub(held.0)) {
                self.has_appended.set(true);
                return Ok(());
            }
            if !self.parts.access.take_over_request(self.key, held, now)? {
                return Err(under_way(1));
            }
            self.held.set(now);
        }
    }

    /// Gives the request up after a failure, unless what became of an append is not known: its records
    /// may come up in the log as long as the lease runs, and who looked for them before would append
    /// them once more.
    fn ended<T>(self, done: Answer<T>) -> Answer<T> {
        let is_known =
            |problem: &Problem| !self.has_appended.get() || problem.code != "unavailable";
        match &done {
            Err(problem) if is_known(problem) => {
                given_up_on_error(self.parts, self.key, self.held.get(), done)
            }
            _ => done,
        }
    }
}

/// Appends what an earlier attempt did not.
fn finish(
    topic: &str,
    records: &ByPartition,
    known: &Reservation,
    lease: &Lease<'_>,
) -> Answer<Vec<Position>> {
    let parts = lease.parts;
    let ends: Ends = serde_json::from_slice(&known.ends).map_err(|error| unreadable(&error))?;
    let of_partition = |(partition, records): (&u32, &Vec<NewRecord>)| -> Answer<Position> {
        let from = ends.get(partition).copied().unwrap_or(0);
        let (missing, first) = missing(parts, topic, *partition, records, from)?;
        let appended = match missing.is_empty() {
            true => None,
            false => {
                let place = (topic, *partition);
                Some(append_in_parts(parts, place, &missing, &|| lease.renew())?)
            }
        };
        Ok(Position {
            topic: topic.to_owned(),
            partition: *partition,
            first_offset: first.or(appended).unwrap_or(from),
            records: records.len() as u64,
        })
    };
    records.iter().map(of_partition).collect()
}

/// Those of the records that were not appended at or above an offset, and where the first of the others
/// is. Any of them may be missing: an append goes out in several batches, each of which may fail.
fn missing(
    parts: &Parts,
    topic: &str,
    partition: u32,
    records: &[NewRecord],
    from: u64,
) -> Result<(Vec<NewRecord>, Option<u64>), Error> {
    let mut left = HashMap::<&[u8], HashMap<&[u8], VecDeque<usize>>>::new();
    for (index, record) in records.iter().enumerate() {
        let of_key = left.entry(&record.key).or_default();
        of_key.entry(&record.value).or_default().push_back(index);
    }
    let mut is_there = vec![false; records.len()];
    let (mut there, mut first) = (0, None);
    let end = parts.log.range(topic, partition)?.end;
    let mut reader = parts.log.reader(topic, partition, from)?;
    let mut next = from;
    while next < end && there < records.len() {
        let polled = reader.poll(LOOK, &mut |record| {
            let of_key = left.get_mut(record.key);
            let places = of_key.and_then(|of_key| of_key.get_mut(record.value));
            if let Some(index) = places.and_then(VecDeque::pop_front) {
                first = first.or(Some(record.offset));
                is_there[index] = true;
                there += 1;
            }
        })?;
        if polled.next_offset == next && !polled.at_end {
            // The reader fetches in the background.
            std::thread::sleep(std::time::Duration::from_millis(2));
        } else if polled.at_end {
            break;
        }
        next = polled.next_offset;
    }
    let missing = records.iter().zip(is_there).filter(|(_, there)| !there);
    Ok((missing.map(|(record, _)| record.clone()).collect(), first))
}

/// A request that failed may be taken over at once: nothing of it is on its way any more, or it does no
/// harm twice.
pub(crate) fn given_up_on_error<T>(
    parts: &Parts,
    key: &str,
    begun: LogTime,
    done: Answer<T>,
) -> Answer<T> {
    if done.is_err()
        && let Err(error) = parts.access.take_over_request(key, begun, GIVEN_UP)
    {
        tracing::warn!(%error, "a request with a key stays reserved for a minute");
    }
    done
}
