//! The lake on S3: bucket, region, listing, writing if that is wanted, and the clock.

use theatre_operations::checkup::Judgement;
use theatre_s3::Inspection;

use super::{Deployment, clocks, failed};

/// Dates of HTTP are whole seconds.
const DATE_GRAIN: i64 = 1_000_000;

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let lake = &deployment.config.lake;
    let Some(url) = lake.url.as_ref().filter(|_| lake.enabled) else {
        return;
    };
    let (io, clock) = (&deployment.io, &*deployment.clock);
    match theatre_s3::inspect(url, lake, io, clock, deployment.write) {
        Ok(seen) => judge(&seen).into_iter().for_each(note),
        Err(error) => note(failed(&error)),
    }
}

fn judge(seen: &Inspection) -> Vec<Judgement> {
    let mut judged = vec![Judgement::ok(format!(
        "{} is there, region {}",
        seen.place, seen.region
    ))];
    judged.push(match &seen.listed {
        Ok(()) => Judgement::ok("it can be listed"),
        Err(why) => Judgement::failed(
            why.to_string(),
            "allow s3:ListBucket on the bucket to these credentials",
        ),
    });
    judged.push(match &seen.written {
        None => Judgement::ok("whether it can be written was not tried (--write tries it)"),
        Some(Ok(())) => Judgement::ok("an object was written, read and deleted there"),
        Some(Err(why)) => Judgement::failed(
            why.to_string(),
            "allow s3:PutObject, s3:GetObject, s3:DeleteObject and s3:AbortMultipartUpload below the prefix to these credentials",
        ),
    });
    if let Some(date) = seen.date.as_deref().and_then(clocks::of_http) {
        judged.push(clocks::judge(
            "the object store",
            seen.asked,
            date,
            seen.answered,
            DATE_GRAIN,
        ));
    }
    judged
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::Error;
    use theatre_actors::time::LogTime;
    use theatre_operations::checkup::Verdict::{Failed, Ok as Good, Warning};

    use super::*;

    #[test]
    fn a_bucket_is_judged_by_what_can_be_done_with_it() {
        let at = LogTime(784_111_777_300_000);
        let good = Inspection {
            place: "s3://lake/fleet".to_owned(),
            region: "eu-central-1".to_owned(),
            date: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            asked: at,
            answered: at,
            listed: Ok(()),
            written: None,
        };
        let denied = || Err(Error::Refused("lake, listing: S3 answered 403".to_owned()));
        for (seen, verdicts) in [
            (good.clone(), [Good, Good, Good, Good]),
            (
                Inspection {
                    listed: denied(),
                    ..good.clone()
                },
                [Good, Failed, Good, Good],
            ),
            (
                Inspection {
                    written: Some(denied()),
                    ..good.clone()
                },
                [Good, Good, Failed, Good],
            ),
            (
                Inspection {
                    written: Some(Ok(())),
                    date: Some("Sun, 06 Nov 1994 08:50:37 GMT".to_owned()),
                    ..good
                },
                [Good, Good, Good, Warning],
            ),
        ] {
            let judged = judge(&seen);
            let found: Vec<_> = judged.iter().map(|one| one.verdict).collect();
            assert_eq!(found, verdicts, "{judged:?}");
        }
    }
}
