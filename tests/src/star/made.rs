//! How the fleet is made.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{BEGIN, DAY, Fleet};
use crate::row;

const MINUTE: i64 = 60_000_000;

/// A case, over its legs.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its number.
    pub procedure: String,
    /// Who operates.
    pub surgeon: String,
    /// The first two words that tell of it: category and kind.
    pub kind: [&'static str; 2],
    /// How it ended, or `under_way`.
    pub status: &'static str,
    /// At least one; all but the last one were left behind.
    pub legs: Vec<Leg>,
}

/// What a case did on a robot.
#[derive(Debug, Clone)]
pub struct Leg {
    /// Its id.
    pub id: String,
    /// The robot.
    pub robot: String,
    /// When its steps began, microseconds UTC.
    pub from: i64,
    /// Its latest step.
    pub to: i64,
    /// When it started there, where that is known.
    pub started_at: Option<i64>,
}

impl Fleet {
    /// A fleet of so many robots and cases, each case with so many samples.
    pub fn made(robots: i64, cases: i64, samples: i64, seed: u64) -> Self {
        let mut fleet = Self::default();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        fleet.registries(robots);
        for number in 0..cases {
            let case = drawn(number, (robots, cases), &mut random);
            // What was called off before it began has no samples.
            let samples = if case.legs[0].started_at.is_some() {
                samples
            } else {
                0
            };
            fleet.case(&case, samples, &mut random);
            if number % 5 == 0 {
                fleet.windows(&case.legs[0].robot, case.legs[0].from, &mut random);
            }
        }
        fleet.services(robots, &mut random);
        fleet
    }

    fn registries(&mut self, robots: i64) {
        for site in 0..4 {
            // The name changes in the second year; the entry of the beginning is sent again after
            // it.
            let named = |at: i64, name: String| {
                row! { facility_id: format!("FAC-{site:03}"), event_time: at, event_id: format!("f{site}-{at}"), facility_name: name,
                city: "Northfield", country: "ZZ", facility_type: "teaching", bed_count: 400 + site, is_closed: false }
            };
            let renamed = BEGIN + 400 * DAY;
            self.entry(
                "facility_registry",
                renamed,
                named(renamed, format!("Renamed {site}")),
            );
            self.entry(
                "facility_registry",
                renamed + 1,
                named(BEGIN, format!("Site {site}")),
            );
            self.entry(
                "facility_registry",
                renamed + 2,
                named(BEGIN + DAY, format!("Site {site}")),
            );
        }
        for model in ["Alpha", "Beta"] {
            let entry = row! { robot_model: model, event_time: BEGIN, event_id: model, manufacturer: "Maker", arms: 4,
            instrument_lives: if model == "Alpha" { 5 } else { 2 }, categories_0: "general", categories_1: "thoracic", is_discontinued: false };
            self.entry("model_registry", BEGIN, entry);
        }
        for surgeon in 0..10 {
            // The last is in no registry.
            if surgeon < 9 {
                let since = 19_358 - 365 * surgeon * 2;
                let entry = row! { surgeon_id: format!("s-{surgeon}"), event_time: BEGIN, event_id: format!("s{surgeon}"), surgeon_name: format!("n-{surgeon}"),
                specialization: "general", practising_since: since, is_retired: false };
                self.entry("surgeon_registry", BEGIN, entry);
            }
        }
        for robot in 0..robots {
            self.robot(robot, robots);
        }
    }

