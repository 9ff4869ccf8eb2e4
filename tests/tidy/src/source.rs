//! Rust sources as the checkers see them: which files there are, and their text without comments,
//! strings and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are looked through for sources and documents.
const FOLDERS: &[&str] = &[
    "actors", "compose", "docs", "helm", "infra", "runtime", "schemas", "tests",
];

/// A source file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// The text with comments and the contents of strings replaced by blanks.
    pub code: String,
    /// `code` without what is compiled for tests only; blank for a file of tests.
    pub product: String,
}

impl Source {
    /// A source of a path and its text.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        let code = without_comments_and_strings(text);
        let product = if is_test_file(path) {
            String::new()
        } else {
            without_test_items(&code)
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            product,
        }
    }
}

/// Whether all of a file is compiled for tests only, or the file is a part of the test crates.
#[must_use]
pub fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Rust sources of the repository, by path.
///
/// # Panics
/// When a file cannot be read.
#[must_use]
pub fn sources() -> Vec<Source> {
    files("rs")
        .iter()
        .map(|path| Source::new(path, &read(path)))
        .collect()
}

/// Paths of all files with an extension in the repository, sorted.
///
/// # Panics
/// When a folder cannot be read.
#[must_use]
pub fn files(extension: &str) -> Vec<String> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    let at_the_top = fs::read_dir(&root).expect("the root of the repository is a folder");
    let mut paths: Vec<PathBuf> = at_the_top
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                }
            } else {
                paths.push(path);
            }
        }
    }
    for path in paths {
        if path.extension().is_some_and(|found| found == extension) {
            let path = path.strip_prefix(&root).expect("found below the root");
            found.push(path.to_string_lossy().replace('\\', "/"));
        }
    }
    found.sort();
    found
}

/// The text of a file of the repository.
///
/// # Panics
/// When the file cannot be read.
#[must_use]
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Number of the line of a byte, from 1.
#[must_use]
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// Where a word stands that is no part of a longer one. The word may begin or end with signs, such
/// as `sleep(`; only where it begins or ends with a letter is its neighbour looked at.
pub fn find_word<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (first, last) = (word.as_bytes()[0], word.as_bytes()[word.len() - 1]);
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let bytes = text.as_bytes();
            let before = at.checked_sub(1).map(|before| bytes[before]);
            let after = bytes.get(at + word.len()).copied();
            !(part(first) && before.is_some_and(part) || part(last) && after.is_some_and(part))
        })
}

/// The end of a block: the byte after the `}` that closes the first `{` from `from` on.
#[must_use]
pub fn end_of_block(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Replaces what stands between two bytes by blanks; ends of lines stay.
fn blank(text: &mut [u8], from: usize, to: usize) {
    for byte in &mut text[from..to] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// Rust code with comments and the contents of strings and characters replaced by blanks, so that
/// places and lines stay the same.
#[must_use]
pub fn without_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let begins_word =
            at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let end = if rest.starts_with(b"//") {
            at + rest
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            at + comment_length(rest)
        } else if let Some(length) = begins_word.then(|| raw_string_length(rest)).flatten() {
            at + length
        } else if rest[0] == b'"' {
            at + quoted_length(rest)
        } else if let Some(length) = character_length(rest) {
            at + length
        } else {
            at += 1;
            continue;
        };
        blank(&mut code, at, end);
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Length of a comment of several lines, which may hold others.
fn comment_length(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Length of a raw string with its prefix, if one begins here.
fn raw_string_length(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"br"[..], b"cr", b"r"]
        .iter()
        .find(|prefix| rest.starts_with(prefix))?
        .len();
    let hashes = rest[prefix..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return None;
    }
    let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = prefix + hashes + 1;
    let end = rest[body..]
        .windows(close.len())
        .position(|window| window == close)?;
    Some(body + end + close.len())
}

/// Length of a string in quotation marks.
fn quoted_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a character, if one begins here; a lifetime is none.
fn character_length(rest: &[u8]) -> Option<usize> {
    if rest[0] != b'\'' || rest.len() < 3 {
        return None;
    }
    if rest[1] == b'\\' {
        let end = rest[3..].iter().position(|byte| *byte == b'\'')?;
        return Some(3 + end + 1);
    }
    let width = match rest[1] {
        0..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

/// Code in which every item behind `#[cfg(test)]` is blank.
#[must_use]
pub fn without_test_items(code: &str) -> String {
    let mut product = code.as_bytes().to_vec();
    let mark = "#[cfg(test)]";
    for (at, _) in code.match_indices(mark) {
        let body = at + mark.len();
        let block = code[body..].find('{').map(|found| body + found);
        let semicolon = code[body..].find(';').map(|found| body + found);
        let end = match (block, semicolon) {
            (Some(block), Some(semicolon)) if semicolon < block => Some(semicolon + 1),
            (Some(_), _) => end_of_block(code, body),
            (None, semicolon) => semicolon.map(|at| at + 1),
        };
        blank(&mut product, at, end.unwrap_or(code.len()));
    }
    String::from_utf8_lossy(&product).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Source, find_word, is_test_file, without_comments_and_strings};

    #[test]
    fn comments_strings_and_characters_are_blank_and_lifetimes_are_not() {
        let text = "let a = \"x // y\"; // z\nlet b = r#\"q\"q\"#; /* c /* d */ e */ let c = '\"'; \
                    let d: &'static str = b\"w\\\"\"; let e = '\\n';";
        let code = without_comments_and_strings(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.lines().count(), 2);
        for gone in ["x", "y", "z", "q", "w", "\"", "c /*", "\\n"] {
            assert!(!code.contains(gone), "{gone}: {code}");
        }
        for kept in [
            "let a = ",
            "let b = ",
            "let c = ",
            "&'static str",
            "let e = ",
        ] {
            assert!(code.contains(kept), "{kept}: {code}");
        }
    }

    #[test]
    fn what_is_compiled_for_tests_only_is_no_product_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { {} }\n}\n\
                    #[cfg(test)]\nmod other;\nfn c() {}\n";
        let source = Source::new("runtime/x/src/lib.rs", text);
        assert!(source.product.contains("fn a()") && source.product.contains("fn c()"));
        assert!(!source.product.contains("fn b()") && !source.product.contains("other"));
        assert!(is_test_file("actors/src/rules/tests.rs") && is_test_file("tests/it/main.rs"));
        assert!(is_test_file("actors/src/window/tests/support.rs"));
        assert!(!is_test_file("actors/src/rules/condition.rs"));
    }

    #[test]
    fn a_word_is_found_where_it_is_no_part_of_another() {
        assert_eq!(
            find_word("told untold told_to told", "told").collect::<Vec<_>>(),
            [0, 20]
        );
        assert_eq!(find_word("x.sleep(1)", "sleep(").count(), 1);
        assert_eq!(find_word("x.asleep(1)", "sleep(").count(), 0);
    }
}
