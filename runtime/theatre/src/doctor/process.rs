//! A process that runs, if one answers at its admin port: what readiness says of it.

use theatre_operations::checkup::Judgement;

use super::Deployment;
use crate::admin_client::{Answer, AskError, ask};

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let answer = ask(&deployment.admin, "/readyz");
    judge(&deployment.admin, answer).into_iter().for_each(note);
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
}
