//! Whether documents are true: whether what they name is there.

use std::collections::BTreeSet;

use crate::Findings;

/// From here on a document is generated.
const MARK: &str = "<!-- From here on generated from the sources: `just renew` -->\n";
/// How the generated documents are renewed.
pub const RENEW: &str = "THEATRE_RENEW=1 cargo test -p theatre-tidy generated";

/// A document as it should be: the file's own prose, and what is generated behind the mark.
#[must_use]
pub fn renewed(file: &str, generated: &str) -> String {
    let prose = file.split_once(MARK).map_or(file, |(prose, _)| prose);
    format!("{prose}{MARK}{generated}")
}

/// A document in Markdown, taken apart.
#[derive(Debug)]
pub struct Document {
    /// Path from the root of the repository.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Blocks of code.
    pub blocks: Vec<Block>,
    /// Code within lines of prose, with the line.
    pub spans: Vec<(usize, String)>,
    /// Targets of links, with the line.
    pub links: Vec<(usize, String)>,
}

/// A block of code of a document.
#[derive(Debug)]
pub struct Block {
    /// Line of its fence.
    pub line: usize,
    /// Its language, `sh` or `toml`; empty where none is given.
    pub language: String,
    /// What it holds.
    pub text: String,
}

impl Document {
    /// Takes a document apart.
    #[must_use]
    pub fn parse(path: &str, text: &str) -> Self {
        let mut document = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            blocks: Vec::new(),
            spans: Vec::new(),
            links: Vec::new(),
        };
        let mut open: Option<Block> = None;
        // Prose since the last empty line, and the number of its first line: a span may go on in
        // the next line.
        let mut prose = (String::new(), 1);
        for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
            let fence = line.trim_start().strip_prefix("```");
            if open.is_none() && fence.is_none() && !line.trim().is_empty() {
                if prose.0.is_empty() {
                    prose.1 = number;
                }
                prose.0.push_str(line);
                prose.0.push('\n');
                continue;
            }
            document.add_prose(&std::mem::take(&mut prose.0), prose.1);
            match (&mut open, fence) {
                (Some(_), Some(_)) => document.blocks.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, Some(language)) => {
                    open = Some(Block {
                        line: number,
                        language: language.trim().to_owned(),
                        text: String::new(),
                    });
                }
                (None, None) => {}
            }
        }
        document.add_prose(&prose.0, prose.1);
        document
    }

    /// Adds the spans and links of a paragraph that begins at a line.
    fn add_prose(&mut self, prose: &str, first: usize) {
        let mut line = first;
        for (at, piece) in prose.split('`').enumerate() {
            if at % 2 == 1 {
                let words: Vec<&str> = piece.split_whitespace().collect();
                self.spans.push((line, words.join(" ")));
            }
            line += piece.matches('\n').count();
        }
        for (number, line) in prose.lines().enumerate() {
            for rest in line.split("](").skip(1) {
                let target = rest.split(')').next().unwrap_or_default();
                self.links.push((first + number, target.to_owned()));
            }
        }
    }

    /// Commands of the program that the document shows, with their lines, such as `theatre run`:
    /// those of its blocks for a shell and of its prose, split into words, without `theatre`.
    /// `cargo theatre x` is `theatre x`, and `cargo demo` is `theatre demo`.
    #[must_use]
    pub fn commands(&self) -> Vec<(usize, Vec<String>)> {
        let mut lines: Vec<(usize, String)> = self.spans.clone();
        for block in self.blocks.iter().filter(|block| block.language == "sh") {
            let mut whole = String::new();
            for (at, line) in block.text.lines().enumerate() {
                whole.push_str(line);
                if whole.ends_with('\\') {
                    whole.pop();
                } else {
                    lines.push((block.line + 1 + at, std::mem::take(&mut whole)));
                }
            }
        }
        let mut commands = Vec::new();
        for (number, line) in lines {
            let words = shell_words(&line);
            for command in words.split(|word| word == "&&" || word == "|") {
                // What the shell does with the output is no argument.
                let end = command.iter().position(|word| word == ">" || word == ">>");
                let command = &command[..end.unwrap_or(command.len())];
                commands.extend(of_program(command).map(|arguments| (number, arguments.to_vec())));
            }
        }
        commands
    }
}

