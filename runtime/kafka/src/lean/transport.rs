//! A connection's bytes: TCP, and TLS over it where the configuration wants it. Every call has a
//! deadline, and ends early when the log is closed.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::settings::{Family, Settings};

/// How often a call that waits looks whether it should go on.
const LOOK: Duration = Duration::from_millis(500);

/// Why a connection ended, or was not made.
#[derive(Debug, Clone)]
pub(super) struct ConnectionFailure {
    why: String,
    /// The broker does not let this client in, or cannot serve it: the next attempt may wait
    /// longer.
    is_refusal: bool,
}

/// Result of a call to a connection.
pub(super) type Result<T> = std::result::Result<T, ConnectionFailure>;

impl ConnectionFailure {
    /// The other side does not speak as it should.
    pub(super) fn protocol(why: String) -> Self {
        Self {
            why,
            is_refusal: false,
        }
    }

    /// The other side refuses this client, or serves another version than it needs.
    pub(super) fn refusal(why: String) -> Self {
        Self {
            why,
            is_refusal: true,
        }
    }

    /// Whether the next attempt will hardly succeed.
    pub(super) fn is_refusal(&self) -> bool {
        self.is_refusal
    }

    /// The failure with what was attempted.
    pub(super) fn during(self, what: &str) -> Self {
        Self {
            why: format!("{what}: {}", self.why),
            ..self
        }
    }
}

impl fmt::Display for ConnectionFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.why)
    }
}

impl From<io::Error> for ConnectionFailure {
    fn from(error: io::Error) -> Self {
        Self {
            // A certificate that is not accepted stands in an error of this kind.
            is_refusal: error.kind() == ErrorKind::InvalidData,
            why: error.to_string(),
        }
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

enum Stream {
    Plain(TcpStream),
    // Large, because of TLS's buffers.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// The bytes of one connection.
pub(super) struct Transport {
    stream: Stream,
    ended: Arc<AtomicBool>,
}

impl Transport {
    /// Connects and completes the handshake of TLS.
    pub(super) fn connect(
        address: &Address,
        settings: &Settings,
        ended: Arc<AtomicBool>,
    ) -> Result<Self> {
        let deadline = Instant::now() + settings.connect_timeout;
        let tcp = connect_tcp(address, settings, deadline)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(LOOK))?;
        tcp.set_write_timeout(Some(settings.request_timeout))?;
        let stream = match &settings.tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                let name = ServerName::try_from(address.host.clone()).map_err(|_| {
                    ConnectionFailure::refusal(format!("'{}' is no name of a host", address.host))
                })?;
                let session = ClientConnection::new(tls.clone(), name)
                    .map_err(|error| ConnectionFailure::refusal(error.to_string()))?;
                Stream::Tls(Box::new(StreamOwned::new(session, tcp)))
            }
        };
        let mut transport = Self { stream, ended };
        transport.shake_hands(deadline)?;
        Ok(transport)
    }

    fn shake_hands(&mut self, deadline: Instant) -> Result<()> {
        loop {
            let Stream::Tls(tls) = &mut self.stream else {
                return Ok(());
            };
            if !tls.conn.is_handshaking() {
                return Ok(());
            }
            let StreamOwned { conn, sock } = &mut **tls;
            match conn.complete_io(sock) {
                Ok(_) => {}
                Err(error) if is_pause(&error) => self.check(deadline)?,
                Err(error) => return Err(ConnectionFailure::from(error).during("TLS")),
            }
        }
    }

    /// Reads some bytes, at least one.
    pub(super) fn read(&mut self, target: &mut [u8], deadline: Instant) -> Result<usize> {
        loop {
            let read = match &mut self.stream {
                Stream::Plain(tcp) => tcp.read(target),
                Stream::Tls(tls) => tls.read(target),
            };
            match read {
                Ok(0) => {
                    return Err(ConnectionFailure::protocol(
                        "the broker closed the connection".to_owned(),
                    ));
                }
                Ok(read) => {
                    // A broker that sends a byte now and then must not hold this thread.
                    if Instant::now() > deadline {
                        return self.check(deadline).map(|()| read);
                    }
                    return Ok(read);
                }
                Err(error) if is_pause(&error) => self.check(deadline)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes all bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(bytes)?,
            Stream::Tls(tls) => {
                tls.write_all(bytes)?;
                tls.flush()?;
            }
        }
        Ok(())
    }

    fn check(&self, deadline: Instant) -> Result<()> {
        if self.ended.load(Ordering::Acquire) {
            return Err(ConnectionFailure::protocol("the log was closed".to_owned()));
        }
        if Instant::now() > deadline {
            return Err(ConnectionFailure::protocol(
                "the broker did not answer in time".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Whether a call only waited for as long as it may at a time.
fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Connects to the first address of the host that accepts.
fn connect_tcp(address: &Address, settings: &Settings, deadline: Instant) -> Result<TcpStream> {
    let wanted = |found: &SocketAddr| match settings.family {
        None => true,
        Some(Family::V4) => found.is_ipv4(),
        Some(Family::V6) => found.is_ipv6(),
    };
    let mut last = ConnectionFailure::protocol("the host has no address".to_owned());
    for found in (address.host.as_str(), address.port)
        .to_socket_addrs()?
        .filter(wanted)
    {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&found, left) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}
