//! The sources against their stand-ins, and the patience of an input.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result, ensure};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use theatre_actors::ports::Error;
use theatre_actors::ports::SchemaSource;
use theatre_actors::time::{Clock, LogTime};
use theatre_pipeline::input_schemas::{Answer, InputSchemas, Target};
use theatre_registry::confluent::ConfluentSource;
use theatre_registry::directory::DirectorySource;
use theatre_registry::glue::GlueSource;
use theatre_schemas::framing::SchemaId;
use theatre_schemas::registry::{INPUT_SCHEMAS, Registry};
use theatre_system::blocking::IoRuntime;

use super::registry::Stand;

const FLEET: &str = INPUT_SCHEMAS[4].1;
const SECOND: i64 = 1_000_000;

struct TestClock(AtomicI64);

impl TestClock {
    fn pass(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> LogTime {
        LogTime(self.0.load(Ordering::Relaxed))
    }
}

/// An input of fleet telemetry that asks `source` and knows nothing else.
fn input(source: Arc<dyn SchemaSource>) -> Result<(InputSchemas, Arc<TestClock>)> {
    let registry = Arc::new(Registry::builtin());
    let dataset = Some(
        registry
            .datasets()
            .find("fleet_telemetry")
            .context("dataset")?
            .0,
    );
    let clock = Arc::new(TestClock(AtomicI64::new(1_767_225_600 * SECOND)));
    Ok((
        InputSchemas::new(
            "some.topic",
            registry,
            false,
            Some(Target { source, dataset }),
            clock.clone(),
        ),
        clock,
    ))
}

fn waits(answer: theatre_actors::ports::Result<Answer>, word: &str) -> Result<()> {
    match answer {
        Err(Error::Unavailable { why, .. }) if why.contains(word) && why.contains("some.topic") => {
            Ok(())
        }
        other => anyhow::bail!("{other:?}, and not a wait for '{word}'"),
    }
}

#[test]
fn an_id_that_is_not_there_yet_is_waited_for_and_one_that_never_comes_is_not() -> Result<()> {
    let stand = Stand::start()?;
    let (schemas, clock) = input(Arc::new(ConfluentSource::new(&stand.url, None, None)?))?;
    waits(schemas.answer(7.into()), "not found yet")?;
    waits(schemas.answer(7.into()), "not found yet")?;
    ensure!(stand.asked() == 1, "it was asked again at once");
    stand.change(|answers| drop(answers.schemas.insert("7".to_owned(), FLEET.to_owned())));
    clock.pass(SECOND / 2);
    ensure!(
        matches!(schemas.answer(7.into())?, Answer::Known(writer) if writer.id == SchemaId::Confluent(7))
    );
    schemas.answer(7.into())?;
    ensure!(stand.asked() == 2, "what is known was asked for");

    for _ in 0..2 {
        waits(schemas.answer(8.into()), "not found yet")?;
        clock.pass(SECOND);
    }
    ensure!(matches!(schemas.answer(8.into())?, Answer::Unknown));
    let asked = stand.asked();
    stand.change(|answers| drop(answers.schemas.insert("8".to_owned(), FLEET.to_owned())));
    ensure!(
        matches!(schemas.answer(8.into())?, Answer::Unknown) && stand.asked() == asked,
        "what is believed to be none was asked for"
    );
    clock.pass(61 * SECOND);
    ensure!(matches!(schemas.answer(8.into())?, Answer::Known(_)));
    Ok(())
}

#[test]
fn a_source_that_is_away_is_waited_for_however_long() -> Result<()> {
    let stand = Stand::start()?;
    stand.change(|answers| {
        answers.is_down = true;
        answers.schemas.insert("7".to_owned(), FLEET.to_owned());
    });
    let (schemas, clock) = input(Arc::new(ConfluentSource::new(&stand.url, None, None)?))?;
    for _ in 0..5 {
        waits(schemas.answer(7.into()), "the store is away")?;
        clock.pass(100 * SECOND);
    }
    stand.change(|answers| answers.is_down = false);
    ensure!(matches!(schemas.answer(7.into())?, Answer::Known(_)));
    let unreachable = format!(
        "http://{}",
        std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?
    );
    waits(
        input(Arc::new(ConfluentSource::new(&unreachable, None, None)?))?
            .0
            .answer(7.into()),
        "waits for schema 7",
    )
}

#[test]
fn a_registry_with_passwords_gets_them_and_nobody_else_sees_them() -> Result<()> {
    let stand = Stand::start()?;
    stand.change(|answers| {
        answers.authorization = Some("Basic cm9ib3Q6c2VzYW1l".to_owned());
        answers
            .subjects
            .insert("s-value".to_owned(), FLEET.to_owned());
    });
    let right = ConfluentSource::new(&stand.url, Some(("robot", "sesame")), None)?;
    ensure!(right.latest("s-value")?.as_deref() == Some(FLEET));
    ensure!(right.latest("other")?.is_none());
    let said = ConfluentSource::new(&stand.url, Some(("robot", "wrong word")), None)?
        .latest("s-value")
        .unwrap_err()
        .to_string();
    ensure!(
        said.contains("401") && said.contains("registry.password_file") && !said.contains("wrong"),
        "{said}"
    );
    Ok(())
}

#[test]
fn rubbish_ids_hold_nobody_up_for_long_and_bad_schemas_not_at_all() -> Result<()> {
    let stand = Stand::start()?;
    stand.change(|answers| {
        drop(
            answers
                .schemas
                .insert("1".to_owned(), "\"string\"".to_owned()),
        )
    });
    let (schemas, _) = input(Arc::new(ConfluentSource::new(&stand.url, None, None)?))?;
    ensure!(matches!(schemas.answer(1.into())?, Answer::Unusable(why) if why.contains("record")));
    let answers: Vec<_> = (100..130)
        .map(|id: u32| schemas.answer(id.into()))
        .collect();
    ensure!(
        answers.iter().filter(|answer| answer.is_err()).count() <= 4,
        "{answers:?}"
    );
    ensure!(
        answers
            .last()
            .is_some_and(|answer| matches!(answer, Ok(Answer::Unknown)))
    );
    Ok(())
}

#[test]
fn a_schema_put_into_a_folder_is_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (schemas, clock) = input(Arc::new(DirectorySource::new(folder.path())))?;
    waits(schemas.answer(7.into()), "not found yet")?;
    std::fs::write(folder.path().join("7.avsc"), FLEET)?;
    clock.pass(SECOND);
    ensure!(matches!(schemas.answer(7.into())?, Answer::Known(_)));
    Ok(())
}

