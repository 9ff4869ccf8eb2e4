use theatre_actors::rules::Micros;

use theatre_config::{Config, INPUT_TOPICS, RECORD_BYTES_MAX};

use super::without_sources as params;

#[test]
fn the_defaults_make_a_pipeline() {
    let params = params(&Config::default()).unwrap();
    assert!(
        params.processor.rules.rules().len() > 2,
        "rules are shipped"
    );
}

#[test]
fn inputs_keep_the_places_that_a_store_gave_them() {
    let inputs = ["mine", "second"].map(|topic| {
        format!(
            "[[input]]\ntopic = \"{topic}\"\nkind = \"telemetry\"\ndataset = \"robot_telemetry\"\n"
        )
    });
    let path = std::path::Path::new("theatre.toml");
    let config: Config = theatre_config::parse(path, &inputs.concat()).unwrap();
    let made = params(&config).unwrap();
    let mut known: Vec<String> = INPUT_TOPICS[..4]
        .iter()
        .map(|it| (*it).to_owned())
        .collect();
    known.push("mine".to_owned());
    // An older build had four inputs of its own, and those that were declared after them.
    let mut older = params(&config).unwrap();
    older.follow(&known);
    let mut expected: Vec<&str> = INPUT_TOPICS[..4].to_vec();
    expected.push("mine");
    expected.extend(&INPUT_TOPICS[4..]);
    expected.push("second");
    assert_eq!(*older.topics, expected);
    assert_eq!(older.inputs.len(), expected.len());
    let all: Vec<String> = older.topics.to_vec();
    let mut again = params(&config).unwrap();
    again.follow(&all);
    assert_eq!(again.topics, older.topics);
    again.follow_only(&known);
    assert_eq!(*again.topics, known);
    let mut other = params(&Config::default()).unwrap();
    other.follow(&known);
    assert_eq!(other.topics, params(&Config::default()).unwrap().topics);
    assert_eq!(made.topics.len(), INPUT_TOPICS.len() + 2);
}

#[test]
fn records_too_long_for_a_row_of_the_warehouse_need_a_pipeline_without_a_lake() {
    let mut config = Config {
        record_bytes: RECORD_BYTES_MAX,
        ..Config::default()
    };
    assert!(params(&config).is_ok());
    config.record_bytes += 1;
    let refused = params(&config).err().expect("it is refused").to_string();
    assert!(
        refused.contains("record_bytes: 3145729") && refused.contains("without a lake"),
        "{refused}"
    );
    config.lake.enabled = false;
    assert!(params(&config).is_ok());
}

#[test]
fn a_schema_that_the_warehouse_would_fold_is_refused_by_name() {
    let mut config = Config::default();
    config.lake.url = Some("s3://bucket".to_owned());
    config.warehouse.url = Some("redshift://workgroup/database".to_owned());
    for schema in ["public", "theatre_2", "_t"] {
        config.warehouse.schema = schema.to_owned();
        assert!(params(&config).is_ok(), "{schema}");
    }
    for schema in ["Theatre", "", "pg_theatre", "2nd", "a b", "a\"b", "ä"] {
        config.warehouse.schema = schema.to_owned();
        let refused = params(&config).err().expect("it is refused").to_string();
        assert!(
            refused.contains(&format!("[warehouse] schema {schema:?}"))
                && refused.contains("lower-case"),
            "{refused}"
        );
    }
}

#[test]
fn a_silence_that_an_absent_broker_could_cause_is_refused() {
    let mut config = Config {
        silence_after: Micros(4_000_000),
        ..Config::default()
    };
    assert!(params(&config).is_ok(), "the embedded log is never away");
    config.log.url = Some("kafka://broker:9092".to_owned());
    let refused = params(&config).err().expect("it is refused").to_string();
    assert!(
        refused.contains("silence_after: 4s") && refused.contains("only after 15s"),
        "{refused}"
    );
    config.silence_after = Micros(15_000_000);
    assert!(params(&config).is_ok());
}
