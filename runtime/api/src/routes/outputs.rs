//! Routes of what processors concluded.

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::Role;

use super::taken::{AFTER, CHANGED_AFTER, FROM, LIMIT, ROBOT, SUCCESS, UNTIL};
use super::{Gives, RouteSpec, asked, get};
use crate::handlers::outputs;

pub(super) fn all() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    let rows = |path, summary, parameters, kind, handler| {
        get(
            path,
            viewer,
            summary,
            parameters,
            Gives::Rows(kind),
            handler,
        )
    };
    let of_robots = || vec![ROBOT, FROM, UNTIL, CHANGED_AFTER, AFTER, LIMIT];
    vec![
        rows(
            "/api/v1/outcomes",
            "Outcomes of procedures as they are known now, the latest first.",
            [vec![SUCCESS], of_robots()].concat(),
            OutputKind::Outcome,
            || asked().to(outputs::outcomes),
        ),
        rows(
            "/api/v1/maintenance",
            "Work on robots as it is known now, the latest first.",
            of_robots(),
            OutputKind::Maintenance,
            || asked().to(outputs::maintenance),
        ),
        rows(
            "/api/v1/instruments",
            "Instruments and how much they were used on each robot, those used last first.",
            of_robots(),
            OutputKind::Instrument,
            || asked().to(outputs::instruments),
        ),
        rows(
            "/api/v1/components",
            "Components of robots and how much they have run, those that ran last first.",
            of_robots(),
            OutputKind::Component,
            || asked().to(outputs::components),
        ),
        rows(
            "/api/v1/facilities",
            "Facilities as they are now, by id.",
            vec![AFTER, LIMIT],
            OutputKind::FacilityVersion,
            || asked().to(outputs::facilities),
        ),
        rows(
            "/api/v1/surgeons",
            "Surgeons as they are now, by pseudonym.",
            vec![AFTER, LIMIT],
            OutputKind::SurgeonVersion,
            || asked().to(outputs::surgeons),
        ),
        rows(
            "/api/v1/models",
            "Models of robots as they are now, by name.",
            vec![AFTER, LIMIT],
            OutputKind::ModelVersion,
            || asked().to(outputs::models),
        ),
    ]
}
