//! Text, decoded.

use std::io::{self, Read};
use std::sync::Arc;

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::{Input, MAGIC_BYTES};
use crate::records::{Place, ReadError};

const CHUNK_BYTES: usize = 32 << 10;

/// Stands, in decoded text, for bytes that the encoding does not have: no byte of UTF-8.
const UNDECODED: u8 = 0xff;

/// An input as UTF-8, without a byte order mark. Where bytes are none of its encoding, the text is
/// not UTF-8 either.
pub struct Text {
    input: Input,
    decoder: Option<Decoder>,
    is_assumed: bool,
    chunk: Vec<u8>,
    has_ended: bool,
    /// Decoded bytes that a reader has not taken; those before `given` it has.
    decoded: Vec<u8>,
    given: usize,
}

impl Text {
    /// Decodes an input. A byte order mark is believed more than `encoding`.
    ///
    /// # Errors
    /// When there is no such encoding.
    pub fn new(mut input: Input, encoding: Option<&str>) -> Result<Self, ReadError> {
        let (found, mark) = match Encoding::for_bom(input.head()) {
            Some((found, mark)) => (found, mark),
            None => match encoding {
                Some(label) => (by_name(label).map_err(|why| fault(&input, 0, why))?, 0),
                None => (by_look(input.head()), 0),
            },
        };
        let mut skipped = [0; 3];
        let skipped = input.read_exact(&mut skipped[..mark]);
        skipped.map_err(|failed| fault(&input, 0, failed.to_string()))?;
        Ok(Self {
            decoder: (found != UTF_8).then(|| found.new_decoder_without_bom_handling()),
            is_assumed: mark == 0 && encoding.is_none(),
            input,
            chunk: vec![0; CHUNK_BYTES],
            has_ended: false,
            decoded: Vec::new(),
            given: 0,
        })
    }

    /// Name of the input.
    pub fn name(&self) -> &Arc<str> {
        self.input.name()
    }

    /// Whether neither a mark nor a mapping says what the encoding is.
    pub(super) fn is_assumed(&self) -> bool {
        self.is_assumed
    }

    /// Reads and decodes some bytes more; false at the end.
    pub(super) fn fill(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        if self.has_ended {
            return Ok(false);
        }
        let before = into.len();
        let count = loop {
            match self.input.read(&mut self.chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.has_ended = count == 0;
        let chunk = &self.chunk[..count];
        match &mut self.decoder {
            None => into.extend_from_slice(chunk),
            Some(decoder) => decode(decoder, chunk, self.has_ended, into),
        }
        Ok(!self.has_ended || into.len() > before)
    }

    /// An error of the input after so many lines.
    pub(super) fn fault(&self, line: u64, failed: &io::Error) -> ReadError {
        fault(&self.input, line, failed.to_string())
    }
}

impl Read for Text {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.decoded.len() {
            let mut decoded = std::mem::take(&mut self.decoded);
            decoded.clear();
            self.given = 0;
            let more = self.fill(&mut decoded);
            self.decoded = decoded;
            if !more? {
                return Ok(0);
            }
        }
        let rest = &self.decoded[self.given..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
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

/// An encoding by one of its usual names.
///
/// # Errors
/// When there is none of this name.
pub fn by_name(label: &str) -> Result<&'static Encoding, String> {
    let encoding = Encoding::for_label_no_replacement(label.trim().as_bytes());
    encoding.ok_or_else(|| {
        format!(
            "encoding = \"{label}\" is none that is known, such as \"utf-8\", \"windows-1252\", \
             \"latin1\", \"utf-16le\", \"utf-16be\" or \"shift_jis\""
        )
    })
}

/// UTF-16 without a mark is seen by its zeros: every other byte of plain letters is one. Only the
/// bytes count that have come for certain.
fn by_look(head: &[u8]) -> &'static Encoding {
    let head = &head[..head.len().min(MAGIC_BYTES)];
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

fn fault(input: &Input, line: u64, why: String) -> ReadError {
    ReadError {
        place: Place {
            file: input.name().clone(),
            line,
        },
        why,
    }
}
