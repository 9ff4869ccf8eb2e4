//! Redshift's SQL read as PostgreSQL's: what one statement asks for, rewritten, or refused as
//! Redshift refuses it.

pub mod copy_command;
mod table_definition;
pub mod tokens;
mod types;

use copy_command::CopyCommand;
use tokens::{Kind, Token, cut, join};

use crate::wire::Parameter;

/// What a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Understood, and without effect here: physical layout, statistics, keys that are not
    /// enforced.
    Nothing,
    /// A COPY from S3.
    Copy(CopyCommand),
    /// SQL that gives rows.
    Query(String),
    /// SQL that gives none.
    Command(String),
}

/// First words of statements that are PostgreSQL's, not Redshift's.
const NOT_SUPPORTED: [[&str; 2]; 18] = [
    ["CREATE", "INDEX"],
    ["CREATE", "UNIQUE"],
    ["CREATE", "TRIGGER"],
    ["CREATE", "EXTENSION"],
    ["CREATE", "SEQUENCE"],
    ["CREATE", "RULE"],
    ["CREATE", "TYPE"],
    ["CREATE", "DOMAIN"],
    ["CREATE", "UNLOGGED"],
    ["CREATE", "TABLESPACE"],
    ["CREATE", "AGGREGATE"],
    ["DROP", "INDEX"],
    ["ALTER", "INDEX"],
    ["REINDEX", ""],
    ["CLUSTER", ""],
    ["LISTEN", ""],
    ["NOTIFY", ""],
    ["DO", ""],
];

/// Statements that would end the batch's transaction.
const TRANSACTION_CONTROL: [&str; 7] = [
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
];

/// Reads one statement; `last_copy_count` is what `pg_last_copy_count()` says.
///
/// # Errors
/// The server's message.
pub fn read(sql: &str, last_copy_count: i64) -> Result<Statement, String> {
    let tokens = one_statement(cut(sql)?)?;
    let words: Vec<&Token> = tokens
        .iter()
        .filter(|token| token.kind != Kind::Gap)
        .collect();
    let Some(first) = words.first() else {
        return Ok(Statement::Nothing);
    };
    let word = first.text.to_ascii_uppercase();
    refuse(&words, &word)?;
    match word.as_str() {
        "COPY" => {
            let arguments: Vec<Token> = words[1..].iter().map(|token| (*token).clone()).collect();
            copy_command::parse(&arguments).map(Statement::Copy)
        }
        "UNLOAD" => Err("UNLOAD is not done by this stand-in".to_owned()),
        "VACUUM" | "ANALYZE" => Ok(Statement::Nothing),
        // The stand-in's system views stay within reach.
        "SET"
            if words
                .get(1)
                .is_some_and(|token| token.is_word("search_path")) =>
        {
            Ok(Statement::Command(format!(
                "{}, redshift_catalog",
                join(&tokens)
            )))
        }
        "CREATE" if table_definition::is_create_table(&words) => {
            Ok(Statement::Command(table_definition::create(&tokens)?))
        }
        "ALTER" if words.get(1).is_some_and(|token| token.is_word("TABLE")) => {
            table_definition::alter(&tokens)
        }
        "CREATE" | "ALTER" if words.get(1).is_some_and(|token| token.is_word("USER")) => {
            Ok(Statement::Command(join(&without_password(&tokens))))
        }
        _ => {
            let rewritten = join(&expressions(&tokens, last_copy_count));
            let rows = ["SELECT", "WITH", "SHOW", "VALUES", "EXPLAIN"].contains(&word.as_str())
                || first.is_symbol("(");
            Ok(if rows {
                Statement::Query(rewritten)
            } else {
                Statement::Command(rewritten)
            })
        }
    }
}

/// Puts named values in the place of `:name`.
///
/// # Errors
/// The server's message for a parameter that the statement does not use.
pub fn bind(sql: &str, parameters: &[Parameter]) -> Result<String, String> {
    let mut tokens = cut(sql)?;
    for parameter in parameters {
        let mut used = false;
        for at in 1..tokens.len() {
            if tokens[at - 1].is_symbol(":") && tokens[at].is_word(&parameter.name) {
                tokens[at - 1].text.clear();
                tokens[at] = Token::written(
                    Kind::Text,
                    &format!("'{}'", parameter.value.replace('\'', "''")),
                );
                used = true;
            }
        }
        if !used {
            return Err(format!(
                "Parameters list contains unused parameters. Unused parameters: [{}]",
                parameter.name
            ));
        }
    }
    Ok(join(&tokens))
}

