//! A token that is limited to a facility: it sees, changes and sends what concerns robots that stand
//! there now, and nothing else.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use theatre_tests::http::{self, Answer, Events};

use super::alerts::{Case, post, send, until};
use super::api::{Served, token};

const SILENCES: &str = "/api/v1/silences";
/// 2026-01-01.
const BEGIN_US: i64 = 1_767_225_600_000_000;

/// Puts a robot into a facility from a second on.
fn register(served: &Served, secret: &str, robot: &str, facility: &str, second: i64) -> Result<()> {
    let entry = json!({
        "robot_id": robot, "event_time": BEGIN_US + second * 1_000_000, "event_id": format!("{robot}/{second}"),
        "serial_number": robot, "facility_id": facility, "status": "operational",
    });
    let answer = post(
        served,
        secret,
        "/api/v1/datasets/robot_registry/records",
        &entry,
    )?;
    ensure!(answer.status == 202, "{answer:?}");
    Ok(())
}

/// What the items of a list say under a name, each once, in order.
fn all(list: &Value, name: &str) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    let mut found: Vec<String> = items
        .filter_map(|item| item[name].as_str().map(str::to_owned))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The condition of a robot that latches, so that it can be closed.
fn condition(alerts: &Value, robot: &str) -> Result<String> {
    let mut items = alerts["items"].as_array().into_iter().flatten();
    let found = items.find(|item| item["robot_id"] == robot && item["rule_id"] == "hot");
    let id = found.and_then(|item| item["condition_id"].as_str());
    id.map(str::to_owned).context("no condition")
}

struct World {
    served: Served,
    case: Case,
    admin: String,
}

impl World {
    /// r1 and r5 stand in FAC-1, r2 in FAC-2, r3 nowhere; all but r5 have open conditions.
    fn new() -> Result<Self> {
        let case = Case::new()?;
        let served = case.serve()?;
        let admin = token(&case.data(), &["--role", "admin"])?;
        for (robot, facility) in [("r1", "FAC-1"), ("r5", "FAC-1"), ("r2", "FAC-2")] {
            register(&served, &admin, robot, facility, 0)?;
        }
        for robot in ["r1", "r2", "r3"] {
            send(&served, &admin, robot, 0, 80.0)?;
        }
        let world = Self {
            served,
            case,
            admin,
        };
        world.until(&world.admin, "/api/v1/alerts", |seen| {
            all(seen, "robot_id") == ["r1", "r2", "r3"]
        })?;
        Ok(world)
    }

    fn token(&self, flags: &[&str]) -> Result<String> {
        token(&self.case.data(), flags)
    }

    fn until(&self, secret: &str, path: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        until(&self.served, secret, path, is_so)
    }

    fn get(&self, secret: &str, path: &str) -> Result<Answer> {
        self.served.get(path, Some(secret))
    }

    fn post(&self, secret: &str, path: &str, body: &Value) -> Result<Answer> {
        post(&self.served, secret, path, body)
    }

    fn delete(&self, secret: &str, path: &str) -> Result<Answer> {
        http::request(&self.served.address, "DELETE", path, Some(secret), &[], &[])
    }
}

