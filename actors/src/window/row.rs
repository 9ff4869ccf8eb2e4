//! The output of windows: one row per window and revision, its encoding, and the merge of revisions
//! by readers.

use serde::{Deserialize, Serialize};

use super::aggregate::SignalAggregate;
use super::sketch::Sketch;

/// First byte of an encoded row.
const ROW_VERSION: u8 = 1;

/// About what a row takes before its signals and for each of them, bytes: numbers have as many as
/// they need.
const HEAD_BYTES: usize = 32;
const BASIC_BYTES: usize = 27;
const FULL_BYTES: usize = 72;

/// One revision of one window of one robot. Revision 0 holds what was in time, each later one only
/// what a fragment added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowRow {
    /// Name of the window's spec.
    pub window: String,
    /// Length, microseconds.
    pub size_us: i64,
    /// First moment, microseconds UTC; the window ends before `start_us + size_us`.
    pub start_us: i64,
    /// 0 for what was in time, one more for each correction.
    pub revision: u32,
    /// Rows in it, whether or not they had values.
    pub rows: u64,
    /// One per signal of the dataset, in its order.
    pub signals: Vec<SignalAggregate>,
}

/// Why bytes are not a row.
#[derive(Debug, thiserror::Error)]
pub enum RowDecodeError {
    /// The row was written by a later version, or the bytes are no row at all.
    #[error(
        "window row has version {0}, this build reads {ROW_VERSION}: read it with a newer build"
    )]
    Version(u8),
    /// The bytes are truncated or damaged.
    #[error("window row does not decode: {0}")]
    Damaged(#[from] postcard::Error),
    /// Bytes follow the row.
    #[error("window row is followed by {0} bytes that are not part of it")]
    Trailing(usize),
    /// There are no bytes.
    #[error("window row is empty")]
    Empty,
}

impl WindowRow {
    /// The row as bytes: a version, then the known aggregates of each signal, exact to the bit.
    pub fn encode(&self) -> Vec<u8> {
        let stored = StoredRow {
            window: self.window.clone(),
            size_us: self.size_us,
            start_us: self.start_us,
            revision: self.revision,
            rows: self.rows,
            signals: self
                .signals
                .iter()
                .map(|signal| StoredSignal::of(signal, self.start_us))
                .collect(),
        };
        let is_full = self.signals.iter().any(SignalAggregate::is_full);
        let of_signal = if is_full { FULL_BYTES } else { BASIC_BYTES };
        let room = HEAD_BYTES + self.window.len() + self.signals.len() * of_signal;
        let mut bytes = Vec::with_capacity(room);
        bytes.push(ROW_VERSION);
        postcard::to_extend(&stored, bytes).expect("writing plain data to memory cannot fail")
    }

    /// Reads [`Self::encode`]'s bytes.
    ///
    /// # Errors
    /// Another version, damaged bytes, or bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowDecodeError> {
        let (&version, content) = bytes.split_first().ok_or(RowDecodeError::Empty)?;
        if version != ROW_VERSION {
            return Err(RowDecodeError::Version(version));
        }
        let (stored, rest) = postcard::take_from_bytes::<StoredRow>(content)?;
        if !rest.is_empty() {
            return Err(RowDecodeError::Trailing(rest.len()));
        }
        let start_us = stored.start_us;
        Ok(Self {
            window: stored.window,
            size_us: stored.size_us,
            start_us,
            revision: stored.revision,
            rows: stored.rows,
            signals: stored
                .signals
                .into_iter()
                .map(|signal| signal.restore(start_us))
                .collect(),
        })
    }
}

/// Merges the revisions of a window, given in any order, into the whole window. A revision given
/// twice counts once; rows of other windows than the first row's are ignored. `None` without rows.
pub fn merge_revisions(rows: &[WindowRow]) -> Option<WindowRow> {
    let window = rows.first()?;
    let mut revisions: Vec<&WindowRow> = rows
        .iter()
        .filter(|row| {
            row.window == window.window
                && row.start_us == window.start_us
                && row.size_us == window.size_us
        })
        .collect();
    revisions.sort_by_key(|row| row.revision);
    revisions.dedup_by_key(|row| row.revision);
    let (first, later) = revisions.split_first()?;
    let mut merged = (*first).clone();
    for row in later {
        merged.revision = row.revision;
        merged.rows = merged.rows.saturating_add(row.rows);
        if merged.signals.len() < row.signals.len() {
            merged
                .signals
                .resize_with(row.signals.len(), SignalAggregate::empty);
        }
        for (signal, addition) in merged.signals.iter_mut().zip(&row.signals) {
            signal.merge(addition);
        }
    }
    Some(merged)
}

#[derive(Serialize, Deserialize)]
struct StoredRow {
    window: String,
    size_us: i64,
    start_us: i64,
    revision: u32,
    rows: u64,
    signals: Vec<StoredSignal>,
}

/// A signal without the fields that are not known. Times are offsets from the window's start, which
/// are shorter.
#[derive(Serialize, Deserialize)]
enum StoredSignal {
    Empty,
    Basic {
        count: u64,
        sum: f64,
        min: f64,
        max: f64,
    },
    Full {
        count: u64,
        sum: f64,
        mean: f64,
        m2: f64,
        min: f64,
        max: f64,
        first: f64,
        first_offset: i64,
        last: f64,
        last_offset: i64,
        sketch: Option<Sketch>,
    },
}

impl StoredSignal {
    fn of(signal: &SignalAggregate, start_us: i64) -> Self {
        let &SignalAggregate {
            count,
            sum,
            mean,
            m2,
            min,
            max,
            first,
            first_time,
            last,
            last_time,
            ..
        } = signal;
        if count == 0 {
            return Self::Empty;
        }
        if !signal.is_full() {
            return Self::Basic {
                count,
                sum,
                min,
                max,
            };
        }
        Self::Full {
            count,
            sum,
            mean,
            m2,
            min,
            max,
            first,
            first_offset: first_time.wrapping_sub(start_us),
            last,
            last_offset: last_time.wrapping_sub(start_us),
            sketch: signal.sketch.clone(),
        }
    }

    fn restore(self, start_us: i64) -> SignalAggregate {
        match self {
            Self::Empty => SignalAggregate::empty(),
            Self::Basic {
                count,
                sum,
                min,
                max,
            } => SignalAggregate {
                count,
                sum,
                mean: sum / count as f64,
                min,
                max,
                ..SignalAggregate::empty()
            },
            Self::Full {
                count,
                sum,
                mean,
                m2,
                min,
                max,
                first,
                first_offset,
                last,
                last_offset,
                sketch,
            } => SignalAggregate {
                count,
                sum,
                mean,
                m2,
                min,
                max,
                first,
                first_time: first_offset.wrapping_add(start_us),
                last,
                last_time: last_offset.wrapping_add(start_us),
                sketch,
            },
        }
    }
}
