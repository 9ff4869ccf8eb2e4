//! Which tables have rows that can be erased, and by which columns.

use theatre_actors::outputs::{ALL, Holds, OutputKind};
use theatre_actors::ports::{Error, RegisteredFile, Result, RowSelection, TableSpec};
use theatre_parquet::{sql_name, table_spec};
use theatre_pipeline::PipelineParams;
use theatre_schemas::dataset::{Dataset, DatasetKind};

use super::Selection;

/// A table of the lake.
#[derive(Debug, Clone)]
pub struct Target {
    /// The table.
    pub table: TableSpec,
    /// What it holds.
    pub holds: Holds,
    /// The kind of outputs that are exported to it; `None`: it holds records.
    pub kind: Option<OutputKind>,
    /// The column that names the robot; `None`: its rows are of no robot.
    pub robot_column: Option<String>,
    /// The column that says when a row happened; `None`: what its rows say may still hold.
    pub time_column: Option<String>,
}

impl Target {
    fn of_records(dataset: &Dataset) -> Result<Self> {
        let column = |role: usize| sql_name(&dataset.columns[role].name);
        let is_of_robots = dataset.kind.entity().is_none();
        // What a registry says holds until the next entry, and a change of rules until the next one.
        let holds_on = matches!(
            dataset.kind,
            DatasetKind::RobotRegistry | DatasetKind::RuleChanges
        );
        Ok(Self {
            table: table_spec(dataset)?,
            holds: holds(dataset.kind),
            kind: None,
            robot_column: is_of_robots.then(|| column(dataset.roles.robot_id)),
            time_column: (is_of_robots && !holds_on).then(|| column(dataset.roles.event_time)),
        })
    }

    /// The table of a kind of outputs.
    pub(crate) fn of_outputs(kind: OutputKind) -> Self {
        const ROBOT: &str = "robot_id";
        let (table, spec) = (kind.table(), &kind.spec().table);
        let is_of_robots = table.columns.iter().any(|(name, _)| name == ROBOT);
        Self {
            table,
            holds: spec.holds,
            kind: Some(kind),
            robot_column: is_of_robots.then(|| ROBOT.to_owned()),
            time_column: spec.happened.map(str::to_owned),
        }
    }

    /// Whether a file is of this table.
    pub(super) fn has(&self, file: &RegisteredFile) -> bool {
        let is_of_records = file.file.path.starts_with("data/");
        file.file.dataset == self.table.name && is_of_records == self.kind.is_none()
    }

    /// Rows by what they are meant by, in the columns of this table.
    pub(crate) fn meaning(&self, rows: &RowSelection) -> RowSelection {
        RowSelection {
            robot_column: self.robot_column.clone(),
            time_column: self.time_column.clone(),
            ..rows.clone()
        }
    }

    /// The rows that a selection means here.
    pub(crate) fn rows(&self, selection: &Selection) -> RowSelection {
        RowSelection {
            robot_column: self.robot_column.clone(),
            time_column: self.time_column.clone(),
            robots: selection.robots.clone(),
            before: selection.before,
        }
    }
}

fn holds(kind: DatasetKind) -> Holds {
    match kind {
        DatasetKind::Telemetry | DatasetKind::RobotEvents | DatasetKind::AlertActions => {
            Holds::Measurements
        }
        DatasetKind::ProcedureEvents
        | DatasetKind::ProcedureResults
        | DatasetKind::MaintenanceLogs
        | DatasetKind::RobotRegistry
        | DatasetKind::FacilityRegistry
        | DatasetKind::SurgeonRegistry
        | DatasetKind::ModelRegistry
        | DatasetKind::RuleChanges => Holds::History,
    }
}

/// All tables: those of records first.
pub(crate) fn all(params: &PipelineParams) -> Result<Vec<Target>> {
    let datasets = params.registry.datasets().iter();
    let records: Result<Vec<Target>> = datasets
        .map(|(_, dataset)| Target::of_records(dataset))
        .collect();
    let mut all = records?;
    all.extend(ALL.iter().map(|spec| Target::of_outputs(spec.kind)));
    Ok(all)
}

