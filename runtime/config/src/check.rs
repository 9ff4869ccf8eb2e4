//! What no schema and no server is needed to see: whether every value means something, and whether
//! the values fit together. The start and `theatre config check` ask the same function, which names
//! all faults at once.

use std::path::Path;

use theatre_actors::rules::Micros;

use super::{Config, ConfigError, ConfigPath, INPUT_TOPICS, RECORD_BYTES_MAX};

/// More partitions than any topic has.
const PARTITIONS_MAX: u32 = 100_000;
/// A record has at least a robot and a time.
const RECORD_BYTES_MIN: usize = 64;
/// Longest name of a topic in Kafka.
const TOPIC_BYTES_MAX: usize = 249;
/// Bytes of the key of pseudonyms.
const KEY_BYTES: u64 = 32;
/// What the address of a server behind HTTP begins with, and what a fault says of its form.
pub(super) const HTTP_SCHEMES: &[&str] = &["http://", "https://"];
pub(super) const HTTP_FORM: &str = "http://host:port or https://host:port";

/// A table of the configuration that can be at fault, whose file says when.
pub(super) trait Table {
    /// Adds what of its values means nothing, or does not fit to the rest of the configuration.
    fn check(&self, config: &Config, faults: &mut Faults);
}

/// What is wrong with a configuration, each by the key at fault.
#[derive(Debug, Default)]
pub struct Faults(Vec<String>);

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, fault: impl ToString) {
        let fault = fault.to_string();
        // The same may be found again on the way to something else.
        if !self.0.iter().any(|known| known.contains(&fault)) {
            self.0.push(fault);
        }
    }

    /// Adds the fault of a result; gives what it holds otherwise.
    pub fn take<T>(&mut self, result: Result<T, impl ToString>) -> Option<T> {
        result.map_err(|error| self.add(error.to_string())).ok()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn list(&self) -> &[String] {
        &self.0
    }

    /// Nothing, or all of them in one text.
    ///
    /// # Errors
    /// With all faults, a line each where there are several.
    pub fn checked(self) -> Result<(), ConfigError> {
        match self.0.as_slice() {
            [] => Ok(()),
            [only] => Err(ConfigError(only.clone())),
            all => Err(ConfigError(format!(
                "{} faults:\n  {}",
                all.len(),
                all.join("\n  ")
            ))),
        }
    }

    pub(super) fn unless(&mut self, good: bool, fault: impl FnOnce() -> String) {
        if !good {
            self.add(fault());
        }
    }

    /// A span that must be longer than none.
    pub(super) fn span(&mut self, key: &str, span: Micros) {
        self.unless(span.0 > 0, || format!("{key}: {span} is no time to wait"));
    }

    /// A span that may be none.
    fn span_or_none(&mut self, key: &str, span: Micros) {
        self.unless(span.0 >= 0, || format!("{key}: {span} is before now"));
    }

    pub(super) fn url(&mut self, key: &str, url: Option<&str>, schemes: &[&str], form: &str) {
        let Some(url) = url else { return };
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        let good = rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with('/') && !url.contains(char::is_whitespace)
        });
        // Not shown: it may hold a password.
        self.unless(good, || format!("{key}: expected {form}"));
    }

    pub(super) fn file(&mut self, key: &str, path: Option<&ConfigPath>) {
        if let Some(path) = path {
            self.take(readable(key, path));
        }
    }

    /// An address to listen at.
    pub(super) fn listen(&mut self, key: &str, listen: &str) {
        let good = listen.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok() && !listen.contains('/')
        });
        self.unless(good, || {
            format!("{key}: \"{listen}\" is no address such as 127.0.0.1:9464")
        });
    }

    pub(super) fn topic(&mut self, key: &str, topic: &str) {
        let simple = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let good = !topic.is_empty()
            && topic.len() <= TOPIC_BYTES_MAX
            && topic.chars().all(simple)
            && ![".", ".."].contains(&topic);
        self.unless(good, || {
            format!(
                "{key}: \"{topic}\" is no topic: letters, digits, '.', '_' and '-' are, at most {TOPIC_BYTES_MAX}"
            )
        });
    }
}

