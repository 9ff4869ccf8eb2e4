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
        (Draining(Closing), Event::Ended(Role::LakeWriter)) => Some((Draining(Exporting), vec![])),
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
                    before.phase == Acquiring || waited.iter().all(|role| after.ended.has(*role)),
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
