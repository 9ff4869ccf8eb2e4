//! Any text as `theatre.toml` (the first byte even) or as a rule file. It is refused with an error
//! that names the file, or the faults of what it says are named; a rule that is taken is, as JSON,
//! the same rule.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use theatre_actors::rules::{RuleSet, RuleSpec};
use theatre_config::check::Faults;
use theatre_config::inputs::NoSources;
use theatre_config::layers::{Origins, every_key};
use theatre_config::{Config, parse, rules_of};
use theatre_pipeline::PipelineParams;

mod shared;

static PARAMS: LazyLock<PipelineParams> = LazyLock::new(shared::params);

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if kind % 2 == 0 {
        config(text);
    } else {
        rules(text);
    }
});

fn config(text: &str) {
    let mut config: Config = match parse(Path::new("theatre.toml"), text) {
        Ok(config) => config,
        Err(error) => {
            let said = error.to_string();
            return assert!(
                said.starts_with("theatre.toml: ") && said.len() > 16,
                "{said}"
            );
        }
    };
    for fault in config.faults().list() {
        assert!(!fault.trim().is_empty());
    }
    every_key(&config, &Origins::new()).expect("what was read is written down");
    // No file of this machine is read.
    (config.rules, config.schema_folder) = (None, None);
    config.schemas.clear();
    config
        .input
        .iter_mut()
        .for_each(|input| input.schema = None);
    let mut faults = Faults::default();
    let clock = shared::clock();
    let made = PipelineParams::try_out(&config, [7; 32], &NoSources, &clock, &mut faults);
    assert!(
        made.is_some() || !faults.is_empty(),
        "no pipeline and no fault"
    );
}

fn rules(text: &str) {
    let specs = match rules_of(Path::new("rules.toml"), text) {
        Ok(specs) => specs,
        Err(error) => {
            let said = error.to_string();
            return assert!(
                said.starts_with("rules.toml: ") && said.len() > 14,
                "{said}"
            );
        }
    };
    let datasets = PARAMS.registry.datasets();
    let compiled = RuleSet::compile(&specs, datasets);
    for spec in &specs {
        if let Err(error) = RuleSet::check(spec, datasets) {
            assert!(compiled.is_err() && error.to_string().contains(&spec.id));
            continue;
        }
        let json = serde_json::to_string(spec).expect("a rule is JSON");
        let read: RuleSpec = serde_json::from_str(&json).expect("and the JSON is a rule");
        assert_eq!(serde_json::to_string(&read).expect("a rule is JSON"), json);
    }
    if let Ok(mut compiled) = compiled
        && compiled.bind(&PARAMS.processor.windows).is_ok()
    {
        let again = RuleSet::compile(&compiled.written(), datasets);
        assert!(again.is_ok(), "{:?}", again.err());
    }
}
