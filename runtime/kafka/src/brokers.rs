//! Restores the brokers of a client that has lost them all.
//!
//! Brokers that have just come back may answer that there are no brokers, as long as the controller
//! has not registered them again. librdkafka then drops those that it knew and, by a race, also its
//! own return to `bootstrap.servers`: the client would be without brokers for good, and a reader
//! would get no more records and take that for the end of its partition
//! (confluentinc/librdkafka#5301, seen with 2.12.1).
#![allow(unsafe_code)]

use std::ffi::CString;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// By this time after the loss librdkafka has removed the brokers that it dropped: one that is
/// still being removed would be taken for the one that is added.
const RESTORE_AFTER: Duration = Duration::from_secs(1);
/// Shortest time between two restorations in a long outage: librdkafka keeps every added broker for
/// the life of the client.
const RESTORE_INTERVAL: Duration = Duration::from_secs(10);

/// The brokers of one client. It stands in the context of each client that lives longer than one
/// request.
pub(super) struct Brokers {
    /// `bootstrap.servers`; `None` if C cannot take the text, in which case the client itself was
    /// refused.
    servers: Option<CString>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lost: Option<Instant>,
    restored: Option<Instant>,
}

impl Brokers {
    /// Of a client with these settings.
    pub(super) fn of(settings: &ClientConfig) -> Self {
        let servers = settings
            .get("bootstrap.servers")
            .and_then(|servers| CString::new(servers).ok());
        Self {
            servers,
            state: Mutex::default(),
        }
    }

    /// Takes an error that a client reports of itself, and remembers the loss of all brokers.
    pub(super) fn on_error(&self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .lost
                .get_or_insert_with(Instant::now);
        }
    }

    /// Gives a client that has lost its brokers their addresses again. To be called by the thread
    /// that polls the client; it does no harm when the brokers are only down.
    pub(super) fn restore_if_lost<C: ClientContext>(&self, client: &Client<C>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state
            .lost
            .is_some_and(|lost| lost.elapsed() >= RESTORE_AFTER)
            && state
                .restored
                .is_none_or(|restored| restored.elapsed() >= RESTORE_INTERVAL);
        let (true, Some(servers)) = (due, &self.servers) else {
            return;
        };
        *state = State {
            lost: None,
            restored: Some(Instant::now()),
        };
        // SAFETY: the client lives as long as the reference; librdkafka copies the text, which ends
        // with a zero.
        let added = unsafe { c::rd_kafka_brokers_add(client.native_ptr(), servers.as_ptr()) };
        tracing::debug!(
            added,
            "the brokers of a client that had lost them were added again"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rdkafka::consumer::Consumer;

    use super::super::{client, fetch_clients};
    use theatre_config::log::LogConfig;
    use theatre_system::blocking::IoRuntime;

    use super::*;

    const TOPIC: &str = "input";
    /// About one loss in eight is for good; the test ends with the first one that was.
    const LOSSES: usize = 100;

    /// A broker that knows one request, that for metadata (v0), and answers that there is no broker
    /// while it is `fenced`.
    fn broker(fenced: Arc<AtomicBool>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let fenced = fenced.clone();
                std::thread::spawn(move || while answer(&stream, port, &fenced).is_ok() {});
            }
        });
        port
    }

    fn answer(mut stream: &TcpStream, port: u16, fenced: &AtomicBool) -> std::io::Result<()> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request)?;
        let text = |text: &str| {
            [
                (text.len() as u16).to_be_bytes().as_slice(),
                text.as_bytes(),
            ]
            .concat()
        };
        let int = |number: i32| number.to_be_bytes().to_vec();
        let there = !fenced.load(Ordering::Acquire);
        let brokers = if there {
            [int(1), int(1), text("127.0.0.1"), int(i32::from(port))].concat()
        } else {
            int(0)
        };
        // One topic, one partition: error, number, leader, replicas, in-sync ones. 5 says that
        // there is no leader.
        let (error, leader) = if there { (0_u16, 1) } else { (5, -1) };
        let partition = [
            error.to_be_bytes().to_vec(),
            int(0),
            int(leader),
            int(1),
            int(1),
            int(1),
            int(1),
        ]
        .concat();
        let topics = [
            int(1),
            0_u16.to_be_bytes().to_vec(),
            text(TOPIC),
            int(1),
            partition,
        ]
        .concat();
        // The request's correlation id follows its key and version.
        let body = [request[4..8].to_vec(), brokers, topics].concat();
        stream.write_all(&[int(body.len() as i32), body].concat())
    }

    #[test]
    fn a_client_that_lost_all_brokers_finds_them_again() {
        let fenced = Arc::new(AtomicBool::new(false));
        let port = broker(fenced.clone());
        let (mut config, io, ended) = (
            LogConfig::default(),
            IoRuntime::start().unwrap(),
            Arc::new(AtomicBool::new(false)),
        );
        let properties = [
            ("api.version.request", "false"),
            ("broker.version.fallback", "0.9.0.1"),
        ];
        config
            .properties
            .extend(properties.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let base = client::base(&format!("kafka://127.0.0.1:{port}"), &config, &io).unwrap();
        let query_client = fetch_clients::query_client(&base, &config, &ended).unwrap();
        let brokers = || {
            query_client
                .fetch_metadata(Some(TOPIC), Duration::from_secs(1))
                .map_or(0, |answer| answer.brokers().len())
        };
        let wait_for = |wanted: usize, what: &str| {
            let begun = Instant::now();
            while brokers() != wanted {
                assert!(begun.elapsed() < 3 * RESTORE_INTERVAL, "{what}");
            }
        };
        wait_for(1, "the broker is not found");
        for loss in 0..LOSSES {
            fenced.store(true, Ordering::Release);
            wait_for(0, "the broker is not lost");
            fenced.store(false, Ordering::Release);
            let back = Instant::now();
            wait_for(1, &format!("loss {loss} is for good"));
            if back.elapsed() > RESTORE_AFTER {
                break;
            }
        }
        ended.store(true, Ordering::Release);
    }
}
