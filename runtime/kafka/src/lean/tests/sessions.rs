//! A session beside a model of the broker's: after each request the broker is to ask for what a
//! request without a session would name, and after each answer readers are to know the ends that
//! are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use proptest::prelude::*;

use super::super::fetch_response::{End, Head, PartitionAnswer, Place};
use super::super::memory::Memory;
use super::super::partition::Partition;
use super::super::plan::{Request, Wanted};
use super::super::session::{Session, Taken};
use super::fake_sessions::{NOT_FOUND, Sessions, WRONG_EPOCH};

const TOPICS: [&str; 2] = ["input", "events"];
const INDEXES: usize = 3;
const PLACES: usize = TOPICS.len() * INDEXES;

/// A partition as its broker has it.
#[derive(Debug, Clone, Copy, Default)]
struct Log {
    end: i64,
    start: i64,
    has_records: bool,
    error: i16,
}

/// What happens to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    None,
    Forget,
    Epoch,
    Throttle,
    NewConnection,
}

/// One of two readers of each partition, and what both sides of a session say.
struct World {
    session: Session,
    broker: Sessions,
    logs: [Log; PLACES],
    partitions: Vec<Arc<Partition>>,
    ends: BTreeMap<(usize, usize), End>,
    memory: Arc<Memory>,
}

/// What a step has shown.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    epoch: i32,
    asked: usize,
    forgotten: usize,
    named: usize,
    unchanged: usize,
}

type Key = (String, i32);

/// What a request asks for: the offset, the epochs and the size of each partition.
fn asked(request: &FetchRequest) -> BTreeMap<Key, (i64, i32, i32, i32)> {
    let mut all = BTreeMap::new();
    for topic in &request.topics {
        for wanted in &topic.partitions {
            let key = (topic.topic.0.to_string(), wanted.partition);
            let asked = (
                wanted.fetch_offset,
                wanted.current_leader_epoch,
                wanted.last_fetched_epoch,
                wanted.partition_max_bytes,
            );
            assert!(all.insert(key, asked).is_none(), "named twice");
        }
    }
    all
}

impl World {
    fn new() -> Self {
        let partitions = (0..PLACES)
            .map(|place| {
                let (topic, index) = (TOPICS[place / INDEXES], (place % INDEXES) as i32);
                Arc::new(Partition::new(topic, index, 0, None))
            })
            .collect();
        Self {
            session: Session::default(),
            broker: Sessions::default(),
            logs: [Log::default(); PLACES],
            partitions,
            ends: BTreeMap::new(),
            memory: Memory::new(1 << 20),
        }
    }

    /// Asks for these partitions, each by one of its readers and from an offset.
    fn step(&mut self, wanted: &[(usize, usize, i64)], event: Event) -> Step {
        self.step_with(wanted, event, |_| {})
    }

    fn step_with(
        &mut self,
        wanted: &[(usize, usize, i64)],
        event: Event,
        change: impl Fn(&mut Wanted),
    ) -> Step {
        if event == Event::NewConnection {
            self.session.restart();
        }
        let request = self.request(wanted, change);
        let message = self.session.ask(&request, 1);
        let step = |taken: &Taken| Step {
            epoch: message.session_epoch,
            asked: asked(&message).len(),
            forgotten: message
                .forgotten_topics_data
                .iter()
                .map(|topic| topic.partitions.len())
                .sum(),
            named: taken.named.len(),
            unchanged: taken.unchanged.len(),
        };
        if event == Event::Forget {
            self.broker.forget();
        }
        let entered = match event {
            Event::Epoch if message.session_epoch > 0 => Err(WRONG_EPOCH),
            _ => self.broker.enter(&message),
        };
        let whole = match entered {
            Ok(whole) => whole,
            Err(error) => {
                assert_eq!(
                    error,
                    if event == Event::Epoch {
                        WRONG_EPOCH
                    } else {
                        NOT_FOUND
                    }
                );
                let head = Head {
                    error,
                    ..Head::default()
                };
                let taken = self.session.take(&request, head, Vec::new()).unwrap();
                assert!(taken.named.is_empty() && taken.unchanged.is_empty());
                return step(&taken);
            }
        };
        let mut plain = Session::default();
        let all = asked(&plain.ask(&request, 1));
        assert_eq!(asked(&whole), all, "what the broker asks for");
        let response = if event == Event::Throttle {
            FetchResponse::default()
                .with_throttle_time_ms(5)
                .with_session_id(if whole.session_epoch > 0 {
                    whole.session_id
                } else {
                    0
                })
        } else {
            let answer = self.answer(&whole);
            self.broker.leave(&whole, answer)
        };
        let head = Head {
            throttle: response.throttle_time_ms as u32,
            error: 0,
            session: response.session_id,
        };
        let answers = self.answers(response);
        let taken = self.session.take(&request, head, answers).unwrap();
        let step = step(&taken);
        self.check(wanted, taken, event);
        step
    }

