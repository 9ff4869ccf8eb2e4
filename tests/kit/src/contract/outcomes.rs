//! Outcomes in the warehouse: which of them are one case.

use anyhow::{Result, ensure};
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::{Lake, RegisteredFile, Warehouse};
use theatre_parquet::{file_schema, outputs};
use theatre_schemas::dataset::Datasets;
use theatre_schemas::records::{Outcome, OutcomeStatus};

use super::{batch, completed};

fn outcome(id: &str, revision: i32, ended_at: i64) -> OutputEvent {
    let outcome = Outcome {
        procedure_id: "case-1".to_owned(),
        robot_id: "r".to_owned(),
        revision,
        status: OutcomeStatus::Completed,
        category: None,
        procedure_type: None,
        surgeon_id: None,
        started_at: None,
        ended_at,
        duration_s: None,
        paused_s: 0.0,
        phases: Vec::new(),
        indicators: Vec::new(),
        alerts_high: 0,
        alerts_medium: 0,
        alerts_low: 0,
        alert_conditions: Vec::new(),
        telemetry_rows: 0,
        telemetry_missing: 0,
        completeness: None,
        result: None,
    };
    OutputEvent {
        kind: OutputKind::Outcome,
        robot_id: "r".to_owned(),
        id: id.to_owned(),
        subject: "case-1".to_owned(),
        revision: revision.unsigned_abs(),
        event_time: ended_at,
        payload: outcome.encode(),
    }
}

fn file(lake: &dyn Lake, number: u64, output: &OutputEvent) -> Result<RegisteredFile> {
    let table = OutputKind::Outcome.table();
    completed(
        lake,
        &table,
        number,
        outputs::record_batch(
            OutputKind::Outcome,
            &file_schema(&table),
            &[output],
            &Datasets::default(),
        )?,
    )
}

/// A number that is given anew to another case on the same robot is another row; a correction
/// replaces its own case only.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn warehouse_tells_cases_apart(warehouse: &dyn Warehouse, lake: &dyn Lake) -> Result<()> {
    let table = OutputKind::Outcome.table();
    warehouse.ensure_tables(std::slice::from_ref(&table))?;
    let outcomes = [
        outcome("case-1/r", 0, 1_000_000),
        outcome("case-1/r/130", 0, 2_000_000),
        outcome("case-1/r/130", 1, 3_000_000),
    ];
    for (number, output) in outcomes.iter().enumerate() {
        let file = file(lake, 100 + number as u64, output)?;
        warehouse.load(&batch(&table, &format!("case-{number}"), &[&file]), lake)?;
    }
    let rows = warehouse
        .query("SELECT outcome_id, revision FROM procedure_outcomes ORDER BY outcome_id")?
        .rows;
    ensure!(
        rows == [
            [serde_json::json!("case-1/r"), 0.into()],
            [serde_json::json!("case-1/r/130"), 1.into()]
        ],
        "{rows:?}"
    );
    Ok(())
}
