//! The book of a partition: what was said to all of its robots, and which rules follow from it.

use std::sync::{Arc, Mutex, PoisonError};

use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::Datasets;

use super::change::{Approvals, fold};
use super::{ControlRecord, RuleChange, Said, forget_ended};
use crate::alerts::Action;
use crate::position::{Positions, TopicIndex};
use crate::processor::ProcessorConfig;
use crate::rules::{RuleSet, RuleSpec};
use crate::state::StateError;

/// A change of rules that was met, and what follows.
struct Met {
    topic: TopicIndex,
    /// It holds for who has read the topic to here.
    from: u64,
    change: RuleChange,
    /// The change that counts from there on, and what all processors do then; nothing where it waits
    /// to be approved; why it was refused.
    outcome: Result<Option<(RuleChange, Arc<ProcessorConfig>)>, String>,
}

#[derive(Default)]
struct Pages {
    approvals: Approvals,
    met: Vec<Met>,
    actions: Vec<ControlRecord>,
    /// How far the partition's actor had read when it was saved.
    read: Positions,
    /// What another partition had been told before this one was made.
    inherited: Vec<ControlRecord>,
}

/// What was said to all robots of a partition, shared by its processors. The partition notes a record
/// before any processor meets it; each processor asks by its own positions, so that a replay finds
/// the same rules at the same records.
pub struct ControlBook {
    base: Arc<ProcessorConfig>,
    base_rules: Vec<RuleSpec>,
    datasets: Datasets,
    /// The topics of what is said to all robots.
    topics: Vec<TopicIndex>,
    pages: Mutex<Pages>,
}

impl std::fmt::Debug for ControlBook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ControlBook")
            .finish_non_exhaustive()
    }
}

impl ControlBook {
    /// The book of a partition in which nothing was said: the rules are those of the configuration.
    /// `topics` are those of what is said to all robots; `needs_approval`: a change of rules counts once
    /// another person approves it.
    pub fn new(
        base: Arc<ProcessorConfig>,
        datasets: &Datasets,
        topics: Vec<TopicIndex>,
        needs_approval: bool,
    ) -> Self {
        Self {
            base_rules: base.rules.written(),
            base,
            datasets: datasets.clone(),
            topics,
            pages: Mutex::new(Pages {
                approvals: Approvals::new(needs_approval),
                ..Pages::default()
            }),
        }
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = TopicIndex> {
        self.topics.iter().copied()
    }

    /// Takes what the partition's actor remembered when it was saved.
    ///
    /// # Errors
    /// When the state is of an unknown version or damaged.
    pub fn restore(&self, state: &[u8]) -> Result<(), StateError> {
        let (remembered, read) = crate::processor::control_state(state)?;
        for record in remembered.records() {
            self.add(record.clone());
        }
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.read = read;
        Ok(())
    }

    /// Takes what the actor of another partition remembered that had read to `until`, in a partition
    /// that was made since: it holds there from the beginning.
    ///
    /// # Errors
    /// As [`Self::restore`].
    pub fn inherit(&self, state: &[u8], until: &Positions) -> Result<(), StateError> {
        for record in crate::processor::control_state(state)?.0.records() {
            if record.holds_at(until) {
                let record = ControlRecord {
                    from: 0,
                    ..record.clone()
                };
                self.add(record.clone());
                let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
                pages.inherited.push(record);
            }
        }
        Ok(())
    }

    /// What was inherited, for the partition's own actor.
    pub(crate) fn inherited(&self) -> Vec<ControlRecord> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.inherited.clone()
    }

    /// Notes a record before it is delivered; one that is known, or cannot be read, changes nothing.
    pub fn note(&self, topic: TopicIndex, batch: &Batch, row: usize) {
        let (offset, append_time) = (batch.offsets[row], batch.append_times[row]);
        // What the actor had read before it was saved it remembers, unless it was refused; judged again
        // after what came later it might not be.
        if offset
            < self
                .pages
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .read
                .get(topic)
        {
            return;
        }
        let latest = append_time.saturating_add(self.base.time.future_tolerance_us);
        if batch.event_times()[row] > latest {
            return;
        }
        if let Ok(record) = ControlRecord::read(topic, batch, row) {
            self.add(record);
        }
    }

    fn add(&self, record: ControlRecord) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        match &record.said {
            Said::Action(_) => {
                let is_known = |known: &ControlRecord| {
                    (known.topic, known.from) == (record.topic, record.from)
                };
                // Those that were inherited are all at the beginning.
                if record.from == 0 || !pages.actions.iter().any(is_known) {
                    forget_ended(&mut pages.actions, record.at);
                    pages.actions.push(record);
                }
            }
            Said::Rule(change) => {
                let is_known = |met: &Met| {
                    met.change.change_id == change.change_id
                        && (met.topic, met.from) == (record.topic, record.from)
                };
                if pages.met.iter().any(is_known) {
                    return;
                }
                let counts = pages.approvals.meet(change);
                let accepted = pages.met.iter().filter_map(Met::accepted);
                let outcome = match counts {
                    Ok(Some(counts)) => {
                        let config = self.compile(accepted.chain([&counts]));
                        config.map(|config| Some((counts, config)))
                    }
                    Ok(None) => Ok(None),
                    Err(why) => Err(why),
                };
                pages.met.push(Met {
                    topic: record.topic,
                    from: record.from,
                    change: change.clone(),
                    outcome,
                });
            }
        }
    }

    fn compile<'a>(
        &self,
        changes: impl Iterator<Item = &'a RuleChange>,
    ) -> Result<Arc<ProcessorConfig>, String> {
        let specs = fold(&self.base_rules, changes)?;
        let compiled = RuleSet::compile(&specs, &self.datasets);
        let mut rules = compiled.map_err(|error| error.to_string())?;
        let bound = rules.bind(&self.base.windows);
        bound.map_err(|error| error.to_string())?;
        let mut config = ProcessorConfig::clone(&self.base);
        config.rules = rules;
        Ok(Arc::new(config))
    }

    /// What a processor does that has read its topics so far.
    pub(crate) fn config_at(&self, positions: &Positions) -> Arc<ProcessorConfig> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let holding = pages.met.iter().rev().find_map(|met| {
            let holds = met.from <= positions.get(met.topic);
            let accepted = met.outcome.as_ref().ok().filter(|_| holds)?;
            accepted.as_ref().map(|(_, config)| config)
        });
        holding.unwrap_or(&self.base).clone()
    }

    /// Whether a change of rules is accepted; why not.
    pub(crate) fn verdict(&self, topic: TopicIndex, offset: u64) -> Result<(), String> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let met = pages
            .met
            .iter()
            .find(|met| (met.topic, met.from) == (topic, offset + 1));
        match met.map(|met| &met.outcome) {
            Some(Err(why)) => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// The actions that hold for a robot that appears at these positions, in order.
    pub(crate) fn actions_at(&self, positions: &Positions) -> Vec<(Action, i64)> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let held = pages
            .actions
            .iter()
            .filter(|record| record.holds_at(positions));
        held.filter_map(|record| match &record.said {
            Said::Action(action) => Some((action.clone(), record.at)),
            Said::Rule(_) => None,
        })
        .collect()
    }
}

impl Met {
    /// The change that counts from here on.
    fn accepted(&self) -> Option<&RuleChange> {
        let accepted = self.outcome.as_ref().ok()?;
        accepted.as_ref().map(|(change, _)| change)
    }
}
