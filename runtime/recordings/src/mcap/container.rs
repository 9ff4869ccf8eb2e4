//! The records of an MCAP file in order, those within chunks too.
//!
//! Damage costs what it hits: a chunk whose checksum does not fit is left out, and of a file that
//! breaks off what is whole is given. Memory is bounded by the largest record.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use mcap::records::{Record, op};

use crate::json::shown_bytes;
use crate::records::shown;

/// Most bytes of a record, and of a chunk before and after it is decompressed.
const RECORD_BYTES_MAX: u64 = 256 << 20;

/// Bytes before the body of a record: what it is, and how long.
const HEAD: usize = 9;

/// Bytes of a message before its data.
const MESSAGE_HEAD: usize = 22;

/// Said of a file without its end.
pub(super) const BREAKS_OFF: &str = "the file ends without the end of an MCAP file, as when a recorder is killed; what is whole was read";

/// What comes next.
pub(super) enum Item {
    /// The definition of messages.
    Schema {
        /// Its number.
        id: u16,
        /// The type's name.
        name: String,
        /// How the definition is written.
        encoding: String,
        /// The definition.
        data: Vec<u8>,
    },
    /// Messages of a topic will come.
    Channel(mcap::records::Channel),
    /// A message; its data is given by [`Container::data`].
    Message {
        /// Number of its channel.
        channel: u16,
        /// When it was recorded, nanoseconds.
        log_time: u64,
        /// When it was sent, nanoseconds.
        publish_time: u64,
        /// Where its data stands.
        data: Range<usize>,
    },
    /// Something that cannot be read, and is passed.
    Damage {
        /// What.
        kind: String,
        /// What stands there.
        found: String,
    },
}

/// A file, read from its beginning to the end of its data.
pub(super) struct Container<R> {
    input: R,
    /// The record that was read last, or the records of the chunk.
    body: Vec<u8>,
    /// How much of the chunk is read; none outside of chunks.
    in_chunk: Option<usize>,
    /// Whether the file breaks off after what is in `body`.
    breaks_off: bool,
    ended: bool,
}

impl<R: Read + Seek> Container<R> {
    /// Begins at the beginning.
    ///
    /// # Errors
    /// When the file is no MCAP file, or cannot be read.
    pub(super) fn open(mut input: R) -> Result<Self, String> {
        let mut magic = Vec::new();
        input
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&mut input).take(8).read_to_end(&mut magic))
            .map_err(unreadable)?;
        if magic != mcap::MAGIC {
            return Err(format!(
                "no MCAP file: it begins with '{}'",
                shown_bytes(&magic)
            ));
        }
        Ok(Self {
            input,
            body: Vec::new(),
            in_chunk: None,
            breaks_off: false,
            ended: false,
        })
    }

    /// The file again.
    pub(super) fn into_input(self) -> R {
        self.input
    }

    /// Data of the message that came last.
    pub(super) fn data(&self, range: Range<usize>) -> &[u8] {
        &self.body[range]
    }

    /// What comes next; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Item>, String> {
        loop {
            if let Some(at) = self.in_chunk {
                if let Some(item) = self.next_of_chunk(at) {
                    return Ok(Some(item));
                }
                continue;
            }
            if self.breaks_off && !self.ended {
                self.ended = true;
                return Ok(Some(damage(BREAKS_OFF, "")));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(item) = self.next_of_file()? {
                return Ok(Some(item));
            }
        }
    }

    /// The next record of the chunk that is of use; the chunk may end instead.
    fn next_of_chunk(&mut self, at: usize) -> Option<Item> {
        let rest = &self.body[at..];
        let record = head(rest).and_then(|(code, length)| {
            let end = HEAD.checked_add(usize::try_from(length).ok()?)?;
            (end <= rest.len()).then_some((code, at + HEAD..at + end))
        });
        let Some((code, range)) = record else {
            self.in_chunk = None;
            let is_whole = rest.is_empty() || self.breaks_off;
            return (!is_whole).then(|| damage("a chunk ends within a record", ""));
        };
        self.in_chunk = Some(range.end);
        item(code, &self.body, range)
    }

    /// The next record of the file, if it is of use by itself; a chunk is opened instead.
    fn next_of_file(&mut self) -> Result<Option<Item>, String> {
        self.body.clear();
        self.read(HEAD as u64)?;
        let Some((code, length)) = head(&self.body) else {
            self.breaks_off = true;
            return Ok(None);
        };
        match code {
            op::FOOTER | op::DATA_END => {
                self.ended = true;
                return Ok(None);
            }
            0 => return Err("what follows is no record of an MCAP file".to_owned()),
            op::SCHEMA | op::CHANNEL | op::MESSAGE | op::CHUNK => {}
            _ => return self.pass(length).map(|()| None),
        }
        if length > RECORD_BYTES_MAX {
            self.pass(length)?;
            return Ok(Some(damage(
                "a record of more than 256 MiB is left out",
                &length.to_string(),
            )));
        }
        self.body.clear();
        self.read(length)?;
        self.breaks_off = (self.body.len() as u64) < length;
        if code == op::CHUNK {
            return Ok(self.open_chunk());
        }
        if self.breaks_off {
            return Ok(None);
        }
        Ok(item(code, &self.body, 0..self.body.len()))
    }

    fn read(&mut self, length: u64) -> Result<(), String> {
        (&mut self.input)
            .take(length)
            .read_to_end(&mut self.body)
            .map(drop)
            .map_err(unreadable)
    }

    /// Passes a record that is of no use.
    fn pass(&mut self, length: u64) -> Result<(), String> {
        let passed = std::io::copy(&mut (&mut self.input).take(length), &mut std::io::sink());
        self.breaks_off = passed.map_err(unreadable)? < length;
        Ok(())
    }

    /// Puts the records of the chunk in `body` in its place.
    fn open_chunk(&mut self) -> Option<Item> {
        match decompressed(&self.body, self.breaks_off) {
            Ok(records) => {
                self.body = records;
                self.in_chunk = Some(0);
                None
            }
            // Of a chunk that breaks off so early nothing is there.
            Err(_) if self.breaks_off => None,
            Err((kind, found)) => Some(damage(kind, &found)),
        }
    }
}

