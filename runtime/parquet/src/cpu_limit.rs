//! A limit that lets as many threads through at a time as there are cores: for work of every
//! partition that needs much memory and no waiting, of which more at once would be no faster.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Counts the threads that are inside.
#[derive(Debug)]
pub struct CpuLimit {
    inside: Mutex<usize>,
    left: Condvar,
    /// Cores: asked for once, since the answer is read from files of the system.
    room: OnceLock<usize>,
}

/// A place within the limit, given back when dropped.
#[derive(Debug)]
pub struct CpuPermit<'a>(&'a CpuLimit);

impl CpuLimit {
    /// A limit with no thread inside.
    pub const fn new() -> Self {
        Self {
            inside: Mutex::new(0),
            left: Condvar::new(),
            room: OnceLock::new(),
        }
    }

    /// Waits for a place. A thread that has one must not ask the same limit for another.
    #[must_use]
    pub fn acquire(&self) -> CpuPermit<'_> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let room = *self.room.get_or_init(cores);
        let inside = self.left.wait_while(self.count(), |inside| *inside >= room);
        *inside.unwrap_or_else(PoisonError::into_inner) += 1;
        CpuPermit(self)
    }

    /// A count is whole, whichever thread panicked while holding it.
    fn count(&self) -> MutexGuard<'_, usize> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for CpuLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for CpuPermit<'_> {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::CpuLimit;

    #[test]
    fn as_many_as_there_are_cores_are_let_through_at_a_time_and_in_the_end_all() {
        static CPU_LIMIT: CpuLimit = CpuLimit::new();
        let (inside, most, all) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        let room = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..4 * room {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _permit = CPU_LIMIT.acquire();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        all.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let counts = (most.into_inner(), all.into_inner());
        assert!(
            counts.0 <= room && counts.1 == 200 * room,
            "{counts:?} with room for {room}"
        );
    }
}
