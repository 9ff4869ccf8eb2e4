//! Bodies of JSON: an array of records, or one a line. Records in their usual form become Avro
//! without a tree of their values; of any other one is made, as it is of what is wrong with it.

use serde::de::IgnoredAny;
use serde_json::Deserializer;
use theatre_actors::ports::NewRecord;
use theatre_schemas::encode::Workspace;
use theatre_schemas::framing;

use super::json::{self, DEPTH_MAX, Read, VALUES_MAX};
use super::records::{Bounds, DatasetEncoder, Parsed, fault};
use super::reject;
use crate::problem::{Answer, Problem};

/// What is made once for all records of a body.
struct Scratch {
    /// A record, in its frame.
    value: Vec<u8>,
    work: Workspace,
    /// Bytes of `value` that are the frame's.
    frame: usize,
    bounds: Bounds,
    /// Bytes of a record in JSON, within which it has no more values and texts than it may.
    longest: usize,
    has_lines: bool,
}

impl Scratch {
    fn new(encoder: &DatasetEncoder, bounds: Bounds, has_lines: bool) -> Self {
        let value = framing::frame(encoder.schema_id, &[]);
        Self {
            frame: value.len(),
            value,
            work: Workspace::default(),
            bounds,
            longest: bounds.text().min(VALUES_MAX),
            has_lines,
        }
    }
}

impl DatasetEncoder {
    pub(super) fn json(&self, body: &[u8], bounds: Bounds, parsed: &mut Parsed) -> Answer<()> {
        if self.array(body, bounds, parsed).is_some() {
            return Ok(());
        }
        // It is one record, or no JSON: reading it from the beginning finds where it is not.
        *parsed = Parsed::default();
        let mut index = 0;
        json::records(body, bounds.text(), |record| {
            self.push_read(index, record, bounds, parsed);
            index += 1;
            bounds.wants_more(parsed)
        })
        .map_err(|error| Problem::bad(format!("the body is no JSON: {error}")))
    }

    /// The records of an array; `None` for any other body.
    fn array(&self, body: &[u8], bounds: Bounds, parsed: &mut Parsed) -> Option<()> {
        let mut scratch = Scratch::new(self, bounds, false);
        let mut rest = after_space(after_space(body).strip_prefix(b"[")?);
        let mut index = 0;
        let mut has_more = rest.first() != Some(&b']');
        if !has_more {
            rest = &rest[1..];
        }
        while has_more {
            let length = match self.push_direct(rest, &mut scratch, parsed) {
                Some(length) => length,
                None => {
                    let length = value_length(rest)?;
                    let record = json::record(&rest[..length], bounds.text()).ok()?;
                    self.push_read(index, record, bounds, parsed);
                    length
                }
            };
            if !bounds.wants_more(parsed) {
                return Some(());
            }
            index += 1;
            let (next, behind) = after_space(&rest[length..]).split_first()?;
            has_more = *next == b',';
            if !has_more && *next != b']' {
                return None;
            }
            rest = after_space(behind);
        }
        after_space(rest).is_empty().then_some(())
    }

    pub(super) fn lines(&self, body: &[u8], bounds: Bounds, parsed: &mut Parsed) {
        let mut scratch = Scratch::new(self, bounds, true);
        let mut rest = body.trim_ascii_start();
        let mut index = 0;
        while !rest.is_empty() {
            let length = match self.push_direct(rest, &mut scratch, parsed) {
                Some(length) => length,
                None => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    let length = end.unwrap_or(rest.len());
                    match json::record(rest[..length].trim_ascii(), bounds.text()) {
                        Ok(record) => self.push_read(index, record, bounds, parsed),
                        Err(error) => {
                            reject(parsed, index, vec![fault("an object in JSON", &error)]);
                        }
                    }
                    length
                }
            };
            if !bounds.wants_more(parsed) {
                break;
            }
            index += 1;
            rest = rest[length..].trim_ascii_start();
        }
    }

    /// Takes the record at the beginning of a text, where it is in its usual form and as it may be;
    /// returns how long it is there.
    fn push_direct(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        parsed: &mut Parsed,
    ) -> Option<usize> {
        let Scratch { value, work, .. } = scratch;
        value.truncate(scratch.frame);
        let of_record = &text[..text.len().min(scratch.longest)];
        let direct = self.direct.as_ref()?;
        let encoded = direct.encode(of_record, scratch.has_lines, work, value)?;
        let key = value.get(encoded.key).filter(|key| !key.is_empty())?;
        let is_alone = !scratch.has_lines || ends_line(&text[encoded.read..]);
        if !is_alone || value.len() > scratch.bounds.record_bytes {
            return None;
        }
        parsed.records.push(NewRecord {
            key: key.to_vec(),
            value: value.clone(),
            headers: Vec::new(),
        });
        Some(encoded.read)
    }

    fn push_read(&self, index: u64, record: Read, bounds: Bounds, parsed: &mut Parsed) {
        match record {
            Read::Whole(record) => self.push(index, &record, bounds.record_bytes, parsed),
            Read::TooLarge => {
                let expected = format!(
                    "at most {VALUES_MAX} values, nested at most {DEPTH_MAX} deep, with at most {} bytes of texts and names",
                    bounds.text()
                );
                reject(parsed, index, vec![fault(&expected, &"a larger record")]);
            }
        }
    }
}

/// Whether nothing but space is left of a line.
fn ends_line(text: &[u8]) -> bool {
    let is_end = |byte: &u8| *byte == b'\n' || !byte.is_ascii_whitespace();
    let end = text.iter().find(|byte| is_end(byte));
    end.is_none_or(|byte| *byte == b'\n')
}

/// What follows the space that JSON knows.
fn after_space(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let begin = text.iter().position(is_text).unwrap_or(text.len());
    &text[begin..]
}

/// Length of the value at the beginning of a text; `None` where there is none.
fn value_length(text: &[u8]) -> Option<usize> {
    let mut values = Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}
