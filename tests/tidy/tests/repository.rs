//! The rules of this repository, as tables, and the checkers run over it. A list of exceptions
//! only shrinks: an exception that nothing needs any more fails the test, too.

use std::process::Command;

use theatre_tidy::crates::{self, Manifest};
use theatre_tidy::source::{Source, files, read, root, sources};
use theatre_tidy::{Findings, calls, items, licences, sizes, words};

fn none(findings: Findings) {
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

/// The crates of the workspace.
fn manifests() -> Vec<Manifest> {
    files("toml")
        .iter()
        .filter_map(|path| path.strip_suffix("/Cargo.toml"))
        .map(|folder| Manifest::parse(folder, &read(&format!("{folder}/Cargo.toml"))).unwrap())
        .collect()
}

/// Product code of the engine: what is compiled into a service, without the local servers and the
/// stand-in warehouse.
fn engine() -> Vec<Source> {
    let mut sources = sources();
    sources.retain(|source| !source.path.starts_with("compose/"));
    sources
}

/// The crates whose dependencies are bounded: all but the system tests, which use everything.
fn bounded() -> Vec<Manifest> {
    let mut manifests = manifests();
    manifests.retain(|manifest| manifest.name != "theatre-tests");
    manifests
}

#[test]
fn actix_stands_in_the_host_of_the_actors_and_in_servers_only() {
    none(calls::check(
        &calls::Rule {
            words: &["actix", "actix_web", "actix_rt"],
            why: "actors are plain values; only the host runs them on actix, only servers serve",
            allowed: &[
                ("actors/src/actix_host.rs", "the host of the actors"),
                ("compose/redshift-local/", "the stand-in's HTTP server"),
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
            allowed: &[],
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
            allowed: &[],
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
            allowed: &[],
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
                ("runtime/theatre/src/main.rs", "the allocator's options"),
            ],
        },
        &sources(),
    ));
}

/// Which crates of this repository a crate may use: those that stand above it and are named here.
const ARROWS: &[(&str, &[&str])] = &[
    ("theatre-schemas", &[]),
    ("theatre-actors", &["theatre-schemas"]),
    ("theatre-telemetry", &[]),
    ("theatre-config", &["theatre-schemas", "theatre-actors"]),
    ("theatre-system", &["theatre-actors"]),
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
        "theatre-operations",
        &["theatre-actors", "theatre-parquet", "theatre-pipeline"],
    ),
    ("theatre-aws", &["theatre-actors"]),
    (
        "theatre-embedded",
        &["theatre-schemas", "theatre-actors", "theatre-parquet"],
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
        &["theatre-actors", "theatre-config", "theatre-system"],
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
        "theatre",
        &[
            "theatre-schemas",
            "theatre-actors",
            "theatre-telemetry",
            "theatre-config",
            "theatre-system",
            "theatre-pipeline",
            "theatre-operations",
            "theatre-embedded",
            "theatre-kafka",
            "theatre-postgres",
            "theatre-s3",
            "theatre-redshift",
            "theatre-registry",
            "theatre-simulator",
            "theatre-dev",
        ],
    ),
    (
        "theatre-testkit",
        &["theatre-schemas", "theatre-actors", "theatre-parquet"],
    ),
    ("theatre-tidy", &[]),
];

/// Which crates may use a driver.
const DRIVERS: &[(&str, &[&str])] = &[
    ("actix", &["theatre-actors"]),
    ("actix-web", &["redshift-local", "theatre"]),
    (
        "aws-",
        &[
            "theatre-aws",
            "theatre-kafka",
            "theatre-postgres",
            "theatre-s3",
            "theatre-redshift",
            "theatre-registry",
            "redshift-local",
            "theatre-dev",
        ],
    ),
    ("hyper", &["theatre-dev"]),
    ("parquet", &["theatre-parquet", "redshift-local"]),
    ("rdkafka", &["theatre-kafka", "theatre-dev", "theatre"]),
    ("rusqlite", &["theatre-embedded"]),
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
            "theatre-system",
            "theatre-kafka",
            "theatre-postgres",
            "theatre-s3",
            "theatre-redshift",
            "redshift-local",
            "theatre-dev",
        ],
    ),
    ("ureq", &["theatre-registry", "theatre-dev"]),
];

#[test]
fn crates_use_only_crates_above_them_in_the_table() {
    none(crates::check_arrows(ARROWS, &bounded()));
}

#[test]
fn drivers_stand_in_their_adapters_only() {
    none(crates::check_drivers(DRIVERS, &bounded()));
}

#[test]
fn every_dependency_is_used() {
    none(crates::check_unused(&manifests(), &sources(), &[]));
}

#[test]
fn files_and_functions_are_short() {
    none(sizes::check(
        &sizes::Bounds {
            file: 400,
            function: 70,
            files: &[],
            functions: &[],
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
        ("nobody", 0),
        ("somebody", 0),
        ("told", 0),
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
