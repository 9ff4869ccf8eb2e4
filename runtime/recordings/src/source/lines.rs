//! Lines of a text, decoded, with their numbers in the file.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::Input;
use crate::records::{Place, ReadError};

/// A line with more bytes than this is refused, which bounds memory.
pub const LINE_BYTES_MAX: usize = 1 << 20;

const CHUNK_BYTES: usize = 32 << 10;

/// Stands, in decoded text, for bytes that the encoding does not have: no byte of UTF-8.
const UNDECODED: u8 = 0xff;

/// Why a line is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFault {
    /// It has bytes that its encoding does not have.
    NotText {
        /// The encoding is assumed, not said.
        is_assumed: bool,
    },
    /// It has more than [`LINE_BYTES_MAX`] bytes.
    TooLong,
    /// It has a NUL.
    Nul,
}

impl LineFault {
    /// In words, with what to do.
    pub fn kind(self) -> &'static str {
        match self {
            Self::NotText { is_assumed: true } => {
                "not UTF-8: say what it is in the mapping, such as encoding = \"windows-1252\""
            }
            Self::NotText { is_assumed: false } => {
                "bytes that the encoding of the mapping (or of the byte order mark) does not have"
            }
            Self::TooLong => {
                "a line of more than 1 MiB: no table of text, or not with this delimiter and encoding"
            }
            Self::Nul => "a NUL in the line, as in files that were not written to the end",
        }
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its text without the end of the line; or why it is none, and what can be shown of it.
    pub text: Result<String, (LineFault, String)>,
}

/// The lines of an input. A line ends with LF, CR LF or CR.
pub struct Lines {
    input: Input,
    decoder: Option<Decoder>,
    is_assumed: bool,
    /// Decoded bytes; those before `start` are taken.
    buffer: Vec<u8>,
    start: usize,
    chunk: Vec<u8>,
    has_ended: bool,
    /// The line before ended with CR: an LF now belongs to it.
    after_cr: bool,
    number: u64,
}

impl Lines {
    /// Begins with the first line. A byte order mark is believed more than `encoding`.
    ///
    /// # Errors
    /// When there is no such encoding.
    pub fn new(input: Input, encoding: Option<&str>) -> Result<Self, ReadError> {
        let (found, mark) = match Encoding::for_bom(input.head()) {
            Some((found, mark)) => (found, mark),
            None => match encoding {
                Some(label) => (by_name(label).map_err(|why| error(&input, 0, why))?, 0),
                None => (by_look(input.head()), 0),
            },
        };
        let is_assumed = mark == 0 && encoding.is_none();
        let mut lines = Self {
            decoder: (found != UTF_8).then(|| found.new_decoder_without_bom_handling()),
            is_assumed,
            input,
            buffer: Vec::new(),
            start: 0,
            chunk: vec![0; CHUNK_BYTES],
            has_ended: false,
            after_cr: false,
            number: 0,
        };
        let mut skipped = [0; 3];
        let skipped = lines.input.read_exact(&mut skipped[..mark]);
        skipped.map_err(|failed| error(&lines.input, 0, failed.to_string()))?;
        Ok(lines)
    }

    /// Name of the input.
    pub fn name(&self) -> &std::sync::Arc<str> {
        self.input.name()
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the input cannot be read any further. A last line without its end that was being read
    /// is lost with it.
    pub fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        // What was taken goes away in one move for many lines.
        if self.start == self.buffer.len() || self.start >= CHUNK_BYTES {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let mut looked_at = self.start;
        let mut dropped = false;
        loop {
            if self.after_cr && self.start < self.buffer.len() {
                self.after_cr = false;
                if self.buffer[self.start] == b'\n' {
                    self.start += 1;
                }
                looked_at = self.start;
            }
            let rest = &self.buffer[looked_at..];
            if let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                let end = looked_at + at;
                let line = self.take(end, dropped);
                self.after_cr = self.buffer[end] == b'\r';
                self.start = end + 1;
                return Ok(Some(line));
            }
            looked_at = self.buffer.len();
            if looked_at - self.start > LINE_BYTES_MAX {
                // Only the beginning is kept, to be shown.
                dropped = true;
                self.buffer.truncate(self.start + 200);
                looked_at = self.buffer.len();
            }
            if !self
                .fill()
                .map_err(|failed| error(&self.input, self.number, failed.to_string()))?
            {
                if self.start >= self.buffer.len() {
                    return Ok(None);
                }
                let end = self.buffer.len();
                let line = self.take(end, dropped);
                self.start = end;
                return Ok(Some(line));
            }
        }
    }

    /// Bytes of memory that it holds for lines.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    fn take(&mut self, end: usize, dropped: bool) -> Line {
        self.number += 1;
        let bytes = &self.buffer[self.start..end];
        let text = if dropped || bytes.len() > LINE_BYTES_MAX {
            Err(LineFault::TooLong)
        } else if bytes.contains(&0) {
            Err(LineFault::Nul)
        } else {
            std::str::from_utf8(bytes).map_err(|_| LineFault::NotText {
                is_assumed: self.is_assumed,
            })
        };
        let text = match text {
            Ok(text) => Ok(text.to_owned()),
            Err(fault) => {
                let begins = &bytes[..bytes.len().min(200)];
                Err((fault, String::from_utf8_lossy(begins).into_owned()))
            }
        };
        Line {
            number: self.number,
            text,
        }
    }

    /// Reads and decodes some bytes more; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.has_ended {
            return Ok(false);
        }
        let count = loop {
            match self.input.read(&mut self.chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.has_ended = count == 0;
        let chunk = &self.chunk[..count];
        match &mut self.decoder {
            None => self.buffer.extend_from_slice(chunk),
            Some(decoder) => decode(decoder, chunk, self.has_ended, &mut self.buffer),
        }
        Ok(!self.has_ended || self.start < self.buffer.len())
    }
}

/// Decodes all of `bytes`.
fn decode(decoder: &mut Decoder, mut bytes: &[u8], is_last: bool, into: &mut Vec<u8>) {
    loop {
        let room = decoder
            .max_utf8_buffer_length_without_replacement(bytes.len())
            .unwrap_or(bytes.len() * 4 + 16);
        let from = into.len();
        into.resize(from + room, 0);
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(bytes, &mut into[from..], is_last);
        into.truncate(from + written);
        bytes = &bytes[read..];
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => into.push(UNDECODED),
        }
    }
}

fn by_name(label: &str) -> Result<&'static Encoding, String> {
    let encoding = Encoding::for_label_no_replacement(label.trim().as_bytes());
    encoding.ok_or_else(|| {
        format!(
            "encoding = \"{label}\" is none that is known, such as \"utf-8\", \"windows-1252\", \
             \"latin1\", \"utf-16le\", \"utf-16be\" or \"shift_jis\""
        )
    })
}

/// UTF-16 without a mark is seen by its zeros: every other byte of plain letters is one.
fn by_look(head: &[u8]) -> &'static Encoding {
    let zeros = |from: usize| {
        head.iter()
            .skip(from)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let (first, second) = (zeros(0), zeros(1));
    let half = head.len() / 2;
    if half < 2 {
        UTF_8
    } else if first == 0 && second * 10 >= half * 9 {
        UTF_16LE
    } else if second == 0 && first * 10 >= half * 9 {
        UTF_16BE
    } else {
        UTF_8
    }
}

fn error(input: &Input, line: u64, why: String) -> ReadError {
    ReadError {
        place: Place {
            file: input.name().clone(),
            line,
        },
        why,
    }
}
