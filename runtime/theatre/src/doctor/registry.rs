//! Schema sources of inputs: they answer, and the newest schema of each subject can be read as the
//! input's dataset.

use theatre_actors::ports::Result;
use theatre_config::inputs::{InputConfig, SchemaOrigin, SchemaSources};
use theatre_operations::checkup::Judgement;
use theatre_pipeline::PipelineParams;
use theatre_registry::Sources;
use theatre_schemas::framing::SchemaId;
use theatre_schemas::registry::WriterSchema;

use super::{Deployment, failed};

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let sources = Sources::new(&deployment.config, deployment.clock.clone());
    let asked = deployment.config.input.iter();
    for input in asked.filter(|input| input.schemas != SchemaOrigin::Directory) {
        let source = match sources.open(input) {
            Ok(Some(source)) => source,
            Ok(None) => continue,
            Err(error) => {
                let advice = "correct the section of the configuration that it names";
                note(Judgement::failed(error.to_string(), advice));
                continue;
            }
        };
        let latest = source.latest(&input.subject());
        let params = deployment.params();
        note(judge(input, latest, |json| fits(input, params, json)));
    }
}

/// Whether records of this schema can be read as the input's dataset; true where the configuration
/// makes no pipeline, which its own check says.
fn fits(
    input: &InputConfig,
    params: Option<&PipelineParams>,
    json: &str,
) -> std::result::Result<(), String> {
    let datasets = params.map(|params| params.registry.datasets());
    let Some((index, dataset)) = datasets.and_then(|all| all.find(&input.dataset_name())) else {
        return Ok(());
    };
    WriterSchema::new(SchemaId::Confluent(0), json, index, dataset)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn judge(
    input: &InputConfig,
    latest: Result<Option<String>>,
    fits: impl FnOnce(&str) -> std::result::Result<(), String>,
) -> Judgement {
    let subject = input.subject();
    match latest {
        Err(error) => failed(&error),
        Ok(None) => Judgement::warning(
            format!("there is no subject '{subject}' for input {}", input.topic),
            "register the schema, or name the subject with `subject` in [[input]]",
        ),
        Ok(Some(json)) => match fits(&json) {
            Ok(()) => Judgement::ok(format!(
                "subject '{subject}' can be read as {}",
                input.dataset_name()
            )),
            Err(why) => Judgement::failed(
                format!(
                    "the newest schema of '{subject}' cannot be read as {}: {why}",
                    input.dataset_name()
                ),
                "records with it are dead-lettered: register a compatible version, or give the input another dataset",
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::Error;
    use theatre_operations::checkup::Verdict::{Failed, Ok as Good, Warning};

    use super::*;

    #[test]
    fn a_subject_has_to_be_there_and_to_fit() {
        let input: InputConfig =
            toml::from_str("topic = \"t\"\nkind = \"telemetry\"\nschemas = \"registry\"").unwrap();
        let away = || {
            Err(Error::Unavailable {
                what: "schema registry",
                why: "no answer".to_owned(),
            })
        };
        let json = || Ok(Some("{}".to_owned()));
        for (latest, fit, verdict) in [
            (away(), Ok(()), Failed),
            (Ok(None), Ok(()), Warning),
            (json(), Ok(()), Good),
            (json(), Err("no field robot_id".to_owned()), Failed),
        ] {
            let judged = judge(&input, latest, |_| fit);
            assert_eq!(judged.verdict, verdict, "{judged:?}");
        }
    }
}
