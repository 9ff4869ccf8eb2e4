//! Files of JSON objects: one object a line, or one array of objects as the whole file.
//!
//! Objects are flattened (nested ones become `a.b`, elements of arrays `a[0]`), numbers stay exact.
//! Columns are found in the first objects (see [`ColumnSearch`]). A line that is no object is a
//! refusal; memory is bounded by the longest object that is taken.

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::Arc;

use crate::column_search::{ColumnSearch, Columns};
use crate::json::{self, shown_bytes};
use crate::records::{Cell, Place, ReadError, Record, Records, Refusal};
use crate::source::BYTE_ORDER_MARK;

/// Most bytes of one object; a longer one is refused.
const OBJECT_BYTES_MAX: usize = 16 << 20;

/// Most bytes of the objects that are kept while columns are searched.
const SEARCH_BYTES_MAX: usize = 16 << 20;

/// A file of JSON objects.
pub struct Ndjson<R> {
    objects: Objects<R>,
    columns: Columns,
    /// Objects that were read while columns were searched.
    read_ahead: VecDeque<Result<Record, Refusal>>,
    /// Why the file cannot be read on after them.
    failed: Option<ReadError>,
}

impl<R: BufRead> Ndjson<R> {
    /// Opens a file of which `input` gives the text, and finds its columns.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(file: Arc<str>, input: R, search: &ColumnSearch<'_>) -> Result<Self, ReadError> {
        let mut opened = Self {
            objects: Objects::open(file, input)?,
            columns: Columns::default(),
            read_ahead: VecDeque::new(),
            failed: None,
        };
        let mut bytes = 0;
        let mut whole = true;
        loop {
            if opened.read_ahead.len() >= search.records || bytes > SEARCH_BYTES_MAX {
                whole = false;
                break;
            }
            match opened.read() {
                Ok(Some(record)) => {
                    bytes += opened.objects.bytes.len();
                    opened.read_ahead.push_back(record);
                }
                Ok(None) => break,
                // What came before is taken first.
                Err(error) if opened.read_ahead.is_empty() => return Err(error),
                Err(error) => {
                    opened.failed = Some(error);
                    break;
                }
            }
        }
        opened
            .columns
            .close(if whole { &[] } else { search.wanted });
        Ok(opened)
    }

    /// The next object of the input as a record of the columns that are known.
    fn read(&mut self) -> Result<Option<Result<Record, Refusal>>, ReadError> {
        let Some(found) = self.objects.next()? else {
            return Ok(None);
        };
        let place = self.objects.place.clone();
        let refuse = |kind: &str, found: String| {
            Ok(Some(Err(Refusal {
                place: place.clone(),
                kind: kind.to_owned(),
                found,
            })))
        };
        if let Found::Refused(kind) = found {
            return refuse(kind, shown_bytes(&self.objects.bytes));
        }
        // Files that were joined have the marks of all of them.
        let object = &self.objects.bytes;
        let object = object.strip_prefix(BYTE_ORDER_MARK).unwrap_or(object);
        let taken =
            json::parse(object).and_then(|tree| self.columns.record(tree, false, place.line));
        match taken {
            Ok(cells) => Ok(Some(Ok(Record { place, cells }))),
            Err(fault) => refuse(fault.kind, fault.found),
        }
    }
}

impl<R: BufRead + Send> Records for Ndjson<R> {
    fn columns(&self) -> &[String] {
        self.columns.names()
    }

    fn next_record(&mut self) -> Result<Option<Result<Record, Refusal>>, ReadError> {
        let mut next = match self.read_ahead.pop_front() {
            Some(record) => Some(record),
            None => match self.failed.take() {
                Some(error) => return Err(error),
                None => self.read()?,
            },
        };
        if let Some(Ok(record)) = &mut next {
            // Columns may have been found after the record.
            record
                .cells
                .resize(self.columns.names().len(), Cell::Missing);
        }
        Ok(next)
    }

    fn left_out(&self) -> u64 {
        self.objects.blank
    }

    fn remarks(&self) -> Vec<String> {
        self.columns.remarks()
    }
}

