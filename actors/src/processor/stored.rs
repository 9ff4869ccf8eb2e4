//! The stored state of a processor, in the shape of every version.

use serde::{Deserialize, Serialize};

use super::entities::Entities;
use super::procedure_table::{ProcedureTable, ProcedureTableV2};
use crate::alerts::{Alerts, AlertsV4};
use crate::control::{ControlState, ControlStateV4};
use crate::outputs::Counters;
use crate::position::Positions;
use crate::rare::Rare;
use crate::registry::{RegistryState, RobotRecord};
use crate::robot::{RobotActor, RobotV1, RobotV3, RobotV4};
use crate::state::{self, Body, StateError, Stored};

/// What is stored of a processor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ProcessorState {
    pub(super) positions: Positions,
    pub(super) counters: Vec<Counters>,
    pub(super) robot: RobotActor,
    pub(super) procedures: ProcedureTable,
    pub(super) entities: Entities,
    pub(super) record: RobotRecord,
    pub(super) registry: Option<Box<RegistryState>>,
    pub(super) alerts: Rare<Alerts>,
    /// Of the actor of what is said to all robots of a partition.
    pub(super) control: Rare<ControlState>,
}

/// What the actor of what is said to all robots of a partition remembers, and how far it has read.
pub(crate) fn control_state(bytes: &[u8]) -> Result<(ControlState, Positions), StateError> {
    let state: ProcessorState = state::decode(bytes)?;
    Ok((state.control.into_value(), state.positions))
}

/// Version 1: rules judged rows as they came, and a clock had no end.
#[derive(Deserialize)]
struct Version1 {
    positions: Positions,
    counters: Vec<Counters>,
    robot: RobotV1,
    procedures: ProcedureTableV2,
}

/// Version 2: what was measured of a procedure was not cut by its steps, and a robot was what its
/// telemetry says.
#[derive(Deserialize)]
struct Version2 {
    positions: Positions,
    counters: Vec<Counters>,
    robot: RobotV3,
    procedures: ProcedureTableV2,
}

/// Version 3: rules looked at the values of a signal only.
#[derive(Deserialize)]
struct Version3 {
    positions: Positions,
    counters: Vec<Counters>,
    robot: RobotV3,
    procedures: ProcedureTable,
    entities: Entities,
    record: RobotRecord,
    registry: Option<Box<RegistryState>>,
}

/// Version 4: what was said to all robots was not known by its id, changes of rules were not rejected,
/// and a combination that says something else was not noticed.
#[derive(Deserialize)]
struct Version4 {
    positions: Positions,
    counters: Vec<Counters>,
    robot: RobotV4,
    procedures: ProcedureTable,
    entities: Entities,
    record: RobotRecord,
    registry: Option<Box<RegistryState>>,
    alerts: AlertsV4,
    control: ControlStateV4,
}

impl Stored for ProcessorState {
    const NAME: &'static str = "processor";
    const VERSION: u8 = 5;

    fn body(&self) -> impl Serialize {
        self
    }

    fn read(body: Body<'_>) -> Result<Self, StateError> {
        match body.version {
            1 => {
                let stored: Version1 = body.decode()?;
                Ok(Self {
                    positions: stored.positions,
                    counters: stored.counters,
                    robot: stored.robot.into(),
                    procedures: stored.procedures.into(),
                    ..Self::default()
                })
            }
            2 => {
                let stored: Version2 = body.decode()?;
                Ok(Self {
                    positions: stored.positions,
                    counters: stored.counters,
                    robot: stored.robot.into(),
                    procedures: stored.procedures.into(),
                    ..Self::default()
                })
            }
            3 => {
                let stored: Version3 = body.decode()?;
                Ok(Self {
                    positions: stored.positions,
                    counters: stored.counters,
                    robot: stored.robot.into(),
                    procedures: stored.procedures,
                    entities: stored.entities,
                    record: stored.record,
                    registry: stored.registry,
                    ..Self::default()
                })
            }
            4 => {
                let stored: Version4 = body.decode()?;
                Ok(Self {
                    positions: stored.positions,
                    counters: stored.counters,
                    robot: stored.robot.into(),
                    procedures: stored.procedures,
                    entities: stored.entities,
                    record: stored.record,
                    registry: stored.registry,
                    alerts: Alerts::from(stored.alerts).into(),
                    control: ControlState::from(stored.control).into(),
                })
            }
            5 => body.decode(),
            _ => body.unknown(),
        }
    }
}
