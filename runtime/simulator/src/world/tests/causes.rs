//! Signals have causes: instrument, force, power, temperature, and the wear of parts.

use std::sync::Arc;

use crate::world::component::{
    ACTUATOR, CAMERA, CONTROL, GRIPPER, PARTS, SEAL, SENSOR, SUPPLY, Wear,
};
use crate::world::dice::{Dice, Purpose};
use crate::world::instrument::{Instrument, Mount};
use crate::world::telemetry::{Label, Moment, Sample, Signals};

/// A case of two hours with one instrument, one sample a second.
fn case(kind: usize, complexity: f64, wear: Wear) -> Vec<Sample> {
    let instrument = Instrument {
        serial: "T".to_owned(),
        uses: 1,
    };
    let label = Label {
        robot_id: "robot".to_owned(),
        procedure_id: "case".to_owned(),
        facility_id: "site".to_owned(),
        model: "model".to_owned(),
        firmware: "1.0.0".to_owned(),
        complexity,
        mounts: vec![Mount {
            from: 0.0,
            kind,
            instrument,
        }],
    };
    let dice = Dice::new(7, Purpose::Signals, 1);
    let mut signals = Signals::new(Arc::new(label), 21.0, dice);
    let count = 7_200;
    let moment = |index: i64| Moment {
        time: index * 1_000_000,
        share: index as f64 / count as f64,
        wear,
        failed: 0,
    };
    (0..count)
        .map(|index| signals.measure(&moment(index), (1, index, 0)))
        .collect()
}

fn worn(part: usize) -> Wear {
    let mut wear = [0.0; PARTS];
    wear[part] = 0.8;
    wear
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len() as f64
}

fn deviation(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let centre = mean(samples, &of);
    mean(samples, |sample| (of(sample) - centre).powi(2)).sqrt()
}

fn correlation(
    samples: &[Sample],
    of: impl Fn(&Sample) -> f64,
    and: impl Fn(&Sample) -> f64,
) -> f64 {
    let (first, second) = (mean(samples, &of), mean(samples, &and));
    let joint = mean(samples, |sample| {
        (of(sample) - first) * (and(sample) - second)
    });
    joint / (deviation(samples, &of) * deviation(samples, &and))
}

fn size(sample: &Sample) -> f64 {
    sample
        .force
        .iter()
        .map(|axis| axis * axis)
        .sum::<f64>()
        .sqrt()
}

const RETRACTOR: usize = 5;
const CAUTERY_HOOK: usize = 2;
const NEEDLE_DRIVER: usize = 3;

#[test]
fn the_instrument_decides_the_force_and_the_force_the_power() {
    let strong = case(RETRACTOR, 3.0, [0.0; PARTS]);
    let gentle = case(CAUTERY_HOOK, 3.0, [0.0; PARTS]);
    assert!(mean(&strong, size) > 2.0 * mean(&gentle, size));
    assert!(correlation(&strong, size, |sample| sample.power) > 0.8);
    assert!(
        correlation(&strong, size, |sample| sample.joints[1][3]) > 0.8,
        "current"
    );
    let gripping = case(NEEDLE_DRIVER, 3.0, [0.0; PARTS]);
    assert!(correlation(&gripping, size, |sample| sample.grip) > 0.3);
    assert!(mean(&gentle, |sample| sample.grip) == 0.0);
    let complex = case(RETRACTOR, 5.0, [0.0; PARTS]);
    let simple = case(RETRACTOR, 1.0, [0.0; PARTS]);
    assert!(
        mean(&complex, size) > 1.05 * mean(&simple, size),
        "tails of the force"
    );
}

