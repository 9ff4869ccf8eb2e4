//! The rule file of a process with an embedded log: what of it has changed is said like any other
//! change of rules, so that it counts from a recorded place, also after a restart.
//!
//! The data directory keeps two copies of the file. `rules/base.toml` is the file with which `theatre
//! run` began on the directory: all recorded changes stand on it. `rules/taken.toml` is the file as it
//! was when its changes were last said: only what differs from it is said, so a rule that was changed
//! otherwise stays as it is until the file says something else of it. `rules/saying.json` is there while
//! changes are being said: what was interrupted is said once more before anything else, also where the
//! file was put back meanwhile, or partitions would go by different rules. Its changes have ids, by
//! which partitions know those that they have.

pub(super) mod differences;
mod saying;
mod watch;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use theatre_actors::control::RuleChange;
use theatre_actors::rules::RuleSet;
use theatre_config::Config;
use theatre_embedded::data_dir::DataDir;
use theatre_pipeline::PipelineParams;

use super::Failure;

pub(super) use watch::{RuleWatch, Watcher};

/// The copy on which recorded changes stand.
const BASE: &str = "base.toml";
/// The copy of what was said last.
const TAKEN: &str = "taken.toml";
/// The copy of what is being said.
const SAYING: &str = "saying.json";

/// The rule file, and the copies that are kept of it.
pub(super) struct RuleFile {
    /// The file that the configuration names; `None`: the shipped rules.
    source: Option<PathBuf>,
    /// The folder of the copies.
    folder: PathBuf,
}

/// What is being said: the text of the file, and the changes that it makes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Saying {
    text: String,
    changes: Vec<RuleChange>,
}

/// Has recorded changes stand on the present rules from here on, where they stand on a copy: states
/// were built anew by these. What of the file was not said yet is said all the same.
///
/// # Errors
/// When the copy cannot be written.
pub(super) fn stand_on(config: &Config, dir: &DataDir) -> Result<(), Failure> {
    let file = RuleFile::of(config, dir);
    if config.log.url.is_some() || !file.base().exists() {
        return Ok(());
    }
    file.keep_base(&config.rule_text()?)
}

/// The configuration whose rules are those on which the recorded changes of a data directory stand.
pub(super) fn on_base(mut config: Config, dir: &DataDir) -> Config {
    let base = RuleFile::of(&config, dir).base();
    if config.log.url.is_none() && base.exists() {
        config.rules = Some(base.into());
    }
    config
}

impl RuleFile {
    fn of(config: &Config, dir: &DataDir) -> Self {
        Self {
            source: config.rules.as_deref().map(Path::to_owned),
            folder: dir.root().join("rules"),
        }
    }

    /// The rule file of a data directory, with the configuration that names the rules on which the
    /// recorded changes stand; the pipeline judges by these. There is none with a log on servers, where each process may have a
    /// file of its own, and where no copy is kept, unless it `begins` to be.
    ///
    /// # Errors
    /// When the file cannot be read or the copies not be written.
    pub(super) fn prepare(
        config: &Config,
        dir: &DataDir,
        begins: bool,
        params: &mut PipelineParams,
    ) -> Result<(Option<Self>, Config), Failure> {
        let file = Self::of(config, dir);
        let is_kept = file.base().exists();
        if config.log.url.is_some() || !(is_kept || begins) {
            return Ok((None, config.clone()));
        }
        if !is_kept {
            file.begin(&config.rule_text()?)?;
        }
        if !begins
            && file
                .taken()
                .is_ok_and(|taken| file.read(config) != Ok(taken))
        {
            tracing::warn!(
                "the rules that hold in this data directory are used, not those of {}: `theatre rules add` changes them",
                file.name().display()
            );
        }
        let on_base = file.put_under(config, params)?;
        Ok((Some(file), on_base))
    }

    /// Has a pipeline judge by the rules on which the recorded changes stand; returns the
    /// configuration that names them. Where they do not fit the configuration any more, the present
    /// file takes their place.
    ///
    /// # Errors
    /// When a copy cannot be read or written.
    fn put_under(&self, config: &Config, params: &mut PipelineParams) -> Result<Config, Failure> {
        match self.base_rules(params) {
            Ok(rules) => Arc::make_mut(&mut params.processor).rules = rules,
            Err(why) => {
                tracing::warn!(
                    "the rules that this directory began with do not fit the configuration any more, the rule file takes their place: {why}"
                );
                // What of it was not said yet is said all the same.
                self.keep_base(&config.rule_text()?)?;
            }
        }
        let mut config = config.clone();
        config.rules = Some(self.base().into());
        Ok(config)
    }

    fn base_rules(&self, params: &PipelineParams) -> Result<RuleSet, String> {
        let base = self.base();
        let text = theatre_config::read(&base).map_err(|error| error.to_string())?;
        let specs = theatre_config::rules_of(&base, &text).map_err(|error| error.to_string())?;
        let compiled = RuleSet::compile(&specs, params.registry.datasets());
        let mut rules = compiled.map_err(|error| error.to_string())?;
        let bound = rules.bind(&params.processor.windows);
        bound.map_err(|error| error.to_string())?;
        Ok(rules)
    }

    /// What errors and people call it.
    fn name(&self) -> &Path {
        (self.source.as_deref()).unwrap_or_else(|| Path::new("the shipped rules"))
    }

    /// Its text as it is now.
    fn read(&self, config: &Config) -> Result<String, String> {
        match &self.source {
            Some(path) => theatre_config::read(path).map_err(|error| error.to_string()),
            None => {
                let shipped = Config {
                    rules: None,
                    ..config.clone()
                };
                shipped.rule_text().map_err(|error| error.to_string())
            }
        }
    }

    fn base(&self) -> PathBuf {
        self.folder.join(BASE)
    }

    /// The text whose changes were last said.
    fn taken(&self) -> Result<String, String> {
        theatre_config::read(&self.folder.join(TAKEN)).map_err(|error| error.to_string())
    }

    fn take(&self, text: &str) -> std::io::Result<()> {
        self.keep(TAKEN, text)
    }

    fn begin(&self, text: &str) -> Result<(), Failure> {
        self.take(text).map_err(|error| self.unwritten(&error))?;
        self.keep_base(text)
    }

    fn keep_base(&self, text: &str) -> Result<(), Failure> {
        self.keep(BASE, text)
            .map_err(|error| self.unwritten(&error))
    }

    fn unwritten(&self, error: &std::io::Error) -> Failure {
        let folder = self.folder.display();
        Failure::Failed(format!("{folder} cannot be written: {error}"))
    }

    /// What was being said when that was interrupted.
    fn saying(&self) -> Result<Option<Saying>, String> {
        let path = self.folder.join(SAYING);
        let placed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        match std::fs::read(&path) {
            Ok(kept) => serde_json::from_slice(&kept)
                .map(Some)
                .map_err(|error| placed(&error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(placed(&error)),
        }
    }

    fn begin_to_say(&self, saying: &Saying) -> std::io::Result<()> {
        self.keep(SAYING, &serde_json::to_string(saying)?)
    }

    /// All changes of a text are said.
    fn said(&self, text: &str) -> std::io::Result<()> {
        self.take(text)?;
        self.stop_saying()
    }

    /// What is being said is not said any more.
    fn stop_saying(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.folder.join(SAYING)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes a copy, whole or not at all.
    fn keep(&self, name: &str, text: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let beside = self.folder.join(format!("{name}.new"));
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, self.folder.join(name))?;
        std::fs::File::open(&self.folder)?.sync_all()
    }
}