#[test]
fn a_token_of_a_facility_sees_and_changes_the_robots_that_stand_there() -> Result<()> {
    let world = World::new()?;
    let bound = world.token(&["--role", "operator", "--facility", "FAC-1"])?;
    world.until(&bound, "/api/v1/robots", |seen| {
        all(seen, "robot_id") == ["r1", "r5"]
    })?;
    let both = [
        "--role",
        "viewer",
        "--facility",
        "FAC-1",
        "--robots",
        "r1,r2",
    ];
    let both = world.get(&world.token(&both)?, "/api/v1/robots")?.json();
    ensure!(all(&both, "robot_id") == ["r1"], "{both:#}");
    let me = world.get(&bound, "/api/v1/me")?.json();
    let is_told = me["is_limited"] == true && me["facilities"] == json!(["FAC-1"]);
    ensure!(is_told, "{me:#}");

    let alerts = world.get(&world.admin, "/api/v1/alerts")?.json();
    let (mine, theirs) = (condition(&alerts, "r1")?, condition(&alerts, "r2")?);
    for (path, robots) in [
        ("/api/v1/alerts", vec!["r1"]),
        ("/api/v1/alerts?robot=r2", vec![]),
        ("/api/v1/alerts/transitions", vec!["r1"]),
        ("/api/v1/procedures", vec![]),
    ] {
        let seen = world.get(&bound, path)?;
        ensure!(
            seen.status == 200 && all(&seen.json(), "robot_id") == robots,
            "{path}: {seen:?}"
        );
    }
    for (path, status) in [
        ("/api/v1/robots/r1".to_owned(), 200),
        ("/api/v1/robots/r2".to_owned(), 404),
        ("/api/v1/robots/r3".to_owned(), 404),
        ("/api/v1/robots/r1/signals?signal=v".to_owned(), 200),
        ("/api/v1/robots/r2/signals?signal=v".to_owned(), 404),
        (format!("/api/v1/alerts/{mine}"), 200),
        (format!("/api/v1/alerts/{theirs}"), 404),
        ("/api/v1/rules".to_owned(), 200),
        ("/api/v1/pipeline".to_owned(), 403),
    ] {
        let seen = world.get(&bound, &path)?;
        ensure!(seen.status == status, "{path}: {seen:?}");
    }
    for (id, status) in [(&mine, 202), (&theirs, 404)] {
        for what in ["acknowledge", "assign", "close", "unacknowledge"] {
            let path = format!("/api/v1/alerts/{id}/{what}");
            let answer = world.post(&bound, &path, &json!({}))?;
            ensure!(answer.status == status, "{path}: {answer:?}");
        }
    }
    Ok(())
}

#[test]
fn a_token_of_a_facility_sends_records_of_its_robots_only() -> Result<()> {
    let world = World::new()?;
    let bound = world.token(&["--role", "operator", "--facility", "FAC-1"])?;
    world.until(&bound, "/api/v1/robots/r1", |seen| seen["robot_id"] == "r1")?;
    let row = |robot: &str| json!({"robot_id": robot, "event_time": BEGIN_US + 1_000_000, "sequence": 1, "v": 1.0});
    let facility = json!({"facility_id": "FAC-1", "event_time": BEGIN_US, "event_id": "f", "facility_name": "North", "facility_type": "unknown"});
    let moved = json!({"robot_id": "r1", "event_time": BEGIN_US + 9, "event_id": "m", "serial_number": "r1", "facility_id": "FAC-2", "status": "operational"});
    for (dataset, body, status) in [
        ("probe", row("r1"), 202),
        ("probe", row("r2"), 403),
        // It stands nowhere, or is not known at all.
        ("probe", row("r3"), 403),
        ("probe", row("r9"), 403),
        ("probe", json!([row("r1"), row("r2")]), 403),
        ("facility_registry", facility, 403),
        // Where its robot stands is what the token is limited by.
        ("robot_registry", moved, 403),
    ] {
        let path = format!("/api/v1/datasets/{dataset}/records");
        let answer = world.post(&bound, &path, &body)?;
        ensure!(answer.status == status, "{dataset} {body}: {answer:?}");
    }
    Ok(())
}

