//! The checkpoint store on a real PostgreSQL: owners that fight, a server that dies, tables and
//! passwords that do not fit.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::{
    CheckpointStore, CommitOutcome, Epoch, Error, PartitionCommit, ProcessorSave,
};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::rules::Micros;
use theatre_actors::time::LogTime;
use theatre_config::store::StoreConfig;
use theatre_dev::postgres::{Durability, Postgres};
use theatre_system::blocking::IoRuntime;
use theatre_tests::{run, servers, theatre};

mod unknown_fate;

const FACTS_PER_SAVE: usize = 3;
/// All migrations of the store's tables, in order, and the tables that people read.
const MIGRATIONS: [&str; 12] = [
    "0001_checkpoint",
    "0002_past_layouts",
    "0003_cursors",
    "0004_access",
    "0005_undelivered",
    "0006_dead_letters",
    "0007_dead_replay_indexes",
    "0008_pages",
    "0009_tables",
    "0010_works_with",
    "0011_file_times",
    "tables",
];

fn commit(partition: Partition, epoch: Epoch, processor: &str, number: u64) -> PartitionCommit {
    let output = |index: usize| OutputEvent {
        kind: OutputKind::Alert,
        robot_id: processor.to_owned(),
        id: format!("{processor}-{number}-{index}"),
        subject: "rule".to_owned(),
        revision: 0,
        event_time: number as i64,
        payload: vec![index as u8; 200],
    };
    let positions = Positions::from(vec![number]);
    let save = ProcessorSave {
        processor: processor.to_owned(),
        save_number: number,
        positions: positions.clone(),
        state: vec![number as u8; 2000],
        outputs: (0..FACTS_PER_SAVE).map(output).collect(),
        dead: Vec::new(),
    };
    PartitionCommit {
        partition,
        epoch,
        processors: vec![save],
        floor: positions,
    }
}

fn ids(commit: &PartitionCommit) -> impl Iterator<Item = String> {
    commit
        .processors
        .iter()
        .flat_map(|save| &save.outputs)
        .map(|output| output.id.clone())
}

/// The outputs of a partition are exactly these, each once, under dense numbers.
fn holds_exactly(
    store: &dyn CheckpointStore,
    partition: Partition,
    wanted: &BTreeSet<String>,
) -> Result<()> {
    let outputs = store.outputs_after(partition, 0, usize::MAX)?;
    let found: BTreeSet<String> = outputs
        .iter()
        .map(|output| output.output.id.clone())
        .collect();
    ensure!(
        outputs
            .iter()
            .map(|output| output.sequence)
            .eq(1..=wanted.len() as u64),
        "{} outputs of {} are not numbered densely",
        outputs.len(),
        wanted.len()
    );
    ensure!(
        found == *wanted,
        "{} of {} committed outputs are there",
        found.intersection(wanted).count(),
        wanted.len()
    );
    Ok(())
}

/// An empty store on its own database.
fn store(config: &StoreConfig) -> Result<(String, Arc<dyn CheckpointStore>)> {
    let (url, io) = (servers::database()?, IoRuntime::start()?);
    theatre_postgres::migrate(&url, config, &io)?;
    let store = theatre_postgres::open(&url, config, &io)?;
    Ok((url, store))
}

fn execute(url: &str, sql: &str) -> Result<()> {
    Ok(IoRuntime::start()?.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await
    })?)
}

