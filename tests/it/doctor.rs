//! The doctor: on embedded files and on real servers, in good order and with faults.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use theatre_dev::object_store::ObjectStore;
use theatre_dev::process::wait_until;
use theatre_system::blocking::IoRuntime;
use theatre_tests::deployment::Deployment;
use theatre_tests::fleet::{self, Fleet};
use theatre_tests::secured::{PASSWORD, SecuredKafka};
use theatre_tests::site::Site;
use theatre_tests::{run, theatre};

/// How long the doctor may take at most, with time-outs: a machine of tests does much at once.
const PATIENCE: Duration = Duration::from_secs(20);
const INPUT: &str = "surgical.procedure.events.v1";
/// Stands for all that must not be printed.
const SECRET: &str = "open-sesame";

/// What the doctor has said.
struct Said {
    code: Option<i32>,
    text: String,
    findings: Vec<Value>,
}

impl Said {
    fn of(output: &Output) -> Result<Self> {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all: Value = serde_json::from_str(&text)
            .with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
        let findings = all["findings"].as_array().context("no findings")?.clone();
        let secret = [&output.stdout, &output.stderr].into_iter().any(|said| {
            let said = String::from_utf8_lossy(said);
            said.contains(SECRET) || said.contains(ObjectStore::credentials().secret_access_key())
        });
        ensure!(!secret, "a secret is printed: {text}");
        let beside = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            beside.is_empty(),
            "it is said beside the findings: {beside}"
        );
        let mut seen = findings.iter().filter_map(|one| one["seen"].as_str());
        let is_dump = seen.any(|seen| seen.contains(" {"));
        ensure!(!is_dump, "a finding is for who wrote the program: {text}");
        let code = output.status.code();
        let good = all["good"].as_bool();
        ensure!(good == Some(code == Some(0)), "{code:?}: {text}");
        Ok(Self {
            code,
            text,
            findings,
        })
    }

    /// Wants a check to have said this, with this verdict.
    fn says(&self, check: &str, verdict: &str, seen: &str) -> Result<()> {
        let said = self.findings.iter().any(|one| {
            one["check"] == check
                && one["verdict"] == verdict
                && one["seen"].as_str().is_some_and(|text| text.contains(seen))
        });
        ensure!(said, "{check} {verdict} {seen}: {}", self.text);
        Ok(())
    }

    /// Wants just these checks to have found something failed, and the exit code to say so.
    fn fails_only(&self, checks: &[&str]) -> Result<()> {
        let mut failed: Vec<&str> = self
            .findings
            .iter()
            .filter(|one| one["verdict"] == "failed")
            .filter_map(|one| one["check"].as_str())
            .collect();
        failed.dedup();
        ensure!(
            failed == checks,
            "{failed:?}, not {checks:?}: {}",
            self.text
        );
        let code = if checks.is_empty() { 0 } else { 4 };
        ensure!(self.code == Some(code), "{:?}: {}", self.code, self.text);
        Ok(())
    }
}

/// Asks the doctor about a data directory, with flags of its own.
fn ask(data: &Path, flags: &[&str]) -> Result<Said> {
    let all = [&["--output", "json", "doctor"], flags].concat();
    Said::of(&theatre(data, &all)?.output()?)
}

/// Asks the doctor about a deployment on servers.
fn examine(deployment: &Deployment, flags: &[&str]) -> Result<Said> {
    let begun = Instant::now();
    let all = [&["--output", "json", "doctor"], flags].concat();
    let said = Said::of(&deployment.output("looking", &all)?)?;
    ensure!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    Ok(said)
}

