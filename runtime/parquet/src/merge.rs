//! The rows of a cut's files in the order in which the partition applied them. Read by the
//! back-test and by a rebuild of state.
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
use theatre_schemas::batch::Batch;

use super::records::{RecordReader, Records};

/// Rows of one batch and topic that follow each other.
pub struct Run {
    /// The topic.
    pub topic: TopicIndex,
    /// The batch.
    pub batch: Arc<Batch>,
    /// Its rows.
    pub rows: Range<usize>,
}

/// Gives the rows of a file, stretch by stretch.
pub trait Source {
    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// `Refused` when the file is damaged.
    fn read_next(&mut self) -> Result<Option<Records>>;
}

impl Source for RecordReader {
    fn read_next(&mut self) -> Result<Option<Records>> {
        RecordReader::read_next(self)
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
                let Some(records) = self.source.read_next()? else {
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
pub struct Merge<'a, S> {
    cursors: Vec<Cursor<S>>,
    topics: &'a [String],
    /// Rows of topics that are not among the inputs.
    pub strangers: u64,
}

impl<'a, S: Source> Merge<'a, S> {
    /// Opens files at their first rows; `topics` are the inputs in order.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn new(sources: Vec<S>, topics: &'a [String]) -> Result<Self> {
        let mut merge = Self {
            cursors: Vec::with_capacity(sources.len()),
            topics,
            strangers: 0,
        };
        for mut source in sources {
            let Some(records) = source.read_next()? else {
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
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn next_run(&mut self) -> Result<Option<Run>> {
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use arrow_array::{ArrayRef, StringArray, TimestampMicrosecondArray};
    use proptest::prelude::*;
    use theatre_schemas::dataset::Dataset;

    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "R", "theatre": {"id": 9000, "dataset": "d", "kind": "telemetry"}, "fields": [
        {"name": "robot_id", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}"#;

    /// A row: topic, offset, append time.
    type Row = (usize, u64, i64);

    /// A file of stretches of rows.
    struct Stretches(VecDeque<Records>);

    impl Source for Stretches {
        fn read_next(&mut self) -> Result<Option<Records>> {
            Ok(self.0.pop_front())
        }
    }

    fn topics() -> Vec<String> {
        ["t0", "t1", "t2"].map(str::to_owned).to_vec()
    }

    fn file(rows: &[Row], stretch: usize) -> Stretches {
        let dataset = Arc::new(Dataset::from_schema(SCHEMA).unwrap());
        let records = |rows: &[Row]| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from(vec!["r"; rows.len()])),
                Arc::new(TimestampMicrosecondArray::from(vec![0; rows.len()])),
            ];
            let offsets = rows.iter().map(|row| row.1).collect();
            let times = rows.iter().map(|row| row.2).collect();
            let batch = Batch::new(dataset.clone(), 0, columns, offsets, times);
            let mut topics: Vec<(String, usize)> = Vec::new();
            for (at, row) in rows.iter().enumerate() {
                let name = format!("t{}", row.0);
                match topics.last_mut() {
                    Some((last, end)) if *last == name => *end = at + 1,
                    _ => topics.push((name, at + 1)),
                }
            }
            Records {
                batch: Arc::new(batch),
                topics,
            }
        };
        Stretches(rows.chunks(stretch).map(records).collect())
    }

    fn merged(files: Vec<Stretches>) -> Vec<Row> {
        let topics = topics();
        let mut merge = Merge::new(files, &topics).unwrap();
        let mut rows = Vec::new();
        while let Some(run) = merge.next_run().unwrap() {
            for row in run.rows {
                rows.push((
                    run.topic,
                    run.batch.offsets[row],
                    run.batch.append_times[row],
                ));
            }
        }
        rows
    }

    /// The log's order: of the next rows of all topics the one of the lowest (append time, topic).
    fn in_order(mut topics: Vec<VecDeque<Row>>) -> Vec<Row> {
        let mut rows = Vec::new();
        loop {
            let heads = topics.iter().filter_map(|topic| topic.front());
            let Some(next) = heads.min_by_key(|row| (row.2, row.0)).map(|row| row.0) else {
                return rows;
            };
            rows.extend(topics[next].pop_front());
        }
    }

    proptest! {
        #[test]
        fn files_come_together_in_the_order_of_the_log(
            rows in prop::collection::vec((0..3_usize, 0..4_i64, 0..3_usize), 0..60),
            stretch in 1..7_usize,
            ascend in any::<bool>(),
        ) {
            // Append times that ascend by topic, or those of producers, which need not; then every
            // file is of one topic, as each dataset has its own.
            let mut log: Vec<VecDeque<Row>> = vec![VecDeque::new(); 3];
            let mut files_of = std::collections::HashMap::new();
            for (topic, step, file) in rows {
                let last = log[topic].back().map_or(0, |row: &Row| row.2);
                let time = if ascend { last + step } else { 100 + step };
                let offset = log[topic].len() as u64 * 2;
                log[topic].push_back((topic, offset, time));
                let file = if ascend { file } else { topic * 3 + file };
                files_of.insert((topic, offset), file);
            }
            let expected = in_order(log);
            let mut files: Vec<Vec<Row>> = vec![Vec::new(); 9];
            for row in &expected {
                files[files_of[&(row.0, row.1)]].push(*row);
            }
            let files = files.iter().map(|rows| file(rows, stretch)).collect();
            prop_assert_eq!(merged(files), expected);
        }
    }

    #[test]
    fn rows_of_a_topic_that_is_no_input_are_counted() {
        let rows = [(0, 1, 1), (7, 1, 2), (7, 2, 3), (1, 1, 4)];
        let topics = topics();
        let mut merge = Merge::new(vec![file(&rows, 3)], &topics).unwrap();
        let mut met = Vec::new();
        while let Some(run) = merge.next_run().unwrap() {
            met.push(run.topic);
        }
        assert_eq!((met, merge.strangers), (vec![0, 1], 2));
    }
}
