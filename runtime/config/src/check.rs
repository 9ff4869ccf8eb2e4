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
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let config: Config = toml::from_str(text).unwrap();
        config.faults().list().to_vec()
    }

    #[test]
    fn the_defaults_have_no_fault() {
        assert_eq!(faults(""), Vec::<String>::new());
    }

    #[test]
    fn every_value_that_means_nothing_is_named_by_its_key() {
        let on_servers = "pseudonym_key_file = \"/dev/null\"\n[log]\nurl = \"kafka://b:9092\"\n";
        let kafka = |more: &str| format!("{on_servers}{more}");
        let table = [
            ("partitions = 0".to_owned(), "partitions"),
            ("partitions = 4000000000".to_owned(), "partitions"),
            ("save_interval = \"0s\"".to_owned(), "save_interval"),
            ("silence_after = \"0s\"".to_owned(), "silence_after"),
            ("lake_roll_age = \"0s\"".to_owned(), "lake_roll_age"),
            ("record_bytes = 0".to_owned(), "record_bytes"),
            ("record_bytes = 4000000".to_owned(), "record_bytes"),
            ("admin = \"nowhere\"".to_owned(), "admin"),
            ("[api]\nlisten = \"8080\"".to_owned(), "[api] listen"),
            ("[api]\nbody_bytes = 1".to_owned(), "[api] body_bytes"),
            ("[api]\ningests = 0".to_owned(), "[api] ingests"),
            ("[api]\nlisteners = 0".to_owned(), "[api] listeners"),
            ("[api]\nanonymous = \"operator\"".to_owned(), "[api] anonymous"),
            ("[api]\nanonymous = \"admin\"".to_owned(), "[api] anonymous"),
            ("[api]\nhosts = [\"theatre.example.org:80\"]".to_owned(), "[api] hosts"),
            ("[api]\nhosts = [\"\"]".to_owned(), "[api] hosts"),
            ("[oidc]\nissuer = \"http://login.example.org\"".to_owned(), "[oidc] issuer"),
            ("[oidc]\nissuer = \"https://login.example.org\"".to_owned(), "[oidc] audience"),
            ("[oidc]\naudience = \"theatre\"".to_owned(), "[oidc] issuer is not set"),
            ("[oidc]\nissuer = \"https://a\"\naudience = \"t\"".to_owned(), "[oidc] roles"),
            ("[oidc]\nca_file = \"/nowhere\"".to_owned(), "[oidc] ca_file"),
            ("[api]\ntls_cert = \"/nowhere\"".to_owned(), "[api] tls_cert: /nowhere"),
            ("[api]\ntls_key = \"/dev/null\"".to_owned(), "[api] tls_cert and tls_key"),
            ("admin = \"127.0.0.1:99999\"".to_owned(), "admin"),
            ("window_topic = \"a b\"".to_owned(), "window_topic"),
            (
                "[[windows]]\nname = \"w\"\nsize = \"0s\"".to_owned(),
                "windows, \"w\", size",
            ),
            (
                "[[windows]]\nname = \"w\"\nsize = \"1s\"\n[[windows]]\nname = \"w\"\nsize = \"2s\"".to_owned(),
                "two of this name",
            ),
            ("schemas = [\"/nowhere.avsc\"]".to_owned(), "schemas"),
            ("schemas = [\"/\"]".to_owned(), "is a folder"),
            ("rules = \"/nowhere.toml\"".to_owned(), "rules"),
            ("schema_folder = \"/nowhere\"".to_owned(), "schema_folder"),
            ("pseudonym_key_file = \"/nowhere\"".to_owned(), "pseudonym_key_file"),
            ("[log]\nurl = \"http://b:9092\"".to_owned(), "log.url"),
            ("[log]\nurl = \"kafka://b:port\"".to_owned(), "log.url"),
            ("[log]\nurl = \"kafka://b:9092,,c\"".to_owned(), "log.url"),
            (kafka("session_timeout = \"1s\""), "log.session_timeout"),
            (kafka("security = \"sasl_scram\""), "log.username"),
            (kafka("security = \"msk_iam\""), "log.region"),
            (kafka("ca_file = \"/nowhere\""), "log.ca_file"),
            (kafka("fetch_memory = 0"), "log.fetch_memory"),
            (
                format!("record_bytes = 8000000\nlake.enabled = false\n{}", kafka("serverless = true")),
                "record_bytes: 8000000 with log.serverless",
            ),
            ("[store]\nurl = \"mysql://b/d\"".to_owned(), "[store] url"),
            (
                "[store]\nurl = \"postgres://b/d\"\npool = 0".to_owned(),
                "[store] pool",
            ),
            (
                "[store]\nurl = \"postgres://b/d\"\npassword_file = \"/nowhere\"".to_owned(),
                "[store] password_file",
            ),
            ("[lake]\nurl = \"gs://b\"".to_owned(), "[lake] url"),
            (
                "[lake]\nurl = \"s3://b/p\"\npart_bytes = 1".to_owned(),
                "[lake] part_bytes",
            ),
            (
                "[lake]\nurl = \"s3://b/p\"\nparts_in_flight = 0".to_owned(),
                "[lake] parts_in_flight",
            ),
            ("[lake]\nendpoint = \"b:9000\"".to_owned(), "[lake] endpoint"),
            (
                "[warehouse]\nurl = \"redshift://w/d\"".to_owned(),
                "Redshift loads from S3 only",
            ),
            ("[warehouse]\nurl = \"w/d\"".to_owned(), "[warehouse] url"),
            (
                "[lake]\nurl = \"s3://b/p\"\n[warehouse]\nurl = \"redshift://w/d\"\npoll_min = \"9s\"".to_owned(),
                "[warehouse] poll_min",
            ),
            (
                "[lake]\nurl = \"s3://b/p\"\n[warehouse]\nurl = \"redshift://w/d\"\nschema = \"A\"".to_owned(),
                "[warehouse] schema",
            ),
            ("[traces]\nendpoint = \"grpc://c:4317\"".to_owned(), "[traces] endpoint"),
            ("[traces]\nendpoint = \"c:4318\"".to_owned(), "[traces] endpoint"),
            ("[traces]\nendpoint = \"http://c?a=b\"".to_owned(), "[traces] endpoint"),
            ("[traces]\nper_second = 0".to_owned(), "[traces] per_second"),
            ("[traces]\nper_second = -1.5".to_owned(), "[traces] per_second"),
            ("[traces]\nper_second = 1000".to_owned(), "[traces] per_second"),
            ("[traces]\nper_second = nan".to_owned(), "[traces] per_second"),
            ("[traces]\nca_file = \"/nowhere\"".to_owned(), "[traces] ca_file"),
            ("[registry]\nurl = \"ftp://r\"".to_owned(), "[registry] url"),
            (
                "[[input]]\ntopic = \"t\"\nkind = \"telemetry\"\nschemas = \"registry\"".to_owned(),
                "needs [registry] url",
            ),
            (
                "[[input]]\ntopic = \"a b\"\nkind = \"telemetry\"".to_owned(),
                "[[input]] topic",
            ),
        ];
        for (text, named) in table {
            let found = faults(&text);
            assert!(
                found.iter().any(|fault| fault.contains(named)),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn all_faults_are_told_at_once_and_no_password_is() {
        let text = "partitions = 0\nadmin = \"x\"\n[store]\nurl = \"mysql://u:hush@b/d\"";
        let config: Config = toml::from_str(text).unwrap();
        let shown = config.check().unwrap_err().to_string();
        assert!(
            shown.starts_with("3 faults:")
                && ["partitions", "admin", "[store] url"]
                    .iter()
                    .all(|key| shown.contains(key))
                && !shown.contains("hush"),
            "{shown}"
        );
    }
}
