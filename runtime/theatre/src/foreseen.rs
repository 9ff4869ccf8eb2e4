//! The rules that hold once all that is in the log is read: what a new version of a rule is checked
//! against, by the interface, the commands and the rule file.

use std::sync::Arc;

use theatre_actors::control::{RuleBase, StandingRules};
use theatre_actors::ports::{CheckpointStore, EventLog, Result};
use theatre_actors::rules::RuleSpec;
use theatre_api::rule_changes::ForeseenRules;
use theatre_pipeline::PipelineParams;

/// Store and log of a deployment, and the rules on which recorded changes stand.
pub(crate) struct Foreseen {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) params: Arc<PipelineParams>,
    pub(crate) base: Vec<RuleSpec>,
}

impl Foreseen {
    fn base(&self) -> RuleBase<'_> {
        RuleBase {
            rules: &self.base,
            needs_approval: self.params.rules_approval,
            datasets: self.params.registry.datasets(),
            windows: Some(&self.params.processor.windows),
        }
    }
}

impl ForeseenRules for Foreseen {
    fn foreseen(&self) -> Result<StandingRules> {
        let base = self.base();
        theatre_queries::foreseen_rules(&*self.store, &*self.log, &self.params, base)
    }

    fn with_history(&self) -> Result<StandingRules> {
        let base = self.base();
        theatre_queries::rules_with_history(&*self.store, &*self.log, &self.params, base)
    }
}
