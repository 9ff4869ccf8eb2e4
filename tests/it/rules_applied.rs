//! A whole rule file against the rules that hold: shown, compared, applied, and its mistakes; and the
//! history of more changes than a partition remembers.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use theatre_tests::run;

use super::alerts::{Case, until};
use super::api::token;

fn limit(id: &str, version: i32, above: f64) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\nversion = {version}\npriority = \"low\"\ndataset = \"probe\"\nkind = {{ threshold = {{ signal = \"v\", raise_above = {above:?} }} }}\n"
    )
}

/// What a list says of each, by some of its keys.
fn lines(list: &Value, keys: &[&str]) -> Vec<String> {
    let all = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let said = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    all.iter()
        .map(|it| {
            let cells: Vec<String> = keys.iter().map(|key| said(&it[*key])).collect();
            cells.join(" ")
        })
        .collect()
}

#[test]
fn a_file_is_applied_to_the_rules_that_hold_and_the_same_again_changes_nothing() -> Result<()> {
    let case = Case::new()?;
    let (data, config) = (case.data(), case.config());
    let drain = || run(&data, &["--config", &config, "run", "--until-drained"]).map(drop);
    drain()?;
    let file = case.folder.path().join("wanted.toml");
    let path = file.display().to_string();
    // What holds, as a rule file, is what holds.
    let shown = run(&data, &["--config", &config, "rules", "show"])?;
    std::fs::write(&file, shown.stdout)?;
    let diff = || case.json(&data, &["rules", "diff", &path]);
    ensure!(lines(&diff()?, &["rule"]).is_empty(), "{:#}", diff()?);

    // One is edited without a higher version, one is new, one is gone.
    let text = std::fs::read_to_string(&file)?.replace("60.0", "62.5");
    let (hot, _) = text
        .split_once("[[rule]]\nid = \"burning\"")
        .context("two rules")?;
    std::fs::write(&file, format!("{hot}\n{}", limit("warm", 1, 50.0)))?;
    let keys = ["rule", "change", "difference"];
    let differs = [
        "hot changed kind.threshold.raise_above: 60.0 -> 62.5; its version 1 is taken, it is recorded as version 2",
        "warm new version 1",
        "burning not in the file apply leaves it, or removes it with --remove",
    ];
    let found = lines(&diff()?, &keys);
    ensure!(found == differs, "{found:#?}");
    let apply = |more: &[&str]| {
        let command = ["rules", "apply", &path, "--by", "Anna", "--comment", "4.2"];
        let made = case.json(&data, &[&command, more].concat())?;
        anyhow::Ok(lines(&made, &["change", "rule_id"]))
    };
    ensure!(apply(&[])? == ["put hot", "put warm"]);
    // Nothing has read that yet, and it is not said twice.
    ensure!(apply(&[])?.is_empty() && lines(&diff()?, &keys) == differs[2..]);
    drain()?;
    let rules = case.json(&data, &["rules", "list"])?;
    let versions = lines(&rules, &["rule", "version"]);
    ensure!(versions == ["hot 2", "burning 1", "warm 1"], "{versions:?}");
    ensure!(apply(&["--remove"])? == ["remove burning"]);
    ensure!(apply(&["--remove"])?.is_empty() && lines(&diff()?, &keys).is_empty());
    drain()?;
    let history = case.json(&data, &["rules", "history"])?;
    let history = lines(&history, &["change", "rule_id", "actor", "comment"]);
    let because = "4.2; version 1 of it was taken, it is recorded as version 2";
    let expected = [
        &format!("put hot Anna {because}"),
        "put warm Anna 4.2",
        "remove burning Anna 4.2",
    ];
    ensure!(history == expected, "{history:?}");

    // A file with faults changes nothing, and each is named with its line.
    let wrong = format!(
        "{}{}{}",
        limit("hot", 3, 65.0),
        limit("warm", 2, 51.0).replace("raise_above", "raise_abov"),
        limit("other", 1, 5.0).replace("signal = \"v\"", "signal = \"w\""),
    );
    std::fs::write(&file, wrong)?;
    for command in ["check", "diff", "apply"] {
        let refused = case.refused(&["rules", command, &path])?;
        for part in [
            "line 12",
            "did you mean raise_above",
            ":13: rule 'other'",
            "'w'",
        ] {
            ensure!(refused.contains(part), "{command}: {part}: {refused}");
        }
    }
    let misfit = "[[rule]]\nid = \"both\"\npriority = \"low\"\nkind = { combination = { of = { and = [\"hot\", \"wram\"] } } }\n";
    std::fs::write(&file, misfit)?;
    for command in [&["diff", &path][..], &["apply", &path, "--by", "Anna"]] {
        let refused = case.refused(&[&["rules", "--output", "json"], command].concat())?;
        ensure!(
            refused.contains("did you mean warm?"),
            "{command:?}: {refused}"
        );
    }
    drain()?;
    ensure!(lines(&case.json(&data, &["rules", "list"])?, &["rule"]) == ["hot", "warm"]);
    Ok(())
}

#[test]
fn the_history_of_rules_has_what_partitions_have_forgotten() -> Result<()> {
    /// More changes than a partition remembers, which are 512.
    const RULES: usize = 100;
    const VERSIONS: usize = 7;
    let case = Case::new()?;
    let (data, config) = (case.data(), case.config());
    let file = case.folder.path().join("many.toml");
    let path = file.display().to_string();
    for version in 1..=VERSIONS as i32 {
        let rule = |at| limit(&format!("r{at}"), version, 100.0 + f64::from(version));
        std::fs::write(&file, (0..RULES).map(rule).collect::<String>())?;
        run(
            &data,
            &["--config", &config, "rules", "apply", &path, "--by", "Anna"],
        )?;
        run(&data, &["--config", &config, "run", "--until-drained"])?;
    }
    let history = case.json(&data, &["rules", "history"])?;
    let made = lines(&history, &["change", "fate"]);
    ensure!(made.len() == RULES * VERSIONS, "{}", made.len());
    ensure!(made.iter().all(|it| it == "put counts"), "{made:?}");
    let of_one = case.json(&data, &["rules", "history", "--rule", "r7"])?;
    let versions = lines(&of_one, &["version"]);
    let expected: Vec<String> = (1..=VERSIONS).map(|version| version.to_string()).collect();
    ensure!(versions == expected, "{versions:?}");
    let served = case.serve()?;
    let viewer = token(&data, &["--role", "viewer"])?;
    until(&served, &viewer, "/api/v1/rules/changes", |seen| {
        let latest = &seen["items"][0]["rule_id"];
        seen["items"].as_array().map(Vec::len) == Some(RULES * VERSIONS)
            && *latest == history[RULES * VERSIONS - 1]["rule_id"]
    })?;
    Ok(())
}
