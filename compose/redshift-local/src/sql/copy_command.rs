//! The COPY command: what of it can be used with Parquet, and what Redshift refuses there.

use super::tokens::{Kind, Token};

/// A COPY of Parquet files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyCommand {
    /// The table as written, quotes and schema included.
    pub table: String,
    /// Columns named after the table; empty: all.
    pub columns: Vec<String>,
    /// `s3://bucket/key` of a manifest, or the prefix of files.
    pub from: String,
    /// True when `from` is a manifest.
    pub manifest: bool,
    /// Missing columns at the end are NULL.
    pub fill_record: bool,
}

/// Options that Redshift knows, but not with columnar files.
const NOT_WITH_PARQUET: [&str; 24] = [
    "MAXERROR",
    "ACCEPTANYDATE",
    "BLANKSASNULL",
    "COMPROWS",
    "COMPUPDATE",
    "DATEFORMAT",
    "DELIMITER",
    "EMPTYASNULL",
    "ENCODING",
    "ENCRYPTED",
    "ESCAPE",
    "FIXEDWIDTH",
    "IGNOREALLERRORS",
    "IGNOREBLANKLINES",
    "IGNOREHEADER",
    "NOLOAD",
    "NULL",
    "QUOTE",
    "READRATIO",
    "REMOVEQUOTES",
    "ROUNDEC",
    "TIMEFORMAT",
    "TRIMBLANKS",
    "TRUNCATECOLUMNS",
];

