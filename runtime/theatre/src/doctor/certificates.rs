//! Certificates that this process shows to others: when they expire. What is wrong with them else the
//! configuration's check says.

use std::path::Path;

use theatre_actors::time::LogTime;
use theatre_api::certificates_expire;
use theatre_operations::checkup::Judgement;

use super::Deployment;

/// With less time left than this a certificate is to be renewed now, microseconds: two weeks.
const LEFT_MIN: i64 = 14 * 86_400 * 1_000_000;

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let config = &deployment.config;
    let shown = [
        ("[api] tls_cert", &config.api.tls_cert),
        ("[log] certificate_file", &config.log.certificate_file),
    ];
    for (key, path) in shown {
        let Some(path) = path.as_ref().map(|path| path.to_path_buf()) else {
            continue;
        };
        // A file that cannot be read is a fault of the configuration.
        if let Ok(pem) = std::fs::read(&path) {
            note(judge(
                key,
                &path,
                certificates_expire(&pem),
                deployment.clock.now(),
            ));
        }
    }
}

fn judge(key: &str, path: &Path, expires: Option<LogTime>, now: LogTime) -> Judgement {
    let file = path.display();
    let Some(expires) = expires else {
        return Judgement::failed(
            format!("{key}: there is no certificate in {file}, in PEM"),
            "put the certificate there, followed by those between it and the root",
        );
    };
    let left = expires.0 - now.0;
    let days = left.abs() / (86_400 * 1_000_000);
    let advice = "put a new certificate into the file";
    if left <= 0 {
        let seen = format!("{key}: {file} expired {days} days ago");
        Judgement::failed(seen, advice)
    } else if left < LEFT_MIN {
        Judgement::warning(format!("{key}: {file} expires in {days} days"), advice)
    } else {
        Judgement::ok(format!("{key}: {file} is good for {days} days"))
    }
}

#[cfg(test)]
mod tests {
    use theatre_operations::checkup::Verdict;

    use super::*;

    #[test]
    fn a_certificate_is_judged_by_the_time_that_is_left() {
        let day = 86_400 * 1_000_000;
        let now = LogTime(1_767_225_600_000_000);
        for (left, verdict, seen) in [
            (Some(90 * day), Verdict::Ok, "good for 90 days"),
            (Some(13 * day), Verdict::Warning, "expires in 13 days"),
            (Some(-2 * day), Verdict::Failed, "expired 2 days ago"),
            (Some(0), Verdict::Failed, "expired 0 days ago"),
            (None, Verdict::Failed, "no certificate"),
        ] {
            let expires = left.map(|left| LogTime(now.0 + left));
            let judged = judge("[api] tls_cert", Path::new("c.pem"), expires, now);
            assert!(
                judged.verdict == verdict && judged.seen.contains(seen),
                "{left:?}: {judged:?}"
            );
        }
    }
}
