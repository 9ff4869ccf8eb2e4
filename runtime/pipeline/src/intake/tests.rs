use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use theatre_actors::ports::{PollEnd, RecordView};

use super::*;
use theatre_config::Config;

/// A topic by the append times of its records. None of them can be decoded: their order shows
/// all the same.
struct Scripted {
    times: Vec<i64>,
    next: usize,
}

impl LogReader for Scripted {
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        let end = self.times.len().min(self.next + limit.records);
        for offset in self.next..end {
            visit(RecordView {
                offset: offset as u64,
                append_time: LogTime(self.times[offset]),
                key: b"robot",
                value: b"?",
            });
        }
        self.next = end;
        Ok(PollEnd {
            next_offset: end as u64,
            end_offset: self.times.len() as u64,
            at_end: end == self.times.len(),
        })
    }
}

/// A topic of a log that grows: with every look at any of its topics more of it is there. A
/// record's append time is its place in `log`, which has the topics of all records.
struct Growing {
    topic: TopicIndex,
    log: Arc<Vec<TopicIndex>>,
    visible: Arc<AtomicUsize>,
    step: usize,
    next: usize,
}

impl LogReader for Growing {
    fn poll(&mut self, limit: PollLimit, visit: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        let visible = self.visible.fetch_add(self.step, Ordering::Relaxed);
        let visible = &self.log[..visible.min(self.log.len())];
        let of_topic = visible.iter().enumerate();
        let times: Vec<i64> = of_topic
            .filter(|(_, topic)| **topic == self.topic)
            .map(|(time, _)| time as i64)
            .collect();
        let mut scripted = Scripted {
            times,
            next: self.next,
        };
        let end = scripted.poll(limit, visit);
        self.next = scripted.next;
        end
    }
}

/// The order from a position to the end as (topic, offset), and where chunks ended on the way.
fn order(
    topics: &[Vec<i64>],
    from: &Positions,
    poll_records: usize,
) -> (Vec<(TopicIndex, u64)>, Vec<Positions>) {
    let readers = topics.iter().enumerate().map(|(topic, times)| {
        Box::new(Scripted {
            times: times.clone(),
            next: from.get(topic) as usize,
        }) as Box<dyn LogReader>
    });
    let all = topics.iter().map(Vec::len).sum();
    order_of(readers.collect(), from, poll_records, all)
}

/// The same of readers, until there are so many records.
fn order_of(
    readers: Vec<Box<dyn LogReader>>,
    from: &Positions,
    poll_records: usize,
    all: usize,
) -> (Vec<(TopicIndex, u64)>, Vec<Positions>) {
    let mut intake = intake_of(readers, from, poll_records);
    let (mut order, mut ends) = (Vec::new(), Vec::new());
    loop {
        let chunk = intake.poll().unwrap();
        let place = |entry: &Entry| match entry {
            Entry::Dead(index) => (
                chunk.dead[*index as usize].topic,
                chunk.dead[*index as usize].offset,
            ),
            Entry::Row { .. } => panic!("nothing can be decoded"),
        };
        order.extend(chunk.entries.iter().map(place));
        ends.push(chunk.to.clone());
        let before = |topic| from.get(topic) as usize;
        let skipped: usize = (0..intake.sources.len()).map(before).sum();
        if chunk.caught_up && order.len() + skipped >= all {
            return (order, ends);
        }
    }
}

fn intake_of(readers: Vec<Box<dyn LogReader>>, from: &Positions, poll_records: usize) -> Intake {
    let mut params = crate::params::without_sources(&Config::default())
        .unwrap()
        .intake();
    params.limits.poll_records = poll_records;
    let source = |(topic, reader): (usize, Box<dyn LogReader>)| Source {
        reader,
        at_hand: Vec::new(),
        batches: Vec::new(),
        dead: Vec::new(),
        pending: VecDeque::new(),
        next_offset: from.get(topic),
        end_offset: from.get(topic),
        at_end: false,
        end_age: Duration::ZERO,
        fetched: 0,
    };
    let sources = readers.into_iter().enumerate().map(source).collect();
    Intake {
        params,
        sources,
        builders: Vec::new(),
        positions: from.clone(),
        fetches: 0,
    }
}

/// At its end, of which it knows since a while ago.
struct Aged(u64);

impl LogReader for Aged {
    fn poll(&mut self, _: PollLimit, _: &mut dyn FnMut(RecordView<'_>)) -> Result<PollEnd> {
        Ok(PollEnd {
            next_offset: 0,
            end_offset: 0,
            at_end: true,
        })
    }

    fn end_age(&self) -> Duration {
        Duration::from_secs(self.0)
    }
}

#[test]
fn what_has_been_read_is_as_old_as_the_oldest_end_of_a_topic() {
    let readers = [3, 20, 0].map(|age| Box::new(Aged(age)) as Box<dyn LogReader>);
    let mut intake = intake_of(readers.into(), &Positions::zero(), 9);
    let chunk = intake.poll().unwrap();
    assert!(chunk.is_current);
    assert_eq!(chunk.end_age, Duration::from_secs(20));
}

proptest! {
    #[test]
    fn no_record_overtakes_one_that_was_appended_before_it_while_the_log_grows(
        log in prop::collection::vec(0..3_usize, 1..60),
        step in 1..4_usize,
        poll_records in 1..5_usize,
    ) {
        let visible = Arc::new(AtomicUsize::new(0));
        let (log, mut offsets) = (Arc::new(log), [0_u64; 3]);
        let reader = |topic| {
            Box::new(Growing {
                topic,
                log: log.clone(),
                visible: visible.clone(),
                step,
                next: 0,
            }) as Box<dyn LogReader>
        };
        let readers = (0..3).map(reader).collect();
        let (order, _) = order_of(readers, &Positions::zero(), poll_records, log.len());
        let appended: Vec<_> = log
            .iter()
            .map(|topic| {
                offsets[*topic] += 1;
                (*topic, offsets[*topic] - 1)
            })
            .collect();
        prop_assert_eq!(order, appended);
    }

    #[test]
    fn the_order_is_the_same_wherever_reading_begins_and_however_much_comes_at_once_though_times_descend(
        topics in prop::collection::vec(prop::collection::vec(0..6_i64, 0..20), 1..4),
        poll_records in 1..5_usize,
    ) {
        let (whole, _) = order(&topics, &Positions::zero(), usize::MAX >> 1);
        prop_assert_eq!(whole.len(), topics.iter().map(Vec::len).sum::<usize>());
        let (in_pieces, ends) = order(&topics, &Positions::zero(), poll_records);
        prop_assert_eq!(&in_pieces, &whole);
        for from in ends {
            let rest: Vec<_> = whole.iter().copied().filter(|(topic, offset)| *offset >= from.get(*topic)).collect();
            prop_assert_eq!(order(&topics, &from, poll_records).0, rest);
        }
    }
}
