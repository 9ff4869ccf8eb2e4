//! Sections of the reference platform's data model, each with its counts, ranges and shares.

use std::collections::{BTreeMap, BTreeSet};

use super::kit::{assert_range, assert_share, cases, contents, counts, facts, of, run};
use crate::world::calendar::{self, DAY_US, HOUR_US, MINUTE_US};
use crate::world::catalogue::Catalogue;
use crate::world::patient::Patient;
use crate::world::records::{Content, Fact};
use crate::world::service::Kind;
use crate::world::settings::{Profile, Settings};
use crate::world::{Topic, World};

fn reference(seed: u64) -> Settings {
    Settings::of(Profile::Reference, seed)
}

/// First and last event of each case, and its category, with the robot and the surgeon.
struct Span<'a> {
    robot: &'a str,
    surgeon: &'a str,
    category: &'a str,
    kind: &'a str,
    complexity: f64,
    patient: &'a Patient,
    start: Option<i64>,
    end: Option<i64>,
    last: &'a str,
}

fn spans(facts: &[Fact]) -> Vec<Span<'_>> {
    let mut spans: BTreeMap<&str, Span<'_>> = BTreeMap::new();
    for (fact, step) in contents!(facts, Step) {
        let span = spans.entry(&step.procedure_id).or_insert_with(|| Span {
            robot: &fact.key,
            surgeon: &step.surgeon_id,
            category: &step.category,
            kind: &step.procedure_type,
            complexity: step.complexity,
            patient: &step.patient,
            start: None,
            end: None,
            last: "",
        });
        match step.step {
            "started" => span.start = Some(fact.time),
            "completed" | "aborted" | "cancelled" => span.end = Some(fact.time),
            _ => {}
        }
        span.last = step.step;
    }
    spans.into_values().collect()
}

#[test]
fn robots_are_fifty_in_ten_facilities_with_shares_of_status_and_models() {
    let (facts, _) = facts(&reference(1));
    let mut first = BTreeMap::new();
    let mut latest = BTreeMap::new();
    let begin = calendar::day(2023, 1, 1);
    for (fact, entry) in contents!(facts, Robot) {
        first.entry(&fact.key).or_insert((fact.time, entry));
        if fact.time <= begin * DAY_US {
            latest.insert(&fact.key, entry);
        }
    }
    assert_eq!(first.len(), 50);
    let facilities = counts(first.values().map(|(_, entry)| &entry.facility_id));
    assert_eq!(facilities.len(), 10);
    assert!(facilities.values().all(|robots| *robots == 5));
    let models = counts(first.values().map(|(_, entry)| &entry.model));
    assert!(models.len() == 10 && models.values().all(|robots| *robots == 5));
    let serials: BTreeSet<_> = first
        .values()
        .map(|(_, entry)| &entry.serial_number)
        .collect();
    assert_eq!(serials.len(), 50, "serial numbers are unique");
    for (time, entry) in first.values() {
        let maker = entry.manufacturer[..3].to_uppercase();
        let number = entry
            .serial_number
            .strip_prefix(&format!("{maker}-"))
            .unwrap();
        assert!((10_000..=99_999).contains(&number.parse::<i64>().unwrap()));
        assert!((730..=1_825).contains(&(begin - entry.installed_on)));
        assert_eq!(*time, entry.installed_on * DAY_US);
        let version: Vec<i64> = entry
            .firmware_version
            .split('.')
            .map(|number| number.parse().unwrap())
            .collect();
        assert!((2..=5).contains(&version[0]) && version[1] <= 9 && version[2] <= 20);
    }
    let statuses = counts(latest.values().map(|entry| entry.status));
    assert_share("operational", statuses["operational"], 50, 0.85);
    assert_share("maintenance", statuses["maintenance"], 50, 0.12);
    assert_share("retired", statuses["retired"], 50, 0.03);
    let registries = [
        (Topic::Facilities, 10),
        (Topic::Models, 10),
        (Topic::Surgeons, 50),
    ];
    for (topic, count) in registries {
        assert_eq!(of(&facts, topic).count(), count);
    }
}

