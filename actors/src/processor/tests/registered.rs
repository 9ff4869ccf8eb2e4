//! What people and their systems say of robots, facilities, surgeons and models.

use apache_avro::types::Value;
use theatre_schemas::records::{
    ComponentUse, FacilityVersion, MaintenanceRecord, RobotVersion, SurgeonVersion, Transition,
};

use super::*;

const LOGS: usize = 4;
const ROBOTS: usize = 5;
const FACILITIES: usize = 6;

fn time(value: i64) -> Value {
    Value::TimestampMicros(NOW + value * S)
}

/// An entry of the robot's registry.
pub(super) fn entry(offset: u64, at: i64, firmware: &str, status: &str) -> Arc<Batch> {
    let component = Value::Record(vec![
        ("component".into(), text("motor_temperature")),
        ("part".into(), text("actuator_assembly")),
        ("serial".into(), text("A-1")),
    ]);
    let fields = [
        ("event_id", text(&format!("entry/{at}/{firmware}/{status}"))),
        ("serial_number", text("INV-10000")),
        ("facility_id", text("FAC-001")),
        ("firmware_version", text(firmware)),
        ("status", text(status)),
        ("components", Value::Array(vec![component])),
    ];
    record("robot_registry", offset, NOW + at * S, &fields)
}

/// A report of work, from one second to another.
pub(super) fn log(
    offset: u64,
    id: &str,
    status: &str,
    (from, to): (i64, Option<i64>),
    more: &[(&str, Value)],
) -> Arc<Batch> {
    let part = Value::Record(vec![
        ("part".into(), text("actuator_assembly")),
        ("component".into(), text("motor_temperature")),
        ("old_serial".into(), text("A-1")),
        ("new_serial".into(), text("A-2")),
    ]);
    let at = to.unwrap_or(from);
    let mut fields = vec![
        ("event_id", text(&format!("{id}/{status}/{at}"))),
        ("maintenance_id", text(id)),
        ("maintenance_type", text("emergency")),
        ("status", text(status)),
        ("started_at", time(from)),
        (
            "cost",
            Value::Decimal(1_234_567_i64.to_be_bytes().to_vec().into()),
        ),
        ("currency", text("USD")),
    ];
    if let Some(to) = to {
        fields.push(("ended_at", time(to)));
        fields.push(("parts", Value::Array(vec![part])));
        fields.push(("next_maintenance_date", Value::Date(20_500)));
    }
    fields.extend(more.iter().cloned());
    record("maintenance_logs", offset, NOW + at * S, &fields)
}

fn facility(offset: u64, at: i64, name: &str, beds: i32) -> Arc<Batch> {
    let fields = [
        ("facility_id", text("FAC-001")),
        ("event_id", text(&format!("{at}/{name}/{beds}"))),
        ("facility_name", text(name)),
        ("facility_type", text("teaching")),
        ("bed_count", Value::Int(beds)),
    ];
    record("facility_registry", offset, NOW + at * S, &fields)
}

fn versions(outputs: &Outputs) -> Vec<(i64, i32, bool, String, String)> {
    let read = |output: &OutputEvent| RobotVersion::decode(&output.payload).unwrap();
    by_kind(outputs, OutputKind::RobotVersion)
        .iter()
        .map(read)
        .map(|of| {
            let from = (of.valid_from - NOW) / S;
            let firmware = of.firmware_version.unwrap_or_default();
            (from, of.revision, of.is_withdrawn, firmware, of.status)
        })
        .collect()
}

fn works(outputs: &Outputs) -> Vec<MaintenanceRecord> {
    by_kind(outputs, OutputKind::Maintenance)
        .iter()
        .map(|output| MaintenanceRecord::decode(&output.payload).unwrap())
        .collect()
}

fn version(
    from: i64,
    revision: i32,
    firmware: &str,
    status: &str,
) -> (i64, i32, bool, String, String) {
    (
        from,
        revision,
        false,
        firmware.to_owned(),
        status.to_owned(),
    )
}

