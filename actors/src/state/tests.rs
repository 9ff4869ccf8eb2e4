//! Goldens: the bytes of every version of every stored type, as deployed stores hold them.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use super::*;
use crate::outputs::DeadReason;
use crate::ports::{ErasedBy, ErasedRows};
use crate::processor::IntakeProcessor;

fn golden(name: &str, version: u8) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("golden/{}/v{version}.bin", name.replace(' ', "_")))
}

/// The value that every golden of a type holds. A golden of the present version is compared byte by
/// byte; those of older versions are read, and give the same value.
fn check<T: Stored + PartialEq + Debug>(sample: &T) -> &'static str {
    let written = encode(sample);
    assert_eq!(written[0], sample.version());
    let present = golden(T::NAME, sample.version());
    if std::env::var_os("THEATRE_GOLDEN").is_some_and(|wish| wish == "write") && !present.exists() {
        std::fs::create_dir_all(present.parent().unwrap()).unwrap();
        std::fs::write(&present, &written).unwrap();
    }
    assert!(
        std::fs::read(&present).unwrap() == written,
        "the encoding of the {} changed: raise its version and keep the golden",
        T::NAME
    );
    for version in 1..=T::VERSION {
        let bytes = std::fs::read(golden(T::NAME, version)).unwrap();
        assert_eq!(bytes[0], version, "{}", T::NAME);
        assert_eq!(&decode::<T>(&bytes).unwrap(), sample, "{}", T::NAME);
        for length in 0..bytes.len() {
            assert!(
                matches!(
                    decode::<T>(&bytes[..length]),
                    Err(StateError::Damaged { .. })
                ),
                "{} version {version}, {length} bytes",
                T::NAME
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(
            matches!(decode::<T>(&longer), Err(StateError::Damaged { .. })),
            "{} version {version}, a byte too many",
            T::NAME
        );
    }
    for found in [0, T::VERSION + 1, u8::MAX] {
        let known = T::VERSION;
        let error = decode::<T>(&[found, 0, 0, 0]).unwrap_err();
        let name = T::NAME;
        assert_eq!(error, StateError::Version { name, found, known });
        let text = error.to_string();
        for part in [T::NAME, &found.to_string(), "or a later one"] {
            assert!(text.contains(part), "{text}");
        }
    }
    T::NAME
}

fn dead_row() -> DeadRow {
    DeadRow {
        topic: 1,
        offset: 300,
        append_time: 1_700_000_000_000_000,
        reason: DeadReason::WrongPartition,
        detail: "why".into(),
        robot_id: Some("r-1".into()),
        schema_id: Some(7),
        payload: vec![0, 1, 255],
        sealed: true,
        size: 1_000,
        sha256: "ab".into(),
    }
}

#[test]
fn the_golden_of_every_version_of_every_stored_type_is_read() {
    let mut intake = IntakeProcessor::default();
    intake.dead_letter_row(&dead_row());
    let file = LakeFile {
        path: "fleet_telemetry/date=2026-01-02/p0.parquet".into(),
        upload: "u-1".into(),
        dataset: "fleet_telemetry".into(),
        rows: 4_096,
        bytes: 123_456,
        event_time_min: -5,
        event_time_max: 1_700_000_000_000_000,
        erased: Vec::new(),
        erasing: Vec::new(),
    };
    let layout = PastLayout {
        partitions: 2,
        ended_at: vec![Positions::from(vec![1, 200]), Positions::zero()],
    };
    let checked = BTreeSet::from([
        check(&Positions::from(vec![0, 7, 70_000])),
        check(&dead_row()),
        check(&file),
        check(&layout),
        check(&vec!["robot-telemetry".to_owned(), "events".to_owned()]),
        check(&intake),
        // Its golden is a robot's whole life, compared in `processor::tests::golden`.
        "processor",
    ]);
    let known: Vec<_> = stored_types(&["actors"]);
    let listed: BTreeSet<&str> = known.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(listed, checked, "a stored type is not in this test");
}

#[test]
fn the_registration_of_a_file_of_which_rows_are_erased_comes_back_and_is_frozen() {
    let of = |by, rows| ErasedRows { by, rows };
    let file = LakeFile {
        path: "data/t/p0.parquet".into(),
        upload: "u".into(),
        dataset: "t".into(),
        rows: 300,
        bytes: 9,
        event_time_min: -5,
        event_time_max: 7,
        erased: vec![of(ErasedBy::Robot("r-1".into()), 200)],
        erasing: vec![of(ErasedBy::Before(-3), 1)],
    };
    let written = encode(&file);
    // One of which none are erased is written as builds of before read it: `check` says so.
    assert_eq!(written[0], 2);
    let present = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/lake_file/v2_erased.bin");
    if std::env::var_os("THEATRE_GOLDEN").is_some_and(|wish| wish == "write") && !present.exists() {
        std::fs::write(&present, &written).unwrap();
    }
    assert!(std::fs::read(&present).unwrap() == written);
    assert_eq!(decode::<LakeFile>(&written).unwrap(), file);
    assert_eq!((file.erased_rows(), file.erasing_rows()), (200, 1));
    assert!(file.has_rows(300) && file.has_rows(299) && !file.has_rows(298));
}

#[test]
fn every_stored_type_of_the_workspace_has_the_golden_of_every_version() {
    let known = stored_types(&["actors", "schemas", "runtime"]);
    assert_eq!(known.len(), 8, "{known:?}");
    for (package, name, version) in known {
        for version in 1..=version {
            let file = package.join(format!("golden/{}/v{version}.bin", name.replace(' ', "_")));
            assert!(file.exists(), "{} is missing", file.display());
        }
    }
}

/// Package, name and version of the stored types, as their `impl`s in the sources say.
fn stored_types(folders: &[&str]) -> Vec<(PathBuf, String, u8)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut pending: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .filter(|path| !path.ends_with("target")),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let package = path
                .ancestors()
                .find(|folder| folder.join("Cargo.toml").exists())
                .unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for (at, _) in lines
                .iter()
                .enumerate()
                .filter(|(_, line)| line.starts_with("impl") && line.contains("Stored for "))
            {
                let value = |constant: &str| {
                    let line = lines[at..]
                        .iter()
                        .find(|line| line.trim().starts_with(constant))
                        .unwrap();
                    let value = line.split('=').nth(1).unwrap();
                    value.trim_matches([' ', ';', '"']).to_owned()
                };
                let version = value("const VERSION").parse().unwrap();
                found.push((package.to_owned(), value("const NAME"), version));
            }
        }
    }
    found
}
