//! What the fleet is made of, from data files: models, facilities, kinds of operations, names, and
//! the service catalogue.

use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use theatre_config::ConfigError;

/// All data files.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) models: Vec<Model>,
    pub(super) facilities: Vec<Facility>,
    pub(super) categories: Vec<Category>,
    pub(super) phases: Vec<Phase>,
    pub(super) staff: Staff,
    pub(super) parts: Vec<Part>,
    pub(super) work: Vec<Work>,
}

/// A model of robots.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) manufacturer: String,
    pub(super) arms: i32,
    pub(super) joints_per_arm: i32,
    pub(super) categories: Vec<String>,
    pub(super) service_interval_hours: f64,
    pub(super) instrument_lives: i32,
}

/// A site.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facility {
    pub(super) facility_id: String,
    pub(super) facility_name: String,
    pub(super) short: String,
    pub(super) city: String,
    pub(super) state: String,
    pub(super) facility_type: String,
    pub(super) bed_count: i32,
    pub(super) time_zone: String,
    pub(super) utc_offset_hours: i64,
}

/// A category of operations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Category {
    pub(super) name: String,
    pub(super) types: Vec<String>,
}

/// A phase of a case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) effort: f64,
}

/// Names of people.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Staff {
    pub(super) first: Vec<String>,
    pub(super) last: Vec<String>,
    pub(super) technicians_first: Vec<String>,
    pub(super) technicians_last: Vec<String>,
    pub(super) certification: Vec<String>,
}

/// A part that wears.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) part: String,
    pub(super) component: String,
    pub(super) error_code: i32,
    pub(super) life_hours: f64,
    pub(super) shape: f64,
    pub(super) infant: f64,
    pub(super) growth: f64,
    pub(super) load: f64,
    pub(super) heat: f64,
    pub(super) failure: Finding,
    pub(super) wear: Finding,
}

/// What is found at a part and done about it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finding {
    pub(super) issue: String,
    pub(super) text: String,
    pub(super) action: String,
    pub(super) action_text: String,
}

/// A kind of service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Work {
    pub(super) kind: String,
    pub(super) downtime_hours: [f64; 2],
    pub(super) cost: [f64; 2],
    pub(super) issues: Vec<Entry>,
    pub(super) actions: Vec<Entry>,
}

/// A code of the service catalogue and its words.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) code: String,
    pub(super) text: String,
}

#[derive(Deserialize)]
struct Models {
    model: Vec<Model>,
}

#[derive(Deserialize)]
struct Facilities {
    facility: Vec<Facility>,
}

#[derive(Deserialize)]
struct Procedures {
    phase: Vec<Phase>,
    category: Vec<Category>,
}

#[derive(Deserialize)]
struct Services {
    part: Vec<Part>,
    work: Vec<Work>,
}

impl Catalogue {
    /// The shipped data files.
    ///
    /// # Errors
    /// Never for the files as they are shipped.
    pub(super) fn shipped() -> Result<&'static Self, ConfigError> {
        static SHIPPED: OnceLock<Catalogue> = OnceLock::new();
        if let Some(catalogue) = SHIPPED.get() {
            return Ok(catalogue);
        }
        let read = Self::read()?;
        Ok(SHIPPED.get_or_init(|| read))
    }

    fn read() -> Result<Self, ConfigError> {
        let models: Models = parse("models.toml", include_str!("../../data/models.toml"))?;
        let sites: Facilities = parse(
            "facilities.toml",
            include_str!("../../data/facilities.toml"),
        )?;
        let procedures: Procedures = parse(
            "procedures.toml",
            include_str!("../../data/procedures.toml"),
        )?;
        let services: Services = parse("service.toml", include_str!("../../data/service.toml"))?;
        Ok(Self {
            models: models.model,
            facilities: sites.facility,
            categories: procedures.category,
            phases: procedures.phase,
            staff: parse("staff.toml", include_str!("../../data/staff.toml"))?,
            parts: services.part,
            work: services.work,
        })
    }

    /// A kind of service by its place in the schema's list.
    pub(super) fn work(&self, kind: super::service::Kind) -> &Work {
        &self.work[kind as usize]
    }

    /// Index of a category in `categories`.
    pub(super) fn category(&self, name: &str) -> usize {
        let found = self.categories.iter().position(|known| known.name == name);
        found.unwrap_or_default()
    }
}

fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError(format!("{file}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::Catalogue;
    use crate::world::component::PARTS;
    use crate::world::service::Kind;

    #[test]
    fn the_data_files_agree_with_each_other() {
        let catalogue = Catalogue::shipped().unwrap();
        let of = |name: &str| catalogue.categories.iter().find(|known| known.name == name);
        assert_eq!(catalogue.models.len(), 10);
        for model in &catalogue.models {
            assert!(model.categories.iter().all(|name| of(name).is_some()));
            assert!(
                model.arms * model.joints_per_arm + 6 <= 32,
                "{}",
                model.name
            );
        }
        assert_eq!(catalogue.facilities.len(), 10);
        let types: usize = catalogue.categories.iter().map(|of| of.types.len()).sum();
        assert_eq!((catalogue.categories.len(), types), (6, 27));
        let effort: f64 = catalogue.phases.iter().map(|phase| phase.effort).sum();
        assert!((effort - 1.0).abs() < 1e-9);
        assert_eq!(catalogue.parts.len(), PARTS);
        assert_eq!(
            (catalogue.staff.first.len(), catalogue.staff.last.len()),
            (16, 16)
        );
        let kinds = ["routine", "emergency", "upgrade", "calibration"];
        assert!(
            catalogue
                .work
                .iter()
                .map(|work| work.kind.as_str())
                .eq(kinds)
        );
        assert_eq!(catalogue.work(Kind::Upgrade).kind, "upgrade");
    }
}