    fn request(&self, wanted: &[(usize, usize, i64)], change: impl Fn(&mut Wanted)) -> Request {
        let entries = wanted.iter().map(|(place, reader, next)| {
            let mut wanted = Wanted {
                next: *next,
                last_epoch: -1,
                leader_epoch: 3,
                piece: 1 << 16,
                served: 0,
                asked: 0,
                in_vain: 0,
                has_more: true,
                holds_some: false,
                end: self.ends.get(&(*place, *reader)).copied(),
            };
            change(&mut wanted);
            (self.partitions[*place].clone(), wanted)
        });
        Request {
            entries: entries.collect(),
            bytes: 1 << 20,
            wait: Duration::ZERO,
        }
    }

    fn log(&self, topic: &str, index: i32) -> Log {
        let place = TOPICS.iter().position(|found| *found == topic).unwrap() * INDEXES;
        self.logs[place + index as usize]
    }

    /// The whole answer of the broker.
    fn answer(&self, whole: &FetchRequest) -> FetchResponse {
        let topics = whole.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let log = self.log(&topic.topic.0.to_string(), wanted.partition);
                let data = PartitionData::default()
                    .with_partition_index(wanted.partition)
                    .with_error_code(log.error);
                if log.error != 0 {
                    return data.with_high_watermark(-1).with_last_stable_offset(-1);
                }
                let records = log.has_records.then(|| Bytes::from_static(b"records"));
                data.with_high_watermark(log.end)
                    .with_last_stable_offset(log.end)
                    .with_log_start_offset(log.start)
                    .with_records(records)
            });
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions.collect())
        });
        FetchResponse::default().with_responses(topics.collect())
    }

    fn answers(&self, response: FetchResponse) -> Vec<(Place, PartitionAnswer)> {
        let mut answers = Vec::new();
        for topic in response.responses {
            for data in topic.partitions {
                let place = Place {
                    topic: topic.topic.0.clone(),
                    index: data.partition_index,
                };
                let answer = PartitionAnswer {
                    partition: data.partition_index,
                    error: data.error_code,
                    high_watermark: data.high_watermark,
                    last_stable: data.last_stable_offset,
                    aborted: Vec::new(),
                    records: data
                        .records
                        .filter(|bytes| !bytes.is_empty())
                        .map(|bytes| self.memory.buffer(bytes.len())),
                    diverging_end: None,
                };
                answers.push((place, answer));
            }
        }
        answers
    }

    /// Every reader that was asked for is to know the end, or the error; and none gets it twice.
    fn check(&mut self, wanted: &[(usize, usize, i64)], taken: Taken, event: Event) {
        let mut known = vec![false; wanted.len()];
        for (entry, answer) in taken.named {
            let (place, reader, _) = wanted[entry];
            assert_eq!(answer.partition as usize, place % INDEXES);
            assert_eq!(answer.error, self.logs[place].error);
            assert_eq!(answer.records.is_some(), self.has_records(place));
            assert!(!std::mem::replace(&mut known[entry], true));
            if answer.error == 0 {
                self.ends.insert((place, reader), answer.end());
            } else {
                self.ends.remove(&(place, reader));
            }
        }
        for (entry, end) in taken.unchanged {
            let (place, reader, _) = wanted[entry];
            assert!(!std::mem::replace(&mut known[entry], true));
            self.ends.insert((place, reader), end);
        }
        if event == Event::Throttle {
            assert!(!known.contains(&true), "nothing was looked at");
            return;
        }
        for (entry, (place, reader, _)) in wanted.iter().enumerate() {
            let log = self.logs[*place];
            if log.error != 0 || log.has_records {
                assert!(known[entry], "{log:?} did not get it");
            }
            let end = End {
                high_watermark: log.end as u64,
                last_stable: log.end as u64,
            };
            let expected = (log.error == 0).then_some(end);
            assert_eq!(self.ends.get(&(*place, *reader)).copied(), expected);
        }
    }

    fn has_records(&self, place: usize) -> bool {
        self.logs[place].has_records && self.logs[place].error == 0
    }
}

