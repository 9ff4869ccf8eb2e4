//! Telemetry: what the sensors of a robot measure, and why. The instrument decides force and grip,
//! force decides current and power, power heats the cabinet with a time constant, and worn parts
//! show in the signals that depend on them ([`super::signature`]).

use std::sync::Arc;

use super::avro::Datum;
use super::component::{ACTUATOR, Wear};
use super::dice::Dice;
use super::instrument::{KINDS, Mount};
use super::records::symbols;
use super::signature;

/// Joints in a sample.
pub(super) const JOINTS: usize = 6;
/// How hard an instrument of each kind pushes, beside the hardest.
const FORCE: [f64; KINDS] = [0.55, 0.45, 0.3, 0.75, 0.5, 0.9, 0.4, 0.65];
/// Whether an instrument of each kind grips.
const GRIPS: [bool; KINDS] = [true, false, false, true, true, false, false, false];
/// How fast the cabinet follows its power, seconds.
const CABINET_SECONDS: f64 = 1_200.0;
/// How fast a motor follows its current, seconds.
const MOTOR_SECONDS: f64 = 600.0;

/// What all samples of a leg of a case have in common.
#[derive(Debug, PartialEq)]
pub(super) struct Label {
    pub(super) robot_id: String,
    pub(super) procedure_id: String,
    pub(super) facility_id: String,
    pub(super) model: String,
    pub(super) firmware: String,
    pub(super) complexity: f64,
    pub(super) mounts: Vec<Mount>,
}

/// One sample, before it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) label: Arc<Label>,
    pub(super) boot: i64,
    pub(super) sequence: i64,
    pub(super) uptime_s: f64,
    pub(super) state: &'static str,
    pub(super) mount: usize,
    pub(super) position: [f64; 3],
    pub(super) rotation: [f64; 3],
    pub(super) is_active: bool,
    pub(super) grip: f64,
    pub(super) tremor: f64,
    pub(super) zoom: f64,
    pub(super) angle: f64,
    pub(super) force: [f64; 3],
    pub(super) temperature: f64,
    pub(super) power: f64,
    pub(super) lighting: f64,
    pub(super) latency_ms: f64,
    pub(super) packet_loss: f64,
    pub(super) fps: f64,
    pub(super) error_code: i32,
    pub(super) warning_code: i32,
    /// Position, velocity, effort, current, temperature, tracking error of each joint.
    pub(super) joints: [[f64; 6]; JOINTS],
}

/// When and in which health a sample is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) time: i64,
    /// From 0, the start of the case, to 1, its end.
    pub(super) share: f64,
    pub(super) wear: Wear,
    /// Error code of the part that has failed, or 0.
    pub(super) failed: i32,
}

/// The state of the signals from one sample of a case to the next.
#[derive(Debug)]
pub(super) struct Signals {
    label: Arc<Label>,
    dice: SignalDice,
    last: Option<i64>,
    position: [f64; 3],
    rotation: f64,
    wander: [f64; 9],
    temperature: f64,
    motors: [f64; JOINTS],
    pub(super) stuck: Option<[f64; 3]>,
}

/// [`Dice`] that can be shown by `Debug`.
struct SignalDice(Dice);

impl std::fmt::Debug for SignalDice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Dice")
    }
}

/// Maps any number into -1 to 1.
fn squash(value: f64) -> f64 {
    value / (1.0 + value * value).sqrt()
}

impl Signals {
    /// The signals of a leg of a case, in a theatre of so many degrees.
    pub(super) fn new(label: Arc<Label>, ambient: f64, mut dice: Dice) -> Self {
        Self {
            position: [
                dice.uniform(0.0, 500.0),
                dice.uniform(0.0, 500.0),
                dice.uniform(0.0, 300.0),
            ],
            rotation: dice.uniform(0.0, 360.0),
            wander: std::array::from_fn(|_| dice.normal()),
            temperature: ambient,
            motors: [ambient + 10.0; JOINTS],
            label,
            dice: SignalDice(dice),
            last: None,
            stuck: None,
        }
    }

    /// Measures the next sample; moments come in order.
    pub(super) fn measure(
        &mut self,
        at: &Moment,
        (boot, sequence, uptime): (i64, i64, i64),
    ) -> Sample {
        let seconds = self.last.map_or(1.0, |last| (at.time - last) as f64 / 1e6);
        self.last = Some(at.time);
        self.walk(seconds);
        let mounts = &self.label.mounts;
        let mount = mounts
            .iter()
            .rposition(|mount| mount.from <= at.share)
            .unwrap_or_default();
        let kind = mounts[mount].kind;
        let [_, _, _, effort, grip, tremor, zoom, angle, latency] = self.wander;
        let is_active = effort > -0.6;
        let force = self.force(kind, is_active);
        let size = force.iter().map(|axis| axis * axis).sum::<f64>().sqrt();
        let grip = match GRIPS[kind] {
            true => 0.5 + 4.5 * (0.6 * size / 4.0 + 0.45 * squash(grip).abs()).min(1.0),
            false => 0.0,
        };
        let active = f64::from(u8::from(is_active));
        let power = 165.0 + 55.0 * active + 130.0 * size / 6.0 + self.dice.0.uniform(-8.0, 8.0);
        let mut sample = Sample {
            label: self.label.clone(),
            boot,
            sequence,
            uptime_s: uptime as f64 / 1e6,
            state: if at.failed == 0 { "enabled" } else { "fault" },
            mount,
            position: self.position,
            rotation: [self.rotation, 0.0, 0.0],
            is_active,
            grip,
            tremor: 8.5 + 6.4 * squash(tremor),
            zoom: 5.5 + 4.4 * squash(zoom),
            angle: 29.5 * squash(angle),
            force,
            temperature: self.temperature,
            power,
            lighting: 80.0 + self.dice.0.uniform(-1.0, 1.0),
            latency_ms: 22.0 + 14.0 * squash(latency),
            packet_loss: 0.1 * squash(latency).abs(),
            fps: 60.0 - self.dice.0.uniform(0.0, 1.0),
            error_code: at.failed,
            warning_code: 0,
            joints: [[0.0; 6]; JOINTS],
        };
        sample.power += 60.0 * at.wear[ACTUATOR];
        self.joints(at, size, active, seconds, &mut sample);
        signature::show(at, &mut sample, &mut self.stuck, &mut self.dice.0);
        // Power heats the cabinet: 12 degrees above the theatre at full power.
        let target = 21.0 + (sample.power - 150.0) / 250.0 * 14.0;
        self.temperature +=
            (target - self.temperature) * (1.0 - (-seconds / CABINET_SECONDS).exp());
        sample
    }

