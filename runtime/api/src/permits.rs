//! So many at a time, and not all of them for one caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Permits that are given away and come back.
pub(crate) struct Permits {
    taken: Arc<Mutex<Taken>>,
    most: usize,
    most_of_one: usize,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_caller: HashMap<String, usize>,
}

/// One of them, given back when dropped.
pub(crate) struct Permit {
    taken: Arc<Mutex<Taken>>,
    caller: String,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// All are taken.
    ByAll,
    /// The caller has as many as one may have.
    ByCaller,
}

impl Permits {
    /// So many, all of which one caller may have.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            taken: Arc::default(),
            most,
            most_of_one: most,
        }
    }

    /// So many, of which one caller may have half: what one does wrong leaves room for the others.
    pub(crate) fn shared(most: usize) -> Self {
        Self {
            most_of_one: most.div_ceil(2),
            ..Self::new(most)
        }
    }

    /// One for this caller, if one is left.
    pub(crate) fn take(&self, caller: &str) -> Result<Permit, Refused> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.most {
            return Err(Refused::ByAll);
        }
        let of_caller = taken.by_caller.get(caller).copied().unwrap_or(0);
        if of_caller >= self.most_of_one {
            return Err(Refused::ByCaller);
        }
        taken.all += 1;
        taken.by_caller.insert(caller.to_owned(), of_caller + 1);
        Ok(Permit {
            taken: self.taken.clone(),
            caller: caller.to_owned(),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        // Those that have none are forgotten: there may be any number of callers.
        match taken.by_caller.get_mut(&self.caller) {
            Some(of_caller) if *of_caller > 1 => *of_caller -= 1,
            _ => drop(taken.by_caller.remove(&self.caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_has_half_of_what_is_shared_and_gives_it_back() {
        let permits = Permits::shared(4);
        let first = permits.take("one").unwrap();
        let second = permits.take("one").unwrap();
        assert_eq!(permits.take("one").err(), Some(Refused::ByCaller));
        let others = [permits.take("two").unwrap(), permits.take("three").unwrap()];
        assert_eq!(permits.take("four").err(), Some(Refused::ByAll));
        drop(first);
        assert!(permits.take("four").is_ok());
        drop((second, others));
        let taken = permits.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by_caller.len()), (0, 0));
    }

    #[test]
    fn where_there_is_one_only_any_caller_may_have_it() {
        let permits = Permits::shared(1);
        let only = permits.take("one").unwrap();
        assert_eq!(permits.take("two").err(), Some(Refused::ByAll));
        drop(only);
        assert!(permits.take("two").is_ok());
    }

    #[test]
    fn what_is_not_shared_one_caller_may_have_alone() {
        let permits = Permits::new(2);
        let both = [permits.take("one").unwrap(), permits.take("one").unwrap()];
        assert_eq!(permits.take("two").err(), Some(Refused::ByAll));
        drop(both);
    }
}
