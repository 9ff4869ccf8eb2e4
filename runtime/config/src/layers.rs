//! Layers of configuration: defaults, then the file, then `theatre.d/*.toml` beside it in order of
//! name, then variables such as `THEATRE__SAVE_INTERVAL=5s`. A later layer replaces whole values;
//! tables are merged key by key. Who said what is kept.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::path::PATH_FORMAT;
use super::reference::SCHEMA;
use super::{Config, ConfigError, parse, read, redacted};

const PREFIX: &str = "THEATRE__";
const DEFAULT: &str = "default";

/// Where the value of each key that a file or a variable sets comes from; keys of sections as
/// paths, such as `lake.url`.
pub type Origins = BTreeMap<String, String>;

/// Every key with its value, `null` for one that has none, and where that comes from: `default`, a
/// file, or a variable.
///
/// # Errors
/// When the configuration cannot be written down, which would be a bug.
pub fn every_key(
    config: &Config,
    origins: &Origins,
) -> Result<Vec<(String, serde_json::Value, String)>, ConfigError> {
    let whole = serde_json::to_value(config).map_err(|error| {
        ConfigError(format!("the configuration cannot be written down: {error}"))
    })?;
    let mut keys = Vec::new();
    leaves("", &whole, &mut |path, value| {
        let origin = origins.iter().find(|(set, _)| {
            *set == path
                || path
                    .strip_prefix(set.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        keys.push((
            path.to_owned(),
            value.clone(),
            origin.map_or(DEFAULT, |(_, origin)| origin).to_owned(),
        ));
    });
    Ok(keys)
}

/// Visits what is no section, with its path. A section without keys is one value.
fn leaves(path: &str, value: &serde_json::Value, visit: &mut dyn FnMut(&str, &serde_json::Value)) {
    match value {
        serde_json::Value::Object(section) if !section.is_empty() => {
            for (key, value) in section {
                leaves(
                    &if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    },
                    value,
                    visit,
                );
            }
        }
        value => visit(path, value),
    }
}

impl Config {
    /// Puts the layers together; without a file, defaults and variables.
    ///
    /// # Errors
    /// When a file cannot be read or says something that is not known; names file or variable, key,
    /// and the key that was meant.
    pub fn layered(
        path: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, Origins), ConfigError> {
        let mut table = Table::try_from(Self::default()).map_err(|error| {
            ConfigError(format!("the defaults cannot be written down: {error}"))
        })?;
        let mut origins = Origins::new();
        let known = serde_json::to_value(Self::default()).map_err(|error| {
            ConfigError(format!("the defaults cannot be written down: {error}"))
        })?;
        for file in files(path)? {
            let layer = read_layer(&file, &known)?;
            lay_over(&mut table, &mut origins, layer, &file.display().to_string());
        }
        let mut variables: Vec<(String, String)> = variables
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        variables.sort();
        for (name, text) in variables {
            let layer = variable(&name, &text, &known)?;
            let tried = Self::deserialize(layer.clone());
            tried.map_err(|error| {
                ConfigError(redacted(&format!(
                    "{name}={text}: {}",
                    error.to_string().trim()
                )))
            })?;
            lay_over(&mut table, &mut origins, layer, &name);
        }
        let config = Self::deserialize(table).map_err(|error| ConfigError(error.to_string()))?;
        Ok((config, origins))
    }
}

/// The file and what lies in `theatre.d` beside it.
fn files(path: Option<&Path>) -> Result<Vec<std::path::PathBuf>, ConfigError> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let mut files = vec![path.to_owned()];
    let folder = path.parent().unwrap_or(Path::new(".")).join("theatre.d");
    if folder.is_dir() {
        let unreadable = |error: std::io::Error| {
            ConfigError(format!("{} cannot be read: {error}", folder.display()))
        };
        let mut more = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                more.push(path);
            }
        }
        more.sort();
        files.extend(more);
    }
    Ok(files)
}

fn read_layer(path: &Path, known: &serde_json::Value) -> Result<Table, ConfigError> {
    let text = read(path)?;
    let mut table: Table = parse(path, &text)?;
    check_keys(&table, known, &path.display().to_string())?;
    // Once as a configuration of its own: an error shows the line.
    parse::<Config>(path, &text)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    for (key, value) in &mut table {
        resolve_paths(value, &SCHEMA["properties"][key.as_str()], folder);
    }
    Ok(table)
}

