//! What a rule in the shadow would have sent: transitions as alerts are, for those
//! who try the rule.

use std::borrow::Cow;

use theatre_schemas::records::Alert;

use super::alert;
use super::description::Described;
use super::{Holds, OutputEvent, OutputKind, OutputSpec, OutputTable, Topic};
use crate::ports::LoadMode;

/// Code under which the kind is stored; never re-used.
pub const CODE: u8 = 14;

/// Everything about the kind.
pub static SPEC: OutputSpec = OutputSpec {
    kind: OutputKind::ShadowAlert,
    name: "shadow_alert",
    topic: Topic::WhereConfigured,
    event_type: "theatre.alert.shadow",
    key: |output| &output.robot_id,
    dataset: |_| None,
    record: |output, _| Ok(Cow::Borrowed(&output.payload)),
    expires: true,
    table: OutputTable {
        name: "shadow_alerts",
        mode: || LoadMode::by_revision("alert_id"),
        keeps_every_row: true,
        identity: &["alert_id"],
        described: Described {
            rows: Some(
                "A transition of a condition of a rule in the shadow; it is sent to no one.",
            ),
            schema: Alert::SCHEMA,
            notes: &[],
            enumerations: &[],
        },
        holds: Holds::Measurements,
        happened: Some("event_time"),
        columns: alert::columns,
        grouped: None,
    },
};

/// The output of a transition under the id by which the rule was written.
pub fn output(robot_id: &str, alert: &Alert, rule_id: &str) -> OutputEvent {
    let alert = Alert {
        rule_id: rule_id.to_owned(),
        ..alert.clone()
    };
    OutputEvent {
        kind: OutputKind::ShadowAlert,
        ..alert::output(robot_id, &alert)
    }
}
