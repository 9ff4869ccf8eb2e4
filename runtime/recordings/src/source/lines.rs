//! Lines of a text, decoded, with their numbers in the file.

use super::Input;
use super::text::Text;
use crate::records::ReadError;

/// A line with more bytes than this is refused, which bounds memory.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The mark at the beginning of a text, in UTF-8: within a line it is nothing that is seen.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Taken lines are given up together, this many bytes of them.
const TAKEN_BYTES: usize = 32 << 10;

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

    /// In words where the header should stand.
    pub(crate) fn of_header(self) -> String {
        match self {
            Self::Nul => "there is a NUL in the first line: this is no text but a file of another kind, or text in an encoding that the mapping must name".to_owned(),
            fault => format!("the header is {}", fault.kind()),
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
    text: Text,
    /// Decoded bytes; those before `start` are taken.
    buffer: Vec<u8>,
    start: usize,
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
        Ok(Self {
            text: Text::new(input, encoding)?,
            buffer: Vec::new(),
            start: 0,
            after_cr: false,
            number: 0,
        })
    }

    /// Name of the input.
    pub fn name(&self) -> &std::sync::Arc<str> {
        self.text.name()
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the input cannot be read any further. A last line without its end that was being read
    /// is lost with it.
    pub fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        // What was taken goes away in one move for many lines.
        if self.start == self.buffer.len() || self.start >= TAKEN_BYTES {
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
                .text
                .fill(&mut self.buffer)
                .map_err(|failed| self.text.fault(self.number, &failed))?
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
        let mut bytes = &self.buffer[self.start..end];
        // Files that were joined have the marks of all of them.
        while let Some(rest) = bytes.strip_prefix(BYTE_ORDER_MARK) {
            bytes = rest;
        }
        let text = if dropped || bytes.len() > LINE_BYTES_MAX {
            Err(LineFault::TooLong)
        } else if bytes.contains(&0) {
            Err(LineFault::Nul)
        } else {
            std::str::from_utf8(bytes).map_err(|_| LineFault::NotText {
                is_assumed: self.text.is_assumed(),
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
}
