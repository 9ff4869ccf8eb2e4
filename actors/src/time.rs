//! Two kinds of time that must not be mixed, and the port through which wall-clock time enters.
//!
//! *Event time* is when a robot says something happened; *log time* is when its record was appended
//! to the log. Both are microseconds since 1970-01-01T00:00:00Z.

use serde::{Deserialize, Serialize};

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;

/// When something happened, by the robot's own clock. Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

/// When a record was appended to the log, or a time of the wall clock, which the log's times are
/// compared with. Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogTime(pub i64);

impl LogTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / MICROS_PER_SECOND as f64
    }

    /// Seconds from an earlier time to this one; 0 where it is a later one, as clocks of several
    /// machines may say.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        Self(self.0.saturating_sub(earlier.0).max(0)).seconds()
    }
}

/// What the wall clock says to processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Everything that was appended before this time has been read: what people have said of
    /// conditions falls due by it.
    pub read_to: LogTime,
    /// The time of now, where the end of the log has been seen for as long as makes a robot silent:
    /// silence is judged by it.
    pub silence: Option<LogTime>,
}

/// Wall-clock time as a port: the system's clock in production, a number in a simulation.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> LogTime;
}

/// How a robot's clock and its windows treat time. Durations in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimePolicy {
    /// Rows up to this much behind the robot's clock still join open panes. Default 30 s.
    pub reorder_bound_us: i64,
    /// Rows up to this much behind the robot's clock still correct closed windows. Default 1 h.
    pub allowed_lateness_us: i64,
    /// Rows dated further than this after their append time become dead letters. Default 5 min.
    pub future_tolerance_us: i64,
    /// A robot that sends no record for this long, on a partition that has read to the end of its
    /// log, is silent: a condition is raised and its windows are closed. Default 60 s.
    pub silence_after_us: i64,
}

impl Default for TimePolicy {
    fn default() -> Self {
        Self {
            reorder_bound_us: 30 * MICROS_PER_SECOND,
            allowed_lateness_us: 3_600 * MICROS_PER_SECOND,
            future_tolerance_us: 300 * MICROS_PER_SECOND,
            silence_after_us: 60 * MICROS_PER_SECOND,
        }
    }
}
