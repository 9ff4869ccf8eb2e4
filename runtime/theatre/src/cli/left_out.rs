//! Commands that this build was made without: hidden stand-ins, which say what to build instead of
//! leaving the user with an unrecognized subcommand.

#[cfg(not(feature = "tools"))]
use super::Failure;

/// Why a command cannot run, and which build has it.
#[cfg(not(feature = "tools"))]
pub(super) fn refusal(command: &str, feature: &str) -> Failure {
    Failure::Usage(format!(
        "this theatre was built without the feature '{feature}', which `{command}` needs: build it with cargo build --release, which has all of them"
    ))
}

/// Makes a module with a stand-in for each command: it takes any arguments and refuses to run.
macro_rules! stand_ins {
    ($($module:ident :: $name:ident, $command:literal, without $feature:literal;)*) => {
        $(
            #[cfg(not(feature = $feature))]
            pub(super) mod $module {
                use crate::cli::{Common, Failure};

                #[derive(Debug, clap::Args)]
                #[command(disable_help_flag = true)]
                pub(in crate::cli) struct $name {
                    // Hyphens too, so that no flag is refused before the command can answer.
                    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
                    _arguments: Vec<String>,
                }

                impl $name {
                    pub(in crate::cli) fn run(self, _: &Common) -> Result<(), Failure> {
                        Err(super::refusal($command, $feature))
                    }
                }
            }
        )*
    };
}

stand_ins! {
    topics::Topics, "theatre topics", without "servers";
    migrate::Migrate, "theatre migrate", without "servers";
    notify::Notify, "theatre notify", without "notify";
    bench::Bench, "theatre bench", without "tools";
    dev::Dev, "theatre dev", without "tools";
}

#[cfg(all(test, not(feature = "servers")))]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Failure};

    #[test]
    fn a_command_that_is_left_out_says_what_to_build() {
        for (line, feature) in [
            ("theatre topics", "servers"),
            ("theatre topics check --config theatre.toml", "servers"),
            ("theatre migrate --warehouse", "servers"),
            ("theatre notify test pager", "notify"),
            ("theatre bench core", "tools"),
            ("theatre dev up", "tools"),
            ("theatre dev --help", "tools"),
            ("theatre demo --servers --for 60s", "tools"),
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            let Err(Failure::Usage(why)) = cli.command.run(&cli.common) else {
                panic!("{line} was not refused");
            };
            let named = format!("without the feature '{feature}'");
            assert!(
                why.contains(&named) && why.contains("cargo build --release"),
                "{why}"
            );
        }
    }
}
