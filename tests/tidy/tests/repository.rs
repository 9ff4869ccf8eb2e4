//! The rules of this repository, as tables, and the checkers run over it. A list of exceptions
//! only shrinks: an exception that nothing needs any more fails the test, too.

use std::process::Command;

use theatre_tidy::crates::{self, Manifest};
use theatre_tidy::source::{Source, files, read, root, sources};
use theatre_tidy::{calls, items, licences, none, sizes, words};

/// The crates of the workspace.
fn manifests() -> Vec<Manifest> {
    files("toml")
        .iter()
        .filter_map(|path| path.strip_suffix("/Cargo.toml"))
        .map(|folder| {
            Manifest::parse(folder, &read(&format!("{folder}/Cargo.toml")))
                .expect("a manifest of the workspace can be read")
        })
        .collect()
}

/// Product code of the engine: what is compiled into a service, without the local servers and the
/// stand-in warehouse.
fn engine() -> Vec<Source> {
    let mut sources = sources();
    sources.retain(|source| !source.path.starts_with("compose/"));
    sources
}

/// The crates without those that use everything.
fn manifests_but(uses_everything: &[&str]) -> Vec<Manifest> {
    let mut manifests = manifests();
    manifests.retain(|manifest| !uses_everything.contains(&manifest.name.as_str()));
    manifests
}

#[test]
fn actix_stands_at_the_desk_for_questions_and_in_servers_only() {
    none(calls::check(
        &calls::Rule {
            words: &["actix", "actix_web", "actix_rt"],
            why: "actors are plain values; only what is asked from other threads and servers need actix",
            allowed: &[
                ("actors/src/questions.rs", "the desk for questions"),
                ("compose/redshift-local/", "the stand-in's HTTP server"),
                ("runtime/api/src/", "the HTTP interface"),
                ("runtime/theatre/src/admin.rs", "the admin server"),
            ],
        },
        &sources(),
    ));
}

#[test]
fn clocks_are_read_in_named_places_only() {
    none(calls::check(
        &calls::Rule {
            words: &["SystemTime::now", "Instant::now"],
            why: "time comes through a port or a parameter, so that a simulation can drive it",
            allowed: &[
                ("actors/src/host.rs", "measures how long a message takes"),
                ("runtime/api/src/body.rs", "how slowly a body comes"),
                (
                    "runtime/api/src/events/listener.rs",
                    "how slowly a listener reads",
                ),
                (
                    "runtime/kafka/src/brokers.rs",
                    "how long a client has been without brokers",
                ),
                (
                    "runtime/kafka/src/diagnostics.rs",
                    "when a connection failed",
                ),
                ("runtime/kafka/src/lane.rs", "deadline of a transaction"),
                (
                    "runtime/kafka/src/leader_health.rs",
                    "how long a leader has not answered",
                ),
                ("runtime/kafka/src/lean.rs", "when a reader was opened"),
                (
                    "runtime/kafka/src/lean/",
                    "deadlines of connections and answers, pauses between them",
                ),
                (
                    "runtime/kafka/src/lib.rs",
                    "deadline of a call to the brokers",
                ),
                (
                    "runtime/kafka/src/membership.rs",
                    "pace of the offsets that are committed for tools",
                ),
                (
                    "runtime/kafka/src/progress.rs",
                    "how long a reader got no record",
                ),
                (
                    "runtime/kafka/src/topics.rs",
                    "deadline of the first answer of a broker",
                ),
                (
                    "runtime/operations/src/checkup.rs",
                    "deadline of a check-up",
                ),
                (
                    "runtime/pipeline/src/assignment.rs",
                    "deadline of a hand-over",
                ),
                (
                    "runtime/pipeline/src/checkpointer.rs",
                    "measures how long a commit takes",
                ),
                (
                    "runtime/pipeline/src/relay.rs",
                    "measures how long a batch takes, for the latency benchmark",
                ),
                (
                    "runtime/pipeline/src/run_loop.rs",
                    "how long a component has been leaving; hands `now` to the retry policy",
                ),
                ("runtime/pipeline/src/wiring.rs", "deadline of a stop"),
                (
                    "runtime/postgres/src/connect.rs",
                    "how long a server has refused to let the process in",
                ),
                ("runtime/postgres/src/iam.rs", "age of a token"),
                (
                    "runtime/redshift/src/poller.rs",
                    "pace of the questions after a statement",
                ),
                ("runtime/system/src/clock.rs", "the clock behind the port"),
                ("runtime/theatre/src/cli/bench.rs", "measures"),
                ("runtime/theatre/src/cli/bench/", "measures"),
                ("runtime/theatre/src/cli/demo.rs", "pace of the demo"),
                (
                    "runtime/theatre/src/cli/event_printer.rs",
                    "pace of the progress line",
                ),
                ("runtime/theatre/src/cli/replay/", "pace of a replay"),
                (
                    "runtime/theatre/src/cli/rules/past.rs",
                    "measures a back-test",
                ),
                (
                    "runtime/theatre/src/cli/service.rs",
                    "pace of progress on the terminal",
                ),
            ],
        },
        &engine(),
    ));
}

