//! The life of an owned partition, as a value: where it stands, and what follows an event.
//!
//! ```text
//!              Acquired        LanesOpen          Drain
//! Acquiring -------------> Verifying ----> Running ----> Draining ----> Left(InOrder)
//!     ^                        |  Failed(Stale) |
//!     +------- Lost <----------+----------------+
//!      Retake
//! ```
//!
//! [`next`] alone decides what may follow what; it knows neither threads nor time. Components are
//! stepped with the [`Life`] of the moment and ask it what they may do. Both the threads and the
//! simulation send events through a [`Tenure`] and carry out the [`Command`]s.
//!
//! **What must hold:** nothing is saved before the lanes are open: until then an old owner that
//! still runs can publish what is committed. Nothing is uploaded before what predecessors left is
//! swept. A component's last step comes after those that feed it have ended.

mod shared;

pub use shared::{Lifecycle, Tenure};

/// A component of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Loads completed files into the warehouse. A partition that is left does not wait for it.
    Loader,
    /// Delivers outputs to one receiver beside log and lake; there may be several or none. A
    /// partition that is left does not wait for those that cannot deliver.
    Notifier,
    /// Exports outputs, completes files, and trims.
    Publisher,
    /// Writes records to the lake.
    LakeWriter,
    /// Publishes committed outputs and dead letters to the log.
    Relay,
    /// Reads, applies and saves.
    Partition,
}

impl Role {
    /// All of them, sink first.
    pub const ALL: [Self; 6] = [
        Self::Loader,
        Self::Notifier,
        Self::Publisher,
        Self::LakeWriter,
        Self::Relay,
        Self::Partition,
    ];

    /// What troubles are reported under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loader => "loader",
            Self::Notifier => "notifier",
            Self::Publisher => "publisher",
            Self::LakeWriter => "lake writer",
            Self::Relay => "relay",
            Self::Partition => "partition",
        }
    }
}

/// The components that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended(u8);

impl Ended {
    /// Whether a component is among them.
    pub fn has(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// The components that have ended, and this one.
    #[must_use]
    pub fn and(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }
}

/// What a partition goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A new epoch is asked for, and the processors are restored.
    Acquiring,
    /// Components run and nothing is saved: the lanes are to be opened, which ends what an old
    /// owner publishes, and the log is to show that it knows this store.
    Verifying,
    /// Everything runs.
    Running,
    /// Nothing is read any more.
    Draining(Drain),
    /// Another owner took it.
    Lost,
    /// The end.
    Left(Ending),
}

impl Phase {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acquiring => "acquiring",
            Self::Verifying => "verifying",
            Self::Running => "running",
            Self::Draining(_) => "draining",
            Self::Lost => "lost",
            Self::Left(_) => "left",
        }
    }
}

/// How far a partition that is left has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// The lanes were never open: what was read is dropped, for the next owner to read again.
    Dropping,
    /// What was read is saved.
    Saving,
    /// All is saved: the lake writer makes its last cut, the relays publish what is left.
    Closing,
    /// The lake is cut as well: what is left is exported and completed.
    Exporting,
}

/// How a partition was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All that was read is saved and published, or was dropped unsaved.
    InOrder,
    /// Another owner took it before: what is left is that one's.
    Superseded,
    /// At once; what was not saved is dropped.
    Abandoned,
    /// A component failed for good.
    Broken,
}

/// What happens to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The partition is held under an epoch, and its processors are restored.
    Acquired,
    /// The lanes are open, and what the log knows of them fits the store.
    LanesOpen,
    /// Uploads that predecessors left are gone.
    Swept,
    /// The partition is to be left in order.
    Drain,
    /// The partition is to be left at once.
    Abandon,
    /// A component has nothing left to do, or leaves what there is.
    Ended(Role),
    /// The epoch is another owner's.
    Stale,
    /// A component that the partition needs failed for good.
    Failed,
    /// The partition was lost, and the membership has not taken it away since.
    Retake,
}

/// What follows from an event, to be carried out by the driver in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Take the partition under a new epoch.
    Acquire,
    /// Run its components.
    Start,
    /// Forget its progress: how far it is, and what troubled it, is another owner's to report.
    Forget,
    /// Send [`Event::Retake`], unless something else happens first.
    AwaitRetake,
    /// Report how it ended; nothing follows.
    Finish(Ending),
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// How often it was taken before.
    pub tenure: u64,
    /// Phase.
    pub phase: Phase,
    /// Uploads that predecessors left are gone: own ones may begin.
    pub swept: bool,
    /// The components that have ended.
    pub ended: Ended,
}

