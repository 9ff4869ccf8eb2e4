//! What a deployment knows, as plain serializable values: robots, procedures, alerts, windows, lake
//! files, dead letters, notifications, partitions.
//!
//! Every function reads the ports (checkpoint store, event log) and prints nothing; the command
//! line prints the answers and an HTTP server can serialize them. The store may belong to a running
//! process: the answers are as of its last checkpoint. Times are microseconds UTC.

mod notifications;
mod robots;
mod rules;
mod silences;
mod storage;
mod windows;

pub use notifications::{UndeliveredNotification, undelivered_notifications};
pub use robots::{
    OpenCondition, RobotSaves, RobotSummary, SavedRobot, alert_history, alerts_of,
    condition_history, open_conditions, procedure, procedures, robot, robots, robots_again,
    saved_robots,
};
pub use rules::{foreseen_rules, known_names, rules_with_history, standing_rules};
pub use silences::{StandingSilence, WIDE, standing_silences};
pub use storage::{
    DeadLetterSummary, LakeFileStatus, PartitionState, dead_letter, dead_letters, lake_files,
    lake_gaps, partitions, unsealed,
};
pub use windows::{WindowAggregate, WindowQuery, windows};
