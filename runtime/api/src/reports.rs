//! Reports of the warehouse, each asked at most once in half a minute however many want it, also where
//! the warehouse refuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use theatre_actors::ports::{Error, QueryResult, Result};
use theatre_actors::time::{Clock, LogTime};
use theatre_star::report::Report;

/// How old an answer may be, microseconds. A warehouse takes seconds for one, and costs while it is
/// asked; what is in it comes by loads that are further apart than this.
const AGE_MAX_US: i64 = 30_000_000;

/// A warehouse that answers reports.
pub trait ReportSource: Send + Sync {
    /// Asks for a report. Blocks.
    ///
    /// # Errors
    /// When the warehouse does not answer, or lacks what the report reads
    /// ([`theatre_star::report::is_unmade`]).
    fn answer(&self, report: &Report) -> Result<QueryResult>;
}

/// A report's rows at one moment.
#[derive(Debug)]
pub(crate) struct Answered {
    /// When the warehouse was asked.
    pub(crate) as_of: LogTime,
    /// What it answered.
    pub(crate) found: QueryResult,
}

/// The last answer and when it came.
type Kept = Arc<Mutex<Option<(LogTime, Result<Arc<Answered>>)>>>;

/// Keeps the last answer of each report.
#[derive(Default)]
pub(crate) struct Answers(Mutex<BTreeMap<&'static str, Kept>>);

impl Answers {
    /// The rows of a report, which came at most half a minute ago. Blocks; while one caller asks, the
    /// others are asked to come again: a warehouse may take minutes, and threads are few.
    pub(crate) fn of(
        &self,
        report: &Report,
        source: &dyn ReportSource,
        clock: &dyn Clock,
    ) -> Result<Arc<Answered>> {
        let kept = locked(&self.0).entry(report.name).or_default().clone();
        let mut kept = match kept.try_lock() {
            Ok(kept) => kept,
            // Who asked before has panicked: what is kept is whole, and older.
            Err(TryLockError::Poisoned(kept)) => kept.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Unavailable {
                    what: "warehouse",
                    why: format!("report '{}' is being asked for", report.name),
                });
            }
        };
        let as_of = clock.now();
        // A clock that was set back makes no answer last for ever.
        if let Some((came, answer)) = &*kept
            && (0..AGE_MAX_US).contains(&(as_of.0 - came.0))
        {
            return answer.clone();
        }
        let found = source.answer(report);
        let answer = found.map(|found| Arc::new(Answered { as_of, found }));
        *kept = Some((clock.now(), answer.clone()));
        answer
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