#[test]
fn power_heats_the_cabinet_with_a_time_constant() {
    let samples = case(RETRACTOR, 3.0, [0.0; PARTS]);
    let level = mean(&samples[6_000..], |sample| sample.temperature);
    let risen = |second: usize| {
        (samples[second].temperature - samples[0].temperature) / (level - samples[0].temperature)
    };
    // After one time constant, twenty minutes, 63 % of the way is done.
    assert!((risen(1_200) - 0.63).abs() < 0.2, "{}", risen(1_200));
    assert!(risen(60) < 0.12, "and hardly any after a minute");
    let step = |pair: &[Sample]| (pair[1].temperature - pair[0].temperature).abs();
    assert!(
        samples.windows(2).all(|pair| step(pair) < 0.05),
        "no white noise"
    );
}

#[test]
fn each_part_shows_its_wear_in_its_own_signals() {
    let sound = case(NEEDLE_DRIVER, 3.0, [0.0; PARTS]);
    let of = |part| case(NEEDLE_DRIVER, 3.0, worn(part));

    let actuator = of(ACTUATOR);
    for (column, more) in [(3, 3.0), (4, 15.0), (5, 0.01)] {
        let joint = |joint: usize| move |sample: &Sample| sample.joints[joint][column];
        assert!(mean(&actuator, joint(2)) > mean(&sound, joint(2)) + more);
        assert!((mean(&actuator, joint(1)) - mean(&sound, joint(1))).abs() < more / 4.0);
    }
    assert!(mean(&actuator, |sample| sample.power) > mean(&sound, |sample| sample.power) + 30.0);
    assert!(
        mean(&actuator, |sample| sample.temperature)
            > mean(&sound, |sample| sample.temperature) + 1.0
    );

    let sensor = of(SENSOR);
    let force = |sample: &Sample| sample.force[2];
    assert!(mean(&sensor, force) > mean(&sound, force) + 1.0, "drift");
    let same = |samples: &[Sample]| {
        samples
            .windows(2)
            .filter(|pair| pair[0].force == pair[1].force)
            .count()
    };
    assert!(same(&sound) == 0 && same(&sensor) > 100, "stuck values");
    assert!(
        sensor.iter().any(|sample| sample.force == [0.0; 3]),
        "drop-outs"
    );

    let camera = of(CAMERA);
    assert!(mean(&camera, |sample| sample.fps) < 45.0 && mean(&sound, |sample| sample.fps) > 58.0);
    assert!(mean(&camera, |sample| sample.latency_ms) > 80.0);
    let hunting = |samples: &[Sample]| {
        let moves = samples
            .windows(2)
            .map(|pair| (pair[1].zoom - pair[0].zoom).abs());
        moves.sum::<f64>() / samples.len() as f64
    };
    assert!(hunting(&camera) > 2.0 * hunting(&sound));

    let seal = of(SEAL);
    let grip = |samples: &[Sample]| mean(samples, |sample| sample.grip);
    let decay = |samples: &[Sample]| grip(&samples[6_000..]) / grip(&samples[..1_200]);
    assert!(
        decay(&seal) < 0.8 * decay(&sound),
        "pressure decays within a case"
    );
    assert!(mean(&seal, force) > mean(&sound, force) + 0.8, "force bias");

    let control = of(CONTROL);
    let bad = |samples: &[Sample], code: fn(&Sample) -> i32| {
        samples.iter().filter(|sample| code(sample) != 0).count()
    };
    assert!(bad(&sound, |sample| sample.error_code + sample.warning_code) == 0);
    assert!(bad(&control, |sample| sample.error_code) > 100);
    assert!(bad(&control, |sample| sample.warning_code) > 300);

    let supply = of(SUPPLY);
    let power = |sample: &Sample| sample.power;
    assert!(
        deviation(&supply, power) > 1.3 * deviation(&sound, power),
        "ripple"
    );
    assert!(
        supply
            .iter()
            .filter(|sample| sample.lighting < 50.0)
            .count()
            > 50,
        "brown-outs"
    );

    let gripper = of(GRIPPER);
    assert!(grip(&gripper) < 0.6 * grip(&sound), "less grip");
    let forces = mean(&gripper, size) / mean(&sound, size);
    assert!((forces - 1.0).abs() < 0.05, "for the same force: {forces}");
}
