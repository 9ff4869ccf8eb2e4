//! An incremental fetch session with one broker (KIP-227): the broker keeps what was asked of each
//! partition, so that a request names only what has changed, and its answer only partitions with
//! records, an error, or another high watermark or start of the log than it said before. Most
//! partitions are at rest most of the time; without a session each of them is written, read and
//! compared with every request.
//!
//! What a partition is named for does not include its last stable offset. That one moves with the
//! high watermark, or because a transaction ends whose records, or at least the marker, then
//! follow: so a reader that is before it gets records, and the others do not depend on it.

use std::collections::HashMap;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::errors;
use super::fetch_response::{End, Head, PartitionAnswer, Place};
use super::plan::{Request, Wanted};
use super::transport::{ConnectionFailure, Result};

const READ_COMMITTED: i8 = 1;
/// The epoch of a request that names all and begins a session.
const BEGINNING: i32 = 0;
/// The epoch of a request that names all and is of no session.
const WITHOUT: i32 = -1;
/// After so many sessions in succession that were lost before they were of use, there is none until
/// the next connection.
const LOST_MAX: u32 = 3;
/// A partition that was asked for so often in vain comes first in a request that names all. In a
/// session it is the broker who orders partitions. Those of today move the ones that got records to
/// the end, but older ones every one that they name.
const IN_VAIN_MAX: u32 = 2;

/// A session with a broker.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// 0 if there is none; with an epoch that begins one, this one ends.
    id: i32,
    /// Of the next request.
    epoch: i32,
    /// What the broker knows, or will with the request that is under way.
    known: HashMap<Place, Known>,
    /// Number of the request that is under way.
    request: u64,
    /// Entries of that request whose readers do not know the end that the broker gave last.
    behind: Vec<usize>,
    lost: u32,
    /// The partition that came first in a request that named all, and the offset that it asked for.
    first: Option<(Place, i64)>,
}

/// What the broker knows of a partition.
#[derive(Debug)]
struct Known {
    asked: Asked,
    /// The end that the broker gave last; `None` after an error.
    end: Option<End>,
    /// Number of the request that asked for it last, and its entry there.
    request: u64,
    entry: usize,
    /// Number of the request whose answer named it last.
    named: u64,
}

/// What a session keeps of the request for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    next: i64,
    leader_epoch: i32,
    last_epoch: i32,
    piece: i32,
}

impl From<&Wanted> for Asked {
    fn from(wanted: &Wanted) -> Self {
        Self {
            next: wanted.next,
            leader_epoch: wanted.leader_epoch,
            last_epoch: wanted.last_epoch,
            piece: i32::try_from(wanted.piece).unwrap_or(i32::MAX),
        }
    }
}

/// What an answer says of the entries of its request.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) named: Vec<(usize, PartitionAnswer)>,
    /// Those that are not named, so that they end where they did, which their readers do not know.
    pub(super) unchanged: Vec<(usize, End)>,
    /// Whether the broker has looked at all entries, those that it does not name included.
    pub(super) is_whole: bool,
}

impl Session {
    /// For a new connection: the next request names all, and ends the former session if the broker
    /// still has it.
    pub(super) fn restart(&mut self) {
        self.epoch = BEGINNING;
        self.lost = 0;
    }

