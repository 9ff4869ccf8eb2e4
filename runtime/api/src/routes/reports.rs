//! Routes of the warehouse's reports.

use theatre_actors::ports::Role;

use super::taken::{Parameter, path};
use super::{Gives, RouteSpec, asked, get, schema};
use crate::handlers::reports;
use crate::model::{Page, ReportInfo, ReportRows};

const REPORT: Parameter = path("report", "Name of the report.");

pub(super) fn all() -> Vec<RouteSpec> {
    let viewer = Some(Role::Viewer);
    vec![
        get(
            "/api/v1/reports",
            viewer,
            "Reports of the warehouse; none where there is no warehouse.",
            vec![],
            Gives::Json(schema::<Page<ReportInfo>>),
            || asked().to(reports::list),
        ),
        get(
            "/api/v1/reports/{report}",
            viewer,
            "A report's rows, at most half a minute old.",
            vec![REPORT],
            Gives::Json(schema::<ReportRows>),
            || asked().to(reports::rows),
        ),
        get(
            "/api/v1/reports/{report}/csv",
            viewer,
            "The same rows for spreadsheets (RFC 4180).",
            vec![REPORT],
            Gives::File(reports::CSV),
            || asked().to(reports::csv),
        ),
        get(
            "/api/v1/reports/{report}/picture",
            viewer,
            "The same as a picture (SVG), where the report has one.",
            vec![REPORT],
            Gives::File(reports::SVG),
            || asked().to(reports::picture),
        ),
    ]
}
