//! Definitions of ROS messages (`.msg`), with those that they use, as recorders write them: the
//! message's own first, each of the others behind a line of `=` and a line `MSG: package/Type`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::tree::VALUES_MAX;

/// What a message consists of.
#[derive(Debug, PartialEq)]
pub(super) struct Definition {
    /// The types; the first is that of the message.
    pub(super) types: Vec<Vec<Field>>,
}

/// A field of a type.
#[derive(Debug, PartialEq)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: Arc<str>,
    /// What one value of it is.
    pub(super) kind: Kind,
    /// How many there are.
    pub(super) size: Size,
}

/// A type of values.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub(super) enum Kind {
    Bool,
    Byte,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    Text,
    Time,
    Duration,
    /// A type of the definition, by its place.
    Type(usize),
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Size {
    /// One.
    One,
    /// So many.
    Fixed(usize),
    /// As many as the message says.
    Sequence,
}

impl Definition {
    /// Reads the definition of the type `name`.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut sections = vec![(short(name), String::new())];
        let mut begins = false;
        for line in text.lines() {
            let line = line.trim();
            if line.len() >= 3 && line.bytes().all(|byte| byte == b'=') {
                begins = true;
            } else if begins && line.starts_with("MSG:") {
                begins = false;
                sections.push((short(line.trim_start_matches("MSG:").trim()), String::new()));
            } else if begins && line.starts_with("IDL:") {
                return Err("it is written in IDL, which is not supported".to_owned());
            } else if let Some((_, section)) = sections.last_mut() {
                section.push_str(line);
                section.push('\n');
            }
        }
        let mut places = HashMap::new();
        for (at, (name, _)) in sections.iter().enumerate() {
            places.entry(name.clone()).or_insert(at);
        }
        let types = sections.iter().map(|(name, text)| {
            let package = name.rsplit_once('/').map_or("", |(package, _)| package);
            text.lines()
                .filter_map(|line| field(line, package, &places).transpose())
                .collect::<Result<Vec<_>, _>>()
        });
        Ok(Self {
            types: types.collect::<Result<_, _>>()?,
        })
    }
}

/// A type's name without the folder of messages: `std_msgs/msg/Header` is `std_msgs/Header`.
fn short(name: &str) -> String {
    name.replace("/msg/", "/")
}

/// The field that a line declares; none for a constant, a comment or a blank line.
fn field(
    line: &str,
    package: &str,
    places: &HashMap<String, usize>,
) -> Result<Option<Field>, String> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let Some((declared, rest)) = line.split_once(char::is_whitespace) else {
        return if line.is_empty() {
            Ok(None)
        } else {
            Err(format!(
                "'{}' declares no field",
                crate::records::shown(line)
            ))
        };
    };
    let rest = rest.trim_start();
    let end = rest
        .find(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'))
        .unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if rest.trim_start().starts_with('=') {
        return Ok(None);
    }
    let (base, size) = size(declared)?;
    let base = base.split_once("<=").map_or(base, |(base, _)| base);
    let kind = kind(base, package, places).ok_or_else(|| {
        format!(
            "field '{name}' is of the type '{}', which is not supported or not defined",
            crate::records::shown(base)
        )
    })?;
    Ok(Some(Field {
        name: Arc::from(name),
        kind,
        size,
    }))
}

/// Splits a type into that of one value and how many there are: `float64[6]`.
fn size(declared: &str) -> Result<(&str, Size), String> {
    let Some(inner) = declared.strip_suffix(']') else {
        return Ok((declared, Size::One));
    };
    let Some((base, count)) = inner.rsplit_once('[') else {
        return Err(format!("'{}' is no type", crate::records::shown(declared)));
    };
    if count.is_empty() || count.starts_with("<=") {
        return Ok((base, Size::Sequence));
    }
    match count.parse() {
        Ok(count @ 1..=VALUES_MAX) => Ok((base, Size::Fixed(count))),
        _ => Err(format!(
            "an array of {} elements is not supported",
            crate::records::shown(count)
        )),
    }
}

fn kind(base: &str, package: &str, places: &HashMap<String, usize>) -> Option<Kind> {
    Some(match base {
        "bool" => Kind::Bool,
        "byte" | "char" | "uint8" => Kind::Byte,
        "int8" => Kind::I8,
        "int16" => Kind::I16,
        "uint16" => Kind::U16,
        "int32" => Kind::I32,
        "uint32" => Kind::U32,
        "int64" => Kind::I64,
        "uint64" => Kind::U64,
        "float32" => Kind::F32,
        "float64" => Kind::F64,
        "string" => Kind::Text,
        "time" => Kind::Time,
        "duration" => Kind::Duration,
        _ => {
            let name = short(base);
            match name.as_str() {
                "builtin_interfaces/Time" => return Some(Kind::Time),
                "builtin_interfaces/Duration" => return Some(Kind::Duration),
                _ => {}
            }
            let candidates = [
                name.clone(),
                format!("{package}/{name}"),
                format!("std_msgs/{name}"),
            ];
            let found = candidates.iter().find_map(|name| places.get(name))?;
            Kind::Type(*found)
        }
    })
}