    fn robot(&mut self, robot: i64, robots: i64) {
        let entry = |at: i64, site: i64, software: &str, serial: &str| {
            let model = if robot % 3 == 0 { "Alpha" } else { "Beta" };
            row! { robot_id: format!("r-{robot}"), event_time: at, event_id: format!("r{robot}-{at}"), serial_number: format!("SN-{robot}"),
            robot_model: model, manufacturer: "Maker", facility_id: format!("FAC-{:03}", site % 4), installation_date: 19_000,
            software_version: software, status: "operational", components_0_component: "camera", components_0_part: "camera_unit",
            components_0_serial: serial }
        };
        // The last robot is in no registry.
        if robot == robots - 1 {
            return;
        }
        let moved = BEGIN + 300 * DAY;
        self.entry("robot_registry", BEGIN, entry(BEGIN, robot, "1.0.0", "C1"));
        self.entry(
            "robot_registry",
            moved,
            entry(moved, robot + 1, "1.0.0", "C1"),
        );
        // Comes late: the software was renewed before the robot moved.
        let renewed = BEGIN + 200 * DAY;
        self.entry(
            "robot_registry",
            moved + 5,
            entry(renewed, robot, "1.1.0", "C2"),
        );
        // Says again what is known.
        self.entry(
            "robot_registry",
            moved + 6,
            entry(renewed + DAY, robot, "1.1.0", "C2"),
        );
    }

    /// A case with so many samples: what was recorded of it, and what the actors make of that.
    pub fn case(&mut self, case: &Case, samples: i64, random: &mut ChaCha8Rng) {
        let [category, kind] = case.kind;
        let complexity = f64::from(random.random_range(100..500)) / 100.0;
        let age = random.random_range(18..86_i64);
        let gender = ["female", "male", "other", "unknown"][random.random_range(0..4)];
        let patient = format!("p-{}", case.procedure);
        for (number, leg) in case.legs.iter().enumerate() {
            let is_last = number + 1 == case.legs.len();
            let step = if number == 0 { "started" } else { "resumed" };
            let event = row! { robot_id: leg.robot.clone(), event_time: leg.from, event_id: format!("e-{}", leg.id), procedure_id: case.procedure.clone(),
            step: step, category: category, procedure_type: kind, surgeon_id: case.surgeon.clone(), patient_id: patient.clone(),
            complexity: complexity, patient_age: age, patient_gender: gender };
            self.record("procedure_events", leg.from, event);
            let mut state = row! { leg_id: leg.id.clone(), procedure_id: case.procedure.clone(), robot_id: leg.robot.clone(), revision: 0, status: "scheduled",
            category: category, procedure_type: kind, surgeon_id: case.surgeon.clone(), patient_id: patient.clone(), complexity: complexity,
            scheduled_at: leg.from, paused_s: 0.0, steps: 1, changed_at: leg.from };
            self.output("procedures", state.clone());
            state.insert("revision", 1_i64.into());
            state.insert(
                "status",
                if is_last { case.status } else { "paused" }.into(),
            );
            state.insert("changed_at", leg.to.into());
            if let Some(at) = leg.started_at {
                state.insert("started_at", at.into());
            }
            let has_ended = is_last && case.status != "under_way";
            if has_ended {
                state.insert("ended_at", leg.to.into());
            }
            self.output("procedures", state);
            let taken = self.samples(case, number, samples, random);
            if has_ended {
                self.ended(case, leg, &taken, random);
            }
        }
    }

    /// The samples of a leg; returns what they have of two signals. A case's samples are evenly
    /// spread, and those between two legs are on the later one.
    fn samples(
        &mut self,
        case: &Case,
        leg: usize,
        samples: i64,
        random: &mut ChaCha8Rng,
    ) -> Vec<[f64; 2]> {
        let (begin, end) = (case.legs[0].from, case.legs[case.legs.len() - 1].to);
        let from = if leg == 0 {
            begin
        } else {
            case.legs[leg - 1].to
        };
        let here = &case.legs[leg];
        let moments = (0..samples).map(|sample| begin + sample * (end - begin) / samples);
        let moments = moments.filter(|at| (from..here.to).contains(at));
        moments
            .map(|at| self.sample(&here.robot, &case.procedure, at.max(here.from), random))
            .collect()
    }

