//! Records in JSON straight to Avro: no tree of their values is made.
//!
//! This is for records in their usual form: the names of fields as the schema has them, texts without
//! escapes, values of their fields' types. Any other record may be right as well, or be wrong: what
//! it is, and what is wrong with it, [`JsonEncoder::encode`] says.
//!
//! **Invariant:** a record that is encoded here is the one that [`JsonEncoder::encode`] makes of the
//! same text.

#[cfg(test)]
mod tests;

use std::ops::Range;

use serde_json::Value;

use super::text::{Number, Text, micros};
use super::{JsonEncoder, absent, scalar};
use crate::avro_type::{AvroField, AvroType, Logical};
use crate::decode::ID_BYTES_MAX;

/// A type, as it is read.
#[derive(Debug)]
enum Kind {
    Boolean,
    Int,
    Long,
    /// Microseconds since 1970, or milliseconds.
    Time {
        is_millis: bool,
    },
    Float,
    Double,
    String,
    Enum(Vec<String>),
    /// A union with null: the place of null, and the other type with its own.
    Nullable {
        null: u8,
        other: u8,
        kind: Box<Kind>,
    },
    Record(Vec<Field>),
    Array {
        items: Box<Kind>,
        length: Option<usize>,
    },
    /// A type of single values that hardly any field has: a tree of the one value is made.
    Rare(AvroType),
    /// A type whose values are not read here.
    None,
}

#[derive(Debug)]
struct Field {
    /// Its name in quotes.
    name: Vec<u8>,
    kind: Kind,
    /// What is written where it is left out; `None`: it may not be.
    absent: Option<Vec<u8>>,
}

/// A record that was encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Bytes of the text up to its end.
    pub read: usize,
    /// Where in the output its key stands.
    pub key: Range<usize>,
}

/// Encodes records of one schema.
#[derive(Debug)]
pub struct DirectEncoder {
    fields: Vec<Field>,
    /// The field that records are keyed by.
    key: usize,
    /// Another one that is an id, too.
    id: Option<usize>,
}

/// The fields of a record that say where it belongs.
#[derive(Debug, Clone, Copy)]
pub struct RoleFields<'a> {
    /// What records are keyed by.
    pub key: &'a str,
    /// Their time.
    pub time: &'a str,
    /// Another id that they may have.
    pub id: Option<&'a str>,
}

/// What encoding a record needs, made once for many.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Where in the output the values of fields stand, for each record that is open.
    places: Vec<Option<(usize, usize)>>,
    /// Values in the order of the schema.
    sorted: Vec<u8>,
}

impl JsonEncoder {
    /// The same without a tree of values; `None` where a field with a role is nested, an id is no
    /// text or the time may be null.
    pub fn direct(&self, roles: RoleFields<'_>) -> Option<DirectEncoder> {
        let is_text = |field: &AvroField| match &field.avro_type {
            AvroType::String => true,
            AvroType::Union(branches) => {
                let is_one = |branch: &AvroType| matches!(branch, AvroType::String);
                branches.len() == 2 && branches.iter().any(is_one)
            }
            _ => false,
        };
        let place = |name: &str| {
            let is_it = |field: &AvroField| field.name == name && is_text(field);
            self.fields.iter().position(is_it)
        };
        let mut fields_of = self.fields.iter();
        let time = fields_of.find(|field| field.name == roles.time)?;
        if matches!(time.avro_type, AvroType::Union(_)) || time.default.is_some() {
            return None;
        }
        Some(DirectEncoder {
            key: place(roles.key)?,
            id: match roles.id {
                Some(id) => Some(place(id)?),
                None => None,
            },
            fields: fields(&self.fields),
        })
    }
}

fn fields(of: &[AvroField]) -> Vec<Field> {
    let field = |field: &AvroField| Field {
        name: format!("\"{}\"", field.name).into_bytes(),
        kind: Kind::of(&field.avro_type),
        absent: absent(field),
    };
    of.iter().map(field).collect()
}

impl Kind {
    fn of(avro_type: &AvroType) -> Self {
        match avro_type {
            AvroType::Boolean => Self::Boolean,
            AvroType::Int(Logical::None) => Self::Int,
            AvroType::Long(Logical::TimestampMicros) => Self::Time { is_millis: false },
            AvroType::Long(Logical::TimestampMillis) => Self::Time { is_millis: true },
            AvroType::Long(Logical::None) => Self::Long,
            AvroType::Float => Self::Float,
            AvroType::Double => Self::Double,
            AvroType::String => Self::String,
            AvroType::Enum { symbols, .. } => Self::Enum(symbols.clone()),
            AvroType::Record(of) => Self::Record(fields(of)),
            AvroType::Array { items, length } => Self::Array {
                items: Box::new(Self::of(items)),
                length: *length,
            },
            AvroType::Union(branches) => match branches.as_slice() {
                [AvroType::Null, AvroType::Null] => Self::None,
                [AvroType::Null, other] => Self::nullable(0, 1, other),
                [other, AvroType::Null] => Self::nullable(1, 0, other),
                _ => Self::None,
            },
            AvroType::Map(_) | AvroType::Null => Self::None,
            _ => Self::Rare(avro_type.clone()),
        }
    }

