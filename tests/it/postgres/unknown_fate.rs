//! A COMMIT that the server carries out and whose answer is lost: repeating it writes nothing
//! twice.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use theatre_actors::ports::{CommitOutcome, Error};
use theatre_actors::time::LogTime;
use theatre_config::store::StoreConfig;
use theatre_system::blocking::IoRuntime;
use theatre_tests::servers;

use super::{commit, holds_exactly, ids};

/// The statement as the simple query protocol sends it, and the tag with which the server says that
/// it is done; both end with a zero byte.
const COMMIT: &[u8] = b"COMMIT\0";
const COMMITS: u64 = 30;

/// What all connections of a proxy share.
#[derive(Default)]
struct Orders {
    /// The next answer to a COMMIT is to be kept from the client.
    armed: AtomicBool,
    swallowed: AtomicUsize,
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Passes bytes between clients and a server, but for the answers that it swallows: those
/// connections end instead.
fn listen(server: SocketAddr) -> Result<(SocketAddr, Arc<Orders>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, orders) = (listener.local_addr()?, Arc::new(Orders::default()));
    let shared = orders.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let orders = shared.clone();
            thread::spawn(move || drop(relay(&client, server, &orders)));
        }
    });
    Ok((address, orders))
}

fn relay(client: &TcpStream, server: SocketAddr, orders: &Arc<Orders>) -> std::io::Result<()> {
    let upstream = TcpStream::connect(server)?;
    // Counted before the statement is passed on, so that its answer cannot come first.
    let waits = Arc::new(AtomicBool::new(false));
    let (mut from_server, mut to_client) = (upstream.try_clone()?, client.try_clone()?);
    let (answered, counted) = (waits.clone(), orders.clone());
    let answers = thread::spawn(move || -> std::io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_server.read(&mut buffer)?;
            if answered.load(Ordering::Acquire) && holds(&buffer[..length], COMMIT) {
                counted.swallowed.fetch_add(1, Ordering::AcqRel);
                to_client.shutdown(Shutdown::Both)?;
                return from_server.shutdown(Shutdown::Both);
            }
            if length == 0 {
                return to_client.shutdown(Shutdown::Write);
            }
            to_client.write_all(&buffer[..length])?;
        }
    });
    let (mut from_client, mut to_server) = (client.try_clone()?, upstream);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from_client.read(&mut buffer)?;
        if length == 0 {
            to_server.shutdown(Shutdown::Write)?;
            break;
        }
        if holds(&buffer[..length], COMMIT) && orders.armed.swap(false, Ordering::AcqRel) {
            waits.store(true, Ordering::Release);
        }
        to_server.write_all(&buffer[..length])?;
    }
    drop(answers.join());
    Ok(())
}

/// The same URL at another address.
fn through(url: &str, proxy: SocketAddr) -> Result<(String, SocketAddr)> {
    let authority = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .context("a URL has an authority")?;
    let place = authority
        .rsplit('@')
        .next()
        .context("an authority has a place")?;
    let server = std::net::ToSocketAddrs::to_socket_addrs(place)?
        .next()
        .context("the server has an address")?;
    Ok((url.replacen(place, &proxy.to_string(), 1), server))
}

#[test]
fn a_commit_whose_answer_is_lost_is_repeated_and_writes_nothing_twice() -> Result<()> {
    let (config, io) = (StoreConfig::default(), IoRuntime::start()?);
    let url = servers::database()?;
    theatre_postgres::migrate(&url, &config, &io)?;
    let (_, server) = through(&url, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let (proxy, orders) = listen(server)?;
    let store = theatre_postgres::open(&through(&url, proxy)?.0, &config, &io)?;
    let epoch = store.acquire(0)?;
    let (mut written, mut repeated) = (std::collections::BTreeSet::new(), 0);
    for number in 1..=COMMITS {
        let commit = commit(0, epoch, "r", number);
        orders
            .armed
            .store(number.is_multiple_of(3), Ordering::Release);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match store.commit(std::slice::from_ref(&commit), LogTime(1)) {
                Ok(outcomes) => {
                    ensure!(
                        outcomes
                            == [CommitOutcome::Committed {
                                last_output: number * super::FACTS_PER_SAVE as u64,
                                last_dead: 0
                            }],
                        "{outcomes:?}"
                    );
                    break;
                }
                Err(Error::Unavailable { .. }) if Instant::now() < until => repeated += 1,
                Err(other) => return Err(other.into()),
            }
        }
        written.extend(ids(&commit));
    }
    let swallowed = orders.swallowed.load(Ordering::Acquire);
    ensure!(
        swallowed as u64 == COMMITS / 3,
        "{swallowed} answers were swallowed"
    );
    ensure!(
        repeated >= swallowed,
        "{swallowed} answers were swallowed and {repeated} commits repeated"
    );
    holds_exactly(&*theatre_postgres::open(&url, &config, &io)?, 0, &written)
}
