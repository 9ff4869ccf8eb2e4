//! Records in JSON, of which one at a time is in memory, and no more of it than a record may have: a
//! body of a few bytes a value would take a hundred times its length otherwise.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, Map, Number, Value};

/// Deepest nesting of a record: no schema is nested deeper.
pub(super) const DEPTH_MAX: usize = 32;
/// Most values of a record, those that hold others included.
pub(super) const VALUES_MAX: usize = 1 << 16;

/// What was read of a record.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    Whole(Value),
    /// It has more values, is nested deeper or has longer texts than a record may.
    TooLarge,
}

/// Reads one record, with at most so many bytes of texts and names.
///
/// # Errors
/// When it is no JSON.
pub(super) fn record(body: &[u8], text_max: usize) -> serde_json::Result<Read> {
    let mut deserializer = Deserializer::from_slice(body);
    let mut room = Room::new(text_max);
    let value = Bounded::new(&mut room).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(room.read(value))
}

/// Reads the records of an array, or the only one, until `each` says that it wants no more.
///
/// # Errors
/// When what was read is no JSON.
pub(super) fn records(
    body: &[u8],
    text_max: usize,
    mut each: impl FnMut(Read) -> bool,
) -> serde_json::Result<()> {
    if body.trim_ascii_start().first() != Some(&b'[') {
        each(record(body, text_max)?);
        return Ok(());
    }
    let mut deserializer = Deserializer::from_slice(body);
    let mut has_enough = false;
    let read = deserializer.deserialize_seq(Elements {
        text_max,
        each,
        has_enough: &mut has_enough,
    });
    if has_enough {
        return Ok(());
    }
    read?;
    deserializer.end()
}

struct Elements<'a, Each> {
    text_max: usize,
    each: Each,
    has_enough: &'a mut bool,
}

impl<'de, Each: FnMut(Read) -> bool> Visitor<'de> for Elements<'_, Each> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        loop {
            let mut room = Room::new(self.text_max);
            let Some(value) = elements.next_element_seed(Bounded::new(&mut room))? else {
                return Ok(());
            };
            if !(self.each)(room.read(value)) {
                *self.has_enough = true;
                return Err(serde::de::Error::custom("no more is wanted"));
            }
        }
    }
}

/// What a record may still have.
struct Room {
    values: usize,
    text: usize,
    is_exceeded: bool,
}

impl Room {
    fn new(text_max: usize) -> Self {
        Self {
            values: VALUES_MAX,
            text: text_max,
            is_exceeded: false,
        }
    }

    /// Takes room for a value at this depth; false: there is none, nor for any that follows.
    fn takes_value(&mut self, depth: usize) -> bool {
        match self.values.checked_sub(1) {
            Some(left) if depth <= DEPTH_MAX && !self.is_exceeded => self.values = left,
            _ => self.is_exceeded = true,
        }
        !self.is_exceeded
    }

    /// The same for a text or a name.
    fn takes_text(&mut self, text: &str) -> bool {
        match self.text.checked_sub(text.len()) {
            Some(left) if !self.is_exceeded => self.text = left,
            _ => self.is_exceeded = true,
        }
        !self.is_exceeded
    }

    fn read(&self, value: Value) -> Read {
        if self.is_exceeded {
            Read::TooLarge
        } else {
            Read::Whole(value)
        }
    }
}

/// Makes a value as far as there is room; the rest is passed over.
struct Bounded<'a> {
    room: &'a mut Room,
    depth: usize,
}

impl<'a> Bounded<'a> {
    fn new(room: &'a mut Room) -> Self {
        Self { room, depth: 0 }
    }

