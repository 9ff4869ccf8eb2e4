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

    /// The same, and this one.
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
    /// It is held under an epoch, and its processors are restored.
    Acquired,
    /// The lanes are open, and what the log knows of them fits the store.
    LanesOpen,
    /// Uploads that predecessors left are gone.
    Swept,
    /// It is to be left in order.
    Drain,
    /// It is to be left at once.
    Abandon,
    /// A component has nothing left to do, or leaves what there is.
    Ended(Role),
    /// The epoch is another owner's.
    Stale,
    /// A component that the partition needs failed for good.
    Failed,
    /// It was lost, and the membership has not taken it away since.
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
mod tests {
    use std::sync::Arc;

    use super::Drain::{Closing, Dropping, Exporting, Saving};
    use super::Ending::{Abandoned, Broken, InOrder, Superseded};
    use super::Phase::{Acquiring, Draining, Left, Lost, Running, Verifying};
    use super::*;

    const PHASES: [Phase; 12] = [
        Acquiring,
        Verifying,
        Running,
        Draining(Dropping),
        Draining(Saving),
        Draining(Closing),
        Draining(Exporting),
        Lost,
        Left(InOrder),
        Left(Superseded),
        Left(Abandoned),
        Left(Broken),
    ];

    fn events() -> Vec<Event> {
        let mut events = vec![
            Event::Acquired,
            Event::LanesOpen,
            Event::Swept,
            Event::Drain,
            Event::Abandon,
            Event::Stale,
            Event::Failed,
            Event::Retake,
        ];
        events.extend(Role::ALL.map(Event::Ended));
        events
    }

    /// A life in this phase whose components have ended as far as the phase says.
    fn life(phase: Phase) -> Life {
        let roles: &[Role] = match phase {
            Draining(Closing) => &[Role::Partition],
            Draining(Exporting) => &[Role::Partition, Role::LakeWriter],
            _ => &[],
        };
        let ended = roles
            .iter()
            .fold(Ended::default(), |ended, role| ended.and(*role));
        Life {
            phase,
            ended,
            ..Life::new(3)
        }
    }

    /// Every pair that changes the phase or has something done; no other does.
    fn expected(phase: Phase, event: Event) -> Option<(Phase, Vec<Command>)> {
        let finish = |ending| Some((Left(ending), vec![Command::Finish(ending)]));
        match (phase, event) {
            (Left(_), _) => None,
            (_, Event::Abandon) => finish(Abandoned),
            (Acquiring, Event::Acquired) => Some((Verifying, vec![Command::Start])),
            (Acquiring, Event::Drain) => finish(InOrder),
            (Lost, Event::Retake) => Some((Acquiring, vec![Command::Acquire])),
            (Lost, Event::Drain) => finish(Superseded),
            (Lost, _) => None,
            (_, Event::Failed) => finish(Broken),
            (Acquiring | Verifying | Running, Event::Stale) => {
                Some((Lost, vec![Command::Forget, Command::AwaitRetake]))
            }
            (Draining(_), Event::Stale) => Some((
                Left(Superseded),
                vec![Command::Forget, Command::Finish(Superseded)],
            )),
            (Verifying, Event::LanesOpen) => Some((Running, vec![])),
            (Verifying, Event::Drain) => Some((Draining(Dropping), vec![])),
            (Running, Event::Drain) => Some((Draining(Saving), vec![])),
            (Draining(Saving), Event::Ended(Role::Partition)) => Some((Draining(Closing), vec![])),
            (Draining(Closing), Event::Ended(Role::LakeWriter)) => {
                Some((Draining(Exporting), vec![]))
            }
            _ => None,
        }
    }

    #[test]
    fn every_phase_has_its_answer_to_every_event() {
        for phase in PHASES {
            for event in events() {
                let before = life(phase);
                let (after, commands) = next(before, event);
                assert_eq!(
                    (after.phase, commands),
                    expected(phase, event).unwrap_or((phase, vec![])),
                    "{phase:?} and {event:?}"
                );
                let runs = !matches!(phase, Acquiring | Lost | Left(_));
                assert_eq!(
                    after.swept,
                    runs && event == Event::Swept,
                    "{phase:?} and {event:?}"
                );
                let retaken = (phase, event) == (Lost, Event::Retake);
                assert_eq!(after.tenure, 3 + u64::from(retaken));
                let ended = match event {
                    Event::Ended(role) if runs => before.ended.and(role),
                    _ => before.ended,
                };
                assert_eq!(after.ended, ended, "{phase:?} and {event:?}");
            }
        }
    }

    /// Every life that events can lead to, from that of a partition to be taken.
    fn reachable() -> Vec<Life> {
        let mut lives = vec![Life::new(0)];
        let mut at = 0;
        while at < lives.len() {
            for event in events() {
                let (after, _) = next(lives[at], event);
                if after.tenure < 2 && !lives.contains(&after) {
                    lives.push(after);
                }
            }
            at += 1;
        }
        lives
    }

    #[test]
    fn what_must_hold_holds_in_every_life_there_can_be() {
        let lives = reachable();
        assert!(
            PHASES
                .iter()
                .all(|phase| lives.iter().any(|life| life.phase == *phase)),
            "every phase can be reached"
        );
        for before in lives {
            for event in events() {
                let (after, commands) = next(before, event);
                let what = format!("{before:?} and {event:?}");
                if !before.may_save() && after.may_save() {
                    assert_eq!(event, Event::LanesOpen, "{what}");
                }
                if !before.swept && after.swept {
                    assert_eq!(event, Event::Swept, "{what}");
                }
                if matches!(before.phase, Left(_)) {
                    assert_eq!((after, commands.len()), (before, 0), "{what}");
                }
                if after.phase == Left(InOrder) && before.phase != after.phase {
                    let waited = [
                        Role::Publisher,
                        Role::LakeWriter,
                        Role::Relay,
                        Role::Partition,
                    ];
                    assert!(
                        before.phase == Acquiring
                            || waited.iter().all(|role| after.ended.has(*role)),
                        "{what}"
                    );
                }
                let ends = before.phase != after.phase && matches!(after.phase, Left(_));
                let finishes = commands
                    .iter()
                    .filter(|command| matches!(command, Command::Finish(_)));
                assert_eq!(finishes.count(), usize::from(ends), "{what}");
            }
            for role in Role::ALL {
                assert!(
                    !before.is_last(role) || before.is_draining(),
                    "{before:?} {role:?}"
                );
            }
            assert!(
                !before.is_last(Role::Publisher) || before.is_last(Role::LakeWriter),
                "the publisher ends last: {before:?}"
            );
        }
    }

    #[test]
    fn to_a_component_that_outlasts_its_tenure_the_partition_stays_lost() {
        let lifecycle = Lifecycle::new(Arc::default(), next);
        assert_eq!(lifecycle.command(), Some(Command::Acquire));
        let old = lifecycle.tenure();
        old.send(Event::Acquired);
        old.send(Event::Stale);
        assert_eq!(old.now().phase, Lost);
        lifecycle.send(Event::Retake);
        let new = lifecycle.tenure();
        new.send(Event::Acquired);
        old.send(Event::Stale);
        old.send(Event::LanesOpen);
        assert_eq!((old.now().phase, new.now().phase), (Lost, Verifying));
        let commands: Vec<Command> = std::iter::from_fn(|| lifecycle.command()).collect();
        assert_eq!(
            commands,
            [
                Command::Start,
                Command::Forget,
                Command::AwaitRetake,
                Command::Acquire,
                Command::Start
            ]
        );
    }
}
