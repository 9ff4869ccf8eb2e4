//! What the demo tells, and what the stress profile's network does.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kit::{contents, counts};
use crate::faults::Faults;
use crate::world::calendar::{MINUTE_US, SECOND_US};
use crate::world::records::Content;
use crate::world::settings::{Profile, Sampling, Settings};
use crate::world::{Network, Stream, Topic, World};

#[test]
fn within_half_an_hour_an_actuator_of_the_demo_wears_fails_and_is_replaced() {
    let settings = Settings::of(Profile::Demo, 1);
    let mut world = World::new(&settings).unwrap();
    let end = settings.start_us + 30 * MINUTE_US;
    let (facts, truth) = world.advance(end, false);
    let hero = "lanternport-1";
    let at = |what: &str| {
        let mut of_it = truth.iter().filter(|note| note["robot_id"] == hero);
        let found = of_it
            .find(|note| note["what"] == what)
            .unwrap_or(&Value::Null);
        (found["event_time"].as_i64().unwrap() - settings.start_us) / MINUTE_US
    };
    let (onset, failure, service) = (at("onset"), at("failure"), at("service"));
    assert!(
        onset <= 1 && (7..15).contains(&failure) && failure <= service,
        "{onset} {failure} {service}"
    );
    let replaced = contents!(facts, RobotEvent)
        .find(|(fact, event)| fact.key == hero && event.event_type == "part_replaced");
    assert_eq!(
        replaced.unwrap().1.code.as_deref(),
        Some("actuator_assembly")
    );
    let statuses: Vec<&str> = contents!(facts, Robot)
        .filter(|(fact, _)| fact.key == hero)
        .map(|(_, entry)| entry.status)
        .collect();
    assert_eq!(statuses[..3], ["operational", "maintenance", "operational"]);
    let again = contents!(facts, Step)
        .filter(|(fact, step)| fact.key == hero && step.step == "started")
        .map(|(fact, _)| (fact.time - settings.start_us) / MINUTE_US)
        .max();
    assert!(again > Some(service), "it goes on with cases");
    let robots = counts(contents!(facts, Step).map(|(fact, _)| fact.key.clone()));
    assert_eq!(robots.len(), 50);
}

fn stress() -> Settings {
    Settings {
        robots: 10,
        span_us: 20 * SECOND_US,
        sampling: Sampling::Every(SECOND_US / 50),
        ..Settings::of(Profile::Stress, 3)
    }
}

#[test]
fn the_network_of_the_stress_profile_has_every_fault_and_notes_it() {
    let (faults, network) = Network::bad();
    let faults = Faults {
        gap: 0.01,
        duplicate: 0.01,
        ..faults
    };
    let network = Network {
        days_late: 0.001,
        reboot: 0.8,
        offline: 0.1,
        silent: 0.1,
        ..network
    };
    let mut stream = Stream::new(&stress(), faults, network).unwrap();
    let (mut arrived, mut truth) = (0, Vec::new());
    while !stream.is_over() {
        let chunk = stream.advance();
        let samples = chunk.records.iter();
        arrived += samples
            .filter(|(topic, _)| *topic == Topic::Telemetry)
            .count();
        truth.extend(chunk.truth);
    }
    let noted = counts(truth.iter().filter_map(|note| note["fault"].as_str()));
    for fault in [
        "duplicate",
        "gap",
        "reorder",
        "late",
        "truncated",
        "unknown_schema",
        "future",
        "nan",
        "unit",
        "days_late",
        "clock",
        "offline",
        "silent",
    ] {
        assert!(
            noted.get(fault).is_some_and(|count| *count > 0),
            "{fault}: {noted:?}"
        );
    }
    assert!(truth.iter().any(|note| note["what"] == "reboot"));
    assert!(arrived > 3_000, "{arrived}");
    let one = truth.iter().find(|note| note["fault"] == "gap").unwrap();
    assert!(
        one["event_id"].as_str().unwrap().starts_with("robot-"),
        "{one}"
    );
}

#[test]
fn what_was_kept_offline_comes_at_once_and_clocks_run_off() {
    let network = Network {
        offline: 0.3,
        drift: 1.0,
        ..Network::default()
    };
    let settings = stress();
    let mut stream = Stream::new(&settings, Faults::default(), network).unwrap();
    let mut sent: BTreeMap<i64, usize> = BTreeMap::new();
    while !stream.is_over() {
        let until = stream.next_until_us();
        for note in stream.advance().truth {
            if note["fault"] == "offline" && note["topic"] == Topic::Telemetry.name() {
                *sent.entry(note["sent_at"].as_i64().unwrap()).or_default() += 1;
                assert!(note["sent_at"].as_i64().unwrap() >= until - settings.step_us());
            }
        }
    }
    assert!(sent.values().any(|burst| *burst > 100), "{sent:?}");
    assert!(
        sent.keys().all(|time| time % (6 * SECOND_US) == 0),
        "at the end of an outage"
    );
}

#[test]
fn a_thousand_samples_a_second_are_a_millisecond_apart() {
    let settings = Settings {
        sampling: Sampling::Every(1_000),
        ..stress()
    };
    let mut world = World::new(&settings).unwrap();
    let (facts, _) = world.advance(settings.start_us + 10 * SECOND_US, true);
    let mut times: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for fact in &facts {
        if let Content::Telemetry(sample) = &fact.content {
            times
                .entry(&sample.label.procedure_id)
                .or_default()
                .push(fact.time);
        }
    }
    assert!(times.len() >= 10);
    for times in times.values() {
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1_000));
    }
}
