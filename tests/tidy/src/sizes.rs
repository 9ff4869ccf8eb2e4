//! How long files and functions of product code are, in lines of code: comments and empty lines are
//! free, so that a reason costs nothing.

use crate::Findings;
use crate::source::{Source, end_of_block, find_word};

/// Bounds on product code, with those that exceed them.
#[derive(Debug)]
pub struct Bounds<'a> {
    /// Most lines of code of a file, without its tests.
    pub file: usize,
    /// Most lines of code of a function, from `fn` to its closing brace.
    pub function: usize,
    /// Files that are longer, and how long they may be.
    pub files: &'a [(&'a str, usize)],
    /// Functions that are longer, as `path fn name`, and how long they may be.
    pub functions: &'a [(&'a str, usize)],
}

/// Finds files and functions over the bounds, and exceptions that are no longer needed.
#[must_use]
pub fn check(bounds: &Bounds<'_>, sources: &[Source]) -> Findings {
    let mut findings = Vec::new();
    let files = sources
        .iter()
        .map(|source| (source.path.clone(), code_lines(&source.product)));
    judge(bounds.file, bounds.files, files, &mut findings);
    let functions = sources.iter().flat_map(functions);
    judge(bounds.function, bounds.functions, functions, &mut findings);
    findings
}

fn judge(
    most: usize,
    exceptions: &[(&str, usize)],
    found: impl Iterator<Item = (String, usize)>,
    findings: &mut Findings,
) {
    let mut needed = vec![false; exceptions.len()];
    for (what, lines) in found.filter(|(_, lines)| *lines > most) {
        match exceptions.iter().position(|(known, _)| *known == what) {
            Some(known) if lines <= exceptions[known].1 => needed[known] = true,
            Some(known) => {
                needed[known] = true;
                findings.push(format!(
                    "{what}: {lines} lines; it had {} and may only shrink",
                    exceptions[known].1
                ));
            }
            None => findings.push(format!("{what}: {lines} lines; {most} at most")),
        }
    }
    for ((what, _), needed) in exceptions.iter().zip(needed) {
        if !needed {
            findings.push(format!(
                "{what}: within {most} lines, or gone; take it off the list"
            ));
        }
    }
}

/// Lines that hold code.
fn code_lines(code: &str) -> usize {
    code.lines().filter(|line| !line.trim().is_empty()).count()
}

/// Functions of a file with their lengths.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let code = source.product.as_str();
    let mut found = Vec::new();
    for at in find_word(code, "fn") {
        let name: String = code[at + 2..]
            .trim_start()
            .chars()
            .take_while(|sign| sign.is_alphanumeric() || *sign == '_')
            .collect();
        // A type `fn(..)` has no name, and the signature in a trait has no body.
        let body = code[at..].find('{').map_or(code.len(), |found| at + found);
        let mut signature = code[at..body].replace(|sign: char| sign.is_whitespace(), "");
        // `[T; N]` in a signature is no end of it.
        while let (Some(open), Some(close)) = (signature.rfind('['), signature.find(']')) {
            if open > close {
                break;
            }
            signature.replace_range(open..=close, "");
        }
        if name.is_empty() || signature.contains(';') {
            continue;
        }
        if let Some(end) = end_of_block(code, at) {
            let lines = code_lines(&code[at..end]);
            found.push((format!("{} fn {name}", source.path), lines));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Bounds, check};
    use crate::source::Source;

    #[test]
    fn long_files_and_functions_are_found_and_exceptions_only_shrink() {
        let bounds = Bounds {
            file: 6,
            function: 3,
            files: &[("old.rs", 7), ("short.rs", 9)],
            functions: &[("old.rs fn known", 4)],
        };
        let long = "fn long(a: [u8; 2]) {\n    // Why.\n    {}\n\n    {}\n}\n";
        let planted = [
            Source::new(
                "new.rs",
                &format!("{long}\nfn b() {{}}\nfn c() {{}}\nfn d() {{}}"),
            ),
            Source::new(
                "tests.rs",
                &format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{long}\n{long}}}\n"),
            ),
            Source::new(
                "old.rs",
                "trait T {\n    fn none(&self);\n}\nfn known() {\n{\n{\n{\n}\n}\n}\n}",
            ),
            Source::new("short.rs", ""),
        ];
        assert_eq!(
            check(&bounds, &planted),
            [
                "new.rs: 7 lines; 6 at most",
                "old.rs: 11 lines; it had 7 and may only shrink",
                "short.rs: within 6 lines, or gone; take it off the list",
                "new.rs fn long: 4 lines; 3 at most",
                "old.rs fn known: 8 lines; it had 4 and may only shrink",
            ]
        );
    }
}
