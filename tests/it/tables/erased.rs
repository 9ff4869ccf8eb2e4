//! Rows that `theatre lake erase` takes out of the lake leave the tables that people read, too.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{count, deployment, found};
use theatre_tests::servers;

#[test]
fn rows_of_an_erased_robot_leave_the_tables_and_are_no_gap() -> Result<()> {
    let url = servers::database()?;
    let deployment = deployment(&url, "all")?;
    deployment.run("one", &["migrate"])?;
    let simulate = [
        "simulate",
        "--profile",
        "demo",
        "--robots",
        "4",
        "--for",
        "2h",
    ];
    deployment.run("one", &simulate)?;
    deployment.run("one", &["run", "--until-drained"])?;
    let tables = ["robot_windows", "maintenance_alerts"];
    let of_robot = |table: &str, robot: &str| {
        let sql = format!("SELECT count(*) FROM theatre.{table} WHERE robot_id = '{robot}'");
        count(&url, &sql)
    };
    let robots = found(
        &url,
        "SELECT jsonb_build_array(robot_id)::text FROM theatre.maintenance_alerts GROUP BY robot_id ORDER BY count(*) DESC",
    )?;
    let robot = robots.first().and_then(|row| row[0].as_str());
    let robot = robot.context("no alert of any robot")?;
    let before = tables.map(|table| of_robot(table, robot));
    let all = tables.map(|table| count(&url, &format!("SELECT count(*) FROM theatre.{table}")));
    let history = of_robot("procedures", robot)?;
    let erase = [
        "--output", "json", "lake", "erase", "--robot", robot, "--yes", "--by", "anna",
    ];
    let erased: Value = serde_json::from_slice(&deployment.run("one", &erase)?.stdout)?;
    for ((table, before), all) in tables.iter().zip(before).zip(all) {
        let (before, all) = (before?, all?);
        let lines = erased["lines"].as_array().into_iter().flatten();
        let mut lines = lines.filter(|line| line["table"] == *table);
        let line = lines.next().context("the table is not among them")?;
        ensure!(
            before > 0 && line["table_rows"] == before && line["rows"] == before,
            "{table} had {before}: {line}"
        );
        ensure!(of_robot(table, robot)? == 0, "{table}");
        let left = count(&url, &format!("SELECT count(*) FROM theatre.{table}"))?;
        ensure!(left == all - before, "{table}: {left} of {all} are left");
    }
    ensure!(history > 0 && of_robot("procedures", robot)? == history);
    let report = deployment.run("one", &["--output", "json", "reconcile"])?;
    let report: Value = serde_json::from_slice(&report.stdout)?;
    let outputs = report["outputs"].as_array().into_iter().flatten();
    let mut alerts = outputs.filter(|line| line["table"] == "maintenance_alerts");
    let alerts = alerts.next().context("no line of alerts")?;
    let left = count(&url, "SELECT count(*) FROM theatre.maintenance_alerts")?;
    ensure!(alerts["table_rows"] == left, "{alerts}");
    // What goes beside that is a gap as ever.
    super::execute(
        &url,
        "DELETE FROM theatre.maintenance_alerts WHERE ctid = (SELECT min(ctid) FROM theatre.maintenance_alerts)",
    )?;
    let gap = deployment.output("one", &["reconcile"])?;
    ensure!(!gap.status.success(), "a row that is gone is not seen");
    Ok(())
}
