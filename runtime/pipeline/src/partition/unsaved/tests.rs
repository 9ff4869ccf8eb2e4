use std::time::Duration;

use proptest::prelude::*;
use theatre_actors::outputs::{DeadReason, OutputKind};

use super::*;

/// A save interval, microseconds.
const INTERVAL_US: i64 = 10_000_000;
const CONTROL: usize = 1;

fn limits() -> Limits {
    Limits {
        save_interval: Duration::from_micros(INTERVAL_US as u64),
        unsaved_bytes: 2_000,
        ..Limits::default()
    }
}

fn name(slot: usize) -> Arc<str> {
    if slot == CONTROL {
        return Arc::from(control::name(0));
    }
    Arc::from(format!("r{slot}"))
}

fn outputs(bytes: usize, urgent: bool) -> Outputs {
    let event = OutputEvent {
        kind: OutputKind::Alert,
        robot_id: String::new(),
        id: String::new(),
        subject: String::new(),
        revision: 0,
        event_time: 0,
        payload: vec![7; bytes],
    };
    Outputs {
        events: vec![event],
        urgent,
        ..Outputs::default()
    }
}

fn dead(bytes: usize) -> DeadRow {
    DeadRow {
        topic: 0,
        offset: 0,
        append_time: 0,
        reason: DeadReason::Poison,
        detail: String::new(),
        robot_id: None,
        schema_id: None,
        payload: vec![7; bytes],
        sealed: false,
        size: 0,
        sha256: String::new(),
    }
}

/// So many robots, named by their slots.
fn robots(count: usize) -> UnsavedOutputs {
    let mut unsaved = UnsavedOutputs::new(limits());
    (0..count).for_each(|slot| unsaved.restore(slot, &name(slot), 0));
    unsaved
}

/// Takes the first so many of the slots that are due into a commit.
fn saved(unsaved: &mut UnsavedOutputs, slots: &[usize]) -> Vec<ProcessorSave> {
    let save = |slot: &usize| unsaved.take_save(*slot, Vec::new(), Positions::zero());
    slots.iter().map(save).collect()
}

/// What happens to a partition's processors.
#[derive(Debug, Clone)]
enum Happens {
    Newcomer,
    /// A processor, or the intake processor, gets rows and puts something out.
    Rows {
        slot: usize,
        read: [u64; 2],
        bytes: usize,
        urgent: bool,
    },
    /// It gets rows, puts nothing out, and may refuse one.
    Quiet {
        slot: usize,
        refused: Option<usize>,
    },
    Panics(usize),
    Rebuilt {
        which: usize,
        bytes: usize,
        urgent: bool,
    },
    /// A commit is submitted, with so many of those that are due at most.
    Submits {
        everything: bool,
        most: usize,
    },
    Committed,
    /// So many microseconds pass, or the clock is put back.
    Passes(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    use Happens::*;
    let slot = || prop_oneof![9 => 0..12_usize, 1 => Just(INTAKE_SLOT)];
    let rows = (
        slot(),
        [0..3_u64, 0..3_u64],
        0..500_usize,
        prop::bool::weighted(0.2),
    );
    let rows = rows.prop_map(|(slot, read, bytes, urgent)| Rows {
        slot,
        read,
        bytes,
        urgent,
    });
    let quiet = (slot(), prop::option::of(0..500_usize));
    let rebuilt = (0..3_usize, 0..500_usize, any::<bool>());
    prop_oneof![
        2 => Just(Newcomer),
        12 => rows,
        6 => quiet.prop_map(|(slot, refused)| Quiet { slot, refused }),
        1 => (0..12_usize).prop_map(Panics),
        3 => rebuilt.prop_map(|(which, bytes, urgent)| Rebuilt { which, bytes, urgent }),
        6 => (prop::bool::weighted(0.2), 0..6_usize)
            .prop_map(|(everything, most)| Submits { everything, most }),
        6 => Just(Committed),
        6 => (-1_000_000..INTERVAL_US).prop_map(Passes),
    ]
}

/// The lists beside the looks at all.
struct Both {
    kept: UnsavedOutputs,
    scanned: scanned::UnsavedOutputs,
    count: usize,
    here: [u64; 2],
    now: LogTime,
}

impl Both {
    fn new() -> Self {
        Self {
            kept: UnsavedOutputs::new(limits()),
            scanned: scanned::UnsavedOutputs::new(limits()),
            count: 0,
            here: [0; 2],
            now: LogTime(INTERVAL_US),
        }
    }