/// The tokens without the closing semicolon.
fn one_statement(mut tokens: Vec<Token>) -> Result<Vec<Token>, String> {
    while tokens
        .last()
        .is_some_and(|token| token.kind == Kind::Gap || token.is_symbol(";"))
    {
        tokens.pop();
    }
    match tokens.iter().any(|token| token.is_symbol(";")) {
        true => Err("cannot insert multiple commands into a prepared statement".to_owned()),
        false => Ok(tokens),
    }
}

fn refuse(words: &[&Token], first: &str) -> Result<(), String> {
    let second = words
        .get(1)
        .map_or(String::new(), |token| token.text.to_ascii_uppercase());
    if NOT_SUPPORTED
        .iter()
        .any(|[one, two]| *one == first && (two.is_empty() || *two == second))
    {
        return Err(format!(
            "SQL command \"{first} {second}\" not supported on Redshift tables."
        ));
    }
    if TRANSACTION_CONTROL.contains(&first) {
        return Err(format!(
            "{first} is not supported: a batch is one transaction by itself"
        ));
    }
    let syntax = |at: &str| Err(format!("syntax error at or near \"{at}\""));
    if first == "INSERT" {
        for (at, pair) in words.windows(2).enumerate() {
            if pair[0].is_word("ON") && pair[1].is_word("CONFLICT") {
                return syntax(&words[at].text);
            }
        }
    }
    if ["INSERT", "UPDATE", "DELETE"].contains(&first)
        && let Some(found) = words.iter().find(|token| token.is_word("RETURNING"))
    {
        return syntax(&found.text);
    }
    Ok(())
}

/// A user who logs in by IAM alone, as PostgreSQL makes him.
fn without_password(tokens: &[Token]) -> Vec<Token> {
    let disabled = (0..tokens.len())
        .find_map(|at| Some((at, words_end(tokens, at, &["PASSWORD", "DISABLE"])?)));
    let Some((begin, end)) = disabled else {
        return tokens.to_vec();
    };
    let written = Token::written(Kind::Word, "PASSWORD NULL");
    [&tokens[..begin], &[written], &tokens[end..]].concat()
}

/// Casts to Redshift's types, `pg_last_copy_count()`, and clauses that PostgreSQL has not.
fn expressions(tokens: &[Token], last_copy_count: i64) -> Vec<Token> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(end) = call_end(tokens, at, "pg_last_copy_count") {
            out.push(Token::written(Kind::Number, &last_copy_count.to_string()));
            at = end;
        } else if let Some(end) = words_end(tokens, at, &["WITH", "NO", "SCHEMA", "BINDING"]) {
            at = end;
        } else if let Some(end) = words_end(tokens, at, &["GETDATE", "(", ")"]) {
            out.push(Token::written(Kind::Word, "(now() AT TIME ZONE 'UTC')"));
            at = end;
        } else if let Some((end, written)) = is_type_place(&out)
            .then(|| types::redshift_only(tokens, at))
            .flatten()
        {
            out.push(Token::written(Kind::Word, &written));
            at = end;
        } else {
            out.push(token.clone());
            at += 1;
        }
    }
    out
}

/// True where the next token is the type of a cast.
fn is_type_place(before: &[Token]) -> bool {
    let last = before.iter().rev().find(|token| token.kind != Kind::Gap);
    last.is_some_and(|token| token.is_symbol("::") || token.is_word("AS"))
}

/// Where a call without arguments ends, schema in front included.
fn call_end(tokens: &[Token], at: usize, function: &str) -> Option<usize> {
    words_end(tokens, at, &[function, "(", ")"])
        .or_else(|| words_end(tokens, at, &["pg_catalog", ".", function, "(", ")"]))
}

/// Where this run of words and symbols ends, if it begins at `at`; gaps between them do not matter.
fn words_end(tokens: &[Token], at: usize, run: &[&str]) -> Option<usize> {
    let mut position = at;
    for (number, wanted) in run.iter().enumerate() {
        while number > 0
            && tokens
                .get(position)
                .is_some_and(|token| token.kind == Kind::Gap)
        {
            position += 1;
        }
        let token = tokens.get(position)?;
        if !token.is_word(wanted) && !token.is_symbol(wanted) {
            return None;
        }
        position += 1;
    }
    Some(position)
}

#[cfg(test)]
mod tests;
