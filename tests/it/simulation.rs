//! A partition that is taken, run, handed over, lost and taken again, on virtual time under a seeded
//! scheduler with faults and crashes at every port call, against a batch recomputation.

use std::io::Write;

use anyhow::{Result, ensure};
use theatre_tests::simulation::{Bug, Tally, seeds, simulate};

/// Seeds of a test run; more by `tests/run simulation --seeds A..B`.
const SEEDS: std::ops::Range<u64> = 0..300;

/// Said at once: what tests print is held back until they have failed.
fn say(line: &str) {
    let line = format!("simulation: {line}\n");
    // Standard error may be closed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

#[test]
fn no_seed_loses_doubles_or_changes_anything() -> Result<()> {
    let run_one = |seed| simulate(seed, None);
    let Ok(asked) = std::env::var("THEATRE_SEEDS") else {
        // Other tests run beside these.
        let all = seeds::run(&SEEDS, 1, run_one, |line| println!("{line}"))?;
        return much_happened(&all);
    };
    let threads = std::env::var("THEATRE_TEST_THREADS").ok();
    let threads = seeds::threads(threads.as_deref())?;
    // A single seed may lack some of what has to happen in many.
    seeds::run(&seeds::range(&asked)?, threads, run_one, say).map(drop)
}

fn much_happened(all: &Tally) -> Result<()> {
    let concluded = all.versions > 0 && all.alerts > 0 && all.outcomes > 0 && all.corrections > 0;
    let concluded = concluded && all.handled > 0 && all.shadows > 0;
    let concluded = concluded && all.sent > 0 && all.sent < all.alerts;
    let tried = concluded && all.crashes > 0 && all.drained > 0 && all.lost > 0 && all.trimmed > 0;
    ensure!(tried, "too little happened: {all:?}");
    Ok(())
}

#[test]
fn a_dropped_fence_is_caught() -> Result<()> {
    ensure!(
        (0..150).any(|seed| simulate(seed, Some(Bug::NoFence)).is_err()),
        "150 seeds did not notice that old owners may write"
    );
    Ok(())
}

/// One of the seeds fails because of what the bug does, and not of anything else.
fn is_noticed(bug: Bug, seeds: u64, by: &str) -> Result<()> {
    let mut said = (0..seeds).filter_map(|seed| simulate(seed, Some(bug)).err());
    ensure!(
        said.any(|error| format!("{error:#}").contains(by)),
        "{seeds} seeds did not notice {bug:?}: none says \"{by}\""
    );
    Ok(())
}

#[test]
fn what_was_said_and_is_forgotten_is_caught() -> Result<()> {
    is_noticed(
        Bug::ForgetsWhatWasSaid,
        50,
        "is not that of a recomputation",
    )
}

#[test]
fn a_rule_that_counts_from_another_record_after_a_restart_is_caught() -> Result<()> {
    is_noticed(
        Bug::RulesFromElsewhere,
        50,
        "is not that of a recomputation",
    )
}

/// It differs in nothing else that is saved: what gives it away is what a person is sent.
#[test]
fn a_silence_that_is_forgotten_on_restart_is_caught_by_what_a_receiver_is_sent() -> Result<()> {
    let mut said = (0..100).filter_map(|seed| simulate(seed, Some(Bug::ForgetsSilences)).err());
    let is_seen = |error: &anyhow::Error| {
        let error = format!("{error:#}");
        error.contains("sent what it is not to be sent") && error.contains("'far_right' of 'robot-")
    };
    ensure!(
        said.any(|error| is_seen(&error)),
        "100 seeds did not notice that a silence does not outlive a restart"
    );
    Ok(())
}

#[test]
fn a_rejected_change_that_can_be_approved_after_a_restart_is_caught() -> Result<()> {
    ensure!(
        (0..50).any(|seed| simulate(seed, Some(Bug::ForgetsRejections)).is_err()),
        "50 seeds did not notice that a change acts that was rejected"
    );
    Ok(())
}

#[test]
fn publishing_before_the_commit_is_caught() -> Result<()> {
    ensure!(
        (0..50).any(|seed| simulate(seed, Some(Bug::PublishBeforeCommit)).is_err()),
        "50 seeds did not notice that outputs are published before they are committed"
    );
    Ok(())
}

#[test]
fn a_drain_that_forgets_the_lake_is_caught() -> Result<()> {
    ensure!(
        (0..50).any(|seed| simulate(seed, Some(Bug::DrainForgetsLake)).is_err()),
        "50 seeds did not notice that a partition was left before its lake was written"
    );
    Ok(())
}

#[test]
fn saving_before_the_lanes_of_the_old_owner_are_closed_is_caught() -> Result<()> {
    ensure!(
        (0..50).any(|seed| simulate(seed, Some(Bug::SaveBeforeLanes)).is_err()),
        "50 seeds did not notice that an old owner could publish what its successor commits"
    );
    Ok(())
}

#[test]
fn a_position_that_moves_before_the_receiver_has_the_alert_is_caught() -> Result<()> {
    is_noticed(Bug::NotesBeforeDelivery, 20, "the receiver was never sent")
}

#[test]
fn a_version_that_is_lost_or_there_twice_is_caught() -> Result<()> {
    for bug in [Bug::LosesVersions, Bug::RepeatsVersions] {
        ensure!(
            (0..50).any(|seed| simulate(seed, Some(bug)).is_err()),
            "50 seeds did not notice {bug:?}"
        );
    }
    Ok(())
}
