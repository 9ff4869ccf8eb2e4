//! Whether the documents of this repository are true, and those that are generated are fresh.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use theatre_actors::rules::RuleSpec;
use theatre_config::Config;
use theatre_config::reference::{self, Key, Section};
use theatre_recordings::mapping::Mapping;
use theatre_tidy::chart;
use theatre_tidy::crates::Manifest;
use theatre_tidy::documents::{
    Document, Known, RENEW, anchors, check, check_generated, check_width, renewed, words_of,
};
use theatre_tidy::source::{files, read, root, sources};
use theatre_tidy::{Findings, none};

/// Words in code of documents that belong to other programs.
const FOREIGN: &[&str] = &[
    // A column, made from the signal `joints[2].current`.
    "joints_2_current",
    // Kafka's tool for the settings of topics.
    "configs",
    // Debian's packages for OpenSSL.
    "libssl",
    "pkg",
    // A file of yours.
    "my_robot",
    // A repository, in place of its real name.
    "OWNER",
    "NAME",
    // The Data API.
    "ExecutionMode",
    // A metric of the process, by metrics-process.
    "process_cpu_seconds_total",
];

/// The documents that are held to the truth: not the changelog, which names what was.
fn documents() -> Vec<Document> {
    files("md")
        .iter()
        .filter(|path| *path != "CHANGELOG.md")
        .map(|path| Document::parse(path, &read(path)))
        .collect()
}

fn sections() -> Vec<Section> {
    reference::sections().expect("the reference of the configuration can be made")
}

fn mapping_keys() -> Vec<Key> {
    reference::keys_of::<Mapping>().expect("the reference of a mapping can be made")
}

/// Everything that a document may name.
fn known() -> Known {
    let mut known = Known {
        foreign: FOREIGN.iter().map(|word| (*word).to_owned()).collect(),
        ..Known::default()
    };
    let scripts = [
        ".cargo/config.toml",
        ".ci/run",
        "Dockerfile",
        "compose/.env.example",
        "infra/cost/model",
        "infra/deploy",
        "infra/destroy",
        "infra/job",
        "infra/settings",
        "infra/shell",
        "infra/stacks",
        "justfile",
        "tests/fuzz/run",
        "tests/ops/compose/run",
        "tests/ops/engine",
        "tests/ops/in-debian",
        "tests/ops/infra/run",
        "tests/ops/kubernetes/run",
        "tests/ops/linkage",
        "tests/ops/lint/run",
        "tests/ops/run",
        "tests/ops/watch/run",
        "tests/run",
        "tests/speed/curves",
        "tests/speed/flame",
        "tests/speed/run",
    ];
    let texts = [
        "rs", "toml", "sql", "avsc", "xml", "sh", "yaml", "tpl", "py",
    ];
    let mut read_too: Vec<String> = scripts.map(str::to_owned).to_vec();
    for extension in texts
        .iter()
        .chain(&["md", "csv", "json", "bin", "lock", "txt", "png", "svg"])
    {
        let found = files(extension);
        known.files.extend(found.iter().cloned());
        if texts.contains(extension) {
            read_too.extend(found);
        }
    }
    known.files.extend(scripts.map(str::to_owned));
    known.files.insert("LICENSE".to_owned());
    known.files.extend(files("svg"));
    read_too.retain(|path| root().join(path).is_file());
    for path in read_too {
        known.words.extend(words_of(&read(&path)));
        let stem = path.rsplit('/').next().unwrap_or_default();
        known.words.extend(words_of(stem));
        known
            .defined
            .extend(stem.strip_suffix(".rs").map(str::to_owned));
    }
    for source in sources() {
        let words: Vec<String> = words_of(&source.code).collect();
        let defines = |word: &str| {
            [
                "fn", "mod", "struct", "enum", "trait", "type", "const", "static",
            ]
            .contains(&word)
        };
        for pair in words.windows(2).filter(|pair| defines(&pair[0])) {
            known.defined.insert(pair[1].clone());
        }
    }
    for path in files("toml") {
        if let Some(folder) = path.strip_suffix("/Cargo.toml") {
            let name = Manifest::parse(folder, &read(&path))
                .expect("a manifest of the workspace can be read")
                .name;
            known.defined.insert(name.replace('-', "_"));
            known.packages.insert(name.replace('-', "_"));
        }
    }
    let metrics = theatre_telemetry::catalogue();
    known
        .metrics
        .extend(metrics.iter().map(|metric| metric.name.to_owned()));
    let keys = sections().into_iter().flat_map(|section| section.keys);
    known.keys.extend(keys.map(|key| key.path));
    known
        .keys
        .extend(mapping_keys().into_iter().map(|key| key.path));
    // The chart has a section that is called as one of the configuration is.
    let values = chart::values(&read("helm/theatre/values.yaml"));
    let values = values.expect("the values of the chart can be read");
    let of_that_section = values.into_iter().map(|value| value.path);
    known
        .keys
        .extend(of_that_section.filter(|path| path.starts_with("api.")));
    known
}

#[test]
fn documents_name_only_what_is_there() {
    let known = known();
    let headings = |path: &str, anchor: &str| anchors(&read(path)).contains(anchor);
    let documents = documents();
    none(
        documents
            .iter()
            .flat_map(|document| check(document, &known, &headings))
            .collect(),
    );
}

