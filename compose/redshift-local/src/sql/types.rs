//! Redshift's column types in PostgreSQL's words.

use super::tokens::{Kind, Token};

/// Types PostgreSQL has and Redshift has not.
const NOT_IN_REDSHIFT: [&str; 23] = [
    "BYTEA",
    "JSON",
    "JSONB",
    "UUID",
    "XML",
    "INET",
    "CIDR",
    "MACADDR",
    "MONEY",
    "BIT",
    "SERIAL",
    "BIGSERIAL",
    "SMALLSERIAL",
    "HSTORE",
    "TSVECTOR",
    "TSQUERY",
    "INT4RANGE",
    "INT8RANGE",
    "NUMRANGE",
    "TSRANGE",
    "DATERANGE",
    "POINT",
    "BOX",
];

/// Longest VARCHAR, bytes.
const VARCHAR_MAX: &str = "65535";

/// Longest VARBYTE, and the length of one that says none, bytes.
const VARBYTE_MAX: u32 = 16_777_216;
const VARBYTE_DEFAULT: u32 = 64_000;

/// How many bytes a column of the VARBYTE at `at` holds; `None` for any other type.
///
/// # Errors
/// The server's message for a length that it does not know.
pub fn varbyte_length(tokens: &[Token], at: usize) -> Result<Option<u32>, String> {
    let is_varbyte = |token: &&Token| token.is_word("VARBYTE") || token.is_word("VARBINARY");
    let Some(token) = tokens.get(at).filter(is_varbyte) else {
        return Ok(None);
    };
    let Some((_, text)) = length(tokens, at + 1) else {
        return Ok(Some(VARBYTE_DEFAULT));
    };
    match text.parse::<u32>() {
        Ok(length) if (1..=VARBYTE_MAX).contains(&length) => Ok(Some(length)),
        _ => Err(format!(
            "length for type {} must be between 1 and {VARBYTE_MAX}, not {text}",
            token.text.to_ascii_lowercase()
        )),
    }
}

/// A type that only Redshift has, at `at`: where it ends, and its form in PostgreSQL.
pub fn redshift_only(tokens: &[Token], at: usize) -> Option<(usize, String)> {
    let token = tokens.get(at).filter(|token| token.kind == Kind::Word)?;
    let length = length(tokens, at + 1);
    let end = length.as_ref().map_or(at + 1, |(end, _)| *end);
    match token.text.to_ascii_uppercase().as_str() {
        "SUPER" => Some((at + 1, "jsonb".to_owned())),
        "VARBYTE" | "VARBINARY" => Some((end, "bytea".to_owned())),
        "VARCHAR" | "NVARCHAR"
            if length
                .as_ref()
                .is_some_and(|(_, text)| text.eq_ignore_ascii_case("max")) =>
        {
            Some((end, format!("varchar({VARCHAR_MAX})")))
        }
        "NVARCHAR" => Some((at + 1, "varchar".to_owned())),
        _ => None,
    }
}

/// The type of a column at `at`: where it ends, and its form in PostgreSQL.
///
/// # Errors
/// The server's message for a type that Redshift has not.
pub fn column_type(tokens: &[Token], at: usize) -> Result<Option<(usize, String)>, String> {
    let Some(token) = tokens.get(at) else {
        return Ok(None);
    };
    let word = token.text.to_ascii_uppercase();
    if NOT_IN_REDSHIFT.contains(&word.as_str()) {
        return Err(format!(
            "Column type \"{}\" is not supported on Redshift tables.",
            token.text.to_ascii_lowercase()
        ));
    }
    if let Some(found) = redshift_only(tokens, at) {
        return Ok(Some(found));
    }
    let bare = length(tokens, at + 1).is_none();
    Ok(match word.as_str() {
        // Without a length these hold 256 bytes in Redshift, whatever PostgreSQL makes of them.
        "TEXT" | "VARCHAR" if bare => Some((at + 1, "varchar(256)".to_owned())),
        "BPCHAR" if bare => Some((at + 1, "char(256)".to_owned())),
        _ => None,
    })
}

/// A length in parentheses after a type: where it ends, and its text.
fn length(tokens: &[Token], from: usize) -> Option<(usize, String)> {
    let mut places = (from..tokens.len()).filter(|at| tokens[*at].kind != Kind::Gap);
    let (open, value, close) = (places.next()?, places.next()?, places.next()?);
    (tokens[open].is_symbol("(") && tokens[close].is_symbol(")"))
        .then(|| (close + 1, tokens[value].text.clone()))
}
