//! Patients: who comes to an operation.

use super::dice::Dice;

/// A patient of one case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Patient {
    pub(super) patient_id: String,
    /// Years, 18 to 85. No record has it: it is one of the causes of an outcome.
    pub(super) age: i64,
    /// Male, Female or Other, a third each; in the ground truth only.
    pub(super) gender: &'static str,
}

/// A patient as the reference platform draws them: hardly one returns.
pub(super) fn patient(dice: &mut Dice) -> Patient {
    Patient {
        patient_id: format!("PAT-{}", dice.whole(100_000, 999_999)),
        age: dice.whole(18, 85),
        gender: ["Male", "Female", "Other"][dice.index(3)],
    }
}

impl Patient {
    /// The band of age as reports have it.
    pub(super) fn band(&self) -> usize {
        match self.age {
            ..30 => 0,
            30..50 => 1,
            50..65 => 2,
            _ => 3,
        }
    }
}
