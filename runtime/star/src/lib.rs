//! The warehouse's star schema and its reports.
//!
//! The views stand in `views/`, the reports in `reports/`, a file each, written once for both
//! warehouses: what SQLite and Redshift say differently is a macro of [`dialect`]. All of it are
//! views: they are never older than the tables below them, a late or corrected record shows at
//! once, and there is nothing that a second run could double. `people/` has the views that stand
//! beside the tables which people read in the checkpoint store.

pub mod dialect;
pub mod report;

use theatre_actors::ports::TableSpec;
use theatre_parquet::{outputs, table_spec};
use theatre_schemas::registry::Registry;

use dialect::Dialect;

/// A view by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    source: &'static str,
}

macro_rules! views {
    ($folder:literal: $($name:literal,)*) => {
        &[$(View { name: $name, source: include_str!(concat!("../", $folder, "/", $name, ".sql")) },)*]
    };
}

/// All views, each after those that it reads.
pub const VIEWS: &[View] = views!["views":
    "star_robots",
    "star_surgeons",
    "star_legs",
    "dim_facilities",
    "dim_models",
    "dim_components",
    "dim_instruments",
    "dim_rules",
    "dim_robots",
    "dim_surgeons",
    "fact_conditions",
    "fact_procedure_legs",
    "fact_procedures",
    "fact_procedure_telemetry",
    "fact_maintenance",
    "fact_alerts",
    "fact_robot_window",
    "vw_robot_utilization",
    "vw_robot_utilization_monthly",
    "vw_procedure_outcomes",
    "vw_outcomes_by_robot_model",
    "vw_surgeon_performance",
    "vw_surgeon_procedure_categories",
    "vw_facility_performance",
    "vw_daily_procedure_volume",
    "vw_procedures_by_time_of_day",
    "vw_outcomes_by_demographics",
    "vw_telemetry_system_health",
    "rollup_facility_hour",
    "rollup_facility_day",
    "rollup_model_hour",
    "rollup_model_day",
    "rollup_surgeon_hour",
    "rollup_surgeon_day",
    "rollup_fleet_hour",
    "rollup_fleet_day",
];

/// What people look for beside the tables of outputs, each after those that it reads: in the
/// checkpoint store on PostgreSQL and in the embedded warehouse.
pub const PEOPLE: &[View] = views!["people":
    "facilities",
    "surgeons",
    "alerts",
    "alert_transitions",
    "robots",
    "maintenance_logs",
    "vw_robot_utilization",
    "vw_procedure_outcomes_summary",
    "vw_maintenance_costs",
];

impl View {
    /// The query that the view stands for.
    pub fn query(&self, dialect: &Dialect<'_>) -> String {
        dialect.render(self.source)
    }

    /// What the view is for, from the comment that its file begins with.
    pub fn purpose(&self) -> String {
        let comment = self
            .source
            .lines()
            .map_while(|line| line.strip_prefix("-- "));
        comment.collect::<Vec<_>>().join(" ")
    }

    /// The tables whose columns are the view's where these have the same names.
    pub fn tables(&self) -> impl Iterator<Item = &'static str> {
        let named = self.source.lines();
        named
            .filter_map(|line| line.strip_prefix("--= "))
            .flat_map(|list| list.split(", "))
    }

    /// What its file says of columns: each with its name.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let said = self.source.lines();
        said.filter_map(|line| line.strip_prefix("--: ")?.split_once(": "))
    }
}

/// The tables that the views read: they are there before a view is made.
pub fn tables() -> Vec<TableSpec> {
    let registry = Registry::builtin();
    let datasets = registry.datasets();
    let inputs = datasets
        .iter()
        .filter_map(|(_, dataset)| table_spec(dataset).ok());
    inputs.chain(outputs::tables()).collect()
}

/// A number for this build's views: others have another one.
pub fn fingerprint() -> String {
    fingerprint_of(VIEWS)
}

/// A number for this build's views of some list.
pub fn fingerprint_of(views: &[View]) -> String {
    // FNV-1a, 64 bits.
    let texts = views.iter().flat_map(|view| [view.name, view.source]);
    let bytes = texts.chain([dialect::REVISION]).flat_map(str::bytes);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests;
