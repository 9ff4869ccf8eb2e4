//! What a store keeps of a processor, in the shapes of all versions.

use serde::{Deserialize, Serialize};

use super::procedure_table::ProcedureTable;
use crate::outputs::Counters;
use crate::position::Positions;
use crate::registry::{RegistryState, RobotRecord};
use crate::robot::{RobotActor, RobotV1};
use crate::state::{Body, StateError, Stored};

/// All that a processor knows; version 3.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ProcessorState {
    pub(super) positions: Positions,
    pub(super) counters: Vec<Counters>,
    pub(super) robot: RobotActor,
    pub(super) procedures: ProcedureTable,
    pub(super) record: RobotRecord,
    pub(super) registry: Option<Box<RegistryState>>,
}

/// Version 2: a robot was what its telemetry says.
#[derive(Deserialize)]
struct Version2 {
    positions: Positions,
    counters: Vec<Counters>,
    robot: RobotActor,
    procedures: ProcedureTable,
}

/// Version 1: rules judged rows as they came, and a clock had no end.
#[derive(Deserialize)]
struct Version1 {
    positions: Positions,
    counters: Vec<Counters>,
    robot: RobotV1,
    procedures: ProcedureTable,
}

impl Stored for ProcessorState {
    const NAME: &'static str = "processor";
    const VERSION: u8 = 3;

    fn body(&self) -> impl Serialize {
        self
    }

    fn read(body: Body<'_>) -> Result<Self, StateError> {
        match body.version {
            1 => {
                let it: Version1 = body.decode()?;
                Ok(Self::of_before(
                    it.positions,
                    it.counters,
                    it.robot.into(),
                    it.procedures,
                ))
            }
            2 => {
                let it: Version2 = body.decode()?;
                Ok(Self::of_before(
                    it.positions,
                    it.counters,
                    it.robot,
                    it.procedures,
                ))
            }
            3 => body.decode(),
            _ => body.unknown(),
        }
    }
}

impl ProcessorState {
    /// What versions 1 and 2 had; nothing was registered.
    fn of_before(
        positions: Positions,
        counters: Vec<Counters>,
        robot: RobotActor,
        procedures: ProcedureTable,
    ) -> Self {
        Self {
            positions,
            counters,
            robot,
            procedures,
            ..Self::default()
        }
    }
}