#[test]
fn the_doctor_names_faults_of_an_embedded_deployment() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let fresh = ask(&data, &["--strict"])?;
    fresh.fails_only(&[])?;
    fresh.says("data directory", "ok", "is not there yet")?;
    fresh.says("embedded files", "ok", "the first start makes")?;
    run(&data, &["simulate", "--robots", "2", "--ticks", "50"])?;
    run(&data, &["run", "--until-drained"])?;
    let used = ask(&data, &["--strict"])?;
    used.fails_only(&[])?;
    used.says("partitions", "ok", "agree on 4")?;
    used.says("embedded files", "ok", "store.sqlite is whole")?;
    used.says("data directory", "ok", "no process runs on")?;
    let text = run(&data, &["doctor"])?;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    ensure!(text.starts_with("ok       configuration"), "{text}");

    // Another number of partitions than the store has, then none of a configuration at all.
    let config = folder.path().join("theatre.toml");
    let on = ["--config", config.to_str().context("a path")?];
    fs::write(&config, "partitions = 6\n")?;
    let moved = ask(&data, &on)?;
    moved.fails_only(&["partitions"])?;
    moved.says("partitions", "failed", "the store has 4 partitions")?;
    fs::write(&config, format!("url = \"postgres://u:{SECRET}@h/d\""))?;
    let unread = ask(&data, &on)?;
    unread.fails_only(&["configuration"])?;
    fs::write(&config, "silence_after = \"0s\"\n")?;
    let at_fault = ask(&data, &on)?;
    at_fault.fails_only(&["configuration"])?;
    at_fault.says("configuration", "failed", "silence_after")?;

    // What a disk that fails leaves.
    let store = data.join("store.sqlite");
    drop(fs::remove_file(data.join("store.sqlite-wal")));
    fs::write(&store, vec![0x5a; 8192])?;
    let damaged = ask(&data, &[])?;
    damaged.fails_only(&["embedded files"])?;
    damaged.says("embedded files", "failed", "checkpoint store")
}

/// A process that ends with this value, also where a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_doctor_asks_a_process_that_runs() -> Result<()> {
    let data = tempfile::tempdir()?;
    let process = theatre(data.path(), &["run"])?
        .stderr(Stdio::piped())
        .spawn()?;
    let mut process = Running(process);
    let said = process.0.stderr.take().context("no standard error")?;
    let line = BufReader::new(said)
        .lines()
        .map_while(std::result::Result::ok)
        .find(|line| line.contains("admin: http://"))
        .context("the process did not say where its admin server is")?;
    let admin = line.split("http://").nth(1).context("no address")?;
    let admin = admin.split('/').next().context("no address")?;
    let ask = || -> Result<Said> {
        let output = std::process::Command::new(theatre_tests::binary()?)
            .arg("--data")
            .arg(data.path())
            .args(["--admin", admin, "--output", "json", "doctor"])
            .output()?;
        Said::of(&output)
    };
    let mut last = ask()?;
    wait_until(Duration::from_secs(30), || {
        last = ask().unwrap_or(Said {
            code: None,
            text: String::new(),
            findings: Vec::new(),
        });
        last.code == Some(0)
    });
    last.fails_only(&[])?;
    last.says("process", "ok", &format!("the process at {admin} is ready"))?;
    let runs_on = format!("process {} runs on", process.0.id());
    last.says("data directory", "ok", &runs_on)?;
    drop(process);
    let ended = ask()?;
    ended.says("process", "ok", "no process answers")?;
    ended.says("data directory", "ok", "no process runs on")
}

/// Answers every request as an object store does whose clock is a minute ahead.
fn store_of_tomorrow() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            // One request a connection; what cannot be answered is asked again.
            drop(stream.read(&mut request));
            let date = (jiff::Timestamp::now() + Duration::from_secs(60))
                .strftime("%a, %d %b %Y %H:%M:%S GMT")
                .to_string();
            let body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
            let length = if request.starts_with(b"HEAD") {
                0
            } else {
                body.len()
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            drop(stream.write_all(format!("{head}{}", &body[..length]).as_bytes()));
        }
    });
    Ok(address)
}

