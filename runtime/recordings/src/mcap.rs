//! MCAP files, as ROS 2 records them: the messages of one topic.
//!
//! Messages in JSON and in CDR with `ros2msg` definitions (of ROS 1 those with `ros1msg`) become
//! records of the columns `log_time`, `publish_time` and their fields, flattened. Elements go by
//! their names where they have any: `position[elbow]` of a joint state, `status[arm].values[load]`
//! of diagnostics. A stamp is a time. A place counts the messages of the topic.

mod cdr;
mod container;
mod definition;
mod topics;

use std::collections::VecDeque;
use std::io::{Read, Seek};
use std::sync::Arc;

use container::{Container, Item};
pub use topics::Topic;
use topics::{Channels, Decoder};

use crate::column_search::{ColumnSearch, Columns};
use crate::json::{self, Fault};
use crate::records::{Cell, Place, ReadError, Record, Records, Refusal, shown};
use crate::tree::Tree;

/// Columns that every message has.
const TIMES: [&str; 2] = ["log_time", "publish_time"];

/// Most bytes of the messages that are kept while columns are searched.
const SEARCH_BYTES_MAX: usize = 16 << 20;

/// The messages of one topic of an MCAP file.
pub struct Mcap<R> {
    place: Place,
    topic: String,
    topics: Vec<Topic>,
    container: Container<R>,
    channels: Channels,
    columns: Columns,
    /// Messages that were read while columns were searched.
    read_ahead: VecDeque<Result<Record, Refusal>>,
    /// Bytes of the messages that were read.
    bytes: usize,
    /// Messages whose channel is not known, for its record is damaged.
    unknown: u64,
    /// Why the input was not copied to its end.
    broken: Option<String>,
}

/// The topics of an MCAP file, by name.
///
/// # Errors
/// When it is no MCAP file, or cannot be read.
pub fn topics<R: Read + Seek>(file: &Arc<str>, input: R) -> Result<Vec<Topic>, ReadError> {
    let failed = |why| ReadError {
        place: Place {
            file: Arc::clone(file),
            line: 0,
        },
        why,
    };
    topics::list(input)
        .map(|(topics, _)| topics)
        .map_err(failed)
}

impl<R: Read + Seek + Send> Mcap<R> {
    /// Opens a file for the messages of `topic`, which may be absent when the file has one topic
    /// that can be read.
    ///
    /// # Errors
    /// When the file cannot be read, or the topic is not clear; says which there are.
    pub fn open(
        file: Arc<str>,
        input: R,
        topic: Option<&str>,
        search: &ColumnSearch<'_>,
    ) -> Result<Self, ReadError> {
        let place = Place { file, line: 0 };
        let failed = |why| ReadError {
            place: place.clone(),
            why,
        };
        let (topics, input) = topics::list(input).map_err(failed)?;
        let topic = topics::choose(&topics, topic).map_err(failed)?;
        let mut columns = Columns::default();
        for name in TIMES {
            columns.begin_with(name);
        }
        let mut opened = Self {
            container: Container::open(input).map_err(failed)?,
            place,
            topic,
            topics,
            channels: Channels::default(),
            columns,
            read_ahead: VecDeque::new(),
            bytes: 0,
            unknown: 0,
            broken: None,
        };
        let mut whole = true;
        loop {
            if opened.read_ahead.len() >= search.records || opened.bytes > SEARCH_BYTES_MAX {
                whole = false;
                break;
            }
            let Some(record) = opened.read()? else {
                break;
            };
            opened.read_ahead.push_back(record);
        }
        opened
            .columns
            .close(if whole { &[] } else { search.wanted });
        Ok(opened)
    }

    /// Remarks why what was packed, or came from a pipe, is not all there.
    pub(crate) fn broken_off(mut self, why: Option<String>) -> Self {
        self.broken = why;
        self
    }

