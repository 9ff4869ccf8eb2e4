//! PostgreSQL: version, tables, rights, connections, durability, and its clock.

use theatre_operations::checkup::Judgement;
use theatre_postgres::Inspection;

use super::{Deployment, clocks, failed, names};

/// A round trip that takes longer makes every commit, hence every alert, slow; microseconds.
const ROUND_TRIP_MAX: i64 = 50_000;

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let store = &deployment.config.store;
    let Some(url) = &store.url else { return };
    match theatre_postgres::inspect(url, store, &deployment.io, &*deployment.clock) {
        Ok(seen) => judge(&seen, &store.schema, store.pool)
            .into_iter()
            .for_each(note),
        Err(error) => note(failed(&error)),
    }
}

fn judge(seen: &Inspection, schema: &str, pool: u32) -> Vec<Judgement> {
    let mut judged = vec![judge_round_trip(seen)];
    if let Err(why) = &seen.tables {
        judged.push(Judgement::failed(
            why.to_string(),
            "run `theatre migrate` with this configuration; tables of a later version need a build as new as they are",
        ));
    } else if seen.missing_rights.is_empty() {
        judged.push(Judgement::ok(format!(
            "the tables of schema {schema} are those of this build, and may be read and written"
        )));
    }
    if !seen.missing_rights.is_empty() {
        judged.push(Judgement::failed(
            format!("the user lacks {}", names(&seen.missing_rights)),
            format!("as their owner: GRANT USAGE ON SCHEMA {schema} TO user; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO user"),
        ));
    }
    if seen.is_read_only {
        judged.push(Judgement::failed(
            "nothing can be written there: it is a standby, or set to read only",
            "name the primary in [store] url, such as the writer's endpoint of a cluster",
        ));
    }
    judged.push(judge_connections(
        seen.connections,
        seen.connections_max,
        i64::from(pool) + 3,
    ));
    if !seen.undurable.is_empty() {
        judged.push(Judgement::warning(
            format!("commits may be lost with the server's machine: {}", names(&seen.undurable)),
            "switch it on in postgresql.conf: alerts are published once a commit is said to be durable",
        ));
    }
    judged.push(clocks::judge(
        "PostgreSQL",
        seen.asked,
        seen.server_time,
        seen.answered,
        0,
    ));
    judged
}

fn judge_round_trip(seen: &Inspection) -> Judgement {
    let said = format!(
        "PostgreSQL {} at {}, a round trip takes {:.2} ms",
        seen.version,
        seen.place,
        seen.round_trip as f64 / 1e3
    );
    if seen.round_trip <= ROUND_TRIP_MAX {
        return Judgement::ok(said);
    }
    Judgement::warning(
        said,
        "a commit takes several such round trips: run Theatre near its database, and see how busy that is",
    )
}

fn judge_connections(used: i64, most: i64, needed: i64) -> Judgement {
    let seen = format!("{used} of {most} connections are open; a process takes up to {needed}");
    let advice = "raise max_connections, lower [store] pool, or put a pooler (in session mode) before the server";
    match most - used {
        left if left <= 0 => Judgement::failed(seen, advice),
        left if left < needed => Judgement::warning(seen, advice),
        _ => Judgement::ok(seen),
    }
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::Error;
    use theatre_actors::time::LogTime;
    use theatre_operations::checkup::Verdict::{self, Failed, Ok as Good, Warning};

    use super::*;

    fn good() -> Inspection {
        Inspection {
            place: "h:5432/d".to_owned(),
            version: "17.2".to_owned(),
            tables: Ok(()),
            missing_rights: Vec::new(),
            round_trip: 400,
            connections_max: 97,
            connections: 10,
            undurable: Vec::new(),
            is_read_only: false,
            asked: LogTime(10_000_000),
            server_time: LogTime(10_000_100),
            answered: LogTime(10_000_400),
        }
    }

    /// What is not good of a server, and what of it is said.
    fn faults(seen: &Inspection) -> Vec<(Verdict, String)> {
        let judged = judge(seen, "theatre", 8).into_iter();
        judged
            .filter(|one| one.verdict != Good)
            .map(|one| (one.verdict, one.seen))
            .collect()
    }

    #[test]
    fn each_fault_of_a_server_is_judged() {
        assert_eq!(faults(&good()), []);
        let behind = Error::Refused("is at version 1, this build needs 3".to_owned());
        for (seen, verdict, said) in [
            (
                Inspection {
                    tables: Err(behind),
                    ..good()
                },
                Failed,
                "is at version 1",
            ),
            (
                Inspection {
                    missing_rights: vec!["DELETE on fact".to_owned()],
                    ..good()
                },
                Failed,
                "DELETE on fact",
            ),
            (
                Inspection {
                    is_read_only: true,
                    ..good()
                },
                Failed,
                "nothing can be written",
            ),
            (
                Inspection {
                    connections: 97,
                    ..good()
                },
                Failed,
                "97 of 97",
            ),
            (
                Inspection {
                    connections: 88,
                    ..good()
                },
                Warning,
                "88 of 97",
            ),
            (
                Inspection {
                    undurable: vec!["fsync = off".to_owned()],
                    ..good()
                },
                Warning,
                "fsync = off",
            ),
            (
                Inspection {
                    server_time: LogTime(20_000_000),
                    ..good()
                },
                Warning,
                "10.0 s ahead",
            ),
            (
                Inspection {
                    round_trip: 60_000,
                    ..good()
                },
                Warning,
                "takes 60.00 ms",
            ),
        ] {
            let found = faults(&seen);
            assert!(
                matches!(&found[..], [(judged, text)] if *judged == verdict && text.contains(said)),
                "{said}: {found:?}"
            );
        }
    }
}
