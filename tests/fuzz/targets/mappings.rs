//! A mapping and a file, parted by a line of dashes: rows come out as the property test of the
//! crate asks for. Without such a line all is a file of which a mapping, a schema and rules are
//! made: those that say all that is needed are taken by the program that wrote them.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use theatre_actors::rules::RuleSet;
use theatre_config::{parse, rules_of};
use theatre_recordings::infer::Inferred;
use theatre_recordings::look::{Hints, look};
use theatre_recordings::mapping::Mapping;
use theatre_recordings::rows::Plan;
use theatre_schemas::registry::Registry;

#[path = "../../../runtime/recordings/tests/checked/mod.rs"]
#[allow(dead_code)]
mod checked;

static CORPUS: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtime/recordings/corpus"));
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("theatre-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the files that are looked at");
    folder
});

const PARTED: &[u8] = b"\n----\n";
const NAMES: [&str; 4] = ["in.csv", "in.ndjson", "in.parquet", "in.mcap"];

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let name = NAMES[usize::from(*kind) % NAMES.len()];
    let parted = bytes.windows(PARTED.len()).position(|part| part == PARTED);
    match parted {
        Some(at) => mapped(name, &bytes[..at], &bytes[at + PARTED.len()..]),
        None => inferred(name, bytes),
    }
});

fn mapped(name: &str, mapping: &[u8], file: &[u8]) {
    let Ok(text) = std::str::from_utf8(mapping) else {
        return;
    };
    let mut mapping: Mapping = match parse(Path::new("m.toml"), text) {
        Ok(mapping) => mapping,
        Err(error) => return assert!(error.to_string().starts_with("m.toml: ")),
    };
    mapping.schema = CORPUS.join("signals.avsc");
    mapping.rules = None;
    if let Ok(plan) = Plan::new(mapping) {
        checked::check(&[Arc::new(plan)], name, file);
    }
}

fn inferred(name: &str, file: &[u8]) {
    let path = FOLDER.join(name);
    std::fs::write(&path, file).expect("a file to look at");
    let Ok(looked) = look(&path.to_string_lossy(), &Hints::default()) else {
        return;
    };
    looked.table();
    let made = Inferred::of(&looked, &|_| false);
    let mut registry = Registry::default();
    let added = registry.add(&made.schema.1);
    let rules = rules_of(Path::new("rules.toml"), &made.rules.1).expect("rules are rules");
    let mapping: Result<Mapping, _> = parse(Path::new("m.toml"), &made.mapping.1);
    let mut mapping = mapping.unwrap_or_else(|error| panic!("{error}\n{}", made.mapping.1));
    if !looked.unclear.is_empty() {
        return;
    }
    added.unwrap_or_else(|error| panic!("{error}\n{}", made.schema.1));
    let compiled = RuleSet::compile(&rules, registry.datasets());
    compiled.unwrap_or_else(|error| panic!("{error}\n{}", made.rules.1));
    mapping.schema = FOLDER.join("made.avsc");
    std::fs::write(&mapping.schema, &made.schema.1).expect("a schema to be read");
    Plan::new(mapping).unwrap_or_else(|error| panic!("{error}\n{}", made.mapping.1));
}
