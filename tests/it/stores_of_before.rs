//! Checkpoint stores of earlier builds: opened and migrated, with everything where it was.
//!
//! `data/stores` keeps one of each version that is left behind, written by the build of its time:
//! two of three partitions have outputs of every kind, dead letters and files in every stage, and
//! each consumer is somewhere else.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use theatre_actors::outputs::OutputKind::{self, Alert as A, Outcome as O, Window as W};
use theatre_actors::ports::FileStage::{Completed, Loaded, Lost, Quarantined, Registered};
use theatre_actors::ports::{CheckpointStore, Error, Export, FileStage, OutputFilter};
use theatre_actors::position::Positions;
use theatre_config::store::StoreConfig;
use theatre_embedded::store::EmbeddedStore;
use theatre_schemas::records::{Alert, Outcome};
use theatre_system::blocking::IoRuntime;
use theatre_tests::servers;

/// A kind of output and a stage of a file that no build knows yet.
const FROM_THE_FUTURE: &str = "UPDATE fact SET kind = 77 WHERE partition = 0 AND sequence = 2;
    UPDATE lake_file SET stage = 77 WHERE partition = 0 AND number = 1";

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/stores")
        .join(name)
}

/// A copy of the embedded store of version 0.
fn embedded(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("store");
    std::fs::copy(kept("embedded-v0.db"), &path)?;
    Ok(path)
}

