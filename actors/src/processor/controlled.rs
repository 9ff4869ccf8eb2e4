//! How a processor takes what is said to all robots of its partition, or to its robot by people.

use std::sync::Arc;

use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;

use super::{Processor, ProcessorConfig};
use crate::alerts::Action;
use crate::control::{self, ControlBook, ControlRecord};
use crate::outputs::Outputs;
use crate::position::{Positions, TopicIndex};

impl Processor {
    /// A processor of a robot that appears where its partition has read so far: what was said to all
    /// robots before holds for it.
    pub fn begun(
        robot_id: &str,
        config: Arc<ProcessorConfig>,
        book: &Arc<ControlBook>,
        at: &Positions,
    ) -> Self {
        let mut processor = Self::new(robot_id, config);
        if control::partition_of(robot_id).is_some() {
            processor.state.control = book.inherited().into();
        }
        if !control::is_robot(robot_id) {
            return processor.under(book);
        }
        for topic in book.topics().filter(|topic| at.get(*topic) > 0) {
            processor.state.positions.advance(topic, at.get(topic));
        }
        let mut untold = Outputs::default();
        for (action, now) in book.actions_at(at) {
            processor.now = now;
            processor.fall_due(&mut untold);
            processor.act_widely(&action, &mut untold);
        }
        processor.now = i64::MIN;
        processor.under(book)
    }

    /// The processor under what was said in its partition, as far as it has read that.
    #[must_use]
    pub fn under(mut self, book: &Arc<ControlBook>) -> Self {
        self.config = book.config_at(&self.state.positions);
        self.book = Some(book.clone());
        self
    }

    /// Takes a record that may be for all robots of the partition. Only the actor that it names
    /// accounts it.
    pub(super) fn apply_controlled(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) {
        if batch.robot_id(row) == self.robot_id {
            return self.apply_event(topic, batch, row, outputs);
        }
        let append_time = batch.append_times[row];
        let latest = append_time.saturating_add(self.config.time.future_tolerance_us);
        // The partition's actor makes a dead letter of what is refused.
        if batch.event_times()[row] > latest {
            return;
        }
        self.note_now(append_time);
        self.fall_due(outputs);
        match batch.dataset.kind {
            DatasetKind::AlertActions => {
                if let Ok(action) = Action::read(batch, row)
                    && self.takes(&action, (topic, batch.offsets[row]), append_time)
                {
                    self.act_widely(&action, outputs);
                }
            }
            _ => self.follow_rules(topic, batch.offsets[row], outputs),
        }
    }

    /// Whether an action for all robots is one that has not come before, and was not refused.
    fn takes(&self, action: &Action, place: (TopicIndex, u64), at: i64) -> bool {
        let book = self.book.as_ref();
        book.is_none_or(|book| book.acts(action, place, at))
    }

    /// A change of rules has come.
    fn follow_rules(&mut self, topic: TopicIndex, offset: u64, outputs: &mut Outputs) {
        let Some(book) = &self.book else {
            return;
        };
        let mut positions = self.state.positions.clone();
        positions.advance(topic, offset + 1);
        let config = book.config_at(&positions);
        if !Arc::ptr_eq(&config, &self.config) {
            self.config = config;
            self.has_adopted_rules = false;
            self.adopt_rules(outputs);
        }
    }

    /// Takes a record that names this actor: an action on a robot's conditions, or what is said to
    /// all robots.
    ///
    /// # Errors
    /// Says why it is refused; nothing has changed then.
    pub(super) fn take_controlled(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) -> Result<(), String> {
        if control::partition_of(&self.robot_id).is_some() {
            let record = match &self.book {
                Some(book) => {
                    let record = book.read(topic, batch, row)?;
                    book.verdict(topic, batch.offsets[row])?;
                    record
                }
                None => ControlRecord::read(topic, batch, row, false)?,
            };
            self.state.control.change(|control| control.take(record))?;
            // Who says it wants to see that it holds.
            outputs.urgent = true;
            return Ok(());
        }
        match batch.dataset.kind {
            DatasetKind::AlertActions => self.take_action(batch, row, outputs),
            _ => Err(
                "a change of rules is for all robots: its key is @partition/N, in every partition N"
                    .to_owned(),
            ),
        }
    }
}
