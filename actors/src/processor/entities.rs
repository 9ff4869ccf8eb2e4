//! What a processor follows besides robot and procedures: instruments, components and sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::{Dataset, DatasetIndex, DatasetKind, Datasets};

use super::following::Around;
use super::{Processor, RuleContext};
use crate::component::{ComponentColumns, ComponentSpec, Components, Named};
use crate::instrument::{InstrumentColumns, InstrumentSpec, Instruments};
use crate::name_map::NameMap;
use crate::outputs::{OutputEvent, Outputs, component, instrument, session};
use crate::time::EventTime;
use crate::window::{SessionSpec, Sessions, WindowPlan, WindowRow};

/// Where instruments and components are seen.
#[derive(Debug, Clone, Default)]
pub struct EntityConfig {
    /// The columns of instruments, by dataset.
    pub(crate) instruments: BTreeMap<DatasetIndex, InstrumentColumns>,
    /// The signals of components, by name of the dataset.
    pub(crate) components: BTreeMap<String, ComponentColumns>,
    /// The kinds of session windows, by dataset.
    pub(crate) sessions: BTreeMap<DatasetIndex, Vec<SessionSpec>>,
    /// The datasets of session windows, by name.
    pub(crate) datasets: BTreeMap<String, Arc<Dataset>>,
}

/// A kind of session window, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Name in ids and tables.
    pub name: String,
    /// The telemetry dataset; `None`: all that have the signal.
    pub dataset: Option<String>,
    /// Signal that is not 0 in active rows; `None`: every row is active.
    pub active: Option<String>,
    /// Rows further apart than this are of two sessions, microseconds.
    pub gap_us: i64,
    /// The longest session, microseconds.
    pub longest_us: i64,
}

/// The shortest gap that ends a session, microseconds.
const GAP_US_MIN: i64 = 1_000_000;
/// The longest session that may be configured, microseconds.
const LONGEST_US_MAX: i64 = 366 * 86_400 * 1_000_000;

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

    /// Adds kinds of session windows.
    ///
    /// # Errors
    /// Names one that is impossible, or whose dataset or signal does not exist.
    pub fn add_sessions(
        &mut self,
        configured: &[SessionConfig],
        windows: &WindowPlan,
        datasets: &Datasets,
    ) -> Result<(), String> {
        for (at, of) in configured.iter().enumerate() {
            let fault = |why: &str| format!("session window '{}': {why}", of.name);
            let is_known = configured[..at].iter().any(|other| other.name == of.name)
                || windows.specs().iter().any(|other| other.name == of.name);
            let is_plain =
                |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_' | '.');
            if of.name.is_empty() || !of.name.chars().all(is_plain) {
                return Err(fault(
                    "its name must be of letters, digits, `-`, `_` and `.`",
                ));
            }
            if is_known {
                return Err(fault("its name is there twice: give it another"));
            }
            if of.gap_us < GAP_US_MIN || of.longest_us < of.gap_us || of.longest_us > LONGEST_US_MAX
            {
                return Err(fault(
                    "its gap must be at least 1 s and at most as long as its longest session, which is a year at most",
                ));
            }
            let mut is_found = false;
            let telemetry = datasets
                .iter()
                .filter(|(_, dataset)| dataset.kind == DatasetKind::Telemetry);
            for (index, dataset) in telemetry {
                let active = of.active.as_ref().map(|name| dataset.signal(name));
                let is_wanted = of.dataset.as_ref().is_none_or(|name| *name == dataset.name);
                if !is_wanted || active == Some(None) {
                    continue;
                }
                is_found = true;
                self.datasets.insert(dataset.name.clone(), dataset.clone());
                self.sessions.entry(index).or_default().push(SessionSpec {
                    name: of.name.clone(),
                    active: active.flatten(),
                    gap_us: of.gap_us,
                    longest_us: of.longest_us,
                    aggregates: windows.aggregates(),
                });
            }
            if !is_found {
                return Err(fault("there is no such dataset, or none has the signal"));
            }
        }
        Ok(())
    }
}