#[test]
fn threads_sleep_in_named_places_only() {
    none(calls::check(
        &calls::Rule {
            words: &["sleep(", "sleep_until("],
            why: "a component answers how long it waits, and the run loop sleeps",
            allowed: &[
                (
                    "runtime/api/src/events/listener.rs",
                    "a connection looks for news now and then",
                ),
                (
                    "runtime/api/src/handlers/telemetry/tail.rs",
                    "waits for records that are fetched, 3 s at most",
                ),
                (
                    "runtime/api/src/ingest/once.rs",
                    "waits for records that are fetched",
                ),
                (
                    "runtime/api/src/server.rs",
                    "a thread of its own that reads outputs for those who listen",
                ),
                (
                    "runtime/kafka/src/lane.rs",
                    "waits for a coordinator that is moving",
                ),
                (
                    "runtime/kafka/src/leader_health.rs",
                    "a thread of its own that asks the leaders",
                ),
                (
                    "runtime/kafka/src/lib.rs",
                    "waits for brokers within a call",
                ),
                (
                    "runtime/kafka/src/producer.rs",
                    "waits for room in librdkafka's queue, and for deliveries",
                ),
                (
                    "runtime/kafka/src/topics.rs",
                    "waits for the first answer of a broker, and for new topics",
                ),
                (
                    "runtime/operations/src/dead_letters/reading.rs",
                    "waits for records that are fetched, for the end of another producer's transaction, and for a source of schemas",
                ),
                (
                    "runtime/api/src/rule_changes/turn.rs",
                    "waits for another change of rules, 3 s at most",
                ),
                (
                    "runtime/operations/src/drained.rs",
                    "waits for the end of a log that is fetched",
                ),
                (
                    "runtime/operations/src/reconcile/count.rs",
                    "waits for the end of a log that is fetched",
                ),
                (
                    "runtime/pipeline/src/actor_keys.rs",
                    "waits for the end of a log that is fetched",
                ),
                (
                    "runtime/pipeline/src/recovery.rs",
                    "waits for records that are fetched",
                ),
                (
                    "runtime/pipeline/src/run_loop.rs",
                    "is where components sleep",
                ),
                (
                    "runtime/queries/src/rules.rs",
                    "waits for records that are fetched",
                ),
                (
                    "runtime/redshift/src/poller.rs",
                    "is where statements are polled",
                ),
                (
                    "runtime/theatre/src/cli/api.rs",
                    "waits for the signal to stop",
                ),
                (
                    "runtime/theatre/src/cli/bench/",
                    "waits for what is measured",
                ),
                (
                    "runtime/theatre/src/cli/demo.rs",
                    "keeps the pace of the demo",
                ),
                ("runtime/theatre/src/cli/dev.rs", "waits for servers to end"),
                (
                    "runtime/theatre/src/cli/dlq/replay.rs",
                    "keeps the pace of a replay of dead letters",
                ),
                (
                    "runtime/theatre/src/cli/fleet_writer.rs",
                    "waits for the note of a simulator, which is fetched",
                ),
                (
                    "runtime/theatre/src/cli/replay/",
                    "keeps the pace of a replay",
                ),
                (
                    "runtime/theatre/src/cli/service.rs",
                    "waits for the signal to stop, and for draining",
                ),
                (
                    "runtime/theatre/src/cli/simulate.rs",
                    "keeps the pace of a live fleet",
                ),
                (
                    "runtime/theatre/src/cli/tail.rs",
                    "waits for new records of a topic",
                ),
            ],
        },
        &engine(),
    ));
}

