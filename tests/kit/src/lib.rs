//! What tests of any crate stand on: the ports' twins in memory ([`memory`]), which share no code
//! with the embedded adapters, and the contract that every adapter of a port must keep
//! ([`contract`]).

pub mod contract;
pub mod memory;

/// A name that no other test and no other run has: lower-case letters, digits and underscores,
/// beginning with `prefix`.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{:012x}", rand::random::<u64>() >> 16)
}
