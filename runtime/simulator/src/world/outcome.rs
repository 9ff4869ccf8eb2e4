//! Clinical results: how a case went, why, and what the hospital reports of it when.

use super::avro::Datum;
use super::calendar::{DAY_US, HOUR_US};
use super::component::Wear;
use super::dice::Dice;
use super::records::symbols;

/// Kinds of complications.
const COMPLICATIONS: [&str; 8] = [
    "minor bleeding",
    "infection",
    "prolonged recovery",
    "organ injury",
    "adhesions",
    "nerve damage",
    "urinary retention",
    "ileus",
];

/// What an outcome depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Causes {
    pub(super) complexity: f64,
    /// The surgeon's beside the others: mean 0, deviation 1.
    pub(super) experience: f64,
    /// Years.
    pub(super) age: i64,
    pub(super) wear: Wear,
    pub(super) is_aborted: bool,
}

/// A clinical result, as a record has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ClinicalResult {
    pub(super) procedure_id: String,
    pub(super) success_status: &'static str,
    pub(super) blood_loss_ml: Option<i64>,
    /// Kind and severity.
    pub(super) complications: Vec<(&'static str, &'static str)>,
    pub(super) hospital_stay_days: Option<i64>,
    pub(super) readmission_30day: Option<bool>,
    pub(super) satisfaction: Option<i64>,
    pub(super) recovery: Option<i64>,
    pub(super) follow_up_required: Option<bool>,
}

/// A result and the reports of it: soon after the end, and 30 days after it, when it is known
/// whether the patient came back.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) first: (i64, ClinicalResult),
    pub(super) correction: Option<(i64, ClinicalResult)>,
}

/// By how much the share of successes is moved by what is no complexity. Its mean over a fleet in
/// good health is 0: experience has mean 0, and so has age between 18 and 85.
pub(super) fn shift(causes: &Causes) -> f64 {
    let age = (causes.age as f64 - 51.5) / 19.6;
    let worst = causes.wear.iter().copied().fold(0.0, f64::max);
    0.02 * causes.experience.clamp(-2.0, 2.0) - 0.02 * age - 0.15 * worst
}

/// Probabilities of success, of complications, and of failure.
pub(super) fn shares(causes: &Causes) -> [f64; 3] {
    let over = causes.complexity - 1.0;
    let shift = shift(causes);
    let failed = (0.03 + 0.01 * over - 0.25 * shift).max(0.005);
    let complicated = (0.12 + 0.04 * over - 0.75 * shift).max(0.01);
    [1.0 - failed - complicated, complicated, failed]
}

/// The reports of a case that ended at `end`.
pub(super) fn reports(procedure_id: &str, end: i64, causes: &Causes, dice: &mut Dice) -> Reports {
    let mut shares = shares(causes);
    if causes.is_aborted {
        shares = [0.0, 0.6, 0.4];
    }
    let rank = dice.weighted(&shares);
    let mut result = ClinicalResult {
        procedure_id: procedure_id.to_owned(),
        success_status: symbols::SUCCESS[rank + 1],
        ..ClinicalResult::default()
    };
    let whole = |dice: &mut Dice, spans: [(i64, i64); 3]| dice.whole(spans[rank].0, spans[rank].1);
    let blood =
        dice.uniform(50.0, 500.0) * [1.0, dice.uniform(1.5, 3.0), dice.uniform(2.0, 4.0)][rank];
    let stay = whole(dice, [(1, 4), (3, 10), (7, 21)]);
    result.blood_loss_ml = Some(blood as i64);
    result.hospital_stay_days = Some(stay);
    result.complications = complications(rank, dice);
    if !causes.is_aborted {
        result.satisfaction = Some(whole(dice, [(7, 10), (4, 8), (1, 5)]));
        result.recovery = Some(whole(dice, [(80, 100), (50, 85), (20, 60)]));
    }
    result.follow_up_required = Some(rank > 0 || dice.chance(0.3));
    let is_back = dice.chance(if rank == 0 { 0.05 } else { 0.25 });
    let reported = end + dice.whole(1, 24) * HOUR_US;
    let known = end + 30 * DAY_US;
    let corrected = ClinicalResult {
        readmission_30day: Some(is_back),
        ..result.clone()
    };
    Reports {
        first: (reported, result),
        correction: Some((known, corrected)),
    }
}

/// The report of a case that was called off: nothing was done, and nothing comes later.
pub(super) fn cancelled(procedure_id: &str, end: i64, dice: &mut Dice) -> Reports {
    let result = ClinicalResult {
        procedure_id: procedure_id.to_owned(),
        success_status: symbols::SUCCESS[0],
        follow_up_required: Some(true),
        ..ClinicalResult::default()
    };
    Reports {
        first: (end + dice.whole(1, 24) * HOUR_US, result),
        correction: None,
    }
}

/// None, one or two, or two to four distinct complications.
fn complications(rank: usize, dice: &mut Dice) -> Vec<(&'static str, &'static str)> {
    let count = match rank {
        0 => return Vec::new(),
        1 => dice.index(2) + 1,
        _ => dice.index(3) + 2,
    };
    let mut kinds = COMPLICATIONS;
    dice.shuffle(&mut kinds);
    // Minor, moderate or severe: a failed operation has no minor ones only.
    let weights = [[0.6, 0.35, 0.05], [0.1, 0.4, 0.5]][rank - 1];
    kinds[..count]
        .iter()
        .map(|kind| (*kind, symbols::SEVERITY[dice.weighted(&weights) + 1]))
        .collect()
}

impl ClinicalResult {
    /// Writes its fields.
    pub(super) fn encode(&self, datum: &mut Datum) {
        datum
            .text(&self.procedure_id)
            .symbol(&symbols::SUCCESS, self.success_status)
            .optional_whole(self.blood_loss_ml)
            .array(&self.complications, |datum, (kind, severity)| {
                datum.text(kind).symbol(&symbols::SEVERITY, severity);
            })
            .optional_whole(self.hospital_stay_days)
            .optional(self.readmission_30day, |datum, value| {
                datum.boolean(value);
            })
            .optional_whole(self.satisfaction)
            .optional_whole(self.recovery)
            .optional(self.follow_up_required, |datum, value| {
                datum.boolean(value);
            });
    }
}

#[cfg(test)]
mod tests {
    use super::{Causes, shares};

    #[test]
    fn complexity_age_wear_and_inexperience_make_an_outcome_worse() {
        let usual = Causes {
            complexity: 3.0,
            experience: 0.0,
            age: 51,
            wear: [0.0; 7],
            is_aborted: false,
        };
        let success = |causes: Causes| shares(&causes)[0];
        let base = success(usual);
        assert!((base - 0.75).abs() < 0.01, "{base}");
        let worn = [0.0, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0];
        for worse in [
            Causes {
                complexity: 4.0,
                ..usual
            },
            Causes {
                experience: -1.0,
                ..usual
            },
            Causes { age: 80, ..usual },
            Causes {
                wear: worn,
                ..usual
            },
        ] {
            let success = success(worse);
            assert!(
                base - 0.15 < success && success < base - 0.01,
                "modestly: {success}"
            );
            assert!((shares(&worse).iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
