//! Procedures as versions 1 and 2 of the processor stored them.

use serde::Deserialize;
use theatre_schemas::records::{ClinicalResult, Outcome};

use super::course::Course;
use super::{
    Indicators, Measuring, ProcedureActor, ProcedureEvent, ProcedureMetadata, ProcedureStep,
};
use crate::name_map::NameMap;

/// A procedure.
#[derive(Debug, Deserialize)]
pub(crate) struct ProcedureV2 {
    events: NameMap<EventV2>,
    indicators: Indicators,
    rows: i64,
    missing: i64,
    conditions: Vec<String>,
    raised: [i32; 3],
    result: Option<(i64, ClinicalResult)>,
    last_published: Option<(i32, Box<Outcome>)>,
    due: Option<i64>,
    last_seen: i64,
    incarnation: u64,
}

#[derive(Debug, Deserialize)]
struct EventV2 {
    time: i64,
    step: ProcedureStep,
    phase: Option<String>,
    metadata: MetadataV2,
}

#[derive(Debug, Deserialize)]
struct MetadataV2 {
    category: Option<String>,
    procedure_type: Option<String>,
    surgeon_id: Option<String>,
}

impl From<EventV2> for ProcedureEvent {
    fn from(stored: EventV2) -> Self {
        Self {
            time: stored.time,
            step: stored.step,
            phase: stored.phase,
            metadata: ProcedureMetadata {
                category: stored.metadata.category,
                procedure_type: stored.metadata.procedure_type,
                surgeon_id: stored.metadata.surgeon_id,
                ..ProcedureMetadata::default()
            },
        }
    }
}

impl From<ProcedureV2> for ProcedureActor {
    /// One that has had rows goes on as it began: they cannot be cut any more.
    fn from(stored: ProcedureV2) -> Self {
        let events = stored.events.map(ProcedureEvent::from);
        let measuring = if stored.rows > 0 {
            Measuring::ByArrival(Box::new(stored.indicators))
        } else {
            let mut course = Course::default();
            let cuts = events.values().filter(|event| event.step.cuts());
            cuts.for_each(|event| course.cut(event.time));
            Measuring::Course(Box::new(course))
        };
        Self {
            events,
            measuring,
            rows: stored.rows,
            missing: stored.missing,
            conditions: stored.conditions,
            raised: stored.raised,
            result: stored.result,
            last_published: stored.last_published,
            state_published: None,
            described: Default::default(),
            due: stored.due,
            last_seen: stored.last_seen,
            incarnation: stored.incarnation,
        }
    }
}
