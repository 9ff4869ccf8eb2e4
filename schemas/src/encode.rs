//! JSON to Avro by a schema: what a program sends over HTTP becomes the bytes that a robot would
//! have written.
//!
//! A value has the JSON type that one expects of its Avro type: numbers, booleans, texts, objects
//! and arrays. A nullable field may be left out; so may one with a default. A time is a text of RFC
//! 3339 or a number of microseconds since 1970; a date is `YYYY-MM-DD` or a number of days; a
//! decimal is a text or a number; bytes are text in hex. Numbers that JSON has no form for are the
//! texts `NaN`, `Infinity` and `-Infinity`. A key may be a path, as columns are called:
//! `arm_position.x`, `joints[2].current`.

mod direct;
mod scalar;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::avro_type::{self, AvroField, AvroType};
use crate::dataset::SchemaError;

pub use direct::{DirectEncoder, Encoded, RoleFields, Workspace};

/// Most faults that are named of one record.
const FAULTS_MAX: usize = 8;

/// Something wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) to the value.
    pub pointer: String,
    /// What was expected there.
    pub expected: String,
    /// What is there, shortened; personal data is left out.
    pub found: String,
    /// The unit that a number is expected in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// Encodes JSON records by one schema.
#[derive(Debug)]
pub struct JsonEncoder {
    fields: Arc<Vec<AvroField>>,
}

impl JsonEncoder {
    /// An encoder for a record schema.
    ///
    /// # Errors
    /// When the schema is invalid.
    pub fn new(json: &str) -> Result<Self, SchemaError> {
        let (fields, _) = avro_type::parse(json)?;
        Ok(Self { fields })
    }

    /// Appends a record as an Avro datum, without a frame.
    ///
    /// # Errors
    /// Names what is wrong with the record, at most eight faults; then `out` holds a part of it,
    /// which the caller has to drop.
    pub fn encode(&self, record: &Value, out: &mut Vec<u8>) -> Result<(), Vec<Fault>> {
        let mut writer = Writer {
            out,
            pointer: String::new(),
            faults: Vec::new(),
        };
        match nested(record) {
            Ok(Cow::Borrowed(Value::Object(object))) => writer.record(&self.fields, object),
            Ok(Cow::Owned(Value::Object(object))) => writer.record(&self.fields, &object),
            Ok(other) => writer.fault("an object", &other, None),
            Err((key, expected)) => {
                writer.pointer = format!("/{}", escaped(&key));
                writer.fault(expected, &Value::Null, None);
            }
        }
        if writer.faults.is_empty() {
            Ok(())
        } else {
            Err(writer.faults)
        }
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    pointer: String,
    faults: Vec<Fault>,
}

impl Writer<'_> {
    fn fault(&mut self, expected: impl Into<String>, found: &Value, field: Option<&AvroField>) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let is_person = field.is_some_and(|field| field.person.is_some());
        self.faults.push(Fault {
            pointer: self.pointer.clone(),
            expected: expected.into(),
            found: if is_person {
                "a value that names a person".to_owned()
            } else {
                shown(found)
            },
            unit: field.and_then(|field| field.unit.clone()),
        });
    }

    fn within(&mut self, name: &str, work: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&escaped(name));
        work(self);
        self.pointer.truncate(length);
    }

    fn record(&mut self, fields: &[AvroField], object: &Map<String, Value>) {
        let mut used = 0;
        for field in fields {
            let value = object.get(&field.name);
            used += usize::from(value.is_some());
            match value.or(field.default.as_ref()) {
                // A plain value is the common case: no path is kept for it.
                Some(value) if scalar::write(&field.avro_type, value, self.out) => {}
                Some(value) => self.within(&field.name, |writer| {
                    writer.value(field, &field.avro_type, value);
                }),
                None if null_branch(&field.avro_type).is_some() => {
                    self.within(&field.name, |writer| {
                        writer.value(field, &field.avro_type, &Value::Null);
                    });
                }
                None => self.within(&field.name, |writer| {
                    let expected = format!(
                        "{}: it may not be left out",
                        scalar::expected(&field.avro_type)
                    );
                    writer.fault(expected, &Value::Null, Some(field));
                }),
            }
        }
        if used < object.len() {
            self.unknown_keys(fields, object);
        }
    }

    fn unknown_keys(&mut self, fields: &[AvroField], object: &Map<String, Value>) {
        let is_known = |key: &String| fields.iter().any(|field| field.name == *key);
        let room = FAULTS_MAX.saturating_sub(self.faults.len());
        for (key, value) in object.iter().filter(|(key, _)| !is_known(key)).take(room) {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            self.within(key, |writer| {
                writer.fault(
                    format!("no such field: there are {}", names.join(", ")),
                    value,
                    None,
                );
            });
        }
    }

    fn value(&mut self, field: &AvroField, avro_type: &AvroType, value: &Value) {
        if scalar::write(avro_type, value, self.out) {
            return;
        }
        match (avro_type, value) {
            (AvroType::Union(branches), value) => self.union(field, branches, value),
            (AvroType::Record(fields), Value::Object(object)) => self.record(fields, object),
            (AvroType::Array { items, length }, Value::Array(elements)) => {
                if length.is_some_and(|length| elements.len() > length) {
                    let most = length.unwrap_or_default();
                    self.fault(format!("at most {most} elements"), value, Some(field));
                    return;
                }
                if !elements.is_empty() {
                    scalar::varint(elements.len() as i64, self.out);
                }
                for (index, element) in elements.iter().enumerate() {
                    self.within(&index.to_string(), |writer| {
                        writer.value(field, items, element);
                    });
                }
                self.out.push(0);
            }
            (AvroType::Map(items), Value::Object(object)) => {
                if !object.is_empty() {
                    scalar::varint(object.len() as i64, self.out);
                }
                for (key, element) in object {
                    scalar::bytes(key.as_bytes(), self.out);
                    self.within(key, |writer| writer.value(field, items, element));
                }
                self.out.push(0);
            }
            _ => self.fault(scalar::expected(avro_type), value, Some(field)),
        }
    }

    /// The first branch that takes the value; the fault of the only one that is not null, if none
    /// does.
    fn union(&mut self, field: &AvroField, branches: &[AvroType], value: &Value) {
        let start = self.out.len();
        let faults = self.faults.len();
        for (index, branch) in branches.iter().enumerate() {
            self.faults.truncate(faults);
            self.out.truncate(start);
            scalar::varint(index as i64, self.out);
            self.value(field, branch, value);
            if self.faults.len() == faults {
                return;
            }
        }
        let others = branches
            .iter()
            .filter(|branch| !matches!(branch, AvroType::Null));
        if others.count() != 1 {
            self.faults.truncate(faults);
            let kinds: Vec<String> = branches.iter().map(scalar::expected).collect();
            self.fault(kinds.join(" or "), value, Some(field));
        }
    }
}

