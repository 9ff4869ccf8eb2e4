//! Signatures: how wear shows in the signals. Each part has its own, which grow with its wear; the
//! actuator's are in the joints themselves (current, temperature, tracking error) and in the power.

use super::component::{CAMERA, CONTROL, GRIPPER, SEAL, SENSOR, SUPPLY, Wear};
use super::dice::Dice;
use super::telemetry::{Moment, Sample};

/// Warnings of the controller.
const WATCHDOG: i32 = 401;
const BROWN_OUT: i32 = 402;
const SENSOR_IMPLAUSIBLE: i32 = 403;
/// Error of a controller whose watchdog bites.
const WATCHDOG_ERROR: i32 = 41;

/// Shows the wear of all parts in a sample.
pub(super) fn show(
    at: &Moment,
    sample: &mut Sample,
    stuck: &mut Option<[f64; 3]>,
    dice: &mut Dice,
) {
    if at.wear.iter().all(|wear| *wear == 0.0) {
        return;
    }
    seal(at, sample);
    gripper(&at.wear, sample);
    sensor(&at.wear, sample, stuck, dice);
    camera(at, sample, dice);
    supply(&at.wear, sample, dice);
    control(&at.wear, sample, dice);
}

/// Pressure decays in the course of a case, and the force is off by a bias.
fn seal(at: &Moment, sample: &mut Sample) {
    let wear = at.wear[SEAL];
    sample.grip *= 1.0 - 0.5 * wear * at.share;
    sample.force[2] += 1.5 * wear;
}

/// The same command gives less force at the jaw.
fn gripper(wear: &Wear, sample: &mut Sample) {
    sample.grip *= 1.0 - 0.6 * wear[GRIPPER];
}

/// Force sensors drift, hang at a value, or drop out.
fn sensor(wear: &Wear, sample: &mut Sample, stuck: &mut Option<[f64; 3]>, dice: &mut Dice) {
    let wear = wear[SENSOR];
    if wear == 0.0 {
        return;
    }
    for (axis, drift) in sample.force.iter_mut().zip([1.2, -0.8, 2.0]) {
        *axis += drift * wear;
    }
    if let Some(held) = stuck {
        sample.force = *held;
        sample.warning_code = SENSOR_IMPLAUSIBLE;
        if dice.chance(0.2) {
            *stuck = None;
        }
    } else if dice.chance(0.03 * wear) {
        *stuck = Some(sample.force);
    } else if dice.chance(0.04 * wear) {
        sample.force = [0.0; 3];
        sample.warning_code = SENSOR_IMPLAUSIBLE;
    }
}

/// Fewer frames, later, and a zoom that hunts for its focus.
fn camera(at: &Moment, sample: &mut Sample, dice: &mut Dice) {
    let wear = at.wear[CAMERA];
    sample.fps -= wear * dice.uniform(25.0, 45.0);
    sample.latency_ms += wear * dice.uniform(90.0, 170.0);
    let hunting = (at.time as f64 / 1e6).sin();
    sample.zoom = (sample.zoom + 2.5 * wear * hunting).clamp(1.0, 10.0);
}

/// The power ripples, and now and then breaks down for a moment.
fn supply(wear: &Wear, sample: &mut Sample, dice: &mut Dice) {
    let wear = wear[SUPPLY];
    sample.power += 60.0 * wear * dice.normal();
    if dice.chance(0.03 * wear) {
        sample.power *= 0.4;
        sample.lighting *= 0.4;
        sample.warning_code = BROWN_OUT;
    }
}

/// Watchdog warnings, and errors in bursts. Restarts are the robot's ([`super::case_run`]).
fn control(wear: &Wear, sample: &mut Sample, dice: &mut Dice) {
    let wear = wear[CONTROL];
    if dice.chance(0.15 * wear) {
        sample.warning_code = WATCHDOG;
    }
    if wear > 0.3 && sample.error_code == 0 && dice.chance(0.05 * wear) {
        sample.error_code = WATCHDOG_ERROR;
    }
}
