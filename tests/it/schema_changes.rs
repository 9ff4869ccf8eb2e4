//! A schema that changes: what lake and warehouse can follow just works, what they cannot is refused
//! before anything is kept, and the data directory is as good as before.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use theatre_tests::{run, theatre, topics};

/// A schema of a dataset, and the mapping of a file with its columns.
struct Version {
    id: u32,
    version: u32,
    dataset: String,
    kind: &'static str,
    /// Fields and their types beside robot and time.
    fields: Vec<(String, &'static str)>,
}

impl Version {
    fn of(id: u32, version: u32, fields: &[(&str, &'static str)]) -> Self {
        let fields = fields
            .iter()
            .map(|(name, avro)| ((*name).to_owned(), *avro));
        Self {
            id,
            version,
            dataset: "ds".to_owned(),
            kind: "telemetry",
            fields: fields.collect(),
        }
    }

    fn called(mut self, dataset: &str) -> Self {
        dataset.clone_into(&mut self.dataset);
        self
    }

    /// Replays rows of a minute each, beginning at one; gives the command's end.
    fn replay(&self, folder: &Path, data: &Path, minute: u32, rows: &[&str]) -> Result<Output> {
        Ok(self.command(folder, data, minute, rows)?.output()?)
    }

    fn command(&self, folder: &Path, data: &Path, minute: u32, rows: &[&str]) -> Result<Command> {
        let time = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
        let fields = self.fields.iter().map(|(name, avro)| {
            format!(r#",{{"name":"{name}","type":["null","{avro}"],"default":null}}"#)
        });
        let schema = format!(
            r#"{{"type":"record","name":"S","theatre":{{"id":{},"dataset":"{}","kind":"{}","version":{}}},"fields":[
            {{"name":"robot_id","type":"string"}},{{"name":"event_time","type":{time}}}{}]}}"#,
            self.id,
            self.dataset,
            self.kind,
            self.version,
            fields.collect::<String>()
        );
        let name = format!("{}-{}", self.dataset, self.id);
        std::fs::write(folder.join(format!("{name}.avsc")), schema)?;
        std::fs::write(folder.join("rules.toml"), "")?;
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        let columns = names.iter().map(|name| format!("{name} = \"{name}\"\n"));
        let mapping = format!(
            "schema = \"{name}.avsc\"\nrules = \"rules.toml\"\nrobot_id = \"r1\"\ntime_column = \"time\"\n[columns]\n{}",
            columns.collect::<String>()
        );
        let mapping_path = folder.join(format!("{name}.toml"));
        std::fs::write(&mapping_path, mapping)?;
        let file = folder.join(format!("{name}-{minute}.csv"));
        let lines = (minute..)
            .zip(rows)
            .map(|(minute, row)| format!("2026-01-31T08:{minute:02}:00.000Z,{row}\n"));
        let text = format!("time,{}\n{}", names.join(","), lines.collect::<String>());
        std::fs::write(&file, text)?;
        let (file, mapping) = (file.to_string_lossy(), mapping_path.to_string_lossy());
        let arguments = ["replay", &*file, "--mapping", &*mapping, "--quiet"];
        theatre(data, &arguments)
    }

    fn must_replay(&self, folder: &Path, data: &Path, minute: u32, rows: &[&str]) -> Result<()> {
        let ended = self.replay(folder, data, minute, rows)?;
        ensure!(
            ended.status.success(),
            "{}: {}",
            self.id,
            String::from_utf8_lossy(&ended.stderr)
        );
        Ok(())
    }
}

fn query(data: &Path, sql: &str) -> Result<serde_json::Value> {
    let found = run(data, &["--output", "json", "warehouse", "query", sql])?;
    Ok(serde_json::from_slice(&found.stdout)?)
}

#[test]
fn numbers_that_widen_and_columns_that_are_added_just_work_in_any_order() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let first = Version::of(3600, 1, &[("v", "long"), ("n", "int")]);
    let second = Version::of(
        3601,
        2,
        &[("added", "string"), ("v", "double"), ("n", "long")],
    );
    first.must_replay(folder.path(), data.path(), 0, &["1,1"])?;
    second.must_replay(folder.path(), data.path(), 1, &["a,2.5,5000000000"])?;
    first.must_replay(folder.path(), data.path(), 2, &["3,3"])?;
    let rows = query(
        data.path(),
        "SELECT v, n, added FROM ds ORDER BY event_time",
    )?;
    let numbers: Vec<(Option<f64>, Option<i64>, Option<&str>)> = rows
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (row["v"].as_f64(), row["n"].as_i64(), row["added"].as_str()))
        .collect();
    ensure!(
        numbers
            == [
                (Some(1.0), Some(1), None),
                (Some(2.5), Some(5_000_000_000), Some("a")),
                (Some(3.0), Some(3), None)
            ],
        "{rows}"
    );
    run(data.path(), &["config", "check"])?;
    run(data.path(), &["reconcile"]).map(drop)
}

#[test]
fn files_of_before_are_loaded_into_the_wider_column() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let first = Version::of(3600, 1, &[("v", "int")]);
    // Into the lake alone.
    let ended = first
        .command(folder.path(), data.path(), 0, &["1"])?
        .env("THEATRE__WAREHOUSE__ENABLED", "false")
        .output()?;
    ensure!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let second = Version::of(3601, 2, &[("v", "double")]);
    second.must_replay(folder.path(), data.path(), 1, &["2.5"])?;
    let rows = query(data.path(), "SELECT v FROM ds ORDER BY event_time")?;
    let numbers: Vec<Option<f64>> = rows
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| row["v"].as_f64())
        .collect();
    ensure!(numbers == [Some(1.0), Some(2.5)], "{rows}");
    run(data.path(), &["reconcile"]).map(drop)
}

