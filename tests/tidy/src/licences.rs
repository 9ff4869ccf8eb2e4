//! Licences and origins of what is built in. The policy is `deny.toml`, which `cargo deny` reads
//! as well; this checker reads the same tables and needs nothing but cargo itself.

use crate::Findings;

/// What `deny.toml` says of licences, bans and origins.
#[derive(Debug, Default)]
pub struct Policy {
    /// Licences that any package may have.
    pub allowed: Vec<String>,
    /// Licences that one package may have, as (package, licence).
    pub exceptions: Vec<(String, String)>,
    /// Packages that may not be built in.
    pub banned: Vec<String>,
}

impl Policy {
    /// Reads `deny.toml`.
    ///
    /// # Errors
    /// When the text is no TOML.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text
            .parse()
            .map_err(|error| format!("deny.toml: {error}"))?;
        let array = |section: &str, key: &str| -> Vec<toml::Value> {
            let value = table.get(section).and_then(|section| section.get(key));
            value
                .and_then(toml::Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let text = |value: &toml::Value| value.as_str().unwrap_or_default().to_owned();
        let mut policy = Self {
            allowed: array("licenses", "allow").iter().map(text).collect(),
            ..Self::default()
        };
        for exception in array("licenses", "exceptions") {
            let package = exception.get("crate").map(text).unwrap_or_default();
            for licence in exception
                .get("allow")
                .and_then(toml::Value::as_array)
                .into_iter()
                .flatten()
            {
                policy.exceptions.push((package.clone(), text(licence)));
            }
        }
        for ban in array("bans", "deny") {
            policy
                .banned
                .extend(ban.get("crate").or(Some(&ban)).map(text));
        }
        Ok(policy)
    }
}

/// A package as `cargo metadata` describes it.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its licence expression; empty where it has none.
    pub licence: String,
    /// Where it comes from; `None` for one of this repository.
    pub origin: Option<String>,
}

/// The packages of `cargo metadata`'s answer that are built, those of this repository among them.
///
/// # Errors
/// When the text is no such answer.
pub fn packages(metadata: &str) -> Result<Vec<Package>, String> {
    let metadata: serde_json::Value =
        serde_json::from_str(metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata: no packages")?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    Ok(packages
        .iter()
        .map(|package| Package {
            name: text(&package["name"]).unwrap_or_default(),
            licence: text(&package["license"]).unwrap_or_default(),
            origin: text(&package["source"]),
        })
        .collect())
}

/// Finds packages with a licence that is not allowed, that are banned, or that come from elsewhere
/// than crates.io; and allowances that no package needs.
#[must_use]
pub fn check(policy: &Policy, packages: &[Package]) -> Findings {
    let mut findings = Vec::new();
    let mut needed: Vec<&str> = Vec::new();
    for package in packages {
        let name = &package.name;
        let may = |licence: &str| {
            let excepted =
                |exception: &(String, String)| exception.0 == *name && exception.1 == licence;
            policy.allowed.iter().any(|allowed| allowed == licence)
                || policy.exceptions.iter().any(excepted)
        };
        if !is_satisfied(&package.licence, &may) {
            findings.push(format!(
                "{name}: licence \"{}\" is not allowed by deny.toml",
                package.licence
            ));
        }
        needed.extend(words(&package.licence));
        if policy.banned.iter().any(|banned| banned == name) {
            findings.push(format!("{name}: is banned by deny.toml"));
        }
        let origin = package.origin.as_deref();
        if origin.is_some_and(|origin| !origin.contains("rust-lang/crates.io-index")) {
            findings.push(format!("{name}: comes from {}", origin.unwrap_or_default()));
        }
    }
    for idle in policy.allowed.iter().filter(|licence| {
        !needed
            .iter()
            .any(|needed| *needed == **licence || licence.starts_with(&format!("{needed} WITH ")))
    }) {
        findings.push(format!("deny.toml: no package has the licence {idle}"));
    }
    for (package, licence) in &policy.exceptions {
        if !packages.iter().any(|found| found.name == *package) {
            findings.push(format!("deny.toml: no package {package} needs {licence}"));
        }
    }
    findings
}