#[test]
fn cases_are_five_thousand_over_two_years_with_their_ranges_and_shares() {
    for seed in [1, 2] {
        let (facts, _) = facts(&reference(seed));
        let spans = spans(&facts);
        assert_eq!(spans.len(), 5_000);
        let ends = counts(spans.iter().map(|span| span.last));
        assert_eq!(
            (ends["completed"], ends["aborted"], ends["cancelled"]),
            (4_600, 150, 150)
        );
        let open = spans.iter().filter(|span| span.end.is_none()).count();
        assert_eq!(open, 100, "a case in progress has no end");
        for (category, count) in counts(spans.iter().map(|span| span.category)) {
            assert_share(category, count, 5_000, 1.0 / 6.0);
            let of: Vec<_> = spans
                .iter()
                .filter(|span| span.category == category)
                .collect();
            let kinds = counts(of.iter().map(|span| span.kind));
            for (kind, count) in &kinds {
                assert_share(kind, *count, of.len(), 1.0 / kinds.len() as f64);
            }
        }
        assert_eq!(counts(spans.iter().map(|span| span.kind)).len(), 27);
        let surgeons = counts(spans.iter().map(|span| span.surgeon));
        assert_eq!(surgeons.len(), 50);
        for (surgeon, count) in surgeons {
            assert_share(surgeon, count, 5_000, 1.0 / 50.0);
        }
        let robots = counts(spans.iter().map(|span| span.robot));
        assert_eq!(robots.len(), 42, "only those that are operational");
        for (robot, count) in robots {
            assert_share(robot, count, 5_000, 1.0 / 42.0);
        }
        let complexity: Vec<f64> = spans.iter().map(|span| span.complexity).collect();
        assert_range("complexity", &complexity, 1.0, 5.0, 0.01);
        let mean = complexity.iter().sum::<f64>() / 5_000.0;
        assert!((mean - 3.0).abs() < 0.07, "{mean}");
        for span in &spans {
            let hundredths = span.complexity * 100.0;
            assert!(
                (hundredths - hundredths.round()).abs() < 1e-6,
                "two decimals"
            );
            let number = span.patient.patient_id.strip_prefix("PAT-").unwrap();
            let number: i64 = number.parse().unwrap();
            assert!((100_000..=999_999).contains(&number));
        }
        let minutes: Vec<f64> = spans
            .iter()
            .filter(|span| span.last == "completed")
            .map(|span| ((span.end.unwrap() - span.start.unwrap()) / MINUTE_US) as f64)
            .collect();
        assert_range("minutes", &minutes, 30.0, 864.0, 0.1);
        let mean = minutes.iter().sum::<f64>() / minutes.len() as f64;
        assert!((mean - 357.0).abs() < 12.0, "{mean}");
    }
}

#[test]
fn patients_are_of_all_ages_and_a_third_of_each_gender() {
    let (facts, _) = facts(&reference(1));
    let spans = spans(&facts);
    let ages: Vec<f64> = spans.iter().map(|span| span.patient.age as f64).collect();
    assert_range("age", &ages, 18.0, 85.0, 0.0);
    let mean = ages.iter().sum::<f64>() / 5_000.0;
    // Four deviations of the mean of 5,000 ages that are uniform over 68 years.
    assert!((mean - 51.5).abs() < 1.12, "{mean}");
    for (age, count) in counts(spans.iter().map(|span| span.patient.age)) {
        assert_share(&format!("age {age}"), count, 5_000, 1.0 / 68.0);
    }
    let genders = counts(spans.iter().map(|span| span.patient.gender));
    assert_eq!(genders.len(), 3, "{genders:?}");
    for (gender, count) in genders {
        assert_share(gender, count, 5_000, 1.0 / 3.0);
    }
}

#[test]
fn cases_start_by_day_and_more_on_working_days() {
    let (facts, truth) = facts(&reference(1));
    let emergencies = truth
        .iter()
        .filter(|note| note["emergency"] == true)
        .count();
    assert_share("emergencies", emergencies, 5_000, 0.06);
    let catalogue = Catalogue::shipped().unwrap();
    let emergency: BTreeSet<&str> = truth
        .iter()
        .filter(|note| note["emergency"] == true)
        .filter_map(|note| note["procedure_id"].as_str())
        .collect();
    let mut on = [0_usize; 7];
    for (fact, step) in contents!(facts, Step).filter(|(_, step)| step.step == "started") {
        let index: usize = fact.key.strip_prefix("robot-").unwrap().parse().unwrap();
        let local = fact.time + catalogue.facilities[index % 10].utc_offset_hours * HOUR_US;
        let day = calendar::day_of(local);
        assert!((calendar::day(2023, 1, 1)..calendar::day(2025, 1, 1)).contains(&day));
        on[calendar::weekday(day) as usize] += 1;
        let hour = local.rem_euclid(DAY_US) / HOUR_US;
        let is_emergency = emergency.contains(step.procedure_id.as_str());
        assert!(is_emergency || (7..=17).contains(&hour), "{hour}");
        assert_eq!(local % MINUTE_US, 0);
    }
    let working: usize = on[..5].iter().sum();
    assert!(on[5] * 3 < on[0] && on[6] < on[5], "{on:?}");
    assert!(
        on[..5]
            .iter()
            .all(|count| count * 5 > working - working / 5),
        "{on:?}"
    );
}

