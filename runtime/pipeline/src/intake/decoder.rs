//! The decoder: one poll of one topic, from framed bytes to rows of columns. A record that becomes
//! no row becomes a dead letter.

use std::collections::VecDeque;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use theatre_actors::outputs::{DeadReason, DeadRow};
use theatre_actors::ports::{Error, RecordView};
use theatre_actors::position::TopicIndex;
use theatre_schemas::batch::Batch;
use theatre_schemas::decode::{BatchBuilder, DecodeError};
use theatre_schemas::framing::{self, FramingError, SchemaId};
use theatre_schemas::registry::WriterSchema;

use super::{Entry, IntakeParams, Pending};
use crate::input_schemas::Answer;

/// Schemas of a topic that an intake keeps at hand.
const AT_HAND_MAX: usize = 64;

/// Bytes of a bad record that a dead letter keeps at most; beyond that its hash and place have to
/// do.
const DEAD_LETTER_BYTES_MAX: usize = 256 * 1024;

/// Decodes the records of one poll of one topic, one builder per dataset met.
pub(super) struct Decoder<'a> {
    pub(super) params: &'a IntakeParams,
    pub(super) topic: TopicIndex,
    pub(super) at_hand: &'a mut Vec<Arc<WriterSchema>>,
    pub(super) builders: &'a mut Vec<Option<BatchBuilder>>,
    /// Datasets met in this poll, in order of their first record: the index is the entry's batch.
    pub(super) open: Vec<usize>,
    pub(super) pending: &'a mut VecDeque<Pending>,
    pub(super) dead: &'a mut Vec<DeadRow>,
    /// Why the next record cannot be decoded yet: its schema is not known, so the rest of the poll
    /// waits.
    pub(super) stopped: Option<Error>,
}

/// Why a record becomes no row.
enum Refusal {
    Dead(DeadReason, String, Option<SchemaId>),
    NotYet(Error),
}

impl Decoder<'_> {
    pub(super) fn take(&mut self, record: RecordView<'_>) {
        if self.stopped.is_some() {
            return;
        }
        let entry = match self.decode(&record) {
            Ok(entry) => entry,
            Err(Refusal::Dead(reason, detail, schema_id)) => {
                self.dead_letter_row(&record, reason, detail, schema_id)
            }
            Err(Refusal::NotYet(error)) => {
                self.stopped = Some(error);
                return;
            }
        };
        self.pending.push_back(Pending {
            append_time: record.append_time.0,
            offset: record.offset,
            entry,
        });
    }

    fn decode(&mut self, record: &RecordView<'_>) -> std::result::Result<Entry, Refusal> {
        let limit = self.params.limits.record_bytes;
        if record.value.len() > limit {
            let detail = format!(
                "{} bytes, the limit is {limit} (record_bytes)",
                record.value.len()
            );
            return Err(Refusal::Dead(DeadReason::TooLarge, detail, None));
        }
        let (schema_id, datum) = framing::open(record.value, limit).map_err(|error| {
            let reason = if matches!(error, FramingError::TooLong(_)) {
                DeadReason::TooLarge
            } else {
                DeadReason::BadFrame
            };
            Refusal::Dead(reason, error.to_string(), None)
        })?;
        self.find(schema_id)?;
        let writer = &self.at_hand[0];
        let batch = batch_of(
            self.params,
            self.builders,
            &mut self.open,
            writer.dataset_index,
        );
        let builder = self.builders[writer.dataset_index]
            .as_mut()
            .expect("batch_of made the builder");
        let row = builder.len() as u32;
        builder
            .push(&writer.plan, &datum, record.offset, record.append_time.0)
            .map_err(|error| {
                let reason = match error {
                    DecodeError::Unroutable { .. }
                    | DecodeError::Reserved { .. }
                    | DecodeError::NameTooLong { .. } => DeadReason::Unroutable,
                    _ => DeadReason::Undecodable,
                };
                Refusal::Dead(reason, error.to_string(), Some(schema_id))
            })?;
        Ok(Entry::Row { batch, row })
    }

    /// Puts the schema of an id first among those at hand.
    fn find(&mut self, id: SchemaId) -> std::result::Result<(), Refusal> {
        match self.at_hand.iter().position(|writer| writer.id == id) {
            Some(0) => return Ok(()),
            Some(at) => {
                self.at_hand.swap(0, at);
                return Ok(());
            }
            None => {}
        }
        match self.params.inputs[self.topic]
            .answer(id)
            .map_err(Refusal::NotYet)?
        {
            Answer::Known(writer) => {
                self.at_hand.truncate(AT_HAND_MAX - 1);
                self.at_hand.insert(0, writer);
                Ok(())
            }
            Answer::Unknown => Err(Refusal::Dead(
                DeadReason::UnknownSchema,
                format!("schema id {id} is not known"),
                Some(id),
            )),
            Answer::Unusable(why) => Err(Refusal::Dead(DeadReason::Undecodable, why, Some(id))),
        }
    }

    fn dead_letter_row(
        &mut self,
        record: &RecordView<'_>,
        reason: DeadReason,
        detail: String,
        schema_id: Option<SchemaId>,
    ) -> Entry {
        // The stored form has room for a number only: a UUID is named in words.
        let detail = match schema_id {
            Some(id @ SchemaId::Glue(_)) if reason != DeadReason::UnknownSchema => {
                format!("schema {id}: {detail}")
            }
            _ => detail,
        };
        let kept = record
            .value
            .get(..DEAD_LETTER_BYTES_MAX)
            .unwrap_or(record.value);
        self.dead.push(DeadRow {
            topic: self.topic,
            offset: record.offset,
            append_time: record.append_time.0,
            reason,
            detail,
            robot_id: None,
            schema_id: schema_id.and_then(SchemaId::number),
            payload: self.params.pseudonyms.seal(kept),
            sealed: true,
            size: record.value.len() as u64,
            sha256: format!("{:x}", Sha256::digest(record.value)),
        });
        Entry::Dead((self.dead.len() - 1) as u32)
    }

    /// Closes the builders; a dataset of which every record failed gives an empty batch to keep the
    /// numbering.
    pub(super) fn finish(self) -> Vec<Arc<Batch>> {
        let Self {
            params,
            builders,
            open,
            ..
        } = self;
        open.into_iter()
            .map(|index| {
                let finished = builders[index].as_mut().and_then(BatchBuilder::finish);
                Arc::new(finished.unwrap_or_else(|| empty_batch(params, index)))
            })
            .collect()
    }
}

/// The entry's batch for a dataset, whose builder is made when it is met first.
fn batch_of(
    params: &IntakeParams,
    builders: &mut Vec<Option<BatchBuilder>>,
    open: &mut Vec<usize>,
    dataset_index: usize,
) -> u32 {
    if let Some(at) = open.iter().position(|open| *open == dataset_index) {
        return at as u32;
    }
    if builders.len() <= dataset_index {
        builders.resize_with(dataset_index + 1, || None);
    }
    let dataset = params.registry.datasets().get(dataset_index);
    builders[dataset_index].get_or_insert_with(|| {
        BatchBuilder::new(dataset.clone(), dataset_index, params.pseudonyms.clone())
    });
    open.push(dataset_index);
    (open.len() - 1) as u32
}

fn empty_batch(params: &IntakeParams, index: usize) -> Batch {
    let dataset = params.registry.datasets().get(index).clone();
    let columns = dataset.columns.iter().map(|column| {
        arrow_array::new_empty_array(&theatre_parquet::arrow_type(column.column_type))
    });
    let columns = columns.collect();
    Batch::new(dataset, index, columns, Vec::new(), Vec::new())
}
