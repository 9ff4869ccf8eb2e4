//! The lean fetcher beside librdkafka's, on real brokers: what one reads the other reads, record by
//! record, and what ends the one ends the other.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use theatre_actors::ports::{Error, EventLog, LogReader, NewRecord, PollEnd, PollLimit};
use theatre_config::log::{LogConfig, LogFetcher};
use theatre_dev::kafka::Kafka;
use theatre_system::blocking::IoRuntime;
use theatre_tests::kafka_cluster::KafkaCluster;
use theatre_tests::servers::{kafka as brokers, unique};

const ALL: PollLimit = PollLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};
const PATIENCE: Duration = Duration::from_secs(60);
const FETCHERS: [LogFetcher; 2] = [LogFetcher::Lean, LogFetcher::Librdkafka];

/// A record as a reader gives it: offset, time, key, value.
type Seen = (u64, i64, Vec<u8>, Vec<u8>);

fn open(bootstrap: &str, fetcher: LogFetcher) -> Result<Arc<dyn EventLog>> {
    open_with(bootstrap, fetcher, LogConfig::default().fetch_memory)
}

fn open_with(bootstrap: &str, fetcher: LogFetcher, memory: u64) -> Result<Arc<dyn EventLog>> {
    let config = LogConfig {
        deployment: unique("deployment"),
        fetcher,
        fetch_memory: memory,
        ..LogConfig::default()
    };
    Ok(theatre_kafka::open(
        &format!("kafka://{bootstrap}"),
        &config,
        &IoRuntime::start()?,
    )?)
}