#[test]
fn no_robot_and_no_surgeon_is_at_two_places_and_no_model_does_what_it_cannot() {
    let (facts, _) = facts(&reference(3));
    let catalogue = Catalogue::shipped().unwrap();
    let models: BTreeMap<&String, &String> = contents!(facts, Robot)
        .map(|(fact, entry)| (&fact.key, &entry.model))
        .collect();
    let mut busy: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for span in spans(&facts) {
        let model = models[&span.robot.to_owned()];
        let able = catalogue
            .models
            .iter()
            .find(|known| known.name == **model)
            .unwrap();
        assert!(able.categories.iter().any(|name| name == span.category));
        if let (Some(start), Some(end)) = (span.start, span.end) {
            busy.entry(span.robot).or_default().push((start, end));
            busy.entry(span.surgeon).or_default().push((start, end));
        }
    }
    for (fact, log) in contents!(facts, Log) {
        let stretch = (log.started_at, log.ended_at.unwrap());
        busy.entry(&fact.key).or_default().push(stretch);
    }
    for (who, mut stretches) in busy {
        stretches.sort_unstable();
        for pair in stretches.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{who}: {pair:?}");
        }
    }
}

#[test]
fn samples_are_a_hundred_for_each_completed_case_and_within_their_ranges() {
    let settings = reference(1);
    let (mut samples, mut worst): (usize, f64) = (0, 0.0);
    let mut signals: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut tools: BTreeMap<usize, usize> = BTreeMap::new();
    let mut numbers: BTreeMap<(String, i64), i64> = BTreeMap::new();
    let mut of_case: BTreeMap<String, usize> = BTreeMap::new();
    let mut worn: BTreeSet<String> = BTreeSet::new();
    run(&settings, true, |facts, truth| {
        for note in truth.iter().filter(|note| note["what"] == "onset") {
            worn.insert(note["robot_id"].as_str().unwrap().to_owned());
        }
        for (fact, sample) in contents!(facts, Telemetry) {
            samples += 1;
            *of_case
                .entry(sample.label.procedure_id.clone())
                .or_default() += 1;
            let next = numbers.entry((fact.key.clone(), sample.boot)).or_default();
            assert_eq!(sample.sequence, *next, "{}: numbers are dense", fact.key);
            *next += 1;
            let kind = sample.label.mounts[sample.mount].kind;
            *tools.entry(kind).or_default() += 1;
            worst = worst.max(sample.joints[2][3]);
            if worn.contains(&fact.key) {
                continue;
            }
            let grips = [0, 3, 4].contains(&kind);
            assert!(grips || sample.grip == 0.0);
            if grips {
                signals.entry("grip").or_default().push(sample.grip);
            }
            for (name, value) in [
                ("x", sample.position[0]),
                ("z", sample.position[2]),
                ("rotation", sample.rotation[0]),
                ("tremor", sample.tremor),
                ("zoom", sample.zoom),
                ("angle", sample.angle),
                ("force x", sample.force[0]),
                ("force z", sample.force[2]),
                ("temperature", sample.temperature),
                ("power", sample.power),
                ("current", sample.joints[2][3]),
            ] {
                signals.entry(name).or_default().push(value);
            }
        }
    });
    assert_eq!(samples, 460_000);
    assert!(of_case.len() == 4_600 && of_case.values().all(|count| *count == 100));
    for (name, low, high, near) in [
        ("x", 0.0, 500.0, 0.01),
        ("z", 0.0, 300.0, 0.01),
        ("rotation", 0.0, 360.0, 0.01),
        ("grip", 0.5, 5.0, 0.1),
        ("tremor", 2.0, 15.0, 0.1),
        ("zoom", 1.0, 10.0, 0.1),
        ("angle", -30.0, 30.0, 0.1),
        ("force x", -2.0, 2.0, 0.1),
        ("force z", -5.0, 5.0, 0.1),
        ("temperature", 20.0, 35.0, 0.35),
        ("power", 150.0, 400.0, 0.35),
        ("current", 0.0, 4.0, 0.45),
    ] {
        assert_range(name, &signals[name], low, high, near);
    }
    for (kind, count) in &tools {
        // Samples of a case come in stretches of one instrument: the deviation is that of
        // stretches.
        assert_share(
            &format!("tool {kind}"),
            *count / 20,
            samples / 20,
            1.0 / 8.0,
        );
    }
    assert!(worst > 5.0, "worn actuators show: {worst}");
}

