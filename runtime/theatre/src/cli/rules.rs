//! `theatre rules`: the rules that hold, changes of them, and rule files before they are used.

mod applying;
mod back_test;
mod changing;
mod check;
mod compare;
mod file;
mod learn;
mod past;
mod printed;
mod standing;

pub(super) use file::of_text;
pub(super) use standing::standing;

use clap::Subcommand;
use theatre_actors::control::ChangeKind;

use super::{Common, Failure};

/// Looks at rules, tries them, and changes them while Theatre runs.
#[derive(Debug, Subcommand)]
pub(super) enum Rules {
    /// The rules that hold: those of the configuration, as changed since.
    #[command(after_help = "Example: theatre rules list --output json")]
    List,
    /// One rule in full, or all that hold, as in a rule file.
    #[command(
        after_help = "Examples: theatre rules show hot_motor\n          theatre rules show   (all that hold)"
    )]
    Show {
        /// Its id; absent: all rules that hold.
        rule: Option<String>,
        /// The one of this id that runs in the shadow.
        #[arg(long)]
        shadow: bool,
    },
    /// Adds the rules of a file, or another version of them. They count from where each partition
    /// reads the change.
    #[command(
        after_help = "Examples: theatre rules add motor.toml --comment 'limit of the new motor'\n          theatre rules add motor.toml --shadow   (beside the others, sending nothing)"
    )]
    Add {
        /// Rule file.
        file: std::path::PathBuf,
        /// They run beside the others and send nothing; `compare` shows what they would have raised.
        #[arg(long)]
        shadow: bool,
        #[command(flatten)]
        who: changing::Who,
    },
    /// Removes a rule; what is open under it ends with that reason.
    #[command(
        after_help = "Example: theatre rules remove hot_motor --comment 'another takes its place'"
    )]
    Remove(changing::Which),
    /// Has a rule judge again.
    #[command(after_help = "Example: theatre rules enable hot_motor")]
    Enable(changing::Which),
    /// Has a rule judge nothing; it stays known, what is open under it ends.
    #[command(
        after_help = "Example: theatre rules disable hot_motor --comment 'sensor is being replaced'"
    )]
    Disable(changing::Which),
    /// Lets a change of another person count that waits for it (`rules_approval` in the configuration).
    #[command(after_help = "Example: theatre rules approve chg_0123456789abcdef --by lee")]
    Approve {
        /// Its id, as `theatre rules history` has it.
        change: String,
        #[command(flatten)]
        who: changing::Who,
    },
    /// Ends the wait of a change: another person rejects it, or who made it withdraws it. It never
    /// counts then.
    #[command(
        after_help = "Example: theatre rules reject chg_0123456789abcdef --reason 'the limit is too low' --by lee"
    )]
    Reject {
        /// Its id, as `theatre rules history` has it.
        change: String,
        #[command(flatten)]
        because: changing::Because,
    },
    /// The rules that Theatre ships, as a rule file to begin one's own with.
    #[command(
        after_help = "Examples: theatre rules shipped > rules.toml\n          theatre rules shipped --simulated > rules.toml   (for what `theatre simulate` writes)"
    )]
    Shipped {
        /// Those for simulated fleets: few conditions, which announce what is about to fail.
        #[arg(long)]
        simulated: bool,
    },
    /// What `apply` would change of the rules that hold, key by key.
    #[command(after_help = "Example: theatre rules diff rules.toml")]
    Diff {
        /// Rule file.
        file: std::path::PathBuf,
    },
    /// Makes the rules that hold those of a file: adds what is new, changes what is another, and with
    /// `--remove` removes what the file has not. The same file again changes nothing.
    #[command(
        after_help = "Examples: theatre rules apply rules.toml --comment 'release 4.2'\n          theatre rules apply rules.toml --remove   (the file says all that there is)"
    )]
    Apply {
        /// Rule file.
        file: std::path::PathBuf,
        /// Remove the rules that hold and are not in the file.
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        who: changing::Who,
    },
    /// Changes of rules, the oldest first.
    #[command(
        after_help = "Examples: theatre rules history --output json\n          theatre rules history --rule hot_motor   (each version of it)"
    )]
    History {
        /// Only this rule: each version of it, with what it says, that of the configuration first.
        #[arg(long, value_name = "ID")]
        rule: Option<String>,
    },
    /// What each version of a rule in the shadow would have raised while it judged, beside what the
    /// rule of that id has, and the conditions that only one of both has.
    #[command(after_help = "Example: theatre rules compare hot_motor")]
    Compare {
        /// Id of both.
        rule: String,
    },
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
    /// Learns from the lake what is normal for the robots of a model, for the rules of the kind
    /// cohort in a rule file.
    #[command(
        after_help = "Example: theatre rules learn rules.toml --from 2026-01-01 --to 2026-03-01 --write learnt.toml"
    )]
    Learn(learn::Learn),
}

impl Rules {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::List => standing::list(common),
            Self::Show { rule, shadow } => standing::show(common, rule.as_deref(), shadow),
            Self::Add { file, shadow, who } => changing::add(common, &file, shadow, &who),
            Self::Remove(which) => changing::turn(common, ChangeKind::Remove, which),
            Self::Enable(which) => changing::turn(common, ChangeKind::Enable, which),
            Self::Disable(which) => changing::turn(common, ChangeKind::Disable, which),
            Self::Approve { change, who } => changing::approve(common, &change, &who),
            Self::Reject { change, because } => changing::reject(common, &change, because),
            Self::Shipped { simulated } => crate::cli::output::write(if simulated {
                theatre_simulator::RULES
            } else {
                theatre_config::SHIPPED_RULES
            }),
            Self::Diff { file } => applying::diff(common, &file),
            Self::Apply { file, remove, who } => applying::apply(common, &file, remove, &who),
            Self::History { rule: None } => standing::history(common),
            Self::History { rule: Some(rule) } => standing::versions(common, &rule),
            Self::Compare { rule } => compare::compare(common, &rule),
            Self::Check(arguments) => arguments.run(common),
            Self::Test(arguments) => arguments.run(common),
            Self::Learn(arguments) => arguments.run(common),
        }
    }
}
