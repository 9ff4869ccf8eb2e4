//! What the records of a dataset are, and what they are about.

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
    /// What people do about open conditions.
    AlertActions,
    /// Changes of rules, for all robots of a partition.
    RuleChanges,
}

impl DatasetKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Telemetry,
        Self::RobotEvents,
        Self::ProcedureEvents,
        Self::ProcedureResults,
        Self::MaintenanceLogs,
        Self::RobotRegistry,
        Self::FacilityRegistry,
        Self::SurgeonRegistry,
        Self::ModelRegistry,
        Self::AlertActions,
        Self::RuleChanges,
    ];

    /// Whether decimals stay exact. Those of telemetry are measurements, hence signals, which are
    /// floats; in the other older kinds they have been floats in lakes and warehouses from the
    /// beginning, and stay what they are there.
    pub fn keeps_decimals(self) -> bool {
        !matches!(
            self,
            Self::Telemetry | Self::RobotEvents | Self::ProcedureEvents | Self::ProcedureResults
        )
    }

    /// What its records are about; `None`: a robot.
    pub fn entity(self) -> Option<EntityKind> {
        match self {
            Self::FacilityRegistry => Some(EntityKind::Facility),
            Self::SurgeonRegistry => Some(EntityKind::Surgeon),
            Self::ModelRegistry => Some(EntityKind::Model),
            _ => None,
        }
    }

    /// Whether its records come from the robot itself, so that it is heard by them and answers for
    /// their times; others are written by people and their systems.
    pub fn is_of_robot(self) -> bool {
        let is_of_people = matches!(
            self,
            Self::MaintenanceLogs | Self::RobotRegistry | Self::AlertActions | Self::RuleChanges
        );
        self.entity().is_none() && !is_of_people
    }

    /// Whether a record may be for all robots of a partition, whose key is then
    /// [`PARTITION_PREFIX`] and the partition.
    pub fn reaches_partitions(self) -> bool {
        matches!(self, Self::AlertActions | Self::RuleChanges)
    }

    /// What this id begins with, where that names something else than a robot: no record of one
    /// that is called so is taken.
    pub fn reserved_prefix(self, id: &[u8]) -> Option<&'static str> {
        if id.first() != Some(&b'@') || self.entity().is_some() {
            return None;
        }
        let of_partitions = (!self.reaches_partitions()).then_some(PARTITION_PREFIX);
        let prefixes = EntityKind::ALL.map(EntityKind::prefix).into_iter();
        prefixes
            .chain(of_partitions)
            .find(|prefix| id.starts_with(prefix.as_bytes()))
    }

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
            Self::AlertActions => "alert_actions",
            Self::RuleChanges => "rule_changes",
        }
    }
}

/// What the key of a record begins with that is for all robots of a partition.
pub const PARTITION_PREFIX: &str = "@partition/";

/// What a record is about, if it is about no robot: each has an actor of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntityKind {
    /// A facility.
    Facility,
    /// A surgeon.
    Surgeon,
    /// A robot model.
    Model,
}

impl EntityKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Facility, Self::Surgeon, Self::Model];

    /// What the name of its actor begins with: `@facility/FAC-001`. No robot's id begins so;
    /// records of one that does are refused.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Facility => "@facility/",
            Self::Surgeon => "@surgeon/",
            Self::Model => "@model/",
        }
    }

    /// The kind and id in an actor's name; `None` for that of a robot.
    pub fn of_key(key: &str) -> Option<(Self, &str)> {
        if !key.starts_with('@') {
            return None;
        }
        let found = |kind: Self| Some((kind, key.strip_prefix(kind.prefix())?));
        Self::ALL.into_iter().find_map(found)
    }
}
