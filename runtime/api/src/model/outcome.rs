//! What became of a case on a robot.

use schemars::JsonSchema;
use serde::Serialize;
use theatre_schemas::records::{self, ClinicalResult, Complication, Indicator, PhaseDuration};

use super::Time;

/// A revision of an outcome.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Outcome {
    /// The procedure.
    pub(crate) procedure_id: String,
    /// The robot.
    pub(crate) robot_id: String,
    /// 0 for the first one, one more for each correction.
    pub(crate) revision: i32,
    /// `completed`, `converted`, `aborted`, `cancelled` or `unknown`.
    #[schemars(with = "String")]
    pub(crate) status: records::OutcomeStatus,
    /// Category of the procedure.
    pub(crate) category: Option<String>,
    /// Type of the procedure.
    pub(crate) procedure_type: Option<String>,
    /// Pseudonym of the surgeon.
    pub(crate) surgeon_id: Option<String>,
    /// When it began.
    pub(crate) started_at: Option<Time>,
    /// When it ended.
    pub(crate) ended_at: Time,
    /// From its beginning to its end, seconds.
    pub(crate) duration_s: Option<f64>,
    /// Pauses, seconds.
    pub(crate) paused_s: f64,
    /// Its phases with the time spent in each.
    pub(crate) phases: Vec<Phase>,
    /// Objective performance indicators.
    pub(crate) indicators: Vec<IndicatorValue>,
    /// Conditions of high priority that were raised meanwhile.
    pub(crate) alerts_high: i32,
    /// Those of medium priority.
    pub(crate) alerts_medium: i32,
    /// Those of low priority.
    pub(crate) alerts_low: i32,
    /// Ids of these conditions, as far as they are kept.
    pub(crate) alert_conditions: Vec<String>,
    /// Rows of telemetry that were applied.
    pub(crate) telemetry_rows: i64,
    /// Rows that are missing by their numbers.
    pub(crate) telemetry_missing: i64,
    /// Share of the rows that came, 0 to 1.
    pub(crate) completeness: Option<f64>,
    /// The hospital's report, once it came.
    pub(crate) result: Option<Clinical>,
}

/// Time spent in a phase.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Phase {
    /// Its name.
    pub(crate) name: String,
    /// Seconds.
    pub(crate) duration_s: f64,
}

/// An objective performance indicator.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct IndicatorValue {
    /// Its name.
    pub(crate) name: String,
    /// Its value, in `unit`; absent where it is no finite number.
    pub(crate) value: Option<f64>,
    /// Its unit.
    pub(crate) unit: String,
}

/// The hospital's report on a procedure.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Clinical {
    /// `successful`, `complicated`, `failed` or `unknown`.
    #[schemars(with = "String")]
    pub(crate) success_status: records::SuccessStatus,
    /// Loss of blood, millilitres.
    pub(crate) blood_loss_ml: Option<i32>,
    /// Complications.
    pub(crate) complications: Vec<ComplicationShown>,
    /// Days in the hospital.
    pub(crate) hospital_stay_days: Option<i32>,
    /// Whether the patient came back within 30 days.
    pub(crate) readmission_30day: Option<bool>,
    /// Satisfaction of the patient, 1 to 10.
    pub(crate) patient_satisfaction_score: Option<i32>,
    /// Recovery, 1 to 100.
    pub(crate) recovery_score: Option<i32>,
    /// Whether the patient is to be seen again.
    pub(crate) follow_up_required: Option<bool>,
}

/// A complication.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ComplicationShown {
    /// What it was.
    pub(crate) kind: String,
    /// `minor`, `moderate`, `severe` or `unknown`.
    #[schemars(with = "String")]
    pub(crate) severity: records::Severity,
}

impl From<&records::Outcome> for Outcome {
    fn from(of: &records::Outcome) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        let phase = |phase: &PhaseDuration| Phase {
            name: phase.name.clone(),
            duration_s: phase.duration_s,
        };
        let indicator = |it: &Indicator| IndicatorValue {
            name: it.name.clone(),
            value: finite(it.value),
            unit: it.unit.clone(),
        };
        Self {
            procedure_id: of.procedure_id.clone(),
            robot_id: of.robot_id.clone(),
            revision: of.revision,
            status: of.status,
            category: of.category.clone(),
            procedure_type: of.procedure_type.clone(),
            surgeon_id: of.surgeon_id.clone(),
            started_at: of.started_at.map(Time),
            ended_at: Time(of.ended_at),
            duration_s: of.duration_s.and_then(finite),
            paused_s: of.paused_s,
            phases: of.phases.iter().map(phase).collect(),
            indicators: of.indicators.iter().map(indicator).collect(),
            alerts_high: of.alerts_high,
            alerts_medium: of.alerts_medium,
            alerts_low: of.alerts_low,
            alert_conditions: of.alert_conditions.clone(),
            telemetry_rows: of.telemetry_rows,
            telemetry_missing: of.telemetry_missing,
            completeness: of.completeness.and_then(finite),
            result: of.result.as_ref().map(Clinical::from),
        }
    }
}

impl From<&ClinicalResult> for Clinical {
    fn from(of: &ClinicalResult) -> Self {
        let shown = |it: &Complication| ComplicationShown {
            kind: it.kind.clone(),
            severity: it.severity,
        };
        Self {
            success_status: of.success_status,
            blood_loss_ml: of.blood_loss_ml,
            complications: of.complications.iter().map(shown).collect(),
            hospital_stay_days: of.hospital_stay_days,
            readmission_30day: of.readmission_30day,
            patient_satisfaction_score: of.patient_satisfaction_score,
            recovery_score: of.recovery_score,
            follow_up_required: of.follow_up_required,
        }
    }
}