fn readable(key: &str, path: &Path) -> Result<(), String> {
    match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_file() => Ok(()),
        // A pipe, such as what a shell substitutes for a command.
        Ok(found) if !found.is_dir() => Ok(()),
        Ok(_) => Err(format!("{key}: {} is a folder", path.display())),
        Err(error) => Err(format!("{key}: {} cannot be read: {error}", path.display())),
    }
}

impl Config {
    /// Everything that is wrong and that no schema is needed to see.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        self.check_numbers(&mut faults);
        self.check_windows(&mut faults);
        self.check_files(&mut faults);
        for table in self.tables() {
            table.check(self, &mut faults);
        }
        faults
    }

    fn check_numbers(&self, faults: &mut Faults) {
        faults.unless(self.partitions > 0, || {
            "partitions: at least 1 is needed".to_owned()
        });
        faults.unless(self.partitions <= PARTITIONS_MAX, || {
            format!(
                "partitions: {} are more than any topic has ({PARTITIONS_MAX})",
                self.partitions
            )
        });
        for (key, span) in [
            ("silence_after", self.silence_after),
            ("save_interval", self.save_interval),
            ("lake_roll_age", self.lake_roll_age),
            ("export_age", self.export_age),
        ] {
            faults.span(key, span);
        }
        for (key, span) in [
            ("reorder_bound", self.reorder_bound),
            ("allowed_lateness", self.allowed_lateness),
            ("future_tolerance", self.future_tolerance),
            ("log_retention", self.log_retention),
            ("window_retention", self.window_retention),
        ] {
            faults.span_or_none(key, span);
        }
        faults.unless(self.record_bytes >= RECORD_BYTES_MIN, || {
            format!(
                "record_bytes: {} bytes hold no record, {RECORD_BYTES_MIN} at least do",
                self.record_bytes
            )
        });
        faults.unless(
            !self.lake.enabled || self.record_bytes <= RECORD_BYTES_MAX,
            || {
                format!(
                    "record_bytes: {} is more than the {RECORD_BYTES_MAX} of which the warehouse takes every row; only without a lake records may be longer",
                    self.record_bytes
                )
            },
        );
        faults.listen("admin", &self.admin);
        if let Some(topic) = &self.window_topic {
            faults.topic("window_topic", topic);
            faults.unless(!INPUT_TOPICS.contains(&topic.as_str()), || {
                format!("window_topic: \"{topic}\" is an input")
            });
        }
    }

    fn check_windows(&self, faults: &mut Faults) {
        for (at, window) in self.windows.iter().enumerate() {
            let name = &window.name;
            let key = format!("windows, \"{name}\"");
            faults.unless(!name.is_empty() && !name.contains('/'), || {
                format!("windows: \"{name}\" is no name: it must not be empty nor have a slash")
            });
            let twice = self.windows[..at].iter().any(|other| other.name == *name);
            faults.unless(!twice, || format!("{key}: there are two of this name"));
            faults.span(&format!("{key}, size"), window.size);
            if let Some(hop) = window.hop {
                faults.span(&format!("{key}, hop"), hop);
            }
        }
    }

    fn check_files(&self, faults: &mut Faults) {
        for path in &self.schemas {
            faults.file("schemas", Some(path));
        }
        faults.file("rules", self.rules.as_ref());
        faults.file("pseudonym_key_file", self.pseudonym_key_file.as_ref());
        if let Some(length) = self
            .pseudonym_key_file
            .as_ref()
            .and_then(|path| std::fs::metadata(path).ok())
            .filter(std::fs::Metadata::is_file)
            .map(|found| found.len())
        {
            faults.unless(length == KEY_BYTES, || {
                format!("pseudonym_key_file has {length} bytes, {KEY_BYTES} are needed (make one with: head -c 32 /dev/urandom > FILE)")
            });
        }
        if let Some(folder) = &self.schema_folder {
            faults.unless(folder.is_dir(), || {
                format!("schema_folder: {} is no folder", folder.display())
            });
        }
    }

    /// What no schema is needed to see.
    ///
    /// # Errors
    /// Says which keys do not fit together, and what to do.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.faults().checked()
    }
}

#[cfg(test)]
mod tests;