#[test]
fn owners_that_fight_over_a_partition_leave_no_gap_and_nothing_twice() -> Result<()> {
    let (url, store) = store(&StoreConfig::default())?;
    let fight = |thread: usize| -> Result<(Vec<String>, usize)> {
        let store = theatre_postgres::open(&url, &StoreConfig::default(), &IoRuntime::start()?)?;
        let (mut written, mut lost, mut number) = (Vec::new(), 0, 0);
        while number < 60 {
            let epoch = store.acquire(0)?;
            loop {
                number += 1;
                let commit = commit(0, epoch, &format!("t{thread}"), number);
                match store
                    .commit(std::slice::from_ref(&commit), LogTime(1))?
                    .as_slice()
                {
                    [CommitOutcome::Committed { .. }] => written.extend(ids(&commit)),
                    [CommitOutcome::Stale { current }] => {
                        ensure!(*current > epoch, "epochs only grow");
                        lost += 1;
                        break;
                    }
                    other => anyhow::bail!("{other:?}"),
                }
                if number.is_multiple_of(7) {
                    break;
                }
            }
        }
        Ok((written, lost))
    };
    let fought: Result<Vec<_>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|thread| scope.spawn(move || fight(thread)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    });
    let fought = fought?;
    let lost: usize = fought.iter().map(|(_, lost)| lost).sum();
    ensure!(lost > 0, "no owner lost the partition: this proves nothing");
    holds_exactly(
        &*store,
        0,
        &fought
            .into_iter()
            .flat_map(|(written, _)| written)
            .collect(),
    )
}

#[test]
fn group_commits_over_the_same_partitions_do_not_block_each_other_for_good() -> Result<()> {
    let (url, store) = store(&StoreConfig::default())?;
    let epochs = [store.acquire(0)?, store.acquire(1)?, store.acquire(2)?];
    let save = |thread: u32| -> Result<()> {
        let store = theatre_postgres::open(&url, &StoreConfig::default(), &IoRuntime::start()?)?;
        for number in 1..=40 {
            let mut group: Vec<_> = (0..3)
                .map(|partition| {
                    commit(
                        partition,
                        epochs[partition as usize],
                        &format!("p{partition}t{thread}"),
                        number,
                    )
                })
                .collect();
            group.rotate_left(thread as usize % 3);
            let outcomes = store.commit(&group, LogTime(1))?;
            ensure!(
                outcomes
                    .iter()
                    .all(|outcome| matches!(outcome, CommitOutcome::Committed { .. })),
                "{outcomes:?}"
            );
        }
        Ok(())
    };
    let saved: Result<Vec<()>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| scope.spawn(move || save(thread)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    });
    saved?;
    for partition in 0..3 {
        ensure!(store.status(partition)?.last_output == 4 * 40 * FACTS_PER_SAVE as u64);
    }
    Ok(())
}