    /// The force at the tip of an instrument.
    fn force(&self, kind: usize, is_active: bool) -> [f64; 3] {
        // Complex cases push the tails of the force; the limits stay.
        let tail = 0.8 + 0.15 * self.label.complexity;
        let scale = FORCE[kind] * if is_active { 1.0 } else { 0.2 };
        let axis = |limit: f64, wander: f64| limit * scale * squash(wander * tail);
        [
            axis(2.0, self.wander[0]),
            axis(2.0, self.wander[1]),
            axis(5.0, self.wander[2]),
        ]
    }

    /// Lets everything wander: positions by steps, the rest back to its mean within its own time.
    fn walk(&mut self, seconds: f64) {
        let step = (seconds / 60.0).sqrt().min(1.0);
        for (axis, (limit, most)) in [(500.0, 10.0), (500.0, 10.0), (300.0, 5.0)]
            .into_iter()
            .enumerate()
        {
            let moved = self.position[axis] + self.dice.0.uniform(-most, most) * step;
            self.position[axis] = moved.clamp(0.0, limit);
        }
        self.rotation = (self.rotation + self.dice.0.uniform(-15.0, 15.0) * step).rem_euclid(360.0);
        // Lateral and axial force, effort, grip, tremor, zoom, angle, latency.
        let times = [3.0, 3.0, 3.0, 20.0, 4.0, 5.0, 120.0, 90.0, 15.0];
        for (value, time) in self.wander.iter_mut().zip(times) {
            let kept = (-seconds / time).exp();
            *value = kept * *value + (1.0 - kept * kept).sqrt() * self.dice.0.normal();
        }
    }

    fn joints(&mut self, at: &Moment, size: f64, active: f64, seconds: f64, sample: &mut Sample) {
        let phase = at.time as f64 / 1e6;
        let kept = (-seconds / MOTOR_SECONDS).exp();
        for joint in 0..JOINTS {
            let lever = 1.0 - joint as f64 / 8.0;
            let worn = if joint == 2 { at.wear[ACTUATOR] } else { 0.0 };
            let current =
                0.3 + active * 0.5 + 0.4 * size * lever + self.dice.0.normal() * 0.05 + 5.0 * worn;
            let target = 31.0 + 4.0 * current;
            self.motors[joint] = kept * self.motors[joint] + (1.0 - kept) * target;
            let swing = phase / (11.0 + joint as f64);
            sample.joints[joint] = [
                swing.sin() * (1.2 - joint as f64 / 10.0),
                swing.cos() * active * 0.3,
                size * lever * 0.35,
                current.max(0.0),
                self.motors[joint] + 12.0 * worn + self.dice.0.normal() * 0.1,
                self.dice.0.normal() * 0.0006 + 0.02 * worn,
            ];
        }
    }
}

impl Sample {
    /// Writes the fields after robot and time.
    pub(super) fn encode(&self, datum: &mut Datum) {
        let label = &self.label;
        let mount = &label.mounts[self.mount];
        datum
            .optional_text(Some(&label.procedure_id))
            .optional_whole(Some(self.boot))
            .optional_whole(Some(self.sequence))
            .optional_text(Some(&label.facility_id))
            .optional_text(Some(&label.model))
            .optional_text(Some(&label.firmware))
            .symbol(&symbols::STATE, self.state)
            .whole(0)
            .doubles(&self.position)
            .doubles(&self.rotation)
            .whole(mount.kind as i64 + 1)
            .optional_text(Some(&mount.instrument.serial))
            .boolean(self.is_active)
            .whole(i64::from(mount.instrument.uses))
            .doubles(&[self.grip, self.tremor, self.zoom, self.angle])
            .doubles(&self.force)
            .doubles(&[self.temperature, self.power, self.lighting])
            .doubles(&[self.latency_ms, self.packet_loss, self.fps])
            .whole(i64::from(self.error_code))
            .whole(i64::from(self.warning_code))
            .double(self.uptime_s)
            .array(&self.joints, |datum, joint| {
                datum.doubles(joint);
            });
    }
}