/// The store of version 2 in a database of its own.
fn postgres() -> Result<String> {
    let (url, sql) = (
        servers::database()?,
        std::fs::read_to_string(kept("postgres-0002.sql"))?,
    );
    execute(&url, &sql)?;
    Ok(url)
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

/// The positions of all consumers of a partition.
fn positions(store: &dyn CheckpointStore, partition: u32) -> Result<String> {
    let cursors = store.status(partition)?.cursors;
    let positions: Vec<String> = cursors
        .iter()
        .map(|(name, position)| format!("{name} {position}"))
        .collect();
    Ok(positions.join(", "))
}

/// Everything that the stores were filled with is there, each consumer's position above all.
fn is_as_it_was(store: &dyn CheckpointStore) -> Result<()> {
    let topics = ["telemetry".to_owned(), "events".to_owned()];
    ensure!(store.layout()? == Some((topics.to_vec(), 3)));
    for (partition, wanted) in [
        (0, "dead_letter_relay 1, exporter 3, relay 4"),
        (1, "exporter 1, relay 2"),
        (2, ""),
    ] {
        let found = positions(store, partition)?;
        ensure!(found == wanted, "partition {partition}: {found}");
    }
    let status = store.status(0)?;
    ensure!(
        (status.epoch, status.last_output, status.last_dead) == (2, 5, 2)
            && status.lake_cuts == 1
            && status.floor == Positions::from(vec![12, 2])
            && status.lake_positions == Positions::from(vec![9, 1])
            && store.lake_state(0)? == [7; 9],
        "{status:?}"
    );
    let status = store.status(1)?;
    ensure!(
        (status.epoch, status.last_output, status.last_dead) == (1, 2, 2),
        "{status:?}"
    );
    ensure!(store.status(2)?.epoch == 1 && store.status(3)?.epoch == 0);
    let kinds = |partition| -> Result<Vec<OutputKind>> {
        let outputs = store.outputs_after(partition, 0, 99)?;
        Ok(outputs.iter().map(|stored| stored.output.kind).collect())
    };
    ensure!(kinds(0)? == [W, A, W, O, W] && kinds(1)? == [A, O]);
    let alerts = store.find_outputs(&OutputFilter {
        kind: Some(A),
        robot_id: Some("r1".to_owned()),
        ..OutputFilter::default()
    })?;
    ensure!(alerts.len() == 1 && Alert::decode(&alerts[0].output.payload)?.value == Some(91.5));
    let outcomes = store.find_outputs(&OutputFilter {
        kind: Some(O),
        subject: Some("p-7".to_owned()),
        ..OutputFilter::default()
    })?;
    ensure!(outcomes.len() == 1);
    ensure!(Outcome::decode(&outcomes[0].output.payload)?.telemetry_rows == 3600);
    ensure!(
        store.dead_after(1, 0, 9)?.len() == 2 && store.dead_after(0, 1, 9)?[0].dead.offset == 5
    );
    ensure!(store.processors(0)?.len() == 2 && store.processors(1)?[0].state == [1; 40]);
    let files = store.all_files()?;
    let stages: Vec<FileStage> = files.iter().map(|file| file.stage).collect();
    let wanted = [Loaded, Quarantined, Completed, Lost, Registered, Registered];
    ensure!(stages == wanted, "{stages:?}");
    Ok(())
}

/// A new owner goes on: under a new epoch, from where each consumer was.
fn goes_on(store: &dyn CheckpointStore) -> Result<()> {
    let epoch = store.acquire(0)?;
    ensure!(epoch == 3, "epochs go on: {epoch}");
    let export = |after, up_to| Export {
        consumer: "exporter".to_owned(),
        after,
        up_to,
        files: Vec::new(),
    };
    ensure!(
        matches!(
            store.commit_export(0, epoch, &export(0, 5)),
            Err(Error::Unavailable { .. })
        ),
        "an export that begins elsewhere is overtaken"
    );
    store.commit_export(0, epoch, &export(3, 5))?;
    store.advance_cursor(0, epoch, "relay", 3)?;
    store.advance_cursor(0, epoch, "dead_letter_relay", 2)?;
    store.advance_cursor(0, epoch, "webhook", 1)?;
    let found = positions(store, 0)?;
    ensure!(
        found == "dead_letter_relay 2, exporter 5, relay 4, webhook 1",
        "{found}"
    );
    Ok(())
}

/// Whatever has a code that is not known is refused, by number; the rest is read.
fn unknown_codes_are_refused(store: &dyn CheckpointStore) -> Result<()> {
    let refusals = [
        (
            "an output's kind",
            store.outputs_after(0, 0, 9).map(drop).err(),
        ),
        (
            "an output's kind",
            store.find_outputs(&OutputFilter::default()).map(drop).err(),
        ),
        ("a lake file's stage", store.all_files().map(drop).err()),
    ];
    for (what, refused) in refusals {
        ensure!(
            matches!(&refused, Some(Error::Refused(why)) if why.contains(what) && why.contains("code 77")),
            "{refused:?}"
        );
    }
    ensure!(store.outputs_after(1, 0, 9)?.len() == 2);
    Ok(())
}

#[test]
fn an_embedded_store_of_before_is_migrated_in_place() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = embedded(folder.path())?;
    is_as_it_was(&EmbeddedStore::open(&path)?)?;
    // Once is enough, and it may be opened for reading from now on.
    ensure!(EmbeddedStore::migrate(&path)?.is_empty());
    is_as_it_was(&EmbeddedStore::open_read_only(&path)?)?;
    goes_on(&EmbeddedStore::open(&path)?)
}

#[test]
fn an_embedded_store_of_before_that_is_opened_several_times_at_once_is_migrated_once() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let path = embedded(folder.path())?;
    let opened: Vec<Result<EmbeddedStore, Error>> = std::thread::scope(|scope| {
        let open = || scope.spawn(|| EmbeddedStore::open(&path));
        let threads: Vec<_> = std::iter::repeat_with(open).take(4).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    });
    for store in opened {
        is_as_it_was(&store?)?;
    }
    Ok(())
}

