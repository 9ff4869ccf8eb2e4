//! The picture of docs/simulate.md: an actuator's health and its signals over months, made from a
//! run. `THEATRE_RENEW=1` writes it anew.

use std::fmt::Write;

use super::kit::contents;
use crate::world::World;
use crate::world::calendar::{self, DAY_US};
use crate::world::component::ACTUATOR;
use crate::world::settings::{Profile, Sampling, Settings};

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulate.svg");
const DAYS: usize = 180;
/// Where the panels are and how large each is.
const LEFT: f64 = 150.0;
const TOP: f64 = 50.0;
const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 80.0;
const GAP: f64 = 26.0;

/// One panel: title, unit, and a value a day where there was a case.
struct Panel {
    title: &'static str,
    unit: &'static str,
    range: (f64, f64),
    days: Vec<Option<f64>>,
}

/// The robot whose actuator fails latest, in a run without samples.
fn hero(settings: &Settings) -> (String, Vec<(i64, String)>) {
    let (_, truth) = super::kit::facts(settings);
    let of_actuators = truth
        .iter()
        .filter(|note| note["part"] == "actuator_assembly");
    let failure = of_actuators
        .clone()
        .filter(|note| note["what"] == "failure")
        .max_by_key(|note| note["event_time"].as_i64())
        .unwrap();
    let robot = failure["robot_id"].as_str().unwrap().to_owned();
    let mut marks: Vec<(i64, String)> = of_actuators
        .filter(|note| note["serial"] == failure["serial"])
        .map(|note| {
            (
                note["event_time"].as_i64().unwrap(),
                note["what"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let service = truth
        .iter()
        .filter(|note| note["what"] == "service" && note["robot_id"] == *robot)
        .find(|note| note["event_time"].as_i64() >= failure["event_time"].as_i64())
        .unwrap();
    marks.push((service["until"].as_i64().unwrap(), "back in use".to_owned()));
    (robot, marks)
}

fn panels(settings: &Settings, robot: &str) -> Vec<Panel> {
    let mut world = World::new(settings).unwrap();
    let index = world.robots.iter().position(|of| of.id == robot).unwrap();
    let panel = |title, unit, range| Panel {
        title,
        unit,
        range,
        days: Vec::new(),
    };
    let mut panels = vec![
        panel("health", "1 is new", (0.0, 1.0)),
        panel("current", "A", (0.0, 8.0)),
        panel("temperature", "degC", (20.0, 80.0)),
        panel("tracking error", "mrad", (0.0, 20.0)),
        panel("power", "W", (150.0, 350.0)),
    ];
    for day in 1..=DAYS as i64 {
        let until = settings.start_us + day * DAY_US;
        let (facts, _) = world.advance(until, true);
        let samples: Vec<_> = contents!(facts, Telemetry)
            .filter(|(fact, sample)| fact.key == robot && sample.is_active)
            .map(|(_, sample)| sample)
            .collect();
        let mean = |of: &dyn Fn(&crate::world::telemetry::Sample) -> f64| {
            let sum: f64 = samples.iter().map(|sample| of(sample)).sum();
            (!samples.is_empty()).then(|| sum / samples.len() as f64)
        };
        let health = 1.0 - world.robots[index].wear(world.catalogue, until)[ACTUATOR];
        panels[0].days.push(Some(health));
        panels[1].days.push(mean(&|sample| sample.joints[2][3]));
        panels[2].days.push(mean(&|sample| sample.joints[2][4]));
        panels[3]
            .days
            .push(mean(&|sample| sample.joints[2][5] * 1_000.0));
        panels[4].days.push(mean(&|sample| sample.power));
    }
    panels
}

fn across(day: f64) -> f64 {
    LEFT + WIDTH * day / DAYS as f64
}

fn draw(settings: &Settings, robot: &str, marks: &[(i64, String)], panels: &[Panel]) -> String {
    let bottom = TOP + panels.len() as f64 * (HEIGHT + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"800\" height=\"{:.0}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{robot}, actuator of joint 2: daily means of a degrading run</text>\n",
        bottom + 24.0,
        bottom + 24.0
    );
    for (index, panel) in panels.iter().enumerate() {
        let top = TOP + index as f64 * (HEIGHT + GAP);
        let (low, high) = panel.range;
        let down =
            |value: f64| top + HEIGHT * (1.0 - ((value - low) / (high - low)).clamp(0.0, 1.0));
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#f6f8fa\" stroke=\"#c0c8d0\"/>\n\
             <text x=\"10\" y=\"{:.1}\">{}</text>\n\
             <text x=\"10\" y=\"{:.1}\" fill=\"#606870\">{}</text>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#606870\">{high}</text>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#606870\">{low}</text>",
            top + 35.0,
            panel.title,
            top + 52.0,
            panel.unit,
            LEFT - 6.0,
            top + 11.0,
            LEFT - 6.0,
            top + HEIGHT,
        );
        let points: Vec<String> = panel
            .days
            .iter()
            .enumerate()
            .filter_map(|(day, value)| {
                Some(format!(
                    "{:.1},{:.1}",
                    across(day as f64 + 0.5),
                    down((*value)?)
                ))
            })
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\"/>",
            points.join(" "),
            if index == 0 { "#1a7f37" } else { "#0550ae" }
        );
    }
    for (number, (time, what)) in marks.iter().enumerate() {
        let x = across((time - settings.start_us) as f64 / DAY_US as f64);
        let anchor = if number == 1 { "end" } else { "start" };
        let shift = if number == 1 { -3.0 } else { 3.0 };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#cf222e\" stroke-dasharray=\"4 3\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#cf222e\">{what}</text>",
            TOP - 6.0,
            bottom - GAP,
            x + shift,
            TOP - 8.0,
        );
    }
    months(settings, bottom, &mut svg);
    svg + "</svg>\n"
}

/// The first of each month below the panels.
fn months(settings: &Settings, bottom: f64, svg: &mut String) {
    let begin = settings.begin();
    for day in 0..DAYS as i64 {
        if let (year, month, 1) = calendar::date(begin + day) {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#606870\">{year}-{month:02}</text>",
                across(day as f64),
                bottom - GAP + 16.0
            );
        }
    }
}

#[test]
fn the_picture_is_that_of_a_run() {
    let settings = Settings {
        robots: 30,
        sampling: Sampling::Every(20 * calendar::MINUTE_US),
        ..Settings::of(Profile::Degrading, 1)
    };
    let (robot, marks) = hero(&settings);
    let panels = panels(&settings, &robot);
    let svg = draw(&settings, &robot, &marks, &panels);
    if std::env::var_os("THEATRE_RENEW").is_some() {
        std::fs::write(PICTURE, &svg).unwrap();
    }
    let kept = std::fs::read_to_string(PICTURE).unwrap_or_default();
    assert!(
        kept == svg,
        "docs/simulate.svg is stale: renew it with THEATRE_RENEW=1"
    );
}
