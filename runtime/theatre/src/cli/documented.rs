//! Whether the commands that documents show are those of the program.

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use theatre_tidy::documents::Document;
use theatre_tidy::source::{files, read};

use super::Cli;

/// Why a command line is none of the program's. Values that stand for others, such as `FILE`, and
/// commands that are named without what they need are none of the checker's business.
fn refused(arguments: &[String]) -> Option<String> {
    let program = std::iter::once("theatre".to_owned());
    let error = Cli::try_parse_from(program.chain(arguments.iter().cloned())).err()?;
    let is_refused = match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand | ErrorKind::TooManyValues => {
            true
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            match error.get(ContextKind::InvalidValue) {
                Some(ContextValue::String(value)) => !stands_for_another(value),
                _ => false,
            }
        }
        _ => false,
    };
    is_refused.then(|| {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    })
}

/// A value such as `FILE`, `$N` or `...`.
fn stands_for_another(value: &str) -> bool {
    let is_upper = |sign: char| sign.is_ascii_uppercase() || matches!(sign, '_' | '-' | ':' | '/');
    value.starts_with(['$', '<', '{', '`']) || value.contains("...") || value.chars().all(is_upper)
}

/// Lines of a file that is no document, as one with a block for a shell: of them those that run the
/// program in a container.
fn as_document(path: &str) -> Document {
    let text = read(path);
    let lines = text.lines().map(|line| line.trim_start_matches(['#', ' ']));
    let in_containers = lines.map(|line| match line.split(' ').next() {
        Some("kubectl" | "docker") => line,
        _ => "",
    });
    let lines: Vec<&str> = in_containers.collect();
    Document::parse(path, &format!("```sh\n{}\n```\n", lines.join("\n")))
}

#[test]
fn commands_of_the_documents_are_there() {
    let mut findings = Vec::new();
    let paths = files("md")
        .into_iter()
        .filter(|path| path != "CHANGELOG.md");
    let documents = paths.map(|path| Document::parse(&path, &read(&path)));
    let others = ["helm/theatre/templates/NOTES.txt", "compose/compose.yaml"].map(as_document);
    for document in documents.chain(others) {
        for (line, arguments) in document.commands() {
            if let Some(why) = refused(&arguments) {
                let (path, command) = (&document.path, arguments.join(" "));
                findings.push(format!("{path}:{line}: {command}: {why}"));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn a_command_or_flag_that_is_not_there_is_found() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for there in [
        "run --until-drained",
        "lake",
        "state repartition --partitions N",
        "help",
    ] {
        assert_eq!(refused(&words(there)), None, "{there}");
    }
    for gone in [
        "walk",
        "run --until-tired",
        "lake drink",
        "state repartition --partitions many",
        "robots list --output xml",
    ] {
        assert!(refused(&words(gone)).is_some(), "{gone}");
    }
}
