//! Reports of the warehouse: which there are, and each as rows, for spreadsheets, and as a picture.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Json, Path};
use theatre_actors::ports::Error;
use theatre_star::report::{self, REPORTS, Report};

use super::Shared;
use crate::model::{Page, ReportColumn, ReportInfo, ReportRows};
use crate::problem::{Answer, Problem};
use crate::reports::Answered;

/// What a table of them is.
pub(crate) const CSV: &str = "text/csv";
/// What a picture of one is.
pub(crate) const SVG: &str = "image/svg+xml";

pub(crate) async fn list(state: Shared) -> Answer<Json<Page<ReportInfo>>> {
    let info = |report: &Report| ReportInfo {
        report: report.name,
        title: report.title(),
        description: report.description(),
        columns: columns(report),
        has_picture: report.picture().is_some(),
    };
    let reports = state.parts.reports.iter().flat_map(|_| REPORTS);
    Ok(Json(Page {
        items: reports.map(info).collect(),
        next: None,
        as_of: state.parts.clock.now().into(),
    }))
}

fn columns(report: &Report) -> Vec<ReportColumn> {
    let columns = report.columns().into_iter();
    columns
        .map(|(name, means)| ReportColumn { name, means })
        .collect()
}

pub(crate) async fn rows(name: Path<String>, state: Shared) -> Answer<Json<ReportRows>> {
    of_name(&name, state).await
}

/// Makes the handlers of reports that have a path of their own.
macro_rules! of_report {
    ($($handler:ident,)+) => {
        $(pub(crate) async fn $handler(state: Shared) -> Answer<Json<ReportRows>> {
            of_name(stringify!($handler), state).await
        })+
    };
}

of_report! {
    robot_utilization,
    outcomes_summary,
    procedures_by_category,
}

async fn of_name(name: &str, state: Shared) -> Answer<Json<ReportRows>> {
    let (report, answered) = answer(name, &state).await?;
    Ok(Json(ReportRows {
        report: report.name,
        title: report.title(),
        description: report.description(),
        columns: columns(report),
        has_picture: report.picture().is_some(),
        rows: report::objects(&answered.found),
        as_of: answered.as_of.into(),
    }))
}

pub(crate) async fn csv(name: Path<String>, state: Shared) -> Answer<HttpResponse> {
    let (report, answered) = answer(&name, &state).await?;
    // Its name is one of ours: nothing in it ends the text.
    let file = format!("attachment; filename=\"{}.csv\"", report.name);
    Ok(HttpResponse::Ok()
        .content_type(format!("{CSV}; charset=utf-8"))
        .insert_header((header::CONTENT_DISPOSITION, file))
        .body(report::csv(&answered.found)))
}

pub(crate) async fn picture(name: Path<String>, state: Shared) -> Answer<HttpResponse> {
    let report = known(&name)?;
    if report.picture().is_none() {
        return Err(Problem::missing("picture of report", &name));
    }
    let (_, answered) = answer(&name, &state).await?;
    let drawn = report.draw(&answered.found)?;
    let drawn = drawn.ok_or_else(|| Problem::missing("picture of report", &name))?;
    Ok(HttpResponse::Ok().content_type(SVG).body(drawn))
}

fn known(name: &str) -> Answer<&'static Report> {
    Report::find(name).ok_or_else(|| Problem::missing("report", name))
}

async fn answer(name: &str, state: &Shared) -> Answer<(&'static Report, Arc<Answered>)> {
    let report = known(name)?;
    let state = state.clone();
    let asked = move || {
        let parts = &state.parts;
        let Some(source) = &parts.reports else {
            return Err(Problem::new(
                "not_found",
                "this deployment has no warehouse, or none that this process reaches",
            ));
        };
        let answered = state.reports.of(report, &**source, &*parts.clock);
        answered.map_err(of_warehouse)
    };
    Ok((report, web::block(asked).await??))
}

/// A warehouse without tables has not been begun yet.
fn of_warehouse(error: Error) -> Problem {
    if report::is_unmade(&error) {
        return Problem::new(
            "unavailable",
            "the warehouse has no tables yet: the loader makes them when it starts, on Redshift `theatre migrate --warehouse` does",
        )
        .after(10);
    }
    if matches!(error, Error::Refused(_)) {
        tracing::warn!(%error, "the warehouse refuses a report");
        return Problem::new(
            "unavailable",
            "the warehouse refuses the question: its rights are to be put right; the log says what it said",
        );
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use theatre_actors::ports::Role;

    use crate::deployed::Deployed;

    #[test]
    fn a_report_is_rows_a_table_and_a_picture_and_is_asked_once() {
        let served = Deployed::start(|_| {});
        let viewer = served.token(Role::Viewer, &[]);
        let get = |path: &str| served.get(path, Some(&viewer), None).unwrap();
        let text = |path: &str| served.text(path, Some(&viewer), None).unwrap().1;
        let (status, list) = get("/api/v1/reports");
        assert_eq!(status, 200);
        let named = |name: &str| {
            let items = list["items"].as_array().unwrap();
            items
                .iter()
                .find(|one| one["report"] == name)
                .unwrap()
                .clone()
        };
        assert_eq!(named("busiest_robots")["has_picture"], true);
        let (status, rows) = get("/api/v1/reports/busiest_robots");
        assert_eq!(status, 200, "{rows}");
        assert_eq!(rows["rows"][0], json!({"robot_id": "r,1", "cases": 7}));
        let csv = text("/api/v1/reports/busiest_robots/csv");
        assert_eq!(csv, "robot_id,cases\r\n\"r,1\",7\r\n");
        let picture = text("/api/v1/reports/busiest_robots/picture");
        assert!(
            picture.starts_with("<svg") && picture.contains("r,1"),
            "{picture}"
        );
        assert_eq!(served.reports_asked(), 1, "the answer is kept");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let served = Deployed::start(|_| {});
        let viewer = served.token(Role::Viewer, &[]);
        let get = |path: &str| -> (u16, Value) { served.get(path, Some(&viewer), None).unwrap() };
        let plain = "kpis_30_days";
        for path in ["no_report", "no_report/csv", &format!("{plain}/picture")] {
            let (status, said) = get(&format!("/api/v1/reports/{path}"));
            assert_eq!(
                (status, &said["code"]),
                (404, &json!("not_found")),
                "{path}"
            );
        }
        // The warehouse of the test has tables for one report only.
        let (status, said) = get("/api/v1/reports/weekdays");
        assert_eq!(status, 503, "{said}");
        assert!(
            said["detail"]
                .as_str()
                .unwrap()
                .contains("migrate --warehouse")
        );
        assert_eq!(served.reports_asked(), 1);
    }
}
