//! A process that runs, if one answers at its admin port: what readiness says of it.

use theatre_operations::checkup::Judgement;

use super::Deployment;
use crate::admin_client::{Answer, AskError, ask};
use crate::top::exposition::Exposition;

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let answer = ask(&deployment.admin, "/readyz");
    let is_theatre = answer
        .as_ref()
        .is_ok_and(|one| one.body.contains("\"ready\""));
    judge(&deployment.admin, answer)
        .into_iter()
        .for_each(&mut *note);
    if is_theatre {
        let metrics = ask(&deployment.admin, "/metrics");
        judge_version(&deployment.admin, metrics)
            .into_iter()
            .for_each(note);
    }
}

/// Whether it is of the version of this program.
fn judge_version(admin: &str, metrics: Result<Answer, AskError>) -> Option<Judgement> {
    let own = env!("CARGO_PKG_VERSION");
    let metrics = Exposition::parse(&metrics.ok()?.body);
    let version = metrics.label("theatre_build_info", "version")?;
    if version == own {
        return Some(Judgement::ok(format!(
            "the process at {admin} is version {version}, as this program"
        )));
    }
    Some(Judgement::warning(
        format!("the process at {admin} is version {version}, this program is {own}"),
        "upgrade the one that is older: what this one says holds for its own version",
    ))
}

fn judge(admin: &str, answer: Result<Answer, AskError>) -> Vec<Judgement> {
    let answer = match answer {
        Ok(answer) => answer,
        // That none runs is no fault: checks come before a start, too.
        Err(_) => return vec![Judgement::ok(format!("no process answers at {admin}"))],
    };
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let texts = |key: &str| {
        let all = body[key].as_array().map_or(&[][..], Vec::as_slice);
        all.iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    if body["ready"].as_bool().is_none() {
        return vec![Judgement::warning(
            format!(
                "what answers at {admin} is no process of Theatre: {}",
                answer.status
            ),
            "give one of them another port (`admin` in the configuration)",
        )];
    }
    let mut judged = Vec::new();
    if answer.status == 200 {
        judged.push(Judgement::ok(format!("the process at {admin} is ready")));
    }
    for reason in texts("reasons") {
        judged.push(Judgement::failed(
            format!("the process at {admin} is not ready: {reason}"),
            "\"is unavailable\" may pass by itself, \"refuses\" is for a person to put right",
        ));
    }
    for notice in texts("notices") {
        judged.push(Judgement::warning(
            format!("the process at {admin} says: {notice}"),
            "it works; look into it",
        ));
    }
    judged
}

#[cfg(test)]
mod tests {
    use theatre_operations::checkup::Verdict::{Failed, Ok as Good, Warning};

    use super::*;

    #[test]
    fn a_process_is_judged_by_its_readiness_and_none_is_no_fault() {
        let silent = || Err(AskError::Silent("refused".to_owned()));
        let says = |status, body: &str| {
            Ok(Answer {
                status,
                body: body.to_owned(),
            })
        };
        for (answer, verdicts) in [
            (silent(), &[Good][..]),
            (
                says(200, r#"{"ready":true,"reasons":[],"notices":[]}"#),
                &[Good],
            ),
            (
                says(
                    200,
                    r#"{"ready":true,"reasons":[],"notices":["lake: 2 files"]}"#,
                ),
                &[Good, Warning],
            ),
            (
                says(
                    503,
                    r#"{"ready":false,"reasons":["relay 1: away","lake: away"],"notices":[]}"#,
                ),
                &[Failed, Failed],
            ),
            (says(404, "not here"), &[Warning]),
        ] {
            let judged = judge("127.0.0.1:9464", answer);
            let found: Vec<_> = judged.iter().map(|one| one.verdict).collect();
            assert_eq!(found, verdicts, "{judged:?}");
        }
    }

    #[test]
    fn another_version_is_told_from_ones_own() {
        let of = |version: &str| {
            let body = format!("theatre_build_info{{version=\"{version}\"}} 1\n");
            judge_version("127.0.0.1:9464", Ok(Answer { status: 200, body }))
        };
        let verdict = |version: &str| of(version).map(|one| one.verdict);
        assert_eq!(verdict(env!("CARGO_PKG_VERSION")), Some(Good));
        assert_eq!(verdict("0.0.9"), Some(Warning));
        let silent = judge_version("", Err(AskError::Silent("refused".to_owned())));
        assert!(silent.is_none());
    }
}
