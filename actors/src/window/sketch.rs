//! A quantile sketch (DDSketch, relative error 1 %) whose content depends on the values alone, not
//! on their order.
//!
//! The mapping of values to bins is that of the `sketches-ddsketch` crate. Its store is not used:
//! how that lays out its bins depends on the order of insertion, and shuffled rows must give equal
//! state. Here bins are a sorted list of what is there.

use serde::{Deserialize, Serialize};
use sketches_ddsketch::Config;

/// Most bins kept for each sign. Beyond that the bins nearest to zero are merged, as DDSketch does.
/// 2,048 bins of 1 % relative error span 17 decades.
const BINS_MAX: usize = 2_048;
/// Bins collected before they are sorted and merged.
const BUFFER_BINS: usize = 128;

/// Counts of values by logarithmic bin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    /// (bin, count), ascending by bin; magnitudes of values below zero.
    negative: Vec<(i32, u64)>,
    /// Values too near to zero for a bin.
    zero: u64,
    /// (bin, count), ascending by bin; values above zero.
    positive: Vec<(i32, u64)>,
}

impl Sketch {
    /// Counts finite values. Taking a run at once is what makes a sketch affordable: its bins are
    /// sorted and merged in one pass.
    pub(super) fn add(&mut self, values: impl Iterator<Item = f64>, mapping: &Config) {
        let (mut negative, mut positive) = (BinBuffer::default(), BinBuffer::default());
        for value in values {
            if value > mapping.min_possible() {
                positive.push(mapping.key(value), &mut self.positive);
            } else if value < -mapping.min_possible() {
                negative.push(mapping.key(-value), &mut self.negative);
            } else {
                self.zero += 1;
            }
        }
        negative.drain(&mut self.negative);
        positive.drain(&mut self.positive);
    }

    /// The mapping every sketch uses; building it costs a few logarithms.
    pub(super) fn mapping() -> Config {
        Config::defaults()
    }

    /// Adds another sketch's counts.
    pub fn merge(&mut self, other: &Self) {
        merge_bins(&mut self.negative, &other.negative);
        merge_bins(&mut self.positive, &other.positive);
        self.zero = self.zero.saturating_add(other.zero);
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        let sum = |bins: &[(i32, u64)]| {
            bins.iter()
                .fold(0_u64, |sum, (_, count)| sum.saturating_add(*count))
        };
        sum(&self.negative)
            .saturating_add(self.zero)
            .saturating_add(sum(&self.positive))
    }

    /// The value at a quantile in 0..=1, within 1 % of a value that is there; `None` when empty or
    /// for another `quantile`.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 || !(0.0..=1.0).contains(&quantile) {
            return None;
        }
        let mapping = Self::mapping();
        let rank = (quantile * (count - 1) as f64).floor() as u64;
        let below = self
            .negative
            .iter()
            .rev()
            .map(|(bin, count)| (-mapping.value(*bin), *count));
        let above = self
            .positive
            .iter()
            .map(|(bin, count)| (mapping.value(*bin), *count));
        let mut seen = 0_u64;
        for (value, count) in below.chain([(0.0, self.zero)]).chain(above) {
            seen = seen.saturating_add(count);
            if seen > rank {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn clear(&mut self) {
        self.negative.clear();
        self.positive.clear();
        self.zero = 0;
    }
}

/// Bins waiting to be counted.
struct BinBuffer {
    bins: [i32; BUFFER_BINS],
    length: usize,
}

impl Default for BinBuffer {
    fn default() -> Self {
        Self {
            bins: [0; BUFFER_BINS],
            length: 0,
        }
    }
}

impl BinBuffer {
    fn push(&mut self, bin: i32, into: &mut Vec<(i32, u64)>) {
        if self.length == BUFFER_BINS {
            self.drain(into);
        }
        self.bins[self.length] = bin;
        self.length += 1;
    }

    fn drain(&mut self, into: &mut Vec<(i32, u64)>) {
        let bins = &mut self.bins[..self.length];
        bins.sort_unstable();
        let mut at = 0;
        for equal in bins.chunk_by(i32::eq) {
            while at < into.len() && into[at].0 < equal[0] {
                at += 1;
            }
            match into.get_mut(at) {
                Some((bin, count)) if *bin == equal[0] => {
                    *count = count.saturating_add(equal.len() as u64)
                }
                _ => into.insert(at, (equal[0], equal.len() as u64)),
            }
        }
        self.length = 0;
        limit(into);
    }
}

/// Adds ascending counts to ascending counts in one pass.
fn merge_bins(into: &mut Vec<(i32, u64)>, other: &[(i32, u64)]) {
    if other.is_empty() {
        return;
    }
    let mine = std::mem::replace(into, Vec::with_capacity(into.len() + other.len()));
    let mut mine = mine.into_iter().peekable();
    for &(bin, count) in other {
        while let Some(lower) = mine.next_if(|(key, _)| *key < bin) {
            into.push(lower);
        }
        let same = mine
            .next_if(|(key, _)| *key == bin)
            .map_or(0, |(_, count)| count);
        into.push((bin, same.saturating_add(count)));
    }
    into.extend(mine);
    limit(into);
}

/// Keeps the `BINS_MAX` highest bins that were ever named, and everything lower in the lowest of
/// them. That does not depend on the order of arrival, since a bin that has dropped out cannot come
/// back.
fn limit(bins: &mut Vec<(i32, u64)>) {
    let Some(excess) = bins.len().checked_sub(BINS_MAX) else {
        return;
    };
    let lower = bins
        .drain(..excess)
        .fold(0_u64, |sum, (_, count)| sum.saturating_add(count));
    if let Some((_, count)) = bins.first_mut() {
        *count = count.saturating_add(lower);
    }
}
