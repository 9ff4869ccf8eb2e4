//! The ports in memory: the embedded adapters' twins, for simulations and for tests that need no
//! file.
//!
//! They keep the same contract, and one suite runs against both. Log, store and lake share no code
//! with the embedded ones, so that each is a check of the other; the warehouse has to understand
//! SQL, so its twin is the embedded one in memory (`EmbeddedWarehouse::in_memory`).

pub mod lake;
pub mod log;
pub mod store;
pub mod tables;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is kept is changed as a whole or not at all, so it is whole even if a thread panicked while
/// it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