#[test]
fn a_facility_is_an_actor_of_its_own_and_its_versions_are_published() {
    let batch = facility(0, 10, "North", 400);
    assert_eq!(batch.robot_id(0), "@facility/FAC-001");
    let mut processor = Processor::new(batch.robot_id(0), config(None));
    let mut outputs = Outputs::default();
    processor.apply(FACILITIES, &batch, &[0], &mut outputs);
    let same = facility(1, 20, "North", 400);
    processor.apply(FACILITIES, &same, &[0], &mut outputs);
    processor =
        Processor::restore("@facility/FAC-001", &processor.snapshot(), config(None)).unwrap();
    processor.apply(
        FACILITIES,
        &facility(2, 15, "North", 500),
        &[0],
        &mut outputs,
    );
    let put_out = by_kind(&outputs, OutputKind::FacilityVersion);
    let read = |output: &OutputEvent| FacilityVersion::decode(&output.payload).unwrap();
    let rows: Vec<_> = (put_out.iter().map(read))
        .map(|of| ((of.valid_from - NOW) / S, of.revision, of.bed_count))
        .collect();
    assert_eq!(
        rows,
        [(10, 0, Some(400)), (15, 0, Some(500)), (20, 0, Some(400))]
    );
    assert!(
        put_out
            .iter()
            .all(|output| output.robot_id == "@facility/FAC-001"
                && output.subject == "FAC-001"
                && output.id.starts_with("FAC-001/"))
    );
    // What is registered is never silent.
    processor.tick(LogTime(NOW + 1_000_000 * S), &mut outputs);
    assert_eq!(outputs.events.len(), 3);
    assert_eq!(processor.counters()[FACILITIES].applied, 3);
}

#[test]
fn a_surgeon_is_known_by_a_pseudonym_only() {
    let fields = [
        ("surgeon_id", text("SURG-0001")),
        ("event_id", text("e")),
        ("surgeon_name", text("Example Name")),
    ];
    let batch = record("surgeon_registry", 0, NOW, &fields);
    let actor = batch.robot_id(0).to_owned();
    assert!(actor.starts_with("@surgeon/staff-"), "{actor}");
    let mut processor = Processor::new(&actor, config(None));
    let mut outputs = Outputs::default();
    processor.apply(7, &batch, &[0], &mut outputs);
    let version = SurgeonVersion::decode(&outputs.events[0].payload).unwrap();
    assert_eq!(format!("@surgeon/{}", version.surgeon_id), actor);
    assert!(version.surgeon_name.unwrap().starts_with("staff-"));
}

#[test]
fn a_service_makes_versions_of_its_robot_and_its_report_may_come_late() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    processor.apply(
        ROBOTS,
        &entry(0, 0, "1.0.0", "operational"),
        &[0],
        &mut outputs,
    );
    processor.apply(
        ROBOTS,
        &entry(1, 100, "1.1.0", "operational"),
        &[0],
        &mut outputs,
    );
    processor.apply(
        LOGS,
        &log(0, "m1", "completed", (40, Some(60)), &[]),
        &[0],
        &mut outputs,
    );
    assert_eq!(
        versions(&outputs),
        [
            version(0, 0, "1.0.0", "operational"),
            version(100, 0, "1.1.0", "operational"),
            version(40, 0, "1.0.0", "maintenance"),
            version(60, 0, "1.0.0", "operational"),
        ]
    );
    // It took longer, as a later report says.
    let mut more = Outputs::default();
    let longer = log(1, "m1", "completed", (40, Some(80)), &[]);
    processor.apply(LOGS, &longer, &[0], &mut more);
    let withdrawn = (60, 1, true, "1.0.0".to_owned(), "operational".to_owned());
    assert_eq!(
        versions(&more),
        [withdrawn, version(80, 0, "1.0.0", "operational")]
    );
    let view = processor.view().record;
    assert_eq!(view.status, "operational");
    assert_eq!(view.last_service, Some(NOW + 80 * S));
    assert_eq!((view.next_service, view.versions), (Some(20_500), 4));
    // The robot says itself that another one has begun.
    let fields = [
        ("event_id", text("s")),
        ("event_type", text("maintenance_started")),
    ];
    let begun = record("robot_events", 0, NOW + 200 * S, &fields);
    let mut more = Outputs::default();
    processor.apply(1, &begun, &[0], &mut more);
    assert_eq!(versions(&more), [version(200, 0, "1.1.0", "maintenance")]);
    assert_eq!(processor.view().record.status, "maintenance");
}

