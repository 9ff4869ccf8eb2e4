//! Facilities, surgeons and robot models: what their registries say of them, as versions.

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::{DatasetKind, EntityKind};
use theatre_schemas::records::{FacilityVersion, ModelVersion, SurgeonVersion};

use super::cells::Cells;
use super::history::{History, Inserted, Version};
use crate::outputs::{OutputEvent, Outputs, facility_version, model_version, surgeon_version};

/// The refusal of a report about a moment that cannot change any more.
pub(crate) const SETTLED: &str =
    "what it says lies before the moments that are remembered: versions of then cannot change";

/// What registries say of something that is no robot. What a version says beside its attributes is
/// left empty in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RegistryState {
    Facility(History<FacilityVersion>),
    Surgeon(History<SurgeonVersion>),
    Model(History<ModelVersion>),
}

impl RegistryState {
    pub(crate) fn new(kind: EntityKind) -> Self {
        match kind {
            EntityKind::Facility => Self::Facility(History::default()),
            EntityKind::Surgeon => Self::Surgeon(History::default()),
            EntityKind::Model => Self::Model(History::default()),
        }
    }

    /// Takes a report and puts out what it changes.
    ///
    /// # Errors
    /// When nothing can be said any more of its moment, or it is about something else.
    pub(crate) fn take(
        &mut self,
        actor: &str,
        batch: &Batch,
        row: usize,
        outputs: &mut Outputs,
    ) -> Result<(), String> {
        let cells = Cells::of(batch, row);
        match (self, batch.dataset.kind) {
            (Self::Facility(history), DatasetKind::FacilityRegistry) => {
                put(history, facility(cells), cells, outputs, |version| {
                    facility_version::output(actor, &stamped_facility(batch, row, version))
                })
            }
            (Self::Surgeon(history), DatasetKind::SurgeonRegistry) => {
                put(history, surgeon(cells), cells, outputs, |version| {
                    surgeon_version::output(actor, &stamped_surgeon(batch, row, version))
                })
            }
            (Self::Model(history), DatasetKind::ModelRegistry) => {
                put(history, model(cells), cells, outputs, |version| {
                    model_version::output(actor, &stamped_model(batch, row, version))
                })
            }
            (_, kind) => Err(format!("'{actor}' has no records of {}", kind.as_str())),
        }
    }
}

fn put<A: Clone + PartialEq>(
    history: &mut History<A>,
    attributes: A,
    cells: Cells<'_>,
    outputs: &mut Outputs,
    output: impl Fn(Version<A>) -> OutputEvent,
) -> Result<(), String> {
    if history.insert(cells.time(), cells.rank(), attributes) == Inserted::Settled {
        return Err(SETTLED.to_owned());
    }
    let changed = history.publish(&[], |_, attributes| attributes.clone());
    outputs.events.extend(changed.into_iter().map(output));
    Ok(())
}

fn facility(cells: Cells<'_>) -> FacilityVersion {
    FacilityVersion {
        facility_id: String::new(),
        valid_from: 0,
        revision: 0,
        is_withdrawn: false,
        facility_name: cells.owned("facility_name").unwrap_or_default(),
        city: cells.owned("city"),
        state: cells.owned("state"),
        country: cells.owned("country"),
        facility_type: cells.symbol("facility_type"),
        bed_count: cells.int("bed_count"),
        time_zone: cells.owned("time_zone"),
        is_closed: cells.flag("is_closed"),
    }
}

fn stamped_facility(batch: &Batch, row: usize, of: Version<FacilityVersion>) -> FacilityVersion {
    FacilityVersion {
        facility_id: batch.entity_id(row).to_owned(),
        valid_from: of.from,
        revision: of.revision,
        is_withdrawn: of.is_withdrawn,
        ..of.attributes
    }
}

fn surgeon(cells: Cells<'_>) -> SurgeonVersion {
    SurgeonVersion {
        surgeon_id: String::new(),
        valid_from: 0,
        revision: 0,
        is_withdrawn: false,
        surgeon_name: cells.owned("surgeon_name"),
        specialization: cells.owned("specialization"),
        practising_since: cells.date("practising_since"),
        certification_level: cells.owned("certification_level"),
        facility_id: cells.owned("facility_id"),
        is_retired: cells.flag("is_retired"),
    }
}

fn stamped_surgeon(batch: &Batch, row: usize, of: Version<SurgeonVersion>) -> SurgeonVersion {
    SurgeonVersion {
        surgeon_id: batch.entity_id(row).to_owned(),
        valid_from: of.from,
        revision: of.revision,
        is_withdrawn: of.is_withdrawn,
        ..of.attributes
    }
}

fn model(cells: Cells<'_>) -> ModelVersion {
    ModelVersion {
        robot_model: String::new(),
        valid_from: 0,
        revision: 0,
        is_withdrawn: false,
        manufacturer: cells.owned("manufacturer"),
        arms: cells.int("arms"),
        joints_per_arm: cells.int("joints_per_arm"),
        categories: cells.elements("categories", |name| cells.owned(name)),
        service_interval_hours: cells.number("service_interval_hours"),
        instrument_lives: cells.int("instrument_lives"),
        is_discontinued: cells.flag("is_discontinued"),
    }
}

fn stamped_model(batch: &Batch, row: usize, of: Version<ModelVersion>) -> ModelVersion {
    ModelVersion {
        robot_model: batch.entity_id(row).to_owned(),
        valid_from: of.from,
        revision: of.revision,
        is_withdrawn: of.is_withdrawn,
        ..of.attributes
    }
}