#[test]
fn metrics_are_emitted_by_the_functions_of_the_catalogue_only() {
    none(calls::check(
        &calls::Rule {
            words: &["counter!", "gauge!", "histogram!"],
            why: "a metric is a function of theatre_telemetry, so that the catalogue has it",
            allowed: &[(
                "actors/src/metrics.rs",
                "the kinds of metrics, which emit only what a catalogue defines",
            )],
        },
        &sources(),
    ));
}

#[test]
fn unsafe_stands_in_named_files_only() {
    none(calls::check(
        &calls::Rule {
            words: &["unsafe"],
            why: "memory safety is the compiler's",
            allowed: &[
                (
                    "runtime/kafka/src/admin.rs",
                    "token and log of a client that is never polled",
                ),
                (
                    "runtime/kafka/src/brokers.rs",
                    "brokers of a client that has lost them",
                ),
                (
                    "runtime/kafka/src/fetch.rs",
                    "librdkafka's fetch in batches",
                ),
                (
                    "runtime/embedded/src/warehouse/file_table.rs",
                    "SQLite's virtual tables",
                ),
                ("runtime/theatre/src/main.rs", "the allocator's options"),
            ],
        },
        &sources(),
    ));
}

/// Which crates of this repository a crate may use: those that stand above it and are named here.
/// The program and the system tests use everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("theatre-schemas", &[]),
    ("theatre-actors", &["theatre-schemas"]),
    ("theatre-config", &["theatre-schemas", "theatre-actors"]),
    ("theatre-system", &["theatre-actors"]),
    ("theatre-telemetry", &["theatre-actors", "theatre-system"]),
    ("theatre-parquet", &["theatre-schemas", "theatre-actors"]),
    (
        "theatre-pipeline",
        &[
            "theatre-schemas",
            "theatre-actors",
            "theatre-telemetry",
            "theatre-config",
            "theatre-parquet",
        ],
    ),
    (
        "theatre-backtest",
        &["theatre-schemas", "theatre-actors", "theatre-parquet"],
    ),
    (
        "theatre-star",
        &["theatre-schemas", "theatre-actors", "theatre-parquet"],
    ),
    (
        "theatre-operations",
        &[
            "theatre-schemas",
            "theatre-actors",
            "theatre-parquet",
            "theatre-pipeline",
        ],
    ),
    (
        "theatre-queries",
        &["theatre-schemas", "theatre-actors", "theatre-pipeline"],
    ),
    (
        "theatre-api",
        &[
            "theatre-schemas",
            "theatre-actors",
            "theatre-telemetry",
            "theatre-config",
            "theatre-system",
            "theatre-parquet",
            "theatre-queries",
            "theatre-star",
        ],
    ),
    ("theatre-aws", &["theatre-actors"]),
    (
        "theatre-embedded",
        &[
            "theatre-schemas",
            "theatre-actors",
            "theatre-parquet",
            "theatre-star",
        ],
    ),
    (
        "theatre-kafka",
        &[
            "theatre-schemas",
            "theatre-actors",
            "theatre-telemetry",
            "theatre-config",
            "theatre-system",
        ],
    ),
    (
        "theatre-postgres",
        &[
            "theatre-actors",
            "theatre-config",
            "theatre-star",
            "theatre-system",
        ],
    ),
    (
        "theatre-s3",
        &[
            "theatre-actors",
            "theatre-config",
            "theatre-system",
            "theatre-aws",
        ],
    ),
    (
        "theatre-redshift",
        &[
            "theatre-actors",
            "theatre-config",
            "theatre-system",
            "theatre-parquet",
            "theatre-star",
            "theatre-aws",
        ],
    ),
    (
        "theatre-registry",
        &[
            "theatre-schemas",
            "theatre-actors",
            "theatre-config",
            "theatre-system",
        ],
    ),
    (
        "theatre-simulator",
        &["theatre-schemas", "theatre-actors", "theatre-config"],
    ),
    (
        "theatre-recordings",
        &["theatre-schemas", "theatre-actors", "theatre-config"],
    ),
    ("redshift-local", &[]),
    (
        "theatre-dev",
        &[
            "theatre-actors",
            "theatre-config",
            "theatre-system",
            "theatre-postgres",
            "theatre-redshift",
            "redshift-local",
        ],
    ),
    (
        "theatre-testkit",
        &["theatre-schemas", "theatre-actors", "theatre-parquet"],
    ),
    ("theatre-tidy", &[]),
];

