//! Random numbers: every decision draws from a generator of its own, seeded by the fleet's seed,
//! what is decided, and its number, so that one decision more moves no other.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What is decided; a stream of random numbers each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Robot,
    Surgeon,
    Day,
    Case,
    Run,
    Signals,
    Result,
    Unit,
    Service,
    Deck,
    Transport,
    Outage,
    Clock,
}

/// A generator of random numbers for one decision.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The generator of a decision.
    pub(super) fn new(seed: u64, purpose: Purpose, number: u64) -> Self {
        let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((purpose as u64 + 1) << 56);
        mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^= number.wrapping_mul(0xa076_1d64_78bd_642f);
        Self(ChaCha8Rng::seed_from_u64(mixed))
    }

    /// Evenly distributed from `low` to `high`.
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// A whole number from `low` to `high`, both included.
    pub(super) fn whole(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high)
    }

    /// An index below `length`, which is above 0.
    pub(super) fn index(&mut self, length: usize) -> usize {
        self.0.random_range(0..length)
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// Nearly normal with mean 0 and deviation 1, and never beyond 3: the sum of three even ones.
    pub(super) fn normal(&mut self) -> f64 {
        let sum: f64 = (0..3).map(|_| self.0.random::<f64>()).sum();
        (sum - 1.5) * 2.0
    }

    /// Exponential with mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -(1.0 - self.0.random::<f64>()).ln()
    }

    /// One of several.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// An index with a probability in proportion to its weight; some weight is above 0.
    pub(super) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut rest = self.uniform(0.0, weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            rest -= weight;
            if rest < 0.0 {
                return index;
            }
        }
        weights
            .iter()
            .rposition(|weight| *weight > 0.0)
            .unwrap_or(0)
    }

    /// Brings a deck into random order.
    pub(super) fn shuffle<T>(&mut self, deck: &mut [T]) {
        for last in (1..deck.len()).rev() {
            deck.swap(last, self.index(last + 1));
        }
    }

    /// A UUID of version 4.
    pub(super) fn uuid(&mut self) -> String {
        let (high, low): (u64, u64) = (self.0.random(), self.0.random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            (low >> 48) & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.random()
    }
}
