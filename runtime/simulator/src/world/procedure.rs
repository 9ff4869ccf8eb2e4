//! Cases: what is operated, by whom and how, and the steps of their lives.

use super::avro::Datum;
use super::calendar::MINUTE_US;
use super::catalogue::Catalogue;
use super::dice::Dice;
use super::patient::{self, Patient};
use super::records::symbols;

/// How a case is to end, unless something breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Completed,
    /// Its end is never reported.
    InProgress,
    Aborted,
    Cancelled,
}

/// A case that is booked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Case {
    pub(super) number: u64,
    pub(super) procedure_id: String,
    pub(super) robot: usize,
    pub(super) surgeon: usize,
    pub(super) patient: Patient,
    pub(super) category: usize,
    pub(super) kind: usize,
    /// 1 to 5, in hundredths.
    pub(super) complexity: f64,
    pub(super) start: i64,
    pub(super) duration: i64,
    pub(super) fate: Fate,
    /// How often the instrument is changed.
    pub(super) changes: usize,
    pub(super) is_emergency: bool,
}

impl Case {
    /// When it is to end.
    pub(super) fn end(&self) -> i64 {
        self.start + self.duration
    }

    /// How much work it is for the robot; 1 is usual.
    pub(super) fn load(&self) -> f64 {
        0.7 + 0.1 * self.complexity
    }
}

/// What is drawn for a case before it finds a robot and a time.
pub(super) struct Draft {
    pub(super) procedure_id: String,
    pub(super) patient: Patient,
    pub(super) complexity: f64,
    pub(super) duration: i64,
    pub(super) changes: usize,
}

/// Draws a case: 30 to 480 minutes, longer by a fifth for each point of complexity.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let complexity = (dice.uniform(1.0, 5.0) * 100.0).round() / 100.0;
    let minutes = dice.uniform(30.0, 480.0) * (1.0 + 0.2 * (complexity - 1.0));
    Draft {
        procedure_id: dice.uuid(),
        patient: patient::patient(dice),
        complexity,
        duration: minutes.floor() as i64 * MINUTE_US,
        // 3 to 7, each as often: what is complex needs more instruments.
        changes: (3.0 + (complexity - 1.0) / 4.0 * 5.0).min(7.0) as usize,
    }
}

/// Draws which operation of a category it is.
pub(super) fn kind(catalogue: &Catalogue, category: usize, dice: &mut Dice) -> usize {
    dice.index(catalogue.categories[category].types.len())
}

/// A step in the life of a case, as a record has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) procedure_id: String,
    pub(super) step: &'static str,
    pub(super) phase: Option<String>,
    pub(super) procedure_type: String,
    pub(super) category: String,
    pub(super) surgeon_id: String,
    /// Who is operated on.
    pub(super) patient: Patient,
    pub(super) complexity: f64,
}

impl Step {
    /// Writes its fields.
    pub(super) fn encode(&self, datum: &mut Datum) {
        datum
            .text(&self.procedure_id)
            .symbol(&symbols::STEP, self.step)
            .optional_text(self.phase.as_deref())
            .optional_text(Some(&self.procedure_type))
            .optional_text(Some(&self.category))
            .optional_text(Some(&self.surgeon_id))
            .optional_text(Some(&self.patient.patient_id))
            .optional_double(Some(self.complexity))
            .optional_whole(Some(self.patient.age))
            .symbol(&symbols::GENDER, self.patient.gender);
    }
}

/// A step and when it is taken.
pub(super) type Timed = (i64, &'static str, Option<usize>);

/// The course of a case from its start to `end`, where it ends as `last`: phases, at times a pause,
/// and before an abort sometimes the conversion to an open operation.
pub(super) fn course(
    catalogue: &Catalogue,
    case: &Case,
    (begin, end): (i64, i64),
    last: Option<&'static str>,
    pauses: bool,
    dice: &mut Dice,
) -> Vec<Timed> {
    let mut steps: Vec<Timed> = vec![(case.start, "started", None)];
    let mut share = 0.0;
    for (index, phase) in catalogue.phases.iter().enumerate() {
        let at = case.start + (case.duration as f64 * share) as i64;
        steps.push((at, "phase_started", Some(index)));
        share += phase.effort;
    }
    let length = end - case.start;
    if pauses {
        let at = case.start + (length as f64 * dice.uniform(0.2, 0.6)) as i64;
        let back = at + (length as f64 * dice.uniform(0.02, 0.1)) as i64;
        steps.extend([(at, "paused", None), (back, "resumed", None)]);
    }
    if last == Some("aborted") && dice.chance(0.4) {
        steps.push((end - length / 50, "converted", None));
    }
    steps.retain(|(at, ..)| (begin..end).contains(at));
    if let Some(last) = last {
        steps.push((end, last, None));
    }
    steps.sort_by_key(|(at, ..)| *at);
    steps
}