#[test]
fn a_token_of_a_facility_silences_all_of_it_and_nothing_else() -> Result<()> {
    let world = World::new()?;
    let bound = world.token(&["--role", "operator", "--facility", "FAC-1"])?;
    world.until(&bound, "/api/v1/robots/r1", |seen| seen["robot_id"] == "r1")?;
    let wish = |of: &str, name: &str| json!({of: name, "for": "1h", "reason": "works"});
    let theirs = world.post(&world.admin, SILENCES, &wish("facility", "FAC-2"))?;
    ensure!(theirs.status == 202, "{theirs:?}");
    for (of, name, status) in [
        ("facility", "FAC-1", 202),
        ("facility", "FAC-2", 404),
        ("robot", "r5", 202),
        ("robot", "r2", 404),
        ("rule", "hot", 403),
    ] {
        let answer = world.post(&bound, SILENCES, &wish(of, name))?;
        ensure!(answer.status == status, "{of} {name}: {answer:?}");
    }
    let known = world.until(&world.admin, SILENCES, |seen| {
        seen["items"]
            .as_array()
            .is_some_and(|items| items.len() == 3)
    })?;
    let id = |facility: &str| -> Result<String> {
        let mut items = known["items"].as_array().into_iter().flatten();
        let found = items.find(|item| item["facility_id"] == facility);
        let id = found.and_then(|item| item["silence_id"].as_str());
        Ok(id.context("no silence")?.to_owned())
    };
    let seen = world.get(&bound, SILENCES)?.json();
    ensure!(all(&seen, "facility_id") == ["FAC-1"], "{seen:#}");
    ensure!(all(&seen, "robot_id") == ["r5"], "{seen:#}");
    for (facility, status) in [("FAC-2", 403), ("FAC-1", 202)] {
        let path = format!("{SILENCES}/{}", id(facility)?);
        let answer = world.delete(&bound, &path)?;
        ensure!(answer.status == status, "{facility}: {answer:?}");
    }
    Ok(())
}

#[test]
fn a_revoked_token_loses_its_event_stream_and_a_limited_list_reaches_behind_others() -> Result<()> {
    let world = World::new()?;
    let bound = world.token(&["--role", "viewer", "--facility", "FAC-1"])?;
    world.until(&bound, "/api/v1/robots/r1", |seen| seen["robot_id"] == "r1")?;
    // What others had since does not take the place of its own.
    world.until(&bound, "/api/v1/alerts/transitions?limit=1", |seen| {
        all(seen, "robot_id") == ["r1"]
    })?;
    let mut events = Events::listen(&world.served.address, Some(&bound), Some("-"))?;
    let (_, said) = events.next_event()?;
    ensure!(said["robot_id"] == "r1", "{said:#}");
    let me = world.get(&bound, "/api/v1/me")?.json();
    let id = me["id"].as_str().context("no id")?;
    let revoked = world.delete(&world.admin, &format!("/api/v1/tokens/{id}"))?;
    ensure!(revoked.status < 300, "{revoked:?}");
    while events.next_event().is_ok() {}
    Ok(())
}

#[test]
fn a_robot_that_moves_to_another_facility_is_lost_to_the_one_before() -> Result<()> {
    let world = World::new()?;
    let bound = world.token(&["--role", "viewer", "--facility", "FAC-1"])?;
    let other = world.token(&["--role", "viewer", "--facility", "FAC-2"])?;
    world.until(&bound, "/api/v1/robots", |seen| {
        all(seen, "robot_id") == ["r1", "r5"]
    })?;
    let mut events = Events::listen(&world.served.address, Some(&bound), Some("-"))?;
    for _ in 0..2 {
        let (_, said) = events.next_event()?;
        ensure!(said["robot_id"] == "r1", "{said:#}");
    }
    register(&world.served, &world.admin, "r1", "FAC-2", 5)?;
    world.until(&bound, "/api/v1/robots", |seen| {
        all(seen, "robot_id") == ["r5"]
    })?;
    world.until(&other, "/api/v1/robots", |seen| {
        all(seen, "robot_id") == ["r1", "r2"]
    })?;
    ensure!(world.get(&bound, "/api/v1/robots/r1")?.status == 404);
    // What is said of r1 from now on is not for the listener; what is said of r5 is.
    send(&world.served, &world.admin, "r1", 1, 50.0)?;
    world.until(&other, "/api/v1/alerts/transitions?robot=r1", |seen| {
        all(seen, "transition").contains(&"cleared".to_owned())
    })?;
    send(&world.served, &world.admin, "r5", 1, 80.0)?;
    let (_, said) = events.next_event()?;
    ensure!(said["robot_id"] == "r5", "{said:#}");
    Ok(())
}
