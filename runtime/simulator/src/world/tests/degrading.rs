//! Parts wear, show it, fail, and are replaced; robots and cases bear the consequences.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::kit::{contents, facts};
use crate::world::calendar::{self, DAY_US, HOUR_US};
use crate::world::catalogue::Catalogue;
use crate::world::records::Fact;
use crate::world::service::{Kind, Log};
use crate::world::settings::{Profile, Settings};

fn months(seed: u64) -> (Vec<Fact>, Vec<Value>) {
    facts(&Settings::of(Profile::Degrading, seed))
}

fn named<'a>(truth: &'a [Value], what: &'a str) -> impl Iterator<Item = &'a Value> {
    truth.iter().filter(move |note| note["what"] == what)
}

fn text<'a>(note: &'a Value, field: &str) -> &'a str {
    note[field].as_str().unwrap()
}

fn completed(facts: &[Fact]) -> Vec<(&Fact, &Log)> {
    contents!(facts, Log)
        .filter(|(_, log)| log.status == "completed")
        .collect()
}

#[test]
fn every_failure_was_seen_coming_and_led_to_its_service() {
    let (facts, truth) = months(1);
    let catalogue = Catalogue::shipped().unwrap();
    let onsets: BTreeMap<&str, i64> = named(&truth, "onset")
        .map(|note| (text(note, "serial"), note["event_time"].as_i64().unwrap()))
        .collect();
    let emergencies: Vec<_> = completed(&facts)
        .into_iter()
        .filter(|(_, log)| log.kind == Kind::Emergency)
        .collect();
    let mut parts = BTreeSet::new();
    let (mut failures, mut warned) = (0, 0);
    for failure in named(&truth, "failure") {
        failures += 1;
        let (serial, at) = (
            text(failure, "serial"),
            failure["event_time"].as_i64().unwrap(),
        );
        parts.insert(text(failure, "part"));
        let onset = onsets[serial];
        assert!(onset <= at);
        warned += usize::from(at - onset > 3 * DAY_US);
        let (_, log) = emergencies
            .iter()
            .find(|(_, log)| log.parts.iter().any(|[.., old, _]| old == serial))
            .unwrap_or_else(|| panic!("no service for {failure}"));
        assert!((0..DAY_US).contains(&(log.started_at - at)), "{failure}");
        let part = catalogue
            .parts
            .iter()
            .find(|part| part.part == text(failure, "part"));
        let part = part.unwrap();
        let faults = contents!(facts, RobotEvent).filter(|(_, event)| event.event_type == "fault");
        let code = part.error_code.to_string();
        let mut of_it = faults.filter(|(fact, event)| {
            fact.key == text(failure, "robot_id")
                && fact.time == at
                && event.code.as_deref() == Some(&code)
        });
        assert!(of_it.next().is_some() || log.parts.len() > 1, "{failure}");
        if log.parts.len() == 1 {
            assert_eq!(
                (&log.issue.code, &log.actions[0].code),
                (&part.failure.issue, &part.failure.action)
            );
        }
    }
    assert!((25..150).contains(&failures), "{failures} in half a year");
    assert_eq!(parts.len(), 7, "all kinds of parts fail: {parts:?}");
    assert!(
        warned * 10 > failures * 6,
        "{warned} of {failures} show for three days"
    );
    let failed: BTreeSet<&str> = named(&truth, "failure")
        .map(|note| text(note, "serial"))
        .collect();
    for (_, log) in emergencies {
        assert!(!log.parts.is_empty());
        for [.., old, _] in &log.parts {
            assert!(
                failed.contains(old.as_str()),
                "an emergency has a failure: {old}"
            );
        }
    }
}

#[test]
fn in_a_year_every_service_has_its_cause_and_every_failure_its_service() {
    let settings = Settings {
        span_us: 365 * DAY_US,
        ..Settings::of(Profile::Degrading, 4)
    };
    let (facts, truth) = facts(&settings);
    let at = |note: &Value| note["event_time"].as_i64().unwrap();
    let failures: BTreeMap<&str, i64> = named(&truth, "failure")
        .map(|note| (text(note, "serial"), at(note)))
        .collect();
    let planned: BTreeMap<&str, i64> = contents!(facts, Log)
        .filter(|(_, log)| log.status == "planned")
        .map(|(fact, log)| (log.maintenance_id.as_str(), fact.time))
        .collect();
    let (mut served, mut dates) = (BTreeSet::new(), 0);
    for service in named(&truth, "service") {
        if service["type"] == "emergency" {
            assert_eq!(service["cause"], "failure");
            let parts = service["parts"].as_array().unwrap();
            assert!(!parts.is_empty(), "{service}");
            for part in parts {
                let serial = text(part, "serial");
                assert!(part["failed"] == true && failures[serial] <= at(service));
                assert!(served.insert(serial), "{serial} is replaced twice");
            }
        } else {
            assert_eq!(service["cause"], "date");
            assert!(planned[text(service, "maintenance_id")] <= at(service));
            dates += 1;
        }
    }
    // The technician of the last hours is on the way yet.
    let end = settings.start_us + settings.span_us;
    for (serial, failed_at) in &failures {
        let is_served = served.contains(serial) || *failed_at > end - DAY_US;
        assert!(is_served, "no service came for {serial}");
    }
    assert!(served.len() > 50 && dates > 100, "{} {dates}", served.len());
}

