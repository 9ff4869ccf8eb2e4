//! What a rebuild found, and what became of it.

use std::collections::BTreeMap;

use serde::Serialize;
use theatre_actors::outputs::OutputEvent;
use theatre_actors::position::Partition;
use theatre_actors::processor::Difference;

/// Outputs of an actor that are named one by one; the others are counted.
pub(super) const NAMED: usize = 100;

/// Whether an actor's stored state is the one that was built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FamilyState {
    /// State and outputs are the same.
    Same,
    /// They differ.
    Differs,
    /// The store has no state of it.
    New,
    /// The stored state cannot be read.
    Unreadable,
    /// Nothing was built for lack of records: it stays as it is stored.
    Kept,
}

/// An output by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputName {
    /// Its kind.
    pub kind: &'static str,
    /// Its id: of alerts that of the condition.
    pub id: String,
    /// Its revision: of alerts the number of the transition.
    pub revision: u32,
    /// What people call it: rule, window, procedure.
    pub subject: String,
    /// Event time, microseconds UTC.
    pub event_time: i64,
}

impl OutputName {
    pub(super) fn of(output: &OutputEvent) -> Self {
        Self {
            kind: output.kind.spec().name,
            id: output.id.clone(),
            revision: output.revision,
            subject: output.subject.clone(),
            event_time: output.event_time,
        }
    }
}

/// Outputs of an actor: how many by kind, and the first ones by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OutputList {
    /// How many, by kind.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// The first hundred.
    pub first: Vec<OutputName>,
}

impl OutputList {
    pub(super) fn note(&mut self, output: &OutputEvent) {
        *self.by_kind.entry(output.kind.spec().name).or_default() += 1;
        if self.first.len() < NAMED {
            self.first.push(OutputName::of(output));
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.by_kind.values().sum()
    }
}

/// An actor: what is stored of it beside what was built anew.
#[derive(Debug, Clone, Serialize)]
pub struct Family {
    /// Its partition.
    pub partition: Partition,
    /// Its name: the robot's id, or the key of what else it is.
    pub name: String,
    /// Whether they are the same.
    pub state: FamilyState,
    /// Records that it was built from.
    pub records: u64,
    /// Length of the stored state, bytes.
    pub bytes_before: u64,
    /// Length of the state that was built, bytes.
    pub bytes_after: u64,
    /// In what the states differ.
    pub differences: Vec<Difference>,
    /// Outputs that were concluded and never sent.
    pub never_sent: OutputList,
    /// Outputs that were sent with another content under the same id. They cannot be sent again.
    pub sent_otherwise: OutputList,
    /// Outputs that were sent and would not be concluded any more. They cannot be taken back.
    pub not_concluded: OutputList,
    /// Outputs of kinds that expire, of which it is not known whether they were sent: the store has
    /// deleted some of its partition. They are not sent.
    pub perhaps_sent: u64,
    /// Records that would be dead letters now and are none.
    pub new_dead_letters: u64,
    /// Repetitions that the lake does not keep: counted as the stored state counts them.
    pub repeats: u64,
}

/// The whole.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where the records were read.
    pub source: super::Source,
    /// Whether what differs was switched.
    pub switched: bool,
    /// By partition and name.
    pub families: Vec<Family>,
    /// What was missing and allowed to be.
    pub gaps: Vec<String>,
}

impl Report {
    /// One that nothing is in yet.
    pub fn of(source: super::Source) -> Self {
        Self {
            source,
            switched: false,
            families: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Actors of which something differs.
    pub fn differing(&self) -> impl Iterator<Item = &Family> {
        let differs =
            |family: &&Family| !matches!(family.state, FamilyState::Same | FamilyState::Kept);
        self.families.iter().filter(differs)
    }
}