/// A rule file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(rename = "rule")]
    _rules: Vec<RuleSpec>,
}

/// Why an example is no configuration, rule file or mapping.
fn unreadable(example: &str) -> Option<String> {
    let error = if example.contains("[[rule]]") {
        toml::from_str::<Rules>(example).err()
    } else if example.contains("[columns]") {
        toml::from_str::<Mapping>(example).err()
    } else {
        toml::from_str::<Config>(example).err()
    };
    error.map(|error| error.to_string())
}

#[test]
fn examples_of_configurations_and_rules_can_be_read() {
    let mut findings = Findings::new();
    for document in documents() {
        for block in document
            .blocks
            .iter()
            .filter(|block| block.language == "toml")
        {
            findings.extend(
                unreadable(&block.text)
                    .map(|error| format!("{}:{}: {error}", document.path, block.line)),
            );
        }
    }
    none(findings);
}

#[test]
fn an_example_with_a_key_that_is_not_there_is_found() {
    assert_eq!(unreadable("partitions = 4\n[lake]\nenabled = true"), None);
    assert!(unreadable("partitons = 4").is_some_and(|error| error.contains("partitons")));
    assert!(unreadable("[columns]\nv = \"v\"").is_some_and(|error| error.contains("schema")));
    assert!(unreadable("[[rule]]\nid = \"a\"\nkind = { treshold = {} }").is_some());
}

#[test]
fn the_readme_is_short_and_prose_is_wrapped() {
    let readme = read("README.md");
    assert!(
        readme.lines().count() <= 150,
        "README.md: 150 lines at most"
    );
    none(
        documents()
            .iter()
            .flat_map(|document| check_width(document, 100, document.path == "README.md"))
            .collect(),
    );
}

#[test]
fn generated_documents_are_fresh() {
    let mut findings = Findings::new();
    for (path, generated) in [
        ("docs/configuration.md", configuration()),
        ("docs/inputs.md", mapping()),
        ("docs/metrics.md", metrics()),
    ] {
        let file = read(path);
        let fresh = renewed(&file, &generated);
        if std::env::var_os("THEATRE_RENEW").is_some() {
            fs::write(root().join(path), &fresh).unwrap();
        } else {
            findings.extend(check_generated(path, &file, &fresh, RENEW));
        }
    }
    none(findings);
}

#[test]
fn the_generated_document_of_the_http_interface_is_fresh() {
    let path = "docs/openapi.json";
    let fresh = format!("{:#}\n", theatre_api::openapi());
    if std::env::var_os("THEATRE_RENEW").is_some() {
        fs::write(root().join(path), &fresh).unwrap();
    } else {
        none(check_generated(path, &read(path), &fresh, RENEW));
    }
}

/// A text as it stands in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace("\n\n", "<br>")
        .replace('\n', " ")
}

fn configuration() -> String {
    let mut text = String::new();
    for section in sections() {
        let header = match section.header.as_str() {
            "" => "Keys above all tables".to_owned(),
            header => format!("`{header}`"),
        };
        let _ = write!(text, "\n## {header}\n\n");
        for paragraph in section.doc.split("\n\n") {
            let _ = write!(text, "{}\n\n", wrapped(paragraph));
        }
        if let Some(default) = &section.default {
            let _ = write!(text, "Default:\n\n```toml\n{default}\n```\n\n");
        }
        text.push_str("| key | type | default | |\n|---|---|---|---|\n");
        for key in &section.keys {
            text.push_str(&row(key));
        }
    }
    text
}

fn mapping() -> String {
    let mut text = "\n## Keys of a mapping\n\n".to_owned();
    text.push_str("| key | type | default | |\n|---|---|---|---|\n");
    for key in mapping_keys() {
        text.push_str(&row(&key));
    }
    text
}

fn row(key: &Key) -> String {
    let name = key.path.rsplit('.').next().unwrap_or_default();
    let default = match (&key.default, key.is_required) {
        (_, true) => "required".to_owned(),
        (Some(default), _) => format!("`{}`", cell(default)),
        (None, _) => String::new(),
    };
    let mut doc = cell(&key.doc);
    for (value, meaning) in &key.values {
        let _ = write!(doc, "<br>`{value}`: {}", cell(meaning));
    }
    format!("| `{name}` | {} | {default} | {doc} |\n", cell(&key.kind))
}

/// A paragraph in lines of 100 columns.
fn wrapped(paragraph: &str) -> String {
    let mut lines = vec![String::new()];
    for word in paragraph.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > 100 {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines.join("\n")
}

fn metrics() -> String {
    let mut text = "\n| metric | kind | unit | labels | |\n|---|---|---|---|---|\n".to_owned();
    for metric in theatre_telemetry::catalogue() {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            metric.kind,
            metric.unit,
            labels.join(", "),
            cell(metric.help)
        );
    }
    text
}

#[test]
fn paragraphs_are_wrapped_and_cells_escaped() {
    let long = "word ".repeat(40);
    assert!(wrapped(&long).lines().all(|line| line.len() <= 100));
    assert_eq!(wrapped(&long).split_whitespace().count(), 40);
    assert_eq!(cell("a | b\n\nc\nd"), "a \\| b<br>c d");
    let names: BTreeSet<String> = words_of("a.b_c(d)").collect();
    assert_eq!(names.len(), 3);
}