fn words(expression: &str) -> Vec<&str> {
    expression
        .split(|sign: char| sign.is_whitespace() || "()/".contains(sign))
        .filter(|word| !word.is_empty())
        .collect()
}

/// Whether a licence expression (names, `AND`, `OR`, parentheses; an exception behind `WITH`
/// belongs to its name; `/` is an old `OR`) can be satisfied. `OR` binds weaker than `AND`.
fn is_satisfied(expression: &str, may: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let satisfied = any_of(&tokens, &mut at, may);
    satisfied && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize, may: &dyn Fn(&str) -> bool) -> bool {
    let mut satisfied = all_of(tokens, at, may);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        satisfied |= all_of(tokens, at, may);
    }
    satisfied
}

fn all_of(tokens: &[&str], at: &mut usize, may: &dyn Fn(&str) -> bool) -> bool {
    let mut satisfied = one(tokens, at, may);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        satisfied &= one(tokens, at, may);
    }
    satisfied
}

fn one(tokens: &[&str], at: &mut usize, may: &dyn Fn(&str) -> bool) -> bool {
    let Some(token) = tokens.get(*at) else {
        return false;
    };
    *at += 1;
    if *token == "(" {
        let satisfied = any_of(tokens, at, may);
        *at += 1;
        return satisfied;
    }
    if tokens.get(*at) == Some(&"WITH") {
        let whole = format!("{token} WITH {}", tokens.get(*at + 1).unwrap_or(&""));
        *at += 2;
        return may(&whole);
    }
    may(token)
}

#[cfg(test)]
mod tests {
    use super::{Package, Policy, check, packages};

    const DENY: &str = "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Zlib\"]\n\
                        exceptions = [{ crate = \"ring\", allow = [\"OpenSSL\"] }]\n\
                        [bans]\ndeny = [{ crate = \"openssl\" }]";

    fn package(name: &str, licence: &str, origin: &str) -> Package {
        Package {
            name: name.to_owned(),
            licence: licence.to_owned(),
            origin: Some(origin.to_owned()),
        }
    }

    #[test]
    fn licences_bans_and_origins_are_found() {
        let here = "registry+https://github.com/rust-lang/crates.io-index";
        let planted = [
            package("either", "GPL-3.0 OR (MIT AND Zlib)", here),
            package("old", "MIT/Apache-2.0", here),
            package("ring", "OpenSSL AND MIT", here),
            package("copyleft", "MIT AND GPL-3.0", here),
            package("bare", "Apache-2.0 WITH LLVM-exception", here),
            package("openssl", "MIT", here),
            package("none", "", here),
            package("fork", "MIT", "git+https://example.org/fork"),
        ];
        assert_eq!(
            check(&Policy::parse(DENY).unwrap(), &planted),
            [
                "copyleft: licence \"MIT AND GPL-3.0\" is not allowed by deny.toml",
                "bare: licence \"Apache-2.0 WITH LLVM-exception\" is not allowed by deny.toml",
                "openssl: is banned by deny.toml",
                "none: licence \"\" is not allowed by deny.toml",
                "fork: comes from git+https://example.org/fork",
            ]
        );
        assert_eq!(
            check(&Policy::parse(DENY).unwrap(), &planted[..2]),
            ["deny.toml: no package ring needs OpenSSL"]
        );
    }

    #[test]
    fn packages_are_read_from_cargo_metadata() {
        let metadata =
            "{\"packages\": [{\"name\": \"a\", \"license\": \"MIT\", \"source\": null}]}";
        let found = packages(metadata).unwrap();
        assert_eq!(
            (found[0].name.as_str(), found[0].licence.as_str()),
            ("a", "MIT")
        );
        assert!(found[0].origin.is_none() && packages("{}").is_err());
    }
}
