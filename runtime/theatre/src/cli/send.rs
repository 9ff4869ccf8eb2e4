//! `theatre send`: records of the shipped schemas, as JSON by lines, into their topics.

mod avro;

use std::io::Read;
use std::path::PathBuf;

use apache_avro::Schema;
use clap::{Args, ValueEnum};
use serde_json::Value as Json;
use theatre_actors::ports::NewRecord;
use theatre_config::INPUT_TOPICS;
use theatre_schemas::records::RecordWriter;
use theatre_schemas::registry::{INPUT_SCHEMAS, schema_id};

use super::fleet_writer::append;
use super::service::Place;
use super::{Common, Failure};

/// Records that are appended at once.
const BATCH: usize = 1000;

/// What records are about, and so their schema and their topic.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    RobotEvents,
    ProcedureEvents,
    ProcedureResults,
    MaintenanceLogs,
    RobotRegistry,
    FacilityRegistry,
    SurgeonRegistry,
    ModelRegistry,
    AlertActions,
}

impl Kind {
    /// The subject of its schema, and its place in the list of inputs.
    fn subject(self) -> (&'static str, usize) {
        match self {
            Self::RobotEvents => ("robot_events", 1),
            Self::ProcedureEvents => ("procedure_events", 2),
            Self::ProcedureResults => ("procedure_results", 3),
            Self::MaintenanceLogs => ("maintenance_logs", 4),
            Self::RobotRegistry => ("robot_registry", 5),
            Self::FacilityRegistry => ("facility_registry", 6),
            Self::SurgeonRegistry => ("surgeon_registry", 7),
            Self::ModelRegistry => ("model_registry", 8),
            Self::AlertActions => ("alert_actions", 9),
        }
    }
}

/// Records into the event log: one JSON object a line, with the fields of the schema.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// What the records are.
    kind: Kind,
    /// A file, or - for standard input.
    file: PathBuf,
}

impl Send {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let text = read(&self.file)?;
        let (subject, topic) = self.kind.subject();
        let records = records(subject, &text)?;
        let place = Place::of(common)?;
        let log = place.write()?.log()?;
        // An embedded log belongs to the process that runs on its directory.
        let _lock = match place.config.log.url {
            None => Some(place.dir.lock()?),
            Some(_) => None,
        };
        let partitions = place.config.partitions;
        log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), partitions)?;
        for records in records.chunks(BATCH) {
            let records = records.iter().map(|record| (topic, record.clone()));
            append(&*log, partitions, records.collect())?;
        }
        let count = records.len();
        eprintln!("{count} records appended to {}", INPUT_TOPICS[topic]);
        Ok(())
    }
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))
}

/// All records of a text; none is appended where one is wrong.
fn records(subject: &str, text: &str) -> Result<Vec<NewRecord>, Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::Failed(format!("{subject}: {error}"));
    // Later versions of a schema come after earlier ones.
    let found = INPUT_SCHEMAS.iter().rfind(|(name, _)| *name == subject);
    let (_, json) = found.ok_or_else(|| broken(&"no such schema is shipped"))?;
    let schema = Schema::parse_str(json).map_err(|error| broken(&error))?;
    let id = schema_id(json).map_err(|error| broken(&error))?;
    let writer = RecordWriter::new(id, json).map_err(|error| broken(&error))?;
    let root: Json = serde_json::from_str(json).map_err(|error| broken(&error))?;
    let key = root["theatre"]["key"].as_str().unwrap_or("robot_id");
    let mut records = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |why: String| Failure::Usage(format!("line {number}: {why}"));
        let object: Json = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        let of_key = object[key].as_str().filter(|key| !key.is_empty());
        let of_key = of_key.ok_or_else(|| wrong(format!("'{key}' is missing")))?;
        let value = avro::value(&schema, &object).map_err(wrong)?;
        let encoded = writer.encode(value);
        records.push(NewRecord {
            key: of_key.as_bytes().to_vec(),
            value: encoded.map_err(|error| wrong(error.to_string()))?,
            headers: Vec::new(),
        });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use theatre_schemas::registry::Registry;

    use super::*;

    const LOG: &str = r#"{"robot_id": "r1", "event_time": "2026-01-01T10:00:00Z", "event_id": "e",
        "maintenance_id": "m1", "maintenance_type": "emergency", "status": "completed",
        "started_at": "2026-01-01T08:00:00Z", "cost": "1234.50", "currency": "EUR",
        "next_maintenance_date": "2026-03-01", "actions": ["replace_motor"],
        "parts": [{"part": "actuator_assembly", "component": "joints[2]"}]}"#;

    fn one(line: &str) -> Result<NewRecord, String> {
        let sent = records("maintenance_logs", &line.replace('\n', " "));
        match sent {
            Ok(mut sent) => Ok(sent.remove(0)),
            Err(Failure::Usage(why)) => Err(why),
            Err(_) => Err("failed".to_owned()),
        }
    }

    #[test]
    fn json_becomes_a_record_that_is_read() {
        let record = one(LOG).unwrap();
        assert_eq!(record.key, b"r1");
        let registry = Registry::builtin();
        let (id, datum) = theatre_schemas::framing::parse(&record.value).unwrap();
        let writer = registry.lookup(id).unwrap();
        let dataset = registry.datasets().get(writer.dataset_index).clone();
        let pseudonyms = theatre_schemas::pseudonym::Pseudonyms::new([1; 32]);
        let mut builder = theatre_schemas::decode::BatchBuilder::new(
            dataset.clone(),
            writer.dataset_index,
            std::sync::Arc::new(pseudonyms),
        );
        builder.push(&writer.plan, datum, 0, 0).unwrap();
        let batch = builder.finish().unwrap();
        let column = |name: &str| dataset.column(name).unwrap();
        assert_eq!(batch.decimal(column("cost"), 0), Some(123_450));
        assert_eq!(batch.date(column("next_maintenance_date"), 0), Some(20_513));
        assert_eq!(
            batch.text(column("parts[0].component"), 0),
            Some("joints[2]")
        );
        assert_eq!(batch.event_times(), [1_767_261_600_000_000]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        for (from, to, why) in [
            ("\"cost\": \"1234.50\"", "\"cost\": \"1234.505\"", "'cost'"),
            (
                "\"cost\": \"1234.50\"",
                "\"cost\": \"12345678901.00\"",
                "'cost'",
            ),
            (
                "\"status\": \"completed\"",
                "\"status\": \"done\"",
                "'status'",
            ),
            (
                "\"status\": \"completed\"",
                "\"state\": \"completed\"",
                "'state'",
            ),
            ("2026-03-01", "1 March", "'next_maintenance_date'"),
            ("\"robot_id\": \"r1\"", "\"robot_id\": \"\"", "'robot_id'"),
            ("2026-01-01T10:00:00Z", "10:00", "'event_time'"),
        ] {
            let refused = one(&LOG.replace(from, to)).unwrap_err();
            assert!(
                refused.starts_with("line 1") && refused.contains(why),
                "{refused}"
            );
        }
    }
}