#[test]
fn a_look_at_an_embedded_store_of_before_is_refused_with_what_to_do_and_changes_nothing()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = embedded(folder.path())?;
    let before = std::fs::read(&path)?;
    let refused = EmbeddedStore::open_read_only(&path).err();
    ensure!(
        matches!(&refused, Some(Error::Refused(why)) if why.contains("earlier build") && why.contains("`theatre migrate`")),
        "{refused:?}"
    );
    ensure!(std::fs::read(&path)? == before);
    let applied = EmbeddedStore::migrate(&path)?;
    let all = [
        "0001_cursors",
        "0002_undelivered",
        "0003_dead_letters",
        "0004_dead_replay_indexes",
        "0005_pages",
        "0006_file_times",
    ];
    ensure!(applied == all, "{applied:?}");
    is_as_it_was(&EmbeddedStore::open_read_only(&path)?)
}

#[test]
fn an_embedded_store_of_a_later_build_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = embedded(folder.path())?;
    rusqlite::Connection::open(&path)?.pragma_update(None, "user_version", 99)?;
    for refused in [
        EmbeddedStore::open(&path).err(),
        EmbeddedStore::open_read_only(&path).err(),
    ] {
        ensure!(
            matches!(&refused, Some(Error::Refused(why)) if why.contains("version 99") && why.contains("at least as new")),
            "{refused:?}"
        );
    }
    Ok(())
}

#[test]
fn a_postgres_store_of_before_is_refused_until_the_command_has_migrated_it() -> Result<()> {
    let (url, config, io) = (postgres()?, StoreConfig::default(), IoRuntime::start()?);
    execute(
        &url,
        "CREATE ROLE serves_before; GRANT USAGE ON SCHEMA theatre TO serves_before;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA theatre TO serves_before",
    )?;
    let refused = theatre_postgres::open(&url, &config, &io).err();
    ensure!(
        matches!(&refused, Some(Error::Refused(why)) if why.contains("version 2") && why.contains("`theatre migrate`")),
        "{refused:?}"
    );
    let applied = theatre_postgres::migrate(&url, &config, &io)?;
    ensure!(
        applied
            == [
                "0003_cursors",
                "0004_access",
                "0005_undelivered",
                "0006_dead_letters",
                "0007_dead_replay_indexes",
                "0008_pages",
                "0009_tables",
                "0010_works_with",
                "0011_file_times",
                "tables"
            ],
        "{applied:?}"
    );
    is_as_it_was(&*theatre_postgres::open(&url, &config, &io)?)?;
    goes_on(&*theatre_postgres::open(&url, &config, &io)?)?;
    ensure!(theatre_postgres::migrate(&url, &config, &io)?.is_empty());
    // What was granted to the service on the partitions holds for their cursors.
    execute(
        &url,
        "SET ROLE serves_before; UPDATE theatre.cursor SET position = position;
         INSERT INTO theatre.cursor VALUES (9, 'x', 1); DELETE FROM theatre.cursor WHERE partition = 9;
         INSERT INTO theatre.undelivered VALUES ('x', 9, 1, 'why', 1); DELETE FROM theatre.undelivered;
         INSERT INTO theatre.dead_replay VALUES (9, 1, 1, 0, 9, 0, NULL, 1); DELETE FROM theatre.dead_replay;
         RESET ROLE; DROP OWNED BY serves_before; DROP ROLE serves_before",
    )
}

#[test]
fn codes_that_this_build_does_not_know_are_errors_in_the_embedded_store() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = embedded(folder.path())?;
    let store = EmbeddedStore::open(&path)?;
    rusqlite::Connection::open(&path)?.execute_batch(FROM_THE_FUTURE)?;
    unknown_codes_are_refused(&store)
}

#[test]
fn codes_that_this_build_does_not_know_are_errors_in_the_store_on_postgres() -> Result<()> {
    let (url, config, io) = (postgres()?, StoreConfig::default(), IoRuntime::start()?);
    theatre_postgres::migrate(&url, &config, &io)?;
    execute(
        &url,
        &format!("SET search_path = theatre; {FROM_THE_FUTURE}"),
    )?;
    unknown_codes_are_refused(&*theatre_postgres::open(&url, &config, &io)?)
}