const ALL: [(usize, usize, i64); 3] = [(0, 0, 0), (1, 0, 0), (4, 0, 0)];

fn step(epoch: i32, asked: usize, forgotten: usize, named: usize, unchanged: usize) -> Step {
    Step {
        epoch,
        asked,
        forgotten,
        named,
        unchanged,
    }
}

#[test]
fn a_request_names_what_has_changed_and_an_answer_what_has_moved() {
    let mut world = World::new();
    assert_eq!(world.step(&ALL, Event::None), step(0, 3, 0, 3, 0), "all");
    assert_eq!(world.step(&ALL, Event::None), step(1, 0, 0, 0, 0));
    world.logs[1].end = 5;
    world.logs[1].has_records = true;
    assert_eq!(world.step(&ALL, Event::None), step(2, 0, 0, 1, 0));
    world.logs[1].has_records = false;
    let read = [(0, 0, 0), (1, 0, 5), (4, 0, 0)];
    assert_eq!(world.step(&read, Event::None), step(3, 1, 0, 0, 0));
    world.logs[4].start = 1;
    assert_eq!(world.step(&read, Event::None), step(4, 0, 0, 1, 0));
    assert_eq!(world.step(&read[..2], Event::None), step(5, 0, 1, 0, 0));
    let back = [(4, 0, 0), (0, 0, 0), (1, 0, 5)];
    assert_eq!(world.step(&back, Event::None), step(6, 1, 0, 1, 0));
    let larger = |wanted: &mut Wanted| wanted.piece = 1 << 17;
    assert_eq!(
        world.step_with(&back, Event::None, larger),
        step(7, 3, 0, 0, 0)
    );
    world.logs[0].error = 6;
    assert_eq!(world.step(&back, Event::None), step(8, 3, 0, 1, 0));
    world.logs[0].error = 0;
    assert_eq!(world.step(&back, Event::None), step(9, 0, 0, 1, 0));
    assert_eq!(world.broker.open(), 1);
}

#[test]
fn a_second_reader_of_a_partition_is_told_the_end_that_the_broker_does_not_repeat() {
    let mut world = World::new();
    let (one, other) = ([(0, 0, 7)], [(0, 1, 7)]);
    world.logs[0].end = 7;
    assert_eq!(world.step(&one, Event::None), step(0, 1, 0, 1, 0));
    assert_eq!(world.step(&other, Event::None), step(1, 0, 0, 0, 1));
    world.logs[0].end = 9;
    assert_eq!(world.step(&other, Event::None), step(2, 0, 0, 1, 0));
    assert_eq!(world.step(&one, Event::None), step(3, 0, 0, 0, 1));
    assert_eq!(world.step(&one, Event::None), step(4, 0, 0, 0, 0));
}

#[test]
fn a_session_that_is_lost_begins_anew_and_is_given_up_when_that_is_in_vain() {
    for (event, connection) in [
        (Event::Forget, Event::None),
        (Event::Epoch, Event::None),
        (Event::None, Event::NewConnection),
    ] {
        let mut world = World::new();
        for round in 0..5 {
            world.step(&ALL, connection);
            assert_eq!(world.step(&ALL, Event::None).epoch, 1, "{event:?} {round}");
            world.step(&ALL, event);
            assert_eq!(world.broker.open(), usize::from(event != Event::Forget));
        }
    }
    let mut world = World::new();
    for epoch in [0, 1, 0, 1, 0, 1, -1, -1, -1] {
        let event = if epoch > 0 {
            Event::Forget
        } else {
            Event::None
        };
        assert_eq!(world.step(&ALL, event).epoch, epoch);
    }
    assert_eq!(world.step(&ALL, Event::NewConnection).epoch, 0);
    assert_eq!(world.step(&ALL, Event::None).epoch, 1);
}

#[test]
fn a_broker_without_room_for_a_session_is_asked_for_all_each_time() {
    let mut world = World::new();
    world.broker.is_full = true;
    for _ in 0..5 {
        assert_eq!(world.step(&ALL, Event::None), step(0, 3, 0, 3, 0));
    }
    world.broker.is_full = false;
    assert_eq!(world.step(&ALL, Event::None).epoch, 0);
    assert_eq!(world.step(&ALL, Event::None), step(1, 0, 0, 0, 0));
}

