//! JSON as recordings have it.
//!
//! Numbers stay exact: one that a float would round is kept as the text it is. Depth and number of
//! values are bounded.

use std::borrow::Cow;
use std::sync::Arc;

use crate::records::{Cell, shown};
use crate::tree::{DEPTH_MAX, Tree, VALUES_MAX};

/// Significant digits that every float keeps.
const FLOAT_DIGITS: usize = 15;

/// Why a text is no JSON object that can be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong, without the value that stands there.
    pub(crate) kind: &'static str,
    /// What stands there.
    pub(crate) found: String,
}

/// The beginning of bytes that may be no text, as messages show it.
pub(crate) fn shown_bytes(bytes: &[u8]) -> String {
    shown(&String::from_utf8_lossy(&bytes[..bytes.len().min(300)]))
}

/// Reads a JSON object.
pub(crate) fn parse(bytes: &[u8]) -> Result<Tree, Fault> {
    let mut parser = Parser {
        bytes,
        at: 0,
        depth: 0,
        values: 0,
    };
    parser.skip_blanks();
    if parser.peek() != Some(b'{') {
        return Err(parser.fault("no JSON object"));
    }
    let object = parser.value()?;
    parser.skip_blanks();
    if parser.at < bytes.len() {
        return Err(parser.fault("more follows after the JSON object"));
    }
    Ok(object)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    values: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn fault(&self, kind: &'static str) -> Fault {
        Fault {
            kind,
            found: shown_bytes(&self.bytes[self.at.min(self.bytes.len())..]),
        }
    }

    fn broken(&self) -> Fault {
        if self.at >= self.bytes.len() {
            Fault {
                kind: "the JSON breaks off",
                found: String::new(),
            }
        } else {
            self.fault("no JSON from here on")
        }
    }

    fn value(&mut self) -> Result<Tree, Fault> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.fault("the JSON object has more than a million values"));
        }
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Tree::Leaf(Cell::Text(self.string()?.into_owned()))),
            _ => Ok(Tree::Leaf(self.plain()?)),
        }
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Result<Tree, Fault>) -> Result<Tree, Fault> {
        if self.depth >= DEPTH_MAX {
            return Err(self.fault("the JSON is nested too deeply (32 levels are taken)"));
        }
        self.at += 1;
        self.depth += 1;
        let tree = inner(self)?;
        self.depth -= 1;
        Ok(tree)
    }

    /// The members of an object, after its `{`.
    fn object(&mut self) -> Result<Tree, Fault> {
        let mut members: Vec<(Arc<str>, Tree)> = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'}') if members.is_empty() => break,
                Some(b'"') => {}
                _ => return Err(self.broken()),
            }
            let key = Arc::from(&*self.string()?);
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.broken());
            }
            self.at += 1;
            members.push((key, self.value()?));
            if self.ends_with(b'}')? {
                break;
            }
        }
        self.at += 1;
        Ok(Tree::Object(members))
    }

    /// The elements of an array, after its `[`.
    fn array(&mut self) -> Result<Tree, Fault> {
        let mut elements = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek() == Some(b']') && elements.is_empty() {
                break;
            }
            elements.push(self.value()?);
            if self.ends_with(b']')? {
                break;
            }
        }
        self.at += 1;
        Ok(Tree::List(elements))
    }

    /// Whether the closing sign comes next; a comma is passed.
    fn ends_with(&mut self, close: u8) -> Result<bool, Fault> {
        self.skip_blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(sign) if sign == close => Ok(true),
            _ => Err(self.broken()),
        }
    }

    /// A string, from its opening quote to behind the closing one.
    fn string(&mut self) -> Result<Cow<'_, str>, Fault> {
        let begin = self.at + 1;
        let mut at = begin;
        let mut escapes = false;
        loop {
            match self.bytes.get(at) {
                None => {
                    return Err(self.fault("a string is not closed"));
                }
                Some(b'"') => break,
                Some(b'\\') => {
                    escapes = true;
                    at += 2;
                }
                Some(_) => at += 1,
            }
        }
        let Ok(raw) = std::str::from_utf8(&self.bytes[begin..at]) else {
            return Err(self.fault("a string is no UTF-8"));
        };
        let text = if escapes {
            match unescape(raw) {
                Some(text) => Cow::Owned(text),
                None => return Err(self.fault("a string has an unknown escape")),
            }
        } else {
            Cow::Borrowed(raw)
        };
        self.at = at + 1;
        Ok(text)
    }

    /// A number, `true`, `false`, `null`, or one of the words that Python writes for what JSON has
    /// no number for.
    fn plain(&mut self) -> Result<Cell, Fault> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))
            .unwrap_or(rest.len());
        let word = std::str::from_utf8(&rest[..length]).unwrap_or_default();
        let cell = match word {
            "true" => Cell::Flag(true),
            "false" => Cell::Flag(false),
            "null" => Cell::Missing,
            "NaN" | "Infinity" | "-Infinity" => Cell::Text(word.to_owned()),
            _ if is_number(word) => number(word),
            _ => return Err(self.broken()),
        };
        self.at += length;
        Ok(cell)
    }
}

/// Whether a word is a number by the grammar of JSON.
fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let word = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = match word.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let bare = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            (mantissa, digits(bare))
        }
        None => (word, true),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, digits(fraction)),
        None => (mantissa, true),
    };
    digits(whole) && (whole.len() == 1 || !whole.starts_with('0')) && fraction && exponent
}

/// A decimal number as a cell, exact: as text where a number would lose digits.
pub(crate) fn number(word: &str) -> Cell {
    if let Ok(whole) = word.parse::<i64>() {
        return Cell::Integer(whole);
    }
    let mantissa = word.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    match word.parse::<f64>() {
        Ok(value)
            if significant.is_empty() || significant.len() <= FLOAT_DIGITS && value.is_normal() =>
        {
            Cell::Number(value)
        }
        _ => Cell::Text(word.to_owned()),
    }
}

/// Resolves the escapes of a string; half a surrogate pair becomes the replacement character.
fn unescape(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let mut signs = rest[at + 1..].chars();
        let sign = signs.next()?;
        rest = signs.as_str();
        match sign {
            '"' | '\\' | '/' => text.push(sign),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'u' => {
                let unit = hex(rest)?;
                rest = &rest[4..];
                let low = rest.strip_prefix("\\u").and_then(hex);
                match (unit, low) {
                    (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                        rest = &rest[6..];
                    }
                    _ => text.push(char::from_u32(unit).unwrap_or('\u{fffd}')),
                }
            }
            _ => return None,
        }
    }
    text.push_str(rest);
    Some(text)
}

/// Four hexadecimal digits.
fn hex(text: &str) -> Option<u32> {
    let digits = text.get(..4)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests;
