//! What people and their systems write beside a simulated fleet: services and registries, out of
//! order and partly more than once.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use apache_avro::types::Value;
use theatre_actors::ports::NewRecord;
use theatre_schemas::records::RecordWriter;
use theatre_schemas::registry::{INPUT_SCHEMAS, schema_id};

const SECOND: i64 = 1_000_000;
/// A tick of the simulated fleet, microseconds.
const TICK_US: i64 = 100_000;
/// Topics by their places in the list of inputs.
const LOGS: usize = 4;
const ROBOTS: usize = 5;
const FACILITIES: usize = 6;
const SURGEONS: usize = 7;
const MODELS: usize = 8;

/// Where services lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// Among the fleet's own records, so that they answer its conditions and end them.
    AmongRecords,
    /// Days before: what they come to depends on no order between topics.
    DaysBefore,
}

/// The records of a tick, by topic. A fleet of so many robots begins at `start_us`.
pub fn records(
    tick: u64,
    robots: u64,
    start_us: i64,
    services: Services,
) -> Result<Vec<(usize, NewRecord)>> {
    let now = start_us + tick as i64 * TICK_US;
    // Reports of a registry say from when on they hold, up to some seconds before.
    let back = tick.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
    let from = now - back as i64 * SECOND;
    let mut records = Vec::new();
    let robot = format!("robot-{:04}", tick / 13 % robots);
    if tick % 13 == 3 {
        records.push((ROBOTS, robot_entry(tick, &robot, from)?));
    }
    if tick % 17 == 5 {
        records.push((LOGS, service(tick, robots, start_us, services)?));
    }
    if tick % 11 == 2 {
        let fields = vec![
            ("facility_name", text(format!("Site {}", tick / 11 % 2))),
            ("facility_type", text("teaching")),
            ("bed_count", Value::Int(400 + (tick / 33 % 2) as i32)),
        ];
        let id = format!("FAC-{:03}", tick / 11 % 3);
        records.push((FACILITIES, entry("facility", tick, &id, from, fields)?));
    }
    if tick % 19 == 7 {
        let fields = vec![
            ("surgeon_name", text(format!("Name {}", tick % 2))),
            ("certification_level", text(format!("{}", tick / 38 % 2))),
        ];
        let id = format!("SURG-{:04}", tick / 19 % 2);
        records.push((SURGEONS, entry("surgeon", tick, &id, from, fields)?));
    }
    if tick % 23 == 11 {
        let fields = vec![
            ("arms", Value::Int((tick / 46 % 2) as i32 + 3)),
            ("categories", Value::Array(vec![text("thoracic")])),
        ];
        records.push((MODELS, entry("model", tick, "Example 4", from, fields)?));
    }
    Ok(records)
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

/// Every other record has no number: what comes twice is known by what it says.
fn numbered(tick: u64) -> Value {
    if tick.is_multiple_of(2) {
        Value::Null
    } else {
        Value::Long(tick as i64)
    }
}

/// The writer of a subject's last version: a schema is parsed once.
fn writer(subject: &str) -> Result<&'static RecordWriter> {
    type Writers = BTreeMap<&'static str, RecordWriter>;
    static WRITERS: OnceLock<Result<Writers>> = OnceLock::new();
    let parsed = WRITERS.get_or_init(|| {
        let writer = |(name, json): &(&'static str, &str)| {
            let writer = RecordWriter::new(schema_id(json)?, json)?;
            Ok((*name, writer))
        };
        INPUT_SCHEMAS.iter().map(writer).collect()
    });
    let writers = parsed.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    writers.get(subject).context("no such schema")
}

pub(crate) fn record(subject: &str, key: &str, fields: Vec<(&str, Value)>) -> Result<NewRecord> {
    let writer = writer(subject)?;
    let fields = fields.into_iter();
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Ok(NewRecord {
        key: key.as_bytes().to_vec(),
        value: writer.encode(Value::Record(fields.collect()))?,
        headers: Vec::new(),
    })
}

fn entry(
    what: &str,
    tick: u64,
    id: &str,
    from: i64,
    mut fields: Vec<(&str, Value)>,
) -> Result<NewRecord> {
    let key = match what {
        "model" => "robot_model",
        "facility" => "facility_id",
        "surgeon" => "surgeon_id",
        _ => "robot_id",
    };
    fields.extend([
        (key, text(id)),
        ("event_time", Value::TimestampMicros(from)),
        ("event_id", text(format!("{what}/{tick}"))),
        ("sequence", numbered(tick)),
    ]);
    record(&format!("{what}_registry"), id, fields)
}

fn robot_entry(tick: u64, robot: &str, from: i64) -> Result<NewRecord> {
    let component = Value::Record(vec![
        ("component".into(), text("joints[2]")),
        ("part".into(), text("actuator_assembly")),
        ("serial".into(), text(format!("A-{}", tick / 100))),
    ]);
    let fields = vec![
        ("serial_number", text(format!("EXA-{robot}"))),
        ("facility_id", text(format!("FAC-{:03}", tick / 65 % 3))),
        ("firmware_version", text(format!("1.{}.0", tick / 39 % 2))),
        ("status", text("operational")),
        ("components", Value::Array(vec![component])),
    ];
    entry("robot", tick, robot, from, fields)
}

/// A work is planned, begun and completed, by one report each.
fn service(tick: u64, robots: u64, start_us: i64, services: Services) -> Result<NewRecord> {
    let (work, step) = (tick / 51, tick / 17 % 3);
    let robot = format!("robot-{:04}", work % robots);
    let day = 86_400 * SECOND;
    let begun = match services {
        Services::AmongRecords => start_us + work as i64 * 51 * TICK_US,
        Services::DaysBefore => start_us - day + work as i64 * 60 * SECOND,
    };
    let at = begun + step as i64 * 2 * SECOND;
    let part = Value::Record(vec![
        ("part".into(), text("sensor_module")),
        ("component".into(), text("arm_position")),
        ("old_serial".into(), text("S-1")),
        ("new_serial".into(), text(format!("S-{tick}"))),
    ]);
    let mut fields = vec![
        ("robot_id", text(&robot)),
        ("event_time", Value::TimestampMicros(at)),
        ("event_id", text(format!("service/{tick}"))),
        ("sequence", numbered(tick)),
        ("maintenance_id", text(format!("work-{work}"))),
        ("maintenance_type", text("emergency")),
        (
            "status",
            text(["planned", "started", "completed"][step as usize]),
        ),
        ("currency", text("EUR")),
    ];
    if step > 0 {
        fields.push(("started_at", Value::TimestampMicros(begun + 2 * SECOND)));
    }
    if step == 2 {
        let cost = (tick as i64 * 12_345).to_be_bytes().to_vec();
        fields.extend([
            ("ended_at", Value::TimestampMicros(at)),
            ("parts", Value::Array(vec![part])),
            ("cost", Value::Decimal(cost.into())),
            ("next_maintenance_date", Value::Date(20_600)),
        ]);
    }
    record("maintenance_logs", &robot, fields)
}