    /// A slot that there is.
    fn there(&self, slot: usize) -> Option<usize> {
        (slot == INTAKE_SLOT || slot < self.count).then_some(slot)
    }

    fn touched(&mut self, slot: usize) {
        let here = Positions::from(self.here.to_vec());
        self.kept.touched(slot, &here);
        self.scanned.touched(slot, &here);
    }

    fn happens(&mut self, what: Happens) -> std::result::Result<(), TestCaseError> {
        match what {
            Happens::Newcomer => {
                self.kept.restore(self.count, &name(self.count), 3);
                self.scanned.restore(self.count, &name(self.count), 3);
                self.count += 1;
            }
            Happens::Rows {
                slot,
                read,
                bytes,
                urgent,
            } => {
                if let Some(slot) = self.there(slot).filter(|slot| self.kept.is_healthy(*slot)) {
                    self.touched(slot);
                    self.kept.add(slot, outputs(bytes, urgent), None);
                    self.scanned.slot(slot).add(outputs(bytes, urgent));
                }
                self.here = [self.here[0] + read[0], self.here[1] + read[1]];
            }
            Happens::Quiet { slot, refused } => {
                let Some(slot) = self.there(slot) else {
                    return Ok(());
                };
                self.touched(slot);
                if let Some(bytes) = refused {
                    self.kept.add_dead(slot, dead(bytes));
                    self.scanned.slot(slot).add_dead(dead(bytes));
                }
            }
            Happens::Panics(slot) => {
                let Some(slot) = self.there(slot) else {
                    return Ok(());
                };
                self.kept.panicked(slot);
                self.scanned.slot(slot).state = scanned::SlotState::Broken;
            }
            Happens::Rebuilt {
                which,
                bytes,
                urgent,
            } => {
                if let Some(slot) = self.kept.broken().get(which) {
                    self.kept.replace(*slot, outputs(bytes, urgent));
                    self.scanned.slot(*slot).replace(outputs(bytes, urgent));
                }
            }
            Happens::Submits { everything, most } if !self.kept.in_flight() => {
                let due = self.kept.due(self.now, everything);
                prop_assert_eq!(&due.slots, &self.scanned.due(self.now, everything));
                for slot in due.slots.into_iter().take(most) {
                    let at = Positions::from(self.here.to_vec());
                    let kept = self.kept.take_save(slot, vec![1], at.clone());
                    let scanned = self.scanned.slot(slot).take_save(vec![1], at);
                    prop_assert_eq!(kept, scanned);
                }
            }
            Happens::Submits { .. } => {}
            Happens::Committed => {
                self.kept.committed(self.now);
                self.scanned.committed(self.now);
            }
            Happens::Passes(us) => self.now.0 += us,
        }
        Ok(())
    }