/// Makes the relative paths in a value relative to `folder` instead. The schema of the value says
/// what a path is: every [`ConfigPath`](super::ConfigPath) marks itself there.
fn resolve_paths(value: &mut Value, schema: &serde_json::Value, folder: &Path) {
    match value {
        Value::String(path) if schema["format"] == PATH_FORMAT => {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| resolve_paths(value, &schema["items"], folder)),
        Value::Table(table) => table.iter_mut().for_each(|(key, value)| {
            resolve_paths(value, &schema["properties"][key.as_str()], folder);
        }),
        _ => {}
    }
}

/// Refuses a key that is not known, also in a section; one without keys by default takes any.
fn check_keys(table: &Table, known: &serde_json::Value, place: &str) -> Result<(), ConfigError> {
    let Some(known) = known.as_object().filter(|known| !known.is_empty()) else {
        return Ok(());
    };
    for (key, value) in table {
        if let Some(section) = known.get(key) {
            value.as_table().map_or(Ok(()), |table| {
                check_keys(table, section, &format!("{place} [{key}]"))
            })?;
            continue;
        }
        let near = known.keys().max_by(|left, right| {
            strsim::jaro_winkler(left, key).total_cmp(&strsim::jaro_winkler(right, key))
        });
        let meant = near
            .filter(|near| strsim::jaro_winkler(near, key) > 0.8)
            .map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        return Err(ConfigError(format!(
            "{place}: there is no key `{key}`{meant} (`theatre config show --origin` prints all of them)"
        )));
    }
    Ok(())
}

/// A variable as a table: two underscores lead into a table, the value is TOML where it can be read
/// as such, and text otherwise.
fn variable(name: &str, text: &str, known: &serde_json::Value) -> Result<Table, ConfigError> {
    let value = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"));
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    let path = name[PREFIX.len()..].to_ascii_lowercase();
    let mut keys = path.rsplit("__");
    let mut table = Table::from_iter(keys.next().map(|key| (key.to_owned(), value)));
    for key in keys {
        table = Table::from_iter([(key.to_owned(), Value::Table(table))]);
    }
    check_keys(&table, known, name)?;
    Ok(table)
}

fn lay_over(under: &mut Table, origins: &mut Origins, over: Table, place: &str) {
    name_origins(origins, "", &over, place);
    merge(under, over);
}

fn name_origins(origins: &mut Origins, section: &str, over: &Table, place: &str) {
    for (key, value) in over {
        let path = if section.is_empty() {
            key.clone()
        } else {
            format!("{section}.{key}")
        };
        match value {
            Value::Table(inner) if !inner.is_empty() => name_origins(origins, &path, inner, place),
            _ => drop(origins.insert(path, place.to_owned())),
        }
    }
}

fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(there)), Value::Table(more)) => merge(there, more),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Config;

    fn variables<'a>(
        list: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (String, String)> + 'a {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    }

    #[test]
    fn later_layers_win_and_origins_say_who_spoke() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("theatre.toml");
        std::fs::write(&main, "partitions = 2\nsave_interval = \"3s\"\nrules = \"r.toml\"\npseudonym_key_file = \"key\"\n[store]\npassword_file = \"pw\"\n[log]\nkey_password_file = \"kp\"\n")
            .unwrap();
        std::fs::create_dir(folder.path().join("theatre.d")).unwrap();
        std::fs::write(
            folder.path().join("theatre.d/10.toml"),
            "save_interval = \"4s\"\nexport_age = \"9s\"\n",
        )
        .unwrap();
        let set = [
            ("THEATRE__EXPORT_AGE", "7s"),
            ("THEATRE__RECORD_BYTES", "4096"),
            ("THEATRE__LAKE__ENABLED", "false"),
            ("HOME", "x"),
        ];
        let (config, origins) = Config::layered(Some(&main), variables(&set)).unwrap();
        assert_eq!((config.partitions, config.record_bytes), (2, 4096));
        assert_eq!(
            (config.save_interval.0, config.export_age.0),
            (4_000_000, 7_000_000)
        );
        assert_eq!(
            config.rules.as_deref(),
            Some(folder.path().join("r.toml").as_path())
        );
        assert_eq!(
            config.pseudonym_key_file.as_deref(),
            Some(folder.path().join("key").as_path())
        );
        assert_eq!(
            config.store.password_file.as_deref(),
            Some(folder.path().join("pw").as_path())
        );
        assert_eq!(
            config.log.key_password_file.as_deref(),
            Some(folder.path().join("kp").as_path())
        );
        let keys = super::every_key(&config, &origins).unwrap();
        let said = |path: &str| {
            keys.iter()
                .find(|(key, ..)| key == path)
                .map(|(_, value, origin)| (value.to_string(), origin.clone()))
                .unwrap()
        };
        assert_eq!(said("lake_roll_age").1, "default");
        assert_eq!(
            said("partitions"),
            ("2".to_owned(), main.display().to_string())
        );
        assert!(said("save_interval").1.ends_with("10.toml"));
        assert_eq!(said("export_age").1, "THEATRE__EXPORT_AGE");
        assert_eq!(
            said("lake.enabled"),
            ("false".to_owned(), "THEATRE__LAKE__ENABLED".to_owned())
        );
        assert_eq!(
            said("lake.url"),
            ("null".to_owned(), "default".to_owned()),
            "a key without a value, in a section of which another is set"
        );
        assert_eq!(
            said("window_topic"),
            ("null".to_owned(), "default".to_owned())
        );
    }

    #[test]
    fn secrets_are_used_and_not_printed() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("theatre.toml");
        let text = "[registry]\nurl = \"http://user:hush@registry:8081\"\n[lake]\nendpoint = \"http://user:hush@store:1\"\n\
                    [warehouse]\nendpoint = \"http://user:hush@house:1\"\n[glue]\nendpoint = \"http://user:hush@glue:1\"\n\
                    [store]\nurl = \"postgres://user:hush@db/d\"\n[log]\nurl = \"kafka://user:hush@broker:1\"\n\
                    [log.properties]\n\"ssl.key.password\" = \"hush\"\n";
        std::fs::write(&main, text).unwrap();
        let (config, _) = Config::layered(
            Some(&main),
            variables(&[("THEATRE__LOG__DEPLOYMENT", "ours")]),
        )
        .unwrap();
        assert_eq!(config.log.properties["ssl.key.password"], "hush");
        assert_eq!(
            config.registry.url.as_deref(),
            Some("http://user:hush@registry:8081")
        );
        for shown in [
            toml::to_string_pretty(&config).unwrap(),
            format!("{config:?}"),
        ] {
            assert!(!shown.contains("hush") && shown.contains("ours"), "{shown}");
            assert_eq!(shown.matches("user:***@").count(), 6, "{shown}");
        }
    }

    #[test]
    fn what_is_not_known_is_named_with_what_was_meant() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("theatre.toml");
        let said = |text: &str| {
            std::fs::write(&main, text).unwrap();
            Config::layered(Some(&main), variables(&[]))
                .unwrap_err()
                .to_string()
        };
        let error = said("save_intervall = \"3s\"");
        assert!(
            error.contains("theatre.toml")
                && error.contains("`save_intervall`")
                && error.contains("did you mean `save_interval`"),
            "{error}"
        );
        let error = said("[lake]\nendpont = \"http://s3:9000\"");
        assert!(
            error.contains("[lake]") && error.contains("did you mean `endpoint`"),
            "{error}"
        );
        let error = said("partitions = 2\nsave_interval = 3");
        assert!(
            error.contains("theatre.toml") && error.contains("line 2"),
            "{error}"
        );
        let error = Config::layered(None, variables(&[("THEATRE__PARTITION", "3")]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("THEATRE__PARTITION") && error.contains("did you mean `partitions`"),
            "{error}"
        );
        let error = Config::layered(None, variables(&[("THEATRE__PARTITIONS", "many")]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("THEATRE__PARTITIONS=many"), "{error}");
        let error = Config::layered(Some(Path::new("nowhere.toml")), variables(&[]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("nowhere.toml"), "{error}");
    }
}