/// The arguments of the program where a command runs it, in a container too.
fn of_program(command: &[String]) -> Option<&[String]> {
    let (first, rest) = command.split_first()?;
    let begins = |rest: &[String], name: &str| rest.first().is_some_and(|word| word == name);
    match first.as_str() {
        "theatre" => Some(rest),
        "cargo" if begins(rest, "theatre") => rest.get(1..),
        "cargo" if begins(rest, "demo") => Some(rest),
        "kubectl" => {
            let place = rest.iter().position(|word| word == "--")?;
            of_program(&rest[place + 1..])
        }
        // docker compose exec SERVICE COMMAND
        "docker" => {
            let place = rest.iter().position(|word| word == "exec")?;
            let mut words = rest[place + 1..].iter();
            let service = words.position(|word| !word.starts_with('-'))?;
            of_program(&rest[place + 2 + service..])
        }
        _ => None,
    }
}

/// Words of a line for a shell: quotation marks hold words together, `#` begins a comment.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for sign in line.chars() {
        match (quote, sign) {
            (Some(mark), _) if sign == mark => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(sign),
            (None, '"' | '\'') => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, _) if sign.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    words
}

/// What documents may name.
#[derive(Debug, Default)]
pub struct Known {
    /// Paths of the repository's files.
    pub files: BTreeSet<String>,
    /// Every word of sources, schemas and scripts.
    pub words: BTreeSet<String>,
    /// Names of functions, modules and types.
    pub defined: BTreeSet<String>,
    /// Metrics.
    pub metrics: BTreeSet<String>,
    /// Packages of this repository, with `_`.
    pub packages: BTreeSet<String>,
    /// Keys of the configuration, as paths such as `lake.url`.
    pub keys: BTreeSet<String>,
    /// Words of others, such as settings of Kafka, that no source names.
    pub foreign: BTreeSet<String>,
}

/// The words of a text: letters, digits and `_`.
pub fn words_of(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
}

