//! A receiver of HTTP requests on this machine: keeps what it is sent, answers as a test says, and
//! can be ended and started again at the same address.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method and path.
    pub line: String,
    /// Headers by name, in lower case.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub body: String,
}

impl Request {
    /// A header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What it has, and how it answers.
struct State {
    requests: Mutex<Vec<Request>>,
    answer: Box<dyn Fn(&Request) -> u16 + Send + Sync>,
    /// It waits so long before it answers.
    pause: Duration,
    is_over: AtomicBool,
}

impl State {
    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A receiver that runs until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// One that answers every request with a status.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub fn answering(status: u16) -> Result<Self> {
        Self::start("127.0.0.1:0", Duration::ZERO, move |_| status)
    }

    /// One at an address, which answers as `answer` says, `pause` after the request.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start(
        address: &str,
        pause: Duration,
        answer: impl Fn(&Request) -> u16 + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            requests: Mutex::default(),
            answer: Box::new(answer),
            pause,
            is_over: AtomicBool::new(false),
        });
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::Acquire) {
                    return;
                }
                let state = shared.clone();
                std::thread::spawn(move || drop(serve(&connection, &state)));
            }
        });
        Ok(Self {
            address,
            state,
            thread: Some(thread),
        })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far that were answered, or are about to be.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests().clone()
    }

    /// Ends it; says which requests it has answered. It answers no other.
    pub fn end(self) -> Vec<Request> {
        self.state.is_over.store(true, Ordering::Release);
        self.requests()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Release);
        // Wakes the thread that listens.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Answers the requests of a connection until it is closed, or the receiver has ended.
fn serve(connection: &TcpStream, state: &State) -> Result<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").context("no length")?;
        let mut body = vec![0; length.parse()?];
        reader.read_exact(&mut body)?;
        let request = Request {
            line: line.trim().to_owned(),
            headers,
            body: String::from_utf8(body)?,
        };
        std::thread::sleep(state.pause);
        let status = (state.answer)(&request);
        {
            let mut requests = state.requests();
            ensure!(!state.is_over.load(Ordering::Acquire), "it has ended");
            requests.push(request);
        }
        let answer = format!(
            "HTTP/1.1 {status} As asked\r\ncontent-length: 2\r\nlocation: http://127.0.0.1:1/\r\n\r\nok"
        );
        let mut writer = connection;
        writer.write_all(answer.as_bytes())?;
    }
}