#[test]
fn services_replace_parts_and_the_registry_says_so() {
    let (facts, truth) = months(2);
    let mut registered: BTreeMap<&str, Vec<(i64, BTreeSet<&str>)>> = BTreeMap::new();
    for (fact, entry) in contents!(facts, Robot) {
        let serials = entry
            .components
            .iter()
            .map(|[.., serial]| serial.as_str())
            .collect();
        registered
            .entry(&fact.key)
            .or_default()
            .push((fact.time, serials));
    }
    let mut worn_found = 0;
    for (fact, log) in completed(&facts) {
        let entries = &registered[fact.key.as_str()];
        let (_, after) = entries.iter().find(|(time, _)| *time >= fact.time).unwrap();
        for [.., old, new] in &log.parts {
            assert!(after.contains(new.as_str()) && !after.contains(old.as_str()));
        }
        worn_found += usize::from(log.kind == Kind::Routine && !log.parts.is_empty());
    }
    assert!(
        worn_found > 5,
        "routine services find worn parts: {worn_found}"
    );
    for service in named(&truth, "service").filter(|note| note["type"] == "routine") {
        for part in service["parts"].as_array().unwrap() {
            assert!(part["wear"].as_f64().unwrap() > 0.3 && part["failed"] == false);
        }
    }
}

#[test]
fn planned_services_follow_their_dates() {
    let (facts, _) = months(3);
    let mut due: BTreeMap<&str, i64> = BTreeMap::new();
    let mut followed = 0;
    let mut logs: Vec<(&Fact, &Log)> = contents!(facts, Log).collect();
    logs.sort_by_key(|(fact, _)| fact.time);
    for (fact, log) in logs {
        if log.status == "completed" {
            due.insert(&fact.key, log.next_on.unwrap());
        }
        if log.status == "planned" {
            let Some(date) = due.get(fact.key.as_str()) else {
                continue;
            };
            let day = calendar::day_of(fact.time);
            assert!(
                (*date..*date + 21).contains(&day),
                "due {date}, planned {day}"
            );
            assert!(calendar::weekday(day) < 5 && !calendar::is_holiday(day));
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed}");
}

#[test]
fn a_robot_that_is_out_of_use_takes_no_case() {
    let (facts, truth) = months(1);
    let mut status: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut moved, mut started) = (BTreeMap::<&str, BTreeSet<&str>>::new(), 0);
    let mut facts: Vec<&Fact> = facts.iter().collect();
    facts.sort_by_key(|fact| fact.time);
    for fact in facts {
        match &fact.content {
            crate::world::records::Content::Robot(entry) => {
                status.insert(&fact.key, entry.status);
            }
            crate::world::records::Content::Step(step)
                if ["started", "resumed"].contains(&step.step) =>
            {
                started += 1;
                assert_eq!(status[fact.key.as_str()], "operational", "{fact:?}");
                let robots = moved.entry(&step.procedure_id).or_default();
                robots.insert(&fact.key);
            }
            _ => {}
        }
    }
    assert!(started > 5_000);
    let moved = moved.values().filter(|robots| robots.len() > 1).count();
    assert!(moved > 0, "a case goes on on another robot");
    let share = |notes: Vec<&Value>| {
        let aborted = notes
            .iter()
            .filter(|note| note["ends"] == "aborted")
            .count();
        aborted as f64 / notes.len() as f64
    };
    let cases = |from: f64, to: f64| {
        let within = |note: &&Value| (from..to).contains(&note["wear"].as_f64().unwrap());
        share(named(&truth, "case").filter(within).collect())
    };
    let (sound, worn) = (cases(0.0, 0.2), cases(0.6, 2.0));
    assert!(
        worn > 1.5 * sound,
        "worn robots abort more: {worn} beside {sound}"
    );
}

#[test]
fn health_comes_back_only_by_a_new_part() {
    use crate::world::World;
    let settings = Settings {
        robots: 20,
        ..Settings::of(Profile::Degrading, 5)
    };
    let mut world = World::new(&settings).unwrap();
    let mut before: BTreeMap<(usize, usize), (String, f64)> = BTreeMap::new();
    let (mut until, mut renewed) = (settings.start_us, 0);
    for _ in 0..180 {
        until += DAY_US;
        world.advance(until, false);
        for robot in &world.robots {
            let wear = robot.wear(world.catalogue, until);
            for (part, unit) in robot.units.iter().enumerate() {
                let now = (unit.serial.clone(), wear[part]);
                let was = before.insert((robot.index, part), now.clone());
                let Some((serial, wear)) = was else { continue };
                if serial == now.0 {
                    assert!(wear <= now.1, "wear does not heal");
                } else {
                    renewed += 1;
                    assert!(now.1 < 0.5, "a new part is sound");
                }
            }
        }
    }
    assert!(renewed > 10, "{renewed}");
    assert!(until - settings.start_us > 4_000 * HOUR_US);
}
