//! Sockets of callers that read nothing: what waits for them is bounded, and so is how long.

use std::io;
use std::net::TcpListener;

/// A connection that takes nothing for so long is ended.
#[cfg(target_os = "linux")]
const STUCK: std::time::Duration = std::time::Duration::from_secs(30);
/// Bytes that the system keeps for a connection before they are on their way.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 << 10;

/// Sets the bounds for all connections that a listener will accept: they inherit them.
///
/// Without them the system keeps several megabytes for a connection whose other end does not read, as
/// long as that is there and answers.
///
/// # Errors
/// When the system refuses.
#[cfg(target_os = "linux")]
pub(crate) fn bound(listener: &TcpListener) -> io::Result<()> {
    let socket = socket2::SockRef::from(listener);
    socket.set_tcp_user_timeout(Some(STUCK))?;
    socket.set_tcp_notsent_lowat(UNSENT)
}

/// Other systems have no such bounds, or others.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub(crate) fn bound(_: &TcpListener) -> io::Result<()> {
    Ok(())
}
