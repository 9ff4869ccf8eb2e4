//! Messages of ROS: CDR as ROS 2 writes it, and the packed form of ROS 1.
//!
//! A CDR message begins with four bytes that name its byte order; a value of n bytes stands at a
//! multiple of n from behind them. A string is its length, with the NUL at its end, and its bytes.

use std::sync::Arc;

use theatre_schemas::dataset::ARRAY_LENGTH_MAX;

use super::definition::{Definition, Field, Kind, Size};
use crate::json::number;
use crate::records::Cell;
use crate::tree::{DEPTH_MAX, Tree, VALUES_MAX, time};

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// ROS 2.
    Cdr,
    /// ROS 1: little-endian, without gaps.
    Ros1,
}

const BREAKS_OFF: &str = "the message ends within its values";

/// Reads a message.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(
    definition: &Definition,
    encoding: Encoding,
    data: &[u8],
) -> Result<Tree, &'static str> {
    let (big, body) = match (encoding, data) {
        (Encoding::Ros1, body) => (false, body),
        (Encoding::Cdr, [0, 0, _, _, body @ ..]) => (true, body),
        (Encoding::Cdr, [0, 1, _, _, body @ ..]) => (false, body),
        (Encoding::Cdr, [_, _, _, _, ..]) => {
            return Err("the message is in a form of CDR that ROS 2 does not write");
        }
        (Encoding::Cdr, _) => return Err(BREAKS_OFF),
    };
    let mut reader = Reader {
        definition,
        encoding,
        big,
        body,
        at: 0,
        values: 0,
    };
    reader.members(0, 0)
}

struct Reader<'a> {
    definition: &'a Definition,
    encoding: Encoding,
    big: bool,
    body: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let end = self.at.checked_add(count).ok_or(BREAKS_OFF)?;
        let bytes = self.body.get(self.at..end).ok_or(BREAKS_OFF)?;
        self.at = end;
        Ok(bytes)
    }

    fn align(&mut self, width: usize) {
        if self.encoding == Encoding::Cdr {
            self.at = self.at.next_multiple_of(width);
        }
    }

    /// The bytes of a number, little end first.
    fn plain<const WIDTH: usize>(&mut self) -> Result<[u8; WIDTH], &'static str> {
        self.align(WIDTH);
        let mut bytes = [0; WIDTH];
        bytes.copy_from_slice(self.bytes(WIDTH)?);
        if self.big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        Ok(u32::from_le_bytes(self.plain()?))
    }

    fn i32(&mut self) -> Result<i32, &'static str> {
        Ok(i32::from_le_bytes(self.plain()?))
    }

    fn count(&mut self) -> Result<usize, &'static str> {
        Ok(self.u32()? as usize)
    }

    fn text(&mut self) -> Result<String, &'static str> {
        let length = self.count()?;
        let mut bytes = self.bytes(length)?;
        if self.encoding == Encoding::Cdr {
            bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        }
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The members of a type.
    fn members(&mut self, kind: usize, depth: usize) -> Result<Tree, &'static str> {
        let fields = self.definition.types[kind].as_slice();
        if depth >= DEPTH_MAX {
            return Err("the message is nested too deeply (32 levels are taken)");
        }
        if fields.is_empty() && self.encoding == Encoding::Cdr {
            // ROS 2 puts one byte where a type has no members.
            self.bytes(1)?;
        }
        let mut members = Vec::with_capacity(fields.len().min(64));
        for field in fields {
            members.push((Arc::clone(&field.name), self.field(field, depth)?));
        }
        Ok(Tree::Object(members))
    }

    fn field(&mut self, field: &Field, depth: usize) -> Result<Tree, &'static str> {
        let count = match field.size {
            Size::One => return self.value(field.kind, depth),
            Size::Fixed(count) => count,
            Size::Sequence => self.count()?,
        };
        let counted = matches!(field.size, Size::Sequence);
        if let Some(width) = width(field.kind) {
            // Images, point clouds and other bulk is passed in one step.
            let bulk = counted && field.kind == Kind::Byte || count > ARRAY_LENGTH_MAX;
            if bulk && count > 0 {
                self.align(width);
                self.bytes(count.checked_mul(width).ok_or(BREAKS_OFF)?)?;
                return Ok(Tree::Long(count));
            }
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.value(field.kind, depth)?);
        }
        Ok(Tree::List(elements))
    }

    fn value(&mut self, kind: Kind, depth: usize) -> Result<Tree, &'static str> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err("the message has more than a million values");
        }
        Ok(Tree::Leaf(match kind {
            Kind::Bool => Cell::Flag(self.plain::<1>()? != [0]),
            Kind::Byte => Cell::Integer(u8::from_le_bytes(self.plain()?).into()),
            Kind::I8 => Cell::Integer(i8::from_le_bytes(self.plain()?).into()),
            Kind::I16 => Cell::Integer(i16::from_le_bytes(self.plain()?).into()),
            Kind::U16 => Cell::Integer(u16::from_le_bytes(self.plain()?).into()),
            Kind::I32 => Cell::Integer(self.i32()?.into()),
            Kind::U32 => Cell::Integer(self.u32()?.into()),
            Kind::I64 => Cell::Integer(i64::from_le_bytes(self.plain()?)),
            Kind::U64 => {
                let value = u64::from_le_bytes(self.plain()?);
                i64::try_from(value).map_or_else(|_| number(&value.to_string()), Cell::Integer)
            }
            Kind::F32 => Cell::Number(f32::from_le_bytes(self.plain()?).into()),
            Kind::F64 => Cell::Number(f64::from_le_bytes(self.plain()?)),
            Kind::Text => Cell::Text(self.text()?),
            Kind::Time => {
                let seconds = match self.encoding {
                    Encoding::Cdr => self.i32()?.into(),
                    Encoding::Ros1 => self.u32()?.into(),
                };
                time(seconds, self.u32()?.into())
            }
            Kind::Duration => {
                let seconds = self.i32()?;
                let nanos = match self.encoding {
                    Encoding::Cdr => self.u32()?.into(),
                    Encoding::Ros1 => i64::from(self.i32()?),
                };
                Cell::Number(f64::from(seconds) + nanos as f64 / 1e9)
            }
            Kind::Type(kind) => return self.members(kind, depth + 1),
        }))
    }
}

/// Bytes of a number; none for what has no fixed width.
fn width(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Bool | Kind::Byte | Kind::I8 => Some(1),
        Kind::I16 | Kind::U16 => Some(2),
        Kind::I32 | Kind::U32 | Kind::F32 => Some(4),
        Kind::I64 | Kind::U64 | Kind::F64 => Some(8),
        Kind::Text | Kind::Time | Kind::Duration | Kind::Type(_) => None,
    }
}
