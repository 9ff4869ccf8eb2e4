//! The book of a partition: what was said to all of its robots, and which rules follow from it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::Datasets;

use super::change::Approvals;
use super::known::KnownRules;
use super::{ControlRecord, ControlState, RuleChange, Said};
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
    change_id: String,
    /// The change that counts from there on; nothing where it waits to be approved; why it was refused.
    outcome: Result<Option<Counting>, String>,
}

/// A change that counts.
struct Counting {
    change: RuleChange,
    /// What is wrong by now with the rule that it puts.
    fault: Option<String>,
    /// What all processors do from there on, while one of them does it.
    made: Weak<ProcessorConfig>,
    /// The same, until all have gone on.
    kept: Option<Arc<ProcessorConfig>>,
}

#[derive(Default)]
struct Pages {
    approvals: Approvals,
    met: Vec<Met>,
    /// After all changes that count.
    latest: KnownRules,
    /// What the partition's actor remembers once it has taken what was noted.
    said: ControlState,
    /// How far the partition's actor had read when it was saved.
    read: Positions,
    /// Whether changes needed approval when they came, by topic and the offset after each.
    came: BTreeMap<(TopicIndex, u64), bool>,
    /// What another partition had been told before this one was made.
    inherited: ControlState,
}

/// What was said to all robots of a partition, shared by its processors. The partition notes a record
/// before any processor meets it; each processor asks by its own positions, so that a replay finds
/// the same rules at the same records.
///
/// A change is checked when it comes, by compiling the rule that it puts. All rules are compiled when
/// a processor asks for them: those of a place that none asks for never are.
pub struct ControlBook {
    base: Arc<ProcessorConfig>,
    base_rules: Vec<RuleSpec>,
    datasets: Datasets,
    /// The topics of what is said to all robots.
    topics: Vec<TopicIndex>,
    needs_approval: bool,
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
    /// `topics` are those of what is said to all robots; `needs_approval`: a change of rules that
    /// comes from now on counts once another person approves it.
    pub fn new(
        base: Arc<ProcessorConfig>,
        datasets: &Datasets,
        topics: Vec<TopicIndex>,
        needs_approval: bool,
    ) -> Self {
        let base_rules = base.rules.written();
        let latest = KnownRules::of(&base_rules);
        Self {
            base_rules,
            base,
            datasets: datasets.clone(),
            topics,
            needs_approval,
            pages: Mutex::new(Pages {
                latest,
                ..Pages::default()
            }),
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Each change of the pages is whole before anything can panic.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.remember(remembered);
        self.pages().read = read;
        Ok(())
    }

    /// Takes from what the partition's actor remembered when it was saved only whether changes needed
    /// approval when they came: for who reads the records once more from the beginning.
    ///
    /// # Errors
    /// As [`Self::restore`].
    pub fn approve_as(&self, state: &[u8]) -> Result<(), StateError> {
        let (remembered, _) = crate::processor::control_state(state)?;
        let came = |record: &ControlRecord| ((record.topic, record.from), record.needs_approval);
        self.pages().came = remembered.records().iter().map(came).collect();
        Ok(())
    }

    /// Takes what the actor of another partition remembered that had read to `until`, in a partition
    /// that was made since: it holds there from the beginning.
    ///
    /// # Errors
    /// As [`Self::restore`].
    pub fn inherit(&self, state: &[u8], until: &Positions) -> Result<(), StateError> {
        let inherited = crate::processor::control_state(state)?.0.inherited(until);
        self.pages().inherited = inherited.clone();
        self.remember(inherited);
        Ok(())
    }

    /// What was inherited, for the partition's own actor.
    pub(crate) fn inherited(&self) -> ControlState {
        self.pages().inherited.clone()
    }

    /// Notes a record before it is delivered; one that is known, or cannot be read, changes nothing.
    pub fn note(&self, topic: TopicIndex, batch: &Batch, row: usize) {
        let (offset, append_time) = (batch.offsets[row], batch.append_times[row]);
        // What the actor had read before it was saved it remembers, unless it was refused; judged again
        // after what came later it might not be.
        if offset < self.pages().read.get(topic) {
            return;
        }
        let latest = append_time.saturating_add(self.base.time.future_tolerance_us);
        if batch.event_times()[row] > latest {
            return;
        }
        if let Ok(record) = self.read(topic, batch, row) {
            self.add(record);
        }
    }

    /// Reads a record that comes now.
    ///
    /// # Errors
    /// As [`ControlRecord::read`].
    pub(crate) fn read(
        &self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
    ) -> Result<ControlRecord, String> {
        let place = (topic, batch.offsets[row] + 1);
        let came = self.pages().came.get(&place).copied();
        ControlRecord::read(topic, batch, row, came.unwrap_or(self.needs_approval))
    }

    fn add(&self, record: ControlRecord) {
        let mut pages = self.pages();
        let place = (record.topic, record.from);
        let Said::Rule(change) = &record.said else {
            if !pages.said.has_acted_at(place) {
                // One that is refused is known as that.
                drop(pages.said.take(record));
            }
            return;
        };
        let is_known =
            |met: &Met| (met.topic, met.from) == place && met.change_id == change.change_id;
        if pages.met.iter().any(is_known) {
            return;
        }
        let (change_id, is_repeated) = (change.change_id.clone(), pages.said.knows(change));
        let outcome = match is_repeated {
            true => Ok(None),
            false => self.meet(&mut pages, change, record.needs_approval),
        };
        if outcome.is_ok() {
            drop(pages.said.take(record));
        }
        pages.met.push(Met {
            topic: place.0,
            from: place.1,
            change_id,
            outcome,
        });
    }

    /// A change has come: whether one counts from here on, and which.
    fn meet(
        &self,
        pages: &mut Pages,
        change: &RuleChange,
        needs_approval: bool,
    ) -> Result<Option<Counting>, String> {
        let before = pages.approvals.clone();
        let Some(change) = pages.approvals.meet(change, needs_approval)? else {
            return Ok(None);
        };
        let windows = Some(&self.base.windows);
        match pages.latest.changed(&change, &self.datasets, windows) {
            Ok(latest) => {
                pages.latest = latest;
                Ok(Some(Counting::of(change, None)))
            }
            Err(why) => {
                // It is refused, so it has not approved anything.
                pages.approvals = before;
                Err(why)
            }
        }
    }

    /// Takes what was accepted when it came. Where the configuration is another one since, changes may
    /// not fit any more: then they change nothing, and a rule that was put judges nothing.
    fn remember(&self, remembered: ControlState) {
        let mut pages = self.pages();
        let windows = Some(&self.base.windows);
        for record in remembered.records() {
            let Said::Rule(change) = &record.said else {
                continue;
            };
            let counts = pages.approvals.meet(change, record.needs_approval);
            let outcome = counts.and_then(|counts| {
                let Some(counts) = counts else {
                    return Ok(None);
                };
                let fault = (pages.latest).remember(&counts, &self.datasets, windows)?;
                Ok(Some(Counting::of(counts, fault)))
            });
            pages.met.push(Met {
                topic: record.topic,
                from: record.from,
                change_id: change.change_id.clone(),
                outcome,
            });
        }
        pages.said = remembered;
    }

    /// All processors of the partition have gone through what was noted so far: of what they did
    /// before, only what one still does is kept, and what they do now.
    pub fn settle(&self) {
        let mut pages = self.pages();
        let counting = pages.met.iter_mut().rev().filter_map(Met::counting);
        counting.skip(1).for_each(|earlier| earlier.kept = None);
    }

    /// What a processor does that has read its topics so far.
    pub(crate) fn config_at(&self, positions: &Positions) -> Arc<ProcessorConfig> {
        let mut pages = self.pages();
        let holding = pages.met.iter().rposition(|met| {
            met.from <= positions.get(met.topic) && matches!(met.outcome, Ok(Some(_)))
        });
        let Some(at) = holding else {
            return self.base.clone();
        };
        let (before, from_here) = pages.met.split_at_mut(at);
        let Some(counting) = from_here.first_mut().and_then(Met::counting) else {
            return self.base.clone();
        };
        if let Some(made) = counting.made.upgrade() {
            return made;
        }
        let mut rules = KnownRules::of(&self.base_rules);
        let earlier = before.iter_mut().filter_map(Met::counting);
        for earlier in earlier {
            // Each was tried upon those before it when it came.
            rules.take(&earlier.change, earlier.fault.as_deref());
        }
        rules.take(&counting.change, counting.fault.as_deref());
        let Some(made) = self.compile(&rules) else {
            return self.base.clone();
        };
        counting.made = Arc::downgrade(&made);
        counting.kept = Some(made.clone());
        made
    }

    /// What processors do under these rules. They were found good when the last change of them came.
    fn compile(&self, rules: &KnownRules) -> Option<Arc<ProcessorConfig>> {
        let specs: Vec<RuleSpec> = rules.enabled().cloned().collect();
        let mut rules = RuleSet::compile(&specs, &self.datasets).ok()?;
        rules.bind(&self.base.windows).ok()?;
        let mut config = ProcessorConfig::clone(&self.base);
        config.rules = rules;
        Some(Arc::new(config))
    }

    /// Whether a change of rules is accepted; why not.
    pub(crate) fn verdict(&self, topic: TopicIndex, offset: u64) -> Result<(), String> {
        let pages = self.pages();
        let met = pages
            .met
            .iter()
            .find(|met| (met.topic, met.from) == (topic, offset + 1));
        match met.map(|met| &met.outcome) {
            Some(Err(why)) => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// Whether robots take an action that stands at an offset and came at a moment (microseconds UTC):
    /// not one that has come before by its id, nor one that was refused.
    pub(crate) fn acts(&self, action: &Action, place: (TopicIndex, u64), at: i64) -> bool {
        let (topic, offset) = place;
        self.pages().said.acts(action, (topic, offset + 1), at)
    }

    /// The actions that hold for a robot that appears at these positions, in order.
    pub(crate) fn actions_at(&self, positions: &Positions) -> Vec<(Action, i64)> {
        let pages = self.pages();
        let records = pages.said.records().iter();
        let held = records.filter(|record| record.holds_at(positions));
        held.filter_map(|record| match &record.said {
            Said::Action(action) => Some((action.clone(), record.at)),
            Said::Rule(_) => None,
        })
        .collect()
    }
}

impl Counting {
    fn of(change: RuleChange, fault: Option<String>) -> Self {
        Self {
            change,
            fault,
            made: Weak::new(),
            kept: None,
        }
    }
}

impl Met {
    /// The change that counts from here on.
    fn counting(&mut self) -> Option<&mut Counting> {
        self.outcome.as_mut().ok()?.as_mut()
    }
}
