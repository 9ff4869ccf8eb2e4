//! The past as a picture (SVG): a line of time for each robot, its conditions as bars by priority,
//! faults and services as marks. Standard fonts, no scripts, and colours that can be seen on white
//! and on black.

use theatre_schemas::records::Priority;

use super::scoring::RobotRecord;

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 92.0;
const ROBOT: f64 = 30.0;
const LANE: f64 = 6.0;
/// A bar that is shorter would not be seen.
const SHORTEST: f64 = 1.5;
const GREY: &str = "#808080";
const FAULT: &str = "#b0309a";
const SERVICE: &str = "#2f7dbd";
/// More robots are not drawn: those without conditions and incidents are left out first.
const ROBOTS_MAX: usize = 300;
const DAY_US: i64 = 86_400_000_000;
/// Distances of the marks of the scale, microseconds; the first that leaves room is taken.
const STEPS: [i64; 12] = [
    60_000_000,
    600_000_000,
    3_600_000_000,
    6 * 3_600_000_000,
    DAY_US,
    2 * DAY_US,
    7 * DAY_US,
    14 * DAY_US,
    30 * DAY_US,
    90 * DAY_US,
    365 * DAY_US,
    3_650 * DAY_US,
];
const MARKS_MAX: i64 = 10;

/// Lanes from above to below, with their colours.
const LANES: [(Priority, &str, &str); 3] = [
    (Priority::High, "#d03030", "high"),
    (Priority::Medium, "#d08a00", "medium"),
    (Priority::Low, "#4a9a4a", "low"),
];

/// Draws robots over a period, event times in microseconds UTC, under a title.
pub fn draw(title: &str, robots: &[RobotRecord], period: (i64, i64)) -> String {
    let (drawn, left_out) = chosen(robots);
    let scale = Scale::new(period);
    let bottom = TOP + drawn.len() as f64 * ROBOT;
    let mut body = String::new();
    scale.draw(bottom, &mut body);
    for (at, robot) in drawn.iter().enumerate() {
        draw_robot(robot, TOP + at as f64 * ROBOT, &scale, &mut body);
    }
    let mut height = bottom + 28.0;
    if left_out > 0 {
        height += 20.0;
        put(
            &mut body,
            format_args!(
                "<text x=\"{LEFT}\" y=\"{:.1}\">and {left_out} more robots</text>\n",
                height - 10.0
            ),
        );
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{GREY}\">\n<title>{0}</title>\n<text x=\"16\" y=\"28\" font-size=\"18\">{0}</text>\n{1}{body}</svg>\n",
        escaped(title),
        legend()
    )
}

fn put(body: &mut String, text: std::fmt::Arguments<'_>) {
    body.push_str(&std::fmt::format(text));
}

/// The robots that are drawn, and how many are not.
fn chosen(robots: &[RobotRecord]) -> (Vec<&RobotRecord>, usize) {
    let has_any = |robot: &&RobotRecord| {
        !robot.conditions.is_empty() || !robot.unplanned.is_empty() || !robot.planned.is_empty()
    };
    let mut drawn: Vec<&RobotRecord> = if robots.len() > ROBOTS_MAX {
        robots.iter().filter(has_any).collect()
    } else {
        robots.iter().collect()
    };
    drawn.truncate(ROBOTS_MAX);
    let left_out = robots.len() - drawn.len();
    (drawn, left_out)
}

fn legend() -> String {
    let mut legend = String::new();
    let mut x = LEFT;
    for (_, colour, name) in LANES {
        put(
            &mut legend,
            format_args!(
                "<rect x=\"{x}\" y=\"44\" width=\"22\" height=\"{LANE}\" fill=\"{colour}\"/><text x=\"{}\" y=\"51\">condition, {name}</text>\n",
                x + 28.0
            ),
        );
        x += 170.0;
    }
    for (mark, name) in [
        (cross(x, 47.0), "fault or unplanned service"),
        (circle(x + 190.0, 47.0), "planned service"),
    ] {
        let at = if name.starts_with('f') { x } else { x + 190.0 };
        put(
            &mut legend,
            format_args!("{mark}<text x=\"{}\" y=\"51\">{name}</text>\n", at + 10.0),
        );
    }
    legend
}

fn cross(x: f64, y: f64) -> String {
    format!(
        "<path d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\" stroke=\"{FAULT}\" stroke-width=\"2\" fill=\"none\"/>",
        x - 4.0,
        y - 4.0
    )
}

fn circle(x: f64, y: f64) -> String {
    format!(
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" stroke=\"{SERVICE}\" stroke-width=\"1.5\" fill=\"none\"/>"
    )
}

/// Where a time is.
struct Scale {
    first: i64,
    last: i64,
}

impl Scale {
    fn new((first, last): (i64, i64)) -> Self {
        Self {
            first,
            last: last.max(first.saturating_add(1)),
        }
    }