/// Endings of the series that a histogram is exposed as.
const HISTOGRAM: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Finds links to files or headings that are not there, and names in code that are nowhere in the
/// repository. `heading` answers whether a document has a heading, by its anchor.
#[must_use]
pub fn check(document: &Document, known: &Known, heading: &dyn Fn(&str, &str) -> bool) -> Findings {
    let mut findings = Vec::new();
    let mut found = |line: usize, what: String| {
        findings.push(format!("{}:{line}: {what}", document.path));
    };
    for (line, target) in &document.links {
        if target.contains("://") {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() {
            document.path.clone()
        } else {
            resolve(&document.path, file)
        };
        let folder = format!("{}/", path.trim_end_matches('/'));
        if !known.files.contains(&path) && !known.files.iter().any(|file| file.starts_with(&folder))
        {
            found(*line, format!("{target} is not there"));
        } else if !anchor.is_empty() && !heading(&path, anchor) {
            found(*line, format!("{path} has no heading #{anchor}"));
        }
    }
    for (line, span) in &document.spans {
        if let Some(what) = unknown(span, known) {
            found(*line, what);
        }
    }
    findings
}

/// The path that a relative link of a document means.
fn resolve(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What a piece of code names that is not there.
fn unknown(span: &str, known: &Known) -> Option<String> {
    let first = span.split([' ', '=']).next().unwrap_or_default();
    if matches!(first, "theatre" | "cargo" | "git") || span.contains("://") {
        return None;
    }
    if is_path(span) {
        let there = known.files.contains(span)
            || known
                .files
                .iter()
                .any(|file| file.ends_with(&format!("/{span}")))
            || known
                .files
                .iter()
                .any(|file| file.starts_with(&format!("{}/", span.trim_end_matches('/'))));
        return (!there).then(|| format!("there is no file {span}"));
    }
    if span.contains("::") && !span.contains(' ') {
        let mut names = span.trim_end_matches("::").split("::");
        return names
            .find(|name| !known.defined.contains(*name))
            .map(|name| format!("{span}: nothing is called {name}"));
    }
    if let Some(section) = known
        .keys
        .iter()
        .filter_map(|key| key.split_once('.'))
        .map(|(section, _)| section)
        .find(|section| span.starts_with(&format!("{section}.")))
    {
        let key = span.split([' ', '=']).next().unwrap_or_default();
        let file = key.ends_with(".toml");
        let there = known.keys.contains(key) || file;
        return (!there).then(|| format!("[{section}] has no key {key}"));
    }
    span.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'))
        .filter(|word| word.starts_with(|sign: char| sign.is_ascii_alphabetic()))
        .find_map(|word| unknown_word(word, known))
}

fn unknown_word(word: &str, known: &Known) -> Option<String> {
    if let Some(variable) = word.strip_prefix("THEATRE__") {
        let key = variable.replace("__", ".").to_lowercase();
        return (!known.keys.contains(&key)).then(|| format!("there is no key {key}"));
    }
    // A beginning that many names share, such as `fact_*`.
    if word.ends_with('_') {
        let mut names = known.words.iter().chain(&known.metrics);
        let there = names.any(|name| name.starts_with(word) && name != word);
        return (!there).then(|| format!("no name begins with {word}"));
    }
    if word.starts_with("theatre_") {
        let base = HISTOGRAM
            .iter()
            .find_map(|ending| word.strip_suffix(ending))
            .filter(|base| known.metrics.contains(*base))
            .unwrap_or(word);
        let there = known.metrics.contains(base) || known.packages.contains(word);
        return (!there).then(|| format!("there is no metric {word}"));
    }
    let there = known.words.contains(word) || known.foreign.contains(word);
    (!there).then(|| format!("nothing in the repository is called {word}"))
}

/// Whether a piece of code is the path of a file of this repository: its ending says so, or the
/// folder that it begins with.
fn is_path(span: &str) -> bool {
    let plain = span
        .chars()
        .all(|sign| sign.is_ascii_alphanumeric() || "._-/".contains(sign));
    let folder = [
        "actors/", "compose/", "docs/", "helm/", "infra/", "runtime/", "schemas/", "tests/",
    ];
    plain
        && ([".rs", ".sql", ".avsc", ".md"]
            .iter()
            .any(|ending| span.len() > ending.len() && span.ends_with(ending))
            || folder.iter().any(|folder| span.starts_with(folder)))
}

/// Anchors of a document's headings, as GitHub makes them.
#[must_use]
pub fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_block = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        in_block ^= line.trim_start().starts_with("```");
        if !in_block && line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|sign| sign.is_alphanumeric() || " -_".contains(*sign));
            anchors.insert(
                kept.map(|sign| if sign == ' ' { '-' } else { sign })
                    .collect(),
            );
        }
    }
    anchors
}

/// Finds lines of prose that are wider than `columns`. Tables, blocks of code and lines without a
/// blank, as a long address, cannot be wrapped; with `all` they are looked at, too.
#[must_use]
pub fn check_width(document: &Document, columns: usize, all: bool) -> Findings {
    let mut in_block = false;
    let mut findings = Vec::new();
    for (at, line) in document.text.lines().enumerate() {
        in_block ^= line.trim_start().starts_with("```");
        let wraps = !in_block && !line.starts_with('|') && line.trim().contains(' ');
        let width = line.chars().count();
        if width > columns && (wraps || all) {
            findings.push(format!(
                "{}:{}: {width} columns; {columns} at most",
                document.path,
                at + 1
            ));
        }
    }
    findings
}

/// Compares a generated document with the file.
#[must_use]
pub fn check_generated(path: &str, file: &str, generated: &str, renew: &str) -> Findings {
    if file == generated {
        return Vec::new();
    }
    let lines = file.lines().zip(generated.lines());
    let line = lines.take_while(|(old, new)| old == new).count() + 1;
    vec![format!(
        "{path}:{line}: is not what the sources say; renew it with: {renew}"
    )]
}

#[cfg(test)]
mod tests {
    use super::{Document, Known, anchors, check, check_generated, check_width, renewed};