/// None of these servers is there, but for one with a clock that is wrong: all checks say so, side
/// by side.
#[test]
fn the_doctor_needs_seconds_where_no_server_answers_and_sees_a_clock_that_is_wrong() -> Result<()> {
    let gone = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let wrong = store_of_tomorrow()?;
    let deployment = Deployment::new(
        &format!(
            "[log]\nurl = \"kafka://{gone}\"\n\
             [store]\nurl = \"postgres://theatre:{SECRET}@{gone}/theatre\"\n\
             [lake]\nurl = \"s3://lake/fleet\"\nendpoint = \"http://{wrong}\"\npath_style = true\nregion = \"us-east-1\"\n\
             [warehouse]\nurl = \"redshift://local/dev\"\nendpoint = \"http://{gone}\"\nregion = \"us-east-1\"\niam_role = \"copy\"\n"
        ),
        fleet::RULES,
    )?;
    let said = examine(&deployment, &["--strict"])?;
    said.fails_only(&["kafka", "postgresql", "redshift"])?;
    said.says("kafka", "failed", &gone.to_string())?;
    said.says("postgresql", "failed", &gone.to_string())?;
    said.says("redshift", "failed", "iam_role \"copy\"")?;
    said.says("s3", "warning", "ahead of this machine's")
}

/// Objects that the doctor wrote and that are still there.
fn files_of_the_doctor(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_one = path.is_file() && path.components().any(|part| part.as_os_str() == "doctor");
        if path.is_dir() {
            found.extend(files_of_the_doctor(&path)?);
        } else if is_one {
            found.push(path);
        }
    }
    Ok(found)
}

fn admin_of(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()?)
}

/// Runs SQL on a database.
fn sql(url: &str, sql: &str) -> Result<()> {
    IoRuntime::start()?.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await?;
        Ok(())
    })
}

#[test]
fn the_doctor_on_servers_names_each_fault_and_what_to_do() -> Result<()> {
    let mut site = Site::start(&fleet::settings(2), fleet::RULES)?;
    let deployment = &site.deployment;
    deployment.reconfigure(
        "postgres://theatre@",
        &format!("postgres://theatre:{SECRET}@"),
    )?;
    let fresh = examine(deployment, &["--write"])?;
    fresh.fails_only(&[])?;
    fresh.says("kafka", "ok", "Kafka 4.")?;
    let clock = "the clock of Kafka's controllers is this machine's";
    fresh.says("kafka", "ok", clock)?;
    fresh.says("kafka topics", "warning", "not there")?;
    fresh.says("postgresql", "warning", "fsync = off")?;
    fresh.says("partitions", "ok", "nothing has run on this store yet")?;
    fresh.says("s3", "ok", "an object was written, read and deleted")?;
    fresh.says("redshift", "ok", "ledger and views")?;
    let left = files_of_the_doctor(&site.objects())?;
    ensure!(left.is_empty(), "{left:?} are left of what was tried");

    let flags = Fleet::flags(4, 100);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    deployment.run("one", &flags)?;
    deployment.drain("one")?;
    let used = examine(deployment, &[])?;
    used.fails_only(&[])?;
    used.says("kafka topics", "warning", "replication factor 1")?;
    used.says("kafka rights", "ok", "the group theatre joined")?;
    used.says("kafka group", "ok", "has no member")?;
    used.says("partitions", "ok", "agree on 2")?;
    ensure!(examine(deployment, &["--strict"])?.code == Some(4));

    let mut member = deployment.start("one", &[])?;
    member.wait_for_readiness("ready", |readiness| readiness.ready)?;
    let running = examine(deployment, &[])?;
    running.fails_only(&[])?;
    running.says("kafka group", "ok", "Stable, members: 1 (theatre")?;
    ensure!(member.terminate()?.success());

    each_setting(deployment, &site.postgres.url("theatre"))?;
    let admin = admin_of(&site.kafka.bootstrap())?;
    let deleted = admin.delete_topics(&[INPUT], &AdminOptions::new());
    IoRuntime::start()?.block_on(deleted)?;
    let without = examine(deployment, &[])?;
    without.fails_only(&["partitions"])?;
    without.says("kafka topics", "warning", INPUT)?;
    without.says("partitions", "failed", INPUT)?;
    deployment.look(&["topics", "create"])?;
    examine(deployment, &[])?.fails_only(&[])?;

    site.postgres.stop()?;
    let no_store = examine(&site.deployment, &[])?;
    // The stand-in for the warehouse stands on the same server.
    no_store.fails_only(&["postgresql", "redshift"])?;
    no_store.says("postgresql", "failed", "is unavailable")?;
    no_store.says("s3", "ok", "it can be listed")?;
    site.postgres.restart()?;
    site.kafka.stop()?;
    let no_log = examine(&site.deployment, &[])?;
    no_log.fails_only(&["kafka"])?;
    no_log.says("postgresql", "ok", "are those of this build")
}