#[test]
fn a_broker_that_throttles_has_looked_at_nothing() {
    let mut world = World::new();
    assert_eq!(world.step(&ALL, Event::Throttle), step(0, 3, 0, 0, 0));
    assert_eq!(world.step(&ALL, Event::None), step(0, 3, 0, 3, 0));
    let more = [ALL[0], ALL[1], ALL[2], (5, 0, 0)];
    assert_eq!(world.step(&more, Event::Throttle), step(1, 1, 0, 0, 0));
    assert_eq!(world.step(&more, Event::None), step(2, 0, 0, 1, 0));
}

#[test]
fn a_partition_that_was_asked_for_in_vain_comes_first_in_a_request_that_names_all() {
    let mut world = World::new();
    let in_vain = |times| move |wanted: &mut Wanted| wanted.in_vain = times;
    world.step(&ALL, Event::None);
    assert_eq!(world.step_with(&ALL, Event::None, in_vain(1)).epoch, 1);
    let moved = [(4, 0, 3), ALL[0], ALL[1]];
    let named = world.step_with(&moved, Event::None, in_vain(2));
    assert_eq!((named.epoch, named.asked), (0, 3));
    assert_eq!(
        world.step_with(&moved, Event::None, in_vain(3)).epoch,
        1,
        "there was nothing to get, and so there is no need to ask for it like this again"
    );
    let moved = [(4, 0, 4), ALL[0], ALL[1]];
    assert_eq!(world.step_with(&moved, Event::None, in_vain(2)).epoch, 0);
}

#[test]
fn an_answer_that_does_not_fit_ends_the_session() {
    let mut world = World::new();
    world.step(&ALL, Event::None);
    let request = world.request(&ALL, |_| {});
    let message = world.session.ask(&request, 1);
    assert_eq!(message.session_epoch, 1);
    let strange = world.partitions[5].place.clone();
    let head = Head {
        session: message.session_id,
        ..Head::default()
    };
    let answer = PartitionAnswer {
        partition: 5,
        error: 0,
        high_watermark: 1,
        last_stable: 1,
        aborted: Vec::new(),
        records: None,
        diverging_end: None,
    };
    let taken = world.session.take(&request, head, vec![(strange, answer)]);
    assert!(taken.unwrap().named.is_empty());
    assert_eq!(world.step(&ALL, Event::None).epoch, 0);
    assert_eq!(world.broker.open(), 1, "the former one was closed");
    let refused = Head {
        error: 29,
        ..Head::default()
    };
    world.session.ask(&request, 1);
    assert!(world.session.take(&request, refused, Vec::new()).is_err());
    world.session.restart();
    world.session.ask(&request, 1);
    let refused = Head {
        error: NOT_FOUND,
        ..Head::default()
    };
    let taken = world.session.take(&request, refused, Vec::new());
    assert!(taken.is_err(), "there was no session to be found");
}

/// Changes of logs, partitions that are asked for (each by one reader and from one offset), and
/// what happens on the way.
type Script = Vec<(Vec<(usize, Log)>, Vec<(usize, usize, i64)>, Event)>;

fn any_script() -> impl Strategy<Value = Script> {
    let log = (
        0..4_i64,
        0..2_i64,
        any::<bool>(),
        prop::sample::select(vec![0, 0, 0, 6]),
    );
    let log = log.prop_map(|(end, start, has_records, error)| Log {
        end,
        start,
        has_records,
        error,
    });
    let logs = prop::collection::vec((0..PLACES, log), 0..3);
    let order = Just((0..PLACES).collect::<Vec<_>>()).prop_shuffle();
    let asked = (
        order,
        1..=PLACES,
        prop::collection::vec((0..2_usize, 0..2_i64), PLACES),
    );
    let asked = asked.prop_map(|(order, count, readers)| {
        let readers = order.into_iter().zip(readers).take(count);
        readers
            .map(|(place, (reader, next))| (place, reader, next))
            .collect()
    });
    let event = prop_oneof![
        8 => Just(Event::None),
        1 => Just(Event::Forget),
        1 => Just(Event::Epoch),
        1 => Just(Event::Throttle),
        1 => Just(Event::NewConnection),
    ];
    prop::collection::vec((logs, asked, event), 1..40)
}

proptest! {
    #[test]
    fn the_broker_asks_for_what_a_request_without_a_session_would(
        script in any_script(), moves_all in any::<bool>(), is_full in any::<bool>()
    ) {
        let mut world = World::new();
        world.broker.moves_all = moves_all;
        world.broker.is_full = is_full;
        for (logs, asked, event) in script {
            for (place, log) in logs {
                world.logs[place] = log;
            }
            world.step(&asked, event);
            prop_assert!(world.broker.open() <= 1, "sessions are closed");
        }
    }
}