#[test]
fn a_server_that_dies_in_mid_commit_keeps_every_output_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Postgres::start(&folder.path().join("postgres"), Durability::Safe)?;
    let (url, io) = (server.create_database("store")?, IoRuntime::start()?);
    theatre_postgres::migrate(&url, &StoreConfig::default(), &io)?;
    let store = theatre_postgres::open(&url, &StoreConfig::default(), &io)?;
    let (stop, failed, answered) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let save = |partition: Partition| -> Result<BTreeSet<String>> {
        let epoch = store.acquire(partition)?;
        let mut written = BTreeSet::new();
        for number in 1.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let commit = commit(partition, epoch, &format!("p{partition}"), number);
            loop {
                match store.commit(std::slice::from_ref(&commit), LogTime(1)) {
                    Ok(outcomes) => {
                        ensure!(
                            matches!(outcomes[..], [CommitOutcome::Committed { .. }]),
                            "{outcomes:?}"
                        );
                        break;
                    }
                    Err(Error::Unavailable { .. }) => _ = failed.fetch_add(1, Ordering::Relaxed),
                    Err(other) => return Err(other.into()),
                }
                thread::sleep(Duration::from_millis(20));
            }
            answered.fetch_add(1, Ordering::Relaxed);
            written.extend(ids(&commit));
        }
        Ok(written)
    };
    let written: Result<Vec<_>> = thread::scope(|scope| {
        let threads = [0, 1, 2].map(|partition| scope.spawn(move || save(partition)));
        let killed = (0..4).try_for_each(|_| -> Result<()> {
            thread::sleep(Duration::from_millis(400));
            server.kill()?;
            server.restart()?;
            let before = answered.load(Ordering::Relaxed);
            let deadline = Instant::now() + Duration::from_secs(20);
            while answered.load(Ordering::Relaxed) < before + 10 {
                ensure!(Instant::now() < deadline, "commits do not go on");
                thread::sleep(Duration::from_millis(10));
            }
            store.status(0)?;
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let written = threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect();
        killed.and(written)
    });
    ensure!(
        failed.load(Ordering::Relaxed) > 0,
        "no commit failed: this proves nothing"
    );
    for (partition, written) in written?.into_iter().enumerate() {
        holds_exactly(&*store, partition as Partition, &written)?;
    }
    Ok(())
}

#[test]
fn slow_readers_hold_up_no_commit_and_locks_are_not_waited_for_long() -> Result<()> {
    let milliseconds = |milliseconds: i64| Micros(milliseconds * 1000);
    let config = StoreConfig {
        pool: 1,
        acquire_timeout: milliseconds(300),
        lock_timeout: milliseconds(1500),
        ..StoreConfig::default()
    };
    let (url, store) = store(&config)?;
    let epoch = store.acquire(0)?;
    let io = IoRuntime::start()?;
    let mut other = io.block_on(PgConnection::connect(&url))?;
    io.block_on(
        sqlx::raw_sql("BEGIN; LOCK TABLE theatre.lake_file IN ACCESS EXCLUSIVE MODE")
            .execute(&mut other),
    )?;
    thread::scope(|scope| -> Result<()> {
        let slow = scope.spawn(|| store.all_files());
        thread::sleep(Duration::from_millis(200));
        let started = Instant::now();
        store.commit(&[commit(0, epoch, "r", 1)], LogTime(1))?;
        ensure!(
            started.elapsed() < Duration::from_millis(250),
            "a commit took {:?}",
            started.elapsed()
        );
        let busy = store.layout();
        ensure!(
            matches!(&busy, Err(Error::Unavailable { why, .. }) if why.contains("all 1 connections")),
            "{busy:?}"
        );
        let slow = slow.join().expect("it does not panic");
        ensure!(
            matches!(&slow, Err(Error::Unavailable { why, .. }) if why.contains("lock timeout")),
            "{slow:?}"
        );
        Ok(())
    })?;
    io.block_on(
        sqlx::raw_sql("ROLLBACK; BEGIN; SELECT FROM theatre.partition FOR UPDATE")
            .execute(&mut other),
    )?;
    let held = store.commit(&[commit(0, epoch, "r", 2)], LogTime(1));
    ensure!(
        matches!(&held, Err(Error::Unavailable { why, .. }) if why.contains("lock timeout")),
        "{held:?}"
    );
    io.block_on(sqlx::raw_sql("ROLLBACK").execute(&mut other))?;
    store.commit(&[commit(0, epoch, "r", 2)], LogTime(1))?;
    ensure!(
        store.all_files()?.is_empty() && store.status(0)?.last_output == 2 * FACTS_PER_SAVE as u64
    );
    Ok(())
}

fn refusal(url: &str, config: &StoreConfig) -> Result<String> {
    match theatre_postgres::open(url, config, &IoRuntime::start()?) {
        Err(Error::Refused(why)) => Ok(why),
        Err(other) => anyhow::bail!("not refused: {other}"),
        Ok(_) => anyhow::bail!("opened"),
    }
}

#[test]
fn tables_of_another_version_are_refused_with_what_to_do() -> Result<()> {
    let (url, io, config) = (
        servers::database()?,
        IoRuntime::start()?,
        StoreConfig::default(),
    );
    ensure!(refusal(&url, &config)?.contains("run `theatre migrate`"));
    ensure!(
        theatre_postgres::migrate(&url, &config, &io)? == MIGRATIONS
            && theatre_postgres::migrate(&url, &config, &io)?.is_empty()
    );
    theatre_postgres::open(&url, &config, &io)?;
    // A later build adds something, and nothing that this one cannot work with: an upgrade that is
    // under way, or was taken back.
    execute(
        &url,
        "INSERT INTO theatre._theatre_migrations VALUES (99, 'later', now(), true, '', 0); ALTER TABLE theatre.partition ADD COLUMN later INTEGER",
    )?;
    let store = theatre_postgres::open(&url, &config, &io)?;
    let epoch = store.acquire(0)?;
    let outcomes = store.commit(&[commit(0, epoch, "p", 1)], LogTime(1))?;
    ensure!(
        matches!(outcomes[..], [CommitOutcome::Committed { .. }]),
        "{outcomes:?}"
    );
    ensure!(
        theatre_postgres::migrate(&url, &config, &io)?.is_empty(),
        "there is nothing to make, and nothing is taken away"
    );
    // It says that this one cannot.
    execute(&url, "UPDATE theatre.works_with SET version = 99")?;
    let refused = refusal(&url, &config)?;
    ensure!(
        refused.contains("a build at least as new") && refused.contains("version 99"),
        "{refused}"
    );
    ensure!(
        theatre_postgres::migrate(&url, &config, &io).is_err(),
        "what is newer is not touched either"
    );
    execute(
        &url,
        "DELETE FROM theatre._theatre_migrations WHERE version = 99; UPDATE theatre._theatre_migrations SET checksum = ''",
    )?;
    ensure!(refusal(&url, &config)?.contains("never released"));
    for round in 0..5 {
        let other = StoreConfig {
            schema: format!("other_{round}"),
            ..StoreConfig::default()
        };
        let together: Vec<_> = thread::scope(|scope| {
            let migrate = || theatre_postgres::migrate(&url, &other, &IoRuntime::start()?);
            let threads = [(); 3].map(|()| scope.spawn(migrate));
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no thread panics"))
                .collect()
        });
        let applied: Vec<_> = together
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect();
        ensure!(
            !applied.is_empty()
                && applied
                    .iter()
                    .all(|name| MIGRATIONS.contains(&name.as_str())),
            "several at once: {applied:?}"
        );
        theatre_postgres::open(&url, &other, &io)?;
    }
    Ok(())
}

#[test]
fn the_command_makes_the_tables_and_nothing_prints_the_password() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = servers::database()?.replacen("theatre@", "theatre:hush@", 1);
    let file = folder.path().join("theatre.toml");
    std::fs::write(&file, format!("[store]\nurl = \"{url}\"\n"))?;
    let config = ["--config", &file.to_string_lossy()].map(str::to_owned);
    let with = |arguments: &[&'static str]| -> Vec<String> {
        arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .chain(config.clone())
            .collect()
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let arguments = with(&["state", "show"]);
    let before = theatre(
        folder.path(),
        &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
    )?
    .output()?;
    let said = text(&before.stderr);
    ensure!(
        !before.status.success() && said.contains("theatre migrate") && !said.contains("hush"),
        "{said}"
    );
    let migrate = with(&["migrate"]);
    let migrate: Vec<&str> = migrate.iter().map(String::as_str).collect();
    ensure!(
        text(&run(folder.path(), &migrate)?.stdout)
            == MIGRATIONS.map(|name| format!("applied {name}\n")).concat()
    );
    ensure!(text(&run(folder.path(), &migrate)?.stderr).contains("up to date"));
    for shown in [
        with(&["config", "show"]),
        with(&["config", "show", "--origin"]),
    ] {
        let shown = run(
            folder.path(),
            &shown.iter().map(String::as_str).collect::<Vec<_>>(),
        )?;
        let shown = text(&shown.stdout) + &text(&shown.stderr);
        ensure!(
            shown.contains("theatre:***@127.0.0.1") && !shown.contains("hush"),
            "{shown}"
        );
    }
    Ok(())
}

/// A server that asks the role `guarded` for its password.
fn guarded(root: &Path) -> Result<(Postgres, String)> {
    let mut server = Postgres::start(root, Durability::Fast)?;
    let url = server.create_database("store")?;
    execute(&url, "CREATE ROLE guarded LOGIN PASSWORD 'right'")?;
    let rules = root.join("data/pg_hba.conf");
    let text = std::fs::read_to_string(&rules)?;
    std::fs::write(
        &rules,
        format!("host all guarded 127.0.0.1/32 scram-sha-256\n{text}"),
    )?;
    server.restart()?;
    Ok((server, url))
}

#[test]
fn passwords_and_rights_that_do_not_fit_are_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_server, owner) = guarded(&folder.path().join("postgres"))?;
    let (io, config) = (IoRuntime::start()?, StoreConfig::default());
    theatre_postgres::migrate(&owner, &config, &io)?;
    let guarded = |password: &str| owner.replacen("theatre@", &format!("guarded:{password}@"), 1);
    let why = refusal(&guarded("hush"), &config)?;
    ensure!(
        why.contains("password")
            && why.contains("guarded")
            && why.contains("127.0.0.1")
            && !why.contains("hush"),
        "{why}"
    );
    let why = refusal(&guarded("right"), &config)?;
    ensure!(
        why.contains("permission denied") && why.contains("grant USAGE") && !why.contains("right@"),
        "{why}"
    );
    execute(
        &owner,
        "GRANT USAGE ON SCHEMA theatre TO guarded; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA theatre TO guarded",
    )?;
    let file = folder.path().join("password");
    std::fs::write(&file, "right\n")?;
    let by_file = StoreConfig {
        password_file: Some(file.clone().into()),
        ..StoreConfig::default()
    };
    let store = theatre_postgres::open(&guarded("hush"), &by_file, &io)?;
    let epoch = store.acquire(0)?;
    store.commit(&[commit(0, epoch, "r", 1)], LogTime(1))?;
    ensure!(
        store.status(0)?.last_output == FACTS_PER_SAVE as u64,
        "a user without rights on the schema itself runs the service"
    );
    execute(
        &owner,
        "ALTER ROLE guarded PASSWORD 'changed'; SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'guarded'",
    )?;
    std::fs::write(&file, "changed\n")?;
    store.commit(&[commit(0, epoch, "r", 2)], LogTime(1))?;
    ensure!(
        store.status(0)?.last_output == 2 * FACTS_PER_SAVE as u64,
        "a changed password is read again"
    );
    // An operator changes it in the server and in the file at two moments, and the file may be
    // away between them.
    execute(
        &owner,
        "ALTER ROLE guarded PASSWORD 'next'; SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'guarded'",
    )?;
    let passes = |named: &str| match store.commit(&[commit(0, epoch, "r", 3)], LogTime(1)) {
        Err(Error::Unavailable { why, .. }) if why.contains(named) => Ok(()),
        other => anyhow::bail!("{named}: {other:?}"),
    };
    passes("password authentication failed")?;
    std::fs::remove_file(&file)?;
    passes("password_file")?;
    std::fs::write(&file, "next\n")?;
    store.commit(&[commit(0, epoch, "r", 3)], LogTime(1))?;
    ensure!(
        store.status(0)?.last_output == 3 * FACTS_PER_SAVE as u64,
        "what failed meanwhile is committed once"
    );
    std::fs::remove_file(&file)?;
    ensure!(refusal(&guarded("hush"), &by_file)?.contains("password_file"));
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_said_within_seconds() -> Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = StoreConfig {
        connect_timeout: Micros(1_000_000),
        ..StoreConfig::default()
    };
    for (port, cause) in [
        (silent.local_addr()?.port(), "no answer"),
        (closed, "refused"),
    ] {
        let started = Instant::now();
        let opened = theatre_postgres::open(
            &format!("postgres://theatre:hush@127.0.0.1:{port}/store"),
            &config,
            &IoRuntime::start()?,
        );
        let why = opened.err().context("opened")?.to_string();
        ensure!(
            started.elapsed() < Duration::from_secs(4),
            "{why} after {:?}",
            started.elapsed()
        );
        ensure!(
            why.contains(&format!("127.0.0.1:{port}/store"))
                && why.contains(cause)
                && !why.contains("hush"),
            "{why}"
        );
    }
    let missing = servers::database()? + "_not";
    ensure!(refusal(&missing, &config)?.contains("create the database"));
    Ok(())
}
