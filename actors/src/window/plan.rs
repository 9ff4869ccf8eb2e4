//! The configuration of windows: which there are and what they compute, checked once.

use serde::{Deserialize, Serialize};

use crate::time::TimePolicy;

/// Longest window, microseconds: a leap year.
const SIZE_US_MAX: i64 = 366 * 86_400 * crate::time::MICROS_PER_SECOND;
/// Most panes a window may be made of, which bounds the state of a robot and the work of closing a
/// window.
const PANES_PER_WINDOW_MAX: i64 = 16_384;
/// Times and durations are clamped to this, so that sums of a few of them cannot overflow.
/// Microseconds.
pub(super) const TIME_LIMIT_US: i64 = 1 << 61;
/// Delays are clamped to this. Microseconds.
pub(super) const WAIT_LIMIT_US: i64 = 1 << 60;

/// One kind of window. Tumbling when `hop_us == size_us`. Windows are aligned to
/// 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WindowSpec {
    /// Name in ids, tables and configuration; a changed window should get a new name.
    pub name: String,
    /// Length, microseconds.
    pub size_us: i64,
    /// Distance of two windows' starts, microseconds; divides `size_us`.
    pub hop_us: i64,
}

impl WindowSpec {
    /// The first and the last end of this kind's windows that contain a pane. Ends in between are
    /// `hop_us` apart.
    pub(super) fn ends_over(&self, pane_start: i64) -> (i64, i64) {
        let hop_start = pane_start.div_euclid(self.hop_us) * self.hop_us;
        (hop_start + self.hop_us, hop_start + self.size_us)
    }

    /// The first end of a window at or after a moment.
    pub(super) fn end_at_or_after(&self, moment: i64) -> i64 {
        let remainder = moment.rem_euclid(self.hop_us);
        if remainder == 0 {
            moment
        } else {
            moment - remainder + self.hop_us
        }
    }
}

/// The set of aggregates computed per signal. A larger set costs time and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateSet {
    /// Count, sum, min, max; and the mean, which follows from them.
    Basic,
    /// Those of `Basic`, and variance, first and last.
    #[default]
    Full,
    /// Those of `Full`, and a quantile sketch.
    Sketch,
}

/// Why a set of windows was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The name is empty or holds something that ids cannot.
    #[error("window name `{0}` must be of letters, digits, `-`, `_` and `.`: rename it")]
    Name(String),
    /// Two windows have the same name.
    #[error("window `{0}` is there twice: give one of them another name")]
    Twice(String),
    /// The length is not positive or beyond the limit.
    #[error("window `{name}` has a size of {size_us} us: it must be above 0 and at most a year")]
    Size {
        /// Window name.
        name: String,
        /// Its length, microseconds.
        size_us: i64,
    },
    /// The hop is not positive or does not divide the length.
    #[error(
        "window `{name}` of {size_us} us cannot hop by {hop_us} us: the hop must be above 0 and divide the size"
    )]
    Hop {
        /// Window name.
        name: String,
        /// Its length, microseconds.
        size_us: i64,
        /// Its hop, microseconds.
        hop_us: i64,
    },
    /// The windows share only very short panes.
    #[error(
        "window `{name}` would be made of {panes} panes of {pane_us} us, more than {PANES_PER_WINDOW_MAX}: \
         choose hops with a larger common divisor"
    )]
    Panes {
        /// Window name.
        name: String,
        /// Number of panes.
        panes: i64,
        /// Their width, microseconds.
        pane_us: i64,
    },
}

/// The windows of a dataset, checked, and the pane they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowPlan {
    specs: Vec<WindowSpec>,
    aggregates: AggregateSet,
    pane_us: i64,
    allowed_lateness_us: i64,
}

impl WindowPlan {
    /// Checks the windows. An empty list is allowed: nothing is aggregated then. The allowed
    /// lateness is that of [`TimePolicy::default`] until [`Self::with_allowed_lateness`] says
    /// otherwise.
    pub fn new(specs: Vec<WindowSpec>, aggregates: AggregateSet) -> Result<Self, WindowError> {
        for (index, spec) in specs.iter().enumerate() {
            check_spec(spec)?;
            if specs[..index].iter().any(|other| other.name == spec.name) {
                return Err(WindowError::Twice(spec.name.clone()));
            }
        }
        let pane_us = specs.iter().fold(0, |pane_us, spec| {
            greatest_common_divisor(pane_us, spec.hop_us)
        });
        for spec in &specs {
            let panes = spec.size_us / pane_us;
            if panes > PANES_PER_WINDOW_MAX {
                return Err(WindowError::Panes {
                    name: spec.name.clone(),
                    panes,
                    pane_us,
                });
            }
        }
        let allowed_lateness_us = TimePolicy::default().allowed_lateness_us;
        Ok(Self {
            specs,
            aggregates,
            pane_us,
            allowed_lateness_us,
        })
    }

    /// Sets how late a row may come, microseconds: revision numbers are kept for that long. If rows
    /// come even later, revisions still never repeat, but may skip numbers.
    pub fn with_allowed_lateness(mut self, allowed_lateness_us: i64) -> Self {
        self.allowed_lateness_us = allowed_lateness_us.clamp(0, WAIT_LIMIT_US);
        self
    }

    /// The same with some of its windows, whose values stay what they are to the last bit: the panes
    /// that they are merged from are the same.
    pub fn only(&self, is_wanted: impl Fn(&WindowSpec) -> bool) -> Self {
        let specs: Vec<WindowSpec> = (self.specs.iter().filter(|spec| is_wanted(spec)))
            .cloned()
            .collect();
        let pane_us = if specs.is_empty() { 0 } else { self.pane_us };
        Self {
            specs,
            pane_us,
            ..self.clone()
        }
    }

    /// The windows, in the configured order.
    pub fn specs(&self) -> &[WindowSpec] {
        &self.specs
    }

    /// What is computed per signal.
    pub fn aggregates(&self) -> AggregateSet {
        self.aggregates
    }

    /// Width of the shared pane, microseconds; 0 without windows.
    pub fn pane_us(&self) -> i64 {
        self.pane_us
    }

    /// How late rows may come, microseconds.
    pub(super) fn allowed_lateness_us(&self) -> i64 {
        self.allowed_lateness_us
    }
}

fn check_spec(spec: &WindowSpec) -> Result<(), WindowError> {
    let allowed =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if spec.name.is_empty() || !spec.name.chars().all(allowed) {
        return Err(WindowError::Name(spec.name.clone()));
    }
    if spec.size_us <= 0 || spec.size_us > SIZE_US_MAX {
        return Err(WindowError::Size {
            name: spec.name.clone(),
            size_us: spec.size_us,
        });
    }
    if spec.hop_us <= 0 || spec.size_us % spec.hop_us != 0 {
        return Err(WindowError::Hop {
            name: spec.name.clone(),
            size_us: spec.size_us,
            hop_us: spec.hop_us,
        });
    }
    Ok(())
}

fn greatest_common_divisor(mut left: i64, mut right: i64) -> i64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}
