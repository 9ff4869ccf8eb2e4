//! What the tests of the world share.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::world::records::Fact;
use crate::world::settings::Settings;
use crate::world::{Topic, World};

/// All facts and all truth of a fleet, step by step.
pub(super) fn run(
    settings: &Settings,
    with_samples: bool,
    mut each: impl FnMut(Vec<Fact>, Vec<Value>),
) {
    let mut world = World::new(settings).unwrap();
    let mut until = settings.start_us;
    while !world.is_over() {
        until += settings.step_us();
        let (facts, truth) = world.advance(until, with_samples);
        each(facts, truth);
    }
}

/// All facts and all truth of a fleet, without samples.
pub(super) fn facts(settings: &Settings) -> (Vec<Fact>, Vec<Value>) {
    let (mut facts, mut truth) = (Vec::new(), Vec::new());
    run(settings, false, |more, noted| {
        facts.extend(more);
        truth.extend(noted);
    });
    (facts, truth)
}

/// How often each value comes.
pub(super) fn counts<T: Ord>(values: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// Fails unless a share of `of` lies within four deviations of what is expected.
pub(super) fn assert_share(what: &str, count: usize, of: usize, expected: f64) {
    let deviation = (expected * (1.0 - expected) / of as f64).sqrt();
    let share = count as f64 / of as f64;
    assert!(
        (share - expected).abs() <= 4.0 * deviation + 0.5 / of as f64,
        "{what}: {share:.4} of {of}, not {expected:.4}"
    );
}

/// Fails unless all values lie in a range, and come near both of its ends.
pub(super) fn assert_range(what: &str, values: &[f64], low: f64, high: f64, near: f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(
        low <= least && most <= high,
        "{what}: {least} to {most} is not within {low} to {high}"
    );
    let margin = (high - low) * near;
    assert!(
        least <= low + margin && high - margin <= most,
        "{what}: {least} to {most} does not fill {low} to {high}"
    );
}

/// The facts of a topic.
pub(super) fn of(facts: &[Fact], topic: Topic) -> impl Iterator<Item = &Fact> {
    facts.iter().filter(move |fact| fact.topic() == topic)
}

/// The facts of a topic with their contents.
macro_rules! contents {
    ($facts:expr, $kind:ident) => {
        $facts.iter().filter_map(|fact| match &fact.content {
            $crate::world::records::Content::$kind(content) => Some((fact, content)),
            _ => None,
        })
    };
}
pub(super) use contents;

/// The steps of each case, by time.
pub(super) fn cases(facts: &[Fact]) -> BTreeMap<&str, Vec<(&Fact, &'static str)>> {
    let mut cases: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (fact, step) in contents!(facts, Step) {
        cases
            .entry(&step.procedure_id)
            .or_default()
            .push((fact, step.step));
    }
    cases
}