/// Reads a COPY command from the tokens after the word COPY, gaps removed.
///
/// # Errors
/// The server's message.
pub fn parse(tokens: &[Token]) -> Result<CopyCommand, String> {
    let mut reader = Reader { tokens, at: 0 };
    let mut command = CopyCommand {
        table: reader.qualified_name()?,
        ..CopyCommand::default()
    };
    if reader.symbol("(") {
        command.columns = reader.column_list()?;
    }
    reader.expect_word("FROM")?;
    command.from = reader.text()?;
    if !command.from.starts_with("s3://") {
        return Err(format!(
            "The specified file '{}' is no S3 object: only COPY from s3:// is done here",
            command.from
        ));
    }
    let (mut authorised, mut parquet) = (false, false);
    while let Some(token) = reader.next() {
        let option = token.text.to_ascii_uppercase();
        match option.as_str() {
            "IAM_ROLE" => {
                authorised = true;
                if !reader.word("DEFAULT") && reader.text()?.is_empty() {
                    return Err("IAM_ROLE is empty".to_owned());
                }
            }
            "CREDENTIALS" => {
                authorised = true;
                reader.word("AS");
                reader.text()?;
            }
            "FORMAT" => {
                reader.word("AS");
                parquet = reader.word("PARQUET");
                if !parquet {
                    return Err(format!(
                        "COPY is done here from PARQUET only, not from {}",
                        reader.peek_text()
                    ));
                }
            }
            "PARQUET" => parquet = true,
            "MANIFEST" => command.manifest = true,
            "FILLRECORD" => command.fill_record = true,
            "EXPLICIT_IDS" => {}
            "STATUPDATE" => drop(reader.word("ON") || reader.word("OFF")),
            "ACCEPTINVCHARS" => {
                reader.word("AS");
                if reader.peek().is_some_and(|token| token.kind == Kind::Text) {
                    reader.text()?;
                }
            }
            "REGION" => {
                reader.word("AS");
                reader.text()?;
            }
            _ if NOT_WITH_PARQUET.contains(&option.as_str()) => {
                return Err(format!(
                    "{option} argument is not supported for PARQUET based COPY"
                ));
            }
            _ => return Err(format!("syntax error at or near \"{}\"", token.text)),
        }
    }
    match (parquet, authorised) {
        (false, _) => {
            Err("COPY is done here from PARQUET only: FORMAT AS PARQUET is missing".to_owned())
        }
        (_, false) => Err("must specify credentials: IAM_ROLE is missing".to_owned()),
        _ => Ok(command),
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        self.at += 1;
        self.tokens.get(self.at - 1)
    }

    fn peek_text(&self) -> &str {
        self.peek()
            .map_or("end of input", |token| token.text.as_str())
    }

    fn unexpected<T>(&self) -> Result<T, String> {
        Err(format!("syntax error at or near \"{}\"", self.peek_text()))
    }

    fn word(&mut self, word: &str) -> bool {
        let there = self.peek().is_some_and(|token| token.is_word(word));
        self.at += usize::from(there);
        there
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let there = self.peek().is_some_and(|token| token.is_symbol(symbol));
        self.at += usize::from(there);
        there
    }

    fn expect_word(&mut self, word: &str) -> Result<(), String> {
        if self.word(word) {
            Ok(())
        } else {
            self.unexpected()
        }
    }

    fn text(&mut self) -> Result<String, String> {
        match self.peek().and_then(Token::text_value) {
            Some(text) => {
                self.at += 1;
                Ok(text)
            }
            None => self.unexpected(),
        }
    }

    fn name(&mut self) -> Result<&'a Token, String> {
        match self.peek() {
            Some(token) if matches!(token.kind, Kind::Word | Kind::QuotedName) => {
                self.at += 1;
                Ok(token)
            }
            _ => self.unexpected(),
        }
    }

    fn qualified_name(&mut self) -> Result<String, String> {
        let mut name = self.name()?.text.clone();
        while self.symbol(".") {
            name = format!("{name}.{}", self.name()?.text);
        }
        Ok(name)
    }

    fn column_list(&mut self) -> Result<Vec<String>, String> {
        let mut columns = Vec::new();
        loop {
            columns.extend(self.name()?.name());
            if self.symbol(")") {
                return Ok(columns);
            }
            if !self.symbol(",") {
                return self.unexpected();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::cut;
    use super::*;

    fn read(sql: &str) -> Result<CopyCommand, String> {
        let tokens: Vec<Token> = cut(sql)?
            .into_iter()
            .filter(|token| token.kind != Kind::Gap)
            .collect();
        parse(&tokens[1..])
    }

    #[test]
    fn the_parts_of_a_copy_are_read() {
        let got = read(
            "COPY \"s\".t (a, \"B\") FROM 's3://b/m.json' IAM_ROLE 'arn:r' FORMAT AS PARQUET MANIFEST FILLRECORD STATUPDATE OFF ACCEPTINVCHARS '?'",
        );
        let expected = CopyCommand {
            table: "\"s\".t".to_owned(),
            columns: vec!["a".to_owned(), "B".to_owned()],
            from: "s3://b/m.json".to_owned(),
            manifest: true,
            fill_record: true,
        };
        assert_eq!(got, Ok(expected));
        assert!(
            read("copy t from 's3://b/p/' iam_role default format parquet")
                .is_ok_and(|command| !command.manifest)
        );
    }

    #[test]
    fn options_that_do_not_go_with_parquet_are_refused() {
        for option in NOT_WITH_PARQUET {
            let got = read(&format!(
                "COPY t FROM 's3://b/m' IAM_ROLE 'r' FORMAT AS PARQUET {option} 1"
            ));
            assert_eq!(
                got,
                Err(format!(
                    "{option} argument is not supported for PARQUET based COPY"
                ))
            );
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let check = |sql: &str, part: &str| {
            assert!(
                read(sql).is_err_and(|why| why.contains(part)),
                "{sql}: {part}"
            )
        };
        check(
            "COPY t FROM 's3://b/m' FORMAT AS PARQUET",
            "IAM_ROLE is missing",
        );
        check(
            "COPY t FROM 's3://b/m' IAM_ROLE 'r'",
            "FORMAT AS PARQUET is missing",
        );
        check(
            "COPY t FROM 's3://b/m' IAM_ROLE 'r' FORMAT AS CSV",
            "not from CSV",
        );
        check("COPY t FROM STDIN", "at or near \"STDIN\"");
        check("COPY t FROM 'file' IAM_ROLE 'r' PARQUET", "no S3 object");
        check(
            "COPY t FROM 's3://b/m' IAM_ROLE 'r' PARQUET NONSENSE",
            "at or near \"NONSENSE\"",
        );
    }
}