#[test]
fn results_are_one_for_each_case_that_ended_and_depend_on_complexity() {
    let (facts, _) = facts(&reference(1));
    let spans: BTreeMap<&str, (f64, &str, i64)> = cases(&facts)
        .into_iter()
        .filter_map(|(id, steps)| {
            let (last, step) = *steps.last()?;
            let Content::Step(content) = &last.content else {
                return None;
            };
            Some((id, (content.complexity, step, last.time)))
        })
        .collect();
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let mut corrected = 0;
    let mut by_band: BTreeMap<usize, [usize; 3]> = BTreeMap::new();
    let mut values: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    let (mut back, mut follow) = (BTreeMap::new(), BTreeMap::new());
    for (fact, result) in contents!(facts, Result) {
        let (complexity, end, at) = spans[result.procedure_id.as_str()];
        if let Some(is_back) = result.readmission_30day {
            corrected += 1;
            let days = (fact.time - at) / DAY_US;
            assert_eq!(days, 30);
            let of: &mut Vec<bool> = back.entry(result.success_status).or_default();
            of.push(is_back);
            continue;
        }
        *first.entry(&result.procedure_id).or_default() += 1;
        assert!((1..=24).contains(&((fact.time - at) / HOUR_US)));
        if end == "cancelled" {
            assert_eq!(result.success_status, "unknown");
            continue;
        }
        if end == "aborted" {
            assert!(result.recovery.is_none() && result.success_status != "successful");
            continue;
        }
        let status = result.success_status;
        let rank = ["successful", "complicated", "failed"]
            .iter()
            .position(|of| *of == status);
        by_band.entry(complexity as usize).or_default()[rank.unwrap()] += 1;
        let of: &mut Vec<bool> = follow.entry(status).or_default();
        of.push(result.follow_up_required.unwrap());
        for (name, value) in [
            ("loss", result.blood_loss_ml),
            ("stay", result.hospital_stay_days),
            ("satisfaction", result.satisfaction),
            ("recovery", result.recovery),
        ] {
            values
                .entry((name, status))
                .or_default()
                .push(value.unwrap() as f64);
        }
        let complications = result.complications.len();
        assert!([0..=0, 1..=2, 2..=4][rank.unwrap()].contains(&complications));
    }
    assert_eq!((first.len(), corrected), (4_900, 4_750));
    assert!(first.values().all(|count| *count == 1));
    outcome_shares(&by_band);
    let spans = [
        ("loss", [(50.0, 500.0), (75.0, 1_500.0), (100.0, 2_000.0)]),
        ("stay", [(1.0, 4.0), (3.0, 10.0), (7.0, 21.0)]),
        ("satisfaction", [(7.0, 10.0), (4.0, 8.0), (1.0, 5.0)]),
        ("recovery", [(80.0, 100.0), (50.0, 85.0), (20.0, 60.0)]),
    ];
    for (name, ranges) in spans {
        for (status, (low, high)) in ["successful", "complicated", "failed"]
            .into_iter()
            .zip(ranges)
        {
            assert_range(name, &values[&(name, status)], low, high, 0.2);
        }
    }
    let yes = |of: &Vec<bool>| of.iter().filter(|value| **value).count();
    assert_share(
        "back",
        yes(&back["successful"]),
        back["successful"].len(),
        0.05,
    );
    assert_share(
        "back",
        yes(&back["complicated"]),
        back["complicated"].len(),
        0.25,
    );
    assert_share(
        "follow",
        yes(&follow["successful"]),
        follow["successful"].len(),
        0.3,
    );
    assert_eq!(yes(&follow["failed"]), follow["failed"].len());
}

fn outcome_shares(by_band: &BTreeMap<usize, [usize; 3]>) {
    let mut all = [0; 3];
    for (band, counts) in by_band {
        let of: usize = counts.iter().sum();
        let over = *band as f64 + 0.5 - 1.0;
        assert_share("successful", counts[0], of, 0.85 - 0.05 * over);
        assert_share("complicated", counts[1], of, 0.12 + 0.04 * over);
        assert_share("failed", counts[2], of, 0.03 + 0.01 * over);
        for (all, count) in all.iter_mut().zip(counts) {
            *all += count;
        }
    }
    let of: usize = all.iter().sum();
    assert_eq!(of, 4_600);
    assert_share("successful", all[0], of, 0.75);
    assert_share("complicated", all[1], of, 0.20);
    assert_share("failed", all[2], of, 0.05);
}

