//! What a parser says, for who wrote the text: in the words of a configuration, and with what may have
//! been meant.

use theatre_actors::rules::meant;

/// How a parser introduces the names that there are.
const KNOWN: [&str; 3] = [", expected one of ", ", expected ", ", available keys: "];
/// What it says, and what a person would say.
const WORDS: [(&str, &str); 10] = [
    ("invalid value: integer ", "out of range: "),
    ("invalid type: unit variant,", "there is a name alone,"),
    ("expected f64", "expected a number"),
    ("expected i32", "expected a whole number"),
    (
        "expected a sequence",
        "expected a list, such as [\"a\", \"b\"]",
    ),
    (
        "wanted exactly 1 element, more than 1 element",
        "there may be one here only, and there are more: a rule has one kind, so write a rule for each",
    ),
    (
        "wanted exactly 1 element, less than 1 element",
        "there must be one here",
    ),
    (
        "wanted exactly 1 element, found 0 elements",
        "there must be one here",
    ),
    (
        "invalid value: map, expected map with a single key",
        "there must be one here, and no more: a rule has one kind, so write a rule for each",
    ),
    ("invalid type: map,", "invalid type: a table,"),
];
/// What it calls a table, by a name of the program's own.
const TABLES: [&str; 3] = [
    "expected struct variant",
    "expected newtype variant",
    "expected struct",
];

/// The same with what may have been meant where a name is not known.
pub fn in_plain_words(said: &str) -> String {
    let mut plain = said.trim_end().to_owned();
    for (parser, person) in WORDS {
        plain = plain.replace(parser, person);
    }
    if let Some((before, after)) = TABLES.iter().find_map(|table| plain.split_once(table)) {
        plain = format!(
            "{before}expected a table of keys and values{}",
            without_type(after)
        );
    }
    let hint = plain.lines().find_map(unknown).and_then(|(name, known)| {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        meant(&name, &known)
    });
    match hint {
        Some(hint) => format!("{plain}; {hint}"),
        None => plain,
    }
}

/// What follows the name of a type, if one comes first.
fn without_type(text: &str) -> &str {
    match text.strip_prefix(' ') {
        Some(named) if named.starts_with(char::is_uppercase) => {
            named.trim_start_matches(|sign: char| sign.is_alphanumeric() || "_:".contains(sign))
        }
        _ => text,
    }
}

/// The name that a line says is not known, and those that are.
fn unknown(line: &str) -> Option<(String, Vec<String>)> {
    let begins = [
        "unknown field ",
        "unknown variant ",
        "unexpected keys in table: ",
    ];
    let rest = begins.iter().find_map(|begin| line.strip_prefix(begin))?;
    let (name, known) = KNOWN.iter().find_map(|between| rest.split_once(between))?;
    // Where JSON has it stands behind the names.
    let known = known.split(" at line ").next().unwrap_or(known);
    let bare = |text: &str| text.trim().trim_matches('`').to_owned();
    // Of several keys the first.
    let name = bare(name.split(',').next().unwrap_or(name));
    let known = known.split([',', ' ']).map(bare);
    let is_name = |name: &String| !name.is_empty() && name != "or";
    Some((name, known.filter(is_name).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_known_comes_with_one_that_may_have_been_meant() {
        for (said, expected) in [
            (
                "unknown field `latched`, expected one of `id`, `latch`",
                "; did you mean latch?",
            ),
            (
                "unknown variant `Hgih`, expected one of `high`, `medium`, `low`",
                "; did you mean high?",
            ),
            (
                "unknown field `rules`, expected `rule`",
                "; did you mean rule?",
            ),
            (
                "unknown field `lines`, expected one of `id`, `reason` at line 1 column 9",
                "`reason` at line 1 column 9",
            ),
            (
                "unknown field `reson`, expected one of `id`, `reason` at line 1 column 9",
                "; did you mean reason?",
            ),
            (
                "unknown variant `arival`, expected `event_time` or `arrival`",
                "; did you mean arrival?",
            ),
            (
                "at line 3\nunexpected keys in table: raise_abov, x, available keys: signal, raise_above",
                "; did you mean raise_above?",
            ),
            (
                "unknown field `zzzz`, expected one of `id`, `latch`",
                "`latch`",
            ),
            ("missing field `id`", "missing field `id`"),
            (
                "invalid type: string \"5\", expected f64",
                "expected a number",
            ),
            (
                "invalid type: string \"x\", expected struct ScopeSpec",
                "string \"x\", expected a table of keys and values",
            ),
            (
                "invalid type: integer `5`, expected struct variant RuleKind::Threshold",
                "integer `5`, expected a table of keys and values",
            ),
            (
                "invalid type: unit variant, expected struct variant",
                "there is a name alone, expected a table of keys and values",
            ),
            (
                "wanted exactly 1 element, found 0 elements",
                "there must be one here",
            ),
            (
                "invalid value: integer `99999999999`, expected i32",
                "out of range: `99999999999`, expected a whole number",
            ),
        ] {
            let plain = in_plain_words(said);
            assert!(plain.ends_with(expected), "{plain}");
        }
    }
}