#[test]
fn glue_is_asked_with_a_signature() -> Result<()> {
    let stand = Stand::start()?;
    let id = SchemaId::Glue(0xb775_67be_9fd4_4e6e_8d4b_0123_4567_89ab);
    stand.change(|answers| {
        answers.schemas.insert(id.to_string(), FLEET.to_owned());
        answers.subjects.insert("arm".to_owned(), FLEET.to_owned());
    });
    let credentials = SharedCredentialsProvider::new(Credentials::new(
        "AKIDEXAMPLE",
        "secret words",
        None,
        None,
        "tests",
    ));
    let clock = Arc::new(TestClock(AtomicI64::new(1_767_225_600 * SECOND)));
    let source = GlueSource::new(
        "eu-central-1",
        Some(&stand.url),
        "robots",
        credentials,
        IoRuntime::start()?,
        clock,
    )?;
    ensure!(source.fetch(id)?.as_deref() == Some(FLEET));
    ensure!(source.fetch(SchemaId::Glue(1))?.is_none() && source.fetch(7.into())?.is_none());
    ensure!(source.latest("arm")?.as_deref() == Some(FLEET));
    stand.change(|answers| answers.is_down = true);
    let error = source.fetch(id).unwrap_err();
    ensure!(
        matches!(&error, Error::Unavailable { .. }) && !error.to_string().contains("secret"),
        "{error}"
    );

    let answers = stand.answers.lock().unwrap();
    for (_, headers) in &answers.asked {
        ensure!(
            headers["x-amz-target"] == "AWSGlue.GetSchemaVersion"
                && headers["content-type"] == "application/x-amz-json-1.1",
            "{headers:?}"
        );
        ensure!(headers["x-amz-date"] == "20260101T000000Z", "{headers:?}");
        let signed = &headers["authorization"];
        ensure!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-central-1/glue/aws4_request, SignedHeaders="), "{signed}");
        ensure!(
            signed.contains("x-amz-target")
                && signed.contains("host")
                && signed.contains("Signature="),
            "{signed}"
        );
    }
    let bodies: Vec<&str> = answers
        .asked
        .iter()
        .map(|(body, _)| body.as_str())
        .collect();
    ensure!(
        bodies[0] == r#"{"SchemaVersionId":"b77567be-9fd4-4e6e-8d4b-0123456789ab"}"#,
        "{bodies:?}"
    );
    ensure!(
        bodies[2].contains(r#""RegistryName":"robots""#),
        "{bodies:?}"
    );
    Ok(())
}
