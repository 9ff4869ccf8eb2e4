//! What a processor follows besides robot and procedures: instruments and components.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use theatre_schemas::dataset::{DatasetIndex, Datasets};

use super::{Processor, RuleContext};
use crate::component::{ComponentColumns, ComponentSpec, Components, Named};
use crate::instrument::{InstrumentColumns, InstrumentSpec, Instruments};
use crate::outputs::{Outputs, component, instrument};
use crate::window::{WindowPlan, WindowRow};

/// Where instruments and components are seen.
#[derive(Debug, Clone, Default)]
pub struct EntityConfig {
    /// The columns of instruments, by dataset.
    pub(crate) instruments: BTreeMap<DatasetIndex, InstrumentColumns>,
    /// The signals of components, by name of the dataset.
    pub(crate) components: BTreeMap<String, ComponentColumns>,
}

impl EntityConfig {
    /// Finds the columns in the datasets.
    ///
    /// # Errors
    /// Names a dataset, column or signal that does not exist.
    pub fn new(
        instruments: &[InstrumentSpec],
        components: &[ComponentSpec],
        windows: &WindowPlan,
        datasets: &Datasets,
    ) -> Result<Self, String> {
        let find = |what: &str, name: &str| {
            let found = datasets.find(name);
            found.ok_or_else(|| format!("{what}: there is no dataset '{name}'"))
        };
        let mut config = Self::default();
        for spec in instruments {
            let (index, dataset) = find("instruments", &spec.dataset)?;
            let columns = InstrumentColumns::resolve(spec, dataset)?;
            config.instruments.insert(index, columns);
        }
        for spec in components {
            let (_, dataset) = find("components", &spec.dataset)?;
            if config.components.contains_key(&dataset.name) {
                continue;
            }
            let of_dataset = |other: &&ComponentSpec| other.dataset == spec.dataset;
            let specs: Vec<&ComponentSpec> = components.iter().filter(of_dataset).collect();
            let columns = ComponentColumns::resolve(&specs, dataset, windows)?;
            let columns = columns.map(|columns| (dataset.name.clone(), columns));
            config.components.extend(columns);
        }
        Ok(config)
    }
}

/// The state of a processor's instruments and components.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entities {
    pub(super) instruments: Instruments,
    pub(super) components: Components,
}

impl Processor {
    /// Adds closed windows to the components.
    pub(super) fn follow_components(
        &mut self,
        dataset: &str,
        rows: &[WindowRow],
        outputs: &mut Outputs,
    ) {
        if let Some(columns) = self.config.entities.components.get(dataset)
            && !rows.is_empty()
        {
            let components = &mut self.state.entities.components;
            let uses = components.on_windows(&self.robot_id, columns, rows);
            outputs.events.extend(uses.iter().map(component::output));
        }
    }

    /// A component was replaced, event time in microseconds UTC: by a robot's event or by the report
    /// of a service.
    pub(super) fn component_replaced(
        &mut self,
        named: Named<'_>,
        time: i64,
        outputs: &mut Outputs,
    ) {
        let components = &mut self.state.entities.components;
        let uses = components.replaced(&self.robot_id, named, time);
        outputs.events.extend(uses.iter().map(component::output));
    }

    /// The registry lists the robot's components, as of an event time in microseconds UTC.
    #[allow(dead_code)]
    pub(super) fn components_registered<'a>(
        &mut self,
        list: impl IntoIterator<Item = Named<'a>>,
        time: i64,
        outputs: &mut Outputs,
    ) {
        let components = &mut self.state.entities.components;
        let uses = components.registered(&self.robot_id, list, time);
        outputs.events.extend(uses.iter().map(component::output));
    }

    /// Lives of an instrument by the robot's model, where the configuration does not say.
    #[allow(dead_code)]
    pub(super) fn set_model_lives(&mut self, lives: Option<i64>) {
        self.state.entities.instruments.set_model_lives(lives);
    }

    /// A case has concluded: so have the uses of its instruments, up to now.
    pub(super) fn conclude_instruments(
        &mut self,
        procedure_id: &str,
        ended_at: Option<i64>,
        outputs: &mut Outputs,
    ) {
        let config = self.config.clone();
        if config.entities.instruments.is_empty() {
            return;
        }
        let context = RuleContext {
            robot_id: &self.robot_id,
            rules: &config.rules,
            policy: &config.time,
        };
        let instruments = &mut self.state.entities.instruments;
        let cleared = ended_at.map(|at| instruments.clear(context, procedure_id, at));
        let uses = instruments.revise(&self.robot_id, procedure_id);
        for alert in cleared.into_iter().flatten() {
            self.emit_alert(alert, outputs);
        }
        outputs.events.extend(uses.iter().map(instrument::output));
    }

    /// The robot's clock begins anew.
    pub(super) fn begin_entities_anew(&mut self, outputs: &mut Outputs) {
        let entities = &mut self.state.entities;
        entities.instruments.begin_anew();
        entities.components.begin_anew();
        let uses = entities.components.revise(&self.robot_id);
        outputs.events.extend(uses.iter().map(component::output));
    }
}