/// What the next object is.
enum Found {
    /// Its text is in `bytes`.
    Object,
    /// It is refused as this.
    Refused(&'static str),
}

/// The texts of the objects of a file.
struct Objects<R> {
    input: R,
    /// Where the object begins that was read last.
    place: Place,
    /// Its text.
    bytes: Vec<u8>,
    /// Number of the line that is read next.
    line: u64,
    /// Lines so far that hold nothing.
    blank: u64,
    form: Form,
}

#[derive(PartialEq)]
enum Form {
    Lines,
    Array,
    Ended,
}

impl<R: BufRead> Objects<R> {
    fn open(file: Arc<str>, input: R) -> Result<Self, ReadError> {
        let mut opened = Self {
            input,
            place: Place { file, line: 1 },
            bytes: Vec::new(),
            line: 1,
            blank: 0,
            form: Form::Lines,
        };
        for expected in *b"\xef\xbb\xbf" {
            if opened.peek()? != Some(expected) {
                break;
            }
            opened.input.consume(1);
        }
        if opened.skip_blanks()? == Some(b'[') {
            opened.input.consume(1);
            opened.form = Form::Array;
        }
        Ok(opened)
    }

    fn failed(&self, error: &std::io::Error) -> ReadError {
        let mut place = self.place.clone();
        place.line = self.line;
        ReadError {
            place,
            why: format!("the file cannot be read on: {error}"),
        }
    }

    fn broken_off(&mut self) -> ReadError {
        self.form = Form::Ended;
        let mut place = self.place.clone();
        place.line = self.line;
        ReadError {
            place,
            why: "the file ends within its array: it was cut off, so copy it again".to_owned(),
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, ReadError> {
        match self.input.fill_buf() {
            Ok(buffer) => Ok(buffer.first().copied()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => self.peek(),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Passes blanks and ends of lines; gives the byte behind them.
    fn skip_blanks(&mut self) -> Result<Option<u8>, ReadError> {
        loop {
            match self.peek()? {
                Some(b'\n') => {
                    self.line += 1;
                    self.blank += u64::from(self.form == Form::Lines);
                }
                Some(b' ' | b'\t' | b'\r') => {}
                other => return Ok(other),
            }
            self.input.consume(1);
        }
    }

    fn next(&mut self) -> Result<Option<Found>, ReadError> {
        if self.form == Form::Ended {
            return Ok(None);
        }
        let mut first = self.skip_blanks()?;
        while self.form == Form::Array && first == Some(b',') {
            self.input.consume(1);
            first = self.skip_blanks()?;
        }
        self.place.line = self.line;
        self.bytes.clear();
        match (&self.form, first) {
            (Form::Lines, None) => Ok(None),
            (Form::Lines, Some(_)) => self.line().map(Some),
            (_, None) => Err(self.broken_off()),
            (_, Some(b']')) => {
                self.input.consume(1);
                self.form = Form::Ended;
                if self.skip_blanks()?.is_none() {
                    return Ok(None);
                }
                self.place.line = self.line;
                Ok(Some(Found::Refused(
                    "more follows after the array of objects; it is not read",
                )))
            }
            (_, Some(_)) => self.element().map(Some),
        }
    }

    /// Takes up to an end of line, which is passed.
    fn line(&mut self) -> Result<Found, ReadError> {
        let mut too_long = false;
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(&error)),
            };
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let length = end.unwrap_or(buffer.len());
            let room = OBJECT_BYTES_MAX - self.bytes.len();
            too_long |= length > room;
            self.bytes.extend_from_slice(&buffer[..length.min(room)]);
            let ended = end.is_some() || buffer.is_empty();
            self.input.consume(length + usize::from(end.is_some()));
            if ended {
                self.line += u64::from(end.is_some());
                break;
            }
        }
        Ok(if too_long {
            Found::Refused("the line is longer than 16 MiB")
        } else {
            Found::Object
        })
    }

    /// Takes an element of the array, up to the comma or bracket behind it.
    fn element(&mut self) -> Result<Found, ReadError> {
        let (mut depth, mut in_string, mut escaped, mut too_long) = (0u64, false, false, false);
        loop {
            let Some(byte) = self.peek()? else {
                if depth == 0 && !in_string && self.bytes.trim_ascii_end().ends_with(b"}") {
                    // The object is whole; the file ends before what follows it.
                    break;
                }
                return Err(self.broken_off());
            };
            if in_string {
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else {
                match byte {
                    b'"' => in_string = true,
                    b'{' | b'[' => depth += 1,
                    b',' | b']' if depth == 0 => break,
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            if byte == b'\n' {
                self.line += 1;
            }
            if self.bytes.len() < OBJECT_BYTES_MAX {
                self.bytes.push(byte);
            } else {
                too_long = true;
            }
            self.input.consume(1);
        }
        Ok(if too_long {
            Found::Refused("the object is longer than 16 MiB")
        } else {
            Found::Object
        })
    }
}

#[cfg(test)]
mod tests;
