//! `theatre rules`: rule files before they are used.

mod back_test;
mod check;
mod file;
mod printed;

use clap::Subcommand;

use super::{Common, Failure};

/// Looks at rules.
#[derive(Debug, Subcommand)]
pub(super) enum Rules {
    /// Tries a rule file against the datasets of the configuration: names all faults with their
    /// lines, or says what each rule watches.
    #[command(after_help = "Example: theatre rules check rules.toml --config theatre.toml")]
    Check(check::Check),
    /// Tries a rule file on the past: runs the actors over the lake's files, and says by rule which
    /// conditions were followed by a fault or an unplanned service, and how long before.
    #[command(
        after_help = "Examples: theatre rules test rules.toml --config theatre.toml\n          \
                            theatre rules test rules.toml --from 2026-01-01 --to 2026-03-01 --horizon 7d --picture past.svg"
    )]
    Test(back_test::BackTest),
}

impl Rules {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Check(arguments) => arguments.run(common),
            Self::Test(arguments) => arguments.run(common),
        }
    }
}
