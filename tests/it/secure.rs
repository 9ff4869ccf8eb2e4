//! Secured connections against real servers: a client that proves its identity works as
//! everywhere, and one that cannot gets an error that says why and what to do.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tempfile::TempDir;
use theatre_actors::ports::{NewRecord, PollLimit};
use theatre_config::log::{LogConfig, LogFetcher, LogSecurity};
use theatre_dev::postgres::{Durability, Postgres};
use theatre_system::blocking::IoRuntime;
use theatre_tests::broker::{Audience, seen_once};
use theatre_tests::deployment::Deployment;
use theatre_tests::fleet::{self, Fleet};
use theatre_tests::secured::{Authority, OTHER_HOST, SESSION, SecuredKafka, USER};
use theatre_tests::servers;

const ROBOTS: u64 = 6;
/// Ticks of the fleet that each stage of a test adds.
const TICKS: u64 = 150;
const PARTITIONS: u32 = 2;

const TRUSTING: (&str, &str) = ("ca_file", "brokers.pem");

/// Brings more of the fleet's life into the log, processes it, and proves it; says how many records
/// were read in all.
fn live(deployment: &Deployment, ticks: u64) -> Result<u64> {
    deployment.run(
        "one",
        &Fleet::flags(ROBOTS, ticks)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    )?;
    deployment.drain("one")?;
    let report: Value = serde_json::from_slice(
        &deployment
            .run("one", &["reconcile", "--output", "json"])?
            .stdout,
    )?;
    let lines = report["lines"]
        .as_array()
        .context("a report without lines")?;
    Ok(lines.iter().filter_map(|line| line["read"].as_u64()).sum())
}

/// One deployment goes from one listener to the next, as an operator who secures a cluster step by
/// step would have it: topics are made, records are produced, fetched and published in transactions
/// over each.
#[test]
fn kafka_over_tls_then_mutual_tls_then_scram_loses_nothing() -> Result<()> {
    let kafka = servers::secured_kafka()?;
    let stages = [
        kafka.section(SecuredKafka::TLS, "tls", &[TRUSTING])?,
        kafka.section(
            SecuredKafka::MUTUAL,
            "tls",
            &[
                TRUSTING,
                ("certificate_file", "client.pem"),
                ("key_file", "client.key"),
            ],
        )?,
        kafka.section(
            SecuredKafka::SCRAM,
            "sasl_scram",
            &[TRUSTING, ("password_file", "password")],
        )?,
    ];
    let deployment = Deployment::new(
        &format!("{}{}", fleet::settings(PARTITIONS), stages[0]),
        fleet::RULES,
    )?;
    let (mut read, mut published) = (0, 0);
    for (index, stage) in stages.iter().enumerate() {
        deployment.reconfigure(&stages[index.saturating_sub(1)], stage)?;
        let read_before =
            std::mem::replace(&mut read, live(&deployment, TICKS * (index as u64 + 1))?);
        let seen =
            seen_once(&Audience::listen(&kafka.broker.bootstrap(), PARTITIONS)?.leave()?)?.len();
        let published_before = std::mem::replace(&mut published, seen);
        ensure!(
            read >= read_before + ROBOTS * TICKS / 2 && published > published_before,
            "{stage}: read {read_before} and {read}, published {published_before} and {published}"
        );
    }
    deployment.run("one", &["topics", "check"])?;
    Ok(())
}

