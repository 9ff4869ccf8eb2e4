//! A robot's telemetry: the sample that it measures in a tick.

use apache_avro::types::Value;
use rand::RngExt;
use theatre_config::ConfigError;

use crate::faults::Fate;
use crate::{FAILS_AT, Produced, SLOT_TICKS, Simulator, text};

/// Telemetry dated so far ahead was sent by a robot whose clock is wrong, microseconds.
const FUTURE_US: i64 = 3650 * 86_400 * 1_000_000;
/// The id of a schema that is not registered.
const UNKNOWN_SCHEMA: u32 = 987;
const TOOLS: [&str; 4] = ["grasper", "scissors", "needle_driver", "forceps"];

impl Simulator {
    /// Sends the sample that a robot measured in a tick, as the transport's fate for it has it.
    pub(super) fn telemetry(
        &self,
        robot: u64,
        tick: u64,
        fate: Fate,
        produced: &mut Vec<Produced>,
    ) -> Result<(), ConfigError> {
        let ahead = if fate == Fate::Future { FUTURE_US } else { 0 };
        let mut fields = self.head(robot, tick, (robot as i64 * 37) % 1000 + ahead);
        let sample = self.sample(robot, tick, fate);
        fields.extend(sample.map(|(name, value)| (name.to_owned(), value)));
        self.push(0, robot, fields, produced)?;
        let Some((_, sent)) = produced.last_mut() else {
            return Ok(());
        };
        match fate {
            Fate::Truncated => sent.value.truncate(sent.value.len() / 2),
            Fate::UnknownSchema => {
                sent.value = theatre_schemas::framing::frame(UNKNOWN_SCHEMA, &sent.value[5..])
            }
            Fate::Twice => produced.extend(produced.last().cloned()),
            _ => {}
        }
        Ok(())
    }

    /// What a robot measures in a tick: all fields of a sample but robot and time.
    fn sample(&self, robot: u64, tick: u64, fate: Fate) -> [(&'static str, Value); 29] {
        let case = self.case(robot, tick);
        let mut rng = self.rng(robot, 4, tick);
        // The draws have an order: each one moves the generator, so reordering the calls of `noise`
        // changes the bytes that a seed gives.
        let mut noise = |scale: f64| (rng.random::<f64>() - 0.5) * 2.0 * scale;
        let operating = case.is_visible() && (case.starts..case.ends).contains(&tick);
        let phase = tick as f64 / 50.0 + robot as f64;
        let active = if operating { 1.0 } else { 0.1 };
        let tool = TOOLS[(tick / 90 + robot) as usize % TOOLS.len()];
        let force = active * (1.5 + phase.sin()) + noise(0.2);
        let age = self.wear_age(robot, tick);
        let failed = age.is_some_and(|age| age >= FAILS_AT);
        let joints = joints(phase, active, force, self.wear(robot, tick), &mut noise);
        let model = ["Model A", "Model B", "Model C"][robot as usize % 3];
        let position = [
            250.0 + 80.0 * active * phase.sin(),
            250.0 + 80.0 * active * phase.cos(),
            150.0 + 20.0 * (phase / 2.0).sin(),
        ];
        let grip = if tool == "scissors" { 0.0 } else { force.abs() };
        let tremor = 8.0 + noise(3.0);
        let temperature = if fate == Fate::NotANumber {
            f64::NAN
        } else {
            26.0 + 3.0 * active + noise(0.2)
        };
        let power = 180.0 + 60.0 * active + 20.0 * force.abs() + noise(5.0);
        let procedure = if operating {
            text(&case.id)
        } else {
            Value::Null
        };
        [
            ("procedure_id", procedure),
            ("boot_id", Value::Long(1)),
            ("sequence", Value::Long(tick as i64)),
            ("facility_id", text(&format!("FAC-{:03}", robot % 10))),
            ("robot_model", text(model)),
            ("firmware_version", text("3.2.1")),
            (
                "operating_state",
                text(if failed { "fault" } else { "enabled" }),
            ),
            ("arm_id", Value::Int(0)),
            ("arm_position", axes(position)),
            ("arm_rotation", axes([phase % 360.0, 0.0, 0.0])),
            ("tool_type", text(tool)),
            ("tool_serial", text(&format!("T-{robot:03}"))),
            ("tool_active", Value::Boolean(operating)),
            ("tool_use_count", Value::Int((tick / SLOT_TICKS) as i32)),
            ("grip_pressure", Value::Double(grip)),
            ("tremor_compensation", Value::Double(tremor)),
            ("camera_zoom", Value::Double(4.0 + (phase / 5.0).sin())),
            ("camera_angle", Value::Double(10.0 * (phase / 7.0).sin())),
            ("force_feedback", axes([force / 2.0, force / 3.0, force])),
            ("system_temperature", Value::Double(temperature)),
            ("power_consumption", Value::Double(power)),
            ("lighting_level", Value::Double(80.0)),
            ("network_latency_ms", Value::Double(20.0 + noise(8.0))),
            ("packet_loss", Value::Double(0.0)),
            ("video_fps", Value::Double(60.0)),
            ("error_code", Value::Int(if failed { 17 } else { 0 })),
            ("warning_code", Value::Int(0)),
            ("uptime_s", Value::Double(tick as f64 / 10.0)),
            ("joints", joints),
        ]
    }
}

/// The six joints of an arm; `wear` shows in joint 2.
fn joints(
    phase: f64,
    active: f64,
    force: f64,
    wear: f64,
    noise: &mut impl FnMut(f64) -> f64,
) -> Value {
    let joints = (0..6).map(|joint| {
        let worn = if joint == 2 { wear } else { 0.0 };
        let current = active * (1.0 + force.abs() / 2.0) + worn * 5.0 + noise(0.1);
        let temperature = 35.0 + 5.0 * active + worn * 35.0 + noise(0.3);
        let fields = [
            ("position", (phase / 3.0 + f64::from(joint)).sin()),
            ("velocity", active * (phase / 3.0).cos() / 3.0),
            ("effort", force * (1.0 + f64::from(joint) / 4.0)),
            ("current", current),
            ("temperature", temperature),
            ("tracking_error", worn * 0.02 + noise(0.001)),
        ];
        doubles(&fields)
    });
    Value::Array(joints.collect())
}

fn axes([x, y, z]: [f64; 3]) -> Value {
    doubles(&[("x", x), ("y", y), ("z", z)])
}

fn doubles(fields: &[(&str, f64)]) -> Value {
    let field = |(name, value): &(&str, f64)| ((*name).to_owned(), Value::Double(*value));
    Value::Record(fields.iter().map(field).collect())
}
