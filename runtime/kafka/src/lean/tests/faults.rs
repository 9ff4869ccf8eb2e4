//! Whatever goes wrong between a reader and its brokers, every record comes once and in order, or
//! the reader says why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use theatre_actors::ports::{Error, LogReader, PollEnd, PollLimit, Result};
use theatre_config::log::LogConfig;
use theatre_system::blocking::IoRuntime;

use super::super::super::identity::{self, Identity};
use super::super::super::leader_health::LeaderHealth;
use super::super::Fetcher;
use super::super::partition::Partition;
use super::super::sasl::{Login, Sasl};
use super::super::settings::Settings;
use super::encode::Batch;
use super::fake_broker::{Cluster, Fault, TOPIC};

pub(super) const PATIENCE: Duration = Duration::from_secs(9);
pub(super) const ALL: PollLimit = PollLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

pub(super) fn fetcher_with(cluster: &Cluster, properties: &[(&str, &str)], memory: u64) -> Fetcher {
    Fetcher::with(settings(cluster, properties, memory))
}

fn settings(cluster: &Cluster, properties: &[(&str, &str)], memory: u64) -> Settings {
    let mut config = LogConfig {
        fetch_memory: memory,
        ..LogConfig::default()
    };
    for (name, value) in properties {
        config
            .properties
            .insert((*name).to_owned(), (*value).to_owned());
    }
    let io = IoRuntime::start().unwrap();
    let identity = Identity::of(&config, &io).unwrap();
    Settings::of(&cluster.bootstrap(), &config, &identity).unwrap()
}

pub(super) fn fetcher(cluster: &Cluster) -> Fetcher {
    let quick = [("reconnect.backoff.ms", "10"), ("socket.timeout.ms", "700")];
    fetcher_with(cluster, &quick, 32 << 20)
}

pub(super) fn reader(fetcher: &Fetcher, partition: u32, from: u64) -> Box<dyn LogReader> {
    let heartbeat = Arc::new(LeaderHealth::default()).watch(TOPIC, partition);
    fetcher
        .reader(TOPIC, partition, from, heartbeat, Box::new(|| Ok(5)))
        .unwrap()
}

