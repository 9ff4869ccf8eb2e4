//! Which topics an MCAP file has, and how their messages are read.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use mcap::records::{Record, op};

use super::cdr::Encoding;
use super::container::{Container, Item};
use super::definition::Definition;
use crate::records::shown;

/// Bytes of a footer with its head, and of the mark behind it.
const FOOTER: u64 = 29;
const MARK: u64 = 8;

/// Most bytes of the summary at the end of a file.
const SUMMARY_BYTES_MAX: u64 = 64 << 20;

/// Most topics that an error lists.
const LISTED_MAX: usize = 40;

/// A topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The type of its messages.
    pub kind: String,
    /// How they are encoded.
    pub encoding: String,
    /// How many there are.
    pub messages: u64,
    /// Why they cannot be read, if they cannot.
    pub unreadable: Option<String>,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind.is_empty() {
            "no type"
        } else {
            &self.kind
        };
        write!(
            f,
            "{} ({}, {}, {} messages",
            shown(&self.name),
            shown(kind),
            shown(&self.encoding),
            self.messages
        )?;
        match &self.unreadable {
            Some(why) => write!(f, "; {why})"),
            None => f.write_str(")"),
        }
    }
}

/// How the messages of a channel are read.
#[derive(Debug)]
pub(super) enum Decoder {
    /// As JSON.
    Json,
    /// As messages of ROS.
    Ros(Arc<Definition>, Encoding),
    /// They cannot be read; why.
    None(String),
}

struct Schema {
    name: String,
    encoding: String,
    data: Vec<u8>,
}

/// The channels that are known so far.
#[derive(Default)]
pub(super) struct Channels {
    schemas: HashMap<u16, Schema>,
    channels: HashMap<u16, Channel>,
}

struct Channel {
    topic: String,
    kind: String,
    encoding: String,
    decoder: Decoder,
}

impl Channels {
    pub(super) fn add_schema(&mut self, id: u16, name: String, encoding: String, data: Vec<u8>) {
        self.schemas.entry(id).or_insert(Schema {
            name,
            encoding,
            data,
        });
    }

    pub(super) fn add(&mut self, channel: mcap::records::Channel) {
        let schema = self.schemas.get(&channel.schema_id);
        let decoder = decoder(&channel.message_encoding, schema);
        self.channels.entry(channel.id).or_insert(Channel {
            topic: channel.topic,
            kind: schema.map(|schema| schema.name.clone()).unwrap_or_default(),
            encoding: channel.message_encoding,
            decoder,
        });
    }

    /// The topic of a channel, and how its messages are read.
    pub(super) fn find(&self, channel: u16) -> Option<(&str, &Decoder)> {
        let channel = self.channels.get(&channel)?;
        Some((&channel.topic, &channel.decoder))
    }

    /// The topics, by name, with the number of messages of each channel.
    fn topics(&self, counts: &HashMap<u16, u64>) -> Vec<Topic> {
        let mut topics: BTreeMap<&str, Topic> = BTreeMap::new();
        let mut ids: Vec<&u16> = self.channels.keys().collect();
        ids.sort_unstable();
        for id in ids {
            let channel = &self.channels[id];
            let topic = topics.entry(&channel.topic).or_insert_with(|| Topic {
                name: channel.topic.clone(),
                kind: channel.kind.clone(),
                encoding: channel.encoding.clone(),
                ..Topic::default()
            });
            topic.messages += counts.get(id).copied().unwrap_or(0);
            if let (Decoder::None(why), None) = (&channel.decoder, &topic.unreadable) {
                topic.unreadable = Some(why.clone());
            }
        }
        topics.into_values().collect()
    }
}

fn decoder(encoding: &str, schema: Option<&Schema>) -> Decoder {
    let form = match encoding {
        "json" => return Decoder::Json,
        "cdr" => (Encoding::Cdr, "ros2msg"),
        "ros1" => (Encoding::Ros1, "ros1msg"),
        _ => {
            return Decoder::None(
                "this encoding is not supported: json, cdr and ros1 are".to_owned(),
            );
        }
    };
    let Some(schema) = schema else {
        return Decoder::None("the definition of its messages is missing".to_owned());
    };
    if schema.encoding != form.1 {
        return Decoder::None(format!(
            "definitions in '{}' are not supported: ros2msg ones are",
            shown(&schema.encoding)
        ));
    }
    let text = String::from_utf8_lossy(&schema.data);
    match Definition::parse(&schema.name, &text) {
        Ok(definition) => Decoder::Ros(Arc::new(definition), form.0),
        Err(why) => Decoder::None(format!("its definition cannot be read: {why}")),
    }
}