    fn nullable(null: u8, other: u8, of: &AvroType) -> Self {
        Self::Nullable {
            null,
            other,
            kind: Box::new(Self::of(of)),
        }
    }
}

impl DirectEncoder {
    /// Appends the record at the beginning of a text as an Avro datum, without a frame. With
    /// `has_lines` it ends before the line does. `None`: it is not in its usual form; then `out`
    /// holds a part of it, which the caller has to drop.
    pub fn encode(
        &self,
        text: &[u8],
        has_lines: bool,
        work: &mut Workspace,
        out: &mut Vec<u8>,
    ) -> Option<Encoded> {
        let mut reader = Reader {
            text: Text::new(text, has_lines),
            work,
        };
        reader.work.places.clear();
        reader.record(&self.fields, out)?;
        let written: &[u8] = out;
        let text = |field: usize| {
            let place = reader.work.places[field]?;
            text_of(written, place, &self.fields[field].kind)
        };
        let key = text(self.key)?;
        let id = self.id.and_then(text);
        // Longer ones are refused, with words.
        if key.len().max(id.map_or(0, |id| id.len())) > ID_BYTES_MAX {
            return None;
        }
        Some(Encoded {
            read: reader.text.read(),
            key,
        })
    }
}

/// Where the text of a value stands.
fn text_of(out: &[u8], (begin, end): (usize, usize), kind: &Kind) -> Option<Range<usize>> {
    let mut begin = begin;
    if let Kind::Nullable { other, .. } = kind {
        if out.get(begin) != Some(&(other << 1)) {
            return None;
        }
        begin += 1;
    }
    // Behind its length, of which the last byte has no highest bit.
    let length = out.get(begin..end)?.iter().position(|byte| *byte < 0x80)?;
    Some(begin + length + 1..end)
}

struct Reader<'a> {
    text: Text<'a>,
    work: &'a mut Workspace,
}

