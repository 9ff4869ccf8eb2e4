//! The kinds of datasets.

/// The kind of a dataset's records, which decides which actors of a processor receive them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetKind {
    /// Samples of a robot's sensors; moves the robot's clock and feeds windows and rules.
    Telemetry,
    /// Things that happened to a robot (start-up, error, end of a recording).
    RobotEvents,
    /// Steps in the life of a procedure.
    ProcedureEvents,
    /// Clinical results of a procedure, reported later.
    ProcedureResults,
    /// Work on a robot: what was found, done and replaced.
    MaintenanceLogs,
    /// What a robot is, from a moment on: model, site, versions, components.
    RobotRegistry,
    /// What a facility is, from a moment on.
    FacilityRegistry,
    /// Who a surgeon is, from a moment on.
    SurgeonRegistry,
    /// What a robot model is, from a moment on.
    ModelRegistry,
}

impl DatasetKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Telemetry,
        Self::RobotEvents,
        Self::ProcedureEvents,
        Self::ProcedureResults,
        Self::MaintenanceLogs,
        Self::RobotRegistry,
        Self::FacilityRegistry,
        Self::SurgeonRegistry,
        Self::ModelRegistry,
    ];

    /// Its name in schemas and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::RobotEvents => "robot_events",
            Self::ProcedureEvents => "procedure_events",
            Self::ProcedureResults => "procedure_results",
            Self::MaintenanceLogs => "maintenance_logs",
            Self::RobotRegistry => "robot_registry",
            Self::FacilityRegistry => "facility_registry",
            Self::SurgeonRegistry => "surgeon_registry",
            Self::ModelRegistry => "model_registry",
        }
    }
}