/// The topics of a file, from the summary at its end, or, where there is none, by reading all of
/// it. The file is given back.
pub(super) fn list<R: Read + Seek>(mut input: R) -> Result<(Vec<Topic>, R), String> {
    if let Some(topics) = of_summary(&mut input) {
        return Ok((topics, input));
    }
    let mut container = Container::open(input)?;
    let mut channels = Channels::default();
    let mut counts: HashMap<u16, u64> = HashMap::new();
    while let Some(item) = container.next()? {
        match item {
            Item::Schema {
                id,
                name,
                encoding,
                data,
            } => channels.add_schema(id, name, encoding, data),
            Item::Channel(channel) => channels.add(channel),
            Item::Message { channel, .. } => *counts.entry(channel).or_default() += 1,
            Item::Damage { .. } => {}
        }
    }
    Ok((channels.topics(&counts), container.into_input()))
}

/// The topics by the summary; none when there is no whole one.
fn of_summary<R: Read + Seek>(input: &mut R) -> Option<Vec<Topic>> {
    let length = input.seek(SeekFrom::End(0)).ok()?;
    let footer_at = length.checked_sub(FOOTER + MARK)?;
    input.seek(SeekFrom::Start(footer_at)).ok()?;
    let mut end = Vec::new();
    input.take(FOOTER + MARK).read_to_end(&mut end).ok()?;
    let (footer, mark) = end.split_at_checked(FOOTER as usize)?;
    let begins = u64::from_le_bytes(*footer.get(9..)?.first_chunk()?);
    if mark != mcap::MAGIC || footer.first() != Some(&op::FOOTER) || begins == 0 {
        return None;
    }
    let size = footer_at
        .checked_sub(begins)
        .filter(|size| *size <= SUMMARY_BYTES_MAX)?;
    input.seek(SeekFrom::Start(begins)).ok()?;
    let mut summary = Vec::new();
    input.take(size).read_to_end(&mut summary).ok()?;
    let mut channels = Channels::default();
    let mut counts = None;
    let mut rest = summary.as_slice();
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(9)?;
        let length = u64::from_le_bytes(*head.get(1..)?.first_chunk()?);
        let (body, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        if !matches!(head[0], op::SCHEMA | op::CHANNEL | op::STATISTICS) {
            continue;
        }
        match mcap::parse_record(head[0], body).ok()? {
            Record::Schema { header, data } => {
                channels.add_schema(header.id, header.name, header.encoding, data.into_owned());
            }
            Record::Channel(channel) => channels.add(channel),
            Record::Statistics(found) => {
                counts = Some(found.channel_message_counts.into_iter().collect());
            }
            _ => {}
        }
    }
    let topics = channels.topics(&counts?);
    (!topics.is_empty()).then_some(topics)
}

/// The topic to read: the one that is named, or the only one that can be read.
pub(super) fn choose(topics: &[Topic], named: Option<&str>) -> Result<String, String> {
    let listed = || {
        let mut listed: Vec<String> = topics
            .iter()
            .take(LISTED_MAX)
            .map(ToString::to_string)
            .collect();
        if topics.len() > LISTED_MAX {
            listed.push(format!("and {} more", topics.len() - LISTED_MAX));
        }
        listed.join(", ")
    };
    if topics.is_empty() {
        return Err("the file has no topics".to_owned());
    }
    if let Some(named) = named {
        return match topics.iter().find(|topic| topic.name == named) {
            None => Err(format!(
                "the file has no topic '{}'; it has {}",
                shown(named),
                listed()
            )),
            Some(topic) if topic.unreadable.is_some() => {
                Err(format!("the topic cannot be read: {topic}"))
            }
            Some(topic) => Ok(topic.name.clone()),
        };
    }
    let mut readable = topics
        .iter()
        .filter(|topic| topic.unreadable.is_none() && topic.messages > 0);
    match (readable.next(), readable.next()) {
        (Some(only), None) => Ok(only.name.clone()),
        (None, _) => Err(format!(
            "no topic has messages that can be read: {}",
            listed()
        )),
        _ => Err(format!(
            "the file has several topics; name one by the mapping's key topic, or --topic: {}",
            listed()
        )),
    }
}
