//! Whether the commands that documents show are those of the program.

use clap::Parser;
use clap::error::ErrorKind;
use theatre_tidy::documents::Document;
use theatre_tidy::source::{files, read};

use super::Cli;

/// Why a command line is none of the program's. Values that stand for others, such as `FILE`, and
/// commands that are named without what they need are none of the checker's business.
fn refused(arguments: &[String]) -> Option<String> {
    let program = std::iter::once("theatre".to_owned());
    let error = Cli::try_parse_from(program.chain(arguments.iter().cloned())).err()?;
    matches!(
        error.kind(),
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand | ErrorKind::TooManyValues
    )
    .then(|| {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    })
}

#[test]
fn commands_of_the_documents_are_there() {
    let mut findings = Vec::new();
    let paths = files("md")
        .into_iter()
        .filter(|path| path != "CHANGELOG.md");
    for path in paths {
        for (line, arguments) in Document::parse(&path, &read(&path)).commands() {
            if let Some(why) = refused(&arguments) {
                findings.push(format!("{path}:{line}: {}: {why}", arguments.join(" ")));
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
    for gone in ["walk", "run --until-tired", "lake drink"] {
        assert!(refused(&words(gone)).is_some(), "{gone}");
    }
}