/// Reads on until the end of what is there, which is no earlier than `end`.
fn read_on(reader: &mut dyn LogReader, end: u64, limit: PollLimit) -> Result<(Vec<Seen>, PollEnd)> {
    let begun = Instant::now();
    let mut seen = Vec::new();
    loop {
        let at = reader.poll(limit, &mut |record| {
            seen.push((
                record.offset,
                record.append_time.0,
                record.key.to_vec(),
                record.value.to_vec(),
            ));
        })?;
        if at.at_end && at.next_offset >= end {
            return Ok((seen, at));
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "{} records, {at:?}, not at {end}",
            seen.len()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What both fetchers read of a partition from an offset on, which has to be the same.
fn both(bootstrap: &str, topic: &str, from: u64) -> Result<Vec<Seen>> {
    both_with(bootstrap, topic, from, ALL)
}

fn both_with(bootstrap: &str, topic: &str, from: u64, limit: PollLimit) -> Result<Vec<Seen>> {
    let mut read = Vec::new();
    for fetcher in FETCHERS {
        let log = open(bootstrap, fetcher)?;
        let end = log.range(topic, 0)?.end;
        let mut reader = log.reader(topic, 0, from)?;
        read.push(read_on(&mut *reader, end, limit).with_context(|| format!("{fetcher:?}"))?);
    }
    let (oracle, lean) = (read.pop().context("two")?, read.pop().context("two")?);
    ensure!(
        lean.1 == oracle.1,
        "{topic} from {from}: {:?} and {:?}",
        lean.1,
        oracle.1
    );
    let differing = lean
        .0
        .iter()
        .zip(&oracle.0)
        .find(|(one, other)| one != other);
    ensure!(
        differing.is_none() && lean.0.len() == oracle.0.len(),
        "{topic} from {from}: {} and {} records, first difference {differing:?}",
        lean.0.len(),
        oracle.0.len()
    );
    Ok(lean.0)
}

fn make(bootstrap: &str, topic: &NewTopic<'_>) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()?;
    for made in IoRuntime::start()?.block_on(admin.create_topics([topic], &AdminOptions::new()))? {
        made.map_err(|(name, code)| anyhow!("{name}: {code}"))?;
    }
    Ok(())
}

fn producer(bootstrap: &str, settings: &[(&str, &str)]) -> Result<BaseProducer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("message.max.bytes", "16777216")
        .set("linger.ms", "20");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    Ok(config.create()?)
}

/// Sends records whose values have these lengths; contents repeat, so that they can be compressed.
fn send(producer: &BaseProducer, topic: &str, sizes: impl Iterator<Item = usize>) -> Result<()> {
    for (index, size) in sizes.enumerate() {
        let value: Vec<u8> = (0..size).map(|at| ((at % 251) ^ index) as u8).collect();
        let key = format!("key-{index}");
        let record = BaseRecord::to(topic).partition(0).payload(&value);
        // Every seventh has no key, every eleventh no value.
        let record = if index % 7 == 3 {
            record
        } else {
            record.key(&key)
        };
        let record = if index % 11 == 5 {
            BaseRecord::to(topic).partition(0).key(&key)
        } else {
            record
        };
        producer.send(record).map_err(|(error, _)| anyhow!(error))?;
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

#[test]
fn both_fetchers_read_the_same_of_every_codec_and_size_of_batch() -> Result<()> {
    let bootstrap = brokers()?;
    let log = open(&bootstrap, LogFetcher::Lean)?;
    for codec in ["none", "snappy", "lz4", "zstd"] {
        let topic = unique(codec);
        log.ensure_topics(std::slice::from_ref(&topic), 1)?;
        ensure!(both(&bootstrap, &topic, 0)?.is_empty(), "an empty topic");
        let settings = [("compression.codec", codec)];
        let large = producer(&bootstrap, &settings)?;
        send(&large, &topic, (0..3000).map(|index| index % 400))?;
        let small = producer(&bootstrap, &[settings[0], ("batch.num.messages", "3")])?;
        send(&small, &topic, (0..100).map(|index| index % 50))?;
        // Records larger than a piece, and small ones behind.
        send(
            &large,
            &topic,
            [200_000, 3 << 20, 10, 10 << 20, 20].into_iter(),
        )?;
        let seen = both(&bootstrap, &topic, 0)?;
        ensure!(seen.len() == 3105, "{codec}: {}", seen.len());
        for from in [1, 1500, 3050, 3103, 3105] {
            let some = both(&bootstrap, &topic, from)?;
            ensure!(some == seen[from as usize..], "{codec} from {from}");
        }
        let limit = PollLimit {
            records: 7,
            bytes: 300,
        };
        ensure!(
            both_with(&bootstrap, &topic, 2900, limit)? == seen[2900..],
            "{codec} in small polls"
        );
    }
    Ok(())
}

/// The librdkafka that is built in has no gzip, so that of kcat writes, and what it wrote is known.
#[test]
fn gzip_is_read_as_it_was_written() -> Result<()> {
    let bootstrap = brokers()?;
    let log = open(&bootstrap, LogFetcher::Lean)?;
    let topic = unique("gzip");
    log.ensure_topics(std::slice::from_ref(&topic), 1)?;
    let lines: Vec<String> = (0..5000)
        .map(|line| format!("line {line} {}", "x".repeat(line % 90)))
        .collect();
    let mut kcat = Command::new("kcat")
        .args([
            "-P", "-b", &bootstrap, "-t", &topic, "-p", "0", "-z", "gzip",
        ])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = kcat.stdin.take().context("a pipe")?;
    input.write_all(lines.join("\n").as_bytes())?;
    drop(input);
    ensure!(kcat.wait()?.success());
    let end = log.range(&topic, 0)?.end;
    let (seen, _) = read_on(&mut *log.reader(&topic, 0, 0)?, end, ALL)?;
    let values = seen.iter().map(|record| record.3.as_slice());
    ensure!(
        values.eq(lines.iter().map(String::as_bytes)),
        "{} records",
        seen.len()
    );
    Ok(())
}

#[test]
fn both_fetchers_leave_out_the_same_aborted_records() -> Result<()> {
    let bootstrap = brokers()?;
    let topic = unique("transactions");
    open(&bootstrap, LogFetcher::Lean)?.ensure_topics(std::slice::from_ref(&topic), 1)?;
    let producers = ["one", "two"]
        .map(|name| producer(&bootstrap, &[("transactional.id", unique(name).as_str())]));
    let plain = producer(&bootstrap, &[])?;
    let mut committed = 0;
    for producer in &producers {
        producer
            .as_ref()
            .map_err(|error| anyhow!("{error}"))?
            .init_transactions(PATIENCE)?;
    }
    // Two transactions run beside each other and beside records without one; one in three is
    // aborted.
    for round in 0..12 {
        for producer in producers.iter().flatten() {
            producer.begin_transaction()?;
            send(producer, &topic, (0..20).map(|index| 10 + index))?;
        }
        send(&plain, &topic, [5].into_iter())?;
        committed += 1;
        for (index, producer) in producers.iter().flatten().enumerate() {
            if (round + index) % 3 == 0 {
                producer.abort_transaction(PATIENCE)?;
            } else {
                producer.commit_transaction(PATIENCE)?;
                committed += 20;
            }
        }
    }
    let seen = both(&bootstrap, &topic, 0)?;
    ensure!(seen.len() == committed, "{} of {committed}", seen.len());
    for from in [1, 30, 77, 200] {
        both(&bootstrap, &topic, from)?;
    }
    // One that is open hides what follows it, from both.
    let [open_one, _] = &producers;
    let open_one = open_one.as_ref().map_err(|error| anyhow!("{error}"))?;
    open_one.begin_transaction()?;
    send(open_one, &topic, [1].into_iter())?;
    send(&plain, &topic, [1].into_iter())?;
    for fetcher in FETCHERS {
        let log = open(&bootstrap, fetcher)?;
        let mut reader = log.reader(&topic, 0, 0)?;
        let (hidden, end) = read_on(&mut *reader, 0, ALL)?;
        ensure!(
            hidden == seen && end.next_offset + 2 == end.end_offset,
            "{fetcher:?}: {} {end:?}",
            hidden.len()
        );
    }
    open_one.abort_transaction(PATIENCE)?;
    ensure!(both(&bootstrap, &topic, 0)?.len() == committed + 1);
    Ok(())
}

#[test]
fn both_fetchers_read_a_compacted_topic_with_its_gaps() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // One of its own: it is to compact at once.
    let broker = Kafka::start(folder.path())?;
    let bootstrap = broker.bootstrap();
    let topic = unique("compacted");
    let settings = NewTopic::new(&topic, 1, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact")
        .set("segment.ms", "200")
        .set("min.cleanable.dirty.ratio", "0.01")
        .set("delete.retention.ms", "100");
    make(&bootstrap, &settings)?;
    let producer = producer(&bootstrap, &[("batch.num.messages", "5")])?;
    for round in 0..6 {
        for key in 0..10 {
            let (key, value) = (format!("{}", key % (4 + round)), format!("{round}"));
            producer
                .send(
                    BaseRecord::to(&topic)
                        .partition(0)
                        .key(&key)
                        .payload(&value),
                )
                .map_err(|(error, _)| anyhow!(error))?;
        }
        producer.flush(PATIENCE)?;
        std::thread::sleep(Duration::from_millis(300));
    }
    let begun = Instant::now();
    loop {
        // While it compacts, two looks one after the other may differ.
        let seen = both(&bootstrap, &topic, 0);
        let is_gapped = seen
            .as_ref()
            .is_ok_and(|seen| seen.windows(2).any(|pair| pair[1].0 > pair[0].0 + 1));
        if is_gapped && let Ok(seen) = &seen {
            println!("{} records are left", seen.len());
            let middle = seen[seen.len() / 2].0 - 1;
            if both(&bootstrap, &topic, middle).is_ok() {
                return Ok(());
            }
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "it is not compacted, or not read alike: {seen:?}"
        );
        // The broker looks every 15 s.
        std::thread::sleep(Duration::from_secs(1));
        send(&producer, &topic, [1].into_iter())?;
    }
}

fn record(text: &str) -> NewRecord {
    NewRecord {
        key: text.as_bytes().to_vec(),
        value: text.as_bytes().to_vec(),
        headers: Vec::new(),
    }
}

/// How old the end was at most that a reader knew of, while it was polled for so long.
fn oldest_end(reader: &mut dyn LogReader, lasting: Duration) -> Result<Duration> {
    let (begun, mut oldest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < lasting {
        oldest = oldest.max(reader.end_age());
        reader.poll(ALL, &mut |_| {})?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(oldest)
}

#[test]
fn a_reader_at_the_end_knows_when_that_was_asked_for() -> Result<()> {
    /// librdkafka's readers go by a probe each second.
    const FRESH: Duration = Duration::from_secs(3);
    let bootstrap = brokers()?;
    for fetcher in FETCHERS {
        let (log, topic) = (open(&bootstrap, fetcher)?, unique("ends"));
        log.ensure_topics(std::slice::from_ref(&topic), 1)?;
        log.append(&topic, 0, &[record("first")])?;
        let mut reader = log.reader(&topic, 0, 0)?;
        read_on(&mut *reader, 1, ALL)?;
        let oldest = oldest_end(&mut *reader, 2 * FRESH)?;
        ensure!(oldest < FRESH, "{fetcher:?}: {oldest:?}");
    }
    // What a transaction that is open has written is not read: nothing is known from then on.
    let (log, topic) = (open(&bootstrap, LogFetcher::Librdkafka)?, unique("ends"));
    log.ensure_topics(std::slice::from_ref(&topic), 1)?;
    let mut reader = log.reader(&topic, 0, 0)?;
    let writer = producer(
        &bootstrap,
        &[("transactional.id", unique("writer").as_str())],
    )?;
    writer.init_transactions(PATIENCE)?;
    writer.begin_transaction()?;
    send(&writer, &topic, [5].into_iter())?;
    writer.flush(PATIENCE)?;
    let written = Instant::now();
    oldest_end(&mut *reader, 2 * FRESH)?;
    let (age, since) = (reader.end_age(), written.elapsed());
    ensure!(age >= since, "{age:?} after {since:?}");
    writer.commit_transaction(PATIENCE)?;
    let end = log.range(&topic, 0)?.end;
    let (seen, _) = read_on(&mut *reader, end, ALL)?;
    ensure!(seen.len() == 1, "{} records", seen.len());
    let begun = Instant::now();
    while reader.end_age() > FRESH {
        reader.poll(ALL, &mut |_| {})?;
        ensure!(begun.elapsed() < PATIENCE, "the end stays old");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Offsets up to `end`, as the pipeline reads: a failure that may pass is tried again.
fn read_through(reader: &mut dyn LogReader, end: u64) -> Result<Vec<u64>> {
    let begun = Instant::now();
    let mut seen = Vec::new();
    loop {
        match reader.poll(ALL, &mut |record| seen.push(record.offset)) {
            Ok(at) if at.next_offset >= end => return Ok(seen),
            Ok(_) | Err(Error::Unavailable { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        ensure!(begun.elapsed() < PATIENCE, "{} records", seen.len());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_broker_that_is_killed_and_comes_back_costs_no_record() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut broker = Kafka::start(folder.path())?;
    let log = open(&broker.bootstrap(), LogFetcher::Lean)?;
    let topic = unique("input");
    log.ensure_topics(std::slice::from_ref(&topic), 1)?;
    let mut reader = log.reader(&topic, 0, 0)?;
    let mut seen = Vec::new();
    for round in 0..3_u64 {
        let records: Vec<_> = (0..100)
            .map(|index| record(&format!("{round} {index}")))
            .collect();
        log.append(&topic, 0, &records)?;
        seen.extend(read_through(&mut *reader, (round + 1) * 100)?);
        if round == 0 {
            broker.kill()?;
        } else {
            broker.pause()?;
        }
        std::thread::sleep(Duration::from_secs(2));
        if round == 0 {
            broker.restart()?;
        } else {
            broker.resume()?;
        }
    }
    ensure!(seen.len() == 300, "{}", seen.len());
    ensure!(
        seen.iter()
            .enumerate()
            .all(|(index, offset)| *offset == index as u64),
        "in order and once"
    );
    Ok(())
}

/// Polls until the reader fails.
fn failure(reader: &mut dyn LogReader) -> Result<Error> {
    let begun = Instant::now();
    loop {
        if let Err(error) = reader.poll(ALL, &mut |_| {})
            && !matches!(error, Error::Unavailable { .. })
        {
            return Ok(error);
        }
        ensure!(begun.elapsed() < PATIENCE, "the reader does not fail");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// As retention does: records before this offset are gone.
fn delete_records(bootstrap: &str, topic: &str, before: u64) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()?;
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 0, Offset::Offset(i64::try_from(before)?))?;
    let deleted =
        IoRuntime::start()?.block_on(admin.delete_records(&offsets, &AdminOptions::new()))?;
    deleted.elements().first().context("no answer")?.error()?;
    Ok(())
}

#[test]
fn retention_that_passes_a_reader_that_stands_still_ends_its_reading() -> Result<()> {
    // Far more than is fetched ahead.
    const RECORDS: u64 = 400;
    const GONE: u64 = 390;
    let bootstrap = brokers()?;
    let topic = unique("passed");
    open(&bootstrap, LogFetcher::Lean)?.ensure_topics(std::slice::from_ref(&topic), 1)?;
    let producer = producer(&bootstrap, &[("batch.num.messages", "4")])?;
    send(&producer, &topic, (0..RECORDS).map(|_| 50_000))?;
    let two = PollLimit {
        records: 2,
        bytes: usize::MAX,
    };
    let mut standing = Vec::new();
    for fetcher in FETCHERS {
        let log = open_with(&bootstrap, fetcher, 2 << 20)?;
        let mut reader = log.reader(&topic, 0, 0)?;
        let (begun, mut seen) = (Instant::now(), Vec::new());
        while seen.len() < 2 {
            reader.poll(two, &mut |record| seen.push(record.offset))?;
            ensure!(begun.elapsed() < PATIENCE, "{fetcher:?}: no records");
        }
        standing.push((fetcher, log, reader, seen));
    }
    // What is fetched ahead is there.
    std::thread::sleep(Duration::from_secs(2));
    delete_records(&bootstrap, &topic, GONE)?;
    for (fetcher, log, mut reader, mut seen) in standing {
        let begun = Instant::now();
        let error = loop {
            match reader.poll(ALL, &mut |record| seen.push(record.offset)) {
                Ok(end) => ensure!(!end.at_end, "{fetcher:?} passes over records: {end:?}"),
                Err(Error::Unavailable { .. }) => {}
                Err(error) => break error,
            }
            ensure!(begun.elapsed() < PATIENCE, "{fetcher:?} does not learn it");
            std::thread::sleep(Duration::from_millis(5));
        };
        println!("{fetcher:?}: {} records, then {error}", seen.len());
        let next = seen.len() as u64;
        ensure!(
            next < GONE && seen == Vec::from_iter(0..next),
            "{fetcher:?}: {seen:?}"
        );
        ensure!(
            matches!(error, Error::Trimmed { wanted, start: GONE, .. } if wanted == next),
            "{fetcher:?} after {next}: {error}"
        );
        drop(reader);
        let (rest, _) = read_on(&mut *log.reader(&topic, 0, GONE)?, RECORDS, ALL)?;
        ensure!(rest.len() as u64 == RECORDS - GONE, "{fetcher:?}");
    }
    Ok(())
}

#[test]
fn a_leader_that_moves_is_followed_and_a_log_that_was_cut_ends_the_reading() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = KafkaCluster::start(folder.path(), 3)?;
    let bootstrap = cluster.bootstrap();
    let topic = unique("moves");
    make(
        &bootstrap,
        &NewTopic::new(&topic, 1, TopicReplication::Variable(&[&[2, 3]]))
            .set("unclean.leader.election.enable", "true")
            .set("min.insync.replicas", "1"),
    )?;
    let logs = FETCHERS.map(|fetcher| open(&bootstrap, fetcher));
    let mut logs = logs.into_iter().collect::<Result<Vec<_>>>()?;
    let mut readers = logs
        .iter()
        .map(|log| Ok(log.reader(&topic, 0, 0)?))
        .collect::<Result<Vec<_>>>()?;
    let append = |from: u64, to: u64| -> Result<()> {
        let begun = Instant::now();
        let records: Vec<_> = (from..to).map(|index| record(&index.to_string())).collect();
        // A producer of its own: a leader that was killed is found anew.
        while let Err(error) = open(&bootstrap, LogFetcher::Lean)?.append(&topic, 0, &records) {
            ensure!(begun.elapsed() < PATIENCE, "{error}");
        }
        Ok(())
    };
    let mut follow = |from: u64, to: u64| -> Result<()> {
        for reader in &mut readers {
            let (seen, _) = read_on(&mut **reader, to, ALL)?;
            let offsets: Vec<u64> = seen.iter().map(|record| record.0).collect();
            ensure!(offsets == Vec::from_iter(from..to), "{offsets:?}");
        }
        Ok(())
    };
    append(0, 10)?;
    follow(0, 10)?;
    // The other replica leads, and has all.
    cluster.kill(2)?;
    append(10, 20)?;
    follow(10, 20)?;
    cluster.launch(2)?;
    // The former leader has to catch up before it is the only one.
    cluster.wait_in_sync(&topic, 2)?;
    cluster.kill(3)?;
    append(20, 30)?;
    follow(20, 30)?;
    // Now only 2 has the last ten. It goes, and 3 leads without them.
    cluster.kill(2)?;
    cluster.launch(3)?;
    append(20, 23)?;
    for (reader, fetcher) in readers.iter_mut().zip(FETCHERS) {
        let error = failure(&mut **reader)?;
        println!("{fetcher:?}: {error}");
        ensure!(matches!(error, Error::Refused(_)), "{fetcher:?}: {error}");
    }
    drop(readers);
    logs.clear();
    Ok(())
}
