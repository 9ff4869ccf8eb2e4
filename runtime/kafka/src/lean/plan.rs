//! Which partitions take part in the next request to their leader, and with how many bytes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fetch_response::End;
use super::memory::Memory;
use super::partition::Partition;
use super::settings::Settings;

/// Most bytes that one partition holds, if the memory of the process allows it: enough for the next
/// answer to come while the last one is read.
const SHARE_MAX: usize = 2 << 20;
/// A partition may hold this part of the memory.
const SHARE_PART: usize = 8;
/// Least bytes that a request asks for.
const REQUEST_MIN: usize = 64 << 10;
/// While partitions with records have no room, the others are asked for at this interval.
const FULL_WAIT: Duration = Duration::from_millis(20);
/// How long a broker may keep a request while a partition is left out of it.
const SHORT_WAIT: Duration = Duration::from_millis(10);
/// How long it may keep one while another reader of a partition waits for its turn.
const TURN_WAIT: Duration = Duration::from_millis(1);
/// Longest wait for a change when nothing can be asked for.
const NOTHING_WAIT: Duration = Duration::from_secs(1);

/// What a request asks of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) next: i64,
    pub(super) last_epoch: i32,
    pub(super) leader_epoch: i32,
    pub(super) piece: usize,
    pub(super) served: u64,
    /// Number of the request that asked for it last.
    pub(super) asked: u64,
    /// How many requests in succession asked for it in vain, though it has more.
    pub(super) in_vain: u32,
    /// Whether there are records that were not fetched yet, as far as is known.
    pub(super) has_more: bool,
    /// Whether records wait for the reader.
    pub(super) holds_some: bool,
    /// The end that its reader knows of, if all was well when it was given.
    pub(super) end: Option<End>,
}

/// Whether a partition takes part in the next request.
#[derive(Debug)]
pub(super) enum Readiness {
    Ready(Wanted),
    /// The partition holds as much as it may; whether there is more to fetch.
    Full {
        has_more: bool,
    },
    /// Until a moment, or until something changes.
    NotBefore(Option<Instant>),
}

/// A request: its partitions, the one that waits longest first.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) entries: Vec<(Arc<Partition>, Wanted)>,
    /// Most bytes of the answer. The first partition gets one batch even if that is larger.
    pub(super) bytes: usize,
    /// How long the broker may keep the request if it has no records.
    pub(super) wait: Duration,
}

/// What the thread of a leader does next.
#[derive(Debug)]
pub(super) enum Plan {
    /// Waits for room, or for a new partition.
    Wait(Duration),
    Request(Request),
    /// Partitions with records have no room: the others are asked for if that does not change soon.
    RequestUnlessRung(Duration, Request),
}

impl Plan {
    /// For these partitions of a leader; `are_doubled` if several readers may be of one partition.
    pub(super) fn of(
        partitions: Vec<Arc<Partition>>,
        are_doubled: bool,
        settings: &Settings,
        memory: &Memory,
    ) -> Self {
        let now = Instant::now();
        let mut room = memory.room();
        let share = (memory.limit() / SHARE_PART).min(SHARE_MAX);
        let (mut ready, mut is_any_full, mut retry_at) = (Vec::new(), false, None::<Instant>);
        for partition in partitions {
            match partition.readiness(now, share, room) {
                Readiness::Ready(wanted) => ready.push((partition, wanted)),
                Readiness::Full { has_more } => is_any_full |= has_more,
                Readiness::NotBefore(at) => retry_at = earlier(retry_at, at),
            }
        }
        let turns = are_doubled.then(|| take_turns(&mut ready));
        let left_out = turns.unwrap_or(LeftOut::None);
        let mut is_any_left_out = left_out != LeftOut::None;
        // Those that were left out come first; then, so that each gets a batch whole some time,
        // those that got records longest ago.
        ready.sort_by_key(|(_, wanted)| (wanted.asked, wanted.served));
        let (mut entries, mut bytes, mut has_more) = (Vec::with_capacity(ready.len()), 0, false);
        for (partition, wanted) in ready {
            if wanted.has_more {
                let is_beyond =
                    bytes >= settings.answer_bytes || wanted.holds_some && wanted.piece > room;
                if is_beyond {
                    is_any_left_out = true;
                    continue;
                }
                bytes += wanted.piece;
                room = room.saturating_sub(wanted.piece);
                has_more = true;
            }
            entries.push((partition, wanted));
        }
        let until_retry = retry_at.map(|at| at.saturating_duration_since(now));
        if entries.is_empty() {
            let wait = if is_any_full { FULL_WAIT } else { NOTHING_WAIT };
            return Self::Wait(until_retry.map_or(wait, |until| until.min(wait)));
        }
        let wait = if left_out == LeftOut::WithMore {
            TURN_WAIT
        } else if is_any_full || is_any_left_out {
            SHORT_WAIT.min(settings.fetch_wait)
        } else {
            settings.fetch_wait
        };
        let request = Request {
            entries,
            bytes: if has_more {
                bytes.clamp(REQUEST_MIN, settings.answer_bytes.max(REQUEST_MIN))
            } else {
                settings.answer_bytes.min(room.max(REQUEST_MIN))
            },
            wait: until_retry.map_or(wait, |until| until.min(wait)),
        };
        if is_any_full && !has_more {
            Self::RequestUnlessRung(
                FULL_WAIT,
                Request {
                    wait: Duration::ZERO,
                    ..request
                },
            )
        } else {
            Self::Request(request)
        }
    }
}

/// Which readers are left out of a request because another one reads the same partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeftOut {
    None,
    /// All of them stand at the end, as far as is known.
    AtEnd,
    WithMore,
}

/// Leaves one reader of each partition, since a request names a partition once: the one that was
/// not asked for the longest, whether or not it then got records. By records alone, a reader that
/// stands at the end would keep out one that has all still before it.
fn take_turns(ready: &mut Vec<(Arc<Partition>, Wanted)>) -> LeftOut {
    ready.sort_by_key(|(_, wanted)| wanted.asked);
    let (mut names, mut left_out) = (HashSet::with_capacity(ready.len()), LeftOut::None);
    ready.retain(|(partition, wanted)| {
        let is_first = names.insert(partition.place.clone());
        if !is_first && wanted.has_more {
            left_out = LeftOut::WithMore;
        } else if !is_first && left_out == LeftOut::None {
            left_out = LeftOut::AtEnd;
        }
        is_first
    });
    left_out
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