    /// The topic that is read.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// All topics of the file.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The next message of the topic as a record of the columns that are known.
    fn read(&mut self) -> Result<Option<Result<Record, Refusal>>, ReadError> {
        loop {
            let item = self.container.next().map_err(|why| ReadError {
                place: self.place.clone(),
                why,
            })?;
            match item {
                None => return Ok(None),
                Some(Item::Damage { kind, found }) => {
                    let mut place = self.place.clone();
                    place.line += 1;
                    return Ok(Some(Err(Refusal { place, kind, found })));
                }
                Some(Item::Schema {
                    id,
                    name,
                    encoding,
                    data,
                }) => self.channels.add_schema(id, name, encoding, data),
                Some(Item::Channel(channel)) => self.channels.add(channel),
                Some(Item::Message {
                    channel,
                    log_time,
                    publish_time,
                    data,
                }) => match self.channels.find(channel) {
                    None => self.unknown += 1,
                    Some((topic, _)) if topic != self.topic => {}
                    Some((_, decoder)) => {
                        self.place.line += 1;
                        self.bytes += data.len();
                        let place = self.place.clone();
                        let taken = decode(decoder, self.container.data(data)).and_then(|tree| {
                            let tree = with_times(tree, log_time, publish_time);
                            self.columns.record(tree, true, place.line)
                        });
                        return Ok(Some(match taken {
                            Ok(cells) => Ok(Record { place, cells }),
                            Err(fault) => Err(Refusal {
                                place,
                                kind: fault.kind.to_owned(),
                                found: fault.found,
                            }),
                        }));
                    }
                },
            }
        }
    }
}

impl<R: Read + Seek + Send> Records for Mcap<R> {
    fn columns(&self) -> &[String] {
        self.columns.names()
    }

    fn next_record(&mut self) -> Result<Option<Result<Record, Refusal>>, ReadError> {
        let mut next = match self.read_ahead.pop_front() {
            Some(record) => Some(record),
            None => self.read()?,
        };
        if let Some(Ok(record)) = &mut next {
            // Columns may have been found after the record.
            record
                .cells
                .resize(self.columns.names().len(), Cell::Missing);
        }
        Ok(next)
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = self.columns.remarks();
        remarks.extend(self.broken.clone());
        if self.unknown > 0 {
            remarks.push(format!(
                "{} messages are of topics whose description is missing or damaged: they are left out",
                self.unknown
            ));
        }
        let others: Vec<&str> = self
            .topics
            .iter()
            .filter(|topic| topic.name != self.topic)
            .map(|topic| topic.name.as_str())
            .collect();
        if !others.is_empty() {
            remarks.push(format!(
                "topic {} is read; not read are {}",
                shown(&self.topic),
                shown(&others.join(", "))
            ));
        }
        remarks
    }
}

/// A message as a tree of values.
fn decode(decoder: &Decoder, data: &[u8]) -> Result<Tree, Fault> {
    match decoder {
        Decoder::Json => json::parse(data),
        Decoder::Ros(definition, encoding) => {
            cdr::decode(definition, *encoding, data).map_err(|kind| Fault {
                kind,
                found: format!("{} bytes", data.len()),
            })
        }
        Decoder::None(_) => Err(Fault {
            kind: "a message is in a form that is not supported",
            found: String::new(),
        }),
    }
}

/// A message with the times of its record before its own fields, one of which may have their names.
fn with_times(tree: Tree, log_time: u64, publish_time: u64) -> Tree {
    let mut members: Vec<(Arc<str>, Tree)> = TIMES
        .iter()
        .zip([log_time, publish_time])
        .map(|(name, time)| (Arc::from(*name), Tree::Leaf(Cell::Time(time.into()))))
        .collect();
    if let Tree::Object(own) = tree {
        members.extend(own.into_iter().map(|(name, member)| {
            if TIMES.contains(&&*name) {
                (Arc::from(format!("message.{name}")), member)
            } else {
                (name, member)
            }
        }));
    }
    Tree::Object(members)
}

#[cfg(test)]
mod tests;
