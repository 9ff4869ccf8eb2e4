//! Many seeds: several at a time, each on a thread of its own, with a word now and then on how far
//! they are. A seed is deterministic by itself, so it does not matter what runs beside it.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::Tally;

/// How many seeds have ended is said this often.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// A range as `A..B`, without its end.
///
/// # Errors
/// When it is none, or empty.
pub fn range(text: &str) -> Result<Range<u64>> {
    let range = text.split_once("..").and_then(|(from, to)| {
        let range = from.parse::<u64>().ok()?..to.parse::<u64>().ok()?;
        (!range.is_empty()).then_some(range)
    });
    range.with_context(|| format!("--seeds is A..B with A below B, such as 0..5000, not '{text}'"))
}

/// How many seeds run at a time: what is asked for, or one for each core.
///
/// # Errors
/// When what is asked for is no number above 0.
pub fn threads(asked: Option<&str>) -> Result<usize> {
    let Some(asked) = asked else {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from));
    };
    let threads = asked.parse().ok().filter(|threads| *threads > 0);
    threads.with_context(|| format!("THEATRE_TEST_THREADS is a number above 0, not '{asked}'"))
}

/// What a run has come to so far.
struct Run {
    began: Instant,
    /// When something was said last.
    said: Instant,
    all: Tally,
    ended: u64,
    /// The lowest seed that failed, and why.
    failed: Option<(u64, anyhow::Error)>,
}

impl Run {
    fn note(&mut self, seed: u64, came_to: Result<Tally>) {
        match came_to {
            Ok(tally) => {
                self.all += tally;
                self.ended += 1;
            }
            Err(error) if self.failed.as_ref().is_none_or(|(known, _)| seed < *known) => {
                self.failed = Some((seed, error));
            }
            Err(_) => {}
        }
    }

    /// How far it is, once in a while.
    fn progress(&mut self, seeds: &Range<u64>) -> Option<String> {
        if self.said.elapsed() < SAID_EVERY {
            return None;
        }
        self.said = Instant::now();
        let count = seeds.end - seeds.start;
        let rate = self.ended as f64 / self.began.elapsed().as_secs_f64();
        let left = (count - self.ended) as f64 / rate.max(f64::MIN_POSITIVE);
        Some(format!(
            "{} of {count} seeds, {rate:.1} a second, {left:.0} s left",
            self.ended
        ))
    }
}

/// Runs each seed of a range once, so many at a time; `say` is called with how far it is, and at
/// the end with how many seeds of which range passed. Returns what all of them went through.
///
/// # Errors
/// Names the lowest seed that failed or panicked, why, and the command that runs it again. Seeds
/// that had not begun by then are left out.
pub fn run(
    seeds: &Range<u64>,
    threads: usize,
    simulate: impl Fn(u64) -> Result<Tally> + Sync,
    say: impl Fn(&str) + Sync,
) -> Result<Tally> {
    let now = Instant::now();
    let run = Mutex::new(Run {
        began: now,
        said: now,
        all: Tally::default(),
        ended: 0,
        failed: None,
    });
    let next = AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let came_to = catch_unwind(AssertUnwindSafe(|| simulate(seed)));
            let came_to = came_to.unwrap_or_else(|_| Err(anyhow!("it panicked, as said above")));
            let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
            run.note(seed, came_to);
            if run.failed.is_some() {
                next.store(seeds.end, Ordering::Relaxed);
            } else if let Some(progress) = run.progress(seeds) {
                say(&progress);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let run = run.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Range { start, end } = *seeds;
    if let Some((seed, error)) = run.failed {
        let again = format!("tests/run simulation --seeds {seed}..{}", seed + 1);
        return Err(anyhow!(
            "seed {seed}: {error:#}; again: {again} ({} other seeds of {start}..{end} passed before)",
            run.ended
        ));
    }
    ensure!(
        run.ended == end - start,
        "{} seeds of {start}..{end} ran",
        run.ended
    );
    let seconds = run.began.elapsed().as_secs_f64();
    say(&format!(
        "{} seeds passed, {start}..{end}, {threads} at a time in {seconds:.0} s: {:?}",
        run.ended, run.all
    ));
    Ok(run.all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Tally {
        Tally {
            crashes: 1,
            ..Tally::default()
        }
    }

    #[test]
    fn each_seed_of_a_range_is_run_once_and_the_end_says_how_many() -> Result<()> {
        let (ran, said) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let simulate = |seed| {
            ran.lock().unwrap().push(seed);
            Ok(one())
        };
        let say = |line: &str| said.lock().unwrap().push(line.to_owned());
        let all = run(&(7..507), 3, simulate, say)?;
        let mut ran = ran.into_inner()?;
        ran.sort_unstable();
        ensure!(ran == (7..507).collect::<Vec<_>>() && all.crashes == 500);
        let said = said.into_inner()?;
        ensure!(said.len() == 1 && said[0].starts_with("500 seeds passed, 7..507, 3 at a time"));
        Ok(())
    }

    #[test]
    fn a_seed_that_fails_or_panics_is_named_with_the_command_that_runs_it_again() {
        let fails = |seed| match seed {
            41 => Err(anyhow!("an alert is missing")),
            _ => Ok(one()),
        };
        let panics = |seed| match seed {
            41 => panic!("this seed panics for a test"),
            _ => Ok(one()),
        };
        let fault = |came_to: Result<Tally>| came_to.unwrap_err().to_string();
        let silent = |_: &str| {};
        for (said, why) in [
            (
                fault(run(&(0..100), 2, fails, silent)),
                "an alert is missing",
            ),
            (fault(run(&(0..100), 2, panics, silent)), "it panicked"),
        ] {
            assert!(said.starts_with(&format!("seed 41: {why}")), "{said}");
            assert!(
                said.contains("again: tests/run simulation --seeds 41..42 ("),
                "{said}"
            );
        }
    }

    #[test]
    fn nothing_begins_after_a_seed_has_failed() {
        let ran = AtomicU64::new(0);
        let simulate = |seed| {
            ran.fetch_add(1, Ordering::Relaxed);
            if seed == 3 {
                return Err(anyhow!("it fails"));
            }
            Ok(one())
        };
        assert!(run(&(0..1000), 1, simulate, |_| {}).is_err());
        assert_eq!(ran.into_inner(), 4);
    }

    #[test]
    fn what_is_no_range_or_no_number_of_threads_is_refused() {
        assert_eq!(range("3..9").unwrap(), 3..9);
        for wrong in ["3", "3..", "9..3", "3..3", "a..b", "-1..4"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
        assert_eq!(threads(Some("5")).unwrap(), 5);
        assert!(threads(None).unwrap() > 0);
        for wrong in ["0", "", "many"] {
            assert!(threads(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn progress_says_count_rate_and_time_left_but_not_at_once() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        let (Some(began), Some(said)) = (ago(20), ago(10)) else {
            // The machine has run for less than that.
            return;
        };
        let mut run = Run {
            began,
            said,
            all: Tally::default(),
            ended: 100,
            failed: None,
        };
        let line = run.progress(&(1000..1300)).unwrap();
        assert_eq!(line, "100 of 300 seeds, 5.0 a second, 40 s left");
        assert_eq!(run.progress(&(1000..1300)), None);
    }
}
