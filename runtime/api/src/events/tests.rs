//! A listener that is cut off between two reads of the store.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use theatre_actors::outputs::{OutputEvent, alert};
use theatre_actors::ports::{CheckpointStore, PartitionCommit, ProcessorSave, Role};
use theatre_actors::position::Positions;
use theatre_actors::time::{Clock, LogTime};
use theatre_embedded::access::EmbeddedAccess;
use theatre_schemas::records::Alert;
use theatre_system::clock::SystemClock;

use super::position::Position;
use crate::deployed::parts;
use crate::{Pace, Settings, start};

const PATIENCE: Duration = Duration::from_secs(30);
/// Robots of the alerts, by turns.
const ROBOTS: u64 = 10;
const ALERTS: u64 = 200;

/// The machine's clock. It holds up the first read of the store for a listener, at its end: says so
/// and waits.
struct Holding(Mutex<Option<(Sender<()>, Receiver<()>)>>);

impl Clock for Holding {
    fn now(&self) -> LogTime {
        // The store is read for listeners on such threads; those of the server have other names.
        let thread = std::thread::current();
        let reads = thread.name().is_some_and(|name| name.starts_with("tokio-"));
        let held = match reads {
            true => self.0.lock().unwrap().take(),
            false => None,
        };
        if let Some((reached, go_on)) = held {
            reached.send(()).unwrap();
            go_on.recv().unwrap();
        }
        SystemClock.now()
    }
}

fn commit_alerts(store: &dyn CheckpointStore) {
    let output = |number: u64| -> OutputEvent {
        let alert = Alert {
            alert_id: format!("a{number}"),
            condition_id: format!("c{number}"),
            ..Alert::default()
        };
        alert::output(&format!("r{}", number % ROBOTS), &alert)
    };
    let save = ProcessorSave {
        processor: "r".to_owned(),
        save_number: 1,
        positions: Positions::zero(),
        state: Vec::new(),
        outputs: (1..=ALERTS).map(output).collect(),
        dead: Vec::new(),
    };
    let commit = PartitionCommit {
        partition: 0,
        epoch: store.acquire(0).unwrap(),
        processors: vec![save],
        floor: Positions::zero(),
    };
    store.commit(&[commit], LogTime(1)).unwrap();
}

#[test]
fn a_listener_behind_that_is_cut_off_between_two_reads_gets_what_was_read_and_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let access = Arc::new(EmbeddedAccess::open(&folder.path().join("access")).unwrap());
    let ((reached, is_reached), (go_on, may_go_on)) = (channel(), channel());
    let clock = Arc::new(Holding(Mutex::new(Some((reached, may_go_on)))));
    let parts = parts(folder.path(), access, clock, 1);
    // Before the server begins: its feed does not have them.
    commit_alerts(&*parts.store);
    let settings = Settings {
        anonymous: Some(Role::Viewer),
        hosts: Vec::new(),
        body_bytes: 1 << 20,
        pace: Pace::default(),
        ingests: 1,
        records_per_second: 0,
        listeners: 1,
        tls: None,
        oidc: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = start(listener, parts, settings).unwrap();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // One robot of many: what passes the filter of one read is too little for a piece.
    let asked = "GET /api/v1/events?kinds=alert&robot=r0&last_event_id=- HTTP/1.1\r\n\
        host: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(asked.as_bytes()).unwrap();
    is_reached.recv_timeout(PATIENCE).unwrap();
    let stops = std::thread::spawn(move || drop(server));
    // It says that it stops before it waits for anyone.
    std::thread::sleep(Duration::from_millis(300));
    go_on.send(()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    stops.join().unwrap();
    let (before, last) = text.split_once("event: closed\ndata: ").expect(&text);
    let said: Value = serde_json::from_str(last.lines().next().unwrap_or_default()).unwrap();
    assert_eq!(said["reason"], "stopping", "{text}");
    let id = said["last_event_id"].as_str().unwrap();
    assert!(before.ends_with(&format!("id: {id}\n")), "{text}");
    let upto = Position::parse(id).unwrap().get(0).sequence;
    let sent = before.matches("event: alert\n").count() as u64;
    assert!(sent > 0, "nothing was read before it stopped: {text}");
    assert_eq!(sent, upto / ROBOTS, "each one up to the id: {text}");
}
