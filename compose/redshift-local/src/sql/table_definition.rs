//! CREATE TABLE and ALTER TABLE without physical layout and without keys: Redshift takes keys as
//! hints and never enforces them.

use super::Statement;
use super::tokens::{Kind, Token, join};
use super::types::{column_type, varbyte_length};

/// True for CREATE TABLE, temporary or not, with a column list.
pub fn is_create_table(words: &[&Token]) -> bool {
    let after = |token: &&&Token| {
        !["CREATE", "LOCAL", "TEMP", "TEMPORARY"]
            .iter()
            .any(|word| token.is_word(word))
    };
    words
        .iter()
        .find(after)
        .is_some_and(|token| token.is_word("TABLE"))
}

/// Rewrites CREATE TABLE.
///
/// # Errors
/// The server's message for what Redshift does not know.
pub fn create(tokens: &[Token]) -> Result<String, String> {
    let tokens = without_gaps(tokens);
    let as_query = tokens.iter().position(|token| token.is_word("AS"));
    let open = tokens
        .iter()
        .position(|token| token.is_symbol("("))
        .filter(|open| as_query.is_none_or(|at| *open < at));
    let (Some(open), false) = (open, starts_with_layout(&tokens)) else {
        return create_as(&tokens, as_query);
    };
    let close = closing(&tokens, open)?;
    let items = split(&tokens[open + 1..close]);
    let keys: Vec<String> = items
        .iter()
        .filter(|item| is_primary_key(item))
        .flat_map(|item| names_in_parentheses(item))
        .collect();
    let mut columns = Vec::new();
    for item in items {
        columns.extend(table_item(item, &keys)?);
    }
    let mut rest = table_attributes(&tokens[close + 1..])?;
    rest.insert(0, Token::written(Kind::Symbol, ")"));
    Ok(format!(
        "{}({}{}",
        spaced(&tokens[..open]),
        columns.join(", "),
        spaced(&rest)
    ))
}

/// `CREATE TABLE t [layout] AS query`.
fn create_as(tokens: &[Token], as_query: Option<usize>) -> Result<String, String> {
    let Some(as_query) = as_query else {
        return Err("syntax error at end of input".to_owned());
    };
    let name = tokens[..as_query]
        .iter()
        .position(|token| LAYOUT.iter().any(|word| token.is_word(word)))
        .unwrap_or(as_query);
    let layout = table_attributes(&tokens[name..as_query])?;
    Ok(format!(
        "{}{}{}",
        spaced(&tokens[..name]),
        spaced(&layout),
        spaced(&tokens[as_query..])
    ))
}

/// Rewrites ALTER TABLE.
///
/// # Errors
/// The server's message for what Redshift does not know.
pub fn alter(tokens: &[Token]) -> Result<Statement, String> {
    let tokens = without_gaps(tokens);
    let action = tokens
        .iter()
        .skip(2)
        .position(|token| ACTIONS.iter().any(|word| token.is_word(word)))
        .map(|at| at + 2);
    let Some(action) = action else {
        return Err("syntax error in ALTER TABLE".to_owned());
    };
    let second = tokens
        .get(action + 1)
        .map_or(String::new(), |token| token.text.to_ascii_uppercase());
    match (
        tokens[action].text.to_ascii_uppercase().as_str(),
        second.as_str(),
    ) {
        ("ADD", "CONSTRAINT" | "PRIMARY" | "UNIQUE" | "FOREIGN") => Ok(Statement::Nothing),
        ("ADD", "CHECK" | "EXCLUDE") => Err(format!(
            "{second} constraints are not supported on Redshift tables."
        )),
        ("ALTER", "DISTSTYLE" | "DISTKEY" | "SORTKEY" | "COMPOUND" | "INTERLEAVED" | "ENCODE") => {
            Ok(Statement::Nothing)
        }
        ("ADD", _) => {
            if split(&tokens[action..]).len() > 1 {
                return Err(
                    "ALTER TABLE ADD COLUMN takes one column: syntax error at or near \",\""
                        .to_owned(),
                );
            }
            let column = action + 1 + usize::from(second == "COLUMN");
            if tokens.get(column).is_some_and(|token| token.is_word("IF")) {
                return Err("syntax error at or near \"IF\"".to_owned());
            }
            let item = table_item(&tokens[column..], &[])?;
            Ok(Statement::Command(format!(
                "{}COLUMN {}",
                spaced(&tokens[..=action]),
                item.unwrap_or_default()
            )))
        }
        _ => Ok(Statement::Command(spaced(&tokens))),
    }
}

