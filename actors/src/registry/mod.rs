//! What is registered: facilities, surgeons and robot models as actors of their own, and what a
//! robot is beside its telemetry.
//!
//! [`history`] makes versions of what registries report, in whatever order reports come.
//! [`entities`] are facilities, surgeons and models; [`robot_record`] is a robot's part: its
//! registry, its [`maintenance`], its operating hours.

pub(crate) mod cells;
pub(crate) mod entities;
pub(crate) mod history;
pub(crate) mod maintenance;
pub(crate) mod raised;
pub(crate) mod robot_record;

pub(crate) use cells::Cells;
pub(crate) use entities::RegistryState;
pub use robot_record::RobotRecordView;
pub(crate) use robot_record::{Replaced, RobotRecord};
