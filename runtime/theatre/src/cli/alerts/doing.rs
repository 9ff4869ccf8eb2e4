//! What people do about conditions, as flags.

use clap::Args;
use theatre_api::actions::{Deed, Known, Refusal, SilenceWish};

use super::desk::Desk;
use crate::cli::{Common, Failure};

/// Who acts, and what they say.
#[derive(Debug, Args)]
struct Who {
    /// Who does it; default: the user's name.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// What they say, without personal data.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// Conditions that are open: one, or those of a robot.
#[derive(Debug, Args)]
struct Which {
    /// Its id, or so much of its beginning as no other has.
    #[arg(required_unless_present = "robot", conflicts_with = "robot")]
    condition: Option<String>,
    /// Those of this robot that are open now.
    #[arg(long)]
    robot: Option<String>,
    /// Of these, those of this rule.
    #[arg(long, requires = "robot")]
    rule: Option<String>,
}

/// What is done to conditions without saying more.
#[derive(Debug, Args)]
pub(in crate::cli) struct Act {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    who: Who,
}

/// To whom a condition is given.
#[derive(Debug, Args)]
pub(in crate::cli) struct Assign {
    #[command(flatten)]
    which: Which,
    /// Who is to see to it; absent: no one any more.
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    #[command(flatten)]
    who: Who,
}

/// A silence.
#[derive(Debug, Args)]
pub(in crate::cli) struct Silence {
    /// Of this robot.
    #[arg(long)]
    robot: Option<String>,
    /// Of this rule.
    #[arg(long)]
    rule: Option<String>,
    /// Of this condition.
    #[arg(long)]
    condition: Option<String>,
    /// Of all robots of this facility.
    #[arg(long)]
    facility: Option<String>,
    /// Of all robots of this model.
    #[arg(long)]
    model: Option<String>,
    /// How long it lasts, such as 2h.
    #[arg(
        long = "for",
        value_name = "SPAN",
        required_unless_present = "until",
        conflicts_with = "until"
    )]
    lasts: Option<String>,
    /// When it ends, such as 2027-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Conditions of high priority, too, which a silence leaves alone otherwise.
    #[arg(long)]
    hides_high: bool,
    /// Who does it; default: the user's name.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// A silence that is taken back.
#[derive(Debug, Args)]
pub(in crate::cli) struct Unsilence {
    /// Its id, or so much of its beginning as no other has.
    silence: String,
    #[command(flatten)]
    who: Who,
}

/// A refusal as the failure of a command.
pub(in crate::cli) fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Missing(why) => Failure::Failed(why),
        Refusal::Wrong(why) => Failure::Usage(why),
    }
}

impl Which {
    /// The ids of the conditions that are meant: what is open now, and not what may come later.
    fn ids(&self, known: &Known<'_>) -> Result<Vec<String>, Refusal> {
        match (&self.condition, &self.robot) {
            (Some(condition), _) => Ok(vec![condition.clone()]),
            (None, Some(robot)) => known.conditions_of(robot, self.rule.as_deref()),
            (None, None) => Err(Refusal::Wrong("name a condition or a robot".to_owned())),
        }
    }

    /// Does the same to each of them.
    fn act(
        &self,
        common: &Common,
        who: &Who,
        deed: impl Fn(String) -> Deed,
    ) -> Result<(), Failure> {
        let desk = Desk::open(common, who.by.as_deref(), who.comment.as_deref())?;
        let known = desk.known();
        let deeds = |known: &Known<'_>| -> Result<Vec<_>, Refusal> {
            let ids = self.ids(known)?.into_iter();
            ids.map(|id| known.to_condition(&id, &deed)).collect()
        };
        desk.submit(common, deeds(&known).map_err(refused)?)
    }
}

impl Act {
    pub(super) fn acknowledge(self, common: &Common) -> Result<(), Failure> {
        let deed = |condition| Deed::Acknowledge { condition };
        self.which.act(common, &self.who, deed)
    }

    pub(super) fn unacknowledge(self, common: &Common) -> Result<(), Failure> {
        let deed = |condition| Deed::Unacknowledge { condition };
        self.which.act(common, &self.who, deed)
    }

    pub(super) fn close(self, common: &Common) -> Result<(), Failure> {
        let deed = |condition| Deed::Close { condition };
        self.which.act(common, &self.who, deed)
    }
}

impl Assign {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let to = theatre_api::actions::text("--to", self.to.as_deref()).map_err(refused)?;
        let deed = |condition| Deed::Assign {
            condition,
            assignee: to.clone(),
        };
        self.which.act(common, &self.who, deed)
    }
}

impl Silence {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let desk = Desk::open(common, self.by.as_deref(), Some(&self.reason))?;
        let wish = SilenceWish {
            robot: self.robot,
            rule: self.rule,
            condition: self.condition,
            facility: self.facility,
            model: self.model,
            until: self.until,
            lasts: self.lasts,
            reason: self.reason,
            hides_high: self.hides_high,
        };
        let meant = desk.known().silence(&wish, desk.now).map_err(refused)?;
        desk.submit(common, vec![meant])
    }
}

impl Unsilence {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let desk = Desk::open(common, self.who.by.as_deref(), self.who.comment.as_deref())?;
        let meant = desk.known().unsilence(&self.silence).map_err(refused)?;
        desk.submit(common, vec![meant])
    }
}