const ACTIONS: [&str; 7] = ["ADD", "ALTER", "DROP", "RENAME", "OWNER", "APPEND", "SET"];

const LAYOUT: [&str; 7] = [
    "DISTSTYLE",
    "DISTKEY",
    "SORTKEY",
    "COMPOUND",
    "INTERLEAVED",
    "BACKUP",
    "ENCODE",
];

fn starts_with_layout(tokens: &[Token]) -> bool {
    let open = tokens.iter().position(|token| token.is_symbol("("));
    let layout = tokens
        .iter()
        .position(|token| LAYOUT.iter().any(|word| token.is_word(word)));
    matches!((open, layout), (Some(open), Some(layout)) if layout < open)
}

/// One column or constraint of a table; `None` for a constraint that is taken as a hint.
fn table_item(item: &[Token], keys: &[String]) -> Result<Option<String>, String> {
    let first = item
        .first()
        .map_or(String::new(), |token| token.text.to_ascii_uppercase());
    let unquoted = item.first().is_some_and(|token| token.kind == Kind::Word);
    match first.as_str() {
        "PRIMARY" | "UNIQUE" | "FOREIGN" | "CONSTRAINT" if unquoted => return Ok(None),
        "CHECK" | "EXCLUDE" if unquoted => {
            return Err(format!(
                "{first} constraints are not supported on Redshift tables."
            ));
        }
        "LIKE" if unquoted => return Ok(Some(like(item))),
        _ => {}
    }
    let Some(name) = item.first() else {
        return Err("syntax error at or near \",\"".to_owned());
    };
    let (mut out, mut at) = (vec![name.clone()], 1);
    if let Some((end, written)) = column_type(item, 1)? {
        out.push(Token::written(Kind::Word, &written));
        at = end;
    }
    if item.iter().any(|token| token.is_symbol("[")) {
        return Err(format!(
            "Column \"{}\" has unsupported type \"array\".",
            name.text
        ));
    }
    column_attributes(item, at, &mut out)?;
    if let Some(length) = varbyte_length(item, 1)? {
        // PostgreSQL's type for it has no length of its own.
        out.push(Token::written(
            Kind::Word,
            &format!("CHECK (octet_length({}) <= {length})", name.text),
        ));
    }
    let key = name.name().is_some_and(|name| keys.contains(&name));
    if key && !out.iter().any(|token| token.is_word("NULL")) {
        out.push(Token::written(Kind::Word, "NOT NULL"));
    }
    Ok(Some(spaced(&out).trim_end().to_owned()))
}

/// `LIKE parent [INCLUDING DEFAULTS]`. The only constraints there are are lengths, which belong to
/// the type.
fn like(item: &[Token]) -> String {
    format!("{}INCLUDING CONSTRAINTS", spaced(item))
}