/// A broker that gets a request on a session that has ended closes the connection; a reader goes on
/// without that, over TLS.
#[test]
fn sessions_are_renewed_while_records_are_read() -> Result<()> {
    let kafka = servers::secured_kafka()?;
    let bootstrap = kafka.broker.secured_bootstrap(SecuredKafka::SCRAM);
    let config = LogConfig {
        deployment: servers::unique("deployment"),
        security: LogSecurity::SaslScram,
        ca_file: Some(kafka.file("brokers.pem").into()),
        username: Some(USER.to_owned()),
        password_file: Some(kafka.file("password").into()),
        fetcher: LogFetcher::Lean,
        ..LogConfig::default()
    };
    let url = format!("kafka://{}", bootstrap.context("no listener")?);
    let log = theatre_kafka::open(&url, &config, &IoRuntime::start()?)?;
    let topic = servers::unique("input");
    log.ensure_topics(std::slice::from_ref(&topic), 1)?;
    let mut reader = log.reader(&topic, 0, 0)?;
    let (begun, mut written, mut read) = (Instant::now(), 0, Vec::new());
    let all = PollLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };
    while begun.elapsed() < 4 * SESSION || read.len() < written {
        ensure!(
            begun.elapsed() < 20 * SESSION,
            "{} of {written}",
            read.len()
        );
        if begun.elapsed() < 4 * SESSION {
            let value = vec![written as u8; 50_000];
            let record = NewRecord {
                value,
                ..NewRecord::default()
            };
            log.append(&topic, 0, &[record])?;
            written += 1;
        }
        reader.poll(all, &mut |record| {
            read.push((record.offset, record.value.to_vec()))
        })?;
        thread::sleep(Duration::from_millis(20));
    }
    let is_whole = read.iter().enumerate().all(|(index, (offset, value))| {
        *offset == index as u64 && *value == vec![index as u8; 50_000]
    });
    ensure!(is_whole && read.len() == written, "{written}");
    Ok(())
}

/// Clients that are refused, and what the error has to say.
struct Refusal<'a> {
    what: &'a str,
    section: String,
    command: &'a [&'a str],
    wanted: &'a [&'a str],
}

/// The service itself is refused.
fn at_start<'a>(what: &'a str, section: String, wanted: &'a [&'a str]) -> Refusal<'a> {
    Refusal {
        what,
        section,
        command: &["run", "--until-drained"],
        wanted,
    }
}

