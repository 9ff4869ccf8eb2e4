//! `theatre alerts`: open conditions, the transitions of all of them, and what people do about them.

mod desk;
mod doing;
mod looking;

pub(super) use doing::refused;

use clap::Subcommand;

use super::{Common, Failure};

/// Looks at conditions, and acts on them.
#[derive(Debug, Subcommand)]
pub(super) enum Alerts {
    /// Conditions that are open, and how they stand.
    #[command(after_help = "Example: theatre alerts list --output json")]
    List,
    /// One condition, open or ended: how it stands, and all that became of it.
    #[command(after_help = "Example: theatre alerts show 3f2a91c07b44")]
    Show {
        /// Its id, or so much of its beginning as no other has.
        condition: String,
    },
    /// All transitions, oldest first.
    #[command(after_help = "Example: theatre alerts history --robot robot-0001 --limit 0")]
    History {
        /// Only this robot.
        #[arg(long)]
        robot: Option<String>,
        /// At most so many, the newest; 0 = all.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Silences that hold.
    #[command(after_help = "Example: theatre alerts silences --output json")]
    Silences,
    /// Says that a person sees to a condition: it is not passed on any more.
    #[command(
        after_help = "Examples: theatre alerts ack 3f2a91c07b44 --comment \"joint 2 is ordered\" --by Anna\n          theatre alerts ack --robot robot-0001 --rule motor_hot"
    )]
    Ack(doing::Act),
    /// Takes an acknowledgement back.
    #[command(after_help = "Example: theatre alerts unack 3f2a91c07b44")]
    Unack(doing::Act),
    /// Gives a condition to a person, or to no one.
    #[command(after_help = "Example: theatre alerts assign 3f2a91c07b44 --to Ben")]
    Assign(doing::Assign),
    /// Closes a condition of a rule that latches: at once where its cause is over, else as soon as it
    /// is.
    #[command(
        after_help = "Example: theatre alerts close 3f2a91c07b44 --comment \"part replaced\""
    )]
    Close(doing::Act),
    /// Notifies no one of some conditions for a while. Without a robot or a condition it is for all
    /// robots, of a facility, of a model, or for a rule.
    #[command(
        after_help = "Examples: theatre alerts silence --robot robot-0001 --for 2h --reason calibration\n          theatre alerts silence --facility FAC-003 --until 2027-01-31T08:00:00Z --reason \"power works\""
    )]
    Silence(doing::Silence),
    /// Takes a silence back.
    #[command(
        after_help = "Example: theatre alerts unsilence act_0b1c (theatre alerts silences lists them)"
    )]
    Unsilence(doing::Unsilence),
}

impl Alerts {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::List => looking::list(common),
            Self::Show { condition } => looking::show(common, &condition),
            Self::History { robot, limit } => looking::history(common, robot, limit),
            Self::Silences => looking::silences(common),
            Self::Ack(act) => act.acknowledge(common),
            Self::Unack(act) => act.unacknowledge(common),
            Self::Assign(assign) => assign.run(common),
            Self::Close(act) => act.close(common),
            Self::Silence(silence) => silence.run(common),
            Self::Unsilence(unsilence) => unsilence.run(common),
        }
    }
}
