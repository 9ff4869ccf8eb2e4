//! What is counted of the rows that a processor applied, for metrics.

use theatre_schemas::records::Transition;

/// What is counted of the rows that a processor applied, for metrics. Neither committed nor
/// published: a count since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that were seen before, and records found missing by their numbers, by topic;
    /// trailing zeros may be missing.
    pub by_topic: Vec<TopicTally>,
    /// Transitions of conditions, in the order of [`Transition::ALL`].
    pub transitions: [u32; Transition::ALL.len()],
    /// Those of rules in the shadow, which are sent to no one, in the same order.
    pub shadow_transitions: [u32; Transition::ALL.len()],
    /// Open conditions by priority (high, medium, low); `None` where none has changed.
    pub open_conditions: Option<[u32; 3]>,
    /// Whether the robot is silent, as a tick of the wall clock found; `None` without a tick.
    pub is_silent: Option<bool>,
}

/// What is counted of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicTally {
    /// Records that were seen before.
    pub duplicates: u64,
    /// Records found missing by the numbers around them.
    pub missing: u64,
}

impl Tally {
    /// How many conditions became what.
    pub fn transitions_by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(self.transitions)
    }

    /// How many conditions of rules in the shadow would have become what.
    pub fn shadow_transitions_by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(self.shadow_transitions)
    }

    /// Adds to the counts of a topic.
    pub fn add(&mut self, topic: usize, counted: TopicTally) {
        if counted == TopicTally::default() {
            return;
        }
        if self.by_topic.len() <= topic {
            self.by_topic.resize(topic + 1, TopicTally::default());
        }
        self.by_topic[topic].duplicates += counted.duplicates;
        self.by_topic[topic].missing += counted.missing;
    }
}

/// Counts of transitions by their names.
fn named(counts: [u32; Transition::ALL.len()]) -> impl Iterator<Item = (&'static str, u64)> {
    let names = Transition::ALL.map(Transition::as_str);
    names.into_iter().zip(counts.map(u64::from))
}
