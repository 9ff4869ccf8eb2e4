//! What crates depend on, read from their manifests: which of this repository they may use, which
//! driver may stand where, and dependencies that are not used.

use std::collections::BTreeMap;

use crate::Findings;
use crate::source::{Source, find_word};

/// A crate of this repository.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Name of the package.
    pub name: String,
    /// Folder, from the root of the repository.
    pub folder: String,
    /// Dependencies of the product, optional ones and those of a platform among them.
    pub dependencies: Vec<String>,
    /// Dependencies of tests.
    pub dev_dependencies: Vec<String>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When the text is no manifest of a package.
    pub fn parse(folder: &str, text: &str) -> Result<Self, String> {
        let table: toml::Table = text
            .parse()
            .map_err(|error| format!("{folder}/Cargo.toml: {error}"))?;
        let name = table
            .get("package")
            .and_then(|package| package.get("name")?.as_str())
            .ok_or_else(|| format!("{folder}/Cargo.toml has no package"))?;
        let mut dependencies = names(table.get("dependencies"));
        dependencies.extend(names(table.get("build-dependencies")));
        for platform in table
            .get("target")
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten()
        {
            dependencies.extend(names(platform.1.get("dependencies")));
        }
        Ok(Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            dependencies,
            dev_dependencies: names(table.get("dev-dependencies")),
        })
    }
}

fn names(table: Option<&toml::Value>) -> Vec<String> {
    let table = table.and_then(toml::Value::as_table);
    table
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

/// Compares the crates with a table of what each may use. The table is in order: a crate may use
/// only crates that stand above it, so arrows point one way. A crate that is not in the table, as a
/// new adapter, may use those in `others`, and no crate of the table may use it.
#[must_use]
pub fn check_arrows(
    table: &[(&str, &[&str])],
    others: &[&str],
    manifests: &[Manifest],
) -> Findings {
    let mut findings = Vec::new();
    let place: BTreeMap<&str, usize> = table.iter().map(|(name, _)| *name).zip(0..).collect();
    for (index, (name, allowed)) in table.iter().enumerate() {
        let mut used = Vec::new();
        match manifests.iter().find(|manifest| manifest.name == **name) {
            Some(manifest) => used.clone_from(&manifest.dependencies),
            None => findings.push(format!("{name}: is in the table and not in the workspace")),
        }
        for other in *allowed {
            if place.get(other).is_none_or(|above| *above >= index) {
                findings.push(format!(
                    "{name}: the table lets it use {other}, which stands below"
                ));
            }
            if !used.iter().any(|used| used == other) {
                findings.push(format!(
                    "{name}: does not use {other}; take it off the table"
                ));
            }
        }
    }
    for manifest in manifests {
        let known = place.get(manifest.name.as_str());
        let allowed = known.map_or(others, |place| table[*place].1);
        for used in &manifest.dependencies {
            let is_ours = manifests.iter().any(|other| other.name == *used);
            if is_ours && !allowed.contains(&used.as_str()) {
                findings.push(format!("{}: may not depend on {used}", manifest.name));
            }
        }
    }
    findings
}

/// Finds drivers in the dependencies of crates that may not use them. A driver is named by the
/// beginning of its name, `aws-` for all of AWS.
#[must_use]
pub fn check_drivers(table: &[(&str, &[&str])], manifests: &[Manifest]) -> Findings {
    let mut findings = Vec::new();
    for (driver, places) in table {
        let uses = |manifest: &Manifest| {
            manifest
                .dependencies
                .iter()
                .any(|used| used == driver || driver.ends_with('-') && used.starts_with(driver))
        };
        for manifest in manifests.iter().filter(|manifest| uses(manifest)) {
            if !places.contains(&manifest.name.as_str()) {
                findings.push(format!("{}: may not depend on {driver}", manifest.name));
            }
        }
        for idle in places.iter().filter(|place| {
            !manifests
                .iter()
                .any(|manifest| manifest.name == **place && uses(manifest))
        }) {
            findings.push(format!(
                "{idle}: does not use {driver}; take it off the table"
            ));
        }
    }
    findings
}

/// Finds dependencies that no source of their crate names. `used_unnamed` holds those that are
/// needed all the same, as `crate: dependency`, with the reason.
#[must_use]
pub fn check_unused(
    manifests: &[Manifest],
    sources: &[Source],
    used_unnamed: &[(&str, &str)],
) -> Findings {
    let mut findings = Vec::new();
    for manifest in manifests {
        let folder = format!("{}/", manifest.folder);
        let inner = |path: &str| {
            manifests.iter().any(|other| {
                other.folder.starts_with(&folder) && path.starts_with(&format!("{}/", other.folder))
            })
        };
        let own: Vec<&Source> = sources
            .iter()
            .filter(|source| source.path.starts_with(&folder) && !inner(&source.path))
            .collect();
        for dependency in manifest
            .dependencies
            .iter()
            .chain(&manifest.dev_dependencies)
        {
            let name = dependency.replace('-', "_");
            let named = own
                .iter()
                .any(|source| find_word(&source.code, &name).next().is_some());
            let key = format!("{}: {dependency}", manifest.name);
            let known = used_unnamed.iter().any(|(known, _)| *known == key);
            if named == known {
                findings.push(if named {
                    format!("{key} is named by its sources; take it off the list")
                } else {
                    format!("{key} is not used")
                });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{Manifest, check_arrows, check_drivers, check_unused};
    use crate::source::Source;

    fn planted() -> [Manifest; 2] {
        let core = "[package]\nname = \"core\"\n[dependencies]\nserde = \"1\"\nserver = \"1\"\n\
                    [dev-dependencies]\nquickcheck = \"1\"";
        let server = "[package]\nname = \"server\"\n[target.'cfg(unix)'.dependencies]\naws-s3 = \"1\"\n\
                      [dependencies]\ncore = \"1\"";
        [
            Manifest::parse("core", core).unwrap(),
            Manifest::parse("core/server", server).unwrap(),
        ]
    }

    #[test]
    fn an_arrow_upward_and_a_crate_outside_of_the_table_are_found() {
        let table: &[(&str, &[&str])] = &[("core", &[]), ("server", &["core"])];
        assert_eq!(
            check_arrows(table, &[], &planted()),
            ["core: may not depend on server"]
        );
        assert_eq!(
            check_arrows(&[("core", &["server"]), ("other", &[])], &[], &planted()),
            [
                "core: the table lets it use server, which stands below",
                "other: is in the table and not in the workspace",
                "server: may not depend on core",
            ]
        );
        assert_eq!(
            check_arrows(&[("core", &[])], &["core"], &planted()),
            ["core: may not depend on server"]
        );
    }

    #[test]
    fn a_driver_outside_of_its_adapter_is_found() {
        assert_eq!(
            check_drivers(&[("aws-", &["server"]), ("serde", &["core"])], &planted()),
            [""; 0]
        );
        assert_eq!(
            check_drivers(&[("aws-", &["core"])], &planted()),
            [
                "server: may not depend on aws-",
                "core: does not use aws-; take it off the table"
            ]
        );
    }

    #[test]
    fn a_dependency_that_no_source_names_is_found() {
        let sources = [
            Source::new("core/src/lib.rs", "use serde::Serialize; // server"),
            Source::new("core/server/src/lib.rs", "use core::x; use aws_s3::Client;"),
        ];
        assert_eq!(
            check_unused(
                &planted(),
                &sources,
                &[("core: server", "linked"), ("core: serde", "")]
            ),
            [
                "core: serde is named by its sources; take it off the list",
                "core: quickcheck is not used",
            ]
        );
    }
}
