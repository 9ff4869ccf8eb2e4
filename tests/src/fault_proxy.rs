//! A proxy in front of a real server that passes, refuses or hangs, as it is set.
//!
//! Connections opened before a change follow it as well: while it hangs nothing moves in them, and
//! afterwards they go on where they stood, as over a network that was cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

const LOOK: Duration = Duration::from_millis(10);

/// What the proxy does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes them on.
    Pass,
    /// Answers requests with HTTP status 503 and closes.
    Refuse,
    /// Accepts connections, and nothing more happens.
    Hang,
}

#[derive(Default)]
struct Shared {
    mode: AtomicU8,
    refused: AtomicU64,
    hung: AtomicU64,
    closed: AtomicBool,
}

impl Shared {
    fn mode(&self) -> u8 {
        self.mode.load(Ordering::Acquire)
    }

    /// Waits while the proxy hangs; false when it refuses or is closed.
    fn passes(&self) -> bool {
        if self.mode() == Mode::Hang as u8 {
            self.hung.fetch_add(1, Ordering::Relaxed);
        }
        while self.mode() == Mode::Hang as u8 && !self.is_closed() {
            std::thread::sleep(LOOK);
        }
        self.mode() == Mode::Pass as u8 && !self.is_closed()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// A proxy; it ends when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl FaultProxy {
    /// A proxy in front of `server`, passing.
    ///
    /// # Errors
    /// When nothing can listen.
    pub fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_closed() {
                    return;
                }
                let shared = accepting.clone();
                std::thread::spawn(move || relay(client, server, &shared));
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does, in open connections too.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::Release);
    }

    /// Requests answered with 503 so far.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Times that bytes found it hanging so far.
    pub fn hung(&self) -> u64 {
        self.shared.hung.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Wakes the listener, which looks and ends.
        drop(TcpStream::connect(self.address));
    }
}

/// One connection, in both directions, until either side or the mode ends it.
fn relay(client: TcpStream, server: SocketAddr, shared: &Arc<Shared>) {
    let Ok(upstream) = TcpStream::connect(server) else {
        return;
    };
    let (Ok(client_out), Ok(upstream_in)) = (client.try_clone(), upstream.try_clone()) else {
        return;
    };
    let back = shared.clone();
    let answers = std::thread::spawn(move || pump(upstream_in, client_out, &back));
    let ended = pump(client, upstream, shared);
    // The client's side ended; the answers end with the server's.
    if let Some((client, upstream)) = ended {
        let _ = upstream.shutdown(Shutdown::Both);
        let _ = answers.join();
        refuse(client, shared);
    }
}

/// Moves bytes one way; gives the streams back when bytes came that the mode does not let pass.
fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared) -> Option<(TcpStream, TcpStream)> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(length) if length > 0 => {
                if !shared.passes() {
                    return Some((from, to));
                }
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    // While it refuses, the client's connection still takes the 503.
    if shared.mode() != Mode::Refuse as u8 {
        let _ = to.shutdown(Shutdown::Write);
    }
    None
}

fn refuse(mut client: TcpStream, shared: &Shared) {
    if shared.is_closed() {
        return;
    }
    shared.refused.fetch_add(1, Ordering::Relaxed);
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    let head = "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n";
    let _ = write!(client, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let _ = client.shutdown(Shutdown::Write);
    // Closing with bytes unread would reset the connection, and the answer would be lost with it.
    let _ = client.set_read_timeout(Some(Duration::from_secs(2)));
    let mut rest = vec![0; 64 << 10];
    while client.read(&mut rest).is_ok_and(|length| length > 0) {}
}