fn unreadable(error: std::io::Error) -> String {
    format!("the file cannot be read on: {error}")
}

fn damage(kind: &str, found: &str) -> Item {
    Item::Damage {
        kind: kind.to_owned(),
        found: shown(found),
    }
}

/// What a record is, and how long its body is.
fn head(bytes: &[u8]) -> Option<(u8, u64)> {
    let (code, rest) = bytes.split_first()?;
    Some((*code, u64::from_le_bytes(*rest.first_chunk()?)))
}

/// A record as what comes next, if it is of use.
fn item(code: u8, bytes: &[u8], range: Range<usize>) -> Option<Item> {
    if !matches!(code, op::SCHEMA | op::CHANNEL | op::MESSAGE) {
        return None;
    }
    match mcap::parse_record(code, &bytes[range.clone()]) {
        Ok(Record::Schema { header, data }) => Some(Item::Schema {
            id: header.id,
            name: header.name,
            encoding: header.encoding,
            data: data.into_owned(),
        }),
        Ok(Record::Channel(channel)) => Some(Item::Channel(channel)),
        Ok(Record::Message { header, .. }) => Some(Item::Message {
            channel: header.channel_id,
            log_time: header.log_time,
            publish_time: header.publish_time,
            data: range.start + MESSAGE_HEAD..range.end,
        }),
        Ok(_) => None,
        Err(error) => Some(damage("a record is damaged", &error.to_string())),
    }
}

/// The records of a chunk; as many as can be had of one that breaks off.
fn decompressed(chunk: &[u8], breaks_off: bool) -> Result<Vec<u8>, (&'static str, String)> {
    let short = || ("a chunk is damaged", String::new());
    let (size, rest) = take_u64(chunk.get(16..).ok_or_else(short)?).ok_or_else(short)?;
    let (checksum, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let checksum = u32::from_le_bytes(*checksum);
    let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (compression, rest) = rest.split_at_checked(length).ok_or_else(short)?;
    let (length, rest) = take_u64(rest).ok_or_else(short)?;
    let length = usize::try_from(length).map_err(|_| short())?;
    let data = match rest.get(..length) {
        Some(data) => data,
        None if breaks_off => rest,
        None => return Err(short()),
    };
    if size > RECORD_BYTES_MAX {
        return Err(("a chunk of more than 256 MiB is left out", size.to_string()));
    }
    let mut records = Vec::new();
    let read = match compression {
        b"" => data.take(size).read_to_end(&mut records),
        b"zstd" => zstd::stream::read::Decoder::new(data)
            .and_then(|decoder| decoder.take(size).read_to_end(&mut records)),
        b"lz4" => lz4_flex::frame::FrameDecoder::new(data)
            .take(size)
            .read_to_end(&mut records),
        other => {
            return Err((
                "a chunk is compressed in a way that is not supported (zstd and lz4 are)",
                shown_bytes(other),
            ));
        }
    };
    if breaks_off {
        return Ok(records);
    }
    if let Err(error) = read {
        return Err(("a chunk cannot be decompressed", error.to_string()));
    }
    if records.len() as u64 != size {
        return Err(("a chunk is shorter than it says", String::new()));
    }
    let mut found = flate2::Crc::new();
    found.update(&records);
    if checksum != 0 && checksum != found.sum() {
        return Err((
            "the checksum of a chunk does not fit: it is left out",
            String::new(),
        ));
    }
    Ok(records)
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}