    /// What comes with the end of a case: outcome and phases.
    fn ended(&mut self, case: &Case, leg: &Leg, taken: &[[f64; 2]], random: &mut ChaCha8Rng) {
        let mut outcome = row! { procedure_id: case.procedure.clone(), robot_id: leg.robot.clone(), revision: 1, status: case.status, category: case.kind[0],
        procedure_type: case.kind[1], surgeon_id: case.surgeon.clone(), ended_at: leg.to, paused_s: 0.0, alerts_high: 0, alerts_medium: 1, alerts_low: 0,
        telemetry_rows: taken.len() as i64, telemetry_missing: 1, outcome_id: leg.id.clone() };
        if let Some(at) = leg.started_at {
            outcome.insert("started_at", at.into());
            outcome.insert("duration_s", ((leg.to - at) as f64 / 1e6).into());
        }
        let mut earlier = outcome.clone();
        earlier.insert("revision", 0_i64.into());
        if random.random_range(0..10) > 0 {
            outcome.insert("result", result(random).into());
        }
        // A later fact corrects the first one, and comes before it.
        self.output("procedure_outcomes", outcome);
        self.output("procedure_outcomes", earlier);
        let serial = format!("T-{}", leg.robot);
        self.output("instruments", row! { instrument_id: format!("{serial}/{}", leg.robot), tool_serial: serial, robot_id: leg.robot.clone(),
        revision: leg.to / MINUTE, last_seen: leg.to, cases: 1 });
        let signal = |name: &str, values: Vec<f64>| {
            let least = values.iter().copied().reduce(f64::min);
            let most = values.iter().copied().reduce(f64::max);
            serde_json::json!({ "name": name, "count": values.len(), "sum": values.iter().sum::<f64>(), "min": least, "max": most, "mean": null })
        };
        let of =
            |taken: &[[f64; 2]], at: usize| taken.iter().map(|both| both[at]).collect::<Vec<f64>>();
        for (index, revision, taken) in [
            (0, 0, &taken[..taken.len() / 2]),
            (0, 1, taken),
            (1, 0, taken),
        ] {
            let signals = serde_json::json!([
                signal("grip_pressure", Vec::new()),
                signal("system_temperature", of(taken, 0)),
                signal("video_fps", of(taken, 1)),
            ]);
            let mut phase = row! { phase_id: format!("{}/{index}", leg.id), procedure_id: case.procedure.clone(), robot_id: leg.robot.clone(),
            leg_id: leg.id.clone(), revision: revision, phase_index: index, ended_at: leg.to, is_exact: 1, row_count: taken.len() as i64,
            late_rows: 0, signals: signals.to_string() };
            if let Some(at) = leg.started_at {
                phase.insert("began_at", at.into());
            }
            self.output("procedure_phases", phase);
        }
    }

    /// A sample; returns its temperature and its frames a second.
    fn sample(
        &mut self,
        robot: &str,
        procedure: &str,
        at: i64,
        random: &mut ChaCha8Rng,
    ) -> [f64; 2] {
        let mut noise = |from: f64, to: f64| {
            from + (to - from) * f64::from(random.next_u32()) / f64::from(u32::MAX)
        };
        let (temperature, frames) = (noise(20.0, 78.0), noise(24.5, 60.0));
        let mut row = row! { robot_id: robot, event_time: at, procedure_id: procedure, arm_id: 1, arm_position_x: noise(0.0, 500.0),
        arm_position_y: noise(0.0, 500.0), arm_position_z: noise(0.0, 300.0), force_feedback_x: noise(-2.0, 2.0), force_feedback_y: noise(-2.0, 2.0),
        force_feedback_z: noise(-5.0, 5.0), tool_type: "grasper", tool_serial: format!("T-{robot}"), tool_active: true, tool_use_count: 3,
        grip_pressure: noise(0.5, 5.0), tremor_compensation: noise(2.0, 15.0), system_temperature: temperature, power_consumption: noise(150.0, 400.0),
        network_latency_ms: noise(5.0, 104.0), video_fps: frames };
        for name in [
            "joints_0_current",
            "joints_1_current",
            "joints_2_current",
            "joints_3_current",
            "joints_4_current",
            "joints_5_current",
        ] {
            row.insert(name, noise(1.0, 3.0).into());
        }
        self.record("robot_telemetry", at, row);
        [temperature, frames]
    }