    fn agree(&mut self) -> std::result::Result<(), TestCaseError> {
        let here = Positions::from(self.here.to_vec());
        prop_assert_eq!(self.kept.in_flight(), self.scanned.in_flight());
        prop_assert_eq!(self.kept.broken(), self.scanned.broken());
        prop_assert_eq!(self.kept.is_full(), self.scanned.is_full());
        prop_assert_eq!(self.kept.is_clean(), self.scanned.is_clean());
        prop_assert_eq!(self.kept.floor(&here), self.scanned.floor(&here));
        for slot in (0..self.count).chain([INTAKE_SLOT]) {
            let scanned = self.scanned.slot(slot);
            prop_assert_eq!(self.kept.is_healthy(slot), scanned.is_healthy());
            let from = scanned.unsaved_from();
            prop_assert_eq!(self.kept.unsaved_from(slot), from.as_ref());
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn what_is_kept_says_what_looks_at_all_processors_say(
        all in prop::collection::vec(happens(), 1..200)
    ) {
        let mut both = Both::new();
        for what in all {
            both.happens(what)?;
            both.agree()?;
        }
    }

    #[test]
    fn a_floor_is_never_above_what_is_unsaved_in_whatever_order_positions_come(
        steps in prop::collection::vec((any::<bool>(), [0..9_u64, 0..9_u64]), 1..60)
    ) {
        let mut beginnings = Beginnings::default();
        let mut held = Vec::new();
        for (adds, at) in steps {
            let from = Positions::from(at.to_vec());
            if adds || held.is_empty() {
                held.push((beginnings.add(&from), from));
            } else {
                let (number, _) = held.swap_remove(at[0] as usize % held.len());
                beginnings.remove(number);
            }
            for (number, from) in &held {
                prop_assert!(from.covers(beginnings.lowest().unwrap_or(from)));
                prop_assert!(beginnings.get(*number).is_some_and(|kept| from.covers(kept)));
            }
            prop_assert_eq!(beginnings.lowest().is_none(), held.is_empty());
        }
    }
}

/// What is due of ten robots, a control actor among them, of which those at `urgent` are urgent and
/// all wait since `waited` microseconds.
struct Case {
    what: &'static str,
    urgent: &'static [usize],
    dirty: &'static [usize],
    waited: i64,
    bytes: usize,
    everything: bool,
    due: &'static [usize],
    urgency: Urgency,
}

#[test]
fn urgent_processors_take_only_what_must_go_with_them() {
    let calm = Case {
        what: "all that have waited for long enough",
        urgent: &[],
        dirty: &[0, 2, 4],
        waited: INTERVAL_US,
        bytes: 1,
        everything: false,
        due: &[0, 2, 4],
        urgency: Urgency::Routine,
    };
    let urgent = Case {
        what: "an urgent one drags no other along",
        urgent: &[2],
        due: &[2],
        urgency: Urgency::Urgent,
        ..calm
    };
    let table = [
        Case {
            what: "none before its time",
            waited: INTERVAL_US - 1,
            due: &[],
            ..calm
        },
        Case {
            what: "what was said to all, and what was refused, goes with any",
            dirty: &[0, CONTROL, 2, 4, INTAKE_SLOT],
            due: &[INTAKE_SLOT, CONTROL, 2],
            ..urgent
        },
        Case {
            what: "with the others where all is saved",
            everything: true,
            due: &[2, 0, 4],
            ..urgent
        },
        Case {
            what: "with the others where so much is unsaved that it must be less",
            bytes: 700,
            due: &[2, 0, 4],
            ..urgent
        },
        Case {
            what: "several",
            urgent: &[2, 4],
            due: &[2, 4],
            ..urgent
        },
        calm,
        urgent,
    ];
    for case in table {
        let mut unsaved = robots(10);
        for slot in case.dirty {
            unsaved.touched(*slot, &Positions::zero());
            let urgent = case.urgent.contains(slot);
            unsaved.add(*slot, outputs(case.bytes, urgent), None);
        }
        let due = unsaved.due(LogTime(case.waited), case.everything);
        assert_eq!(due.slots, case.due, "{}", case.what);
        assert_eq!(due.urgency, case.urgency, "{}", case.what);
        assert_eq!(unsaved.in_flight(), !case.due.is_empty(), "{}", case.what);
    }
}

#[test]
fn others_that_were_left_behind_go_with_the_next_urgent_ones() {
    let mut unsaved = robots(4);
    let now = LogTime(INTERVAL_US);
    let mut due = |urgent: usize| {
        unsaved.touched(urgent, &Positions::zero());
        unsaved.add(urgent, outputs(1, true), None);
        unsaved.touched(2, &Positions::zero());
        unsaved.touched(3, &Positions::zero());
        let due = unsaved.due(now, false);
        saved(&mut unsaved, &due.slots);
        unsaved.committed(now);
        due.slots
    };
    assert_eq!(due(0), [0], "it goes alone");
    assert_eq!(
        due(0),
        [0, 2, 3],
        "those that it has left behind go with it"
    );
    assert_eq!(due(0), [0], "the others were saved a moment ago");
    assert_eq!(due(0), [0], "and are not due yet");
}

#[test]
fn a_commit_has_room_for_so_many_processors_and_the_others_stay_due() {
    let count = SAVES_MAX + 5;
    let mut unsaved = robots(count);
    for slot in 0..count {
        unsaved.touched(slot, &Positions::zero());
    }
    let first = unsaved.due(LogTime(INTERVAL_US), false).slots;
    assert_eq!(first.len(), SAVES_MAX);
    saved(&mut unsaved, &first);
    unsaved.committed(LogTime(INTERVAL_US));
    let others = unsaved.due(LogTime(INTERVAL_US), false).slots;
    assert_eq!(first.len() + others.len(), count);
    saved(&mut unsaved, &others);
    unsaved.committed(LogTime(INTERVAL_US));
    assert!(unsaved.is_clean());
}
