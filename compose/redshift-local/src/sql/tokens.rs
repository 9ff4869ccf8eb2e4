//! Cuts SQL into tokens: words, quoted names, strings, numbers, symbols, and what lies between
//! them. Joined again, they give the text back.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or plain name.
    Word,
    /// A name in double quotes.
    QuotedName,
    /// A string literal, dollar quotes included.
    Text,
    /// A number.
    Number,
    /// An operator or punctuation; `::` is one token.
    Symbol,
    /// White space or a comment.
    Gap,
}

/// A token and its text, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: String,
}

impl Token {
    /// A token written by us.
    pub fn written(kind: Kind, text: &str) -> Self {
        Self {
            kind,
            text: text.to_owned(),
        }
    }

    /// True for this keyword, in any case.
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// True for this symbol.
    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    /// A name without its quotes, folded as the server folds it; `None` for anything else.
    pub fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_ascii_lowercase()),
            Kind::QuotedName => Some(self.text[1..self.text.len() - 1].replace("\"\"", "\"")),
            _ => None,
        }
    }

    /// The value of a string literal in single quotes; `None` for anything else.
    pub fn text_value(&self) -> Option<String> {
        let inner = self.text.strip_prefix('\'')?.strip_suffix('\'')?;
        (self.kind == Kind::Text).then(|| inner.replace("''", "'"))
    }
}

/// Joins tokens to SQL.
pub fn join(tokens: &[Token]) -> String {
    tokens.iter().map(|token| token.text.as_str()).collect()
}

/// Cuts SQL into tokens.
///
/// # Errors
/// The server's message when a string, quoted name or comment has no end.
pub fn cut(sql: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next(rest, first)?;
        let (text, after) = rest.split_at(length);
        tokens.push(Token {
            kind,
            text: text.to_owned(),
        });
        rest = after;
    }
    Ok(tokens)
}

fn next(rest: &str, first: char) -> Result<(Kind, usize), String> {
    let while_true = |keep: fn(char) -> bool| rest.find(|c| !keep(c)).unwrap_or(rest.len());
    match first {
        c if c.is_whitespace() => Ok((Kind::Gap, while_true(char::is_whitespace))),
        '-' if rest.starts_with("--") => Ok((Kind::Gap, rest.find('\n').unwrap_or(rest.len()))),
        '/' if rest.starts_with("/*") => comment(rest).map(|length| (Kind::Gap, length)),
        '\'' => quoted(rest, '\'')
            .map(|length| (Kind::Text, length))
            .ok_or_else(|| "unterminated quoted string".to_owned()),
        '"' => quoted(rest, '"')
            .map(|length| (Kind::QuotedName, length))
            .ok_or_else(|| "unterminated quoted identifier".to_owned()),
        '$' if dollar_tag(rest).is_some() => dollar_quoted(rest).map(|length| (Kind::Text, length)),
        c if c.is_ascii_digit() => {
            Ok((Kind::Number, while_true(|c| c.is_ascii_digit() || c == '.')))
        }
        c if c == '_' || c == '#' || c.is_alphabetic() => Ok((
            Kind::Word,
            while_true(|c| c == '_' || c == '$' || c == '#' || c.is_alphanumeric()),
        )),
        ':' if rest.starts_with("::") => Ok((Kind::Symbol, 2)),
        c => Ok((Kind::Symbol, c.len_utf8())),
    }
}

/// Length of a quoted token; a doubled quote stands for one.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += rest[at..].find(quote)? + 1;
        if !rest[at..].starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// Length of a block comment; they nest.
fn comment(rest: &str) -> Result<usize, String> {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Ok(at);
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    Err("unterminated /* comment".to_owned())
}

fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find(|c: char| c != '_' && !c.is_alphanumeric())? + 1;
    (rest[end..].starts_with('$') && !rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        .then(|| &rest[..=end])
}

fn dollar_quoted(rest: &str) -> Result<usize, String> {
    let tag = dollar_tag(rest).unwrap_or("$$");
    let body = &rest[tag.len()..];
    body.find(tag)
        .map(|end| end + 2 * tag.len())
        .ok_or_else(|| "unterminated dollar-quoted string".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(sql: &str) -> Vec<(Kind, String)> {
        let tokens = cut(sql).expect("cuts");
        assert_eq!(join(&tokens), sql);
        tokens
            .into_iter()
            .filter(|token| token.kind != Kind::Gap)
            .map(|token| (token.kind, token.text))
            .collect()
    }

    #[test]
    fn keywords_in_strings_names_and_comments_are_no_keywords() {
        let got = kinds(
            "SELECT 'it''s DISTKEY' AS \"SORT\"\"KEY\", 1.5::real /* a /* nested */ ON CONFLICT */ -- CREATE INDEX\n FROM $q$ ; $q$",
        );
        let words: Vec<&str> = got
            .iter()
            .filter(|(kind, _)| *kind == Kind::Word)
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(words, ["SELECT", "AS", "real", "FROM"]);
        assert!(
            got.contains(&(Kind::Text, "'it''s DISTKEY'".to_owned()))
                && got.contains(&(Kind::QuotedName, "\"SORT\"\"KEY\"".to_owned()))
        );
        assert!(
            got.contains(&(Kind::Symbol, "::".to_owned()))
                && got.contains(&(Kind::Text, "$q$ ; $q$".to_owned()))
        );
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for sql in ["SELECT 'a", "SELECT \"a", "SELECT /* a", "SELECT $$ a"] {
            assert!(
                cut(sql).is_err_and(|why| why.starts_with("unterminated")),
                "{sql}"
            );
        }
    }

    #[test]
    fn names_and_values_lose_their_quotes() {
        let tokens = cut("Name \"Na\"\"me\" 'va''lue'").expect("cuts");
        assert_eq!(
            (tokens[0].name(), tokens[2].name()),
            (Some("name".to_owned()), Some("Na\"me".to_owned()))
        );
        assert_eq!(tokens[4].text_value(), Some("va'lue".to_owned()));
    }
}
