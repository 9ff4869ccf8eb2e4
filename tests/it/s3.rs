//! The lake on S3, against a real server that speaks it, and with one that refuses and hangs in
//! between.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use theatre::adapters::{Access, Adapters};
use theatre_actors::ports::{Error, FileStage, Lake, LakeCut, LakeFile};
use theatre_actors::rules::Micros;
use theatre_config::lake::LakeConfig;
use theatre_dev::object_store::ObjectStore;
use theatre_embedded::data_dir::DataDir;
use theatre_s3::S3Lake;
use theatre_system::blocking::IoRuntime;
use theatre_tests::deployment::Deployment;
use theatre_tests::fault_proxy::{FaultProxy, Mode};

const URL: &str = "s3://lake/theatre/one";

/// An object store with a bucket.
struct Store {
    objects: ObjectStore,
    folder: tempfile::TempDir,
}

impl Store {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let objects = ObjectStore::start(folder.path(), "127.0.0.1:0")?;
        objects.create_bucket("lake")?;
        Ok(Self { objects, folder })
    }

    /// The lake as a process that has just started sees it.
    fn lake(&self) -> Result<S3Lake> {
        Ok(lake(URL, self.objects.address())?)
    }

    /// Files of uploads that are open, and of their parts.
    fn open_uploads(&self) -> Result<usize> {
        let names = std::fs::read_dir(self.folder.path())?.collect::<std::io::Result<Vec<_>>>()?;
        Ok(names
            .iter()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".upload"))
            .count())
    }

    /// Markers of the lake.
    fn markers(&self) -> Result<usize> {
        let attempts = self.folder.path().join("lake/theatre/one/.uploads");
        let mut count = 0;
        for attempt in std::fs::read_dir(attempts)? {
            count += std::fs::read_dir(attempt?.path())?.count();
        }
        Ok(count)
    }
}

/// Impatient, so that an outage takes a test seconds.
fn config(address: SocketAddr) -> LakeConfig {
    LakeConfig {
        endpoint: Some(format!("http://{address}")),
        region: Some("eu-central-1".to_owned()),
        path_style: true,
        part_bytes: 5 << 20,
        parts_in_flight: 2,
        attempt_timeout: Micros(2_000_000),
        operation_timeout: Micros(4_000_000),
        ..LakeConfig::default()
    }
}

fn lake(url: &str, address: SocketAddr) -> theatre_actors::ports::Result<S3Lake> {
    S3Lake::open(
        url,
        &config(address),
        Some(ObjectStore::credentials()),
        &IoRuntime::start()?,
    )
}