    fn inner(&mut self) -> Bounded<'_> {
        Bounded {
            room: &mut *self.room,
            depth: self.depth + 1,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        if self.room.takes_value(self.depth) {
            return from.deserialize_any(self);
        }
        from.deserialize_ignored_any(IgnoredAny)?;
        Ok(Value::Null)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value in JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(if self.room.takes_text(text) {
            text.into()
        } else {
            Value::Null
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(self.inner())? {
            if !self.room.is_exceeded {
                values.push(value);
            }
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let has_room = self.room.takes_text(&name);
            let value = entries.next_value_seed(self.inner())?;
            if has_room && !self.room.is_exceeded {
                if values.contains_key(&name) {
                    // Either could be meant.
                    return Err(serde::de::Error::custom(format!(
                        "the key '{name}' comes twice in one object"
                    )));
                }
                values.insert(name, value);
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(body: &str) -> Result<Vec<Read>, String> {
        let mut read = Vec::new();
        let done = records(body.as_bytes(), 100, |record| {
            read.push(record);
            true
        });
        done.map(|()| read).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_that_comes_twice_is_no_value() {
        for text in [r#"{"a": 1, "a": 2}"#, r#"[{"b": {"a": 1, "a": 1}}]"#] {
            let why = all(text).unwrap_err();
            assert!(why.contains("'a' comes twice"), "{why}");
        }
    }

    #[test]
    fn a_value_is_what_the_library_makes_of_it() {
        for text in [
            "null",
            "true",
            "-0",
            "-9223372036854775808",
            "18446744073709551615",
            "1e400000000000000000000",
            "1.7976931348623157e308",
            "0.1",
            r#""\u00e4\ud83e\udd16""#,
            r#"{"a": [1, {"b": null}], "c": {}}"#,
            "[",
            "{\"a\"}",
            "7 8",
            "",
        ] {
            let ours = record(text.as_bytes(), 100).ok();
            let theirs = serde_json::from_str(text).ok().map(Read::Whole);
            assert_eq!(ours, theirs, "{text}");
        }
    }

    #[test]
    fn an_array_is_read_record_by_record_and_anything_else_is_one() {
        let whole = |value: Value| Read::Whole(value);
        assert!(all("[]").unwrap().is_empty());
        assert_eq!(
            all(" [{\"a\": 1}, 7]\n").unwrap(),
            [whole(json!({"a": 1})), whole(json!(7))]
        );
        assert_eq!(all("{\"a\": 1}").unwrap(), [whole(json!({"a": 1}))]);
        for wrong in ["[1,]", "[1 2]", "[1] 2", "[", "[1", "{} {}", "nothing"] {
            assert!(all(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_larger_than_a_record_may_be_is_passed_over_and_the_next_one_is_read() {
        let deep = |levels: usize| format!("{}7{}", "[".repeat(levels), "]".repeat(levels));
        let wide = |values: usize| format!("[{}]", vec!["0"; values].join(","));
        for (what, fits, too_large) in [
            ("depth", deep(DEPTH_MAX), deep(DEPTH_MAX + 1)),
            ("far too deep", deep(1), deep(100_000)),
            ("values", wide(VALUES_MAX - 1), wide(VALUES_MAX)),
            (
                "text",
                format!("\"{}\"", "x".repeat(100)),
                format!("\"{}\"", "x".repeat(101)),
            ),
            (
                "texts together",
                format!("[\"{0}\", \"{0}\"]", "x".repeat(50)),
                format!("[\"{0}\", \"{0}x\"]", "x".repeat(50)),
            ),
            (
                "a name",
                format!("{{\"{}\": 1}}", "x".repeat(100)),
                format!("{{\"{}\": 1}}", "x".repeat(101)),
            ),
        ] {
            let read = all(&format!("[{fits}, {too_large}, {fits}]")).unwrap();
            let whole = Read::Whole(serde_json::from_str(&fits).unwrap());
            assert!(read[0] == whole && read[2] == whole, "{what}");
            assert!(read[1] == Read::TooLarge, "{what}");
            assert_eq!(read.len(), 3, "{what}");
        }
    }

    #[test]
    fn nothing_is_read_after_the_last_record_that_is_wanted() {
        let mut count = 0;
        records(b"[0, 1, 2, nonsense", 100, |_| {
            count += 1;
            count < 2
        })
        .unwrap();
        assert_eq!(count, 2);
    }
}
