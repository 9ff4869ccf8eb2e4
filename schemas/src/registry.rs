//! The schemas by their ids: each writer's schema, compiled once against the dataset that reads it.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::dataset::{Dataset, DatasetIndex, Datasets, SchemaError};
use crate::datums::are_written_alike;
use crate::decode::DecodePlan;
use crate::framing::SchemaId;

/// The built-in schemas of input records, by subject; the versions of one in order.
pub const INPUT_SCHEMAS: [(&str, &str); 15] = [
    (
        "robot_telemetry",
        include_str!("../avro/robot_telemetry/v1.avsc"),
    ),
    ("robot_events", include_str!("../avro/robot_events/v1.avsc")),
    (
        "procedure_events",
        include_str!("../avro/procedure_events/v1.avsc"),
    ),
    (
        "procedure_results",
        include_str!("../avro/procedure_results/v1.avsc"),
    ),
    (
        "fleet_telemetry",
        include_str!("../avro/fleet_telemetry/v1.avsc"),
    ),
    ("robot_events", include_str!("../avro/robot_events/v2.avsc")),
    (
        "procedure_events",
        include_str!("../avro/procedure_events/v2.avsc"),
    ),
    (
        "maintenance_logs",
        include_str!("../avro/maintenance_logs/v1.avsc"),
    ),
    (
        "robot_registry",
        include_str!("../avro/robot_registry/v1.avsc"),
    ),
    (
        "facility_registry",
        include_str!("../avro/facility_registry/v1.avsc"),
    ),
    (
        "surgeon_registry",
        include_str!("../avro/surgeon_registry/v1.avsc"),
    ),
    (
        "model_registry",
        include_str!("../avro/model_registry/v1.avsc"),
    ),
    (
        "alert_actions",
        include_str!("../avro/alert_actions/v1.avsc"),
    ),
    ("rule_changes", include_str!("../avro/rule_changes/v1.avsc")),
    ("rule_changes", include_str!("../avro/rule_changes/v2.avsc")),
];

/// A writer's schema with its decode plan.
#[derive(Debug)]
pub struct WriterSchema {
    /// Schema id, as messages name it.
    pub id: SchemaId,
    /// The dataset its records belong to.
    pub dataset_index: DatasetIndex,
    /// How its bytes become that dataset's columns.
    pub plan: DecodePlan,
    /// The schema as JSON.
    pub json: String,
}

impl WriterSchema {
    /// Compiles a writer's schema against a dataset.
    ///
    /// # Errors
    /// When it does not resolve to the dataset.
    pub fn new(
        id: SchemaId,
        json: &str,
        dataset_index: DatasetIndex,
        dataset: &Dataset,
    ) -> Result<Self, SchemaError> {
        Ok(Self {
            id,
            dataset_index,
            plan: DecodePlan::compile(json, dataset)?,
            json: json.to_owned(),
        })
    }
}

/// The writers' schemas by id, and the datasets that read them.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    datasets: Datasets,
    writers: HashMap<SchemaId, Arc<WriterSchema>, foldhash::fast::RandomState>,
}

impl Registry {
    /// A registry of the schemas that Theatre ships, which a process compiles once.
    pub fn builtin() -> Self {
        static SHIPPED: OnceLock<Registry> = OnceLock::new();
        let compiled = SHIPPED.get_or_init(|| {
            let mut registry = Self::default();
            for (subject, json) in INPUT_SCHEMAS {
                registry.add(json).unwrap_or_else(|error| {
                    unreachable!("shipped schema {subject}, read by every test: {error}")
                });
            }
            registry
        });
        compiled.clone()
    }

