//! Indicators, instruments and components: the keys of their tables, for the reference, and their
//! defaults, which are those of the reference telemetry.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use theatre_actors::component::ComponentSpec;
use theatre_actors::instrument::InstrumentSpec;
use theatre_actors::procedure::IndicatorSpec;

/// The indicators of the reference telemetry.
pub(super) fn indicators() -> IndicatorSpec {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let axes = |signal: &str| {
        ["x", "y", "z"]
            .map(|axis| format!("{signal}.{axis}"))
            .to_vec()
    };
    IndicatorSpec {
        dataset: "robot_telemetry".to_owned(),
        position: axes("arm_position"),
        force: axes("force_feedback"),
        tool: Some("tool_type".to_owned()),
        camera: names(&["camera_zoom", "camera_angle"]),
        signals: names(&[
            "grip_pressure",
            "tremor_compensation",
            "system_temperature",
            "power_consumption",
            "network_latency_ms",
            "video_fps",
        ]),
        ..IndicatorSpec::default()
    }
}

/// The instruments of the reference telemetry.
pub(super) fn instruments() -> InstrumentSpec {
    InstrumentSpec {
        dataset: "robot_telemetry".to_owned(),
        serial: "tool_serial".to_owned(),
        kind: Some("tool_type".to_owned()),
        lives_used: Some("tool_use_count".to_owned()),
        active: Some("tool_active".to_owned()),
        lives: BTreeMap::new(),
    }
}

/// The components of the reference telemetry.
pub(super) fn components() -> ComponentSpec {
    ComponentSpec {
        dataset: "robot_telemetry".to_owned(),
        component: "arms[{arm}].joints[*]".to_owned(),
        load: "joints[*].current".to_owned(),
        arm: Some("arm_id".to_owned()),
    }
}

/// The keys of an [`IndicatorSpec`], for the reference.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub(super) struct IndicatorKeys {
    /// The telemetry dataset.
    dataset: String,
    /// Signals of the position of the instrument's tip, one per axis. Absent: none.
    #[serde(default)]
    position: Vec<String>,
    /// Signals of the force at the tip, one per axis. Absent: none.
    #[serde(default)]
    force: Vec<String>,
    /// Column that names the instrument. Absent: none.
    tool: Option<String>,
    /// Signals of the camera, three at most. Absent: none.
    #[serde(default)]
    camera: Vec<String>,
    /// By how much a signal of the camera changes from row to row while the camera moves, in the
    /// signal's own unit.
    #[serde(default = "camera_step")]
    camera_step: f64,
    /// Further signals that are aggregated by case and phase, 23 at most. Absent: none.
    #[serde(default)]
    signals: Vec<String>,
}

/// The keys of an [`InstrumentSpec`], for the reference.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub(super) struct InstrumentKeys {
    /// The telemetry dataset.
    dataset: String,
    /// Column of the serial number. Rows without one are of no instrument.
    serial: String,
    /// Column of the kind of instrument. Absent: none.
    kind: Option<String>,
    /// Signal of the lives that the instrument has used. Absent: they are not known.
    lives_used: Option<String>,
    /// Signal that is not 0 while the instrument is active. Absent: none.
    active: Option<String>,
    /// Lives of an instrument by its kind, with `*` for all others; where there is none, lives left
    /// are not known. Such as `{ grasper = 12, "*" = 10 }`.
    #[serde(default)]
    lives: BTreeMap<String, u32>,
}

/// The keys of a [`ComponentSpec`], for the reference.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub(super) struct ComponentKeys {
    /// The telemetry dataset.
    dataset: String,
    /// Where the component sits, as the registry calls it: `*` stands for each number for which
    /// there is such a signal, `{arm}` for the number of the arm.
    component: String,
    /// Signal of the load; `*` as above.
    load: String,
    /// Signal of the arm's number. Absent: none.
    arm: Option<String>,
}

#[allow(dead_code)]
fn camera_step() -> f64 {
    IndicatorSpec::default().camera_step
}
