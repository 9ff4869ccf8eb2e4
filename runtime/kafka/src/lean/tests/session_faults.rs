//! Readers over fetch sessions that are lost, refused, evicted, or that the broker does not offer.

use std::time::{Duration, Instant};

use theatre_actors::ports::LogReader;

use super::fake_broker::{Cluster, Fault};
use super::faults::{ALL, PATIENCE, expected, fetcher, fetcher_with, fill, read_on, reader};

const PARTITIONS: u32 = 20;

/// Readers of partitions of which only the first has records.
fn readers(cluster: &Cluster) -> Vec<Box<dyn LogReader>> {
    let fetcher = fetcher(cluster);
    let mut readers: Vec<_> = (0..PARTITIONS)
        .map(|partition| reader(&fetcher, partition, 0))
        .collect();
    for reader in &mut readers {
        assert!(read_on(&mut **reader, 0).unwrap().1.at_end);
    }
    readers
}

#[test]
fn partitions_at_rest_are_in_no_request_and_in_no_answer() {
    let cluster = Cluster::start(&[1], PARTITIONS as i32);
    let mut readers = readers(&cluster);
    // The session is there.
    std::thread::sleep(Duration::from_millis(300));
    cluster.traffic();
    for round in 0..10 {
        fill(&cluster, 0, round * 5, round * 5 + 5);
        let (seen, _) = read_on(&mut *readers[0], 5).unwrap();
        assert_eq!(seen, expected(round * 5, round * 5 + 5));
    }
    let traffic = cluster.traffic();
    // The first records may answer a request of before the count, and the last one may be yet to
    // be sent.
    assert!(traffic.requests >= 9, "{traffic:?}");
    assert_eq!((traffic.full, traffic.forgotten), (0, 0), "{traffic:?}");
    // Each answer with records is followed by a request from behind them.
    assert!((10..=11).contains(&traffic.answered), "{traffic:?}");
    assert!((9..=11).contains(&traffic.asked), "{traffic:?}");
    for (partition, reader) in readers.iter_mut().enumerate() {
        let (_, end) = read_on(&mut **reader, 0).unwrap();
        let expected = if partition == 0 { 50 } else { 0 };
        assert_eq!((end.next_offset, end.end_offset), (expected, expected));
    }
    // Those that end are forgotten, those that come are added.
    readers.truncate(5);
    fill(&cluster, 0, 50, 55);
    assert_eq!(
        read_on(&mut *readers[0], 5).unwrap().0,
        expected(50, 55),
        "and the others are still read"
    );
    std::thread::sleep(Duration::from_millis(300));
    let traffic = cluster.traffic();
    assert_eq!((traffic.full, traffic.forgotten), (0, 15), "{traffic:?}");
}

#[test]
fn records_come_once_whatever_becomes_of_sessions() {
    let scripts: [&[Fault]; 8] = [
        &[Fault::Forget],
        &[Fault::Epoch],
        &[Fault::Forget, Fault::Forget, Fault::Forget],
        &[Fault::Epoch, Fault::Cut(0), Fault::Epoch],
        // The broker goes on, but its answer is lost.
        &[Fault::Cut(0), Fault::Cut(40), Fault::Silence],
        &[Fault::Mute(50), Fault::Forget, Fault::Mute(50)],
        &[Fault::Omit, Fault::Omit],
        &[Fault::Error(6), Fault::Error(74), Fault::Flip(100, 1)],
    ];
    std::thread::scope(|scope| {
        for faults in scripts {
            scope.spawn(move || {
                let cluster = Cluster::start(&[1], 3);
                let fetcher = fetcher(&cluster);
                let mut readers: Vec<_> = (0..3)
                    .map(|partition| reader(&fetcher, partition, 0))
                    .collect();
                for (round, fault) in faults.iter().enumerate() {
                    let from = round as u64 * 10;
                    cluster.fail([fault.clone()]);
                    for (partition, reader) in readers.iter_mut().enumerate() {
                        fill(&cluster, partition as i32, from, from + 10);
                        let (seen, end) = read_on(&mut **reader, 10).unwrap();
                        assert_eq!(seen, expected(from, from + 10), "{fault:?}");
                        assert_eq!((end.next_offset, end.end_offset), (from + 10, from + 10));
                    }
                }
                // One that came while no session was there.
                let mut late = reader(&fetcher, 0, 5);
                let all = faults.len() as u64 * 10;
                let (seen, _) = read_on(&mut *late, all as usize - 5).unwrap();
                assert_eq!(seen, expected(5, all), "{faults:?}");
                let begun = Instant::now();
                while cluster.faults_left() > 0 {
                    assert!(begun.elapsed() < PATIENCE, "{faults:?} were not met");
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
    });
}

#[test]
fn a_broker_that_evicts_or_offers_no_session_is_read_all_the_same() {
    let cluster = Cluster::start(&[1], PARTITIONS as i32);
    cluster.sessions(1, |sessions| sessions.is_full = true);
    let mut readers = readers(&cluster);
    std::thread::sleep(Duration::from_millis(300));
    cluster.traffic();
    fill(&cluster, 0, 0, 20);
    assert_eq!(read_on(&mut *readers[0], 20).unwrap().0, expected(0, 20));
    let traffic = cluster.traffic();
    let all = traffic.requests * PARTITIONS as usize;
    assert_eq!((traffic.full, traffic.asked), (traffic.requests, all));
    cluster.sessions(1, |sessions| sessions.is_full = false);
    for round in 1..4 {
        let from = round * 20;
        fill(&cluster, 0, from, from + 20);
        let (seen, _) = read_on(&mut *readers[0], 20).unwrap();
        assert_eq!(seen, expected(from, from + 20));
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(cluster.sessions(1, |sessions| sessions.open()), 1);
        cluster.sessions(1, |sessions| sessions.forget());
    }
    drop(readers);
}

/// Answers have room for one batch. With an older broker, whose partitions all grow, the first one
/// of a session stays the first.
#[test]
fn every_partition_gets_its_turn_though_a_session_has_an_order_of_its_own() {
    const BATCHES: u64 = 60;
    for moves_all in [false, true] {
        let cluster = Cluster::start(&[1], 6);
        cluster.sessions(1, |sessions| sessions.moves_all = moves_all);
        let large = vec![b'x'; 60_000];
        for partition in 0..6 {
            (0..BATCHES).for_each(|_| cluster.append(partition, &[&large]));
        }
        let properties = [
            ("fetch.max.bytes", "65536"),
            ("max.partition.fetch.bytes", "10000"),
        ];
        let fetcher = fetcher_with(&cluster, &properties, 32 << 20);
        let mut readers: Vec<_> = (0..6)
            .map(|partition| reader(&fetcher, partition, 0))
            .collect();
        let (begun, mut seen) = (Instant::now(), [0_u64; 6]);
        while seen.iter().any(|records| *records < 10) {
            for (partition, reader) in readers.iter_mut().enumerate() {
                reader.poll(ALL, &mut |_| seen[partition] += 1).unwrap();
            }
            assert!(begun.elapsed() < PATIENCE, "{moves_all}: {seen:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        let most = seen.iter().max().unwrap();
        assert!(*most < BATCHES / 2, "{moves_all}: {seen:?}");
    }
}