fn column_attributes(item: &[Token], mut at: usize, out: &mut Vec<Token>) -> Result<(), String> {
    while let Some(token) = item
        .get(at)
        .filter(|token| token.kind == Kind::Word)
        .or(item.get(at))
    {
        let word = if token.kind == Kind::Word {
            token.text.to_ascii_uppercase()
        } else {
            String::new()
        };
        match word.as_str() {
            "DISTKEY" | "SORTKEY" | "UNIQUE" => at += 1,
            "ENCODE" => at += 2,
            "COLLATE" => at += 2,
            "PRIMARY" => {
                out.push(Token::written(Kind::Word, "NOT NULL"));
                at += 2;
            }
            "REFERENCES" => at = after_parentheses(item, at + 2)?,
            "CHECK" => {
                return Err("CHECK constraints are not supported on Redshift tables.".to_owned());
            }
            "IDENTITY" => {
                let end = after_parentheses(item, at + 1)?;
                let numbers: Vec<&Token> = item[at..end]
                    .iter()
                    .filter(|token| token.kind == Kind::Number)
                    .collect();
                let [seed, step] = numbers.as_slice() else {
                    return Err("syntax error at or near \"IDENTITY\"".to_owned());
                };
                let always = if out.last().is_some_and(|token| token.is_word("AS")) {
                    ""
                } else {
                    "GENERATED ALWAYS AS "
                };
                let text = format!(
                    "{always}IDENTITY (START WITH {} INCREMENT BY {})",
                    seed.text, step.text
                );
                out.push(Token::written(Kind::Word, &text));
                at = end;
            }
            _ => {
                out.push(token.clone());
                at += 1;
            }
        }
    }
    Ok(())
}

/// What follows the column list, without physical layout.
fn table_attributes(tokens: &[Token]) -> Result<Vec<Token>, String> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        let word = token.text.to_ascii_uppercase();
        match word.as_str() {
            "DISTSTYLE" | "BACKUP" | "ENCODE" => at += 2,
            "COMPOUND" | "INTERLEAVED" => at += 1,
            "SORTKEY"
                if tokens
                    .get(at + 1)
                    .is_some_and(|token| token.is_word("AUTO")) =>
            {
                at += 2
            }
            "DISTKEY" | "SORTKEY" => at = after_parentheses(tokens, at + 1)?,
            "INHERITS" | "TABLESPACE" | "PARTITION" | "WITH" | "USING" => {
                return Err(format!("syntax error at or near \"{}\"", token.text));
            }
            _ => {
                out.push(token.clone());
                at += 1;
            }
        }
    }
    Ok(out)
}

fn is_primary_key(item: &[Token]) -> bool {
    let constraint = usize::from(
        item.first()
            .is_some_and(|token| token.is_word("CONSTRAINT")),
    ) * 2;
    item.get(constraint)
        .is_some_and(|token| token.is_word("PRIMARY"))
}

fn names_in_parentheses(item: &[Token]) -> Vec<String> {
    let inside = item
        .iter()
        .skip_while(|token| !token.is_symbol("("))
        .take_while(|token| !token.is_symbol(")"));
    inside.filter_map(Token::name).collect()
}

/// The place behind parentheses that may open at `at`.
fn after_parentheses(tokens: &[Token], at: usize) -> Result<usize, String> {
    match tokens.get(at) {
        Some(token) if token.is_symbol("(") => Ok(closing(tokens, at)? + 1),
        _ => Ok(at),
    }
}

fn closing(tokens: &[Token], open: usize) -> Result<usize, String> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        depth += i32::from(token.is_symbol("(")) - i32::from(token.is_symbol(")"));
        if depth == 0 {
            return Ok(at);
        }
    }
    Err("syntax error at end of input".to_owned())
}

/// Cuts at commas outside parentheses.
fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut items, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        depth += i32::from(token.is_symbol("(")) - i32::from(token.is_symbol(")"));
        if depth == 0 && token.is_symbol(",") {
            items.push(&tokens[start..at]);
            start = at + 1;
        }
    }
    items.push(&tokens[start..]);
    items
}

fn without_gaps(tokens: &[Token]) -> Vec<Token> {
    tokens
        .iter()
        .filter(|token| token.kind != Kind::Gap)
        .cloned()
        .collect()
}

/// Joins tokens with a space after each, which is white space enough between any two; `.` and `::`
/// hold what they join.
fn spaced(tokens: &[Token]) -> String {
    let mut out = Vec::with_capacity(tokens.len() * 2);
    for token in tokens {
        out.push(token.clone());
        out.push(Token::written(Kind::Gap, " "));
    }
    join(&out)
}