    /// The message of a request that is kept until there are `least` bytes. Topics come in the
    /// order of the partition that waits longest, and so their partitions.
    pub(super) fn ask(&mut self, request: &Request, least: i32) -> FetchRequest {
        let first = request.entries.iter().find(|(_, wanted)| wanted.has_more);
        if let Some((partition, wanted)) = first
            && wanted.in_vain >= IN_VAIN_MAX
            && self.epoch > BEGINNING
            && !self.came_first(&partition.place, wanted.next)
        {
            self.epoch = BEGINNING;
        }
        let is_full = self.epoch <= BEGINNING;
        if is_full {
            self.first = first.map(|(partition, wanted)| (partition.place.clone(), wanted.next));
        }
        self.request += 1;
        self.behind.clear();
        let mut named = Vec::new();
        for (entry, (partition, wanted)) in request.entries.iter().enumerate() {
            if self.note(&partition.place, wanted, entry, is_full) {
                named.push((&partition.place, Asked::from(wanted)));
            }
        }
        let forgotten = self.forget(request.entries.len());
        FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(i32::try_from(request.wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(least)
            .with_max_bytes(i32::try_from(request.bytes).unwrap_or(i32::MAX))
            .with_isolation_level(READ_COMMITTED)
            .with_session_id(self.id)
            .with_session_epoch(self.epoch)
            .with_topics(topics(&named))
            .with_forgotten_topics_data(if is_full { Vec::new() } else { forgotten })
    }

    /// Whether the last request that named all had this partition first, in vain.
    fn came_first(&self, place: &Place, next: i64) -> bool {
        let first = self.first.as_ref();
        first.is_some_and(|(first, offset)| first == place && *offset == next)
    }

    /// Notes what is asked of a partition; true if the broker does not know it.
    fn note(&mut self, place: &Place, wanted: &Wanted, entry: usize, is_full: bool) -> bool {
        let asked = Asked::from(wanted);
        let (end, is_told) = match self.known.get_mut(place) {
            Some(known) => {
                let is_told = is_full || known.asked != asked;
                known.asked = asked;
                known.end = known.end.filter(|_| !is_full);
                (known.request, known.entry) = (self.request, entry);
                (known.end, is_told)
            }
            None => {
                let known = Known {
                    asked,
                    end: None,
                    request: self.request,
                    entry,
                    named: 0,
                };
                self.known.insert(place.clone(), known);
                (None, true)
            }
        };
        if end.is_none() || end != wanted.end {
            self.behind.push(entry);
        }
        is_told
    }

    /// Forgets what the request under way, of so many partitions, does not ask for.
    fn forget(&mut self, asked: usize) -> Vec<ForgottenTopic> {
        let mut forgotten: Vec<ForgottenTopic> = Vec::new();
        if self.known.len() == asked {
            return forgotten;
        }
        let request = self.request;
        self.known.retain(|place, known| {
            if known.request == request {
                return true;
            }
            match forgotten
                .iter_mut()
                .find(|topic| topic.topic.0 == place.topic)
            {
                Some(topic) => topic.partitions.push(place.index),
                None => forgotten.push(
                    ForgottenTopic::default()
                        .with_topic(TopicName(place.topic.clone()))
                        .with_partitions(vec![place.index]),
                ),
            }
            false
        });
        forgotten
    }

    /// Takes the answer to a request. If the broker does not have the session, nothing is answered
    /// and the next request names all. Fails if the broker refuses the request as such.
    pub(super) fn take(
        &mut self,
        request: &Request,
        head: Head,
        answers: Vec<(Place, PartitionAnswer)>,
    ) -> Result<Taken> {
        let is_full = self.epoch <= BEGINNING;
        if head.error != 0 {
            if is_full || !errors::is_of_session(head.error) {
                return Err(ConnectionFailure::protocol(format!(
                    "the broker refuses a whole Fetch request: {}",
                    errors::name(head.error)
                )));
            }
            self.lose(&errors::name(head.error));
            return Ok(Taken::default());
        }
        let (mut taken, mut is_at_odds) = (Taken::default(), false);
        for (place, answer) in answers {
            match self.known.get_mut(&place) {
                Some(known) if known.named != self.request => {
                    known.named = self.request;
                    let is_sound = answer.error == 0 && answer.diverging_end.is_none();
                    known.end = is_sound.then(|| answer.end());
                    taken.named.push((known.entry, answer));
                }
                _ => is_at_odds = true,
            }
        }
        // A broker that throttles answers at once and has looked at nothing.
        let is_mute = head.throttle > 0 && taken.named.is_empty();
        if is_mute {
            self.first = None;
        } else {
            for entry in &self.behind {
                let place = request.entries.get(*entry).map(|(found, _)| &found.place);
                match place.and_then(|place| self.known.get(place)) {
                    Some(known) if known.named == self.request => {}
                    Some(Known { end: Some(end), .. }) => taken.unchanged.push((*entry, *end)),
                    _ => is_at_odds = true,
                }
            }
        }
        if is_at_odds && self.epoch != WITHOUT {
            // What it does not name says nothing.
            taken.unchanged.clear();
            self.id = if is_full { head.session } else { self.id };
            self.lose("an answer does not fit the session");
        } else {
            taken.is_whole = !is_mute && !is_at_odds;
            self.go_on(is_full, head.session);
        }
        Ok(taken)
    }

    /// After an answer of the session with this id.
    fn go_on(&mut self, is_full: bool, id: i32) {
        if self.epoch == WITHOUT {
            self.id = 0;
        } else if is_full && id != 0 {
            (self.id, self.epoch) = (id, 1);
        } else if !is_full && id == self.id {
            self.lost = 0;
            self.epoch = if self.epoch == i32::MAX {
                1
            } else {
                self.epoch + 1
            };
        } else {
            // The broker has no room for a session, or throttles, or has ended this one.
            (self.id, self.epoch) = (0, BEGINNING);
        }
    }

    /// Begins anew with the next request, or does without if that has not helped.
    fn lose(&mut self, why: &str) {
        self.lost += 1;
        self.epoch = if self.lost < LOST_MAX {
            BEGINNING
        } else {
            WITHOUT
        };
        tracing::debug!(session = self.id, why, "a fetch session is lost");
    }
}

/// Partitions by topic.
fn topics(named: &[(&Place, Asked)]) -> Vec<FetchTopic> {
    let (mut topics, mut places) = (Vec::<FetchTopic>::new(), HashMap::<&StrBytes, usize>::new());
    for (place, asked) in named {
        let at = *places.entry(&place.topic).or_insert_with(|| {
            topics.push(FetchTopic::default().with_topic(TopicName(place.topic.clone())));
            topics.len() - 1
        });
        topics[at].partitions.push(
            FetchPartition::default()
                .with_partition(place.index)
                .with_current_leader_epoch(asked.leader_epoch)
                .with_fetch_offset(asked.next)
                .with_last_fetched_epoch(asked.last_epoch)
                .with_partition_max_bytes(asked.piece),
        );
    }
    topics
}