/// The state of a processor's instruments and components.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entities {
    pub(super) instruments: Instruments,
    pub(super) components: Components,
    /// By `dataset/window`.
    pub(super) sessions: NameMap<Sessions>,
}

impl Processor {
    /// Adds accepted rows to the sessions. `clocks[i]` is the robot's clock after `rows[i]`. Returns
    /// what closes, in row order, with the index of the row that closed it.
    pub(super) fn follow_sessions(
        &mut self,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
    ) -> Vec<(usize, OutputEvent)> {
        let Some(specs) = self.config.entities.sessions.get(&batch.dataset_index) else {
            return Vec::new();
        };
        let mut closed = Vec::new();
        for spec in specs {
            let name = format!("{}/{}", batch.dataset.name, spec.name);
            let known = &mut self.state.entities.sessions;
            let sessions = known.get_or_insert_with(&name, || Sessions::new(spec));
            let rows = sessions.apply(spec, &self.config.time, batch, rows, clocks);
            closed.extend(rows.into_iter().map(|(at, row)| {
                let output = session::output(&self.robot_id, &batch.dataset, &spec.name, &row);
                (at, output)
            }));
        }
        closed.sort_by_key(|(at, _)| *at);
        closed
    }

    /// The uses of instruments and components as of now: the recording ended, or the robot fell
    /// silent.
    pub(super) fn revise_entities(&mut self, outputs: &mut Outputs) {
        let entities = &mut self.state.entities;
        let uses = entities.instruments.revise(&self.robot_id, None);
        outputs.events.extend(uses.iter().map(instrument::output));
        let uses = entities.components.revise(&self.robot_id);
        outputs.events.extend(uses.iter().map(component::output));
    }

    /// Closes the sessions that are open: the recording ended, or the robot fell silent.
    pub(super) fn flush_sessions(&mut self, outputs: &mut Outputs) {
        let datasets = &self.config.entities.datasets;
        for (name, sessions) in self.state.entities.sessions.iter_mut() {
            let Some((dataset, window)) = name.split_once('/') else {
                continue;
            };
            // Without its dataset, which has left the configuration, its signals have no names.
            let Some(dataset) = datasets.get(dataset) else {
                continue;
            };
            let rows = sessions.flush(&self.config.time);
            let output = |row| session::output(&self.robot_id, dataset, window, row);
            outputs.events.extend(rows.iter().map(output));
        }
    }

    /// True while a session is open.
    pub(super) fn has_open_sessions(&self) -> bool {
        let sessions = self.state.entities.sessions.values();
        sessions.flat_map(Sessions::open).next().is_some()
    }

    /// Adds a closed window to the components.
    pub(super) fn follow_components(
        &mut self,
        dataset: &str,
        row: &WindowRow,
        outputs: &mut Outputs,
    ) {
        if let Some(columns) = self.config.entities.components.get(dataset) {
            let components = &mut self.state.entities.components;
            let uses = components.on_window(&self.robot_id, columns, row);
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
            around: &Around {
                record: &self.state.record,
                procedures: &self.state.procedures,
            },
        };
        let instruments = &mut self.state.entities.instruments;
        let cleared = ended_at.map(|at| instruments.clear(context, procedure_id, at));
        let uses = instruments.revise(&self.robot_id, Some(procedure_id));
        for alert in cleared.into_iter().flatten() {
            self.emit_alert(alert, outputs);
        }
        outputs.events.extend(uses.iter().map(instrument::output));
    }

    /// The robot's clock begins anew.
    pub(super) fn begin_entities_anew(&mut self) {
        let entities = &mut self.state.entities;
        entities.instruments.begin_anew();
        entities.components.begin_anew();
        entities
            .sessions
            .values_mut()
            .for_each(Sessions::begin_anew);
    }
}