    /// Ten windows of 10 s, three that overlap, and a revision with the late rows of the first.
    fn windows(&mut self, robot: &str, start: i64, random: &mut ChaCha8Rng) {
        let begin = start - start % (20 * MINUTE);
        let window = |name: &str, at: i64, size: i64, revision: i64, values: &[f64]| {
            let (mut least, mut most) = (f64::MAX, f64::MIN);
            for value in values {
                (least, most) = (least.min(*value), most.max(*value));
            }
            let mut row = row! { robot_id: robot, dataset: "robot_telemetry", window_name: name, window_start: at, window_size_us: size, revision: revision,
            window_rows: values.len() as i64, signal: "system_temperature", value_count: values.len() as i64, value_sum: values.iter().sum::<f64>() };
            row.insert("min", least.into());
            row.insert("max", most.into());
            row
        };
        let values: Vec<f64> = (0..4)
            .map(|_| f64::from(random.random_range(20..70)))
            .collect();
        for at in 0..10 {
            let row = window("10s", begin + at * 10_000_000, 10_000_000, 0, &values);
            self.output("robot_windows", row);
        }
        for at in 0..3 {
            let row = window("5m-every-1m", begin + at * MINUTE, 5 * MINUTE, 0, &values);
            self.output("robot_windows", row);
        }
        let late = window("10s", begin, 10_000_000, 1, &[99.0]);
        self.output("robot_windows", late);
    }

    fn services(&mut self, robots: i64, random: &mut ChaCha8Rng) {
        for work in 0..robots * 2 {
            let robot = format!("r-{}", work % robots);
            let at = BEGIN + random.random_range(10..700) * DAY;
            let condition = format!("c-{work}");
            for (number, transition) in ["raised", "cleared"].iter().enumerate() {
                let time = at - 3 * DAY + number as i64 * 4 * DAY;
                self.output("maintenance_alerts", row! { alert_id: format!("{condition}/{number}"), condition_id: condition.clone(), robot_id: robot.clone(),
                rule_id: "hot", rule_version: 1, transition: *transition, revision: number as i64, priority: "high", event_time: time, raised_at: at - 3 * DAY,
                message: "hot" });
            }
            let kind = ["routine", "emergency"][(work % 2) as usize];
            let report = |status: &str, time: i64| {
                row! { robot_id: robot.clone(), event_time: time, event_id: format!("m-{work}-{status}"), maintenance_id: format!("m-{work}"), maintenance_type: kind,
                status: status, started_at: at, downtime_hours: 2.5, cost: 1234.5, currency: "USD", actions_0: "calibrate", actions_1: "clean",
                parts_0_part: "camera_unit" }
            };
            let mut done = report("completed", at + 60 * MINUTE);
            // One names the condition, one the alert, one neither.
            match work % 3 {
                0 => drop(done.insert("condition_id", condition.into())),
                1 => drop(done.insert("alert_id", format!("{condition}/0").into())),
                _ => {}
            }
            self.record("maintenance_logs", at + 60 * MINUTE, done);
            self.record("maintenance_logs", at + 61 * MINUTE, report("started", at));
            self.work(work, &robot, (kind, at));
        }
    }

