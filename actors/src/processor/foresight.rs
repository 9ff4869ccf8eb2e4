//! How a row would be judged if it came now, without applying it.

use theatre_schemas::batch::Batch;

use super::ProcessorState;
use crate::position::TopicIndex;
use crate::robot::{Columns, Judgement, RobotActor};
use crate::state::{self, StateError};
use crate::time::TimePolicy;

/// The judgement of a row of a robot by its stored state; `None`: of one that was never seen. What
/// comes in between, and what the row's own values are worth, is not known here.
///
/// # Errors
/// When the state is of an unknown version or damaged.
pub fn foresee(
    stored: Option<&[u8]>,
    topic: TopicIndex,
    batch: &Batch,
    row: usize,
    policy: &TimePolicy,
) -> Result<Judgement, StateError> {
    let mut robot = match stored {
        Some(bytes) => state::decode::<ProcessorState>(bytes)?.robot,
        None => RobotActor::default(),
    };
    Ok(robot.judge(topic, &Columns::of(batch), row, policy))
}
