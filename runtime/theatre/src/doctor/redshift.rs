//! The warehouse on Redshift: a statement runs, the schema is this version's, and COPY has a role.

use theatre_operations::checkup::Judgement;
use theatre_pipeline::wiring;
use theatre_redshift::Inspection;

use super::{Deployment, failed};

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let (lake, warehouse) = (&deployment.config.lake, &deployment.config.warehouse);
    let used = lake.enabled && warehouse.enabled;
    let Some(url) = warehouse.url.as_ref().filter(|_| used) else {
        return;
    };
    note(judge_role(&warehouse.iam_role));
    let tables = deployment
        .params()
        .and_then(|params| wiring::tables(params).ok())
        .unwrap_or_default();
    let (io, clock) = (&deployment.io, &*deployment.clock);
    match theatre_redshift::inspect(url, warehouse, &tables, io, clock) {
        Ok(seen) => judge(&seen, &warehouse.schema).into_iter().for_each(note),
        Err(error) => note(failed(&error)),
    }
}

fn judge(seen: &Inspection, schema: &str) -> Vec<Judgement> {
    let took = (seen.answered.0 - seen.asked.0).max(0) as f64 / 1e6;
    let statement = Judgement::ok(format!(
        "{}: a statement runs as user {} and takes {took:.1} s",
        version(&seen.version),
        seen.user
    ));
    let migrated = match &seen.migrated {
        Ok(()) => Judgement::ok(format!(
            "ledger and views of schema {schema} are those of this build"
        )),
        Err(why) => Judgement::failed(
            why.to_string(),
            "run `theatre migrate --warehouse` with this configuration; a later version needs a build as new as it is",
        ),
    };
    let tables = match &seen.tables {
        Ok(()) => Judgement::ok("its tables fit; the first loader makes those that are missing"),
        Err(why) => Judgement::failed(
            why.to_string(),
            "give the dataset another name (`theatre.dataset`), or rename the table that is there",
        ),
    };
    vec![statement, migrated, tables]
}

/// The end of what Redshift says of its version, such as `Redshift 1.0.12103`; what else there is says
/// only from which PostgreSQL it comes.
fn version(said: &str) -> &str {
    said.rsplit(", ").next().unwrap_or(said)
}

fn judge_role(role: &str) -> Judgement {
    let is_arn = role.starts_with("arn:") && role.contains(":iam::") && role.contains(":role/");
    if role == "default" {
        return Judgement::ok("COPY uses the warehouse's default role");
    }
    // A chain of roles is a list of ARNs.
    if is_arn {
        return Judgement::ok(format!("COPY uses the role {role}"));
    }
    Judgement::failed(
        format!("[warehouse] iam_role \"{role}\" is no ARN of a role"),
        "set it to an ARN such as arn:aws:iam::123456789012:role/name, or to \"default\"",
    )
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::Error;
    use theatre_actors::time::LogTime;
    use theatre_operations::checkup::Verdict::{Failed, Ok as Good};

    use super::*;

    #[test]
    fn a_warehouse_is_judged_by_its_schema_and_its_tables() {
        let refused = || Err(Error::Refused("the warehouse lacks migration".to_owned()));
        for (migrated, tables, verdicts) in [
            (Ok(()), Ok(()), [Good, Good, Good]),
            (refused(), Ok(()), [Good, Failed, Good]),
            (Ok(()), refused(), [Good, Good, Failed]),
        ] {
            let seen = Inspection {
                user: "theatre".to_owned(),
                version: "PostgreSQL 8.0.2 on i686, compiled by GCC, Redshift 1.0.12103".to_owned(),
                asked: LogTime(0),
                answered: LogTime(700_000),
                migrated,
                tables,
            };
            let judged = judge(&seen, "public");
            let found: Vec<_> = judged.iter().map(|one| one.verdict).collect();
            assert_eq!(found, verdicts, "{judged:?}");
            assert!(
                judged[0].seen.starts_with("Redshift 1.0.12103: "),
                "{judged:?}"
            );
        }
    }

    #[test]
    fn copy_needs_a_role() {
        for (role, verdict) in [
            ("default", Good),
            ("arn:aws:iam::123456789012:role/copy", Good),
            (
                "arn:aws-cn:iam::123456789012:role/a,arn:aws-cn:iam::123456789012:role/b",
                Good,
            ),
            ("copy", Failed),
            ("", Failed),
            ("arn:aws:s3:::bucket", Failed),
        ] {
            assert_eq!(judge_role(role).verdict, verdict, "{role}");
        }
    }
}