    fn known() -> Known {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Known {
            files: set(&["docs/a.md", "docs/b.md", "runtime/kafka/src/fetch.rs"]),
            words: set(&["save_interval", "url", "wrong_partition"]),
            defined: set(&["twenty_kills_change_nothing", "crash"]),
            metrics: set(&["theatre_checkpoint_bytes"]),
            packages: set(&["theatre_actors"]),
            keys: set(&["lake.url", "save_interval"]),
            foreign: set(&["retention", "ms"]),
        }
    }

    fn findings(text: &str) -> Vec<String> {
        let heading = |_: &str, anchor: &str| anchor == "lake";
        check(&Document::parse("docs/b.md", text), &known(), &heading)
    }

    #[test]
    fn what_is_there_may_be_named() {
        let text = "[a](a.md#lake) `theatre\n  run` [b](#lake) [c](../runtime/kafka) [d](https://x.org/y) \
                    `fetch.rs` `runtime/kafka` `theatre_*` `crash::twenty_kills_change_nothing` `crash::` \
                    `lake.url` `save_interval = \"5s\"` `theatre_checkpoint_bytes_sum` \
                    `theatre_actors` `THEATRE__LAKE__URL` `retention.ms` `wrong_partition` `theatre run`";
        assert_eq!(findings(text), [""; 0]);
    }

    #[test]
    fn a_file_key_metric_test_or_word_that_is_not_there_is_found() {
        let planted = [
            ("[a](gone.md)", "gone.md is not there"),
            ("[a](a.md#gone)", "docs/a.md has no heading #gone"),
            ("`gone.rs`", "there is no file gone.rs"),
            ("`runtime/gone/`", "there is no file runtime/gone/"),
            ("`crash::gone`", "crash::gone: nothing is called gone"),
            ("`lake.gone`", "[lake] has no key lake.gone"),
            (
                "`theatre_gone_total`",
                "there is no metric theatre_gone_total",
            ),
            (
                "`gone_interval = 1`",
                "nothing in the repository is called gone_interval",
            ),
        ];
        for (text, what) in planted {
            assert_eq!(findings(text), [format!("docs/b.md:1: {what}")], "{text}");
        }
    }

    #[test]
    fn commands_are_read_from_blocks_and_prose() {
        let text = "`theatre run`\n```sh\nx && theatre --data d sql \"a b\"   # c\n\
                    cargo theatre robots \\\n list\ncargo demo\ncargo build\n\
                    kubectl -n x exec pod-0 -c main -- theatre top\nkubectl get pods\n\
                    docker compose exec -T theatre theatre doctor --strict\ndocker ps\n```\n";
        let commands = Document::parse("a.md", text).commands();
        let words: Vec<String> = commands
            .iter()
            .map(|(line, words)| format!("{line} {}", words.join("_")))
            .collect();
        assert_eq!(
            words,
            [
                "1 run",
                "3 --data_d_sql_a b",
                "5 robots_list",
                "6 demo",
                "8 top",
                "10 doctor_--strict"
            ]
        );
    }

    #[test]
    fn wide_lines_stale_documents_and_anchors_are_seen() {
        let document = Document::parse("a.md", "a bc\n| a b c |\n```\na b c d\n```\n");
        assert_eq!(check_width(&document, 4, false), [""; 0]);
        assert_eq!(
            check_width(&document, 3, false),
            ["a.md:1: 4 columns; 3 at most"]
        );
        assert_eq!(check_width(&document, 4, true).len(), 2);
        assert_eq!(check_generated("a.md", "a\nb", "a\nb", "x"), [""; 0]);
        assert_eq!(
            check_generated("a.md", "a\nb", "a\nc", "x"),
            ["a.md:2: is not what the sources say; renew it with: x"]
        );
        assert!(anchors("# More `partitions`, please\n").contains("more-partitions-please"));
        let fresh = renewed("prose\n", "table\n");
        assert!(fresh.starts_with("prose\n<!--") && fresh.ends_with("-->\ntable\n"));
        assert_eq!(renewed(&fresh, "other\n"), fresh.replace("table", "other"));
    }
}