/// What a crate may use that is not in the table: an adapter, of a port or for outputs.
const ADAPTER: &[&str] = &[
    "theatre-schemas",
    "theatre-actors",
    "theatre-telemetry",
    "theatre-config",
    "theatre-system",
    "theatre-parquet",
    "theatre-pipeline",
    "theatre-aws",
];

/// Which crates may use a driver; the system tests may use all.
const DRIVERS: &[(&str, &[&str])] = &[
    ("actix", &["theatre-actors"]),
    ("actix-web", &["redshift-local", "theatre", "theatre-api"]),
    (
        "aws-",
        &[
            "theatre-aws",
            "theatre-kafka",
            "theatre-postgres",
            "theatre-s3",
            "theatre-redshift",
            "theatre-registry",
            "theatre-notify",
            "redshift-local",
            "theatre-dev",
        ],
    ),
    ("hyper", &["theatre-dev"]),
    (
        "parquet",
        &["theatre-parquet", "theatre-recordings", "redshift-local"],
    ),
    ("rdkafka", &["theatre-kafka", "theatre-dev", "theatre"]),
    ("rusqlite", &["theatre-embedded", "theatre-recordings"]),
    (
        "sqlx",
        &[
            "theatre-postgres",
            "redshift-local",
            "theatre-dev",
            "theatre",
        ],
    ),
    (
        "tokio",
        &[
            // Wakes those who listen.
            "theatre-api",
            "theatre-system",
            "theatre-kafka",
            "theatre-postgres",
            "theatre-s3",
            "theatre-redshift",
            "redshift-local",
            "theatre-dev",
        ],
    ),
    (
        "ureq",
        &[
            "theatre-system",
            "theatre-registry",
            "theatre-notify",
            "theatre-dev",
        ],
    ),
];

#[test]
fn crates_use_only_crates_above_them_in_the_table() {
    none(crates::check_arrows(
        ARROWS,
        ADAPTER,
        &manifests_but(&["theatre", "theatre-fuzz", "theatre-tests"]),
    ));
}

#[test]
fn drivers_stand_in_their_adapters_only() {
    none(crates::check_drivers(
        DRIVERS,
        &manifests_but(&["theatre-tests"]),
    ));
}

#[test]
fn every_dependency_is_used() {
    none(crates::check_unused(
        &manifests_but(&["theatre-fuzz"]),
        &sources(),
        &[],
    ));
}

#[test]
fn files_and_functions_are_short() {
    none(sizes::check(
        &sizes::Bounds {
            file: 400,
            function: 70,
            files: &[],
            functions: &[
                ("compose/redshift-local/src/copy.rs fn load_file", 91),
                (
                    "compose/redshift-local/src/sql/copy_command.rs fn parse",
                    73,
                ),
                ("compose/redshift-local/src/statements.rs fn submit", 71),
                ("runtime/postgres/src/commit.rs fn write", 111),
            ],
        },
        &sources(),
    ));
}

#[test]
fn public_items_are_documented_in_private_modules_too() {
    none(items::check(&sources()));
}

#[test]
fn words_of_a_dialect_become_fewer() {
    let bounds = [
        ("hears", 0),
        // A user of Unix.
        ("nobody", 4),
        ("somebody", 0),
        ("told", 39),
        ("whoever", 0),
    ];
    let texts: Vec<(String, String)> = ["md", "rs"]
        .iter()
        .flat_map(|extension| files(extension))
        .filter(|path| !path.starts_with("tests/tidy/"))
        .map(|path| (path.clone(), read(&path)))
        .collect();
    none(words::check(
        &bounds,
        texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    ));
}

#[test]
fn comments_that_are_too_wide_become_fewer() {
    let texts: Vec<(String, String)> = files("rs")
        .iter()
        .map(|path| (path.clone(), read(path)))
        .collect();
    none(words::check_comments(
        100,
        480,
        texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    ));
}

#[test]
fn licences_and_origins_are_those_of_deny_toml() {
    let metadata = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
        ])
        .arg("x86_64-unknown-linux-gnu")
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata = String::from_utf8_lossy(&metadata.stdout);
    let policy = licences::Policy::parse(&read("deny.toml")).unwrap();
    none(licences::check(
        &policy,
        &licences::packages(&metadata).unwrap(),
    ));
}