/// What is wrong with one setting, or one right, at a time.
fn each_setting(deployment: &Deployment, store: &str) -> Result<()> {
    let with = |old: &str, new: &str| -> Result<Said> {
        deployment.reconfigure(old, new)?;
        let said = examine(deployment, &[])?;
        deployment.reconfigure(new, old)?;
        Ok(said)
    };
    let unmigrated = with("[store]\n", "[store]\nschema = \"other\"\n")?;
    unmigrated.fails_only(&["postgresql"])?;
    unmigrated.says("postgresql", "failed", "run `theatre migrate`")?;
    let no_bucket = with("s3://lake/", "s3://nowhere/")?;
    no_bucket.fails_only(&["s3"])?;
    no_bucket.says("s3", "failed", "the bucket does not exist")?;
    let no_ledger = with("[warehouse]\n", "[warehouse]\nschema = \"other\"\n")?;
    no_ledger.fails_only(&["redshift"])?;
    no_ledger.says("redshift", "failed", "lacks migration")?;
    let moved = with("partitions = 2", "partitions = 3")?;
    moved.fails_only(&["kafka topics", "partitions"])?;
    sql(
        store,
        "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA theatre TO reader; \
         GRANT SELECT ON ALL TABLES IN SCHEMA theatre TO reader",
    )?;
    let reader = with("postgres://theatre:", "postgres://reader:")?;
    reader.fails_only(&["postgresql"])?;
    reader.says("postgresql", "failed", "DELETE on ")?;
    let newer = "INSERT INTO theatre._theatre_migrations (version, description, success, checksum, execution_time) \
                 VALUES (99, 'later', true, '', 0)";
    sql(store, newer)?;
    // One that only adds leaves a build of before its work.
    examine(deployment, &[])?.fails_only(&[])?;
    sql(store, "UPDATE theatre.works_with SET version = 99")?;
    let later = examine(deployment, &[])?;
    sql(
        store,
        "DELETE FROM theatre._theatre_migrations WHERE version = 99; \
         UPDATE theatre.works_with SET version = 10",
    )?;
    later.fails_only(&["postgresql"])?;
    later.says("postgresql", "failed", "run a build at least as new")
}

/// A user whom the broker lets in, and who has no rights.
#[test]
fn the_doctor_asks_brokers_for_rights_and_writes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kafka = SecuredKafka::start_authorizing(&folder.path().join("kafka"))?;
    let plain = kafka.broker.bootstrap();
    let owner = Deployment::new(&format!("[log]\nurl = \"kafka://{plain}\"\n"), fleet::RULES)?;
    owner.look(&["topics", "create"])?;
    let allowed = examine(&owner, &[])?;
    allowed.fails_only(&[])?;
    allowed.says("kafka rights", "ok", "inputs may be read")?;
    let files = [("ca_file", "brokers.pem"), ("password_file", "password")];
    let section = kafka.section(SecuredKafka::SCRAM, "sasl_scram", &files)?;
    let user = Deployment::new(&section, fleet::RULES)?;
    ensure!(SECRET == PASSWORD, "what is looked for in the output");
    let stranger = examine(&user, &[])?;
    stranger.fails_only(&["kafka topics", "kafka rights"])?;
    for lacking in [
        "inputs may not be read",
        "results may not be written",
        "the group theatre may not be joined",
    ] {
        stranger.says("kafka rights", "failed", lacking)?;
    }
    Ok(())
}
