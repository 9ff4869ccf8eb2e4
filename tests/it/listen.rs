//! Listeners of events of the real program: what they hear, and what becomes of those that do not
//! read.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::store::EmbeddedStore;
use theatre_queries::{RobotSaves, SavedRobot, robots_again};
use theatre_tests::http::{self, Events, ask_for_events};

use super::alerts::{Case, post, send};
use super::api::{Served, token};

/// 2026-01-01.
const BEGIN_US: i64 = 1_767_225_600_000_000;
/// How long a listener may need for a piece, and a while longer.
const TOO_SLOW: Duration = Duration::from_secs(12);
/// How long the machine may take for what is sent.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a socket may take nothing.
const STUCK: Duration = Duration::from_secs(30);

/// So many robots, of which each becomes too hot once.
fn become_hot(served: &Served, secret: &str, robots: std::ops::Range<usize>) -> Result<()> {
    let row = |robot: usize| json!({"robot_id": format!("r{robot}"), "event_time": BEGIN_US, "sequence": 1, "v": 65.0});
    let rows = Value::Array(robots.map(row).collect());
    let answer = post(served, secret, "/api/v1/datasets/probe/records", &rows)?;
    ensure!(answer.status == 202, "{answer:?}");
    Ok(())
}

/// How often each robot's alert was heard.
type Heard = BTreeMap<String, usize>;

fn note(heard: &mut Heard, kind: &str, said: &Value) {
    if kind == "alert" {
        let robot = said["robot_id"].as_str().unwrap_or("-");
        *heard.entry(robot.to_owned()).or_default() += 1;
    }
}

/// Reads until alerts of so many robots were heard.
fn hear(events: &mut Events, heard: &mut Heard, robots: usize) -> Result<()> {
    while heard.len() < robots {
        let (kind, said) = events.next_event()?;
        note(heard, &kind, &said);
    }
    Ok(())
}

fn once_each(heard: &Heard, robots: usize) -> Result<()> {
    let more: Vec<_> = heard.iter().filter(|(_, times)| **times != 1).collect();
    ensure!(heard.len() == robots, "{} of {robots}", heard.len());
    ensure!(more.is_empty(), "more than once: {more:?}");
    Ok(())
}

/// What a process holds in memory, MiB.
fn resident_mib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.context("no VmRSS")?.trim().trim_end_matches("kB");
    Ok(kib.trim().parse::<u64>()? / 1024)
}

/// The events of a text: kind, what it says, and its id.
fn parsed(text: &str) -> Vec<(String, Value, String)> {
    let mut events = Vec::new();
    for event in text.split("\n\n") {
        let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        if let (Some(kind), Some(data)) = (line("event: "), line("data: ")) {
            let data = serde_json::from_str(data).unwrap_or_default();
            let id = line("id: ").unwrap_or_default();
            events.push((kind.to_owned(), data, id.to_owned()));
        }
    }
    events
}

