//! The same settings give the same bytes, and a fleet that is taken up again goes on with them.

use std::collections::BTreeMap;

use crate::faults::Faults;
use crate::world::calendar::DAY_US;
use crate::world::settings::{Profile, Settings};
use crate::world::{Chunk, Network, Stream, Topic};

fn fleet(profile: Profile) -> Settings {
    let settings = Settings {
        robots: 12,
        ..Settings::of(profile, 4)
    };
    match profile {
        Profile::Reference => Settings {
            robots: 50,
            ..settings
        },
        Profile::Degrading => Settings {
            span_us: 20 * DAY_US,
            ..settings
        },
        Profile::Demo => settings,
        Profile::Stress => Settings {
            span_us: settings.span_us / 6,
            ..settings
        },
    }
}

fn faults() -> (Faults, Network) {
    let (faults, network) = Network::bad();
    (
        faults,
        Network {
            days_late: 0.01,
            ..network
        },
    )
}

fn chunks(stream: &mut Stream, steps: usize) -> Vec<Chunk> {
    (0..steps).map(|_| stream.advance()).collect()
}

#[test]
fn a_fleet_that_is_taken_up_again_goes_on_with_the_same_bytes() {
    for (profile, steps) in [
        (Profile::Reference, 6),
        (Profile::Degrading, 15),
        (Profile::Demo, 700),
        (Profile::Stress, 20),
    ] {
        let settings = fleet(profile);
        let (faults, network) = faults();
        let open = || Stream::new(&settings, faults.clone(), network.clone()).unwrap();
        let whole = chunks(&mut open(), steps);
        let records: usize = whole.iter().map(|chunk| chunk.records.len()).sum();
        assert!(records > 1_000, "{profile:?}: {records}");
        for from in [1, steps / 2, steps - 1] {
            let mut stream = open();
            stream.go_to(from as u64);
            let rest = chunks(&mut stream, steps - from);
            assert!(
                whole[from..] == rest,
                "{profile:?} differs from step {from}"
            );
        }
        let other = Settings {
            seed: 5,
            ..settings.clone()
        };
        let mut other = Stream::new(&other, faults.clone(), network.clone()).unwrap();
        assert!(
            chunks(&mut other, steps) != whole,
            "another seed, another fleet"
        );
    }
}

#[test]
fn every_record_can_be_read_and_events_are_numbered_densely() {
    for (profile, steps) in [(Profile::Degrading, 25), (Profile::Demo, 900)] {
        let settings = fleet(profile);
        let mut stream = Stream::new(&settings, Faults::default(), Network::default()).unwrap();
        let mut next: BTreeMap<(Topic, String), i64> = BTreeMap::new();
        let registry = theatre_schemas::registry::Registry::builtin();
        let key = std::sync::Arc::new(theatre_schemas::pseudonym::Pseudonyms::new([0; 32]));
        for chunk in chunks(&mut stream, steps) {
            for topic in Topic::ALL {
                let writer = registry.lookup(topic.schema_id()).unwrap();
                let dataset = registry.datasets().get(writer.dataset_index).clone();
                let mut builder = theatre_schemas::decode::BatchBuilder::new(
                    dataset,
                    writer.dataset_index,
                    key.clone(),
                );
                let mut keys = Vec::new();
                for (_, record) in chunk.records.iter().filter(|(of, _)| *of == topic) {
                    let (_, datum) = theatre_schemas::framing::parse(&record.value).unwrap();
                    builder.push(&writer.plan, datum, 0, 0).unwrap();
                    keys.push(String::from_utf8(record.key.clone()).unwrap());
                }
                let Some(batch) = builder.finish() else {
                    continue;
                };
                for (row, key) in keys.into_iter().enumerate() {
                    if topic != Topic::Telemetry {
                        let next = next.entry((topic, key)).or_default();
                        assert_eq!(batch.sequence(row), Some(*next), "{topic:?}");
                        *next += 1;
                    }
                }
            }
        }
        assert!(next.len() > 100);
    }
}

/// The symbols of an enumeration in a shipped schema.
fn symbols(schema: usize, name: &str) -> Vec<String> {
    fn find(value: &serde_json::Value, name: &str) -> Option<Vec<String>> {
        if value["name"] == name && value["type"] == "enum" {
            let symbols = value["symbols"].as_array()?.iter();
            return Some(
                symbols
                    .map(|symbol| symbol.as_str().unwrap().to_owned())
                    .collect(),
            );
        }
        match value {
            serde_json::Value::Array(items) => items.iter().find_map(|item| find(item, name)),
            serde_json::Value::Object(fields) => fields.values().find_map(|item| find(item, name)),
            _ => None,
        }
    }
    let id = schema as u64;
    let json = theatre_schemas::registry::INPUT_SCHEMAS
        .iter()
        .map(|(_, json)| serde_json::from_str::<serde_json::Value>(json).unwrap())
        .find(|json| json["theatre"]["id"] == id)
        .unwrap();
    find(&json, name).unwrap()
}

#[test]
fn enumerations_are_those_of_the_schemas() {
    use crate::world::records::symbols as known;
    for (schema, name, symbols_here) in [
        (1008, "FacilityType", &known::FACILITY[..]),
        (1007, "RobotStatus", &known::STATUS),
        (1015, "ProcedureStep", &known::STEP),
        (1015, "Gender", &known::GENDER),
        (1004, "SuccessStatus", &known::SUCCESS),
        (1004, "Severity", &known::SEVERITY),
        (1005, "RobotEventType", &known::EVENT),
        (1006, "MaintenanceStatus", &known::PROGRESS),
        (1001, "OperatingState", &known::STATE),
    ] {
        assert_eq!(symbols(schema, name), symbols_here);
    }
    let catalogue = crate::world::catalogue::Catalogue::shipped().unwrap();
    let kinds = catalogue.work.iter().map(|work| work.kind.as_str());
    assert!(symbols(1006, "MaintenanceType")[1..].iter().eq(kinds));
    let tools = symbols(1001, "ToolType");
    assert_eq!(tools.len() - 1, crate::world::instrument::KINDS);
    let gripping = [1, 4, 5].map(|index: usize| tools[index].as_str());
    assert_eq!(gripping, ["grasper", "needle_driver", "forceps"]);
}