/// Bytes that repeat nowhere near a part's length.
fn content(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

fn seal(
    lake: &dyn Lake,
    path: &str,
    attempt: &str,
    bytes: &[u8],
) -> theatre_actors::ports::Result<String> {
    let mut upload = lake.begin(path, attempt)?;
    for piece in bytes.chunks(700_000) {
        upload.write(piece)?;
    }
    upload.seal()
}

fn eventually(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !holds()? {
        ensure!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn a_bucket_that_is_missing_is_created_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let objects = ObjectStore::start(folder.path(), "127.0.0.1:0")?;
    let create = |credentials| {
        theatre_s3::create_bucket_as(
            URL,
            &config(objects.address()),
            Some(credentials),
            &IoRuntime::start()?,
        )
    };
    ensure!(create(ObjectStore::credentials())?, "it was there before");
    ensure!(!create(ObjectStore::credentials())?, "it is created again");
    lake(URL, objects.address())?;
    let stranger = aws_credential_types::Credentials::new("a", "b", None, None, "test");
    let refused = create(stranger).expect_err("keys that are not known");
    ensure!(matches!(refused, Error::Refused(_)), "{refused}");
    Ok(())
}

#[test]
fn a_file_of_several_parts_is_completed_by_another_process() -> Result<()> {
    let store = Store::start()?;
    let bytes = content((12 << 20) + 7);
    let upload = seal(&store.lake()?, "d/x/1.parquet", "p0-e1-1", &bytes)?;
    ensure!(
        upload.starts_with("p0-e1-1 ") && upload.matches("etag").count() == 3,
        "{upload}"
    );
    let next = store.lake()?;
    ensure!(
        next.list("")?.is_empty(),
        "not visible before it is completed"
    );
    next.complete("d/x/1.parquet", &upload)?;
    ensure!(
        next.read("d/x/1.parquet")? == bytes,
        "the bytes are not the file's"
    );
    ensure!(
        next.location("d/x/1.parquet").as_deref() == Some("s3://lake/theatre/one/d/x/1.parquet")
    );
    ensure!(
        store.open_uploads()? == 0 && store.markers()? == 0,
        "a completed upload leaves nothing behind"
    );
    Ok(())
}

#[test]
fn a_whole_number_of_parts_and_an_empty_file_are_files_too() -> Result<()> {
    let store = Store::start()?;
    let lake = store.lake()?;
    for (path, bytes) in [
        ("d/two.parquet", content(10 << 20)),
        ("d/none.parquet", Vec::new()),
    ] {
        let upload = seal(&lake, path, "p0-e1-1", &bytes)?;
        lake.complete(path, &upload)?;
        ensure!(lake.read(path)? == bytes, "{path}");
    }
    Ok(())
}

#[test]
fn a_sweep_ends_orphans_only() -> Result<()> {
    let store = Store::start()?;
    let lake = store.lake()?;
    let kept = seal(&lake, "d/1.parquet", "p1-e1-1", b"kept")?;
    let orphan = seal(&lake, "d/2.parquet", "p1-e1-2", b"orphan")?;
    // One path twice, as after a restart at the same cut: the upload that was registered is
    // distinguished from the other.
    let other_attempt = seal(&lake, "d/1.parquet", "p1-e2-1", b"late")?;
    let neighbour = seal(&lake, "d/3.parquet", "p11-e1-1", b"neighbour")?;
    let elsewhere = self::lake("s3://lake/theatre", store.objects.address())?;
    let foreign = seal(&elsewhere, "d/4.parquet", "p1-e1-1", b"foreign")?;
    ensure!(
        store.lake()?.sweep(1, 3, std::slice::from_ref(&kept))? == 2,
        "two orphans"
    );
    ensure!(
        lake.sweep(1, 3, std::slice::from_ref(&kept))? == 0,
        "swept before"
    );
    for (path, handle) in [("d/2.parquet", &orphan), ("d/1.parquet", &other_attempt)] {
        ensure!(
            matches!(lake.complete(path, handle), Err(Error::Gone(_))),
            "a swept upload must not complete"
        );
    }
    lake.complete("d/1.parquet", &kept)?;
    lake.complete("d/3.parquet", &neighbour)?;
    elsewhere.complete("d/4.parquet", &foreign)?;
    ensure!(
        lake.read("d/1.parquet")? == b"kept"[..]
            && elsewhere.read("d/4.parquet")? == b"foreign"[..]
    );
    Ok(())
}

#[test]
fn an_upload_dropped_without_a_seal_is_ended() -> Result<()> {
    let store = Store::start()?;
    let lake = store.lake()?;
    let mut upload = lake.begin("d/1.parquet", "p0-e1-1")?;
    upload.write(&content(6 << 20))?;
    eventually("the first part goes up while the file grows", || {
        Ok(store.open_uploads()? > 1)
    })?;
    drop(upload);
    eventually("the upload is ended", || {
        Ok(store.open_uploads()? == 0 && store.markers()? == 0)
    })?;
    ensure!(lake.list("")?.is_empty());
    Ok(())
}

#[test]
fn a_second_attempt_does_not_replace_a_file() -> Result<()> {
    let store = Store::start()?;
    let lake = store.lake()?;
    let first = seal(&lake, "d/1.parquet", "p0-e1-1", b"first")?;
    let second = seal(&lake, "d/1.parquet", "p0-e2-1", b"second")?;
    lake.complete("d/1.parquet", &first)?;
    lake.complete("d/1.parquet", &second)?;
    lake.complete("d/1.parquet", &second)?;
    ensure!(lake.read("d/1.parquet")? == b"first"[..]);
    ensure!(
        store.open_uploads()? == 0 && store.markers()? == 0,
        "the second attempt's parts are freed"
    );
    Ok(())
}

/// Repeats a step as the pipeline does; what it was refused for good fails.
fn until_done<T>(
    what: &str,
    mut step: impl FnMut() -> theatre_actors::ports::Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match step() {
            Ok(done) => return Ok(done),
            Err(Error::Unavailable { .. }) if started.elapsed() < Duration::from_secs(60) => {
                std::thread::sleep(Duration::from_millis(50))
            }
            Err(error) => bail!("{what}: {error}"),
        }
    }
}

#[test]
fn nothing_is_lost_while_the_server_refuses_and_hangs() -> Result<()> {
    let store = Store::start()?;
    let proxy = FaultProxy::start(store.objects.address())?;
    let lake = lake(URL, proxy.address())?;
    let bytes = content(11 << 20);
    let before = seal(&lake, "d/before.parquet", "p0-e1-1", &bytes)?;
    for (mode, words) in [(Mode::Refuse, "503"), (Mode::Hang, "time")] {
        proxy.set(mode);
        let started = Instant::now();
        let failed = lake
            .complete("d/before.parquet", &before)
            .err()
            .context("it answered")?;
        ensure!(
            matches!(&failed, Error::Unavailable { why, .. } if why.contains(words)),
            "{failed}"
        );
        let failed = seal(&lake, "d/while.parquet", "p0-e1-2", &bytes)
            .err()
            .context("it answered")?;
        ensure!(
            matches!(&failed, Error::Unavailable { why, .. } if why.contains(words)),
            "{failed}"
        );
        ensure!(lake.list("").is_err() && lake.sweep(0, 2, std::slice::from_ref(&before)).is_err());
        ensure!(
            started.elapsed() < Duration::from_secs(30),
            "every call ends by its time-out"
        );
    }
    ensure!(
        proxy.refused() > 0 && proxy.hung() > 0,
        "the proxy did not get in the way"
    );
    let again = std::thread::scope(|scope| {
        let again = scope.spawn(|| {
            until_done("a file begun while the server hangs", || {
                seal(&lake, "d/while.parquet", "p0-e1-3", &bytes)
            })
        });
        std::thread::sleep(Duration::from_secs(1));
        proxy.set(Mode::Pass);
        again.join().expect("it does not panic")
    })?;
    until_done("completing", || lake.complete("d/before.parquet", &before))?;
    until_done("sweeping", || {
        lake.sweep(0, 2, std::slice::from_ref(&again))
    })?;
    until_done("completing", || lake.complete("d/while.parquet", &again))?;
    ensure!(lake.read("d/before.parquet")? == bytes && lake.read("d/while.parquet")? == bytes);
    ensure!(lake.list("")?.len() == 2);
    Ok(())
}

#[test]
fn opening_says_what_is_wrong() -> Result<()> {
    let store = Store::start()?;
    let address = store.objects.address();
    let words = |url: &str, address| {
        lake(url, address)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let missing = words("s3://elsewhere/x", address);
    ensure!(
        missing.contains("s3://elsewhere/x") && missing.contains("does not exist"),
        "{missing}"
    );
    ensure!(words("file:///lake", address).contains("not s3://bucket/prefix"));
    let proxy = FaultProxy::start(address)?;
    proxy.set(Mode::Hang);
    let started = Instant::now();
    let hanging = lake(URL, proxy.address()).err().context("it answered")?;
    ensure!(
        matches!(hanging, Error::Unavailable { .. }) && started.elapsed() < Duration::from_secs(10),
        "{hanging}"
    );
    let config = LakeConfig {
        part_bytes: 1 << 20,
        ..LakeConfig::default()
    };
    let small = S3Lake::open(
        URL,
        &config,
        Some(ObjectStore::credentials()),
        &IoRuntime::start()?,
    )
    .err()
    .context("it opened")?;
    ensure!(small.to_string().contains("part_bytes"), "{small}");
    Ok(())
}

/// Registers a file of which there is an upload, and ends the upload, as a rule of the bucket does
/// during a long outage.
fn register_and_lose(store: &Store, deployment: &Deployment, path: &str) -> Result<()> {
    let (config, dir, lake) = (
        deployment.config()?,
        DataDir::new(deployment.path("one")),
        store.lake()?,
    );
    let checkpoints = Adapters::new(&config, &dir, Access::Write)?.store()?;
    let (epoch, status) = (checkpoints.acquire(0)?, checkpoints.status(0)?);
    let upload = seal(&lake, path, &format!("p0-e{epoch}-lost"), b"rows")?;
    let file = LakeFile {
        path: path.to_owned(),
        upload,
        dataset: "robot_telemetry".to_owned(),
        rows: 3,
        bytes: 4,
        event_time_min: 0,
        event_time_max: 0,
        erased: Vec::new(),
        erasing: Vec::new(),
    };
    let cut = LakeCut {
        cut_number: status.lake_cuts + 1,
        positions: status.lake_positions,
        state: checkpoints.lake_state(0)?,
        files: vec![file],
    };
    checkpoints.commit_cut(0, epoch, &cut)?;
    ensure!(lake.sweep(0, epoch + 1, &[])? == 1, "the upload is ended");
    Ok(())
}

#[test]
fn a_registered_file_whose_upload_the_bucket_has_ended_is_set_aside_and_stops_nothing() -> Result<()>
{
    const PATH: &str =
        "data/robot_telemetry/theatre_version=1/theatre_date=2026-01-01/lost.parquet";
    let store = Store::start()?;
    let lake = format!(
        "[lake]\nurl = \"{URL}\"\nendpoint = \"http://{}\"\npath_style = true\nregion = \"eu-central-1\"\n",
        store.objects.address()
    );
    let deployment = Deployment::new(
        &format!("partitions = 1\nsilence_after = \"1d\"\n{lake}"),
        "",
    )?;
    deployment.run("one", &["simulate", "--robots", "3", "--ticks", "50"])?;
    deployment.drain("one")?;
    register_and_lose(&store, &deployment, PATH)?;
    deployment.run("one", &["simulate", "--robots", "3", "--ticks", "100"])?;
    deployment.drain("one")?;
    deployment.run("one", &["reconcile"])?;
    let files = deployment.ports("one")?.store.all_files()?;
    let (lost, others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.file.path == PATH);
    let set_aside = |file: &theatre_actors::ports::RegisteredFile| {
        file.stage == FileStage::Lost && file.note.as_deref().is_some_and(|why| why.contains(PATH))
    };
    ensure!(lost.len() == 1 && lost.iter().all(set_aside), "{lost:?}");
    ensure!(
        others.len() > 1 && others.iter().all(|file| file.stage == FileStage::Loaded),
        "{others:?}"
    );
    let listed = String::from_utf8(deployment.run("one", &["lake", "list"])?.stdout)?;
    ensure!(
        listed.contains("lost") && listed.contains("neither the file nor its upload"),
        "{listed}"
    );
    // Looked for once more, and not found.
    deployment.run("one", &["lake", "requeue"])?;
    deployment.drain("one")?;
    ensure!(
        deployment
            .ports("one")?
            .store
            .all_files()?
            .iter()
            .filter(|file| set_aside(file))
            .count()
            == 1
    );
    Ok(())
}