/// Those that a selection means.
pub(super) fn choose(all: Vec<Target>, selection: &Selection) -> Result<Vec<Target>> {
    let names: Vec<&str> = all.iter().map(|it| it.table.name.as_str()).collect();
    for name in &selection.datasets {
        let Some(target) = all.iter().find(|target| target.table.name == *name) else {
            return Err(Error::Refused(format!(
                "'{name}' is none of the tables of the lake: {}",
                names.join(", ")
            )));
        };
        if target.rows(selection).is_empty() {
            let why = if selection.before.is_some() {
                "its rows are not of one moment: what they say may still hold, or be revised"
            } else {
                "its rows are of no robot"
            };
            return Err(Error::Refused(format!(
                "nothing of '{name}' can be erased so: {why}"
            )));
        }
    }
    let is_chosen = |target: &Target| {
        if selection.datasets.is_empty() {
            target.holds == Holds::Measurements && !target.rows(selection).is_empty()
        } else {
            selection.datasets.contains(&target.table.name)
        }
    };
    Ok(all.into_iter().filter(is_chosen).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use std::sync::Arc;

    use theatre_actors::time::Clock;
    use theatre_config::Config;
    use theatre_config::inputs::NoSources;
    use theatre_system::clock::SystemClock;

    use super::*;

    fn chosen(selection: &Selection) -> Result<Vec<String>> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = Config::default();
        let params = PipelineParams::from_config(&config, [0; 32], &NoSources, &clock).unwrap();
        let chosen = choose(all(&params).unwrap(), selection)?;
        Ok(chosen.into_iter().map(|it| it.table.name).collect())
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn history_is_erased_only_where_it_is_named() {
        let datasets = [
            "fleet_telemetry",
            "robot_telemetry",
            "robot_events",
            "alert_actions",
        ];
        let of_outputs = ALL
            .iter()
            .filter(|spec| spec.table.holds == Holds::Measurements)
            .map(|spec| spec.table.name);
        let measured: BTreeSet<String> = datasets
            .into_iter()
            .chain(of_outputs)
            .map(str::to_owned)
            .collect();
        let is_measured = |name: &str| measured.contains(name);
        assert!(is_measured("maintenance_alerts") && is_measured("components"));
        assert!(!is_measured("procedure_outcomes") && !is_measured("robot_versions"));
        let of_robot = Selection {
            robots: names(&["r-1"]),
            ..Selection::default()
        };
        let found: BTreeSet<String> = chosen(&of_robot).unwrap().into_iter().collect();
        assert_eq!(found, measured);
        let of_before = Selection {
            before: Some(0),
            ..Selection::default()
        };
        let found: BTreeSet<String> = chosen(&of_before).unwrap().into_iter().collect();
        let has_no_moment = |name: &String| {
            let mut kinds = ALL.iter().map(|spec| &spec.table);
            kinds.any(|table| table.name == name && table.happened.is_none())
        };
        let mut of_moments = measured.clone();
        of_moments.retain(|name| !has_no_moment(name));
        assert!(!of_moments.contains("components") && of_moments.contains("robot_sessions"));
        assert_eq!(found, of_moments);
        let named = Selection {
            datasets: names(&["procedure_events", "procedure_outcomes"]),
            ..of_robot
        };
        assert_eq!(chosen(&named).unwrap().len(), 2);
    }

    #[test]
    fn a_table_without_such_rows_and_one_that_there_is_not_are_refused() {
        let by = |robots: &[&str], before, dataset: &str| {
            let selection = Selection {
                robots: names(robots),
                before,
                datasets: names(&[dataset]),
            };
            chosen(&selection).unwrap_err().to_string()
        };
        assert!(by(&["r"], None, "facility_registry").contains("of no robot"));
        assert!(by(&["r"], None, "surgeon_versions").contains("of no robot"));
        assert!(by(&[], Some(0), "robot_versions").contains("still hold"));
        assert!(by(&[], Some(0), "robot_registry").contains("still hold"));
        assert!(by(&["r"], None, "robot_telemetrie").contains("robot_telemetry, "));
    }
}