#[test]
fn a_service_answers_the_condition_before_it_and_resets_what_wore() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    let samples: Vec<Sample> = vec![(1, 1, 70.0, None), (2, 2, 90.0, None), (30, 3, 91.0, None)];
    processor.apply(0, &telemetry(&samples), &[0, 1, 2], &mut outputs);
    let raised = alerts(&outputs).remove(0);
    assert_eq!(raised.transition, Transition::Raised);
    let mut outputs = Outputs::default();
    processor.apply(
        LOGS,
        &log(0, "m1", "started", (32, None), &[]),
        &[0],
        &mut outputs,
    );
    let work = works(&outputs).remove(0);
    assert_eq!(work.condition_id.as_deref(), Some(&*raised.condition_id));
    assert!(!work.is_condition_reported && !work.is_planned);
    assert_eq!(
        (work.lead_time_s, work.cost.map(|cost| cost.0)),
        (Some(30.0), Some(1_234_567))
    );
    let mut outputs = Outputs::default();
    let named = [("alert_id", text(&raised.alert_id))];
    let done = log(1, "m1", "completed", (32, Some(40)), &named);
    processor.apply(LOGS, &done, &[0], &mut outputs);
    let work = works(&outputs).remove(0);
    assert!(work.is_condition_reported && work.revision == 1);
    assert_eq!(work.parts[0].new_serial.as_deref(), Some("A-2"));
    assert_eq!(work.lead_time_s, Some(30.0));
    let cleared = alerts(&outputs);
    assert_eq!(cleared.len(), 1);
    assert_eq!(cleared[0].transition, Transition::Cleared);
    assert!(
        cleared[0].message.ends_with("(serviced)"),
        "{}",
        cleared[0].message
    );
    assert_eq!(cleared[0].event_time, NOW + 40 * S);
    assert!(processor.view().conditions.is_empty());
    // The report once more, without a number: nothing changes.
    let mut outputs = Outputs::default();
    let again = log(2, "m1", "completed", (32, Some(40)), &named);
    processor.apply(LOGS, &again, &[0], &mut outputs);
    assert_eq!(outputs.events, []);
    // An earlier plan comes late: the work was planned after all.
    processor.apply(
        LOGS,
        &log(3, "m1", "planned", (10, None), &[]),
        &[0],
        &mut outputs,
    );
    let work = works(&outputs).remove(0);
    assert!(work.is_planned && work.status == "completed" && work.revision == 2);
}

#[test]
fn reports_do_not_make_a_robot_heard_and_hours_are_those_of_samples() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    processor.apply(ROBOTS, &entry(0, 0, "1", "retired"), &[0], &mut outputs);
    processor.tick(LogTime(NOW + 1_000_000 * S), &mut outputs);
    assert_eq!(alerts(&outputs), []);
    // One second, then a gap that is too long, then sixty seconds; a late row changes nothing.
    let samples: Vec<Sample> = vec![
        (1, 1, 70.0, None),
        (2, 2, 70.0, None),
        (100, 3, 70.0, None),
        (160, 5, 70.0, None),
        (130, 4, 70.0, None),
    ];
    processor.apply(0, &telemetry(&samples), &[0, 1, 2, 3, 4], &mut outputs);
    let view = processor.view().record;
    assert!((view.operating_hours * 3_600.0 - 61.0).abs() < 1e-9);
    assert_eq!(view.status, "retired");
    // A report of the future is refused, and says nothing of the robot's clock.
    let mut outputs = Outputs::default();
    let future = entry(1, 1_000_000, "2", "operational");
    processor.apply(ROBOTS, &future, &[0], &mut outputs);
    assert_eq!(outputs.dead.len(), 1);
    assert_eq!(alerts(&outputs), []);
}

#[test]
fn components_are_those_that_the_registry_lists_and_services_replace() {
    let mut processor = Processor::new("r", config(None));
    let mut outputs = Outputs::default();
    processor.apply(
        ROBOTS,
        &entry(0, -50, "1.0.0", "operational"),
        &[0],
        &mut outputs,
    );
    let uses = |outputs: &Outputs| -> Vec<(Option<String>, i32)> {
        let read = |output: &OutputEvent| ComponentUse::decode(&output.payload).unwrap();
        by_kind(outputs, OutputKind::Component)
            .iter()
            .map(read)
            .inspect(|of| assert_eq!(of.component, "motor_temperature"))
            .map(|of| (of.serial, of.installation))
            .collect()
    };
    assert_eq!(uses(&outputs), [(Some("A-1".to_owned()), 0)]);

    let mut outputs = Outputs::default();
    let service = log(0, "m1", "completed", (22, Some(26)), &[]);
    processor.apply(LOGS, &service, &[0], &mut outputs);
    let new = (Some("A-2".to_owned()), 1);
    assert!(uses(&outputs).contains(&new), "{:?}", uses(&outputs));

    // The same service again, and the entry of before, change nothing.
    let mut outputs = Outputs::default();
    processor.apply(
        LOGS,
        &log(1, "m1", "completed", (22, Some(26)), &[]),
        &[0],
        &mut outputs,
    );
    processor.apply(
        ROBOTS,
        &entry(1, -40, "1.0.1", "operational"),
        &[0],
        &mut outputs,
    );
    assert_eq!(uses(&outputs), []);
}