/// The index of the branch for null, of a union that has one.
fn null_branch(avro_type: &AvroType) -> Option<usize> {
    match avro_type {
        AvroType::Union(branches) => branches
            .iter()
            .position(|branch| matches!(branch, AvroType::Null)),
        AvroType::Null => Some(0),
        _ => None,
    }
}

/// What is written for a field that is left out; `None`: it may not be.
fn absent(field: &AvroField) -> Option<Vec<u8>> {
    let value = match &field.default {
        Some(default) => default,
        None => null_branch(&field.avro_type).map(|_| &Value::Null)?,
    };
    let mut out = Vec::new();
    let mut writer = Writer {
        out: &mut out,
        pointer: String::new(),
        faults: Vec::new(),
    };
    writer.value(field, &field.avro_type, value);
    writer.faults.is_empty().then_some(out)
}

/// Longest array that a path makes.
const INDEX_MAX: usize = crate::dataset::ARRAY_LENGTH_MAX;

/// Most names and indices of a path: no schema is nested deeper. Values that are nested without a
/// bound would take the whole stack of the thread that drops them.
const STEPS_MAX: usize = 32;

/// Most elements that the paths of a record make: a few bytes, `a[9][1023]`, make a thousand.
const ELEMENTS_MAX: usize = 1 << 16;

/// A record with paths as keys, nested; one without any as it is. The error is a key that is no
/// path, and what is expected instead.
fn nested(record: &Value) -> Result<Cow<'_, Value>, (String, &'static str)> {
    let Value::Object(object) = record else {
        return Ok(Cow::Borrowed(record));
    };
    if !object.keys().any(|key| key.contains(['.', '['])) {
        return Ok(Cow::Borrowed(record));
    }
    let mut root = Value::Object(Map::new());
    let mut elements_left = ELEMENTS_MAX;
    for (key, value) in object {
        let no_path = "a path of names, such as joints[2].current";
        let place = place(&mut root, key, &mut elements_left);
        let place = place.ok_or_else(|| match elements_left {
            0 => (key.clone(), "fewer elements: the paths make too many"),
            _ => (key.clone(), no_path),
        })?;
        if !place.is_null() {
            // Either could be meant, and one of them would be lost.
            return Err((key.clone(), "a value that no other key gives a part of"));
        }
        *place = value.clone();
    }
    Ok(Cow::Owned(root))
}

/// The value at a path, which is made; at most so many elements, then none are left.
fn place<'a>(root: &'a mut Value, path: &str, elements_left: &mut usize) -> Option<&'a mut Value> {
    if path.bytes().filter(|byte| b".[".contains(byte)).count() >= STEPS_MAX {
        return None;
    }
    let mut at = root;
    for step in path.split('.') {
        let (name, indices) = match step.find('[') {
            Some(bracket) => step.split_at(bracket),
            None => (step, ""),
        };
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = at.as_object_mut()?.entry(name).or_insert(Value::Null);
        let mut rest = indices;
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            let index: usize = index.parse().ok().filter(|index| *index < INDEX_MAX)?;
            if at.is_null() {
                *at = Value::Array(Vec::new());
            }
            let elements = at.as_array_mut()?;
            let made = (index + 1).saturating_sub(elements.len());
            if made > *elements_left {
                *elements_left = 0;
                return None;
            }
            *elements_left -= made;
            if made > 0 {
                elements.resize(index + 1, Value::Null);
            }
            at = &mut elements[index];
            rest = after;
        }
    }
    Some(at)
}

/// A key as a step of a JSON pointer.
fn escaped(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) {
        Cow::Owned(key.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(key)
    }
}

/// A value in an error text.
fn shown(value: &Value) -> String {
    const LENGTH: usize = 40;
    let text = match value {
        Value::Null => return "null, or nothing".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
        Value::Array(elements) => return format!("an array of {}", elements.len()),
        value => value.to_string(),
    };
    match text.char_indices().nth(LENGTH) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
