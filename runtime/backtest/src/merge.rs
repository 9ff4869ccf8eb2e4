//! The rows of a cut's files in the order in which the partition applied them.
//!
//! Within a topic rows come by their offsets. Between topics the next rows are compared, as intake
//! does: the one with the lowest (append time, topic) comes first. A file's rows are in that order
//! already, so it is a merge of files. Where producers set the append times and these descend, rows
//! that the lake does not have (duplicates, undecodable ones) may have let others pass: what comes
//! of it is then near the order of the live run, not always the same.

use std::ops::Range;
use std::sync::Arc;

use theatre_actors::ports::Result;
use theatre_actors::position::TopicIndex;
use theatre_parquet::records::{RecordReader, Records};
use theatre_schemas::batch::Batch;

/// Rows of one batch and topic that follow each other.
pub(crate) struct Run {
    pub(crate) topic: TopicIndex,
    pub(crate) batch: Arc<Batch>,
    pub(crate) rows: Range<usize>,
}

/// Gives the rows of a file, stretch by stretch.
pub(crate) trait Source {
    /// The next rows; `None` at the end.
    fn next(&mut self) -> Result<Option<Records>>;
}

impl Source for RecordReader {
    fn next(&mut self) -> Result<Option<Records>> {
        RecordReader::next(self)
    }
}

/// Where the reading of a file stands.
struct Cursor<S> {
    source: S,
    records: Records,
    row: usize,
    /// Topic of the row, and the row before which the topic ends.
    topic: TopicIndex,
    topic_end: usize,
}

/// What is known of the row that a cursor stands on.
#[derive(Clone, Copy)]
struct Head {
    append_time: i64,
    topic: TopicIndex,
    offset: u64,
}

impl<S: Source> Cursor<S> {
    /// Moves to a row of the present stretch, or into the next one; false at the end of the file.
    fn stand_on(&mut self, row: usize, topics: &[String], strangers: &mut u64) -> Result<bool> {
        self.row = row;
        loop {
            if self.row >= self.records.batch.len() {
                let Some(records) = self.source.next()? else {
                    return Ok(false);
                };
                (self.records, self.row) = (records, 0);
                continue;
            }
            let of_row = |(_, end): &&(String, usize)| *end > self.row;
            let Some((topic, end)) = self.records.topics.iter().find(of_row) else {
                self.row = self.records.batch.len();
                continue;
            };
            let end = *end;
            match topics.iter().position(|known| known == topic) {
                Some(index) => {
                    (self.topic, self.topic_end) = (index, end);
                    return Ok(true);
                }
                // A topic that is read no more.
                None => {
                    *strangers += (end - self.row) as u64;
                    self.row = end;
                }
            }
        }
    }

    fn head(&self) -> Head {
        Head {
            append_time: self.records.batch.append_times[self.row],
            topic: self.topic,
            offset: self.records.batch.offsets[self.row],
        }
    }
}

/// Merges files.
pub(crate) struct Merge<'a, S> {
    cursors: Vec<Cursor<S>>,
    topics: &'a [String],
    /// Rows of topics that are not among the inputs.
    pub(crate) strangers: u64,
}

impl<'a, S: Source> Merge<'a, S> {
    /// Opens files at their first rows; `topics` are the inputs in order.
    pub(crate) fn new(sources: Vec<S>, topics: &'a [String]) -> Result<Self> {
        let mut merge = Self {
            cursors: Vec::with_capacity(sources.len()),
            topics,
            strangers: 0,
        };
        for mut source in sources {
            let Some(records) = source.next()? else {
                continue;
            };
            let mut cursor = Cursor {
                source,
                records,
                row: 0,
                topic: 0,
                topic_end: 0,
            };
            if cursor.stand_on(0, topics, &mut merge.strangers)? {
                merge.cursors.push(cursor);
            }
        }
        Ok(merge)
    }

    /// The next rows in order; `None` at the end of all files.
    pub(crate) fn next(&mut self) -> Result<Option<Run>> {
        let Some((at, first)) = self.first() else {
            return Ok(None);
        };
        let (offset_end, next_topic) = self.bounds(at, first);
        let cursor = &mut self.cursors[at];
        let batch = cursor.records.batch.clone();
        let comes_before = |row: usize| {
            batch.offsets[row] < offset_end
                && next_topic.is_none_or(|next| (batch.append_times[row], first.topic) < next)
        };
        let from = cursor.row;
        let more = (from + 1..cursor.topic_end).take_while(|row| comes_before(*row));
        let to = from + 1 + more.count();
        if !cursor.stand_on(to, self.topics, &mut self.strangers)? {
            self.cursors.swap_remove(at);
        }
        Ok(Some(Run {
            topic: first.topic,
            batch,
            rows: from..to,
        }))
    }

    /// The cursor whose row comes next: of each topic the lowest offset, of these the lowest
    /// (append time, topic).
    fn first(&self) -> Option<(usize, Head)> {
        let heads = || self.cursors.iter().map(Cursor::head).enumerate();
        let leads = |head: &Head| {
            !heads().any(|(_, other)| other.topic == head.topic && other.offset < head.offset)
        };
        heads()
            .filter(|(_, head)| leads(head))
            .min_by_key(|(_, head)| (head.append_time, head.topic))
    }

    /// Up to where the rows of a cursor go on: the lowest offset of its topic in another file, and
    /// the row of another topic that comes next.
    fn bounds(&self, at: usize, first: Head) -> (u64, Option<(i64, TopicIndex)>) {
        let (mut offset_end, mut next) = (u64::MAX, None);
        for (other, cursor) in self.cursors.iter().enumerate() {
            let head = cursor.head();
            if other == at {
                continue;
            }
            if head.topic == first.topic {
                offset_end = offset_end.min(head.offset);
            } else {
                let key = (head.append_time, head.topic);
                next = Some(next.map_or(key, |known: (i64, TopicIndex)| known.min(key)));
            }
        }
        (offset_end, next)
    }
}