#[test]
fn services_are_two_hundred_whose_issue_action_and_part_agree() {
    let (facts, _) = facts(&reference(1));
    let catalogue = Catalogue::shipped().unwrap();
    let logs: Vec<_> = contents!(facts, Log).collect();
    assert_eq!(logs.len(), 200);
    assert_eq!(of(&facts, Topic::MaintenanceLogs).count(), 200);
    let robots = counts(logs.iter().map(|(fact, _)| &fact.key));
    assert!(robots.len() > 40 && robots.values().all(|count| *count < 14));
    let technicians = counts(logs.iter().map(|(_, log)| &log.technician.0));
    assert_eq!(technicians.len(), 20);
    let mut routine_parts = 0;
    for kind in Kind::ALL {
        let of: Vec<_> = logs.iter().filter(|(_, log)| log.kind == kind).collect();
        assert_eq!(of.len(), 50);
        let work = catalogue.work(kind);
        for (fact, log) in of {
            let hours = (log.ended_at.unwrap() - log.started_at) as f64 / HOUR_US as f64;
            let [low, high] = work.downtime_hours;
            assert!((low - 0.01..=high + 0.01).contains(&hours), "{hours}");
            let cost = log.cost_cents.unwrap() as f64 / 100.0;
            let parts = log.parts.len() as f64;
            let costs = work.cost[0] + 2_000.0 * parts..=work.cost[1] + 15_000.0 * parts;
            assert!(costs.contains(&cost), "{cost}");
            assert!((1..=3).contains(&log.actions.len()));
            let due = log.next_on.unwrap() - calendar::day_of(fact.time);
            assert!((30..=90).contains(&due));
            let Some([part, component, old, new]) = log.parts.first() else {
                assert!(work.issues.contains(&log.issue), "{:?}", log.issue);
                assert!(
                    log.actions
                        .iter()
                        .all(|action| work.actions.contains(action))
                );
                assert_ne!(kind, Kind::Emergency, "an emergency replaces a part");
                continue;
            };
            let known = catalogue
                .parts
                .iter()
                .find(|known| known.part == *part)
                .unwrap();
            let finding = match kind {
                Kind::Emergency => &known.failure,
                Kind::Routine => &known.wear,
                _ => panic!("no parts are replaced"),
            };
            assert_eq!(log.issue.code, finding.issue);
            assert_eq!(log.actions[0].code, finding.action);
            assert_eq!(*component, known.component);
            assert_ne!(old, new);
            routine_parts += usize::from(kind == Kind::Routine);
        }
    }
    assert_share("routine parts", routine_parts, 50, 0.3 * 7.0 / 8.0);
    let hours = |(_, log): &(&Fact, &crate::world::service::Log)| {
        (log.ended_at.unwrap() - log.started_at) as f64 / HOUR_US as f64
    };
    let mean = logs.iter().map(hours).sum::<f64>() / 200.0;
    assert!((mean - 6.3).abs() < 1.5, "{mean}");
    let cost = logs
        .iter()
        .map(|(_, log)| log.cost_cents.unwrap())
        .sum::<i64>()
        / 20_000;
    assert!((cost - 15_000).abs() < 3_000, "{cost}");
}

#[test]
fn a_robot_under_service_is_in_maintenance_until_it_is_done() {
    let (facts, _) = facts(&reference(1));
    let mut statuses: BTreeMap<&String, Vec<(i64, &str)>> = BTreeMap::new();
    for (fact, entry) in contents!(facts, Robot) {
        let of = statuses.entry(&fact.key).or_default();
        of.push((fact.time, entry.status));
    }
    for (fact, log) in contents!(facts, Log) {
        let at = |time: i64| {
            let of = statuses[&fact.key].iter().rev();
            of.clone()
                .find(|(since, _)| *since <= time)
                .map(|(_, status)| *status)
        };
        let usual = at(log.started_at - 1);
        if usual == Some("operational") {
            assert_eq!(at(log.started_at), Some("maintenance"));
        }
        assert_eq!(at(log.ended_at.unwrap()), usual);
    }
}

#[test]
fn reference_data_comes_after_the_facts_where_it_is_asked_for() {
    let settings = Settings {
        late_registries: true,
        ..reference(1)
    };
    let mut world = World::new(&settings).unwrap();
    let (before, _) = world.advance(settings.start_us + 30 * DAY_US, false);
    let (after, _) = world.advance(settings.start_us + 31 * DAY_US, false);
    for topic in [Topic::Facilities, Topic::Surgeons, Topic::Models] {
        assert_eq!(of(&before, topic).count(), 0);
        assert!(of(&after, topic).count() >= 10);
    }
    assert!(of(&before, Topic::ProcedureEvents).count() > 100);
}