/// All at the same time: each is tried for a while before it is given up.
fn all_refused(refusals: &[Refusal<'_>]) -> Result<()> {
    thread::scope(|scope| {
        let tried: Vec<_> = refusals
            .iter()
            .map(|refusal| scope.spawn(|| refused(refusal)))
            .collect();
        tried
            .into_iter()
            .try_for_each(|one| one.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

fn refused(
    Refusal {
        what,
        section,
        command,
        wanted,
    }: &Refusal<'_>,
) -> Result<()> {
    let deployment = Deployment::new(
        &format!("{}{section}", fleet::settings(PARTITIONS)),
        fleet::RULES,
    )?;
    let said = deployment.refused("one", command)?;
    let error = said
        .lines()
        .filter(|line| line.starts_with("theatre: "))
        .collect::<Vec<_>>()
        .join("\n");
    println!("{what}: {error}");
    let missing: Vec<_> = wanted
        .iter()
        .filter(|part| !error.contains(**part))
        .collect();
    ensure!(missing.is_empty(), "{what}: {missing:?} is not in: {said}");
    Ok(())
}

#[test]
fn a_broker_that_cannot_be_trusted_is_refused_and_the_reason_is_told() -> Result<()> {
    let kafka = servers::secured_kafka()?;
    let unknown = [("ca_file", "unknown.pem")];
    // Where localhost has two addresses the broker listens at one of them, which is another reason
    // for not reaching it. Its topics are missing: the client that makes them is the one that goes
    // there.
    let one_address =
        "deployment = \"later\"\nproperties = { \"broker.address.family\" = \"v4\" }\n";
    let later = format!(
        "{}{one_address}",
        kafka.section(SecuredKafka::ELSEWHERE_LATER, "tls", &[TRUSTING])?
    );
    all_refused(&[
        at_start(
            "an unknown authority",
            kafka.section(SecuredKafka::TLS, "tls", &unknown)?,
            &["UnknownIssuer", "log.ca_file"],
        ),
        at_start(
            "an unknown authority, before a password is sent",
            kafka.section(
                SecuredKafka::SCRAM,
                "sasl_scram",
                &[unknown[0], ("password_file", "password")],
            )?,
            &["UnknownIssuer", "log.ca_file"],
        ),
        at_start(
            "another host",
            kafka.section(SecuredKafka::ELSEWHERE, "tls", &[TRUSTING])?,
            &["127.0.0.1", OTHER_HOST, "log.url"],
        ),
        Refusal {
            what: "another host, on which the cluster insists",
            section: later,
            command: &["topics", "create"],
            wanted: &[
                "creating a topic",
                "localhost",
                "127.0.0.1",
                "advertised.listeners",
            ],
        },
    ])
}

#[test]
fn whoever_the_broker_does_not_let_in_is_told_why() -> Result<()> {
    let kafka = servers::secured_kafka()?;
    let stranger = [
        TRUSTING,
        ("certificate_file", "stranger.pem"),
        ("key_file", "stranger.key"),
    ];
    let plain = kafka.section(SecuredKafka::TLS, "plaintext", &[])?;
    all_refused(&[
        at_start(
            "no certificate",
            kafka.section(SecuredKafka::MUTUAL, "tls", &[TRUSTING])?,
            &["log.certificate_file", "log.key_file"],
        ),
        at_start(
            "a stranger's certificate",
            kafka.section(SecuredKafka::MUTUAL, "tls", &stranger)?,
            &["log.certificate_file", "log.key_file"],
        ),
        at_start(
            "a wrong password",
            kafka.section(
                SecuredKafka::SCRAM,
                "sasl_scram",
                &[TRUSTING, ("password_file", "wrong-password")],
            )?,
            &["SCRAM-SHA-512", "log.username", "log.password_file"],
        ),
        // Whether Amazon would take the token only Amazon knows; that one is made and sent is seen
        // here.
        at_start(
            "a token that is not known",
            kafka.section(SecuredKafka::TOKEN, "msk_iam", &[TRUSTING])?,
            &["invalid_token", "AWS credentials"],
        ),
        at_start("no TLS", plain, &["log.security"]),
        at_start(
            "no password",
            kafka.section(SecuredKafka::SCRAM, "tls", &[TRUSTING])?,
            &["log.security"],
        ),
    ])
}

/// A server that shows a certificate for `localhost`.
struct SecuredPostgres {
    server: Postgres,
    folder: TempDir,
}

impl SecuredPostgres {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (ours, other) = (Authority::new("databases")?, Authority::new("unknown")?);
        std::fs::write(folder.path().join("ca.pem"), ours.pem())?;
        std::fs::write(folder.path().join("unknown.pem"), other.pem())?;
        let server = Postgres::start_secured(
            &folder.path().join("postgres"),
            Durability::Fast,
            &ours.issue("localhost")?,
        )?;
        Ok(Self { server, folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The server under the name that its certificate holds.
    fn url(&self, database: &str) -> String {
        self.server.url(database).replace("127.0.0.1", "localhost")
    }
}

#[test]
fn postgres_over_verified_tls_works_and_what_cannot_be_verified_is_refused() -> Result<()> {
    let postgres = SecuredPostgres::start()?;
    postgres.server.create_database("theatre")?;
    let verified = |url: &str, ca: &str| {
        format!(
            "[store]\nurl = \"{url}\"\nsslmode = \"verify-full\"\nca_file = \"{}\"\n",
            postgres.file(ca).display()
        )
    };
    let by_url = format!(
        "[store]\nurl = \"{}?sslmode=verify-full&sslrootcert={}\"\n",
        postgres.url("theatre"),
        postgres.file("ca.pem").display()
    );
    let by_keys = verified(&postgres.url("theatre"), "ca.pem");

    let deployment = Deployment::new(
        &format!("{}{by_url}", fleet::settings(PARTITIONS)),
        fleet::RULES,
    )?;
    deployment.look(&["migrate"])?;
    let first = live(&deployment, TICKS)?;
    deployment.reconfigure(&by_url, &by_keys)?;
    let second = live(&deployment, 2 * TICKS)?;
    ensure!(first > 0 && second > first, "{first} {second}");

    let without_tls = servers::database()?;
    all_refused(&[
        at_start(
            "an unknown authority",
            verified(&postgres.url("theatre"), "unknown.pem"),
            &["UnknownIssuer", "ca_file"],
        ),
        at_start(
            "another host",
            verified(&postgres.server.url("theatre"), "ca.pem"),
            &["127.0.0.1", "localhost", "sslmode"],
        ),
        at_start(
            "a server without TLS",
            verified(&without_tls, "ca.pem"),
            &["TLS", "sslmode"],
        ),
        at_start(
            "no TLS",
            format!(
                "[store]\nurl = \"{}\"\nsslmode = \"disable\"\n",
                postgres.url("theatre")
            ),
            &["no encryption", "pg_hba.conf"],
        ),
    ])
}