/// Names of the schemas that are kept, and the log's records by topic and partition.
type Kept = (Vec<String>, BTreeMap<(String, u32), Vec<Vec<u8>>>);

/// The schemas that a data directory keeps, and what its log holds.
fn kept(data: &Path) -> Result<Kept> {
    let mut schemas: Vec<String> = std::fs::read_dir(data.join("schemas"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    schemas.sort();
    Ok((schemas, topics(data)?))
}

#[test]
fn what_cannot_pass_is_refused_before_anything_is_kept_and_the_old_schema_works_on() -> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let first = Version::of(3600, 1, &[("v", "long"), ("t", "string")]);
    first.must_replay(folder.path(), data.path(), 0, &["1,a"])?;
    let before = kept(data.path())?;
    let many: Vec<String> = (0..2100).map(|at| format!("c{at}")).collect();
    let many: Vec<(&str, &'static str)> =
        many.iter().map(|name| (name.as_str(), "double")).collect();
    let values = vec!["1"; many.len()].join(",");
    let both = ("v", "long");
    let refused = [
        (
            Version::of(3601, 2, &[("v", "string"), ("t", "string")]),
            "1,a",
            "'v' was",
        ),
        (Version::of(3602, 2, &[both]), "1", "'t' was in dataset"),
        (
            Version::of(3603, 2, &[("v", "long"), ("t", "double")]),
            "1,2",
            "'t' was",
        ),
        (
            Version::of(3604, 2, &[("v", "boolean"), ("t", "string")]),
            "true,a",
            "'v' was",
        ),
        (
            Version::of(3605, 1, &many).called("many"),
            values.as_str(),
            "the warehouse takes 2000",
        ),
        (
            Version::of(3606, 1, &[both]).called("load_ledger"),
            "1",
            "keeps this name",
        ),
        (
            Version::of(3607, 1, &[both]).called("sqlite_x"),
            "1",
            "keeps this name",
        ),
        (
            Version::of(3608, 1, &[both]).called("maintenance_alerts"),
            "1",
            "table of outputs",
        ),
        (
            Version::of(3609, 1, &[("v", "long"), ("_offset", "long")]).called("meta"),
            "1,2",
            "two fields become",
        ),
        (
            Version {
                kind: "robot_events",
                ..Version::of(3610, 1, &[both]).called("events")
            },
            "1",
            "replayed as telemetry",
        ),
    ];
    for (version, row, why) in refused {
        let ended = version.replay(folder.path(), data.path(), 1, &[row])?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            ended.status.code() == Some(2) && said.contains(why),
            "{}: {:?} {said}",
            version.id,
            ended.status
        );
        ensure!(kept(data.path())? == before, "{}: {said}", version.id);
    }
    first.must_replay(folder.path(), data.path(), 2, &["3,c"])?;
    let rows = query(data.path(), "SELECT v FROM ds ORDER BY event_time")?;
    ensure!(
        rows.as_array().is_some_and(|rows| rows.len() == 2),
        "{rows}"
    );
    run(data.path(), &["reconcile"]).map(drop)
}

#[test]
fn a_configuration_that_cannot_start_is_refused_with_all_its_faults_by_check_and_start()
-> Result<()> {
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let rules = folder.path().join("rules.toml");
    let kind =
        "kind = { threshold = { signal = \"nothing\", raise_above = 1.0, clear_below = 0.5 } }";
    std::fs::write(
        &rules,
        format!(
            "[[rule]]\nid = \"a\"\npriority = \"high\"\ndataset = \"robot_telemetry\"\ndescription = \"a\"\n{kind}\n"
        ),
    )?;
    let config = folder.path().join("theatre.toml");
    std::fs::write(
        &config,
        "rules = \"rules.toml\"\nadmin = \"nowhere\"\nschemas = [\"none.avsc\"]\nsave_interval = \"0s\"\n[[windows]]\nname = \"w\"\nsize = \"0s\"\n",
    )?;
    let config = config.to_string_lossy().into_owned();
    let named = ["admin", "none.avsc", "save_interval", "windows"];
    for command in [&["config", "check"][..], &["run", "--until-drained"]] {
        let ended = theatre(data.path(), &[&["--config", &config], command].concat())?.output()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            ended.status.code() == Some(2) && named.iter().all(|key| said.contains(key)),
            "{command:?}: {:?} {said}",
            ended.status
        );
    }
    let arguments = ["--config", &config, "--output", "json", "config", "check"];
    let ended = theatre(data.path(), &arguments)?.output()?;
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout)?;
    ensure!(
        report["good"] == false
            && report["faults"]
                .as_array()
                .is_some_and(|faults| faults.len() >= named.len()),
        "{report}"
    );
    // With schemas that can be read the rules are tried against their signals.
    std::fs::write(&config, "rules = \"rules.toml\"\n")?;
    let ended = theatre(data.path(), &["--config", &config, "config", "check"])?.output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(
        ended.status.code() == Some(2) && said.contains("nothing"),
        "{said}"
    );
    let good = run(data.path(), &["--output", "json", "config", "check"])?;
    let report: serde_json::Value = serde_json::from_slice(&good.stdout)?;
    ensure!(
        report["good"] == true && report["pipeline"]["datasets"].is_array(),
        "{report}"
    );
    let shown = run(data.path(), &["--output", "json", "config", "show"])?;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
    ensure!(shown["partitions"] == 4, "{shown}");
    Ok(())
}
