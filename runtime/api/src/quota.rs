//! How many records a caller may send: so many a second on average, and what it saved up before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use theatre_actors::time::LogTime;

use crate::problem::{Answer, Problem};

/// A caller that sent nothing for so long may send as much at once, seconds.
const SAVED_S: f64 = 10.0;
/// Callers that are remembered before those that have saved up everything are forgotten.
const REMEMBERED: usize = 1024;

/// Records that each caller may still send.
pub(crate) struct Quota {
    per_second: f64,
    left: Mutex<HashMap<String, Left>>,
}

/// What a caller may still send, and when that was.
struct Left {
    records: f64,
    at: LogTime,
}

impl Quota {
    /// So many records a second for each caller.
    pub(crate) fn new(per_second: u64) -> Self {
        Self {
            per_second: per_second as f64,
            left: Mutex::default(),
        }
    }

    /// Counts the records of a caller's request. A request is taken whole while anything is left, so
    /// that one of any length goes through; the next one waits until that is made up for.
    pub(crate) fn take(&self, caller: &str, records: u64, now: LogTime) -> Answer<()> {
        let most = self.per_second * SAVED_S;
        let saved = |left: &Left| {
            // A clock that was set back saves nothing.
            let seconds = (now.0 - left.at.0).max(0) as f64 / 1e6;
            (left.records + seconds * self.per_second).min(most)
        };
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > REMEMBERED {
            all.retain(|_, left| saved(left) < most);
        }
        let left = all.get(caller).map_or(most, saved);
        if left <= 0.0 {
            let wait = (-left / self.per_second).ceil().max(1.0);
            let said = format!(
                "more than {} records a second; send it again in {wait} s",
                self.per_second
            );
            return Err(Problem::new("busy", said).after(wait as u32));
        }
        let records = left - records as f64;
        all.insert(caller.to_owned(), Left { records, at: now });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> LogTime {
        LogTime((seconds * 1e6) as i64)
    }

    #[test]
    fn a_caller_sends_what_is_left_and_waits_for_more() {
        let quota = Quota::new(100);
        let take = |records, seconds| {
            let taken = quota.take("gateway", records, at(seconds));
            taken.map_err(|problem| problem.retry_after)
        };
        assert_eq!(take(999, 0.0), Ok(()));
        // One is left: a request of any length is taken.
        assert_eq!(take(501, 0.0), Ok(()));
        assert_eq!(take(1, 0.0), Err(Some(5)));
        assert_eq!(take(1, 4.5), Err(Some(1)), "a refused one costs nothing");
        assert_eq!(take(1, 5.1), Ok(()));
        // A clock that goes back gives nothing, and takes nothing.
        assert_eq!(take(20, 0.0), Ok(()));
        assert_eq!(take(1, 0.0), Err(Some(1)));
        assert!(quota.take("another", 1000, at(0.0)).is_ok());
    }

    #[test]
    fn a_rate_holds_on_average_and_callers_are_forgotten() {
        let quota = Quota::new(100);
        let mut sent = 0;
        for tenth in 0..1000 {
            if quota
                .take("gateway", 50, at(f64::from(tenth) / 10.0))
                .is_ok()
            {
                sent += 50;
            }
        }
        // 100 s, and what was saved up before.
        assert!((10_900..=11_100).contains(&sent), "{sent}");
        for one in 0..5000 {
            assert!(quota.take(&one.to_string(), 1, at(100.0)).is_ok());
        }
        assert!(quota.take("last", 1, at(200.0)).is_ok());
        assert_eq!(quota.left.lock().unwrap().len(), 1);
    }
}