    /// Adds a schema as a reader and as a writer; its `theatre` property names its id, dataset and
    /// kind. For a known dataset, the reader goes on with the later of the two versions, and all
    /// writers of the dataset are resolved to it. A registry that refuses a schema is to be given
    /// up.
    ///
    /// # Errors
    /// When the schema cannot be used, its id is taken by another schema, or the later version
    /// cannot follow the earlier one.
    pub fn add(&mut self, json: &str) -> Result<DatasetIndex, SchemaError> {
        let dataset = Dataset::from_schema(json)?;
        let id = SchemaId::Confluent(schema_id(json)?);
        if let Some(other) = self.writers.get(&id).filter(|other| other.json != json) {
            let taken = &self.datasets.get(other.dataset_index).name;
            return Err(SchemaError::Invalid(format!(
                "schema id {id} is taken by dataset '{taken}': give theatre.id another number"
            )));
        }
        let index = match self.datasets.find(&dataset.name) {
            None => self.datasets.insert(Arc::new(dataset)),
            Some((_, known)) => {
                let reader = reader(known, dataset)?;
                self.datasets.insert(Arc::new(reader))
            }
        };
        let reader = self.datasets.get(index).clone();
        for writer in self
            .writers
            .values_mut()
            .filter(|writer| writer.dataset_index == index)
        {
            *writer = Arc::new(WriterSchema::new(writer.id, &writer.json, index, &reader)?);
        }
        self.writers
            .insert(id, Arc::new(WriterSchema::new(id, json, index, &reader)?));
        Ok(index)
    }

    /// Adds a dataset whose writers' schemas come from a schema source.
    pub fn add_dataset(&mut self, dataset: Dataset) -> DatasetIndex {
        self.datasets.insert(Arc::new(dataset))
    }

    /// The writer's schema of an id; `None` when the id is unknown here.
    pub fn lookup(&self, id: impl Into<SchemaId>) -> Option<&Arc<WriterSchema>> {
        self.writers.get(&id.into())
    }

    /// The writer's schema of a dataset with the highest version; of two with the same version the
    /// one with the higher id. `None` where all of them come from a schema source.
    pub fn newest_writer(&self, dataset: DatasetIndex) -> Option<&Arc<WriterSchema>> {
        let version = |writer: &WriterSchema| {
            let declared = Dataset::from_schema(&writer.json);
            declared.map_or(0, |dataset| dataset.version)
        };
        self.writers
            .values()
            .filter(|writer| writer.dataset_index == dataset)
            .max_by_key(|writer| (version(writer), writer.id.number()))
    }

    /// The writer's schema of a dataset that gives the same bytes as another schema; `None` where
    /// there is none.
    ///
    /// # Errors
    /// When the other one is no schema.
    pub fn written_alike(
        &self,
        dataset: DatasetIndex,
        json: &str,
    ) -> Result<Option<&Arc<WriterSchema>>, SchemaError> {
        let parse = |json: &str| {
            let parsed = apache_avro::Schema::parse_str(json);
            parsed.map_err(|error| SchemaError::Invalid(error.to_string()))
        };
        let other = parse(json)?;
        let is_alike = |writer: &&Arc<WriterSchema>| {
            writer.dataset_index == dataset
                && parse(&writer.json).is_ok_and(|own| are_written_alike(&own, &other))
        };
        let alike = self.writers.values().filter(is_alike);
        Ok(alike.max_by_key(|writer| writer.id))
    }

    /// All datasets.
    pub fn datasets(&self) -> &Datasets {
        &self.datasets
    }
}

/// The reader of a dataset that is known, once another of its schemas is known, too.
fn reader(known: &Dataset, other: Dataset) -> Result<Dataset, SchemaError> {
    match known.version.cmp(&other.version) {
        Ordering::Less => known.followed_by(other),
        Ordering::Greater => other.followed_by(known.clone()),
        // Of two that say to be the same version one may be the earlier one all the same.
        Ordering::Equal => match other.followed_by(known.clone()) {
            Ok(_) => Ok(known.clone()),
            Err(_) => known.followed_by(other),
        },
    }
}

/// The schema id a schema declares in its `theatre` property.
///
/// # Errors
/// When there is none.
pub fn schema_id(json: &str) -> Result<u32, SchemaError> {
    let root: serde_json::Value =
        serde_json::from_str(json).map_err(|error| SchemaError::Invalid(error.to_string()))?;
    let id = root["theatre"]["id"]
        .as_u64()
        .and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| {
        SchemaError::Invalid(
            "the root's property theatre.id is missing or no 32-bit number".to_owned(),
        )
    })
}