    /// What the robot's actor makes of the reports: it also finds the condition that no report
    /// names.
    fn work(&mut self, work: i64, robot: &str, (kind, at): (&str, i64)) {
        let mut row = row! { maintenance_id: format!("m-{work}"), robot_id: robot, revision: 0, reported_at: at, maintenance_type: kind, status: "started",
        is_planned: kind != "emergency", started_at: at, downtime_hours: 2.5, actions: r#"["calibrate","clean"]"#,
        parts: r#"[{"component":null,"new_serial":null,"old_serial":null,"part":"camera_unit"}]"#, cost: 1234.5, currency: "USD",
        is_condition_reported: work % 3 < 2 };
        self.output("maintenance_records", row.clone());
        row.insert("revision", 1_i64.into());
        row.insert("reported_at", (at + 60 * MINUTE).into());
        row.insert("status", "completed".into());
        // Of some the condition was not remembered any more, some answer none.
        if work % 5 != 4 {
            row.insert("condition_id", format!("c-{work}").into());
        }
        if work % 5 < 3 {
            row.insert("first_alert_at", (at - 3 * DAY).into());
            row.insert("lead_time_s", (3.0 * 86_400.0).into());
        }
        self.output("maintenance_records", row);
    }
}

/// A case of the fleet.
fn drawn(number: i64, (robots, cases): (i64, i64), random: &mut ChaCha8Rng) -> Case {
    let robot = |number: i64| format!("r-{}", number % robots);
    // Some have the number of the case before them.
    let is_anew = number % 31 == 9;
    let procedure = format!("case-{:06}", number - i64::from(is_anew));
    let from = BEGIN + number * (730 * DAY / cases) + random.random_range(0..12 * 60) * MINUTE;
    let minutes: i64 = random.random_range(30..300);
    let leg = |robot: String, from: i64, to: i64| {
        let anew = if is_anew { "/1" } else { "" };
        Leg {
            id: format!("{procedure}/{robot}{anew}"),
            robot,
            from,
            to,
            started_at: Some(from),
        }
    };
    let to = from + minutes * MINUTE;
    let mut legs = vec![leg(robot(number), from, to)];
    let mut status = match random.random_range(0..20) {
        0 => "aborted",
        1 => "cancelled",
        _ => "completed",
    };
    if number % 17 == 5 {
        let moved = from + minutes / 2 * MINUTE;
        let mut later = leg(
            robot(number),
            moved + 10 * MINUTE,
            to.max(moved + 20 * MINUTE),
        );
        // Some robots never said that it started there.
        if number % 2 == 0 {
            later.started_at = None;
        }
        legs = vec![leg(robot(number + 1), from, moved), later];
    } else if number % 23 == 7 {
        status = "under_way";
    } else if number % 29 == 3 {
        status = "cancelled";
        legs[0].started_at = None;
    }
    Case {
        surgeon: format!("s-{}", (number * 7) % 10),
        kind: [
            ["general", "thoracic", "urological"][(number % 3) as usize],
            [
                "hernia repair",
                "lobectomy",
                "pyeloplasty",
                "fundoplication",
            ][(number % 4) as usize],
        ],
        procedure,
        status,
        legs,
    }
}

/// A hospital's report, as an outcome holds it.
fn result(random: &mut ChaCha8Rng) -> String {
    let status = [
        "successful",
        "successful",
        "successful",
        "complicated",
        "failed",
    ][random.random_range(0..5)];
    let complications = match (status, random.random_range(0..3)) {
        ("successful", _) => "[]".to_owned(),
        (_, 0) => r#"[{"kind":"infection","severity":"minor"}]"#.to_owned(),
        (_, 1) => {
            r#"[{"kind":"infection","severity":"minor"},{"kind":"ileus","severity":"moderate"}]"#
                .to_owned()
        }
        _ => r#"[{"kind":"organ injury","severity":"severe"}]"#.to_owned(),
    };
    let readmitted = ["null", "true", "false", "false"][random.random_range(0..4)];
    let (loss, stay, score) = (
        random.random_range(20..900),
        random.random_range(1..20),
        random.random_range(1..11),
    );
    format!(
        "{{\"success_status\":\"{status}\",\"blood_loss_ml\":{loss},\"complications\":{complications},\"hospital_stay_days\":{stay},\"readmission_30day\":{readmitted},\"patient_satisfaction_score\":{score},\"recovery_score\":null,\"follow_up_required\":false}}"
    )
}
