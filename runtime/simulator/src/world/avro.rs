//! Avro's binary encoding, written straight from the values: the general writer takes many times as
//! long, and a fleet over months is millions of records. A test reads all of them back.

use theatre_schemas::framing;

/// A framed datum that grows field by field, in the order of the schema.
pub(super) struct Datum(Vec<u8>);

impl Datum {
    /// An empty datum of a schema.
    pub(super) fn new(schema_id: u32) -> Self {
        Self(framing::frame(schema_id, &[]))
    }

    /// The framed bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// A long, an int, a date, a time, or the index of an enumeration's symbol.
    pub(super) fn whole(&mut self, value: i64) -> &mut Self {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
        self
    }

    /// A double.
    pub(super) fn double(&mut self, value: f64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Doubles one after the other, as of a record that has nothing else.
    pub(super) fn doubles(&mut self, values: &[f64]) -> &mut Self {
        for value in values {
            self.double(*value);
        }
        self
    }

    /// A boolean.
    pub(super) fn boolean(&mut self, value: bool) -> &mut Self {
        self.0.push(u8::from(value));
        self
    }

    /// A string.
    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.whole(value.len() as i64);
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// The index of a symbol; the first one, `unknown`, for a name that is none.
    pub(super) fn symbol(&mut self, symbols: &[&str], name: &str) -> &mut Self {
        let found = symbols.iter().position(|symbol| *symbol == name);
        self.whole(found.unwrap_or_default() as i64)
    }

    /// A value that may be null.
    pub(super) fn optional<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T),
    ) -> &mut Self {
        self.whole(i64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    /// A string that may be null.
    pub(super) fn optional_text(&mut self, value: Option<&str>) -> &mut Self {
        self.optional(value, |datum, value| {
            datum.text(value);
        })
    }

    /// A whole number that may be null.
    pub(super) fn optional_whole(&mut self, value: Option<i64>) -> &mut Self {
        self.optional(value, |datum, value| {
            datum.whole(value);
        })
    }

    /// A double that may be null.
    pub(super) fn optional_double(&mut self, value: Option<f64>) -> &mut Self {
        self.optional(value, |datum, value| {
            datum.double(value);
        })
    }

    /// A decimal by its unscaled value, which may be null.
    pub(super) fn optional_decimal(&mut self, unscaled: Option<i64>) -> &mut Self {
        self.optional(unscaled, |datum, unscaled| {
            datum.whole(8);
            datum.0.extend_from_slice(&unscaled.to_be_bytes());
        })
    }

    /// An array.
    pub(super) fn array<T>(
        &mut self,
        items: &[T],
        mut write: impl FnMut(&mut Self, &T),
    ) -> &mut Self {
        if !items.is_empty() {
            self.whole(items.len() as i64);
            for item in items {
                write(self, item);
            }
        }
        self.whole(0)
    }
}
