//! Documentation of public items. The compiler's `missing_docs` sees what can be reached from
//! outside of a crate; this checker sees public items of private modules, too. A type that allows
//! `missing_docs`, because the names of its fields say all there is, may leave its fields without.

use crate::Findings;
use crate::source::Source;

/// What a public item can be. A module has its documentation in its file.
const KINDS: &[&str] = &[
    "fn ",
    "async fn ",
    "const fn ",
    "unsafe fn ",
    "struct ",
    "enum ",
    "trait ",
    "type ",
    "const ",
    "static ",
    "union ",
];

/// Finds public items and fields of product code without a documentation comment.
#[must_use]
pub fn check(sources: &[Source]) -> Findings {
    let mut findings = Vec::new();
    for source in sources {
        let text: Vec<&str> = source.text.lines().collect();
        // Whether the fields of the type that the line is in need documentation: not those of a
        // private type.
        let mut fields = false;
        for (number, line) in source.product.lines().enumerate() {
            let above = &text[..number];
            if line.trim_start().starts_with("struct ") {
                fields = false;
            }
            let Some((item, is_field)) = public_item(line) else {
                continue;
            };
            if !is_field {
                fields = !attributes(above).any(|line| line.contains("missing_docs"));
            }
            if (fields || !is_field) && !is_documented(above) {
                findings.push(format!(
                    "{}:{}: `{item}` has no documentation",
                    source.path,
                    number + 1
                ));
            }
        }
    }
    findings
}

/// The name of a public item or field that a line declares, and whether it is a field.
fn public_item(line: &str) -> Option<(&str, bool)> {
    let is_part = |sign: char| sign.is_alphanumeric() || sign == '_';
    let declared = line.trim_start().strip_prefix("pub ")?;
    if let Some(kind) = KINDS.iter().find(|kind| declared.starts_with(**kind)) {
        let rest = &declared[kind.len()..];
        let end = rest.find(|sign| !is_part(sign)).unwrap_or(rest.len());
        return Some((&rest[..end], false));
    }
    let (field, rest) = declared.split_once(':')?;
    (field.chars().all(is_part) && !rest.starts_with(':')).then_some((field, true))
}

/// The attributes and comments directly above an item, from below.
fn attributes<'a>(above: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let mut in_attribute = false;
    above
        .iter()
        .rev()
        .map(|line| line.trim())
        .take_while(move |line| {
            if line.starts_with("#[") {
                in_attribute = false;
                return true;
            }
            in_attribute |= line.ends_with(")]") || line.ends_with("}]");
            in_attribute || line.starts_with("//")
        })
}

/// Whether an item has a documentation comment.
fn is_documented(above: &[&str]) -> bool {
    attributes(above).any(|line| line.starts_with("///") || line.starts_with("#[doc"))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::source::Source;

    #[test]
    fn a_public_item_or_field_without_documentation_is_found_in_private_modules_too() {
        let planted = Source::new(
            "a/src/private.rs",
            "/// Documented.\n#[derive(Debug)]\npub struct A {\n    /// A field.\n    pub a: u8,\n    pub b: u8,\n}\n\
             pub fn c() {}\n/// Documented.\n#[must_use]\n#[expect(\n    x,\n    reason = \"\"\n)]\npub const fn d() {}\n\
             /// All said.\n#[allow(missing_docs)]\npub struct G {\n    pub h: u8,\n}\nstruct I {\n
             /// pub j: u8,\n}\n\
             pub use x::y;\npub mod z;\npub(crate) fn e() {}\n#[cfg(test)]\nmod tests { pub fn f() {} }\n",
        );
        assert_eq!(
            check(&[planted]),
            [
                "a/src/private.rs:6: `b` has no documentation",
                "a/src/private.rs:8: `c` has no documentation",
            ]
        );
    }
}
