//! Which rows may be judged as a slice, and why a row is refused.

use theatre_schemas::batch::Batch;

use super::RobotActor;
use crate::outputs::DeadReason;
use crate::rules::DatasetRules;

/// Whether rows may be judged as a slice by the rules that judge in event time.
pub(super) struct RowOrder {
    /// The dataset has such rules.
    matters: bool,
    pub(super) is_calm: bool,
    /// The latest event time that was judged, or is in the slice.
    last: i64,
}

impl RowOrder {
    /// As it is before a message, for a dataset's rules.
    pub(super) fn of(rules: Option<&DatasetRules>, robot: &RobotActor, dataset: &str) -> Self {
        Self {
            matters: rules.is_some_and(|rules| !rules.in_event_time.is_empty()),
            is_calm: robot.is_calm(dataset),
            last: robot.judged_to(dataset),
        }
    }

    pub(super) fn refresh(&mut self, robot: &RobotActor, dataset: &str) {
        self.is_calm = robot.is_calm(dataset);
        self.last = robot.judged_to(dataset);
    }

    /// Whether a row may join the slice.
    #[inline]
    pub(super) fn takes(&mut self, in_order: bool, time: i64) -> bool {
        if self.matters && !(in_order && time >= self.last) {
            return false;
        }
        self.last = time;
        self.is_calm
    }
}

/// Why a row is a dead letter, for people.
pub(super) fn explain(reason: DeadReason, batch: &Batch, row: usize) -> String {
    let seconds = |from: i64, to: i64| to.saturating_sub(from) as f64 / 1e6;
    match reason {
        DeadReason::Future => format!(
            "dated {:.1} s after it was appended",
            seconds(batch.append_times[row], batch.event_times()[row])
        ),
        DeadReason::Late => {
            "older than the robot's clock by more than the allowed lateness".to_owned()
        }
        DeadReason::SequenceGivenUp => format!(
            "sequence {:?} is from a range that was given up",
            batch.sequence(row)
        ),
        _ => String::new(),
    }
}
