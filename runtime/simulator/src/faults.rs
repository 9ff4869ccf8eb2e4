//! What may happen to a record on its way from a robot to the log: a share of all telemetry records
//! each, decided by seed, robot and tick alone, so that a simulator that was killed goes on with
//! the same bytes.

use clap::Args;

/// Longest delay of a reordered record, ticks.
pub(super) const REORDER_TICKS: u64 = 20;

/// Faults of the transport, as shares of the telemetry records from 0 to 1; together at most 1.
/// Ground truth is written apart (`--truth`).
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct Faults {
    /// Share of records sent twice.
    #[arg(long = "fault-duplicate", default_value_t = 0.0, value_name = "SHARE")]
    pub duplicate: f64,
    /// Share of records that never arrive.
    #[arg(long = "fault-gap", default_value_t = 0.0, value_name = "SHARE")]
    pub gap: f64,
    /// Share of records held back by 0.1 to 2 s.
    #[arg(long = "fault-reorder", default_value_t = 0.0, value_name = "SHARE")]
    pub reorder: f64,
    /// Share of records held back by --late-ticks.
    #[arg(long = "fault-late", default_value_t = 0.0, value_name = "SHARE")]
    pub late: f64,
    /// Share of records cut in half.
    #[arg(long = "fault-truncated", default_value_t = 0.0, value_name = "SHARE")]
    pub truncated: f64,
    /// Share of records that name an unknown schema.
    #[arg(
        long = "fault-unknown-schema",
        default_value_t = 0.0,
        value_name = "SHARE"
    )]
    pub unknown_schema: f64,
    /// Share of records dated ten years ahead.
    #[arg(long = "fault-future", default_value_t = 0.0, value_name = "SHARE")]
    pub future: f64,
    /// Share of records whose system temperature is not a number.
    #[arg(long = "fault-nan", default_value_t = 0.0, value_name = "SHARE")]
    pub nan: f64,
    /// How long a late record is held back, ticks of 100 ms.
    #[arg(long, default_value_t = 600, value_name = "TICKS")]
    pub late_ticks: u64,
}

/// What happens to one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    Twice,
    Lost,
    HeldBack { ticks: u64, late: bool },
    Truncated,
    UnknownSchema,
    Future,
    NotANumber,
}

impl Fate {
    /// Name in the ground truth; nothing for a record that arrives as it should.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Arrives => None,
            Self::Twice => Some("duplicate"),
            Self::Lost => Some("gap"),
            Self::HeldBack { late: false, .. } => Some("reorder"),
            Self::HeldBack { late: true, .. } => Some("late"),
            Self::Truncated => Some("truncated"),
            Self::UnknownSchema => Some("unknown_schema"),
            Self::Future => Some("future"),
            Self::NotANumber => Some("nan"),
        }
    }

    /// Ticks between measuring and sending.
    pub(super) fn delay(self) -> u64 {
        if let Self::HeldBack { ticks, .. } = self {
            ticks
        } else {
            0
        }
    }
}

impl Faults {
    /// True when nothing ever happens.
    pub fn is_none(&self) -> bool {
        self.total() <= 0.0
    }

    fn total(&self) -> f64 {
        [
            self.duplicate,
            self.gap,
            self.reorder,
            self.late,
            self.truncated,
            self.unknown_schema,
            self.future,
            self.nan,
        ]
        .iter()
        .sum()
    }

    /// Refuses shares that make no sense.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let shares = [
            self.duplicate,
            self.gap,
            self.reorder,
            self.late,
            self.truncated,
            self.unknown_schema,
            self.future,
            self.nan,
        ];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) || self.total() > 1.0 {
            return Err(
                "each --fault share lies between 0 and 1, and all of them together are at most 1"
                    .to_owned(),
            );
        }
        if self.late > 0.0 && self.late_ticks <= REORDER_TICKS {
            return Err(format!(
                "--late-ticks must be above {REORDER_TICKS}: what comes sooner is only reordered"
            ));
        }
        Ok(())
    }

    /// The fate that two evenly distributed numbers choose, the first below 1.
    pub(super) fn fate(&self, chance: f64, second: u64) -> Fate {
        let mut limit = 0.0;
        let choices = [
            (self.duplicate, Fate::Twice),
            (self.gap, Fate::Lost),
            (
                self.reorder,
                Fate::HeldBack {
                    ticks: 1 + second % REORDER_TICKS,
                    late: false,
                },
            ),
            (
                self.late,
                Fate::HeldBack {
                    ticks: self.late_ticks,
                    late: true,
                },
            ),
            (self.truncated, Fate::Truncated),
            (self.unknown_schema, Fate::UnknownSchema),
            (self.future, Fate::Future),
            (self.nan, Fate::NotANumber),
        ];
        for (share, fate) in choices {
            limit += share;
            if chance < limit {
                return fate;
            }
        }
        Fate::Arrives
    }

    /// Delays that may occur, in ticks.
    pub(super) fn delays(&self) -> impl Iterator<Item = u64> + '_ {
        let reordered = if self.reorder > 0.0 { REORDER_TICKS } else { 0 };
        (0..=reordered).chain((self.late > 0.0).then_some(self.late_ticks))
    }
}
