//! Patients: who comes to an operation.

use super::dice::Dice;

/// A patient of one case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Patient {
    pub(super) patient_id: String,
    /// Years, 18 to 85: one of the causes of an outcome.
    pub(super) age: i64,
    /// A symbol of the schema, male, female or other, a third each.
    pub(super) gender: &'static str,
}

/// A patient as the reference platform draws them: hardly one returns.
pub(super) fn patient(dice: &mut Dice) -> Patient {
    Patient {
        patient_id: format!("PAT-{}", dice.whole(100_000, 999_999)),
        age: dice.whole(18, 85),
        gender: ["male", "female", "other"][dice.index(3)],
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
