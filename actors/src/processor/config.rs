//! What all processors of a deployment do, and the part of it on which conditions depend.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(any(test, feature = "test-hooks"))]
use serde::{Deserialize, Serialize};
use theatre_schemas::dataset::{Dataset, DatasetIndex, Datasets};

use super::EntityConfig;
use crate::procedure::{IndicatorColumns, IndicatorSpec};
use crate::rules::{RuleKind, RuleSet};
use crate::time::{MICROS_PER_SECOND, TimePolicy};
use crate::window::WindowPlan;

/// Panics on a row, for tests of what happens then. Production builds do not have it.
#[cfg(any(test, feature = "test-hooks"))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanicHook {
    /// On this robot,
    pub robot_id: String,
    /// when this signal
    pub signal: String,
    /// is above this.
    pub above: f64,
}

/// What all processors of a deployment do.
#[derive(Debug, Clone)]
pub struct ProcessorConfig {
    /// Time.
    pub time: TimePolicy,
    /// Windows.
    pub windows: WindowPlan,
    /// Rules.
    pub rules: RuleSet,
    /// Where indicators come from, by dataset.
    pub indicators: BTreeMap<DatasetIndex, IndicatorColumns>,
    /// Where instruments and components are seen.
    pub entities: EntityConfig,
    /// Procedures a robot remembers, for corrections; the oldest finished ones go first.
    pub procedures_max: usize,
    /// A procedure without a row for this long by the robot's clock is evicted, microseconds.
    pub procedure_retention_us: i64,
    /// For tests of panics.
    #[cfg(any(test, feature = "test-hooks"))]
    pub panic_on: Option<PanicHook>,
}

impl ProcessorConfig {
    /// Defaults but for windows, rules and indicators.
    ///
    /// # Errors
    /// Names an indicator's column that does not exist, or a window that a rule needs.
    pub fn new(
        time: TimePolicy,
        windows: WindowPlan,
        mut rules: RuleSet,
        indicators: &[IndicatorSpec],
        datasets: &Datasets,
    ) -> Result<Self, String> {
        (rules.bind(&windows)).map_err(|error| format!("rules: {error}"))?;
        let mut sources = BTreeMap::new();
        for spec in indicators {
            let (index, dataset) = datasets
                .find(&spec.dataset)
                .ok_or_else(|| format!("indicators: there is no dataset '{}'", spec.dataset))?;
            sources.insert(index, IndicatorColumns::resolve(spec, dataset)?);
        }
        Ok(Self {
            time,
            windows,
            rules,
            indicators: sources,
            entities: EntityConfig::default(),
            procedures_max: 64,
            procedure_retention_us: 30 * 86_400 * MICROS_PER_SECOND,
            #[cfg(any(test, feature = "test-hooks"))]
            panic_on: None,
        })
    }

    /// The same without what no rule asks for: windows that none judges, sessions, and the
    /// measurements of cases. Conditions are those of the whole; windows and outcomes are not.
    pub fn for_rules(&self) -> Self {
        let rules = self.rules.rules().iter();
        let windows: BTreeSet<&str> = rules
            .filter_map(|rule| match &rule.spec.kind {
                RuleKind::Aggregate(spec) => Some(spec.window.as_str()),
                _ => None,
            })
            .collect();
        let mut config = self.clone();
        config.windows = (self.windows).only(|spec| windows.contains(spec.name.as_str()));
        config.indicators.clear();
        config.entities.sessions.clear();
        config
    }

    /// The columns of a telemetry dataset on which conditions depend, by their index: robot,
    /// event time, case, sequence and boot number, those that rules watch, and those by which
    /// instruments are followed.
    pub fn columns_of_rules(&self, index: DatasetIndex, dataset: &Dataset) -> BTreeSet<usize> {
        let roles = dataset.roles;
        let optional = [roles.procedure_id, roles.sequence, roles.boot_id];
        let mut columns = BTreeSet::from([roles.robot_id, roles.event_time]);
        columns.extend(optional.into_iter().flatten());
        let column = |signal: usize| dataset.signals.get(signal).map(|of| of.column);
        if let Some(rules) = self.rules.for_dataset(index) {
            columns.extend(rules.all().filter_map(|rule| column(rule.signal)));
            columns.extend(rules.texts.iter().map(|(column, _)| *column));
        }
        if let Some(instruments) = self.entities.instruments.get(&index) {
            columns.extend(instruments.texts());
            columns.extend(instruments.signals().filter_map(column));
        }
        columns
    }
}