impl Reader<'_> {
    /// Reads a record; the places of its values are then the last ones.
    fn record(&mut self, fields: &[Field], out: &mut Vec<u8>) -> Option<()> {
        if !self.text.takes(b'{') {
            return None;
        }
        let (begin, first) = (out.len(), self.work.places.len());
        self.work.places.resize(first + fields.len(), None);
        // Values come in the schema's order as a rule; then they stand where they belong at once.
        let (mut next, mut is_sorted) = (0, true);
        let mut has_more = !self.text.takes(b'}');
        while has_more {
            let index = self.field(fields, next)?;
            if self.work.places[first + index].is_some() || !self.text.takes(b':') {
                return None;
            }
            is_sorted = is_sorted && index >= next && left_out(&fields[next..index], out);
            let start = out.len();
            self.value(&fields[index].kind, out)?;
            self.work.places[first + index] = Some((start, out.len()));
            next = index + 1;
            has_more = self.text.takes(b',');
            if !has_more && !self.text.takes(b'}') {
                return None;
            }
        }
        if is_sorted {
            if !left_out(&fields[next..], out) {
                return None;
            }
        } else {
            self.sort(fields, (first, begin), out)?;
        }
        Some(())
    }

    /// The field whose name comes next: most likely the one after the last.
    fn field(&mut self, fields: &[Field], next: usize) -> Option<usize> {
        self.text.peek();
        let (before, after) = fields.split_at(next);
        let is_next = |field: &Field, text: &mut Text<'_>| text.takes_word(&field.name);
        let text = &mut self.text;
        let found = after.iter().position(|field| is_next(field, text));
        if let Some(found) = found {
            return Some(next + found);
        }
        before.iter().position(|field| is_next(field, text))
    }

    /// Puts the values of a record in the schema's order.
    fn sort(
        &mut self,
        fields: &[Field],
        (first, begin): (usize, usize),
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let Workspace { places, sorted } = &mut *self.work;
        sorted.clear();
        for (field, place) in fields.iter().zip(&mut places[first..]) {
            let start = begin + sorted.len();
            match *place {
                Some((from, to)) => sorted.extend_from_slice(&out[from..to]),
                None => sorted.extend_from_slice(field.absent.as_deref()?),
            }
            *place = Some((start, begin + sorted.len()));
        }
        out.truncate(begin);
        out.extend_from_slice(sorted);
        Some(())
    }

    fn value(&mut self, kind: &Kind, out: &mut Vec<u8>) -> Option<()> {
        let byte = self.text.peek()?;
        match kind {
            Kind::Boolean => {
                let is_true = self.text.takes_word(b"true");
                (is_true || self.text.takes_word(b"false")).then_some(())?;
                out.push(u8::from(is_true));
            }
            Kind::Int => scalar::varint(i64::from(i32::try_from(self.whole()?).ok()?), out),
            Kind::Long => scalar::varint(self.whole()?, out),
            Kind::Time { is_millis } => scalar::varint(self.time(*is_millis, byte)?, out),
            Kind::Float => {
                let number = self.float(byte)?;
                let narrow = number as f32;
                (narrow.is_finite() || !number.is_finite()).then_some(())?;
                out.extend_from_slice(&narrow.to_le_bytes());
            }
            Kind::Double => out.extend_from_slice(&self.float(byte)?.to_le_bytes()),
            Kind::String => scalar::bytes(self.text.string()?.as_bytes(), out),
            Kind::Enum(symbols) => {
                let symbol = self.text.string()?;
                let index = symbols.iter().position(|known| known == symbol)?;
                scalar::varint(index as i64, out);
            }
            Kind::Nullable { null, .. } if byte == b'n' => {
                self.text.takes_word(b"null").then_some(())?;
                out.push(null << 1);
            }
            Kind::Nullable { other, kind, .. } => {
                out.push(other << 1);
                self.value(kind, out)?;
            }
            Kind::Record(fields) => {
                let before = self.work.places.len();
                self.record(fields, out)?;
                self.work.places.truncate(before);
            }
            Kind::Array { items, length } => self.array(items, *length, out)?,
            Kind::Rare(avro_type) => self.rare(avro_type, byte, out)?,
            Kind::None => return None,
        }
        Some(())
    }

    fn whole(&mut self) -> Option<i64> {
        match self.text.number()? {
            Number::Whole(value) => Some(value),
            Number::Float(_) => None,
        }
    }

    fn float(&mut self, byte: u8) -> Option<f64> {
        if byte == b'"' {
            return scalar::no_number(self.text.string()?);
        }
        Some(match self.text.number()? {
            Number::Whole(value) => value as f64,
            Number::Float(value) => value,
        })
    }

    fn time(&mut self, is_millis: bool, byte: u8) -> Option<i64> {
        let time = match byte {
            b'"' => {
                let text = self.text.string()?;
                micros(text).or_else(|| scalar::micros(text))?
            }
            _ => Some(self.whole()?).filter(|micros| !scalar::is_other_unit(*micros))?,
        };
        Some(if is_millis {
            time.div_euclid(1000)
        } else {
            time
        })
    }

    fn array(&mut self, items: &Kind, length: Option<usize>, out: &mut Vec<u8>) -> Option<()> {
        if !self.text.takes(b'[') {
            return None;
        }
        // How many there are stands before them, and hardly ever takes more than this byte.
        let begin = out.len();
        out.push(0);
        let mut count = 0;
        let mut has_more = !self.text.takes(b']');
        while has_more {
            self.value(items, out)?;
            count += 1;
            has_more = self.text.takes(b',');
            if !has_more && !self.text.takes(b']') {
                return None;
            }
        }
        if length.is_some_and(|length| count > length) {
            return None;
        }
        if count > 0 {
            let mut prefix = Vec::new();
            scalar::varint(count as i64, &mut prefix);
            out.splice(begin..=begin, prefix);
            out.push(0);
        }
        Some(())
    }

    /// A value by way of a tree of it.
    fn rare(&mut self, avro_type: &AvroType, byte: u8, out: &mut Vec<u8>) -> Option<()> {
        let value = match byte {
            b'"' => Value::String(self.text.string()?.to_owned()),
            // A decimal is made of the digits that are there.
            b'-' | b'0'..=b'9' => serde_json::from_slice(self.text.number_as_written()?).ok()?,
            _ => return None,
        };
        scalar::write(avro_type, &value, out).then_some(())
    }
}

/// Writes what stands for fields that are left out; false where one of them may not be, or may come
/// yet.
fn left_out(fields: &[Field], out: &mut Vec<u8>) -> bool {
    let begin = out.len();
    for field in fields {
        let Some(absent) = &field.absent else {
            out.truncate(begin);
            return false;
        };
        out.extend_from_slice(absent);
    }
    true
}
