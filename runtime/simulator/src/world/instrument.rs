//! Instruments: each robot has a tray of eight kinds; one that has used its lives is replaced by a
//! new one with another serial number.

use super::dice::Dice;

/// Kinds of instruments; the symbols of the schema without `unknown`.
pub(super) const KINDS: usize = 8;
/// Letters that serial numbers of a kind begin with.
const PREFIXES: [&str; KINDS] = ["GR", "SC", "CH", "ND", "FO", "RE", "SL", "CA"];

/// One instrument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Instrument {
    pub(super) serial: String,
    /// Cases that it was used in, this one included.
    pub(super) uses: i32,
}

/// The instruments of a robot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tray {
    robot: usize,
    lives: i32,
    slots: [(Instrument, u32); KINDS],
}

/// What is on the arm during a part of a case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mount {
    /// From this share of the case on.
    pub(super) from: f64,
    /// Kind, from 0.
    pub(super) kind: usize,
    pub(super) instrument: Instrument,
}

impl Tray {
    /// A tray whose instruments have some of their lives behind them.
    pub(super) fn new(robot: usize, lives: i32, dice: &mut Dice) -> Self {
        let slots = std::array::from_fn(|kind| {
            let uses = dice.whole(0, i64::from(lives) - 1) as i32;
            (
                Instrument {
                    serial: serial(robot, kind, 0),
                    uses,
                },
                0,
            )
        });
        Self {
            robot,
            lives,
            slots,
        }
    }

    /// Takes the instruments of a case from the tray: another one every `1 / changes` of it, drawn
    /// anew, so that it may be the same again. Each that is used loses one life.
    pub(super) fn mounts(&mut self, changes: usize, dice: &mut Dice) -> Vec<Mount> {
        let mut used = [false; KINDS];
        let samples = 100 / changes;
        let starts = (0..100).step_by(samples);
        let mounts = starts.map(|start| {
            let kind = dice.index(KINDS);
            let (instrument, generation) = &mut self.slots[kind];
            if !used[kind] {
                used[kind] = true;
                if instrument.uses >= self.lives {
                    *generation += 1;
                    instrument.serial = serial(self.robot, kind, *generation);
                    instrument.uses = 0;
                }
                instrument.uses += 1;
            }
            Mount {
                from: start as f64 / 100.0,
                kind,
                instrument: instrument.clone(),
            }
        });
        mounts.collect()
    }
}

fn serial(robot: usize, kind: usize, generation: u32) -> String {
    format!("{}-{robot:04}-{generation:03}", PREFIXES[kind])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Tray;
    use crate::world::dice::{Dice, Purpose};

    #[test]
    fn an_instrument_is_replaced_when_its_lives_are_used() {
        let mut dice = Dice::new(1, Purpose::Robot, 3);
        let mut tray = Tray::new(3, 10, &mut dice);
        let mut most: BTreeMap<String, i32> = BTreeMap::new();
        for case in 0..300 {
            let mounts = tray.mounts(3 + case % 5, &mut dice);
            assert_eq!(mounts[0].from, 0.0);
            for mount in mounts {
                assert!((1..=10).contains(&mount.instrument.uses));
                let uses = most.entry(mount.instrument.serial).or_default();
                assert!(
                    mount.instrument.uses - *uses <= 1 || *uses == 0,
                    "counted one by one"
                );
                *uses = mount.instrument.uses;
            }
        }
        assert!(most.len() > 80);
    }
}
