//! How a robot stands, in short: what listeners receive of one, and lists of all show.

use serde::Serialize;
use theatre_actors::processor::{ConditionView, ProcessorView};
use theatre_actors::rules::ROBOT_SILENT;
use theatre_schemas::records::Priority;

use crate::model::{OpenConditions, Time, under_way};

/// How a robot stands.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    pub(crate) robot_id: String,
    /// `operational`, `maintenance`, `retired` or `unknown`.
    pub(crate) status: String,
    pub(crate) facility_id: Option<String>,
    pub(crate) robot_model: Option<String>,
    pub(crate) is_silent: bool,
    /// That of the gravest open condition, and its rule.
    pub(crate) priority: Option<Priority>,
    pub(crate) rule_id: Option<String>,
    pub(crate) open: OpenConditions,
    /// Open conditions that a person has acknowledged, of which no one is notified, and of which no
    /// one knows whether they are still so.
    pub(crate) acknowledged: u64,
    pub(crate) silenced: u64,
    pub(crate) stale: u64,
    /// The one that is under way.
    pub(crate) procedure_id: Option<String>,
    pub(crate) last_event: Option<String>,
    pub(crate) clock: Option<Time>,
    pub(crate) heard_at: Option<Time>,
}

impl From<&ProcessorView> for Standing {
    fn from(view: &ProcessorView) -> Self {
        let count = |is: &dyn Fn(&ConditionView) -> bool| {
            view.conditions.iter().filter(|open| is(open)).count() as u64
        };
        let of = |priority| count(&|open| open.priority == priority);
        let gravest = view
            .conditions
            .iter()
            .min_by_key(|open| (open.priority, open.raised_at));
        Self {
            robot_id: view.robot_id.clone(),
            status: view.record.status.clone(),
            facility_id: view.record.facility_id.clone(),
            robot_model: view.record.robot_model.clone(),
            is_silent: count(&|open| open.rule_id == ROBOT_SILENT) > 0,
            priority: gravest.map(|open| open.priority),
            rule_id: gravest.map(|open| open.rule_id.clone()),
            open: OpenConditions {
                high: of(Priority::High),
                medium: of(Priority::Medium),
                low: of(Priority::Low),
            },
            acknowledged: count(&|open| open.acknowledged_by.is_some()),
            silenced: count(&|open| open.silenced_until.is_some()),
            stale: count(&|open| open.is_stale),
            procedure_id: under_way(view),
            last_event: view.last_event.clone(),
            clock: view.clock.map(Time),
            heard_at: view.heard_at.map(Time),
        }
    }
}
