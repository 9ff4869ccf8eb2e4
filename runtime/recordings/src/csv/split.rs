//! One line, or the lines of one record, cut into cells.

use super::{Delimiter, Dialect};

/// A quote opens and does not close.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// The cells before it.
    pub(crate) before: Vec<String>,
    /// It does close, in a later line, before something else than a delimiter: no more lines help.
    pub(crate) is_final: bool,
}

/// Cuts lines into cells.
#[derive(Debug)]
pub(super) struct Splitter {
    /// None: blanks.
    delimiter: Option<String>,
    quote: Option<char>,
    escape: Option<char>,
}

/// What stands between two quotes.
struct Quoted {
    value: String,
    /// Bytes, with both quotes.
    length: usize,
}

impl Splitter {
    pub(super) fn new(dialect: &Dialect) -> Self {
        Self {
            delimiter: match &dialect.delimiter {
                Delimiter::Text(text) => Some(text.clone()),
                Delimiter::Blanks => None,
            },
            quote: dialect.quote,
            escape: dialect.escape,
        }
    }

    /// Whether a line could close a quoted cell.
    pub(super) fn has_quote(&self, text: &str) -> bool {
        self.quote.is_some_and(|quote| text.contains(quote))
    }

    /// The cells, without their quotes. A cell is quoted when a quote is its first sign but blanks
    /// and a delimiter follows its second; other quotes are text.
    pub(super) fn split(&self, text: &str) -> Result<Vec<String>, Open> {
        let mut cells = Vec::new();
        let mut rest = match self.delimiter {
            Some(_) => text,
            None => text.trim_matches(is_blank),
        };
        loop {
            let start = self.cell_start(rest);
            let is_quoted = self
                .quote
                .is_some_and(|quote| rest[start..].starts_with(quote));
            let (cell, end, length) = if is_quoted {
                let Some(quoted) = self.quoted(&rest[start..]) else {
                    return Err(Open {
                        before: cells,
                        is_final: false,
                    });
                };
                let after = start + quoted.length;
                let (end, length) = self.delimiter_in(&rest[after..]);
                let end = after + end;
                if rest[after..end].trim().is_empty() {
                    (quoted.value, end, length)
                } else if quoted.value.contains('\n') {
                    return Err(Open {
                        before: cells,
                        is_final: true,
                    });
                } else {
                    (rest[..end].to_owned(), end, length)
                }
            } else {
                let (end, length) = self.delimiter_in(rest);
                (rest[..end].to_owned(), end, length)
            };
            cells.push(cell);
            if length == 0 {
                return Ok(cells);
            }
            rest = &rest[end + length..];
        }
    }

    /// Where a cell begins, but for the blanks before it, which are no delimiters.
    fn cell_start(&self, rest: &str) -> usize {
        let is_delimiter = |sign: char| {
            self.delimiter
                .as_ref()
                .is_none_or(|delimiter| delimiter.starts_with(sign))
        };
        let trimmed = rest.trim_start_matches(|sign| is_blank(sign) && !is_delimiter(sign));
        rest.len() - trimmed.len()
    }

    /// Where the next delimiter begins, and its length; the end, and 0, when there is none.
    fn delimiter_in(&self, rest: &str) -> (usize, usize) {
        match &self.delimiter {
            Some(delimiter) => {
                // One byte is found faster than a text.
                let found = match delimiter.as_bytes() {
                    [byte] => rest.bytes().position(|other| other == *byte),
                    _ => rest.find(delimiter.as_str()),
                };
                found.map_or((rest.len(), 0), |at| (at, delimiter.len()))
            }
            None => match rest.find(is_blank) {
                Some(at) => {
                    let after = rest[at..].trim_start_matches(is_blank);
                    (at, rest.len() - at - after.len())
                }
                None => (rest.len(), 0),
            },
        }
    }

    /// The quoted text that `rest` begins with; none when it does not end.
    fn quoted(&self, rest: &str) -> Option<Quoted> {
        let quote = self.quote?;
        let mut value = String::new();
        let mut signs = rest.char_indices().skip(1).peekable();
        while let Some((at, sign)) = signs.next() {
            if Some(sign) == self.escape && sign != quote {
                value.push(signs.next()?.1);
            } else if sign != quote {
                value.push(sign);
            } else if signs.peek().is_some_and(|(_, next)| *next == quote) {
                signs.next();
                value.push(quote);
            } else {
                return Some(Quoted {
                    value,
                    length: at + quote.len_utf8(),
                });
            }
        }
        None
    }
}

fn is_blank(sign: char) -> bool {
    matches!(sign, ' ' | '\t')
}

/// Whether cells look like those before an open quote: then the line that they begin may be a
/// record by itself rather than text within the quotes.
pub(crate) fn are_alike(before: &[String], cells: &[String]) -> bool {
    before.iter().zip(cells).all(|(a, b)| shape(a) == shape(b))
}

/// What a cell looks like: `9-9-9a9:9:9.9` for a time.
fn shape(cell: &str) -> String {
    let mut shape = String::new();
    for sign in cell.trim().trim_start_matches('-').chars() {
        let sign = match sign {
            sign if sign.is_numeric() => '9',
            sign if sign.is_alphabetic() => 'a',
            sign => sign,
        };
        if !shape.ends_with(sign) {
            shape.push(sign);
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::{Delimiter, Dialect, Splitter};

    fn split(delimiter: &str, text: &str) -> Option<Vec<String>> {
        let delimiter = match delimiter {
            "" => Delimiter::Blanks,
            text => Delimiter::Text(text.to_owned()),
        };
        let dialect = Dialect {
            delimiter,
            ..Dialect::default()
        };
        Splitter::new(&dialect).split(text).ok()
    }

    #[test]
    fn quotes_count_at_the_beginning_of_a_cell_only() {
        let cases: &[(&str, &str, &[&str])] = &[
            (",", "a,b", &["a", "b"]),
            (",", "a,", &["a", ""]),
            (",", ",", &["", ""]),
            (",", r#""a,b",c"#, &["a,b", "c"]),
            (",", r#" "a,b" ,c"#, &["a,b", "c"]),
            (",", r#""a ""b""",c"#, &[r#"a "b""#, "c"]),
            (",", r#""5 inch" tool,c"#, &[r#""5 inch" tool"#, "c"]),
            (",", r#"5" tool,c"#, &[r#"5" tool"#, "c"]),
            (",", r#""a,b" x,c"#, &[r#""a,b" x"#, "c"]),
            (",", r#""",c"#, &["", "c"]),
            ("\t", "\"a\tb\"\tc\t", &["a\tb", "c", ""]),
            ("||", "a||b", &["a", "b"]),
            ("", "  a \t b  ", &["a", "b"]),
            ("", r#" "a b" c"#, &["a b", "c"]),
            ("", r#"5" "a"x c"#, &["5\"", "\"a\"x", "c"]),
            ("ä", "1ä2", &["1", "2"]),
        ];
        for (delimiter, text, wanted) in cases {
            let cells = split(delimiter, text).unwrap();
            assert_eq!(cells, *wanted, "{delimiter} {text}");
        }
        assert_eq!(split(",", r#"a,"b"#), None);
        assert_eq!(split(",", r#"a,"b"""#), None);
    }
}