/// Reads until there are so many records, or the reader fails.
pub(super) fn read_on(
    reader: &mut dyn LogReader,
    records: usize,
) -> Result<(Vec<(u64, String)>, PollEnd)> {
    let begun = Instant::now();
    let mut seen = Vec::new();
    loop {
        let end = reader.poll(ALL, &mut |record| {
            let value = String::from_utf8_lossy(record.value).into_owned();
            seen.push((record.offset, value));
        })?;
        if seen.len() >= records && end.at_end {
            return Ok((seen, end));
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {records}: {end:?}",
            seen.len()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Polls until the reader fails.
fn failure(reader: &mut dyn LogReader) -> Error {
    let begun = Instant::now();
    loop {
        if let Err(error) = reader.poll(ALL, &mut |_| {}) {
            return error;
        }
        assert!(begun.elapsed() < PATIENCE, "no failure");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn expected(from: u64, to: u64) -> Vec<(u64, String)> {
    (from..to)
        .map(|offset| (offset, format!("v{offset}")))
        .collect()
}

pub(super) fn fill(cluster: &Cluster, partition: i32, from: u64, to: u64) {
    for offset in (from..to).step_by(5) {
        let values: Vec<String> = (offset..(offset + 5).min(to))
            .map(|offset| format!("v{offset}"))
            .collect();
        let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        cluster.append(partition, &values);
    }
}

#[test]
fn records_come_in_order_and_once_whatever_answers_are_like() {
    let faults = [
        vec![Fault::Cut(0)],
        vec![Fault::Cut(3)],
        vec![Fault::Cut(20)],
        vec![Fault::Cut(200), Fault::Cut(500)],
        vec![Fault::Correlation],
        vec![Fault::Error(6)],
        vec![Fault::Error(3), Fault::Error(74), Fault::Error(75)],
        vec![
            Fault::Error(5),
            Fault::Error(56),
            Fault::Error(78),
            Fault::Error(-1),
        ],
        vec![Fault::Drip(50)],
        vec![Fault::Flip(100, 1)],
        vec![Fault::Flip(70, 1), Fault::Flip(8, 1)],
        vec![Fault::Flip(16, 1)],
        vec![Fault::Tail],
        vec![Fault::Length(-1)],
        vec![Fault::Length(i32::MAX)],
        vec![Fault::Length(30)],
        vec![Fault::Silence],
        vec![Fault::Throttle(100)],
    ];
    std::thread::scope(|scope| {
        for faults in &faults {
            scope.spawn(move || {
                let cluster = Cluster::start(&[1], 1);
                fill(&cluster, 0, 0, 50);
                cluster.fail(faults.clone());
                let fetcher = fetcher(&cluster);
                let (seen, end) = read_on(&mut *reader(&fetcher, 0, 0), 50).unwrap();
                assert_eq!(seen, expected(0, 50), "{faults:?}");
                assert_eq!((end.next_offset, end.end_offset), (50, 50));
                assert_eq!(cluster.faults_left(), 0, "{faults:?} were not met");
                assert_eq!(cluster.too_early(), 0, "{faults:?}");
            });
        }
    });
}

#[test]
fn a_batch_that_stays_damaged_fails_the_reader_and_is_not_passed_over() {
    let cluster = Cluster::start(&[1], 1);
    fill(&cluster, 0, 0, 5);
    cluster.fail([const { Fault::Flip(70, 1) }; 3]);
    let fetcher = fetcher(&cluster);
    let mut reader = reader(&fetcher, 0, 0);
    let error = failure(&mut *reader);
    assert!(
        matches!(&error, Error::Unavailable { why, .. } if why.contains("offset 0") && why.contains("checksum")),
        "{error}"
    );
    let (seen, _) = read_on(&mut *reader, 5).unwrap();
    assert_eq!(seen, expected(0, 5), "once it is sound it is read");
}

#[test]
fn an_old_format_is_refused_by_name() {
    let cluster = Cluster::start(&[1], 1);
    fill(&cluster, 0, 0, 5);
    cluster.fail([Fault::Flip(16, 3)]);
    let fetcher = fetcher(&cluster);
    let mut reader = reader(&fetcher, 0, 0);
    for _ in 0..2 {
        let error = failure(&mut *reader);
        assert!(
            matches!(&error, Error::Refused(why) if why.contains("message format 1") && why.contains("librdkafka")),
            "{error}"
        );
    }
}

#[test]
fn a_leader_moves_and_a_broker_goes() {
    let cluster = Cluster::start(&[1, 2, 3], 3);
    for partition in 0..3 {
        fill(&cluster, partition, 0, 20);
    }
    let fetcher = fetcher(&cluster);
    let mut readers: Vec<_> = (0..3)
        .map(|partition| reader(&fetcher, partition, 0))
        .collect();
    for reader in &mut readers {
        assert_eq!(read_on(&mut **reader, 20).unwrap().0, expected(0, 20));
    }
    cluster.change(0, |log| (log.leader, log.epoch) = (2, 1));
    cluster.down(3);
    cluster.change(2, |log| (log.leader, log.epoch) = (1, 1));
    for partition in 0..3 {
        fill(&cluster, partition, 20, 40);
    }
    for reader in &mut readers {
        assert_eq!(read_on(&mut **reader, 20).unwrap().0, expected(20, 40));
    }
    // It comes back at another port, and leads again.
    cluster.up(3);
    cluster.change(2, |log| (log.leader, log.epoch) = (3, 2));
    fill(&cluster, 2, 40, 60);
    assert_eq!(read_on(&mut *readers[2], 20).unwrap().0, expected(40, 60));
}

#[test]
fn an_offset_that_is_gone_and_one_that_never_was_end_the_reading() {
    let cluster = Cluster::start(&[1], 1);
    fill(&cluster, 0, 0, 10);
    cluster.change(0, |log| {
        log.batches.remove(0);
        log.start = 5;
    });
    let fetcher = fetcher(&cluster);
    let mut before = reader(&fetcher, 0, 0);
    for _ in 0..2 {
        let error = failure(&mut *before);
        assert!(
            matches!(
                error,
                Error::Trimmed {
                    wanted: 0,
                    start: 5,
                    ..
                }
            ),
            "{error}"
        );
    }
    let error = failure(&mut *reader(&fetcher, 0, 11));
    assert!(
        matches!(&error, Error::Refused(why) if why.contains("beyond the end")),
        "{error}"
    );
    assert_eq!(
        read_on(&mut *reader(&fetcher, 0, 5), 5).unwrap().0,
        expected(5, 10)
    );
}

#[test]
fn a_log_that_was_cut_and_a_topic_that_was_made_anew_end_the_reading() {
    let cluster = Cluster::start(&[1], 1);
    fill(&cluster, 0, 0, 10);
    let fetcher = fetcher(&cluster);
    let mut cut = reader(&fetcher, 0, 0);
    assert_eq!(read_on(&mut *cut, 10).unwrap().0, expected(0, 10));
    cluster.fail([Fault::Diverging(7)]);
    for _ in 0..2 {
        let error = failure(&mut *cut);
        assert!(
            matches!(&error, Error::Refused(why) if why.contains("cut to offset 7")),
            "{error}"
        );
    }
    drop(cut);
    let mut anew = reader(&fetcher, 0, 0);
    assert_eq!(read_on(&mut *anew, 10).unwrap().0, expected(0, 10));
    cluster.make_anew();
    cluster.fail([Fault::Error(6)]);
    let error = failure(&mut *anew);
    assert!(
        matches!(&error, Error::Refused(why) if why.contains("made anew")),
        "{error}"
    );
    assert_eq!(
        read_on(&mut *reader(&fetcher, 0, 0), 10).unwrap().0,
        expected(0, 10),
        "a new reader reads the new topic"
    );
}

#[test]
fn what_the_broker_refuses_is_refused_and_what_passes_is_not() {
    let cluster = Cluster::start(&[1], 1);
    let fetcher = fetcher(&cluster);
    let mut reader = reader(&fetcher, 0, 0);
    cluster.fail([Fault::Error(29)]);
    let error = failure(&mut *reader);
    assert!(
        matches!(&error, Error::Refused(why) if why.contains("TopicAuthorizationFailed")),
        "{error}"
    );
    cluster.fail([Fault::Error(2)]);
    let error = failure(&mut *reader);
    assert!(
        matches!(&error, Error::Unavailable { why, .. } if why.contains("CorruptMessage")),
        "{error}"
    );
    fill(&cluster, 0, 0, 5);
    assert_eq!(read_on(&mut *reader, 5).unwrap().0, expected(0, 5));
}

#[test]
fn a_record_larger_than_a_piece_and_than_an_answer_comes_whole() {
    let cluster = Cluster::start(&[1], 2);
    let large = vec![b'x'; 3 << 20];
    for partition in [0, 1] {
        fill(&cluster, partition, 0, 5);
        cluster.append(partition, &[&large]);
        fill(&cluster, partition, 6, 11);
    }
    let fetcher = fetcher(&cluster);
    for partition in [0, 1] {
        let (seen, _) = read_on(&mut *reader(&fetcher, partition, 0), 11).unwrap();
        assert_eq!(seen[5].1.len(), large.len());
        assert_eq!(seen[6..], expected(6, 11));
    }
}

#[test]
fn open_transactions_are_waited_for_and_the_end_is_known() {
    let cluster = Cluster::start(&[1], 1);
    cluster.change(0, |log| {
        log.batches = vec![
            Batch::of(0, &[b"v0"]),
            Batch::of(1, &[b"open"]).by(9),
            Batch::marker(2, 9, true),
        ];
        log.last_stable = Some(1);
    });
    let fetcher = fetcher(&cluster);
    let mut reader = reader(&fetcher, 0, 0);
    let (seen, end) = read_on(&mut *reader, 1).unwrap();
    assert_eq!((seen.len(), end.next_offset, end.end_offset), (1, 1, 3));
    cluster.change(0, |log| log.last_stable = None);
    let (seen, end) = read_on(&mut *reader, 1).unwrap();
    assert_eq!(seen, [(1, "open".to_owned())]);
    assert_eq!(
        (end.next_offset, end.end_offset),
        (3, 3),
        "behind the marker"
    );
}

#[test]
fn memory_is_bounded_though_no_reader_polls_and_a_slow_one_starves_no_other() {
    const MEMORY: u64 = 1 << 20;
    const RECORD: usize = 10_000;
    let cluster = Cluster::start(&[1], 8);
    let value = vec![b'x'; RECORD];
    let values: Vec<&[u8]> = vec![&value; 5];
    for partition in 0..8 {
        for _ in 0..100 {
            cluster.append(partition, &values);
        }
    }
    let fetcher = fetcher_with(&cluster, &[], MEMORY);
    let mut readers: Vec<_> = (0..8)
        .map(|partition| reader(&fetcher, partition, 0))
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let held = fetcher.0.0.memory.held();
    assert!(cluster.largest() <= 1 << 20, "{}", cluster.largest());
    // Each may have one piece beyond what all share: eight batches of 50 kB.
    assert!(held > 8 * 5 * RECORD, "{held}");
    let most = MEMORY as usize + 8 * 450_000;
    assert!(
        fetcher.0.0.memory.held() <= most,
        "{}",
        fetcher.0.0.memory.held()
    );
    let (seen, _) = read_on(&mut *readers[3], 500).unwrap();
    assert_eq!(seen.len(), 500);
    assert!(fetcher.0.0.memory.held() <= most);
    drop(readers);
    let begun = Instant::now();
    while fetcher.0.0.memory.held() > 0 {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} are held",
            fetcher.0.0.memory.held()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn limits_of_a_poll_hold_and_a_wake_comes_with_news() {
    let cluster = Cluster::start(&[1], 1);
    let fetcher = fetcher(&cluster);
    let mut reader = reader(&fetcher, 0, 0);
    read_on(&mut *reader, 0).unwrap();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = woken.clone();
    assert!(reader.on_news(Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    })));
    let before = woken.load(Ordering::Relaxed);
    let values: Vec<String> = (0..10).map(|offset| format!("v{offset}")).collect();
    let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
    cluster.append(0, &values);
    let begun = Instant::now();
    while woken.load(Ordering::Relaxed) == before {
        assert!(begun.elapsed() < PATIENCE, "no wake");
        std::thread::sleep(Duration::from_millis(1));
    }
    let two = PollLimit {
        records: 2,
        bytes: usize::MAX,
    };
    let tiny = PollLimit {
        records: 9,
        bytes: 1,
    };
    for (limit, next) in [(two, 2), (tiny, 3), (two, 5)] {
        let end = reader.poll(limit, &mut |_| {}).unwrap();
        assert_eq!((end.next_offset, end.at_end), (next, false));
    }
    assert_eq!(read_on(&mut *reader, 5).unwrap().0, expected(5, 10));
}

#[test]
fn two_readers_of_one_partition_and_those_that_end_do_not_disturb_each_other() {
    let cluster = Cluster::start(&[1], 1);
    fill(&cluster, 0, 0, 100);
    let fetcher = fetcher(&cluster);
    let (mut one, mut other) = (reader(&fetcher, 0, 0), reader(&fetcher, 0, 50));
    assert_eq!(read_on(&mut *one, 100).unwrap().0, expected(0, 100));
    assert_eq!(read_on(&mut *other, 50).unwrap().0, expected(50, 100));
    drop(one);
    fill(&cluster, 0, 100, 105);
    assert_eq!(read_on(&mut *other, 5).unwrap().0, expected(100, 105));
    assert_eq!(
        cluster.connections.load(Ordering::Relaxed),
        2,
        "one for metadata, one for records"
    );
}

#[test]
fn a_reader_at_the_end_does_not_keep_out_one_that_has_all_before_it() {
    let cluster = Cluster::start(&[1], 1);
    fill(&cluster, 0, 0, 100);
    let fetcher = fetcher(&cluster);
    let mut readers: Vec<_> = (0..3).map(|_| reader(&fetcher, 0, 100)).collect();
    for reader in &mut readers {
        assert!(read_on(&mut **reader, 0).unwrap().1.at_end);
    }
    let mut late = reader(&fetcher, 0, 0);
    assert_eq!(read_on(&mut *late, 100).unwrap().0, expected(0, 100));
    fill(&cluster, 0, 100, 110);
    for reader in &mut readers {
        assert_eq!(read_on(&mut **reader, 10).unwrap().0, expected(100, 110));
    }
}

#[test]
fn an_idle_partition_costs_few_requests() {
    let cluster = Cluster::start(&[1], 4);
    let fetcher = fetcher(&cluster);
    let mut readers: Vec<_> = (0..4)
        .map(|partition| reader(&fetcher, partition, 0))
        .collect();
    for reader in &mut readers {
        assert!(read_on(&mut **reader, 0).unwrap().1.at_end);
    }
    let before = cluster.fetches.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(1));
    let requests = cluster.fetches.load(Ordering::Relaxed) - before;
    assert!((5..=15).contains(&requests), "{requests} requests a second");
}

#[test]
fn a_session_is_renewed_before_it_ends_and_a_wrong_password_is_refused() {
    let cluster = Cluster::start(&[1], 1);
    cluster.require_login(Duration::from_millis(600));
    let fetcher = |password: &str| {
        let login = Login {
            username: "user".to_owned(),
            password: password.to_owned(),
        };
        Fetcher::with(Settings {
            sasl: Some(Sasl::Plain(login)),
            ..settings(&cluster, &[], 1 << 20)
        })
    };
    let wrong = fetcher("close sesame");
    let refused = reader(&wrong, 0, 0);
    let renewed = fetcher("open sesame");
    let mut reader = reader(&renewed, 0, 0);
    for round in 0..6 {
        fill(&cluster, 0, round * 5, round * 5 + 5);
        let (seen, _) = read_on(&mut *reader, 5).unwrap();
        assert_eq!(seen, expected(round * 5, round * 5 + 5));
        std::thread::sleep(Duration::from_millis(300));
    }
    drop(refused);
    let connections = cluster.connections.load(Ordering::Relaxed);
    let partition = Arc::new(Partition::new(TOPIC, 0, 0, None));
    wrong.0.0.add(partition.clone()).unwrap();
    let begun = Instant::now();
    let why = loop {
        if let Some(outage) = partition.outage() {
            break outage.why;
        }
        assert!(begun.elapsed() < PATIENCE, "no outage");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(why.contains("SaslAuthenticationFailed"), "{why}");
    // Two that are renewed, and few that were refused: no attempt follows the other at once.
    assert!(connections <= 6, "{connections}");
}

#[test]
fn a_token_of_msk_opens_a_session() {
    let cluster = Cluster::start(&[1], 1);
    cluster.require_login(Duration::from_secs(60));
    fill(&cluster, 0, 0, 5);
    let fetcher = Fetcher::with(Settings {
        sasl: Some(Sasl::OauthBearer(identity::tests::identity(None))),
        ..settings(&cluster, &[], 1 << 20)
    });
    let (seen, _) = read_on(&mut *reader(&fetcher, 0, 0), 5).unwrap();
    assert_eq!(seen, expected(0, 5));
}

#[test]
fn the_end_of_a_partition_at_rest_is_asked_for_all_the_time() {
    let cluster = Cluster::start(&[1], 2);
    fill(&cluster, 0, 0, 5);
    fill(&cluster, 1, 0, 5);
    let fetcher = fetcher_with(&cluster, &[], 32 << 20);
    let (mut busy, mut at_rest) = (reader(&fetcher, 0, 0), reader(&fetcher, 1, 0));
    read_on(&mut *busy, 5).unwrap();
    read_on(&mut *at_rest, 5).unwrap();
    let begun = Instant::now();
    // At first with another partition that gets records, then with none.
    let mut next = 5;
    while begun.elapsed() < Duration::from_secs(6) {
        if begun.elapsed() < Duration::from_secs(3) {
            fill(&cluster, 0, next, next + 1);
            read_on(&mut *busy, 1).unwrap();
            next += 1;
        }
        at_rest
            .poll(ALL, &mut |_| panic!("nothing was appended"))
            .unwrap();
        let age = at_rest.end_age();
        assert!(
            age < Duration::from_millis(2500),
            "{age:?} after {:?}",
            begun.elapsed()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_end_is_as_old_as_the_request_whose_answer_said_it() {
    let cluster = Cluster::start(&[1], 1);
    fill(&cluster, 0, 0, 5);
    let quick = [
        ("reconnect.backoff.ms", "10"),
        ("socket.timeout.ms", "1500"),
    ];
    let fetcher = fetcher_with(&cluster, &quick, 32 << 20);
    let mut reader = reader(&fetcher, 0, 0);
    read_on(&mut *reader, 5).unwrap();
    cluster.fail(vec![Fault::Silence]);
    let begun = Instant::now();
    while cluster.faults_left() > 0 {
        assert!(begun.elapsed() < PATIENCE, "it is not asked");
        std::thread::sleep(Duration::from_millis(1));
    }
    fill(&cluster, 0, 5, 10);
    let appended = Instant::now();
    // No answer tells of these records: the end is from before.
    while appended.elapsed() < Duration::from_secs(1) {
        let since = appended.elapsed();
        let age = reader.end_age();
        assert!(age >= since, "{age:?} after {since:?}");
        let polled = reader.poll(ALL, &mut |_| panic!("it was hidden")).unwrap();
        assert!(polled.at_end, "{polled:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (seen, _) = read_on(&mut *reader, 5).unwrap();
    assert_eq!(seen, expected(5, 10));
    let begun = Instant::now();
    while reader.end_age() > Duration::from_millis(900) {
        assert!(begun.elapsed() < PATIENCE, "the end stays old");
        std::thread::sleep(Duration::from_millis(5));
    }
}
