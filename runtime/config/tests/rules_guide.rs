//! The examples of the guide on rules are rules that work, all of them together.

use std::collections::BTreeSet;

use theatre_actors::rules::RuleSet;
use theatre_actors::window::{AggregateSet, WindowPlan, WindowSpec};
use theatre_config::Config;
use theatre_schemas::registry::Registry;

/// The blocks of TOML in a page that have rules.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    let parts = page.split("```toml\n").skip(1);
    let blocks = parts.filter_map(|part| part.split("```").next());
    blocks.filter(|block| block.contains("[[rule]]"))
}

#[test]
fn every_kind_has_an_example_in_the_guide_that_can_be_copied() {
    let guide = include_str!("../../../docs/rules.md");
    let rules: String = blocks(guide).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    std::fs::write(&file, rules).unwrap();
    let config = Config {
        rules: Some(file.into()),
        ..Config::default()
    };
    let specs = config.rule_specs().unwrap();
    let registry = Registry::builtin();
    let mut set = RuleSet::compile(&specs, registry.datasets()).unwrap();
    let windows: Vec<WindowSpec> = (config.windows.iter())
        .map(|window| WindowSpec {
            name: window.name.clone(),
            size_us: window.size.0,
            hop_us: window.hop.unwrap_or(window.size).0,
        })
        .collect();
    let plan = WindowPlan::new(windows, AggregateSet::Full).unwrap();
    set.bind(&plan).unwrap();
    let kind = |spec| {
        let json = serde_json::to_value(spec).unwrap();
        let kind = json["kind"].as_object().unwrap();
        kind.keys().next().unwrap().clone()
    };
    let examples: BTreeSet<String> = specs.iter().map(kind).collect();
    let (_, table) = guide
        .split_once("| kind | the condition is open |")
        .unwrap();
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let named: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(named.len(), 11);
    for kind in named {
        // The two that are not shown are of a line each.
        let is_shown = examples.contains(kind) || ["boolean", "missing_data"].contains(&kind);
        assert!(is_shown, "{kind} has an example");
    }
}