#[test]
fn a_listener_that_does_not_read_is_sent_the_reason_and_goes_on_without_a_hole() -> Result<()> {
    const ROBOTS: usize = 3000;
    let case = Case::new()?;
    let served = case.serve()?;
    let secret = token(&case.data(), &["--role", "operator"])?;
    let (address, secret) = (served.address.as_str(), secret.as_str());
    let mut slow = ask_for_events("", address, Some(secret), Some("-"))?;
    let mut quick = Events::listen_to("", address, Some(secret), Some("-"))?;
    let (mut heard, mut text) = (Heard::new(), String::new());
    let many = AtomicUsize::new(0);
    std::thread::scope(|threads| -> Result<()> {
        // The other one is not held up: it receives all while the first one reads nothing.
        let listening = threads.spawn(|| -> Result<()> {
            while heard.len() < ROBOTS {
                let (kind, said) = quick.next_event()?;
                note(&mut heard, &kind, &said);
                many.store(heard.len(), Ordering::Release);
            }
            Ok(())
        });
        for part in 0..10 {
            become_hot(&served, secret, part * 300..(part + 1) * 300)?;
        }
        let begun = Instant::now();
        while many.load(Ordering::Acquire) < ROBOTS / 2 {
            ensure!(begun.elapsed() < PATIENCE, "{many:?} alerts were received");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(TOO_SLOW);
        slow.read_to_string(&mut text)?;
        let ended = listening.join();
        ended.map_err(|_| anyhow::anyhow!("the listener panicked"))?
    })?;
    once_each(&heard, ROBOTS)?;
    let events = parsed(&text);
    let (kind, said, id) = events.last().context("nothing was sent")?;
    ensure!(kind == "closed" && said["reason"] == "too_slow", "{said}");
    ensure!(said["last_event_id"] == id.as_str(), "{said} {id}");
    ensure!(text.len() < 1 << 20, "{} bytes waited for it", text.len());
    // It says how to go on.
    let mut late = Heard::new();
    for (kind, said, _) in &events {
        note(&mut late, kind, said);
    }
    ensure!(late.len() < ROBOTS, "it heard all of it");
    let mut back = Events::listen_to("", address, Some(secret), Some(id))?;
    hear(&mut back, &mut late, ROBOTS)?;
    once_each(&late, ROBOTS)
}

/// Whether one may listen now.
fn may_listen(address: &str, secret: &str) -> Result<bool> {
    let stream = ask_for_events("", address, Some(secret), None)?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    ensure!(
        status.contains(" 200 ") || status.contains(" 429 "),
        "{status}"
    );
    Ok(status.contains(" 200 "))
}

#[test]
fn a_connection_that_never_reads_is_ended_and_leaves_its_place_to_another() -> Result<()> {
    let case = Case::new()?;
    let served = case.serve_with(&[("THEATRE__API__LISTENERS", "1")])?;
    let secret = token(&case.data(), &["--role", "operator"])?;
    let (address, secret) = (served.address.as_str(), secret.as_str());
    let stuck = ask_for_events("", address, Some(secret), None)?;
    std::thread::sleep(Duration::from_secs(1));
    for part in 0..10 {
        become_hot(&served, secret, part * 300..(part + 1) * 300)?;
    }
    ensure!(!may_listen(address, secret)?, "there is one place");
    let begun = Instant::now();
    while !may_listen(address, secret)? {
        // The system asks ever more rarely whether there is room.
        ensure!(
            begun.elapsed() < STUCK * 4,
            "the place is held for {:?}",
            begun.elapsed()
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("the place was free after {:?}", begun.elapsed());
    ensure!(begun.elapsed() > STUCK / 3, "it was cut off too soon");
    drop(stuck);
    Ok(())
}

/// Connections that have begun to listen.
fn crowd(address: &str, secret: &str, listeners: usize) -> Result<Vec<TcpStream>> {
    let ask = |_| ask_for_events("?kinds=alert", address, Some(secret), None);
    let mut streams = (0..listeners).map(ask).collect::<Result<Vec<_>>>()?;
    for stream in &mut streams {
        let mut begun = String::new();
        let mut bytes = [0; 1024];
        while !begun.contains(": theatre\n\n") {
            let read = stream.read(&mut bytes)?;
            ensure!(read > 0, "it is refused: {begun}");
            begun += &String::from_utf8_lossy(&bytes[..read]);
        }
    }
    Ok(streams)
}

#[test]
fn each_of_many_listeners_receives_each_event_once_and_memory_does_not_grow_with_those_that_do_not_read()
-> Result<()> {
    const LISTENERS: usize = 200;
    const STUCK: usize = 50;
    const ROBOTS: usize = 2000;
    const MIB: u64 = 96;
    let case = Case::new()?;
    let served = case.serve()?;
    let secret = token(&case.data(), &["--role", "operator"])?;
    let (address, secret) = (served.address.as_str(), secret.as_str());
    // What the first records cost has nothing to do with listeners.
    become_hot(&served, secret, 0..ROBOTS)?;
    let mut first = Events::listen_to("?kinds=alert", address, Some(secret), Some("-"))?;
    hear(&mut first, &mut Heard::new(), ROBOTS)?;
    let before = resident_mib(served.id())?;
    let stuck = crowd(address, secret, STUCK)?;
    let listening = crowd(address, secret, LISTENERS)?;
    let heard = std::thread::scope(|threads| -> Result<Vec<Heard>> {
        let listen = |stream: TcpStream| {
            threads.spawn(move || -> Result<Heard> {
                let (mut heard, mut kind) = (Heard::new(), String::new());
                for line in BufReader::new(stream).lines() {
                    let line = line?;
                    if let Some(event) = line.strip_prefix("event: ") {
                        event.clone_into(&mut kind);
                    } else if let Some(data) = line.strip_prefix("data: ") {
                        note(&mut heard, &kind, &serde_json::from_str(data)?);
                    }
                    if heard.len() == ROBOTS {
                        break;
                    }
                }
                Ok(heard)
            })
        };
        let threads: Vec<_> = listening.into_iter().map(listen).collect();
        for part in 0..10 {
            let begin = ROBOTS + part * ROBOTS / 10;
            become_hot(&served, secret, begin..begin + ROBOTS / 10)?;
        }
        let heard = threads.into_iter().map(|thread| {
            let heard = thread.join();
            heard.map_err(|_| anyhow::anyhow!("a listener panicked"))?
        });
        heard.collect()
    })?;
    for heard in &heard {
        once_each(heard, ROBOTS)?;
    }
    let after = resident_mib(served.id())?;
    println!("{before} MiB before, {after} MiB after");
    ensure!(after < before + MIB, "{before} MiB before, {after} after");
    drop(stuck);
    Ok(())
}

fn register(served: &Served, secret: &str, robot: &str, facility: &str) -> Result<()> {
    let entry = json!({
        "robot_id": robot, "event_time": BEGIN_US, "event_id": format!("{robot}/0"),
        "serial_number": robot, "facility_id": facility, "status": "operational",
    });
    let path = "/api/v1/datasets/robot_registry/records";
    let answer = post(served, secret, path, &entry)?;
    ensure!(answer.status == 202, "{answer:?}");
    Ok(())
}

/// Reads until an event is as wanted; all of them, with their ids.
fn until(
    events: &mut Events,
    is_wanted: impl Fn(&str, &Value) -> bool,
) -> Result<Vec<(String, Value)>> {
    let mut seen = Vec::new();
    loop {
        let (kind, said) = events
            .next_event()
            .with_context(|| format!("heard so far: {seen:?}"))?;
        let is_last = is_wanted(&kind, &said);
        seen.push((kind, said));
        if is_last {
            return Ok(seen);
        }
    }
}

#[test]
fn steps_and_how_robots_stand_are_heard_too_each_filter_says_of_what() -> Result<()> {
    let case = Case::new()?;
    let served = case.serve()?;
    let secret = token(&case.data(), &["--role", "admin"])?;
    let (address, secret) = (served.address.as_str(), secret.as_str());
    let listen =
        |query: &str, after: Option<&str>| Events::listen_to(query, address, Some(secret), after);
    let mut all = listen("", Some("-"))?;
    let mut of_facility = listen("?facility=FAC-1&kinds=robot", Some("-"))?;
    let mut of_robot = listen("?robot=r2", Some("-"))?;
    let mut grave = listen("?priority=high", Some("-"))?;
    register(&served, secret, "r1", "FAC-1")?;
    register(&served, secret, "r2", "FAC-2")?;
    let is = |wanted: &'static str| {
        move |kind: &str, said: &Value| {
            kind == "robot" && said["robot_id"] == wanted && said["status"] == "operational"
        }
    };
    until(&mut of_robot, is("r2"))?;
    until(&mut of_facility, is("r1"))?;
    let step = |step: &str, index: i64| {
        json!({"robot_id": "r1", "event_time": BEGIN_US + index * 1_000_000, "event_id": format!("e{index}"), "sequence": index,
            "procedure_id": "case-1", "step": step, "phase": null, "procedure_type": "hernia_repair"})
    };
    let path = "/api/v1/datasets/procedure_events/records";
    let answer = post(&served, secret, path, &json!([step("started", 1)]))?;
    ensure!(answer.status == 202, "{answer:?}");
    let seen = until(&mut all, |kind, said| {
        kind == "robot" && said["procedure_id"] == "case-1"
    })?;
    ensure!(
        seen.iter().any(|(kind, said)| kind == "procedure"
            && said["procedure_id"] == "case-1"
            && said["status"] == "under_way"),
        "{seen:?}"
    );
    send(&served, secret, "r1", 1, 65.0)?;
    send(&served, secret, "r2", 1, 75.0)?;
    let stands = |robot: &'static str, priority: Option<&'static str>| {
        move |kind: &str, said: &Value| {
            kind == "robot" && said["robot_id"] == robot && said["priority"] == json!(priority)
        }
    };
    let seen = until(&mut of_facility, stands("r1", Some("medium")))?;
    let last = &seen.last().context("nothing")?.1;
    ensure!(
        last["open"] == json!({"high": 0, "medium": 1, "low": 0})
            && last["facility_id"] == "FAC-1"
            && last["is_silent"] == false,
        "{last}"
    );
    ensure!(
        seen.iter()
            .all(|(kind, said)| kind == "robot" && said["robot_id"] == "r1"),
        "{seen:?}"
    );
    let seen = until(&mut of_robot, stands("r2", Some("high")))?;
    ensure!(
        seen.iter().all(|(_, said)| said["robot_id"] == "r2"),
        "{seen:?}"
    );
    let seen = until(&mut grave, stands("r2", Some("high")))?;
    ensure!(
        seen.iter().all(|(_, said)| said["priority"] == "high"),
        "{seen:?}"
    );
    for wrong in ["?kinds=window", "?kinds=", "?priority=grave", "?site=FAC-1"] {
        let path = format!("/api/v1/events{wrong}");
        let answer = http::request(address, "GET", &path, Some(secret), &[], &[])?;
        ensure!(answer.status == 400, "{wrong}: {answer:?}");
    }
    Ok(())
}

/// All parts of all outputs, received by one that takes three events and comes back.
#[test]
fn one_that_comes_back_again_and_again_receives_each_part_of_each_output_once() -> Result<()> {
    const ROBOTS: usize = 12;
    let case = Case::new()?;
    let served = case.serve()?;
    let secret = token(&case.data(), &["--role", "operator"])?;
    let (address, secret) = (served.address.as_str(), secret.as_str());
    for robot in 0..ROBOTS {
        send(&served, secret, &format!("r{robot}"), 1, 75.0)?;
    }
    // All is committed once the last robot is open.
    let path = "/api/v1/alerts?limit=500";
    super::alerts::until(&served, secret, path, |seen| {
        seen["items"]
            .as_array()
            .is_some_and(|items| items.len() == 2 * ROBOTS)
    })?;
    let (mut alerts, mut robots): (Heard, Heard) = (Heard::new(), Heard::new());
    let mut last = "-".to_owned();
    let mut visits = 0;
    while alerts.len() < 2 * ROBOTS || robots.len() < ROBOTS {
        visits += 1;
        ensure!(visits < 100, "{alerts:?} {robots:?}");
        let mut events = Events::listen_to("", address, Some(secret), Some(&last))?;
        for _ in 0..3 {
            let (kind, said) = events.next_event()?;
            let name = |field: &str| said[field].as_str().unwrap_or("-").to_owned();
            match kind.as_str() {
                "alert" => *alerts.entry(name("alert_id")).or_default() += 1,
                _ => *robots.entry(name("robot_id")).or_default() += 1,
            }
            if alerts.len() == 2 * ROBOTS && robots.len() == ROBOTS {
                break;
            }
        }
        last = events.last;
    }
    ensure!(visits > 5, "{visits}");
    once_each(&alerts, 2 * ROBOTS)?;
    ensure!(robots.len() == ROBOTS, "{robots:?}");
    Ok(())
}

/// Of the robots that are kept for callers only those are read again that were saved since: what they
/// are then is what all of them are that are read anew.
#[test]
fn robots_that_are_read_again_are_as_those_that_are_read_anew() -> Result<()> {
    let case = Case::new()?;
    let served = case.serve()?;
    let secret = token(&case.data(), &["--role", "operator"])?;
    let saved = |robot: &str, sequence: i64| -> Result<()> {
        send(&served, &secret, robot, sequence, 75.0 + sequence as f64)?;
        let path = format!("/api/v1/robots/{robot}");
        super::alerts::until(&served, &secret, &path, |seen| {
            seen["records_applied"].as_i64() == Some(sequence)
        })?;
        Ok(())
    };
    for robot in ["a", "b", "c", "d", "e"] {
        saved(robot, 1)?;
    }
    let store = EmbeddedStore::open_read_only(&DataDir::new(case.data()).store())?;
    let mut saves = RobotSaves::default();
    let parts = |saved: Vec<SavedRobot>| -> (Vec<_>, Vec<_>) {
        let part = |robot: SavedRobot| (robot.view, (robot.partition, robot.saved_at));
        saved.into_iter().map(part).unzip()
    };
    let (mut robots, _) = parts(robots_again(&store, &[], &mut saves)?);
    // None, one, one that is new, and most of them.
    let steps: [&[(&str, i64)]; 4] = [
        &[],
        &[("c", 2)],
        &[("bb", 1)],
        &[("a", 2), ("b", 2), ("d", 2), ("e", 2)],
    ];
    for step in steps {
        for (robot, sequence) in step {
            saved(robot, *sequence)?;
        }
        let (again, saved_again) = parts(robots_again(&store, &robots, &mut saves)?);
        let (anew, saved_anew) = parts(theatre_queries::saved_robots(&store)?);
        ensure!(saved_again == saved_anew, "{step:?}");
        robots = again;
        let (again, anew) = (json!(robots), json!(anew));
        ensure!(again == anew, "{step:?}: {again:#}\n{anew:#}");
    }
    ensure!(robots.len() == 6);
    Ok(())
}