    fn x(&self, time: i64) -> f64 {
        let time = time.clamp(self.first, self.last);
        let share = (time - self.first) as f64 / (self.last - self.first) as f64;
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn has(&self, time: i64) -> bool {
        (self.first..=self.last).contains(&time)
    }

    /// Lines at round moments.
    fn draw(&self, bottom: f64, body: &mut String) {
        let span = self.last - self.first;
        let fits = |step: &&i64| span / **step <= MARKS_MAX;
        let step = STEPS.iter().find(fits).copied().unwrap_or(span);
        let form = if step >= DAY_US {
            "%Y-%m-%d"
        } else {
            "%m-%d %H:%M"
        };
        let mut at = self.first.div_euclid(step) * step;
        while at <= self.last {
            if self.has(at) {
                let text = jiff::Timestamp::from_microsecond(at)
                    .map_or_else(|_| at.to_string(), |time| time.strftime(form).to_string());
                let x = self.x(at);
                put(
                    body,
                    format_args!(
                        "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{GREY}\" stroke-opacity=\"0.35\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>\n",
                        TOP - 6.0,
                        TOP - 12.0
                    ),
                );
            }
            at = at.saturating_add(step);
        }
    }
}

fn draw_robot(robot: &RobotRecord, top: f64, scale: &Scale, body: &mut String) {
    let middle = top + ROBOT / 2.0;
    put(
        body,
        format_args!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8.0,
            middle + 4.0,
            escaped(&robot.robot_id)
        ),
    );
    if let Some((first, last)) = robot.observed {
        put(
            body,
            format_args!(
                "<line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"{GREY}\" stroke-opacity=\"0.6\"/>\n",
                scale.x(first),
                scale.x(last)
            ),
        );
    }
    for condition in &robot.conditions {
        let Some(lane) = LANES
            .iter()
            .position(|(priority, ..)| *priority == condition.priority)
        else {
            continue;
        };
        let from = scale.x(condition.raised_at);
        let to = scale.x(condition.cleared_at.unwrap_or(scale.last));
        put(
            body,
            format_args!(
                "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{LANE}\" fill=\"{}\"><title>{} {}</title></rect>\n",
                middle + (lane as f64 - 1.5) * (LANE + 1.0),
                (to - from).max(SHORTEST),
                LANES[lane].1,
                escaped(&condition.rule_id),
                super::unknown::time(condition.raised_at)
            ),
        );
    }
    let marks = [
        (&robot.unplanned, cross as fn(f64, f64) -> String),
        (&robot.planned, circle),
    ];
    for (happenings, mark) in marks {
        for happened in happenings.iter().filter(|happened| scale.has(happened.at)) {
            put(
                body,
                format_args!(
                    "<g><title>{} {}</title>{}</g>\n",
                    escaped(&happened.what),
                    super::unknown::time(happened.at),
                    mark(scale.x(happened.at), middle)
                ),
            );
        }
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{ConditionSpan, Happening};

    fn robot(id: &str) -> RobotRecord {
        RobotRecord {
            robot_id: id.to_owned(),
            observed: Some((0, 10 * DAY_US)),
            ..RobotRecord::default()
        }
    }

    #[test]
    fn bars_are_as_long_as_conditions_and_marks_stand_where_faults_are() {
        let of = RobotRecord {
            conditions: vec![ConditionSpan {
                condition_id: "c".to_owned(),
                robot_id: "a<b".to_owned(),
                rule_id: "hot & bad".to_owned(),
                rule_version: 1,
                priority: Priority::High,
                raised_at: 0,
                cleared_at: Some(5 * DAY_US),
                alerts: 2,
            }],
            unplanned: vec![Happening {
                at: 10 * DAY_US,
                what: "fault".to_owned(),
            }],
            ..robot("a<b")
        };
        let drawn = draw("t", &[of, robot("quiet")], (0, 10 * DAY_US));
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
        assert!(drawn.contains("a&lt;b") && drawn.contains("hot &amp; bad"));
        let half = (WIDTH - LEFT - RIGHT) / 2.0;
        let bar = format!("<rect x=\"{LEFT:.1}\" y=\"96.5\" width=\"{half:.1}\"");
        assert!(drawn.contains(&bar), "{bar} in {drawn}");
        let mark = format!("M{:.1} ", WIDTH - RIGHT - 4.0);
        assert!(drawn.contains(&mark), "{mark} in {drawn}");
        assert_eq!(drawn.matches("text-anchor=\"middle\"").count(), 11);
    }

    #[test]
    fn of_too_many_robots_those_are_drawn_of_which_there_is_something_to_see() {
        let mut robots: Vec<RobotRecord> =
            (0..ROBOTS_MAX).map(|at| robot(&at.to_string())).collect();
        robots.push(RobotRecord {
            planned: vec![Happening {
                at: 1,
                what: "routine service".to_owned(),
            }],
            ..robot("serviced")
        });
        let drawn = draw("t", &robots, (0, 1));
        assert!(drawn.contains("serviced") && drawn.contains("and 300 more robots"));
    }
}
