//! What a changed rule file says, checked as at a start and appended as any change of rules is.

use std::path::Path;
use std::sync::Arc;

use theatre_actors::control::RuleChange;
use theatre_actors::ports::AccessStore;
use theatre_actors::rules::{RuleSet, RuleSpec};
use theatre_actors::time::Clock;
use theatre_api::rule_changes::{self, DATASET};
use theatre_config::Config;
use theatre_pipeline::{PipelineParams, Ports};
use theatre_system::clock::SystemClock;

use super::{RuleFile, differences};
use crate::api;
use crate::cli::{Failure, rules};

/// Who changes rules by the file, in their history and in the audit trail.
const WHO: &str = "rule file";

/// Says changes of the rule file to the partitions.
pub(super) struct Sayer {
    ports: Ports,
    access: Arc<dyn AccessStore>,
    params: PipelineParams,
    /// The rules on which the recorded changes stand.
    base: Vec<RuleSpec>,
    topic: String,
}

impl Sayer {
    /// `config` names the rules on which the recorded changes stand.
    pub(super) fn new(
        config: &Config,
        params: PipelineParams,
        ports: Ports,
        access: Arc<dyn AccessStore>,
    ) -> Result<Self, Failure> {
        let topics = api::topics(config, &params.registry);
        let topic = topics.get(DATASET).cloned().ok_or_else(|| {
            Failure::Failed(format!("no topic is configured for the dataset {DATASET}"))
        })?;
        Ok(Self {
            base: config.rule_specs()?,
            ports,
            access,
            params,
            topic,
        })
    }

    /// Says what of a text differs from the one that was taken last, which it becomes; returns how many
    /// changes that are.
    ///
    /// # Errors
    /// Names what is wrong with the text, or why it does not fit the rules that hold: nothing has
    /// changed then. Or what could not be written: all of it is said again the next time.
    pub(super) fn say(&self, file: &RuleFile, text: &str) -> Result<usize, String> {
        let interrupted = file.saying()?;
        let mut count = match &interrupted {
            Some(interrupted) => self.say_all(file, interrupted, true)?,
            None => 0,
        };
        count += self.say_all(file, text, false)?;
        Ok(count)
    }

    /// Says what of a text differs from the one that was taken last; `again`: some of it was said.
    fn say_all(&self, file: &RuleFile, text: &str, again: bool) -> Result<usize, String> {
        let taken = file.taken()?;
        if taken == text && !again {
            return Ok(0);
        }
        let before = theatre_config::rules_of(Path::new("taken.toml"), &taken);
        let before = before.map_err(|error| error.to_string())?;
        let changes = match self.changes(file, &before, text, again) {
            // It fits no more, such as after a change of schemas: what follows replaces it.
            Err(why) if again => {
                tracing::warn!("what was being said of the rule file is given up: {why}");
                return Ok(0);
            }
            changes => changes?,
        };
        let unwritten = |error| format!("{} cannot be written: {error}", file.folder.display());
        file.begin_to_say(text).map_err(unwritten)?;
        let to = (self.topic.as_str(), self.params.partitions);
        for change in &changes {
            let (log, access) = (&*self.ports.log, &*self.access);
            let appended = rule_changes::append(change, log, access, to, (WHO, None));
            appended.map_err(|error| format!("{}: {error}", change.rule_id))?;
        }
        file.said(text).map_err(unwritten)?;
        Ok(changes.len())
    }

    fn changes(
        &self,
        file: &RuleFile,
        before: &[RuleSpec],
        text: &str,
        again: bool,
    ) -> Result<Vec<RuleChange>, String> {
        let (name, datasets) = (file.name(), self.params.registry.datasets());
        let now = rules::of_text(name, text, datasets)?;
        let placed = |error: &dyn std::fmt::Display| format!("{}: {error}", name.display());
        let compiled = RuleSet::compile(&now, datasets);
        let mut whole = compiled.map_err(|error| placed(&error))?;
        let bound = whole.bind(&self.params.processor.windows);
        bound.map_err(|error| placed(&error))?;
        let (store, approval) = (&*self.ports.store, self.params.rules_approval);
        let standing = theatre_queries::standing_rules(store, &self.base, approval);
        let standing = standing.map_err(|error| error.to_string())?;
        let changes = differences::between(before, &now)?
            .into_iter()
            .map(|change| RuleChange {
                change_id: rule_changes::new_id(),
                at: SystemClock.now().0,
                actor: WHO.to_owned(),
                comment: Some(format!("{} was changed", name.display())),
                ..change
            });
        let ordered = differences::in_order(changes.collect(), standing, datasets, again);
        ordered.map_err(|why| placed(&format!("it does not fit the rules that hold: {why}")))
    }
}
