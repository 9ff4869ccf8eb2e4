//! Passwords, kept out of whatever is printed: in URLs, and in properties whose names say that they
//! are secret.
//!
//! What is hidden is hidden where a configuration is written, and a written one is never read back:
//! [`Config::layered`](super::Config::layered) writes down the defaults only, which hold no secret.

use std::collections::BTreeMap;
use std::fmt::{Error, Formatter};

use serde::{Serialize, Serializer};

const HIDDEN: &str = "***";
/// Parts of the names of properties whose values are secret.
const SECRET: [&str; 5] = ["password", "secret", "pem", "jaas", "token"];

/// Writes a URL without its password.
pub(super) fn url<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref().map(redacted).serialize(serializer)
}

/// Writes a URL without what lies behind its host, which may be a secret of its own.
pub(super) fn address<S: Serializer>(
    url: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    url.as_deref().map(without_path).serialize(serializer)
}

/// A URL up to its host, with `/***` for the rest if there is any.
pub fn without_path(url: &str) -> String {
    let url = redacted(url);
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let rest = url.get(host..).unwrap_or_default();
    match rest.find(['/', '?', '#']) {
        Some(end) if rest.len() > end + 1 => {
            let until = url.get(..host + end).unwrap_or_default();
            format!("{until}/{HIDDEN}")
        }
        _ => url,
    }
}

/// Writes properties without the values of those that are secret by name.
pub(super) fn properties<S: Serializer>(
    properties: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let redacted = |(name, value): (&String, &String)| {
        (
            name.clone(),
            if is_secret(name) {
                HIDDEN.to_owned()
            } else {
                redacted(value)
            },
        )
    };
    serializer.collect_map(properties.iter().map(redacted))
}

/// A section for people, as it is written: with nothing in it that is secret.
pub(super) fn debug(
    name: &str,
    section: &impl Serialize,
    formatter: &mut Formatter<'_>,
) -> Result<(), Error> {
    formatter
        .debug_tuple(name)
        .field(&toml::to_string(section).map_err(|_| Error)?)
        .finish()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

/// A text whose URLs say `***` where they name a password: between user and host, or as a
/// parameter.
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        let end = after
            .find(|character: char| {
                character.is_whitespace() || matches!(character, '"' | '\'' | '`')
            })
            .unwrap_or(after.len());
        shown.push_str(before);
        shown.push_str(&without_parameter(&without_user_password(&after[..end])));
        rest = &after[end..];
    }
    shown + rest
}

/// Up to the last `@`: a password may hold what should have been escaped. Rather too much is hidden
/// than too little.
fn without_user_password(address: &str) -> String {
    let Some((user, host)) = address.rsplit_once('@') else {
        return address.to_owned();
    };
    match user.split_once(':') {
        Some((user, _)) => format!("{user}:***@{host}"),
        None => address.to_owned(),
    }
}

fn without_parameter(address: &str) -> String {
    const NAME: &str = "password=";
    let Some(start) = address.find(NAME).map(|found| found + NAME.len()) else {
        return address.to_owned();
    };
    let end = address[start..]
        .find('&')
        .map_or(address.len(), |end| start + end);
    format!("{}***{}", &address[..start], &address[end..])
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn passwords_are_hidden_and_the_rest_is_kept() {
        let cases = [
            (
                "postgres://u:hush@h:1/d?sslmode=require",
                "postgres://u:***@h:1/d?sslmode=require",
            ),
            ("postgres://u@h:1/d", "postgres://u@h:1/d"),
            ("postgres://h:1/d", "postgres://h:1/d"),
            ("postgres://u:hu/s@h?@h:1/d", "postgres://u:***@h:1/d"),
            (
                "postgres://u@h/d?password=hush&sslmode=require",
                "postgres://u@h/d?password=***&sslmode=require",
            ),
            (
                "1 | url = \"postgres://u:hush@h/d\" and 'kafka://h:1'",
                "1 | url = \"postgres://u:***@h/d\" and 'kafka://h:1'",
            ),
            ("no address at all", "no address at all"),
        ];
        for (text, wanted) in cases {
            assert_eq!(redacted(text), wanted);
        }
    }
}