impl Life {
    /// A partition that is to be taken, and was `tenure` times before.
    pub fn new(tenure: u64) -> Self {
        Self {
            tenure,
            phase: Phase::Acquiring,
            swept: false,
            ended: Ended::default(),
        }
    }

    /// Whether what is read may be saved, and what waits be published and written.
    pub fn may_save(self) -> bool {
        match self.phase {
            Phase::Running => true,
            Phase::Draining(drain) => drain != Drain::Dropping,
            _ => false,
        }
    }

    /// Whether the partition is being left in order.
    pub fn is_draining(self) -> bool {
        matches!(self.phase, Phase::Draining(_))
    }

    /// Whether components stop where they are.
    pub fn is_over(self) -> bool {
        matches!(self.phase, Phase::Lost | Phase::Left(_))
    }

    /// Whether a component is to end once it has nothing left to do: nothing feeds it any more.
    pub fn is_last(self, role: Role) -> bool {
        let feeders: &[Role] = match role {
            Role::Loader | Role::Partition => &[],
            Role::LakeWriter | Role::Relay | Role::Notifier => &[Role::Partition],
            Role::Publisher => &[Role::Partition, Role::LakeWriter],
        };
        self.is_draining() && feeders.iter().all(|feeder| self.ended.has(*feeder))
    }

    /// The phase of a drain that has come so far.
    fn drained(self) -> Phase {
        let ended = |roles: &[Role]| roles.iter().all(|role| self.ended.has(*role));
        if ended(&[
            Role::Publisher,
            Role::LakeWriter,
            Role::Relay,
            Role::Partition,
        ]) {
            Phase::Left(Ending::InOrder)
        } else if self.phase == Phase::Draining(Drain::Dropping) || self.phase == Phase::Verifying {
            Phase::Draining(Drain::Dropping)
        } else if ended(&[Role::LakeWriter, Role::Partition]) {
            Phase::Draining(Drain::Exporting)
        } else if ended(&[Role::Partition]) {
            Phase::Draining(Drain::Closing)
        } else {
            Phase::Draining(Drain::Saving)
        }
    }
}

/// What follows an event: the next life, and what is to be done.
pub fn next(life: Life, event: Event) -> (Life, Vec<Command>) {
    let to = |phase| Life { phase, ..life };
    let finish = |ending| (to(Phase::Left(ending)), vec![Command::Finish(ending)]);
    let stays = (life, Vec::new());
    match (life.phase, event) {
        (Phase::Left(_), _) => stays,
        (_, Event::Abandon) => finish(Ending::Abandoned),

        // Nothing runs yet, and nothing was read.
        (Phase::Acquiring, Event::Acquired) => (to(Phase::Verifying), vec![Command::Start]),
        (Phase::Acquiring, Event::Drain) => finish(Ending::InOrder),

        (Phase::Lost, Event::Retake) => (Life::new(life.tenure + 1), vec![Command::Acquire]),
        (Phase::Lost, Event::Drain) => finish(Ending::Superseded),
        // Components end where they are; what they still say does not matter.
        (Phase::Lost, _) => stays,

        (_, Event::Failed) => finish(Ending::Broken),
        (Phase::Draining(_), Event::Stale) => {
            let ending = Ending::Superseded;
            let commands = vec![Command::Forget, Command::Finish(ending)];
            (to(Phase::Left(ending)), commands)
        }
        (_, Event::Stale) => {
            let commands = vec![Command::Forget, Command::AwaitRetake];
            (to(Phase::Lost), commands)
        }

        (Phase::Acquiring, _) => stays,

        (Phase::Verifying, Event::LanesOpen) => (to(Phase::Running), Vec::new()),
        (Phase::Verifying | Phase::Running, Event::Drain) => drained(life),
        (_, Event::Swept) => {
            let swept = Life {
                swept: true,
                ..life
            };
            (swept, Vec::new())
        }
        (phase, Event::Ended(role)) => {
            let ended = life.ended.and(role);
            let life = Life { ended, ..life };
            match phase {
                Phase::Draining(_) => drained(life),
                _ => (life, Vec::new()),
            }
        }

        // It is taken, its lanes are open, or it is being left already.
        (_, Event::Acquired | Event::LanesOpen | Event::Drain | Event::Retake) => stays,
    }
}

/// A life that is being drained, and its end should nothing be left to wait for.
fn drained(life: Life) -> (Life, Vec<Command>) {
    let phase = life.drained();
    let commands = match phase {
        Phase::Left(ending) => vec![Command::Finish(ending)],
        _ => Vec::new(),
    };
    (Life { phase, ..life }, commands)
}

/// What decides what follows an event: [`next`], or in a simulation one with a bug.
pub type Transition = fn(Life, Event) -> (Life, Vec<Command>);

#[cfg(test)]
mod tests;
